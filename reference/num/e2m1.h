/* SPDX-License-Identifier: Apache-2.0 */
/* FP4 e2m1: magnitudes 0, 0.5, 1, 1.5, 2, 3, 4, 6 are codes 0..7, the sign is bit 3. No infinity,
 * no NaN. */
#ifndef DSV4_NUM_E2M1_H
#define DSV4_NUM_E2M1_H

#include "narrow.h"

/*
 * 4-bit code in the low bits. Rounds to nearest, ties to the even code (0.25 -> 0, 0.75 -> 1, 1.25
 * -> 1, 1.75 -> 2, 2.5 -> 2, 3.5 -> 4, 5 -> 4); saturates at 6, infinities included; -0 and what
 * rounds to it keep the sign: 8. The format has no NaN: a NaN of either sign gives +6 (7), as PTX
 * cvt.rn.satfinite.e2m1x2.f32 does.
 */
static inline uint8_t dsv4_e2m1_from_f32(float x) {
    uint32_t b = dsv4_bits(x), a = b & 0x7FFFFFFFu;
    uint32_t finite = a < 0x40C00000u ? a : 0x40C00000u; /* 6 */
    uint32_t magnitude = dsv4_narrow_magnitude(finite, 0x3F800000u, 1);
    return (uint8_t)(a > 0x7F800000u ? 7u : magnitude | ((b >> 28) & 8u));
}

/* Exact; looks at the low 4 bits alone. */
static inline float dsv4_e2m1_to_f32(uint8_t code) {
    uint32_t magnitude = code & 7u, sign = (code & 8u) << 28;
    uint32_t normal = (magnitude << 22) + (126u << 23);
    uint32_t value = magnitude == 0 ? 0 : magnitude == 1 ? 0x3F000000u : normal;
    return dsv4_from_bits(value | sign);
}

#endif
