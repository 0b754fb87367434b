/* SPDX-License-Identifier: Apache-2.0 */
/*
 * attn_decode_partial: the first stage of split decoding. Split i of token t attends positions splits[t, i] ..
 * splits[t, i + 1] - 1 of the main list and extra_splits[t, i] .. extra_splits[t, i + 1] - 1 of the extra one.
 *
 * Scores, weights and sums as attn_family.h has them, over the split's entries as if they were a token's whole list:
 * blocks of 128 begin at the split's first position. m is the split's own maximum.
 *   parts ml        part_m = m    part_l = l    part_acc = acc, not divided
 *   parts lse_log2  part_lse = (m + log(l)) * log2e, 1.44269504 in fp32    part_acc = acc / l
 * No sink takes part. A split without an entry that names a row: m = -FLT_MAX, l = +0, or lse = -inf; acc = +0, or, where
 * `empty` says so, untouched.
 * Rounding points in order: the row to bf16; chains of fma and sums of blocks; product with scale; s - m; exp; l; the
 * weight to bf16 for acc alone. log; m + log(l); the product; the quotient.
 *
 * A boundary beyond the list counts as its end; a split that ends before it begins is empty. Domain: boundaries from 0 on;
 * a list's rest belongs to no split. Lists and rows as attn_sparse_decode has them.
 * Source: vllm v1/attention/ops/rocm_aiter_mla_sparse.py (ml; its adaptive kernel for gfx950 leaves acc of empty splits
 * untouched, and the reduction looks at m), FlashMLA csrc/sm90/decode/sparse_fp8 (lse_log2).
 * Latitude: kernels choose how many splits there are and where; here both are inputs, because they change the sums.
 * FlashMLA's kernel finishes a token of one split by itself, as attn_sparse_decode does; here one split is a part.
 */
#include <float.h>
#include <math.h>
#include <stdio.h>

#include "../num/log.h"
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
    SPLITS,
    EXTRA_SPLITS,
    PART_M,
    PART_L,
    PART_LSE,
    PART_ACC
};

static const struct dsv4_param_def params[] = {
    ATTN_FP8_PARAM(""),
    ATTN_LAYOUT_PARAM(""),
    ATTN_BLOCK_SIZE_PARAM("", 64),
    ATTN_FP8_PARAM("extra_"),
    ATTN_LAYOUT_PARAM("extra_"),
    ATTN_BLOCK_SIZE_PARAM("extra_", 64),
    ATTN_SCRUB_PARAM,
    DSV4_PARAM_NAME("parts", DIALECT, "ml", "ml lse_log2",
                    "maximum, denominator and numerator; or a logarithm and the quotient"),
    DSV4_PARAM_NAME("empty", DIALECT, "zero", "zero untouched", "part_acc of an empty split"),
    ATTN_FORM_PARAM,
    ATTN_CALL_PARAMS,
    ATTN_QUERY_PARAMS,
    ATTN_LIST_PARAMS("", "128", 160),
    ATTN_LIST_PARAMS("extra_", "none", 160),
    ATTN_INDEX_PARAMS,
    ATTN_ROW_PARAMS,
    DSV4_PARAM_INT("n_splits", INPUT, 3, 1, 256, "splits of a token"),
    DSV4_PARAM_NAME(
        "boundaries", INPUT, "even", "even drawn",
        "even: chunks of ceil(length / splits); drawn: anywhere, twice in one place too"),
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
    {"splits",        DSV4_IN,  "[tokens, splits + 1] i32, rows strided",               "boundaries in the main list"                    },
    {"extra_splits",  DSV4_IN,  "[tokens, splits + 1] i32, or absent",
     "boundaries in the extra list"                                                                                                      },
    {"part_m",        DSV4_OUT, "[tokens, splits, heads or more] f32, or absent",       "maxima"                                         },
    {"part_l",        DSV4_OUT, "[tokens, splits, heads or more] f32, or absent",       "denominators"                                   },
    {"part_lse",      DSV4_OUT, "[tokens, splits, heads or more] f32, or absent",
     "logarithms of base 2"                                                                                                              },
    {"part_acc",      DSV4_OUT, "[tokens, splits, heads or more, 512] f32, strided",
     "numerators, or quotients"                                                                                                          },
};

