/* SPDX-License-Identifier: Apache-2.0 */
/* mtp_concat_aux: a block per tap of a row. */
#include "mtp_rows.inl"

enum { CONCAT_TAPS = 3 };

struct concat_args {
    const char *tap[CONCAT_TAPS];
    char *out;
    int64_t stride[CONCAT_TAPS], row;
    int n;
};

template <int V>
__global__ void __launch_bounds__(CALL_THREADS) concat_aux_kernel(const struct concat_args a) {
    const int64_t t = gpu_block() / CONCAT_TAPS;
    const int tap = (int)(gpu_block() % CONCAT_TAPS);
    const char *const from = tap == 0   ? a.tap[0] + t * a.stride[0]
                             : tap == 1 ? a.tap[1] + t * a.stride[1]
                                        : a.tap[2] + t * a.stride[2];
    const struct rows_move row = {from, NULL, a.out + t * a.row + (int64_t)tap * a.n * 2};
    rows_move_row<V, false>(row, a.n);
}

static const char *const concat_names[CONCAT_TAPS] = {"first", "second", "third"};

static int supports(const dsv4_call *call, struct call_why why) {
    for (int i = 0; i < CONCAT_TAPS; i++) CALL_NEED(call, concat_names[i], DSV4_BF16, 2, why);
    CALL_NEED(call, "out", DSV4_BF16, 2, why);
    return rows_supports(dsv4_find(call, "first")->shape[1], why);
}

static int run(const dsv4_call *call, struct call_why why) {
    const dsv4_tensor *const out = dsv4_find(call, "out"), *const first = dsv4_find(call, "first");
    struct concat_args a;
    bool wide = call_aligned(out, 16);
    for (int i = 0; i < CONCAT_TAPS; i++) {
        const dsv4_tensor *const x = dsv4_find(call, concat_names[i]);
        a.tap[i] = (const char *)x->data;
        a.stride[i] = x->stride[0];
        wide = wide && call_aligned(x, 16);
    }
    a.out = (char *)out->data;
    a.row = out->stride[0];
    a.n = (int)first->shape[1];
    ROWS_LAUNCH(concat_aux_kernel, a.n, wide, first->shape[0] * CONCAT_TAPS, a);
}

CALL_ENTRY_POINTS(mtp_concat_aux)
