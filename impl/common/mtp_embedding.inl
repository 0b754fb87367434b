/* SPDX-License-Identifier: Apache-2.0 */
/* mtp_embedding: a block per token. */
#include "mtp_rows.inl"

struct embedding_args {
    const char *ids, *weight;
    char *out;
    int64_t start, rows, weight_row, out_row;
    int n, wide_ids;
};

template <int V>
__global__ void __launch_bounds__(CALL_THREADS) embedding_kernel(const struct embedding_args a) {
    const int64_t t = gpu_block();
    const int64_t id =
        a.wide_ids ? ((const int64_t *)a.ids)[t] : (int64_t)((const int32_t *)a.ids)[t];
    const int64_t row = id - a.start;
    const bool inside = row >= 0 && row < a.rows;
    const struct rows_move move = {inside ? a.weight + row * a.weight_row : NULL, NULL,
                                   a.out + t * a.out_row};
    rows_move_row<V, false>(move, a.n);
}

static int supports(const dsv4_call *call, struct call_why why) {
    const dsv4_tensor *const ids = dsv4_find(call, "ids");
    const bool i32 = !call_absent(ids) && ids->dtype == DSV4_I32;
    CALL_NEED(call, "ids", i32 ? DSV4_I32 : DSV4_I64, 1, why);
    CALL_NEED(call, "weight", DSV4_BF16, 2, why);
    CALL_NEED(call, "out", DSV4_BF16, 2, why);
    return rows_supports(dsv4_find(call, "out")->shape[1], why);
}

static int run(const dsv4_call *call, struct call_why why) {
    const dsv4_tensor *const ids = dsv4_find(call, "ids"), *const weight =
                                                               dsv4_find(call, "weight");
    const dsv4_tensor *const out = dsv4_find(call, "out");
    struct embedding_args a;
    a.ids = (const char *)ids->data;
    a.wide_ids = ids->dtype == DSV4_I64;
    a.weight = (const char *)weight->data;
    a.weight_row = weight->stride[0];
    a.rows = weight->shape[0];
    a.start = dsv4_int(call, "start", 0);
    a.out = (char *)out->data;
    a.out_row = out->stride[0];
    a.n = (int)out->shape[1];
    const bool wide = call_aligned(weight, 16) && call_aligned(out, 16);
    ROWS_LAUNCH(embedding_kernel, a.n, wide, out->shape[0], a);
}

CALL_ENTRY_POINTS(mtp_embedding)