static const struct dsv4_mutant mutants[] = {
    ATTN_MUTANTS_OF_SCORES,
    ATTN_MUTANTS_OF_LISTS,
    ATTN_MUTANTS_OF_ADDRESSES,
    ATTN_MUTANTS_OF_PAGES,
    ATTN_MUTANTS_OF_TWO_CACHES,
    {"split-extra-whole",    "every split attends all of the extra list",                     ATTN_SPLIT_EXTRA_WHOLE},
    {"split-even",           "lists cut evenly; the boundaries are an input",                 ATTN_SPLIT_EVEN       },
    {"split-normalised",     "parts divided where the reduction divides, or the reverse",
      ATTN_SPLIT_NORMALISED                                                                                          },
    {"split-with-token-max", "the token's maximum in every split; each has its own",
      ATTN_SPLIT_WITH_TOKEN_MAX                                                                                      },
    {"empty-split-inf",      "-inf marks an empty split where -FLT_MAX does, or the reverse",
      ATTN_EMPTY_SPLIT_NAN                                                                                           },
    {"empty-unwritten",      "an empty split is left as it was; it is written",               ATTN_EMPTY_UNWRITTEN  },
    {"empty-acc-other",      "acc of an empty split untouched where it is 0, or the reverse",
      ATTN_EMPTY_ACC_OTHER                                                                                           },
    {"lse-base-2",           "natural logarithms of parts; they are of base 2",               ATTN_LSE_BASE_2       },
    {"lse-of-max",           "log2 of the denominator added to the maximum; that is natural",
      ATTN_LSE_BASE_MIXED                                                                                            },
};

static void shape_parts(struct dsv4_case *c) {
    const int64_t tokens = dsv4_case_int(c, "tokens"), n = dsv4_case_int(c, "n_splits");
    DSV4_SHAPE(c, SPLITS, DSV4_I32, tokens, n + 1);
    attn_widen(c, SPLITS, 0, 16);
    DSV4_SHAPE(c, EXTRA_SPLITS, DSV4_I32, tokens, n + 1);
    if (!attn_plan_of(c)->extra.present) dsv4_absent(c, EXTRA_SPLITS);
    for (size_t slot = PART_M; slot <= PART_LSE; slot++) {
        DSV4_SHAPE(c, slot, DSV4_F32, tokens, n, attn_padded_heads(c));
        attn_widen(c, slot, 1, 16);
        attn_spread(c, slot);
        if (dsv4_case_is(c, "parts", "ml") == (slot == PART_LSE)) dsv4_absent(c, slot);
    }
    DSV4_SHAPE(c, PART_ACC, DSV4_F32, tokens, n, attn_padded_heads(c), KV_HEAD);
    attn_widen(c, PART_ACC, 1, 64);
    attn_spread(c, PART_ACC);
}

static int shape(struct dsv4_case *c, struct dsv4_err *err) {
    struct attn_plan *const plan = dsv4_case_alloc(c, sizeof *plan);
    c->plan = plan;
    plan->main.paged = plan->extra.paged = true;
    if (attn_lists_make(c, &plan->main, "", err) != 0) return -1;
    if (attn_lists_make(c, &plan->extra, "extra_", err) != 0) return -1;
    attn_shape_query(c, Q);
    attn_shape_source(c, CACHE, &plan->main, "");
    attn_shape_source(c, EXTRA_CACHE, &plan->extra, "extra_");
    shape_parts(c);
    return 0;
}

static void fill_splits(const struct dsv4_case *c, size_t slot, const struct attn_lists *lists) {
    const dsv4_tensor *const splits = &c->tensors[slot].t;
    if (splits->ndim == 0) return;
    const int64_t n = splits->shape[1] - 1;
    for (int64_t t = 0; t < splits->shape[0]; t++) {
        int32_t *const row = (void *)((char *)splits->data + t * splits->stride[0]);
        const int64_t length = lists->lens[t], chunk = (length + n - 1) / n;
        for (int64_t i = 0; i <= n; i++) {
            int64_t at = i * chunk < length ? i * chunk : length;
            if (dsv4_case_is(c, "boundaries", "drawn")) {
                const uint64_t bits = dsv4_random(c->seed, 50 + slot, (uint64_t)(t * (n + 1) + i));
                at = i == 0 ? 0 : i == n ? length : dsv4_below(bits, length + 1);
                if (i > 0 && at < row[i - 1]) at = row[i - 1];
            }
            row[i] = (int32_t)at;
        }
        if (!dsv4_case_is(c, "lens_given", "odd")) continue;
        row[n] = t % 2 == 0 ? (int32_t)length + 1 : INT32_MAX;
        if (n > 2) {
            const int32_t first = row[1];
            row[1] = row[2];
            row[2] = first;
        }
    }
}

static void fill(struct dsv4_case *c) {
    const struct attn_plan *const plan = attn_plan_of(c);
    attn_fill_query(c, Q);
    attn_fill_source(c, CACHE, &plan->main, "");
    attn_fill_source(c, EXTRA_CACHE, &plan->extra, "extra_");
    fill_splits(c, SPLITS, &plan->main);
    fill_splits(c, EXTRA_SPLITS, &plan->extra);
}

