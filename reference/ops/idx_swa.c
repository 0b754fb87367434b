/* SPDX-License-Identifier: Apache-2.0 */
/*
 * idx_swa: the cache slots that each token attends to in its sliding window, and how many they are.
 *
 * Row i is token t = token_offset + i of request r = token_to_req[t]. If is_valid[t] is 0: lens[i] = 0 and row i of
 * indices keeps what it held. Else
 *   pos = seq_lens[r] - (query_start_loc[r + 1] - query_start_loc[r]) + t - query_start_loc[r]
 *   start = max(pos - window + 1, 0), lens[i] = pos + 1 - start
 *   indices[i, c] = block_table[r, (start + c) / block_size] * block_size + (start + c) % block_size for c < lens[i],
 * in ascending position, and -1 from there to window. A negative pos, where seq_lens is less than the query, has len 0.
 * Entries of lens beyond the rows of indices are 0, if there is a row.
 *
 * Integers: no rounding. Nothing is read of a token that is not valid but its flag.
 * Refused: rows of indices for tokens that is_valid does not have; lens shorter than indices.
 * Source: vllm v1/attention/backends/mla/sparse_swa.py.
 * Latitude: none.
 */
#include <stdio.h>

#include "idx_family.h"

enum { QUERY_START, SEQ_LENS, TOKEN_TO_REQ, IS_VALID, BLOCK_TABLE, LENS, INDICES };
enum {
    RIGHT,
    WINDOW_SHORT,
    CONTEXT_LOST,
    START_NOT_SUBTRACTED,
    OFFSET_LOST,
    TAIL_KEPT,
    PADDING_CLEARED,
    PADDING_LEN,
    TAIL_LENS_KEPT,
    NEWEST_FIRST,
    FIRST_REQUEST,
    TABLE_ROW_WIDTH,
    NEGATIVE_LEN,
    ROW_WRAPS
};

static const struct dsv4_param_def params[] = {
    DSV4_PARAM_INT("block_size", CALL, 64, 1, 65536, "tokens of a page"),
    DSV4_PARAM_INT("window", CALL, 128, 1, 1 << 20, "tokens of the window, and columns of indices"),
    DSV4_PARAM_INT("token_offset", CALL, 0, 0, 1 << 20, "the token of row 0"),
    IDX_STEP_PARAMS("5@0,1@300"),
    IDX_INVALID_PARAM,
    IDX_SHORT_PARAM,
    DSV4_PARAM_INT("spare_lens", INPUT, 2, 0, 1 << 20, "entries of lens beyond the rows"),
    DSV4_PARAM_INT("missing_tokens", INPUT, 0, 0, 16, "tokens that is_valid lacks: refused"),
    DSV4_PARAM_INT("sparse", INPUT, 0, 0, 1,
                   "1: rows of padding are not there at all, so that a few rows can lie far apart"),
    DSV4_PARAM_INT("row_gap", INPUT, 0, 0, 1 << 24, "columns between the rows of indices"),
};

static const struct dsv4_slot slots[] = {
    {"query_start_loc", DSV4_IN,  "[requests + 1] i32",               "first token of each request, and the end"},
    {"seq_lens",        DSV4_IN,  "[requests] i32",                   "tokens with the step's; 0 is padding"    },
    {"token_to_req",    DSV4_IN,  "[tokens] i32",                     "stale where a token is not valid"        },
    {"is_valid",        DSV4_IN,  "[tokens] u8",                      "0: padding"                              },
    {"block_table",     DSV4_IN,  "[requests, W] i32, rows strided",  "pages; garbage beyond use"               },
    {"lens",            DSV4_OUT, "[>= rows] i32",                    "slots of each row"                       },
    {"indices",         DSV4_OUT, "[rows, window] i32, rows strided",
     "slots, then -1; untouched where a token is not valid"                                                     },
};

