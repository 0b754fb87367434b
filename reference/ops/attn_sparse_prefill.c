/* SPDX-License-Identifier: Apache-2.0 */
/*
 * attn_sparse_prefill: every query token attends the rows of a bf16 workspace that its list names; keys and values are
 * the same rows.
 *
 * Scores, weights and sums as attn_family.h has them, over one source. With a sink: M = max(m, sink), a = exp(m - M),
 * den = l * a + exp(sink - M), else M = m:
 *   o = bf16((acc * a) / den)    max_logits = m    lse = m + log(l)
 * A maximum of -0 counts as +0. An entry counts if it is 0 .. rows - 1; others, within a list or beyond its length, are
 * not read. No entry left: o = +0, max_logits = -inf, lse = +inf. max_logits and lse have no sink in them.
 * Rounding points in order: chains of fma and sums of blocks; product with scale; s - m; exp; l; the weight to bf16 for
 * acc alone; m - M; exp; acc * a; l * a; the sum; the quotient; to bf16. log; m + log(l).
 *
 * Domain: rows that are attended hold finite values; rows that are not may hold NaN. indptr lies within the entries. Any
 * lens will do.
 * Source: FlashMLA csrc/sm90/prefill/sparse, vllm v1/attention/ops/rocm_aiter_mla_sparse.py, aiter pa_sparse_prefill.
 * Latitude: conforming kernels tile keys by 16, 32 or 64, merge sums of even and odd tiles at the end, take exp2 of scores
 * times log2 e, and sum in the matrix unit's order. OPUS refuses lists with an entry that names no row.
 */
#include "attn_bound.h"

enum { Q, KV, INDICES, LENS, INDPTR, SINK, O, MAX_LOGITS, LSE };

static const struct dsv4_param_def params[] = {
    ATTN_FORM_PARAM,
    ATTN_CALL_PARAMS,
    ATTN_QUERY_PARAMS,
    ATTN_SINK_PARAM,
    ATTN_LIST_PARAMS("", "128", 160),
    ATTN_INDEX_PARAMS,
    ATTN_ROW_PARAMS,
};

static const struct dsv4_slot slots[] = {
    {"q",          DSV4_IN,  "[tokens, heads or more, 512] bf16, strided",           "queries"                                        },
    {"kv",         DSV4_IN,  "[rows, 512] bf16, rows strided",                       "keys, and values"                               },
    {"indices",    DSV4_IN,  "[tokens, W] i32, rows strided; ragged: [entries] i32", "rows of kv"                                     },
    {"lens",       DSV4_IN,  "[tokens] i32, or absent",                              "columns that count; absent: all, or indptr says"},
    {"indptr",     DSV4_IN,  "[tokens + 1] i32, or absent",                          "where ragged lists begin"                       },
    {"sink",       DSV4_IN,  "[heads or more] f32, or absent",                       "a logit without a value"                        },
    {"o",          DSV4_OUT, "[tokens, heads or more, 512] bf16, strided",           "attention output"                               },
    {"max_logits", DSV4_OUT, "[tokens, heads or more] f32, rows strided",            "the largest score"                              },
    {"lse",        DSV4_OUT, "[tokens, heads or more] f32, rows strided",
     "natural log of the sum, without the sink"                                                                                       },
};

static const struct dsv4_mutant mutants[] = {
    ATTN_MUTANTS_OF_SCORES,
    ATTN_MUTANTS_OF_LISTS,
    ATTN_MUTANTS_OF_ADDRESSES,
    ATTN_MUTANTS_OF_SINKS,
    ATTN_MUTANT_SINK_AS_KEY,
    ATTN_MUTANTS_OF_EMPTY_ROWS,
    {"row-fp16",            "rows held in fp16; they have the range of bf16", ATTN_ROW_FP16           },
    {"max-logit-from-zero", "the maximum starts at 0; it starts at -inf",     ATTN_MAX_LOGIT_FROM_ZERO},
};

