/* SPDX-License-Identifier: Apache-2.0 */
/* What the ops that normalise bf16 rows share: RMSNorm of one row, its inputs and its wrong references. */
#ifndef DSV4_NORM_FAMILY_H
#define DSV4_NORM_FAMILY_H

#include "kv_family.h"

enum { NORM_MAX_WIDTH = 8192 };

enum norm_wrong {
    NORM_RIGHT,
    NORM_EPS_LOST,
    NORM_EPS_OUTSIDE,
    NORM_WEIGHT_LOST,
    NORM_WEIGHT_FIRST,
    NORM_WEIGHT_PLUS_ONE,
    NORM_ROUNDED_FIRST,
    NORM_TRUNCATED,
    NORM_ZEROS_SKIPPED,
    NORM_IN_ORDER,
    NORM_THIRTY_TWO,
    NORM_TAIL_LOST,
    NORM_MEAN_LOST,
    NORM_MEAN_OF_POW2,
    NORM_ROW_DENSE,
    /* of single ops */
    NORM_WEIGHTS_SWAPPED,
    NORM_WIDTH_OF_Q,
    NORM_KV_SKIPPED,
    NORM_ROUNDING_OTHER,
    NORM_ROUNDING_REF,
    NORM_ROPE_LOST,
    NORM_ROPE_NEOX,
    NORM_ROPE_INVERSE,
    NORM_ROPE_FIRST,
    NORM_ROPE_FUSED,
    NORM_POSITION_BY_ROW,
    NORM_HEADS_TOGETHER,
    NORM_KV_NORMED,
    NORM_MASK_LOST,
    NORM_MASK_ROW_SKIPPED,
    NORM_MASK_POSITIVE_ZERO,
    NORM_MASK_AFTER,
    NORM_MASK_HIDDEN,
    NORM_MASK_FIRST_ROW,
    NORM_STREAMS_TOGETHER,
    NORM_STREAM_ZERO,
};

/* Every op of rows with a weight can have these. */
#define NORM_MUTANTS_OF_ROWS                                                                       \
    {"eps-lost", "epsilon is lost and 0 is used", NORM_EPS_LOST},                                  \
        {"eps-outside", "epsilon added to the root; it is added to the mean", NORM_EPS_OUTSIDE},   \
        {"norm-in-order", "squares summed in one run; the canon has 64 partials and a tree",       \
         NORM_IN_ORDER},                                                                           \
        {"partials-of-32", "32 partials; the canon has 64", NORM_THIRTY_TWO},                      \
        {"mean-lost", "the sum of squares taken for their mean", NORM_MEAN_LOST},                  \
        {"zeros-skipped", "a row of zeros, as padding has, left as it was; every row is written",  \
         NORM_ZEROS_SKIPPED},                                                                      \
    {                                                                                              \
        "truncated", "the result cut off; it is rounded to nearest even", NORM_TRUNCATED           \
    }

#define NORM_MUTANTS_OF_WEIGHTS                                                                    \
    {"weight-lost", "the weight is not applied", NORM_WEIGHT_LOST},                                \
        {"weight-first", "x * (r * weight); the product with r is rounded first",                  \
         NORM_WEIGHT_FIRST},                                                                       \
        {"weight-plus-one", "multiplied by 1 + weight, as other models do", NORM_WEIGHT_PLUS_ONE}, \
    {                                                                                              \
        "rounded-first", "rounded to bf16 before the weight; there is one rounding, at the end",   \
            NORM_ROUNDED_FIRST                                                                     \
    }

static inline enum norm_wrong norm_wrong_of(const struct dsv4_op *op, int mutant) {
    return mutant > 0 ? (enum norm_wrong)op->mutants[mutant - 1].id : NORM_RIGHT;
}

/* Whether a wrong kernel takes the row for padding, and leaves it. */
bool norm_skips(const float *x, int64_t n, enum norm_wrong wrong);

/* rsqrt(mean of squares + eps) of a row. */
float norm_factor(const float *x, int64_t n, float eps, enum norm_wrong wrong);

