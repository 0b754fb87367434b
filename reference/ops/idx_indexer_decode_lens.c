/* SPDX-License-Identifier: Apache-2.0 */
/*
 * idx_indexer_decode_lens: how many compressed rows each query token of a decode step may score.
 *
 * Token j of request b, of next_n tokens each: max(seq_lens[b] - next_n + j + 1, 0) / ratio, clamped before it is
 * divided: a padded request has seq_len 0, and readers take lens as unsigned. native: lens[b, j] of a [.., next_n]
 * tensor; flattened: lens[b * next_n + j, 0]. Entries beyond the requests' are 0.
 *
 * Integers: no rounding. Refused: lens with fewer rows than the requests have, or another row length.
 * Source: vllm v1/attention/backends/mla/indexer.py. Latitude: none.
 */
#include <stdio.h>

#include "idx_family.h"

enum { SEQ_LENS, LENS };
enum {
    RIGHT,
    ROW_WRAPS,
    NOT_CLAMPED,
    CLAMPED_AFTER,
    NOT_DIVIDED,
    TOKEN_LEN_SHORT,
    SAME_FOR_ALL,
    ROUNDED_UP,
    REST_KEPT,
    PADDING_KEPT,
    ROW_WIDTH
};

static const struct dsv4_param_def params[] = {
    DSV4_PARAM_NAME("form", CALL, "native", "native flattened",
                    "native: [requests, next_n]; flattened: [requests * next_n, 1]"),
    DSV4_PARAM_INT("next_n", CALL, 1, 1, 64, "query tokens of each request"),
    DSV4_PARAM_INT("ratio", CALL, 4, 1, 1024, "tokens per compressed row"),
    DSV4_PARAM_INT("requests", INPUT, 8, 0, 1 << 24, "decode requests, padding included"),
    DSV4_PARAM_TEXT("seq_lens", INPUT, "~4096", "by turns: 128,0,~64 (~ draws up to)"),
    DSV4_PARAM_INT("spare", INPUT, 3, 0, 1 << 16, "rows of lens beyond the requests'"),
    DSV4_PARAM_INT("missing", INPUT, 0, 0, 1, "1: lens has one row too few: refused"),
    IDX_VIEW_PARAM,
};

static const struct dsv4_slot slots[] = {
    {"seq_lens", DSV4_IN,  "[requests] i32",                                                       "tokens with the step's; 0 is padding"},
    {"lens",     DSV4_OUT, "[>= requests, next_n] or [>= requests * next_n, 1] i32, rows strided",
     "rows to score"                                                                                                                     },
};

static const struct dsv4_mutant mutants[] = {
    {"row-wraps",       "byte offset of a row of lens computed in 32 bits",                    ROW_WRAPS      },
    {"not-clamped",     "negative lens of padding: -1 is 4294967295 to who reads it unsigned",
     NOT_CLAMPED                                                                                              },
    {"clamped-after",   "divided, rounding down, and then clamped at -1 + 1",                  CLAMPED_AFTER  },
    {"not-divided",     "tokens for compressed rows; the len is divided by ratio",             NOT_DIVIDED    },
    {"token-len-short", "seq_len - next_n + j; the token itself counts",                       TOKEN_LEN_SHORT},
    {"same-for-all",    "the last token's len for all tokens of a request",                    SAME_FOR_ALL   },
    {"rounded-up",      "a row counted before its last token; the division rounds down",       ROUNDED_UP     },
    {"rest-kept",       "entries beyond the requests' left as they were; they are 0",          REST_KEPT      },
    {"padding-kept",    "lens of a request of seq_len 0 left as they were; they are 0",        PADDING_KEPT   },
    {"row-width",       "rows of lens taken as next_n apart; they have a stride",              ROW_WIDTH      },
};

static int shape(struct dsv4_case *c, struct dsv4_err *err) {
    const int64_t requests = dsv4_case_int(c, "requests"), next_n = dsv4_case_int(c, "next_n");
    const bool native = dsv4_case_is(c, "form", "native");
    if ((c->plan = idx_lengths(c, "seq_lens", requests, err)) == NULL) return -1;
    const int64_t rows = native ? requests : requests * next_n;
    const bool missing = dsv4_case_int(c, "missing") != 0;
    idx_shape_rows(c, SEQ_LENS, DSV4_I32, requests);
    idx_shape_matrix(c, LENS, missing ? rows - 1 : rows + dsv4_case_int(c, "spare"),
                     native ? next_n : 1, 3);
    c->refused = missing;
    return 0;
}

