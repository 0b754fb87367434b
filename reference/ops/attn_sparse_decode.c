/* SPDX-License-Identifier: Apache-2.0 */
/*
 * attn_sparse_decode: every query token attends the rows that its lists name in a sliding-window cache and, where there
 * is one, in a compressed cache; keys and values are the same rows.
 *
 * A row is bf16(code * 2^(scale byte - 127)) in channels 0..447 and the stored bf16 above. Scores, weights and sums as
 * attn_family.h has them. With a sink: M = max(m, sink), a = exp(m - M), den = l * a + exp(sink - M), else M = m:
 *   o = bf16((acc * a) / den)    lse = m + log(l)
 * Rounding points in order: the row to bf16; chains of fma and sums of blocks; product with scale; s - m; exp; l; the
 * weight to bf16 for acc alone; m - M; exp; acc * a; l * a; the sum; the quotient; to bf16. log; m + log(l).
 * No entry left: o = +0, lse = +inf, whatever the sink. sink = +inf: o = +0. sink = -inf: no sink. lse has no sink in it.
 * lse_form log2_sink (FlashInfer on SM120): lse = (M + log(den)) * log2e, 1.44269504 in fp32, the product rounded; no entry
 * left: den = exp(sink - M), which makes sink * log2e; without a sink too: -inf. sink = +inf: +inf.
 * Only `heads` heads exist: rows of q and sink beyond are not read, rows of o and lse beyond stay untouched.
 *
 * Domain: rows that are attended hold finite values (or scrub = 1, and NaN counts as 0, 0x80 in fnuz caches), and scale
 * bytes that writers make, 105 to 247: shipping kernels differ at 0 and 255, where 255 is NaN to one and infinite to the
 * other. indptr lies within the entries. Any lens will do. Entries outside of the cache other than -1 are a tier of their
 * own: FlashMLA's decode tests for -1 alone, aiter's for negative ones and above only in the masked tile, Triton for both ends.
 * Source: vllm v1/attention/ops/rocm_aiter_mla_sparse.py, FlashMLA csrc/sm90/decode/sparse_fp8, aiter pa_decode_sparse;
 * lse_form log2_sink: flashinfer tests/attention/sparse_mla_test_utils.py.
 * Latitude: conforming kernels tile keys by 16, 32 or 64, rescale by a running maximum, take exp2 of scores times log2 e,
 * and sum in the matrix unit's order; o and lse then differ in the last bits. What no kernel may change: which entries
 * count, P in bf16, l from unrounded weights, the sink outside of the softmax, the values of empty rows.
 * Not taken over: aiter scales q and rounds it to bf16, leaves empty rows unwritten with one split and has sink = -inf
 * give 0 there; vllm's hardware-agnostic path ignores the sink, attends a row of zeros for -1, takes extra keys first and
 * has NaN in empty rows.
 */
#include "attn_bound.h"

enum {
    Q,
    CACHE,
    INDICES,
    LENS,
    INDPTR,
    EXTRA_CACHE,
    EXTRA_INDICES,
    EXTRA_LENS,
    EXTRA_INDPTR,
    SINK,
    O,
    LSE
};

static const struct dsv4_param_def params[] = {
    ATTN_FP8_PARAM(""),
    ATTN_LAYOUT_PARAM(""),
    ATTN_BLOCK_SIZE_PARAM("", 64),
    ATTN_FP8_PARAM("extra_"),
    ATTN_LAYOUT_PARAM("extra_"),
    ATTN_BLOCK_SIZE_PARAM("extra_", 64),
    ATTN_SCRUB_PARAM,
    DSV4_PARAM_NAME("lse_form", DIALECT, "natural", "natural log2_sink",
                    "natural and without the sink, or of base 2 and with it"),
    ATTN_FORM_PARAM,
    ATTN_CALL_PARAMS,
    ATTN_QUERY_PARAMS,
    ATTN_SINK_PARAM,
    ATTN_LIST_PARAMS("", "128", 160),
    ATTN_LIST_PARAMS("extra_", "none", 160),
    ATTN_INDEX_PARAMS,
    ATTN_ROW_PARAMS,
};

static const struct dsv4_slot slots[] = {
    {"q",             DSV4_IN,  "[tokens, heads or more, 512] bf16, strided",           "queries"                                        },
    {"cache",         DSV4_IN,  "[blocks, page bytes] u8, pages strided",               "main rows, 584 bytes each"                      },
    {"indices",       DSV4_IN,  "[tokens, W] i32, rows strided; ragged: [entries] i32",
     "slots of main rows"                                                                                                                },
    {"lens",          DSV4_IN,  "[tokens] i32, or absent",                              "columns that count; absent: all, or indptr says"},
    {"indptr",        DSV4_IN,  "[tokens + 1] i32, or absent",                          "where ragged lists begin"                       },
    {"extra_cache",   DSV4_IN,  "[blocks, page bytes] u8, or absent",                   "compressed rows"                                },
    {"extra_indices", DSV4_IN,  "as indices, or absent",                                "slots of compressed rows"                       },
    {"extra_lens",    DSV4_IN,  "as lens",                                              "columns of extra_indices"                       },
    {"extra_indptr",  DSV4_IN,  "as indptr",                                            "where ragged lists begin"                       },
    {"sink",          DSV4_IN,  "[heads or more] f32, or absent",                       "a logit without a value"                        },
    {"o",             DSV4_OUT, "[tokens, heads or more, 512] bf16, strided",           "attention output"                               },
    {"lse",           DSV4_OUT, "[tokens, heads or more] f32, rows strided",
     "natural log of the sum, without the sink"                                                                                          },
};

