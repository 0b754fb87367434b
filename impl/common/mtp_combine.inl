/* SPDX-License-Identifier: Apache-2.0 */
/* mtp_combine: a block per stream of a token; the four that share an embedding are neighbours. */
#include "mtp_rows.inl"

enum { COMBINE_STREAMS = 4 };

struct mtp_combine_args {
    const char *h, *e;
    char *out;
    int64_t h_token, h_stream, e_stride, out_token, out_stream;
    int n;
};

template <int V>
__global__ void __launch_bounds__(CALL_THREADS)
    mtp_combine_kernel(const struct mtp_combine_args a) {
    const int64_t t = gpu_block() / COMBINE_STREAMS, j = gpu_block() % COMBINE_STREAMS;
    const struct rows_move row = {a.h + t * a.h_token + j * a.h_stream, a.e + t * a.e_stride,
                                  a.out + t * a.out_token + j * a.out_stream};
    rows_move_row<V, true>(row, a.n);
}

static int supports(const dsv4_call *call, struct call_why why) {
    CALL_NEED(call, "h", DSV4_BF16, 3, why);
    CALL_NEED(call, "e", DSV4_BF16, 2, why);
    CALL_NEED(call, "out", DSV4_BF16, 3, why);
    if (dsv4_find(call, "h")->shape[1] != COMBINE_STREAMS)
        return call_unsupported(why, "h: these kernels take 4 streams");
    return rows_supports(dsv4_find(call, "h")->shape[2], why);
}

static int run(const dsv4_call *call, struct call_why why) {
    const dsv4_tensor *const h = dsv4_find(call, "h"), *const e = dsv4_find(call, "e");
    const dsv4_tensor *const out = dsv4_find(call, "out");
    const struct mtp_combine_args a = {
        (const char *)h->data, (const char *)e->data, (char *)out->data,
        h->stride[0],          h->stride[1],          e->stride[0],
        out->stride[0],        out->stride[1],        (int)h->shape[2]};
    const bool wide = call_aligned(h, 16) && call_aligned(e, 16) && call_aligned(out, 16);
    ROWS_LAUNCH(mtp_combine_kernel, a.n, wide, h->shape[0] * COMBINE_STREAMS, a);
}

CALL_ENTRY_POINTS(mtp_combine)
