/* SPDX-License-Identifier: Apache-2.0 */
/* mtp_hidden_copy: a block per stream of a token. */
#include "mtp_rows.inl"

struct hidden_args {
    const char *hidden;
    char *buffer;
    int64_t token, stream, row;
    int n, streams;
};

template <int V>
__global__ void __launch_bounds__(CALL_THREADS) hidden_copy_kernel(const struct hidden_args a) {
    const uint32_t block = (uint32_t)gpu_block(), t = block / (uint32_t)a.streams;
    const uint32_t j = block - t * (uint32_t)a.streams;
    const struct rows_move row = {a.hidden + t * a.token + j * a.stream, NULL,
                                  a.buffer + t * a.row + (int64_t)j * a.n * 2};
    rows_move_row<V, false>(row, a.n);
}

static int supports(const dsv4_call *call, struct call_why why) {
    CALL_NEED(call, "hidden", DSV4_BF16, 3, why);
    CALL_NEED(call, "buffer", DSV4_BF16, 2, why);
    const dsv4_tensor *const x = dsv4_find(call, "hidden"), *const to = dsv4_find(call, "buffer");
    if (to->shape[0] < x->shape[0] || to->shape[1] != x->shape[1] * x->shape[2])
        return call_unsupported(why, "buffer: too few rows, or of another width");
    return rows_supports(x->shape[2], why);
}

static int run(const dsv4_call *call, struct call_why why) {
    const dsv4_tensor *const x = dsv4_find(call, "hidden"), *const to = dsv4_find(call, "buffer");
    const struct hidden_args a = {(const char *)x->data, (char *)to->data, x->stride[0],
                                  x->stride[1],          to->stride[0],    (int)x->shape[2],
                                  (int)x->shape[1]};
    const bool wide = call_aligned(x, 16) && call_aligned(to, 16);
    ROWS_LAUNCH(hidden_copy_kernel, a.n, wide, x->shape[0] * x->shape[1], a);
}

CALL_ENTRY_POINTS(mtp_hidden_copy)
