/* SPDX-License-Identifier: Apache-2.0 */
/*
 * 8-bit floats with 4 exponent and 3 mantissa bits.
 *
 *               bias  largest     NaN          -0    least positive
 *   e4m3fn       7    448 (0x7E)  0x7F, 0xFF   0x80  2^-9
 *   e4m3fnuz     8    240 (0x7F)  0x80 alone   none  2^-10
 *
 * Encoders round to nearest, ties to even, keep subnormals and saturate, infinities included.
 */
#ifndef DSV4_NUM_FP8_H
#define DSV4_NUM_FP8_H

#include "narrow.h"

/* The dialects: e4m3fn as OCP defines it, e4m3fnuz scaled to 224 or to its full range of 240. */
enum dsv4_fp8 { DSV4_OCP, DSV4_FNUZ224, DSV4_FNUZ240 };

/* Magnitude code of |x| (bits `a`, not NaN, at most the format's largest) for exponent bias `bias`. */
static inline uint32_t dsv4_e4m3_magnitude(uint32_t a, uint32_t bias) {
    return dsv4_narrow_magnitude(a, (128u - bias) << 23, 3);
}

/* NaN gives 0x7F, without its sign. */
static inline uint8_t dsv4_e4m3fn_from_f32(float x) {
    uint32_t b = dsv4_bits(x), a = b & 0x7FFFFFFFu;
    uint32_t finite = a < 0x43E00000u ? a : 0x43E00000u; /* 448 */
    uint32_t code = dsv4_e4m3_magnitude(finite, 7) | ((b >> 24) & 0x80u);
    return (uint8_t)(a > 0x7F800000u ? 0x7Fu : code);
}

/* Clamps to the float whose bits are `limit`, then encodes. NaN gives 0x80; whatever rounds to zero
 * gives 0x00, because 0x80 is not a zero here. */
static inline uint8_t dsv4_e4m3fnuz_clamped(float x, uint32_t limit) {
    uint32_t b = dsv4_bits(x), a = b & 0x7FFFFFFFu;
    uint32_t code = dsv4_e4m3_magnitude(a < limit ? a : limit, 8);
    uint32_t sign = code == 0 ? 0 : (b >> 24) & 0x80u;
    return (uint8_t)(a > 0x7F800000u ? 0x80u : code | sign);
}

static inline uint8_t dsv4_e4m3fnuz_from_f32(float x) {
    return dsv4_e4m3fnuz_clamped(x, 0x43700000u); /* 240 */
}

/* Value of a code that is not NaN. Subnormals are a small integer times a power of two. */
static inline float dsv4_e4m3_value(uint32_t code, uint32_t bias) {
    uint32_t magnitude = code & 0x7Fu, sign = (code & 0x80u) << 24;
    float subnormal = (float)(int32_t)magnitude * dsv4_from_bits((127u - 2u - bias) << 23);
    uint32_t normal = (magnitude << 20) + ((127u - bias) << 23);
    return dsv4_from_bits((magnitude < 8 ? dsv4_bits(subnormal) : normal) | sign);
}

static inline float dsv4_e4m3fn_to_f32(uint8_t code) {
    float value = dsv4_e4m3_value(code, 7);
    return (code & 0x7Fu) == 0x7Fu ? dsv4_from_bits(DSV4_NAN_BITS) : value;
}

static inline float dsv4_e4m3fnuz_to_f32(uint8_t code) {
    float value = dsv4_e4m3_value(code, 8);
    return code == 0x80u ? dsv4_from_bits(DSV4_NAN_BITS) : value;
}

/* The largest magnitude that a dialect uses: what amax is scaled to and values are clamped to. */
static inline float dsv4_fp8_max(enum dsv4_fp8 dialect) {
    return dialect == DSV4_OCP ? 448.0f : dialect == DSV4_FNUZ224 ? 224.0f : 240.0f;
}

/* Clamps to the dialect's range, then encodes; NaN stays NaN. */
static inline uint8_t dsv4_fp8_from_f32(float x, enum dsv4_fp8 dialect) {
    if (dialect == DSV4_OCP) return dsv4_e4m3fn_from_f32(x);
    return dsv4_e4m3fnuz_clamped(x, dsv4_bits(dsv4_fp8_max(dialect)));
}

static inline float dsv4_fp8_to_f32(uint8_t code, enum dsv4_fp8 dialect) {
    return dialect == DSV4_OCP ? dsv4_e4m3fn_to_f32(code) : dsv4_e4m3fnuz_to_f32(code);
}

#endif
