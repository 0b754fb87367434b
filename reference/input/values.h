/* SPDX-License-Identifier: Apache-2.0 */
/* Values with a purpose: what each recipe puts under one scale, and where it sits. */
#ifndef DSV4_VALUES_H
#define DSV4_VALUES_H

#include "input.h"

/* Recipes for rows that are quantised in groups. All values are bf16. */
#define DSV4_VALUE_WORDS                                                                           \
    "normal coarse zero amax_pow2 amax_above_pow2 amax_below_floor ties ties_of_7 "                \
    "subnormal_codes huge "                                                                        \
    "tiny edges"

/*
 * Element `channel` of row `row`, whose group is `group` channels wide:
 *   normal            about N(0, 1), rounded to bf16
 *   coarse            multiples of 1/16 in [-4, 4): few bits, so that vectors stay small
 *   zero              +0 and -0
 *   amax_pow2         largest magnitude exactly 448 * 2^k (the scale is exact: no rounding up)
 *   amax_above_pow2   largest magnitude one bf16 step above 448 * 2^k (the scale must go up)
 *   amax_below_floor  largest magnitude from 2^-40 to 448 * 2^-14: around 1e-4 and the two scale
 * floors ties              after scaling, halfway between neighbouring FP8 codes (both parities,
 * both signs) subnormal_codes   after scaling, FP8 subnormals, half the smallest one, and negative
 * underflow huge              up to the largest finite bf16 tiny              bf16 subnormals and
 * the smallest normals edges             each group takes one of the recipes above
 */
float dsv4_value(const char *recipe, uint64_t key, uint64_t stream, int64_t row, int64_t channel,
                 int64_t group);

/* Fills a bound bf16 tensor [rows, ..., channels]: all leading dimensions count as rows. */
void dsv4_fill_bf16(const struct dsv4_case *c, size_t slot, const char *recipe, uint64_t stream,
                    int64_t group);

/* Payload of a compressor state: `normal` (fp32), `coarse` or `zero`. */
float dsv4_state_value(const char *recipe, uint64_t key, uint64_t stream, int64_t row,
                       int64_t channel);

/* Recipes for the compressor's score rows. */
#define DSV4_SCORE_WORDS "normal coarse equal dominant spread"

/*
 * Score of row `row`, channel `channel`:
 *   normal    about N(0, 4)
 *   coarse    multiples of 1/8 in [-8, 8)
 *   equal     one value for all rows of a channel: weights are equal
 *   dominant  normal, and every 37th row +80
 *   spread    multiples of 1/4 in [-100, 28): exp underflows to subnormals and to zero
 */
float dsv4_score(const char *recipe, uint64_t key, uint64_t stream, int64_t row, int64_t channel);

/* Recipes for RMSNorm weights. */
#define DSV4_WEIGHT_WORDS "normal pairs ones negative zero ties_of_7 edges"

/* `pairs` gives both channels of a RoPE pair one weight; `edges` gives weights whose magnitudes walk through dsv4_value's edges, group by group. */
float dsv4_weight(const char *recipe, uint64_t key, uint64_t stream, int64_t channel,
                  int64_t group);

/*
 * RoPE tables: [max_position, 64], 32 cos then 32 sin per row, GPT-J pairs; fp32, or fp32 rounded to bf16. SWA layers use
 * theta 1e4, compressed layers theta 1.6e5 with YaRN (factor 16 from 65,536). The table is an
 * input: ops never recompute it.
 */
enum dsv4_rope { DSV4_ROPE_SWA, DSV4_ROPE_COMPRESSED };

/* Shapes the table's slot for `n` positions below max_position that the op reads; only those rows are live. */
void dsv4_rope_shape(struct dsv4_case *c, size_t slot, uint32_t dtype, const int64_t *positions,
                     int64_t n, int64_t max_position);
void dsv4_rope_fill(const struct dsv4_case *c, size_t slot, enum dsv4_rope rope);

#endif