static const struct dsv4_mutant mutants[] = {
    {"window-short",         "starts at pos - window + 2; the token itself and window - 1 before it count",
     WINDOW_SHORT                                                                                                         },
    {"context-lost",         "positions counted from the step's first token; seq_len says where they start",
     CONTEXT_LOST                                                                                                         },
    {"start-not-subtracted", "token number taken as its place in the request's query",
     START_NOT_SUBTRACTED                                                                                                 },
    {"offset-lost",          "row i taken for token i; it is token_offset + i",                              OFFSET_LOST  },
    {"tail-kept",            "columns beyond lens not written; they are -1",                                 TAIL_KEPT    },
    {"padding-cleared",      "row of a token that is not valid filled with -1; it stays as it is",
     PADDING_CLEARED                                                                                                      },
    {"padding-len",          "len of a token that is not valid computed as if it were; it is 0",
     PADDING_LEN                                                                                                          },
    {"tail-lens-kept",       "lens beyond the rows left as an earlier step wrote them; they are 0",
     TAIL_LENS_KEPT                                                                                                       },
    {"newest-first",         "slots in descending position; they ascend",                                    NEWEST_FIRST },
    {"first-request",        "block table row 0 for all tokens; token_to_req names it",                      FIRST_REQUEST},
    {"table-row-width",      "block table rows taken as `width` apart; they have a stride",
     TABLE_ROW_WIDTH                                                                                                      },
    {"negative-len",         "len of a token before its sequence as it comes out, below 0; it is 0",
     NEGATIVE_LEN                                                                                                         },
    {"row-wraps",            "byte offset of a row of indices computed in 32 bits",                          ROW_WRAPS    },
};

static int shape(struct dsv4_case *c, struct dsv4_err *err) {
    const int64_t offset = dsv4_case_int(c, "token_offset"), window = dsv4_case_int(c, "window");
    if (idx_step_make(c, err) != 0) return -1;
    const struct idx_step *const step = idx_step_of(c);
    const int64_t requests = step->batch.n_requests, tokens = step->first + step->batch.n_rows;
    const int64_t rows = idx_max(tokens - offset, 0);
    const int64_t flags = idx_max(tokens - dsv4_case_int(c, "missing_tokens"), 0);
    idx_step_page(c, dsv4_case_int(c, "block_size"), 1, window,
                  2 * dsv4_case_int(c, "block_size") + 1);
    idx_shape_rows(c, QUERY_START, DSV4_I32, requests + 1);
    idx_shape_rows(c, SEQ_LENS, DSV4_I32, requests);
    idx_shape_rows(c, TOKEN_TO_REQ, DSV4_I32, tokens);
    idx_shape_rows(c, IS_VALID, DSV4_U8, flags);
    idx_shape_table(c, BLOCK_TABLE);
    idx_shape_rows(c, LENS, DSV4_I32, rows + dsv4_case_int(c, "spare_lens"));
    idx_shape_matrix(c, INDICES, rows, window, 36);
    dsv4_widen(c, INDICES, 0, dsv4_case_int(c, "row_gap") * 4);
    c->refused = rows + offset > flags;
    if (dsv4_case_int(c, "sparse") == 0) return 0;
    int64_t *const live = dsv4_case_alloc(c, (size_t)(rows + 1) * sizeof *live);
    int64_t n = 0;
    for (int64_t i = 0; i < rows; i++)
        if (idx_token_is_valid(c, i + offset)) live[n++] = i;
    dsv4_live_rows(c, INDICES, live, n);
    return 0;
}

static void fill(struct dsv4_case *c) {
    idx_fill_query_start(c, QUERY_START);
    idx_fill_short_seq_lens(c, SEQ_LENS);
    idx_fill_token_to_req(c, TOKEN_TO_REQ);
    idx_fill_valid(c, IS_VALID);
    idx_fill_table(c, BLOCK_TABLE);
}

