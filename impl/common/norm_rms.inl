/* SPDX-License-Identifier: Apache-2.0 */
/* norm_rms: a team per row of 512, 1024 or 1536 channels, else a block per row. */
#include "norm_row.inl"

struct rms_args {
    const char *x;
    char *out;
    struct norm_weight weight;
    int64_t x_stride, out_stride, rows;
    int n;
    float eps;
};

template <int J>
__global__ void __launch_bounds__(CALL_THREADS) rms_team_kernel(const struct rms_args a) {
    const int64_t t = gpu_block() * CALL_TEAMS + gpu_team();
    if (t >= a.rows) return;
    norm_team_row<J>(a.out + t * a.out_stride, a.x + t * a.x_stride, a.weight, a.eps);
}

template <int V>
__global__ void __launch_bounds__(CALL_THREADS) rms_block_kernel(const struct rms_args a) {
    __shared__ struct row_block block;
    const int64_t t = gpu_block();
    norm_block_row<V>(block, a.out + t * a.out_stride, a.x + t * a.x_stride, a.weight, a.n, a.eps,
                      false);
}

__global__ void __launch_bounds__(CALL_THREADS) rms_any_kernel(const struct rms_args a) {
    __shared__ struct row_block block;
    const int64_t t = gpu_block();
    norm_block_row_any(block, a.out + t * a.out_stride, a.x + t * a.x_stride, a.weight, a.n, a.eps,
                       false);
}

static int supports(const dsv4_call *call, struct call_why why) {
    CALL_NEED(call, "x", DSV4_BF16, 2, why);
    CALL_NEED(call, "out", DSV4_BF16, 2, why);
    const int64_t n = dsv4_find(call, "x")->shape[1];
    if (n < 9 || n > ROW_MAX)
        return call_unsupported(why, "x: rows of %lld; these kernels take 9 to %d", (long long)n,
                                (int)ROW_MAX);
    return norm_supports_weight(call, "weight", n, why);
}

static int run(const dsv4_call *call, struct call_why why) {
    const dsv4_tensor *const x = dsv4_find(call, "x"), *const out = dsv4_find(call, "out");
    const dsv4_tensor *const weight = dsv4_find(call, "weight");
    const gpu_stream stream = (gpu_stream)call->stream;
    struct rms_args a;
    dim3 grid;
    a.x = (const char *)x->data;
    a.out = (char *)out->data;
    a.weight = norm_weight_of(weight);
    a.x_stride = x->stride[0];
    a.out_stride = out->stride[0];
    a.rows = x->shape[0];
    a.n = (int)x->shape[1];
    a.eps = dsv4_float(call, "eps", 1e-6f);
    if (a.rows == 0) return DSV4_OK;
    const bool wide = a.n % ROW_VECTOR == 0 && call_aligned(x, 16) && call_aligned(out, 16) &&
                      call_aligned(weight, 16);
    const bool team = wide && norm_team_width(a.n);
    const int status = call_grid(&grid, team ? call_ceil(a.rows, CALL_TEAMS) : a.rows, why);
    if (status != DSV4_OK) return status;
    if (team && a.n == 512)
        GPU_LAUNCH(rms_team_kernel<8>, grid, CALL_THREADS, stream, a);
    else if (team && a.n == 1024)
        GPU_LAUNCH(rms_team_kernel<16>, grid, CALL_THREADS, stream, a);
    else if (team)
        GPU_LAUNCH(rms_team_kernel<24>, grid, CALL_THREADS, stream, a);
    else if (!wide)
        GPU_LAUNCH(rms_any_kernel, grid, CALL_THREADS, stream, a);
    else if (norm_vectors(a.n) == 1)
        GPU_LAUNCH(rms_block_kernel<1>, grid, CALL_THREADS, stream, a);
    else if (norm_vectors(a.n) == 2)
        GPU_LAUNCH(rms_block_kernel<2>, grid, CALL_THREADS, stream, a);
    else
        GPU_LAUNCH(rms_block_kernel<4>, grid, CALL_THREADS, stream, a);
    return call_launched(why);
}

CALL_ENTRY_POINTS(norm_rms)
