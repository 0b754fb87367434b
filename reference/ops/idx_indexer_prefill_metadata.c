/* SPDX-License-Identifier: Apache-2.0 */
/*
 * idx_indexer_prefill_metadata: which rows of the gathered indexer keys each query token of a chunk may score.
 *
 * The keys of the chunk's requests lie end to end: request r (from 0) has seq_lens[r] / ratio rows, from cu_rows[r] on,
 * their exclusive prefix sum; cu_rows[requests] = N is all of them. token_to_seq[n] = r for cu_rows[r] <= n < cu_rows[r + 1];
 * entries from N on are untouched. Row i is token t = token_offset + i, counted from query_start_loc[0], of request r at
 * pos = seq_lens[r] - query_len + t - (query_start_loc[r] - query_start_loc[0]): ks[i] = cu_rows[r],
 * ke[i] = ks[i] + (pos + 1) / ratio. Tokens that no request covers have ks = ke = 0; a negative
 * pos, where seq_lens is less than the query, has ke = ks.
 *
 * Integers: no rounding. Domain: N fits into token_to_seq. Refused: ks and ke of different lengths.
 * Source: vllm v1/attention/backends/mla/indexer.py. Latitude: none; how steps are split into chunks is the host's.
 */
#include <stdio.h>

#include "idx_family.h"

enum { QUERY_START, SEQ_LENS, CU_ROWS, TOKEN_TO_SEQ, KS, KE };
enum {
    RIGHT,
    CONTEXT_LOST,
    ROW_TOO_EARLY,
    TOKENS_NOT_ROWS,
    KS_IS_ZERO,
    OFFSET_LOST,
    SUM_THEN_DIVIDE,
    REQUEST_FROM_ONE,
    TAIL_WRITTEN,
    KE_BEFORE_KS,
    START_NOT_REBASED
};

static const struct dsv4_param_def params[] = {
    DSV4_PARAM_INT("ratio", CALL, 4, 1, 1024, "tokens per compressed row"),
    DSV4_PARAM_INT("token_offset", CALL, 0, 0, 1 << 24, "the chunk's token of row 0"),
    IDX_STEP_PARAMS("5@20,9@0,3@101"),
    IDX_SHORT_PARAM,
    DSV4_PARAM_INT("spare", INPUT, 3, 0, 1 << 20, "entries of token_to_seq beyond the rows"),
    DSV4_PARAM_INT("short_ke", INPUT, 0, 0, 1, "1: ke lacks an entry: refused"),
};

static const struct dsv4_slot slots[] = {
    {"query_start_loc", DSV4_IN,  "[requests + 1] i32", "first token of each request, the end"},
    {"seq_lens",        DSV4_IN,  "[requests] i32",     "tokens with the step's"              },
    {"cu_rows",         DSV4_OUT, "[requests + 1] i32", "where requests' keys start"          },
    {"token_to_seq",    DSV4_OUT, "[>= N] i32",         "the request of each key"             },
    {"ks",              DSV4_OUT, "[rows] i32",         "first key of each token"             },
    {"ke",              DSV4_OUT, "[rows] i32",         "end of its keys"                     },
};

static const struct dsv4_mutant mutants[] = {
    {"context-lost",      "positions counted from the chunk's first token",                         CONTEXT_LOST     },
    {"row-too-early",     "a row counted before its last token; pos / ratio for (pos + 1) / ratio",
     ROW_TOO_EARLY                                                                                                   },
    {"tokens-not-rows",   "keys counted in tokens; there is one for each compressed row",
     TOKENS_NOT_ROWS                                                                                                 },
    {"ks-is-zero",        "all tokens start at the chunk's first key; at their request's",          KS_IS_ZERO       },
    {"offset-lost",       "row i taken for token i; it is token_offset + i",                        OFFSET_LOST      },
    {"sum-then-divide",   "prefix sum of tokens divided; each request is divided, rounding down",
     SUM_THEN_DIVIDE                                                                                                 },
    {"request-from-one",  "requests numbered from 1 in token_to_seq",                               REQUEST_FROM_ONE },
    {"tail-written",      "token_to_seq written beyond N; entries there stay",                      TAIL_WRITTEN     },
    {"ke-before-ks",      "ke of a token before its sequence below ks; both are alike",             KE_BEFORE_KS     },
    {"start-not-rebased", "query_start_loc taken to start at 0",                                    START_NOT_REBASED},
};

static int shape(struct dsv4_case *c, struct dsv4_err *err) {
    const int64_t ratio = dsv4_case_int(c, "ratio");
    if (idx_step_make(c, err) != 0) return -1;
    const struct dsv4_batch *const batch = &idx_step_of(c)->batch;
    const int64_t requests = batch->n_requests;
    const int64_t rows = idx_max(batch->n_rows - dsv4_case_int(c, "token_offset"), 0);
    int64_t keys = 0;
    for (int64_t r = 0; r < requests; r++) keys += batch->seq_lens[r] / ratio;
    if (batch->room != NULL) keys = requests * (dsv4_batch_longest(batch) / ratio);
    idx_shape_rows(c, QUERY_START, DSV4_I32, requests + 1);
    idx_shape_rows(c, SEQ_LENS, DSV4_I32, requests);
    idx_shape_rows(c, CU_ROWS, DSV4_I32, requests + 1);
    idx_shape_rows(c, TOKEN_TO_SEQ, DSV4_I32, keys + dsv4_case_int(c, "spare"));
    idx_shape_rows(c, KS, DSV4_I32, rows);
    c->refused = dsv4_case_int(c, "short_ke") != 0 && rows > 0;
    idx_shape_rows(c, KE, DSV4_I32, rows - (c->refused ? 1 : 0));
    return 0;
}

