/* SPDX-License-Identifier: Apache-2.0 */
/* Rounding to a format of few bits. */
#ifndef DSV4_NUM_NARROW_H
#define DSV4_NUM_NARROW_H

#include "bits.h"

/*
 * Magnitude code, to nearest even, of |x| (bits `a`, at most the format's largest) in a format of `mantissa` stored bits
 * whose least normal power of two has the bits `least`. A power of two 23 - mantissa binades above |x| has as its last
 * place the step between codes there, so that adding it lets the adder round; the steps of subnormal codes are those of
 * the least normal binade.
 */
static inline uint32_t dsv4_narrow_magnitude(uint32_t a, uint32_t least, uint32_t mantissa) {
    const uint32_t own = a & 0x7F800000u, binade = own > least ? own : least;
    const uint32_t above = binade + ((23u - mantissa) << 23);
    const uint32_t steps = dsv4_bits(dsv4_from_bits(a) + dsv4_from_bits(above)) - above;
    return steps + ((binade - least) >> (23u - mantissa));
}

#endif
