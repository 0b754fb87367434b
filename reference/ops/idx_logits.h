/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What the ops that score the indexer's keys share.
 *
 * logit = kscale * sum over heads of w[h] * relu(q[h] . k)
 *   dot   the exact sum of 128 products of e4m3 values, rounded once
 *   relu  x > 0 ? x : +0
 *   sum   64 partials from +0: partial l takes heads l and l + 64 by fma(w, relu, partial); then a halving tree: strides
 *         32, 16, ... 1
 *   then the product with kscale; rounded to bf16 where `logits` says so
 * The products are multiples of 2^-20 below 2^18, so that a double holds any sum of 128 of them.
 */
#ifndef DSV4_IDX_LOGITS_H
#define DSV4_IDX_LOGITS_H

#include "../bound/admit.h"
#include "../layout/indexer_page.h"
#include "gemm_family.h"
#include "kv_family.h"

enum {
    IDX_TILE = GEMM_COLUMNS, /* keys that are scored at once, by gemm_exact() */
    IDX_GROUP = GEMM_ROWS,   /* heads that are */
    IDX_BLOCK = 8,           /* rows that share converted keys */
    IDX_HEADS = 128          /* at most */
};

enum idx_logits_wrong {
    IDX_LOGITS_RIGHT,
    IDX_RELU_LOST,
    IDX_RELU_AFTER_WEIGHT,
    IDX_KSCALE_LOST,
    IDX_KSCALE_FIRST,
    IDX_KSCALE_NEIGHBOUR,
    IDX_DOT_BF16,
    IDX_DOT_FP32,
    IDX_DOT_14_BITS,
    IDX_ONE_CHAIN,
    IDX_FP8_MIXED,
    IDX_WEIGHTS_FIRST_ROW,
    IDX_LAST_HEAD_LOST,
    IDX_END_INCLUSIVE,
    IDX_START_LOST,
    IDX_CLEAN_OTHER,
    IDX_CLEAN_ZERO,
    IDX_OUT_DENSE,
    IDX_Q_DENSE,
    IDX_COLUMN_OTHER,
    IDX_NEXT_N_LOST,
    IDX_PAGE_DENSE,
    IDX_TABLE_DENSE,
    IDX_PAGE_WRAPS,
    IDX_SCALES_WRAP,
    IDX_OUT_WRAPS,
    IDX_TOKEN_BY_TOKEN,
    IDX_LAYOUT_MIXED,
    IDX_END_UNCLAMPED,
    IDX_NEGATIVE_WRAPS,
    IDX_LIMIT_UNCLAMPED,
    IDX_EMPTY_KEPT,
    IDX_OUT_TRUNCATED,
};

#define IDX_MUTANTS_OF_SCORES                                                                      \
    {"relu-lost", "negative dots kept; they count as 0", IDX_RELU_LOST},                           \
        {"relu-after-weight", "relu of the weighted dot; it belongs to the dot",                   \
         IDX_RELU_AFTER_WEIGHT},                                                                   \
        {"kscale-lost", "key scale not applied", IDX_KSCALE_LOST},                                 \
        {"kscale-first", "dots scaled before the sum; the sum is scaled, once", IDX_KSCALE_FIRST}, \
        {"kscale-neighbour", "the next key's scale", IDX_KSCALE_NEIGHBOUR},                        \
        {"dot-bf16", "dots rounded to bf16; they are fp32", IDX_DOT_BF16},                         \
        {"dot-fp32", "dots summed in fp32; the sum is exact, then rounded once", IDX_DOT_FP32},    \
        {"dot-14-bits", "products summed with 14 bits, as FP8 matrix units do", IDX_DOT_14_BITS},  \
        {"one-chain", "heads summed in one chain; they are a tree over 64 partials",               \
         IDX_ONE_CHAIN},                                                                           \
        {"fp8-mixed", "codes of one dialect read as the other", IDX_FP8_MIXED},                    \
        {"weights-first-row", "every row weighed with the first row's weights",                    \
         IDX_WEIGHTS_FIRST_ROW},                                                                   \
        {"last-head-lost", "the last head not summed", IDX_LAST_HEAD_LOST},                        \
        {"end-inclusive", "one key more than the row has", IDX_END_INCLUSIVE},                     \
        {"clean-other", "columns without a key cleaned where they are not, or the reverse",        \
         IDX_CLEAN_OTHER},                                                                         \
        {"clean-zero", "columns without a key set to 0; they are -inf", IDX_CLEAN_ZERO},           \
        {"empty-row-kept", "a row without keys, padding, not cleaned; it is all -inf",             \
         IDX_EMPTY_KEPT},                                                                          \
        {"out-truncated", "bf16 logits cut off; they are rounded to nearest even",                 \
         IDX_OUT_TRUNCATED},                                                                       \
        {"out-dense", "rows of logits taken as contiguous; they have a stride", IDX_OUT_DENSE},    \
        {"out-wraps", "byte offset of a row of logits computed in 32 bits", IDX_OUT_WRAPS}, {      \
        "q-dense", "rows of q taken as contiguous; they have a stride", IDX_Q_DENSE                \
    }

