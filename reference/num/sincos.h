/* SPDX-License-Identifier: Apache-2.0 */
/*
 * sin and cos of a binary32 angle from 0 to 2^20, rounded to binary32; and pow(theta, i / 32), the frequencies' base.
 *
 * Reduction: n = round(x * 2/pi), r = x - n * pi/2 as a sum of two binary64. pi/2 is cut into 33 + 33 + 53 bits; n has at
 * most 20 bits, so that n times the first two parts is exact, and so is x minus the first product. What is left of r's
 * error is about 2^-99. Kernel: fdlibm's polynomials on |r| <= pi/4, with their leading term (r, or 1 - r^2/2 in two
 * parts) kept apart, so that their rounding counts for 2^-56 of the result; the sum of both parts is rounded to odd, and
 * the conversion to binary32 is the one rounding that counts. Nothing but binary64 additions, products and fma: the same
 * bits from every compiler and machine.
 *
 * harness/tests/tools/sincos_exhaustive.c compares every angle of the tables of DeepSeek-V4 with MPFR: 2^20 positions by
 * 32 frequencies, for each theta and form of YaRN. Change a digit, run it again.
 */
#ifndef DSV4_NUM_SINCOS_H
#define DSV4_NUM_SINCOS_H

#include <math.h>

#include "bits.h"
#include "odd.h"

/* The reduced angle, high + low, and the quarter turn it lies in. */
struct dsv4_reduced {
    double high, low;
    uint32_t quarter;
};

static inline struct dsv4_reduced dsv4_angle_reduce(double x) {
    const double shifted = fma(x, 0x1.45f306dc9c883p-1, 0x1.8p52), n = shifted - 0x1.8p52;
    const double a = fma(n, -0x1.921fb544p+0, x), b = n * -0x1.0b4611a6p-34;
    const double high = a + b, tail = high - a;
    const double error = (a - (high - tail)) + (b - tail);
    const double low = fma(n, -0x1.3198a2e037073p-69, error);
    struct dsv4_reduced r;
    r.high = high + low;
    r.low = (high - r.high) + low;
    r.quarter = (uint32_t)dsv4_bits64(shifted) & 3u;
    return r;
}

/* sin(high + low) for |high| <= pi/4. */
static inline float dsv4_sin_kernel(double high, double low) {
    const double z = high * high;
    double p = 0x1.5d93a5acfd57cp-33;
    p = fma(p, z, -0x1.ae5e68a2b9cebp-26);
    p = fma(p, z, 0x1.71de357b1fe7dp-19);
    p = fma(p, z, -0x1.a01a019c161d5p-13);
    p = fma(p, z, 0x1.111111110f8a6p-7);
    p = fma(p, z, -0x1.5555555555549p-3);
    /* cos(high) * low is low to first order, and -z/2 * low to the next. */
    const double rest = fma(z * high, p, fma(-0.5 * z, low, low));
    return (float)dsv4_add_odd(high, rest);
}

/* cos(high + low) for |high| <= pi/4. */
static inline float dsv4_cos_kernel(double high, double low) {
    const double z = high * high, z_error = fma(high, high, -z), half = 0.5 * z;
    double p = -0x1.8fae9be8838d4p-37;
    p = fma(p, z, 0x1.1ee9ebdb4b1c4p-29);
    p = fma(p, z, -0x1.27e4f809c52adp-22);
    p = fma(p, z, 0x1.a01a019cb1590p-16);
    p = fma(p, z, -0x1.6c16c16c15177p-10);
    p = fma(p, z, 0x1.555555555554cp-5);
    const double most = 1.0 - half, error = (1.0 - most) - half;
    const double rest = error + fma(z * z, p, fma(-0.5, z_error, -high * low));
    return (float)dsv4_add_odd(most, rest);
}

static inline void dsv4_sincos(float x, float *sine, float *cosine) {
    const struct dsv4_reduced r = dsv4_angle_reduce((double)x);
    const float s = dsv4_sin_kernel(r.high, r.low), c = dsv4_cos_kernel(r.high, r.low);
    const float a = (r.quarter & 1u) != 0 ? c : s, b = (r.quarter & 1u) != 0 ? s : c;
    *sine = (r.quarter & 2u) != 0 ? -a : a;
    *cosine = ((r.quarter + 1u) & 2u) != 0 ? -b : b;
}

/* ---- theta^(i / 32) ---- */

/* A number as a sum of two binary64. */
struct dsv4_double2 {
    double high, low;
};

static inline struct dsv4_double2 dsv4_double2_product(struct dsv4_double2 a,
                                                       struct dsv4_double2 b) {
    const double high = a.high * b.high;
    const double low = fma(a.high, b.high, -high) + (a.high * b.low + a.low * b.high);
    struct dsv4_double2 product;
    product.high = high + low;
    product.low = (high - product.high) + low;
    return product;
}

static inline struct dsv4_double2 dsv4_double2_root(struct dsv4_double2 a) {
    const double high = sqrt(a.high);
    const double low = (fma(-high, high, a.high) + a.low) / (2.0 * high);
    struct dsv4_double2 root;
    root.high = high + low;
    root.low = (high - root.high) + low;
    return root;
}

/*
 * theta^(i / 32) for 0 <= i < 32, rounded to binary32: five square roots, then products by the bits of i, all with about
 * 100 bits; rounded to odd in between, so that only a result within 2^-90 of a tie could be off by one. Ties themselves
 * are exact.
 */
static inline float dsv4_theta_power(float theta, int i) {
    struct dsv4_double2 root = {(double)theta, 0.0}, power = {1.0, 0.0};
    for (int bit = 16; bit > 0; bit /= 2) {
        root = dsv4_double2_root(root);
        if ((i & bit) != 0) power = dsv4_double2_product(power, root);
    }
    return (float)dsv4_add_odd(power.high, power.low);
}

#endif
