/* SPDX-License-Identifier: Apache-2.0 */
/*
 * idx_compressed_slot_mapping: where each token's compressed row is stored, if the token ends one.
 *
 * Entry t of request r (query_start_loc[r] <= t < query_start_loc[r + 1]) is at pos = seq_lens[r] - query_len + t -
 * query_start_loc[r]. If (pos + 1) % ratio == 0: slots[t] = block_table[r, p / block_size] * block_size + p % block_size
 * with p = pos / ratio, a product of 64 bits. All other entries, of the whole buffer, are -1, and so are those of a negative
 * pos, where seq_lens is less than the query.
 *
 * Integers: no rounding. block_table has no negative entry that is used. Domain: slots reaches the last query's end.
 * Source: vllm v1/attention/backends/mla/compressor_utils.py.
 * Latitude: upstream multiplies in 32 bits; caches of more than 2^31 rows need 64.
 */
#include <stdio.h>

#include "idx_family.h"

enum { QUERY_START, SEQ_LENS, BLOCK_TABLE, SLOTS };
enum {
    RIGHT,
    BOUNDARY_EARLY,
    EVERY_TOKEN,
    TOKEN_ROW,
    BUFFER_KEPT,
    PRODUCT_WRAPS,
    START_IS_ZERO,
    CONTEXT_LOST,
    TABLE_ROW_WIDTH,
    NEGATIVE_MAPPED,
    OFF_BOUNDARY_ZERO
};

static const struct dsv4_param_def params[] = {
    DSV4_PARAM_INT("ratio", CALL, 4, 1, 1024, "tokens per compressed row"),
    DSV4_PARAM_INT("block_size", CALL, 64, 1, 65536, "rows of a page of the compressed cache"),
    IDX_STEP_PARAMS("9@0,3@6"),
    IDX_SHORT_PARAM,
};

static const struct dsv4_slot slots[] = {
    {"query_start_loc", DSV4_IN,  "[requests + 1] i32",              "first token of each request, the end"},
    {"seq_lens",        DSV4_IN,  "[requests] i32",                  "tokens with the step's; 0 is padding"},
    {"block_table",     DSV4_IN,  "[requests, W] i32, rows strided", "pages; garbage beyond use"           },
    {"slots",           DSV4_OUT, "[>= tokens] i64",                 "slot of each token's row, or -1"     },
};

static const struct dsv4_mutant mutants[] = {
    {"boundary-early",    "a row stored where pos % ratio is 0; it ends at ratio - 1",         BOUNDARY_EARLY},
    {"every-token",       "tokens inside a window given its slot; they have none",             EVERY_TOKEN   },
    {"token-row",         "the token's position for the row's number",                         TOKEN_ROW     },
    {"buffer-kept",       "entries beyond the tokens left as they were; they are -1",          BUFFER_KEPT   },
    {"product-wraps",     "page * block_size in 32 bits; it is a product of 64",               PRODUCT_WRAPS },
    {"start-is-zero",     "the first request's tokens taken to start at entry 0",              START_IS_ZERO },
    {"context-lost",      "positions counted from the step's first token",                     CONTEXT_LOST  },
    {"table-row-width",   "block table rows taken as `width` apart; they have a stride",
     TABLE_ROW_WIDTH                                                                                         },
    {"negative-mapped",   "position -1 ends row 0: the store overwrites it; it has no row",
     NEGATIVE_MAPPED                                                                                         },
    {"off-boundary-zero", "0 where there is no slot: the store writes into block 0; it is -1",
     OFF_BOUNDARY_ZERO                                                                                       },
};

static int shape(struct dsv4_case *c, struct dsv4_err *err) {
    const int64_t block_size = dsv4_case_int(c, "block_size");
    if (idx_step_make(c, err) != 0) return -1;
    const struct idx_step *const step = idx_step_of(c);
    /* `high`: pages whose first rows lie around 2^31 and 2^32. */
    idx_step_page(c, block_size, dsv4_case_int(c, "ratio"), 0, block_size);
    idx_shape_rows(c, QUERY_START, DSV4_I32, step->batch.n_requests + 1);
    idx_shape_rows(c, SEQ_LENS, DSV4_I32, step->batch.n_requests);
    idx_shape_table(c, BLOCK_TABLE);
    idx_shape_rows(c, SLOTS, DSV4_I64, step->first + step->batch.n_rows);
    return 0;
}