#define IDX_LOGITS_PARAMS                                                                          \
    KV_FP8_PARAM, DSV4_PARAM_INT("heads", INPUT, 64, 8, IDX_HEADS, "heads, a multiple of 8"),      \
        DSV4_PARAM_NAME("logits", DIALECT, "f32", "f32 bf16", "what out holds"),                   \
        DSV4_PARAM_INT("clean", CALL, 0, 0, 1, "1: -inf in columns without a key"),                \
        DSV4_PARAM_NAME("codes", INPUT, "normal", "normal every few cancel",                       \
                        "about N(0, 1); all finite codes; of 4 values; pairs that nearly cancel"), \
        DSV4_PARAM_NAME("scales", INPUT, "pow2", "pow2 free",                                      \
                        "key scales: powers of two, as writers make them; or any"),                \
        DSV4_PARAM_NAME("weights", INPUT, "normal", "normal positive negative zero one",           \
                        "head weights"),                                                           \
        DSV4_PARAM_INT("row_gap", INPUT, 0, 0, 1 << 30,                                            \
                       "columns between the rows of out; rows that nothing is written to are "     \
                       "not there at all then"),                                                   \
        KV_VIEW_PARAM

/* Keys of one run: where key n's codes lie, 16 at a time, and its scale. */
struct idx_logits {
    const dsv4_tensor *q, *weights, *out;
    int64_t heads, columns;
    enum dsv4_fp8 fp8;
    bool clean, bf16;
    enum idx_logits_wrong wrong;
    double values[256];
    void (*key)(const struct idx_logits *logits, int64_t group, int64_t n, uint8_t *codes,
                float *scale);
    const void *keys;
};

/* A row of logits: keys [first, end) of its group, key n going to column n - shift. */
struct idx_logits_row {
    int64_t group, first, end, shift;
};

int idx_logits_check_heads(const struct dsv4_case *c, struct dsv4_err *err);
enum idx_logits_wrong idx_logits_wrong_of(const struct dsv4_op *op, int mutant);
void idx_logits_shape(struct dsv4_case *c, size_t q, size_t weights, size_t out, int64_t rows,
                      int64_t columns);

/* Puts the rows of out row_gap apart; then, or if `sparse`, only those that are written (or cleaned) are there. */
void idx_logits_spread(struct dsv4_case *c, size_t out, const bool *written, bool sparse);
void idx_logits_fill(const struct dsv4_case *c, size_t q, size_t weights);

/* A finite code, and a scale. `dim` is the channel. */
uint8_t idx_logits_code(const struct dsv4_case *c, uint64_t stream, int64_t row, int64_t dim);
float idx_logits_scale(const struct dsv4_case *c, int64_t key);

void idx_logits_open(struct idx_logits *logits, const dsv4_call *call, const dsv4_tensor *q,
                     const dsv4_tensor *weights, const dsv4_tensor *out,
                     enum idx_logits_wrong wrong);

/* Scores all rows. Rows of one block of IDX_BLOCK that belong to one group share their keys. */
void idx_logits_run(const struct idx_logits *logits, const struct idx_logits_row *rows, int64_t n);

/*
 * The bound of what it writes, as output `slot`. Dots of 128 exact products in the declared class; relu; terms w * relu,
 * added in binary32 in any order; the key's scale before or after the sum, a product and a rounding more.
 */
void idx_logits_bound(const struct idx_logits *logits, const struct idx_logits_row *rows, int64_t n,
                      struct dsv4_admission *a, size_t slot);
#define IDX_LOGITS_LATITUDE "kscale-first dot-fp32 one-chain dot-14-bits@TC13-PROMOTE128"

#endif
