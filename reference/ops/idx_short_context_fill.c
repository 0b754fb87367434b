/* SPDX-License-Identifier: Apache-2.0 */
/*
 * idx_short_context_fill: the selection without an indexer, where all rows fit into it: indices[t, c] = c for
 * c < (positions[t] + 1) / ratio, then -1, for all topk columns.
 *
 * As a set it is what top-k would give. The branch to it is taken by the batch's longest sequence, on the host: a graph
 * captured with it is wrong for longer ones. Columns of a wider buffer are untouched.
 *
 * Integers: no rounding. A position beyond the topk rows fills the row; a negative one, of padding, has none.
 * Source: vllm models/deepseek_v4/attention.py. Latitude: none.
 */
#include <stdio.h>

#include "idx_family.h"

enum { POSITIONS, INDICES };
enum { RIGHT, ROW_WRAPS, ROW_TOO_EARLY, TAIL_KEPT, STRIDE_IS_TOPK, NOT_DIVIDED, NEGATIVE_WRAPS };

static const struct dsv4_param_def params[] = {
    DSV4_PARAM_INT("ratio", CALL, 4, 1, 1024, "tokens per compressed row"),
    DSV4_PARAM_INT("topk", INPUT, 512, 1, 1 << 18, "columns of indices"),
    IDX_STEP_PARAMS("5@20,1@300"),
    IDX_BEFORE_PARAM,
};

static const struct dsv4_slot slots[] = {
    {"positions", DSV4_IN,  "[tokens] i64",                     "token positions"     },
    {"indices",   DSV4_OUT, "[tokens, topk] i32, rows strided", "row numbers, then -1"},
};

static const struct dsv4_mutant mutants[] = {
    {"row-wraps",      "byte offset of a row of indices computed in 32 bits",                       ROW_WRAPS  },
    {"row-too-early",  "a row counted before its last token; pos / ratio for (pos + 1) / ratio",
     ROW_TOO_EARLY                                                                                             },
    {"tail-kept",      "columns beyond the rows not written; they are -1",                          TAIL_KEPT  },
    {"stride-is-topk", "rows taken as topk apart; a wider buffer has another stride",
     STRIDE_IS_TOPK                                                                                            },
    {"not-divided",    "a number for each token; there is one for each compressed row",             NOT_DIVIDED},
    {"negative-wraps", "a negative position, of padding, read as an unsigned one: the row is full",
     NEGATIVE_WRAPS                                                                                            },
};

static int shape(struct dsv4_case *c, struct dsv4_err *err) {
    if (idx_step_make(c, err) != 0) return -1;
    const int64_t tokens = idx_step_of(c)->first + idx_step_of(c)->batch.n_rows;
    idx_shape_rows(c, POSITIONS, DSV4_I64, tokens);
    idx_shape_matrix(c, INDICES, tokens, dsv4_case_int(c, "topk"), 8);
    return 0;
}

static void fill(struct dsv4_case *c) {
    idx_fill_positions(c, POSITIONS);
    idx_fill_positions_before(c, POSITIONS);
}

static int run(const dsv4_call *call, int mutant, struct dsv4_err *err) {
    const dsv4_tensor *const tensors = call->tensors, *const indices = &tensors[INDICES];
    const int64_t topk = indices->shape[1], ratio = dsv4_int(call, "ratio", 4);
    dsv4_tensor out = *indices;
    (void)err;
    if (mutant == STRIDE_IS_TOPK) out.stride[0] = topk * 4;
#pragma omp parallel for schedule(static)
    for (int64_t t = 0; t < indices->shape[0]; t++) {
        const int64_t pos = idx_at_i64(&tensors[POSITIONS], t);
        const int64_t rows = (pos + (mutant != ROW_TOO_EARLY)) / ratio;
        const bool wraps = mutant == NEGATIVE_WRAPS && pos < 0;
        const int64_t n = wraps ? topk : mutant == NOT_DIVIDED ? pos + 1 : rows;
        int32_t *const row = idx_row_or(&out, t, mutant == ROW_WRAPS);
        for (int64_t k = 0; k < topk; k++)
            if (k < n || mutant != TAIL_KEPT) row[k] = k < n ? (int32_t)k : -1;
    }
    return DSV4_OK;
}

static void trace(const struct dsv4_case *c, size_t slot, int64_t offset, char *line, size_t size) {
    const int64_t t = offset / c->tensors[slot].t.stride[0];
    snprintf(line, size, "token %lld at position %lld", (long long)t,
             (long long)idx_at_i64(&c->tensors[POSITIONS].t, t));
}

static void work(const struct dsv4_case *c, struct dsv4_work *work) {
    const dsv4_tensor *const indices = &c->tensors[INDICES].t;
    work->bytes_read = 8 * (double)indices->shape[0];
    work->bytes_written = 4.0 * (double)(indices->shape[0] * indices->shape[1]);
}

const struct dsv4_op dsv4_op_idx_short_context_fill = {
    .name = "idx_short_context_fill",
    .summary = "selects all compressed rows where they fit into the top-k",
    .source = "vllm models/deepseek_v4/attention.py",
    .exact = "integers alone",
    DSV4_OP_PARTS,
};
