/* SPDX-License-Identifier: Apache-2.0 */
/*
 * 1/sqrt(x): the correctly rounded binary32 value for every binary32 input. +-0 gives +-inf, +inf
 * gives +0, negative inputs and NaN give the canonical NaN.
 *
 * Two correctly rounded binary64 operations are off by less than one unit of 2^-52; no binary32
 * input lies so close to a tie (harness/tests/tools/exhaustive.c).
 */
#ifndef DSV4_NUM_RSQRT_H
#define DSV4_NUM_RSQRT_H

#include <math.h>

#include "bits.h"

static inline float dsv4_rsqrt(float x) {
    float y = (float)(1.0 / sqrt((double)x));
    return x >= 0.0f ? y : dsv4_from_bits(DSV4_NAN_BITS);
}

#endif