static void fill(struct dsv4_case *c) {
    idx_fill_query_start(c, QUERY_START);
    idx_fill_short_seq_lens(c, SEQ_LENS);
}

static void number_keys(const dsv4_call *call, int wrong) {
    const dsv4_tensor *const tensors = call->tensors;
    const int64_t requests = tensors[SEQ_LENS].shape[0], ratio = dsv4_int(call, "ratio", 4);
    const int64_t room = tensors[TOKEN_TO_SEQ].shape[0];
    int32_t *const starts = tensors[CU_ROWS].data, *const to = tensors[TOKEN_TO_SEQ].data;
    int64_t sum = 0;
    starts[0] = 0;
    for (int64_t r = 0; r < requests; r++) {
        const int64_t tokens = idx_at(&tensors[SEQ_LENS], r);
        const bool whole = wrong == TOKENS_NOT_ROWS || wrong == SUM_THEN_DIVIDE;
        sum += whole ? tokens : tokens / ratio;
        starts[r + 1] = (int32_t)(wrong == SUM_THEN_DIVIDE ? sum / ratio : sum);
        for (int64_t n = starts[r]; n < idx_min(starts[r + 1], room); n++)
            to[n] = (int32_t)(r + (wrong == REQUEST_FROM_ONE));
    }
    for (int64_t n = starts[requests]; wrong == TAIL_WRITTEN && n < room; n++) to[n] = -1;
}

static int run(const dsv4_call *call, int mutant, struct dsv4_err *err) {
    const dsv4_tensor *const tensors = call->tensors, *const start = &tensors[QUERY_START];
    const int64_t rows = tensors[KS].shape[0], ratio = dsv4_int(call, "ratio", 4);
    const int64_t offset = mutant == OFFSET_LOST ? 0 : dsv4_int(call, "token_offset", 0);
    const int64_t origin = mutant == START_NOT_REBASED ? 0 : idx_at(start, 0);
    const int32_t *const starts = tensors[CU_ROWS].data;
    int32_t *const ks = tensors[KS].data, *const ke = tensors[KE].data;
    if (tensors[KE].shape[0] != rows) {
        dsv4_fail(err, "ks has %lld entries, ke %lld", (long long)rows,
                  (long long)tensors[KE].shape[0]);
        return DSV4_REFUSED;
    }
    number_keys(call, mutant);
#pragma omp parallel for schedule(static)
    for (int64_t i = 0; i < rows; i++) {
        const int64_t t = i + offset + origin, r = idx_request_of(start, t);
        ks[i] = ke[i] = 0;
        if (r < 0) continue;
        const int64_t query = idx_at(start, r + 1) - idx_at(start, r);
        const int64_t context = mutant == CONTEXT_LOST ? 0 : idx_at(&tensors[SEQ_LENS], r) - query;
        const int64_t at = context + t - idx_at(start, r);
        const int64_t pos = mutant == KE_BEFORE_KS ? at : idx_max(at, -1);
        ks[i] = mutant == KS_IS_ZERO ? 0 : starts[r];
        ke[i] = (int32_t)(ks[i] + (mutant == TOKENS_NOT_ROWS
                                       ? pos + 1
                                       : (pos + (mutant != ROW_TOO_EARLY)) / ratio));
    }
    return DSV4_OK;
}

static void trace(const struct dsv4_case *c, size_t slot, int64_t offset, char *line, size_t size) {
    const struct dsv4_batch *const batch = &idx_step_of(c)->batch;
    const int64_t i = offset / 4, t = i + dsv4_case_int(c, "token_offset");
    if (slot == CU_ROWS)
        snprintf(line, size, "keys of the requests before %lld", (long long)i);
    else if (slot == TOKEN_TO_SEQ)
        snprintf(line, size, "key %lld", (long long)i);
    else if (t >= batch->n_tokens)
        snprintf(line, size, "no request covers token %lld", (long long)t);
    else
        snprintf(line, size, "token %lld: request %d, position %lld", (long long)t,
                 batch->token_to_req[t], (long long)batch->positions[t]);
}

static void work(const struct dsv4_case *c, struct dsv4_work *work) {
    const struct dsv4_batch *const batch = &idx_step_of(c)->batch;
    double keys = 0;
    for (int64_t r = 0; r < batch->n_requests; r++)
        keys += (double)(batch->seq_lens[r] / dsv4_case_int(c, "ratio"));
    work->bytes_read = 8.0 * (double)batch->n_requests;
    work->bytes_written =
        4 * keys + 8.0 * (double)c->tensors[KS].t.shape[0] + 4.0 * (double)batch->n_requests;
}

const struct dsv4_op dsv4_op_idx_indexer_prefill_metadata = {
    .name = "idx_indexer_prefill_metadata",
    .summary = "ranges of gathered indexer keys that each prefill token may score",
    .source = "vllm v1/attention/backends/mla/indexer.py",
    .exact = "integers alone",
    DSV4_OP_PARTS,
};