/* The part of a list that belongs to split i. */
static struct attn_list part_of(const struct attn_source *source, const dsv4_tensor *splits,
                                int64_t t, int64_t i) {
    struct attn_list list = attn_list_of(source, t);
    if (attn_absent(splits) || !attn_has(source)) return (struct attn_list){0};
    const int32_t *const row = (const void *)((const char *)splits->data + t * splits->stride[0]);
    int64_t begin = row[i], end = row[i + 1];
    if (source->wrong == ATTN_SPLIT_EVEN) {
        const int64_t n = splits->shape[1] - 1, chunk = (list.n + n - 1) / n;
        begin = i * chunk;
        end = begin + chunk;
    }
    if (source->wrong == ATTN_LEN_IGNORED && i == splits->shape[1] - 2) end = list.n;
    if (end > list.n) end = list.n;
    if (begin > end) begin = end;
    return (struct attn_list){list.entries + begin, end - begin};
}

static void *at(const dsv4_tensor *tensor, int64_t t, int64_t i, int64_t h) {
    return (char *)tensor->data + t * tensor->stride[0] + i * tensor->stride[1] +
           h * tensor->stride[2];
}

struct stage {
    const dsv4_tensor *tensors;
    struct attn_source main, extra;
    float scale;
    bool empty_untouched;
};

static void put(const struct attn_token *token, const dsv4_tensor *tensor, int64_t t, int64_t i,
                int64_t h, float value) {
    if (attn_absent(tensor)) return;
    const int64_t offset = attn_token_offset(tensor, t, token->wrong == ATTN_LSE_WRAPS);
    memcpy((char *)at(tensor, 0, i, h) + offset, &value, sizeof value);
}

static float lse_of(float m, float l, enum attn_wrong wrong) {
    const float log2e = 1.44269504f, log = dsv4_log(l);
    if (wrong == ATTN_LSE_BASE_MIXED) return m + log * log2e;
    return wrong == ATTN_LSE_BASE_2 ? m + log : (m + log) * log2e;
}

/* One head of split i; `real`: not padding. */
static void store_head(const struct attn_token *token, const struct stage *stage, int64_t t,
                       int64_t i, int64_t h, bool real) {
    const dsv4_tensor *const tensors = stage->tensors, *const parts = &tensors[PART_ACC];
    const enum attn_wrong wrong = token->wrong;
    const bool other = wrong == ATTN_EMPTY_SPLIT_NAN, ml = attn_absent(&tensors[PART_LSE]);
    const bool empty = !real || token->m[h] == -INFINITY;
    const float m = real ? token->m[h] : -INFINITY, l = real ? token->l[h] : 0.0f;
    if (empty && wrong == ATTN_EMPTY_UNWRITTEN) return;
    put(token, &tensors[PART_M], t, i, h, empty ? other ? -INFINITY : -FLT_MAX : m);
    put(token, &tensors[PART_L], t, i, h, l);
    put(token, &tensors[PART_LSE], t, i, h,
        empty ? other ? -FLT_MAX : -INFINITY : lse_of(m, l, wrong));
    if (empty && stage->empty_untouched != (wrong == ATTN_EMPTY_ACC_OTHER)) return;
    float *const acc =
        (void *)((char *)at(parts, 0, i, h) + attn_token_offset(parts, t, wrong == ATTN_OUT_WRAPS));
    const bool divided = !empty && ml == (wrong == ATTN_SPLIT_NORMALISED);
    for (int64_t c = 0; c < KV_HEAD; c++) {
        acc[c] = real ? token->acc[h * KV_HEAD + c] : 0.0f;
        if (divided) acc[c] /= l;
    }
}

static void store(const struct attn_token *token, const struct stage *stage, int64_t t, int64_t i) {
    const bool pads = token->wrong == ATTN_PADDED_HEADS_WRITTEN;
    const int64_t heads = pads ? stage->tensors[PART_ACC].shape[2] : token->heads;
    for (int64_t h = 0; h < heads; h++) store_head(token, stage, t, i, h, h < token->heads);
}

static void append(struct attn_token *token, const struct stage *stage, int64_t t, int64_t i) {
    const struct attn_list main = part_of(&stage->main, &stage->tensors[SPLITS], t, i);
    struct attn_list extra = part_of(&stage->extra, &stage->tensors[EXTRA_SPLITS], t, i);
    const bool swapped = token->wrong == ATTN_EXTRA_FIRST;
    if (token->wrong == ATTN_SPLIT_EXTRA_WHOLE) extra = attn_list_of(&stage->extra, t);
    attn_token_clear(token);
    if (swapped) attn_token_append(token, &stage->extra, extra);
    attn_token_append(token, &stage->main, main);
    if (!swapped) attn_token_append(token, &stage->extra, extra);
}

