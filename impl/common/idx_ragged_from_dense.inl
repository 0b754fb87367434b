/* SPDX-License-Identifier: Apache-2.0 */
/* idx_ragged_from_dense: each row copied to where the rows before it end. */
#include "idx_ragged.inl"

struct dense_op {
    struct idx_ragged ragged;
    const char *indices;
    const int32_t *lens;
    int64_t stride;
    int width, num_rows;
    bool wide;

    struct row {
        const int32_t *from;
    };

    IDX_METHOD int length(int64_t t) const {
        const int n = lens[t];
        return n < 0 ? 0 : n < width ? n : width;
    }
    IDX_METHOD void note(int64_t, int) const {}
    IDX_METHOD void open(row &row, int64_t t) const {
        row.from = (const int32_t *)(indices + t * stride);
    }
    IDX_METHOD const int32_t *from(const row &row) const { return row.from; }
    IDX_METHOD int read(const row &) const { return width; }
    IDX_METHOD int32_t raw(const row &row, int o) const { return row.from[o]; }
    IDX_METHOD int32_t made(const row &, int, int32_t x) const {
        return num_rows >= 0 && (x < 0 || x >= num_rows) ? -1 : x;
    }
    IDX_METHOD bool holds(const row &, int) const { return true; }
};

static int supports(const dsv4_call *call, struct call_why why) {
    CALL_NEED(call, "indices", DSV4_I32, 2, why);
    CALL_NEED(call, "lens", DSV4_I32, 1, why);
    CALL_NEED(call, "flat", DSV4_I32, 1, why);
    CALL_NEED(call, "indptr", DSV4_I32, 1, why);
    return DSV4_OK;
}

static int run(const dsv4_call *call, struct call_why why) {
    const dsv4_tensor *const indices = dsv4_find(call, "indices");
    struct dense_op op;
    op.ragged.rows = indices->shape[0];
    op.ragged.flat = (int32_t *)dsv4_find(call, "flat")->data;
    op.ragged.indptr = (int32_t *)dsv4_find(call, "indptr")->data;
    op.indices = (const char *)indices->data;
    op.stride = indices->stride[0];
    op.wide = call_aligned(indices, 16);
    op.lens = idx_i32(call, "lens");
    op.width = (int)indices->shape[1];
    op.num_rows = (int)dsv4_int(call, "num_rows", -1);
    if (dsv4_find(call, "flat")->shape[0] < indices->shape[0] * indices->shape[1])
        return idx_refused(why, "flat has fewer entries than indices");
    return idx_launch_ragged(op, call, why);
}

CALL_ENTRY_POINTS(idx_ragged_from_dense)