/* out = bf16((x * factor) * weight) of one bf16 row of n <= NORM_MAX_WIDTH; weight NULL: no such product. */
void norm_row(uint16_t *out, const uint16_t *x, int64_t n, float eps, const float *weight,
              enum norm_wrong wrong);

/* ---- heads of 512, whose last 64 channels rotate ---- */

/* Where a head of q is rounded on its way. */
enum norm_rounding { NORM_ROUND_END, NORM_ROUND_BETWEEN, NORM_ROUND_ALWAYS };

/* out = bf16(RoPE(norm of x, without a weight)); angle NULL: no RoPE. norm_head.c has the roundings. */
void norm_head(uint16_t *out, const uint16_t *x, float eps, enum norm_rounding rounding,
               const float *angle, enum norm_wrong wrong);

/* out = bf16(RoPE(x)). */
void norm_head_rope(uint16_t *out, const uint16_t *x, const float *angle, enum norm_wrong wrong);

#define NORM_MUTANTS_OF_ROPE                                                                       \
    {"rope-neox", "RoPE pairs (i, i + 32); DSv4 pairs (2i, 2i + 1)", NORM_ROPE_NEOX},              \
        {"rope-inverse", "RoPE turns backwards", NORM_ROPE_INVERSE},                               \
        {"rope-first", "the first 64 channels rotated; the last 64 are", NORM_ROPE_FIRST},         \
        {"rope-lost", "RoPE left out", NORM_ROPE_LOST}, {                                          \
        "position-by-row", "RoPE at the row of the step; positions has the token's",               \
            NORM_POSITION_BY_ROW                                                                   \
    }

/* The table's row of token t. */
const float *norm_angle(const dsv4_tensor *table, const dsv4_tensor *positions, int64_t t,
                        enum norm_wrong wrong);

/* ---- inputs ---- */

#define NORM_VALUE_WORDS "normal coarse dominant zero tiny huge edges odd"

/*
 * Recipes for rows: those of values.h with groups of 64, and
 *   dominant  64 elements from 4096 on, then magnitudes about 1.2, whose squares round beside sums of the large ones: drawn
 *             until a sum with 32 partials gives another bf16 value
 *   odd       by turns rows with a NaN, an infinity, both, none
 */
void norm_fill(const struct dsv4_case *c, size_t slot, const char *recipe, uint64_t stream);

#define NORM_ROWS_PARAM(n) DSV4_PARAM_INT("rows", INPUT, n, 0, 1 << 24, "rows of the step")
#define NORM_VALUES_PARAM                                                                          \
    DSV4_PARAM_NAME("values", INPUT, "normal", NORM_VALUE_WORDS, "rows that are normalised")

/*
 * A weight of `width` with the case's weight_dtype and weights recipe, for the bound and filled rows of slot `x`; streams
 * tell two of one case apart. `boundary` (fp32): the first row's results lie where bf16 rounds up or down, and the order
 * of the two products decides.
 */
void norm_shape_weight(struct dsv4_case *c, size_t slot, int64_t width);
void norm_fill_weight(const struct dsv4_case *c, size_t slot, size_t x, uint64_t stream);
#define NORM_WEIGHT_PARAMS                                                                         \
    DSV4_PARAM_NAME("weights", INPUT, "normal", DSV4_WEIGHT_WORDS " boundary", "RMSNorm weights"), \
        DSV4_PARAM_NAME("weight_dtype", INPUT, "bf16", "bf16 f32", "dtype of the weights")

/* What the innermost dimension's rows are aligned to: 16 bytes where strides allow, else one element. */
void norm_align(struct dsv4_case *c, size_t slot);

/* The innermost row that holds byte `offset` of a tensor; leading dimensions count as rows. */
void *norm_row_at(const dsv4_tensor *t, int64_t row);

/* "row 3, channel 17: x = 0.5 (0x3F00)": where an output of the shape of `from` comes from. */
void norm_trace(const struct dsv4_case *c, size_t from, size_t slot, int64_t offset, char *line,
                size_t size);

#endif