/* The largest score of the whole token as every split's sink: what the mutant takes for the maximum. */
static void token_max(struct attn_token *token, const struct stage *stage, int64_t t, float *most) {
    attn_token_clear(token);
    attn_token_append(token, &stage->main, attn_list_of(&stage->main, t));
    attn_token_append(token, &stage->extra, attn_list_of(&stage->extra, t));
    attn_token_attend(token, stage->scale, NULL);
    memcpy(most, token->m, (size_t)token->heads * sizeof *most);
}

const struct dsv4_op dsv4_op_attn_decode_partial;

static int run(const dsv4_call *call, int mutant, struct dsv4_err *err) {
    const enum attn_wrong wrong = attn_wrong_of(&dsv4_op_attn_decode_partial, mutant);
    const dsv4_tensor *const tensors = call->tensors;
    const int64_t heads = dsv4_int(call, "heads", 1), n = tensors[SPLITS].shape[1] - 1;
    struct stage stage = {.tensors = tensors,
                          .scale = dsv4_float(call, "scale", 0.0f),
                          .empty_untouched = dsv4_is(call, "empty", "untouched")};
    (void)err;
    attn_source_open(&stage.main, call, "", "cache", wrong);
    attn_source_open(&stage.extra, call, "extra_", "cache", wrong);
    if (wrong == ATTN_EXTRA_MISSING) stage.extra.rows = NULL;
#pragma omp parallel
    {
        struct attn_token token;
        float most[512];
        attn_token_start(&token, heads, wrong);
#pragma omp for schedule(dynamic)
        for (int64_t part = 0; part < tensors[Q].shape[0] * n; part++) {
            const int64_t t = part / n, i = part % n;
            const bool shared = wrong == ATTN_SPLIT_WITH_TOKEN_MAX;
            attn_token_query(&token, &tensors[Q], t, stage.scale);
            if (shared) token_max(&token, &stage, t, most);
            append(&token, &stage, t, i);
            if (shared) token.wrong = ATTN_SINK_AS_KEY;
            attn_token_attend(&token, stage.scale, shared ? most : NULL);
            token.wrong = wrong;
            store(&token, &stage, t, i);
        }
        attn_token_free(&token);
    }
    return DSV4_OK;
}

static void bound(const dsv4_call *call, struct dsv4_admission *a) {
    const dsv4_tensor *const tensors = call->tensors;
    const int64_t heads = dsv4_int(call, "heads", 1), n = tensors[SPLITS].shape[1] - 1;
    struct stage stage = {.tensors = tensors, .scale = dsv4_float(call, "scale", 0.0f)};
    const struct attn_bound how = {
        .call = call, .a = a, .q = Q, .scale = stage.scale, .log2_sink = true};
    attn_source_open(&stage.main, call, "", "cache", ATTN_RIGHT);
    attn_source_open(&stage.extra, call, "extra_", "cache", ATTN_RIGHT);
#pragma omp parallel
    {
        struct attn_token token;
        attn_token_start(&token, heads, ATTN_RIGHT);
#pragma omp for schedule(dynamic)
        for (int64_t part = 0; part < tensors[Q].shape[0] * n; part++) {
            if (attn_part_settled(&how, heads, part / n, part % n, PART_M)) continue;
            append(&token, &stage, part / n, part % n);
            attn_part_bound(&how, &token, part / n, part % n, PART_M);
        }
        attn_token_free(&token);
    }
}

static void trace(const struct dsv4_case *c, size_t slot, int64_t offset, char *line, size_t size) {
    const dsv4_tensor *const out = &c->tensors[slot].t;
    const struct attn_plan *const plan = attn_plan_of(c);
    const int64_t t = offset / out->stride[0], i = offset % out->stride[0] / out->stride[1];
    const dsv4_tensor *const splits = &c->tensors[SPLITS].t;
    const int32_t *const row = (const void *)((const char *)splits->data + t * splits->stride[0]);
    snprintf(line, size,
             "token %lld, split %lld: main positions %d..%d of %lld; %lld extra entries in all",
             (long long)t, (long long)i, row[i], row[i + 1] - 1, (long long)plan->main.lens[t],
             (long long)(plan->extra.present ? plan->extra.lens[t] : 0));
}

static void work(const struct dsv4_case *c, struct dsv4_work *work) {
    const double parts = (double)(dsv4_case_int(c, "tokens") * dsv4_case_int(c, "heads") *
                                  dsv4_case_int(c, "n_splits"));
    attn_work(c, attn_plan_of(c), work);
    work->bytes_written = parts * (double)(4 * KV_HEAD + (dsv4_case_is(c, "parts", "ml") ? 8 : 4));
}

const struct dsv4_op dsv4_op_attn_decode_partial = {
    .name = "attn_decode_partial",
    .summary = "split decoding, first stage: maximum, denominator and numerator of every split",
    .source = "vllm rocm_aiter_mla_sparse.py, FlashMLA split decode",
    .bound = bound,
    .latitude = ATTN_LATITUDE " extra-first",
    DSV4_OP_PARTS,
};
