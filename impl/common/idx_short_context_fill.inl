/* SPDX-License-Identifier: Apache-2.0 */
/* idx_short_context_fill: teams write the columns of a row. */
#include "idx_common.inl"

struct short_op {
    struct idx_rows rows;
    const int64_t *positions;
    struct gpu_divisor ratio;

    struct row {
        int64_t n;
    };

    IDX_METHOD bool open(row &row, int64_t t, bool) const {
        row.n = gpu_quotient(positions[t] + 1, ratio);
        return true;
    }
    IDX_METHOD struct idx_four four(const row &row, int column) const {
        struct idx_four four;
        GPU_UNROLL
        for (int i = 0; i < 4; i++) four.x[i] = column + i < row.n ? column + i : -1;
        return four;
    }
};

static int supports(const dsv4_call *call, struct call_why why) {
    CALL_NEED(call, "positions", DSV4_I64, 1, why);
    CALL_NEED(call, "indices", DSV4_I32, 2, why);
    return DSV4_OK;
}

static int run(const dsv4_call *call, struct call_why why) {
    const dsv4_tensor *const indices = dsv4_find(call, "indices");
    struct short_op op;
    op.positions = (const int64_t *)dsv4_find(call, "positions")->data;
    op.ratio = call_divisor(dsv4_int(call, "ratio", 4));
    if (indices->shape[0] * indices->shape[1] > IDX_CHUNK * CALL_TEAMS * (int64_t)GPU_BUSY_BLOCKS)
        return idx_launch_rows<short_op, 4>(op, indices, call, why);
    return idx_launch_rows<short_op, 1>(op, indices, call, why);
}

CALL_ENTRY_POINTS(idx_short_context_fill)
