/* SPDX-License-Identifier: Apache-2.0 */
/* exp, log, rsqrt and their kin off by up to one unit in the last place, here and there, as fast functions are. */
#include "numbers.h"

static inline float dsv4_variant_off(float y, float x) {
    const uint32_t hash = (dsv4_bits(x) ^ dsv4_bits(x) >> 15) * 0x2C1B3C6Du, pick = hash >> 30;
    const uint32_t bits = dsv4_bits(y), exponent = bits >> 23 & 255;
    if (exponent == 0 || exponent == 255) return y;
    return dsv4_from_bits(pick == 1 ? bits + 1 : pick == 2 ? bits - 1 : bits);
}

#define DSV4_VARIANT_OFF(name)                                                                     \
    static inline float dsv4_variant_##name(float x) { return dsv4_variant_off(dsv4_##name(x), x); }
DSV4_VARIANT_OFF(exp)
DSV4_VARIANT_OFF(exp2)
DSV4_VARIANT_OFF(log)
DSV4_VARIANT_OFF(log2)
DSV4_VARIANT_OFF(log1p)
DSV4_VARIANT_OFF(rsqrt)

#define dsv4_exp dsv4_variant_exp
#define dsv4_exp2 dsv4_variant_exp2
#define dsv4_log dsv4_variant_log
#define dsv4_log2 dsv4_variant_log2
#define dsv4_log1p dsv4_variant_log1p
#define dsv4_rsqrt dsv4_variant_rsqrt