static const struct dsv4_mutant mutants[] = {
    ATTN_MUTANTS_OF_SCORES,  ATTN_MUTANTS_OF_LISTS,      ATTN_MUTANTS_OF_ADDRESSES,
    ATTN_MUTANTS_OF_PAGES,   ATTN_MUTANTS_OF_TWO_CACHES, ATTN_MUTANTS_OF_SINKS,
    ATTN_MUTANT_SINK_AS_KEY, ATTN_MUTANTS_OF_EMPTY_ROWS,
};

static int shape(struct dsv4_case *c, struct dsv4_err *err) {
    struct attn_plan *const plan = dsv4_case_alloc(c, sizeof *plan);
    c->plan = plan;
    plan->main.paged = plan->extra.paged = true;
    if (attn_lists_make(c, &plan->main, "", err) != 0) return -1;
    if (attn_lists_make(c, &plan->extra, "extra_", err) != 0) return -1;
    attn_shape_query(c, Q);
    attn_shape_source(c, CACHE, &plan->main, "");
    attn_shape_source(c, EXTRA_CACHE, &plan->extra, "extra_");
    attn_shape_sink(c, SINK);
    attn_shape_query(c, O);
    DSV4_SHAPE(c, LSE, DSV4_F32, dsv4_case_int(c, "tokens"), attn_padded_heads(c));
    attn_widen(c, LSE, 0, 16);
    attn_spread(c, LSE);
    return 0;
}

static void fill(struct dsv4_case *c) {
    const struct attn_plan *const plan = attn_plan_of(c);
    attn_fill_query(c, Q);
    attn_fill_source(c, CACHE, &plan->main, "");
    attn_fill_source(c, EXTRA_CACHE, &plan->extra, "extra_");
    attn_fill_sink(c, SINK);
}

const struct dsv4_op dsv4_op_attn_sparse_decode;

static int run(const dsv4_call *call, int mutant, struct dsv4_err *err) {
    const enum attn_wrong wrong = attn_wrong_of(&dsv4_op_attn_sparse_decode, mutant);
    const dsv4_tensor *const tensors = call->tensors;
    const struct attn_outputs outputs = {&tensors[O], &tensors[LSE], NULL,
                                         dsv4_is(call, "lse_form", "log2_sink")};
    const float *const sink = attn_sink_of(&tensors[SINK]);
    const float scale = dsv4_float(call, "scale", 0.0f);
    const int64_t heads = dsv4_int(call, "heads", 1);
    struct attn_source main, extra;
    (void)err;
    attn_source_open(&main, call, "", "cache", wrong);
    attn_source_open(&extra, call, "extra_", "cache", wrong);
    if (wrong == ATTN_EXTRA_MISSING) extra.rows = NULL;
#pragma omp parallel
    {
        struct attn_token token;
        attn_token_start(&token, heads, wrong);
#pragma omp for schedule(dynamic)
        for (int64_t t = 0; t < tensors[Q].shape[0]; t++) {
            const bool swapped = wrong == ATTN_EXTRA_FIRST;
            attn_token_clear(&token);
            attn_token_query(&token, &tensors[Q], t, scale);
            if (swapped) attn_token_append(&token, &extra, attn_list_of(&extra, t));
            attn_token_append(&token, &main, attn_list_of(&main, t));
            if (!swapped) attn_token_append(&token, &extra, attn_list_of(&extra, t));
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
                                    SIZE_MAX,
                                    dsv4_float(call, "scale", 0.0f),
                                    attn_sink_of(&tensors[SINK]),
                                    dsv4_is(call, "lse_form", "log2_sink")};
    struct attn_source main, extra;
    attn_source_open(&main, call, "", "cache", ATTN_RIGHT);
    attn_source_open(&extra, call, "extra_", "cache", ATTN_RIGHT);
#pragma omp parallel
    {
        struct attn_token token;
        attn_token_start(&token, dsv4_int(call, "heads", 1), ATTN_RIGHT);
#pragma omp for schedule(dynamic)
        for (int64_t t = 0; t < tensors[Q].shape[0]; t++) {
            if (attn_token_settled(&what, token.heads, t)) continue;
            attn_token_clear(&token);
            attn_token_append(&token, &main, attn_list_of(&main, t));
            attn_token_append(&token, &extra, attn_list_of(&extra, t));
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
    work->bytes_written = rows * (double)(2 * KV_HEAD + 4);
}

const struct dsv4_op dsv4_op_attn_sparse_decode = {
    .name = "attn_sparse_decode",
    .summary = "attends listed rows of one or two FP8 caches, with sinks",
    .source = "vllm rocm_aiter_mla_sparse.py, FlashMLA sparse decode",
    .bound = bound,
    .latitude = ATTN_LATITUDE " extra-first",
    DSV4_OP_PARTS,
};
