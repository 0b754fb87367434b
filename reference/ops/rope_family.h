/* SPDX-License-Identifier: Apache-2.0 */
/* What the ops share that turn attention outputs back: heads of 512, the last 64 channels rotated by -position. */
#ifndef DSV4_ROPE_FAMILY_H
#define DSV4_ROPE_FAMILY_H

#include "kv_family.h"

enum rope_wrong {
    ROPE_RIGHT,
    ROPE_FORWARD,
    ROPE_NEOX,
    ROPE_FIRST,
    ROPE_LOST,
    ROPE_OTHER,
    ROPE_POSITION_BY_ROW,
    ROPE_TRUNCATED,
    ROPE_NOPE_LOST,
    ROPE_SERIAL,
    ROPE_ROW_DENSE,
    ROPE_TOKEN_WRAPS,
    ROPE_OUT_WRAPS,
    /* quantising */
    ROPE_ROUNDING_OTHER,
    ROPE_SCALE_FLOOR,
    ROPE_SCALE_LOG2,
    ROPE_FLOOR_RAISED,
    ROPE_GROUP_APART,
    ROPE_GROUP_OF_128,
    ROPE_TIES_AWAY,
    ROPE_SUBNORMALS_FLUSHED,
    ROPE_PADDING_KEPT,
    ROPE_TOKENS_FIRST,
    ROPE_SCALES_ROW_MAJOR,
    ROPE_BYTES_REVERSED,
    ROPE_DIVISOR_FLUSHED,
};

#define ROPE_MUTANTS                                                                               \
    {"rope-forward", "turned by +position; the output turns back", ROPE_FORWARD},                  \
        {"rope-neox", "RoPE pairs (i, i + 32); DSv4 pairs (2i, 2i + 1)", ROPE_NEOX},               \
        {"rope-first", "the first 64 channels rotated; the last 64 are", ROPE_FIRST},              \
        {"rope-lost", "RoPE left out", ROPE_LOST},                                                 \
        {"rope-serial", "the odd channel computed from the new even one", ROPE_SERIAL}, {          \
        "position-by-row", "RoPE at the row of the step; positions has the token's",               \
            ROPE_POSITION_BY_ROW                                                                   \
    }

/* Bytes before a token or a group, as kernels with 32-bit offsets have them where `wraps`. */
static inline int64_t rope_offset(const dsv4_tensor *t, int64_t i, bool wraps) {
    const int64_t offset = i * t->stride[0];
    return wraps ? offset & INT64_C(0x7FFFFFFF) : offset;
}

static inline enum rope_wrong rope_wrong_of(const struct dsv4_op *op, int mutant) {
    return mutant > 0 ? (enum rope_wrong)op->mutants[mutant - 1].id : ROPE_RIGHT;
}

/* Turns the last 64 of 512 values back: even = e*c + o*s, odd = o*c - e*s; each product rounded, then one sum; with
 * `fused` even = fma(e, c, o*s), odd = fma(o, c, -(e*s)). */
void rope_back(float *values, const float *angle, bool fused, enum rope_wrong wrong);

/*
 * A head of 512 values to OCP codes, n (128 or 32) under a power of two each.
 *   byte   that of max(amax, 1e-10) * fl(1/448), or with `mx` of max(amax, 2^-126) / 448, rounded up
 *   code   e4m3(x * 2^(127 - byte))
 */
struct rope_rule {
    bool mx;
    int n;
    enum rope_wrong wrong;
};
void rope_quantise(const struct rope_rule *rule, uint8_t *codes, uint8_t *bytes, const float *x);

/* Position t of an i32 or i64 vector, and the table's row for it. */
int64_t rope_position(const dsv4_tensor *positions, int64_t t);
const float *rope_angle(const dsv4_tensor *table, const dsv4_tensor *positions, int64_t t,
                        enum rope_wrong wrong);

/* Positions in either dtype, the table, and o from the case's values. */
#define ROPE_POSITION_PARAM                                                                        \
    DSV4_PARAM_NAME("position_dtype", INPUT, "i64", "i64 i32", "dtype of positions")
#define ROPE_GAP_PARAM                                                                             \
    DSV4_PARAM_INT("token_gap", INPUT, 0, 0, INT32_MAX,                                            \
                   "bytes between tokens, or groups of codes, in what is read and written")

/* Puts the first dimension of a tensor token_gap bytes apart. */
void rope_spread(struct dsv4_case *c, size_t slot);
int rope_shape_positions(struct dsv4_case *c, size_t positions, size_t table, struct dsv4_err *err);
void rope_fill_positions(const struct dsv4_case *c, size_t positions, size_t table);

/* Rows of zeros but for one pair, whose rotation shows in bf16 whether a product was fused. Needs positions and table. */
void rope_fill_fusible(const struct dsv4_case *c, size_t o, size_t positions, size_t table);

#endif