static void write_row(const dsv4_call *call, int64_t i, int wrong) {
    const dsv4_tensor *const tensors = call->tensors, *const indices = &tensors[INDICES];
    const int64_t block_size = dsv4_int(call, "block_size", 0), window = indices->shape[1];
    const int64_t t = i + (wrong == OFFSET_LOST ? 0 : dsv4_int(call, "token_offset", 0));
    const bool valid = idx_flag(&tensors[IS_VALID], t);
    int32_t *const lens = tensors[LENS].data;
    int64_t offset = i * indices->stride[0];
    if (wrong == ROW_WRAPS) offset = (int64_t)(uint32_t)offset % INT64_C(0x80000000);
    int32_t *const row = (int32_t *)(void *)((char *)indices->data + offset);
    lens[i] = 0;
    if (!valid && wrong == PADDING_CLEARED)
        for (int64_t c = 0; c < window; c++) row[c] = -1;
    if (!valid && wrong != PADDING_LEN) return;
    const int64_t r = idx_at(&tensors[TOKEN_TO_REQ], t);
    const int64_t first = idx_at(&tensors[QUERY_START], r);
    const int64_t query = idx_at(&tensors[QUERY_START], r + 1) - first;
    const int64_t context = idx_at(&tensors[SEQ_LENS], r) - query;
    const int64_t pos =
        (wrong == CONTEXT_LOST ? 0 : context) + t - (wrong == START_NOT_SUBTRACTED ? 0 : first);
    const int64_t start = idx_max(pos - window + 1 + (wrong == WINDOW_SHORT), 0);
    const int64_t len = wrong == NEGATIVE_LEN ? pos + 1 - start : idx_max(pos + 1 - start, 0);
    lens[i] = (int32_t)len;
    if (!valid) return;
    dsv4_tensor table = tensors[BLOCK_TABLE];
    if (wrong == TABLE_ROW_WIDTH) table.stride[0] = table.shape[1] * 4;
    for (int64_t c = 0; c < window; c++) {
        const int64_t position = wrong == NEWEST_FIRST ? pos - c : start + c;
        if (c < len)
            row[c] =
                (int32_t)idx_slot(&table, wrong == FIRST_REQUEST ? 0 : r, position, block_size);
        else if (wrong != TAIL_KEPT)
            row[c] = -1;
    }
}

static int run(const dsv4_call *call, int mutant, struct dsv4_err *err) {
    const dsv4_tensor *const lens = &call->tensors[LENS];
    const int64_t rows = call->tensors[INDICES].shape[0];
    const int64_t last = rows + dsv4_int(call, "token_offset", 0);
    if (last > call->tensors[IS_VALID].shape[0] || rows > lens->shape[0]) {
        dsv4_fail(err, "%lld rows of indices end at token %lld; is_valid has %lld, lens %lld",
                  (long long)rows, (long long)last, (long long)call->tensors[IS_VALID].shape[0],
                  (long long)lens->shape[0]);
        return DSV4_REFUSED;
    }
#pragma omp parallel for schedule(static)
    for (int64_t i = 0; i < rows; i++) write_row(call, i, mutant);
    for (int64_t i = rows; rows > 0 && mutant != TAIL_LENS_KEPT && i < lens->shape[0]; i++)
        ((int32_t *)lens->data)[i] = 0;
    return DSV4_OK;
}

static void trace(const struct dsv4_case *c, size_t slot, int64_t offset, char *line, size_t size) {
    const dsv4_tensor *const out = &c->tensors[slot].t;
    const int64_t t = offset / out->stride[0] + dsv4_case_int(c, "token_offset");
    if (t >= c->tensors[IS_VALID].t.shape[0]) {
        snprintf(line, size, "beyond the rows of indices");
        return;
    }
    const int32_t r = idx_at(&c->tensors[TOKEN_TO_REQ].t, t);
    snprintf(line, size, "token %lld (%s) of request %d: seq_len %d", (long long)t,
             idx_flag(&c->tensors[IS_VALID].t, t) ? "valid" : "padding", r,
             idx_at(&c->tensors[SEQ_LENS].t, r));
}

static void work(const struct dsv4_case *c, struct dsv4_work *work) {
    const dsv4_tensor *const indices = &c->tensors[INDICES].t;
    double valid = 0;
    for (int64_t i = 0; i < indices->shape[0]; i++)
        valid += idx_token_is_valid(c, i + dsv4_case_int(c, "token_offset"));
    work->bytes_read = 5.0 * (double)indices->shape[0];
    work->bytes_written = 4.0 * (valid * (double)indices->shape[1] + (double)indices->shape[0]);
}

const struct dsv4_op dsv4_op_idx_swa = {
    .name = "idx_swa",
    .summary = "lists the cache slots of each token's sliding window",
    .source = "vllm v1/attention/backends/mla/sparse_swa.py",
    .exact = "integers alone",
    DSV4_OP_PARTS,
};
