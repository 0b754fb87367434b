/* SPDX-License-Identifier: Apache-2.0 */
/*
 * exp and exp2: the correctly rounded binary32 value for every binary32 input, subnormal results
 * included. NaN gives the canonical NaN.
 *
 * exp: x = k*ln2 + r with |r| <= ln2/2; a minimax polynomial of degree 11 gives e^r in binary64
 * with an error below half a unit in its last place plus 2^-57; k is added to the exponent; the
 * conversion to binary32 is the one rounding that counts and also makes infinities, subnormals and
 * zeros. What error is left decides no input: the coefficients are part of the proof.
 * exp2: the same with x = k + r, which is exact. Two results lie closer to a tie than binary64 can
 * tell, hence the rounding to odd.
 *
 * harness/tests/tools/exhaustive.c compares all 2^32 inputs with MPFR: change a digit, run it again.
 */
#ifndef DSV4_NUM_EXP_H
#define DSV4_NUM_EXP_H

#include <math.h>

#include "bits.h"
#include "odd.h"

/* Adding it rounds a small binary64 to an integer, which then lies in the low bits of the sum. */
#define DSV4_EXP_ROUND 0x1.8p52

/* x with its magnitude clamped to the float whose bits are `limit`: where results are 0 and inf for
 * good, but every exponent is still in binary64's range. On integers, because that is two vector
 * instructions everywhere. */
static inline double dsv4_exp_clamp(float x, uint32_t limit) {
    uint32_t b = dsv4_bits(x), a = b & 0x7FFFFFFFu;
    return (double)dsv4_from_bits((a < limit ? a : limit) | (b & 0x80000000u));
}

/* p * 2^k for p in (0.5, 2), k the integer in the low bits of `shifted`. */
static inline float dsv4_exp_scale(double p, double shifted) {
    return (float)dsv4_from_bits64(dsv4_bits64(p) + (dsv4_bits64(shifted) << 52));
}

static inline float dsv4_exp(float x) {
    double d = dsv4_exp_clamp(x, 0x42D00000u); /* 104 */
    double shifted = fma(d, 0x1.71547652b82fep+0, DSV4_EXP_ROUND);
    double k = shifted - DSV4_EXP_ROUND;
    double r = fma(k, -0x1.abc9e3b39803fp-56, fma(k, -0x1.62e42fefa39efp-1, d));
    double p = 0x1.ad7e8bbacabe9p-26;
    p = fma(p, r, 0x1.28ae2f8a4ae7cp-22);
    p = fma(p, r, 0x1.71df2716199b4p-19);
    p = fma(p, r, 0x1.a019994967cf6p-16);
    p = fma(p, r, 0x1.a01a012905c67p-13);
    p = fma(p, r, 0x1.6c16c1846e028p-10);
    p = fma(p, r, 0x1.111111112814fp-7);
    p = fma(p, r, 0x1.555555555075cp-5);
    p = fma(p, r, 0x1.55555555554f8p-3);
    p = fma(p, r, 0x1.000000000000ap-1);
    p = fma(p, r, 1.0);
    p = fma(p, r, 1.0);
    float y = dsv4_exp_scale(p, shifted);
    return x != x ? dsv4_from_bits(DSV4_NAN_BITS) : y;
}

static inline float dsv4_exp2(float x) {
    double d = dsv4_exp_clamp(x, 0x43170000u);
    double shifted = d + DSV4_EXP_ROUND;
    double r = d - (shifted - DSV4_EXP_ROUND);
    double p = 0x1.e79bae6a56a4fp-32;
    p = fma(p, r, 0x1.e61b4f00da479p-28);
    p = fma(p, r, 0x1.b5267ce4937edp-24);
    p = fma(p, r, 0x1.62bfc79da6a3ep-20);
    p = fma(p, r, 0x1.ffcbfba97f58ap-17);
    p = fma(p, r, 0x1.4309130ed8a87p-13);
    p = fma(p, r, 0x1.5d87fe78cd6d2p-10);
    p = fma(p, r, 0x1.3b2ab6fba011ap-7);
    p = fma(p, r, 0x1.c6b08d7049fe8p-5);
    p = fma(p, r, 0x1.ebfbdff82c5a4p-3);
    p = fma(p, r, 0x1.62e42fefa39efp-1);
    p = dsv4_add_odd(1.0, p * r);
    float y = dsv4_exp_scale(p, shifted);
    return x != x ? dsv4_from_bits(DSV4_NAN_BITS) : y;
}

#endif
