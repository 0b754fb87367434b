/* SPDX-License-Identifier: Apache-2.0 */
/* idx_swa: a team writes 128 columns of a token's row; the block table is read once for each page and lane. */
#include "idx_common.inl"

struct swa_op {
    struct idx_rows rows;
    struct idx_pages pages;
    const int32_t *query_start, *seq_lens, *token_to_req;
    const uint8_t *is_valid;
    int32_t *lens;
    int64_t offset, n_lens;

    struct row {
        const int32_t *table;
        int64_t start;
        int len;
    };

    IDX_METHOD bool open(row &row, int64_t i, bool first) const {
        const int64_t t = i + offset;
        const bool valid = is_valid[t] != 0;
        const int request = token_to_req[t];
        if (first) { /* every row clears its share of what is left of lens */
            for (int64_t k = i + rows.rows; k < n_lens; k += rows.rows) lens[k] = 0;
        }
        if (!valid) {
            if (first) lens[i] = 0;
            return false;
        }
        const int begin = query_start[request], end = query_start[request + 1];
        const int64_t pos = (int64_t)seq_lens[request] - (end - begin) + t - begin;
        row.start = pos + 1 > rows.width ? pos + 1 - rows.width : 0;
        row.len =
            pos < 0 ? 0 : (int)(pos + 1 - row.start); /* seq_lens may be less than the query */
        row.table = idx_pages_row(pages, request);
        if (first) lens[i] = row.len;
        return true;
    }

    IDX_METHOD struct idx_four four(const row &row, int column) const {
        return idx_slots(pages, row.table, row.start + column, row.len - column);
    }
};

static int supports(const dsv4_call *call, struct call_why why) {
    CALL_NEED(call, "query_start_loc", DSV4_I32, 1, why);
    CALL_NEED(call, "seq_lens", DSV4_I32, 1, why);
    CALL_NEED(call, "token_to_req", DSV4_I32, 1, why);
    CALL_NEED(call, "is_valid", DSV4_U8, 1, why);
    CALL_NEED(call, "block_table", DSV4_I32, 2, why);
    CALL_NEED(call, "lens", DSV4_I32, 1, why);
    CALL_NEED(call, "indices", DSV4_I32, 2, why);
    return DSV4_OK;
}

static int run(const dsv4_call *call, struct call_why why) {
    const dsv4_tensor *const indices = dsv4_find(call, "indices");
    const dsv4_tensor *const lens = dsv4_find(call, "lens");
    struct swa_op op;
    op.offset = dsv4_int(call, "token_offset", 0);
    op.n_lens = lens->shape[0];
    if (indices->shape[0] + op.offset > dsv4_find(call, "is_valid")->shape[0] ||
        indices->shape[0] > op.n_lens)
        return idx_refused(why, "indices has rows for tokens that is_valid or lens does not have");
    op.pages = idx_pages_of(dsv4_find(call, "block_table"), dsv4_int(call, "block_size", 64));
    op.query_start = idx_i32(call, "query_start_loc");
    op.seq_lens = idx_i32(call, "seq_lens");
    op.token_to_req = idx_i32(call, "token_to_req");
    op.is_valid = (const uint8_t *)dsv4_find(call, "is_valid")->data;
    op.lens = (int32_t *)lens->data;
    return idx_launch_rows<swa_op, 1>(op, indices, call, why);
}

CALL_ENTRY_POINTS(idx_swa)