static void fill(struct dsv4_case *c) {
    idx_fill_query_start(c, QUERY_START);
    idx_fill_short_seq_lens(c, SEQ_LENS);
    idx_fill_table(c, BLOCK_TABLE);
}

static int64_t slot_of(const dsv4_call *call, int64_t t, int wrong) {
    const dsv4_tensor *const tensors = call->tensors, *const start = &tensors[QUERY_START];
    const int64_t ratio = dsv4_int(call, "ratio", 4), block_size = dsv4_int(call, "block_size", 64);
    const int64_t none = wrong == OFF_BOUNDARY_ZERO ? 0 : -1;
    const int64_t r = idx_request_of(start, wrong == START_IS_ZERO ? t + idx_at(start, 0) : t);
    if (r < 0) return -1;
    const int64_t first = idx_at(start, r), query = idx_at(start, r + 1) - first;
    const int64_t context = wrong == CONTEXT_LOST ? 0 : idx_at(&tensors[SEQ_LENS], r) - query;
    const int64_t pos = context + t - (wrong == START_IS_ZERO ? first - idx_at(start, 0) : first);
    const bool boundary =
        (pos >= 0 || wrong == NEGATIVE_MAPPED) && (pos + (wrong != BOUNDARY_EARLY)) % ratio == 0;
    if (!boundary && wrong != EVERY_TOKEN) return none;
    dsv4_tensor table = tensors[BLOCK_TABLE];
    if (wrong == TABLE_ROW_WIDTH) table.stride[0] = table.shape[1] * 4;
    const int64_t slot = idx_slot(&table, r, wrong == TOKEN_ROW ? pos : pos / ratio, block_size);
    return wrong == PRODUCT_WRAPS ? (int32_t)(uint32_t)slot : slot;
}

static int run(const dsv4_call *call, int mutant, struct dsv4_err *err) {
    const dsv4_tensor *const start = &call->tensors[QUERY_START], *const out =
                                                                      &call->tensors[SLOTS];
    const int64_t end = idx_at(start, start->shape[0] - 1);
    (void)err;
#pragma omp parallel for schedule(static)
    for (int64_t t = 0; t < (mutant == BUFFER_KEPT ? end : out->shape[0]); t++)
        ((int64_t *)out->data)[t] = slot_of(call, t, mutant);
    return DSV4_OK;
}

static void trace(const struct dsv4_case *c, size_t slot, int64_t offset, char *line, size_t size) {
    const struct idx_step *const step = idx_step_of(c);
    const int64_t t = offset / 8, token = t - step->first;
    (void)slot;
    if (token < 0 || token >= step->batch.n_tokens)
        snprintf(line, size, "no request covers token %lld", (long long)t);
    else
        snprintf(line, size, "token %lld: request %d, position %lld", (long long)t,
                 step->batch.token_to_req[token], (long long)step->batch.positions[token]);
}

static void work(const struct dsv4_case *c, struct dsv4_work *work) {
    const struct idx_step *const step = idx_step_of(c);
    const double tokens = (double)step->batch.n_tokens;
    work->bytes_read =
        12.0 * (double)step->batch.n_requests +
        4 * tokens / (double)dsv4_case_int(c, "ratio") / (double)dsv4_case_int(c, "block_size");
    work->bytes_written = 8.0 * (double)c->tensors[SLOTS].t.shape[0];
}

const struct dsv4_op dsv4_op_idx_compressed_slot_mapping = {
    .name = "idx_compressed_slot_mapping",
    .summary = "gives tokens at a compression boundary the slot of their row",
    .source = "vllm v1/attention/backends/mla/compressor_utils.py",
    .exact = "integers alone",
    DSV4_OP_PARTS,
};
