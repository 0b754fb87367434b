/* SPDX-License-Identifier: Apache-2.0 */
/* norm_q_kv: a team per latent, q's and kv's by turns, both widths in registers; of few tokens a block per latent. */
#include "norm_row.inl"

struct q_kv_args {
    const char *x[2];
    char *out[2];
    struct norm_weight weight[2];
    int64_t x_stride[2], out_stride[2], units;
    int n[2];
    float eps;
};

template <int J>
__global__ void __launch_bounds__(CALL_THREADS) q_kv_kernel(const struct q_kv_args a) {
    const int64_t unit = gpu_block() * CALL_TEAMS + gpu_team(), t = unit / 2;
    if (unit >= a.units) return;
    if (unit % 2 == 0)
        norm_team_row<J>(a.out[0] + t * a.out_stride[0], a.x[0] + t * a.x_stride[0], a.weight[0],
                         a.eps);
    else
        norm_team_row<8>(a.out[1] + t * a.out_stride[1], a.x[1] + t * a.x_stride[1], a.weight[1],
                         a.eps);
}

__global__ void __launch_bounds__(CALL_THREADS) q_kv_few_kernel(const struct q_kv_args a) {
    __shared__ struct row_block block;
    const int64_t t = gpu_block() / 2;
    const int i = (int)(gpu_block() % 2);
    norm_block_row<1>(block, a.out[i] + t * a.out_stride[i], a.x[i] + t * a.x_stride[i],
                      a.weight[i], a.n[i], a.eps, false);
}

/* Any widths and alignment: a block per latent. */
__global__ void __launch_bounds__(CALL_THREADS) q_kv_any_kernel(const struct q_kv_args a) {
    __shared__ struct row_block block;
    const int64_t t = gpu_block() / 2;
    const int i = (int)(gpu_block() % 2);
    norm_block_row_any(block, a.out[i] + t * a.out_stride[i], a.x[i] + t * a.x_stride[i],
                       a.weight[i], a.n[i], a.eps, false);
}

static const char *const q_kv_names[2][3] = {
    {"qr", "q_weight",  "q_out" },
    {"kv", "kv_weight", "kv_out"}
};

static int supports(const dsv4_call *call, struct call_why why) {
    for (int i = 0; i < 2; i++) {
        CALL_NEED(call, q_kv_names[i][0], DSV4_BF16, 2, why);
        CALL_NEED(call, q_kv_names[i][2], DSV4_BF16, 2, why);
        const int64_t n = dsv4_find(call, q_kv_names[i][0])->shape[1];
        if (n < 9 || n > ROW_MAX)
            return call_unsupported(why, "%s: rows of %lld; these kernels take 9 to %d",
                                    q_kv_names[i][0], (long long)n, (int)ROW_MAX);
        const int status = norm_supports_weight(call, q_kv_names[i][1], n, why);
        if (status != DSV4_OK) return status;
    }
    return DSV4_OK;
}

static int run(const dsv4_call *call, struct call_why why) {
    const gpu_stream stream = (gpu_stream)call->stream;
    struct q_kv_args a;
    bool wide = true, aligned = true;
    dim3 grid;
    for (int i = 0; i < 2; i++) {
        const dsv4_tensor *const x = dsv4_find(call, q_kv_names[i][0]);
        const dsv4_tensor *const weight = dsv4_find(call, q_kv_names[i][1]);
        const dsv4_tensor *const out = dsv4_find(call, q_kv_names[i][2]);
        a.x[i] = (const char *)x->data;
        a.out[i] = (char *)out->data;
        a.weight[i] = norm_weight_of(weight);
        a.x_stride[i] = x->stride[0];
        a.out_stride[i] = out->stride[0];
        a.n[i] = (int)x->shape[1];
        a.units = 2 * x->shape[0];
        aligned = aligned && call_aligned(x, 16) && call_aligned(out, 16) &&
                  call_aligned(weight, 16) && a.n[i] % ROW_VECTOR == 0 && norm_vectors(a.n[i]) == 1;
        wide = wide && call_aligned(x, 4) && call_aligned(out, 4) && call_aligned(weight, 8);
    }
    a.eps = dsv4_float(call, "eps", 1e-6f);
    if (a.units == 0) return DSV4_OK;
    const bool few = aligned && a.units < GPU_BUSY_BLOCKS;
    const bool team = !few && wide && a.n[1] == 512 && (a.n[0] == 1024 || a.n[0] == 1536);
    const int status = call_grid(&grid, team ? call_ceil(a.units, CALL_TEAMS) : a.units, why);
    if (status != DSV4_OK) return status;
    if (few)
        GPU_LAUNCH(q_kv_few_kernel, grid, CALL_THREADS, stream, a);
    else if (!team)
        GPU_LAUNCH(q_kv_any_kernel, grid, CALL_THREADS, stream, a);
    else if (a.n[0] == 1024)
        GPU_LAUNCH(q_kv_kernel<16>, grid, CALL_THREADS, stream, a);
    else
        GPU_LAUNCH(q_kv_kernel<24>, grid, CALL_THREADS, stream, a);
    return call_launched(why);
}

CALL_ENTRY_POINTS(norm_q_kv)
