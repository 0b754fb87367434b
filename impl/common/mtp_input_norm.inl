/* SPDX-License-Identifier: Apache-2.0 */
/* mtp_input_norm: a block per row, five rows per token: its embedding, then its four streams. */
#include "norm_row.inl"

enum { INPUT_STREAMS = 4, INPUT_ROWS = 1 + INPUT_STREAMS };

struct input_args {
    const char *embeds, *hidden;
    char *e_out, *h_out;
    const int64_t *positions;
    struct norm_weight enorm, hnorm;
    int64_t e_stride, h_token, h_stream, e_out_stride, h_out_token, h_out_stream;
    int n, masks;
    float eps;
};

struct input_row {
    const char *x;
    char *out;
    struct norm_weight weight;
    bool zero;
};

GPU_DEVICE struct input_row input_row_of(const struct input_args &a) {
    const int64_t t = gpu_block() / INPUT_ROWS;
    const int stream = (int)(gpu_block() % INPUT_ROWS) - 1;
    struct input_row row;
    row.zero = stream < 0 && a.masks && a.positions[t] == 0;
    row.weight = stream < 0 ? a.enorm : a.hnorm;
    row.x = stream < 0 ? a.embeds + t * a.e_stride : a.hidden + t * a.h_token + stream * a.h_stream;
    row.out = stream < 0 ? a.e_out + t * a.e_out_stride
                         : a.h_out + t * a.h_out_token + stream * a.h_out_stream;
    return row;
}

template <int V>
__global__ void __launch_bounds__(CALL_THREADS) input_norm_kernel(const struct input_args a) {
    __shared__ struct row_block block;
    const struct input_row row = input_row_of(a);
    norm_block_row<V>(block, row.out, row.x, row.weight, a.n, a.eps, row.zero);
}

__global__ void __launch_bounds__(CALL_THREADS) input_norm_any_kernel(const struct input_args a) {
    __shared__ struct row_block block;
    const struct input_row row = input_row_of(a);
    norm_block_row_any(block, row.out, row.x, row.weight, a.n, a.eps, row.zero);
}

static int supports(const dsv4_call *call, struct call_why why) {
    CALL_NEED(call, "embeds", DSV4_BF16, 2, why);
    CALL_NEED(call, "hidden", DSV4_BF16, 3, why);
    CALL_NEED(call, "positions", DSV4_I64, 1, why);
    CALL_NEED(call, "e_out", DSV4_BF16, 2, why);
    CALL_NEED(call, "h_out", DSV4_BF16, 3, why);
    const int64_t n = dsv4_find(call, "embeds")->shape[1];
    if (n < 9 || n > ROW_MAX || dsv4_find(call, "hidden")->shape[1] != INPUT_STREAMS)
        return call_unsupported(why, "these kernels take rows of 9 to %d, and 4 streams",
                                (int)ROW_MAX);
    const int status = norm_supports_weight(call, "enorm", n, why);
    return status == DSV4_OK ? norm_supports_weight(call, "hnorm", n, why) : status;
}

static int run(const dsv4_call *call, struct call_why why) {
    static const char *const rows[] = {"embeds", "hidden", "e_out", "h_out", "enorm", "hnorm"};
    const dsv4_tensor *t[6];
    const gpu_stream stream = (gpu_stream)call->stream;
    struct input_args a;
    dim3 grid;
    for (int i = 0; i < 6; i++) t[i] = dsv4_find(call, rows[i]);
    a.embeds = (const char *)t[0]->data;
    a.e_stride = t[0]->stride[0];
    a.hidden = (const char *)t[1]->data;
    a.h_token = t[1]->stride[0];
    a.h_stream = t[1]->stride[1];
    a.e_out = (char *)t[2]->data;
    a.e_out_stride = t[2]->stride[0];
    a.h_out = (char *)t[3]->data;
    a.h_out_token = t[3]->stride[0];
    a.h_out_stream = t[3]->stride[1];
    a.enorm = norm_weight_of(t[4]);
    a.hnorm = norm_weight_of(t[5]);
    a.positions = (const int64_t *)dsv4_find(call, "positions")->data;
    a.n = (int)t[0]->shape[1];
    a.masks = dsv4_is(call, "mask", "vllm");
    a.eps = dsv4_float(call, "eps", 1e-6f);
    bool wide = a.n % ROW_VECTOR == 0;
    for (int i = 0; i < 6; i++) wide = wide && call_aligned(t[i], 16);
    if (t[0]->shape[0] == 0) return DSV4_OK;
    const int status = call_grid(&grid, t[0]->shape[0] * INPUT_ROWS, why);
    if (status != DSV4_OK) return status;
    if (!wide)
        GPU_LAUNCH(input_norm_any_kernel, grid, CALL_THREADS, stream, a);
    else if (norm_vectors(a.n) == 1)
        GPU_LAUNCH(input_norm_kernel<1>, grid, CALL_THREADS, stream, a);
    else if (norm_vectors(a.n) == 2)
        GPU_LAUNCH(input_norm_kernel<2>, grid, CALL_THREADS, stream, a);
    else
        GPU_LAUNCH(input_norm_kernel<4>, grid, CALL_THREADS, stream, a);
    return call_launched(why);
}

CALL_ENTRY_POINTS(mtp_input_norm)
