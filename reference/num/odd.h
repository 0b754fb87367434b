/* SPDX-License-Identifier: Apache-2.0 */
/* Rounding to odd, for results that are known to more than binary64's precision. */
#ifndef DSV4_NUM_ODD_H
#define DSV4_NUM_ODD_H

#include "bits.h"

/* high + low, |low| <= |high| or high 0, rounded to binary64 so that an inexact sum ends in a 1 bit.
 * Then it lies on the right side of every tie of a narrower format, and rounding it again is as good
 * as rounding the sum once. */
static inline double dsv4_add_odd(double high, double low) {
    double sum = high + low;
    double rest = low - (sum - high);
    uint64_t bits = dsv4_bits64(sum);
    uint64_t away = ((dsv4_bits64(rest) ^ bits) >> 63) == 0;
    uint64_t odd = away ? bits + 1 : bits - 1;
    return dsv4_from_bits64(rest == 0.0 || (bits & 1) != 0 ? bits : odd);
}

#endif