static void fill(struct dsv4_case *c) {
    memcpy(c->tensors[SEQ_LENS].t.data, c->plan,
           (size_t)c->tensors[SEQ_LENS].t.shape[0] * sizeof(int32_t));
}

static int64_t length_of(const dsv4_call *call, int64_t b, int64_t j, int wrong) {
    const int64_t next_n = dsv4_int(call, "next_n", 1), ratio = dsv4_int(call, "ratio", 4);
    const int64_t token = wrong == SAME_FOR_ALL ? next_n - 1 : j;
    int64_t n = idx_at(&call->tensors[SEQ_LENS], b) - next_n + token + 1;
    if (wrong == TOKEN_LEN_SHORT) n--;
    if (wrong == NOT_CLAMPED) return n / ratio;
    if (wrong == CLAMPED_AFTER) return n < 0 ? 1 : n / ratio;
    n = idx_max(n, 0);
    if (wrong == ROUNDED_UP) n += ratio - 1;
    return wrong == NOT_DIVIDED ? n : n / ratio;
}

static int run(const dsv4_call *call, int mutant, struct dsv4_err *err) {
    const dsv4_tensor *const lens = &call->tensors[LENS];
    const int64_t requests = call->tensors[SEQ_LENS].shape[0];
    const int64_t next_n = dsv4_int(call, "next_n", 1);
    const int64_t columns = dsv4_is(call, "form", "native") ? next_n : 1;
    dsv4_tensor out = *lens;
    if (mutant == ROW_WIDTH) out.stride[0] = columns * 4;
    if (lens->shape[1] != columns || lens->shape[0] * columns < requests * next_n) {
        dsv4_fail(err, "lens is [%lld, %lld]; %lld requests of %lld tokens do not fit",
                  (long long)lens->shape[0], (long long)lens->shape[1], (long long)requests,
                  (long long)next_n);
        return DSV4_REFUSED;
    }
#pragma omp parallel for schedule(static)
    for (int64_t i = 0; i < lens->shape[0] * columns; i++) {
        int32_t *const row = idx_row_or(&out, i / columns, mutant == ROW_WRAPS);
        const bool real = i < requests * next_n;
        if (real && mutant == PADDING_KEPT && idx_at(&call->tensors[SEQ_LENS], i / next_n) == 0)
            continue;
        if (real)
            row[i % columns] = (int32_t)length_of(call, i / next_n, i % next_n, mutant);
        else if (mutant != REST_KEPT)
            row[i % columns] = 0;
    }
    return DSV4_OK;
}

static void trace(const struct dsv4_case *c, size_t slot, int64_t offset, char *line, size_t size) {
    const dsv4_tensor *const lens = &c->tensors[slot].t;
    const int64_t next_n = dsv4_case_int(c, "next_n");
    const int64_t i = offset / lens->stride[0] * lens->shape[1] + offset % lens->stride[0] / 4;
    const int64_t b = i / next_n;
    if (b < c->tensors[SEQ_LENS].t.shape[0])
        snprintf(line, size, "token %lld of request %lld: seq_len %d", (long long)(i % next_n),
                 (long long)b, idx_at(&c->tensors[SEQ_LENS].t, b));
    else
        snprintf(line, size, "beyond the requests");
}

static void work(const struct dsv4_case *c, struct dsv4_work *work) {
    const dsv4_tensor *const lens = &c->tensors[LENS].t;
    work->bytes_read = 4.0 * (double)dsv4_case_int(c, "requests");
    work->bytes_written = 4.0 * (double)(lens->shape[0] * lens->shape[1]);
}

const struct dsv4_op dsv4_op_idx_indexer_decode_lens = {
    .name = "idx_indexer_decode_lens",
    .summary = "counts the compressed rows that each decode token may score",
    .source = "vllm v1/attention/backends/mla/indexer.py",
    .exact = "integers alone",
    DSV4_OP_PARTS,
};
