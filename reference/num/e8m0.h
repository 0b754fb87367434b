/* SPDX-License-Identifier: Apache-2.0 */
/* UE8M0 scales: an exponent byte without sign or mantissa. Byte b means 2^(b-127), 255 means NaN.
 */
#ifndef DSV4_NUM_E8M0_H
#define DSV4_NUM_E8M0_H

#include "bits.h"

/* Exact. Byte 0 is 2^-127, a binary32 subnormal; kernels that shift the byte into the exponent read
 * 0 there. */
static inline float dsv4_e8m0_to_f32(uint8_t code) {
    uint32_t bits = code == 0 ? 0x00400000u : (uint32_t)code << 23;
    return dsv4_from_bits(code == 255 ? DSV4_NAN_BITS : bits);
}

/*
 * The integer bit rule of DeepSeek's kernels: exponent field + (mantissa field != 0). For a
 * positive normal x up to 2^127 that is the least power of two >= x. Elsewhere the rule, not the
 * mathematics, decides: +0                    0 (2^-127) positive subnormals   1 (2^-126), also
 * where 2^-127 would do 2^127 < x < inf       255 (NaN): the power of two above is not
 * representable inf, NaN              255 negative x            as |x|: the sign bit is not looked
 * at
 */
static inline uint8_t dsv4_e8m0_ceil(float x) {
    uint32_t a = dsv4_bits(x) & 0x7FFFFFFFu;
    uint32_t code = (a + 0x7FFFFFu) >> 23;
    return (uint8_t)(code > 255u ? 255u : code);
}

#endif