static int shape(struct dsv4_case *c, struct dsv4_err *err) {
    struct attn_plan *const plan = dsv4_case_alloc(c, sizeof *plan);
    c->plan = plan;
    if (attn_lists_make(c, &plan->main, "", err) != 0) return -1;
    attn_shape_query(c, Q);
    attn_shape_source(c, KV, &plan->main, "");
    attn_shape_sink(c, SINK);
    attn_shape_query(c, O);
    for (size_t slot = MAX_LOGITS; slot <= LSE; slot++) {
        DSV4_SHAPE(c, slot, DSV4_F32, dsv4_case_int(c, "tokens"), attn_padded_heads(c));
        attn_widen(c, slot, 0, 16);
        attn_spread(c, slot);
    }
    return 0;
}

static void fill(struct dsv4_case *c) {
    attn_fill_query(c, Q);
    attn_fill_source(c, KV, &attn_plan_of(c)->main, "");
    attn_fill_sink(c, SINK);
}

const struct dsv4_op dsv4_op_attn_sparse_prefill;

static int run(const dsv4_call *call, int mutant, struct dsv4_err *err) {
    const enum attn_wrong wrong = attn_wrong_of(&dsv4_op_attn_sparse_prefill, mutant);
    const dsv4_tensor *const tensors = call->tensors;
    const struct attn_outputs outputs = {&tensors[O], &tensors[LSE], &tensors[MAX_LOGITS], false};
    const float *const sink = attn_sink_of(&tensors[SINK]);
    const float scale = dsv4_float(call, "scale", 0.0f);
    const int64_t heads = dsv4_int(call, "heads", 1);
    struct attn_source rows;
    (void)err;
    attn_source_open(&rows, call, "", "kv", wrong);
#pragma omp parallel
    {
        struct attn_token token;
        attn_token_start(&token, heads, wrong);
#pragma omp for schedule(dynamic)
        for (int64_t t = 0; t < tensors[Q].shape[0]; t++) {
            attn_token_clear(&token);
            attn_token_query(&token, &tensors[Q], t, scale);
            attn_token_append(&token, &rows, attn_list_of(&rows, t));
            attn_token_attend(&token, scale, sink);
            attn_token_store(&token, &outputs, sink, t);
        }
        attn_token_free(&token);
    }
    return DSV4_OK;
}

/* attn_bound.c */
static void bound(const dsv4_call *call, struct dsv4_admission *a) {
    const dsv4_tensor *const tensors = call->tensors;
    const struct attn_bound what = {call,
                                    a,
                                    Q,
                                    O,
                                    LSE,
                                    MAX_LOGITS,
                                    dsv4_float(call, "scale", 0.0f),
                                    attn_sink_of(&tensors[SINK]),
                                    false};
    struct attn_source rows;
    attn_source_open(&rows, call, "", "kv", ATTN_RIGHT);
#pragma omp parallel
    {
        struct attn_token token;
        attn_token_start(&token, dsv4_int(call, "heads", 1), ATTN_RIGHT);
#pragma omp for schedule(dynamic)
        for (int64_t t = 0; t < tensors[Q].shape[0]; t++) {
            if (attn_token_settled(&what, token.heads, t)) continue;
            attn_token_clear(&token);
            attn_token_append(&token, &rows, attn_list_of(&rows, t));
            attn_token_bound(&what, &token, t);
        }
        attn_token_free(&token);
    }
}

static void trace(const struct dsv4_case *c, size_t slot, int64_t offset, char *line, size_t size) {
    attn_trace(c, slot, offset, SINK, line, size);
}

static void work(const struct dsv4_case *c, struct dsv4_work *work) {
    const double rows = (double)(dsv4_case_int(c, "tokens") * dsv4_case_int(c, "heads"));
    attn_work(c, attn_plan_of(c), work);
    work->bytes_written = rows * (double)(2 * KV_HEAD + 8);
}

const struct dsv4_op dsv4_op_attn_sparse_prefill = {
    .name = "attn_sparse_prefill",
    .summary = "attends listed rows of a bf16 workspace, with sinks",
    .source = "FlashMLA sparse prefill, vllm rocm_aiter_mla_sparse.py",
    .bound = bound,
    .latitude = ATTN_LATITUDE,
    DSV4_OP_PARTS,
};
