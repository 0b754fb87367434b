/* SPDX-License-Identifier: Apache-2.0 */
/*
 * log, log2 and log1p: the correctly rounded binary32 value for every binary32 input. log(+-0), log2(+-0) and
 * log1p(-1) are -inf, log1p(+-0) is +-0, inputs below the domain and NaN give the canonical NaN.
 *
 * u = 2^k * m with m near 1; c from a table of 32 short numbers near 1/m makes r = m*c - 1 small
 * (|r| < 0.02), and log(u) = k*ln2 - log(c) + r - r^2/2 + r^3/3 - ... k*ln2 - log(c) is split into
 * an exact part and a rest; the sum is kept in two binary64 numbers, good to about 2^-59, and
 * rounded once. Around u = 1, c is 1 and r carries everything, so that small results lose nothing.
 * log2(u) is k + log(m) / ln2, the product in two binary64 numbers too.
 * harness/tests/tools/exhaustive.c compares all 2^32 inputs with MPFR.
 */
#ifndef DSV4_NUM_LOG_H
#define DSV4_NUM_LOG_H

#include <math.h>

#include "bits.h"
#include "odd.h"

/* c, and -log(c) as a multiple of 2^-45 plus a rest. */
static const double dsv4_log_table[32][3] = {
    {0x1.6d80000000000p+0, -0x1.6ca28d2e34a00p-2, 0x1.ea5e8e76dd347p-48 },
    {0x1.6580000000000p+0, -0x1.55f9107a43e00p-2, -0x1.c33710e416b3bp-47},
    {0x1.5e00000000000p+0, -0x1.404308686a800p-2, 0x1.c42f3ed820b3ap-50 },
    {0x1.5680000000000p+0, -0x1.2a1499f762c00p-2, 0x1.b77ea3e755b86p-49 },
    {0x1.4f80000000000p+0, -0x1.14ef67f886800p-2, -0x1.6859a203686c5p-48},
    {0x1.48c0000000000p+0, -0x1.001f7e6484600p-2, -0x1.52ae819357784p-49},
    {0x1.4240000000000p+0, -0x1.d758fc95efc00p-3, -0x1.4bdeae97d3aacp-47},
    {0x1.3c00000000000p+0, -0x1.af3c94e80c000p-3, 0x1.a4e633fcd9066p-52 },
    {0x1.3640000000000p+0, -0x1.89a0aacd4e800p-3, 0x1.fa0212b852c70p-48 },
    {0x1.3080000000000p+0, -0x1.6350a28aaa800p-3, 0x1.509faa3f4e28bp-48 },
    {0x1.2ac0000000000p+0, -0x1.3c459def77000p-3, 0x1.23790948f2ccap-48 },
    {0x1.2580000000000p+0, -0x1.17f6458fca800p-3, 0x1.ef014bdb0dc90p-47 },
    {0x1.2040000000000p+0, -0x1.e5fe4ab272800p-4, -0x1.028b045800d97p-47},
    {0x1.1b40000000000p+0, -0x1.9e52097f9c800p-4, -0x1.afd65a96e827ep-48},
    {0x1.1680000000000p+0, -0x1.590cafdf02000p-4, 0x1.ebd8546eaa2b1p-47 },
    {0x1.11c0000000000p+0, -0x1.129644402e000p-4, -0x1.56224572ac464p-47},
    {0x1.0d40000000000p+0, -0x1.9d644fdffa000p-5, -0x1.3c90539a473b6p-48},
    {0x1.0900000000000p+0, -0x1.1b0d98923e000p-5, 0x1.a00f4d7444dd6p-47 },
    {0x1.04c0000000000p+0, -0x1.2d36cefb56000p-6, 0x1.07a265f47c9e4p-47 },
    {0x1.0000000000000p+0, 0x0.0p+0,              0x0.0p+0              },
    {0x1.f300000000000p-1, 0x1.a55f548c5c000p-6,  0x1.0fc7b0697e1b5p-48 },
    {0x1.e480000000000p-1, 0x1.c441e06f73000p-5,  -0x1.58705b3d79756p-47},
    {0x1.d680000000000p-1, 0x1.5a3abb01ae000p-4,  -0x1.da8b619505e81p-48},
    {0x1.c980000000000p-1, 0x1.ccfedbfee1000p-4,  0x1.d41197f3892adp-47 },
    {0x1.bd00000000000p-1, 0x1.1f3b925f25c00p-3,  0x1.41162c9ef939bp-47 },
    {0x1.b100000000000p-1, 0x1.5737cc9018c00p-3,  0x1.baa7a6b887f62p-48 },
    {0x1.a600000000000p-1, 0x1.8beafeb390000p-3,  -0x1.73d54aae92cd1p-47},
    {0x1.9b80000000000p-1, 0x1.bf851c0675400p-3,  0x1.5ef8d9fbd5a9cp-47 },
    {0x1.9180000000000p-1, 0x1.f1e75fadf9c00p-3,  -0x1.0c564bb07ed9dp-50},
    {0x1.8780000000000p-1, 0x1.12c77cd007200p-2,  -0x1.89ad6ebdc10d1p-47},
    {0x1.7e80000000000p-1, 0x1.2a982269a3e00p-2,  -0x1.02c72ab942e77p-48},
    {0x1.7600000000000p-1, 0x1.419b423d5e800p-2,  0x1.8e436ec90e09dp-47 },
};

/* The interval of the table that holds 1, and the bits of the lower end of its first interval. */
#define DSV4_LOG_MIDDLE 19
#define DSV4_LOG_FIRST UINT64_C(0x3FE62A0000000000)

struct dsv4_two {
    double high, low;
};

/* log(u + missed) for u > 0, |missed| far below u. `x` is u + missed - 1, exact where u is near 1.
 */
static inline struct dsv4_two dsv4_log_sum(double u, double missed, double x) {
    uint64_t bits = dsv4_bits64(u), offset = bits - DSV4_LOG_FIRST;
    uint64_t i = (offset >> 47) & 31;
    double k = (double)((int64_t)offset >> 52);
    double m = dsv4_from_bits64(bits - (offset & UINT64_C(0xFFF0000000000000)));
    double unscale =
        dsv4_from_bits64(UINT64_C(0x3FF0000000000000) - (offset & UINT64_C(0xFFF0000000000000)));
    double c = dsv4_log_table[i][0];
    uint64_t near = offset >> 47 == DSV4_LOG_MIDDLE;
    double r = near ? x : fma(m, c, -1.0);
    double low = near ? 0.0 : missed * unscale * c;
    double p = -0x1.999999999999ap-4;
    p = fma(p, r, 0x1.c71c71c71c71cp-4);
    p = fma(p, r, -0x1p-3);
    p = fma(p, r, 0x1.2492492492492p-3);
    p = fma(p, r, -0x1.5555555555555p-3);
    p = fma(p, r, 0x1.999999999999ap-3);
    p = fma(p, r, -0x1p-2);
    p = fma(p, r, 0x1.5555555555555p-2);
    double square = r * r;
    low = low + fma(k, -0x1.0ca86c3898dp-49, dsv4_log_table[i][2]);
    low = low + fma(square * r, p, -0.5 * square);
    double exact = fma(k, 0x1.62e42fefa3ap-1, dsv4_log_table[i][1]);
    double high = exact + r;
    return (struct dsv4_two){high, r - (high - exact) + low};
}

static inline float dsv4_log_value(double u, double missed, double x) {
    const struct dsv4_two y = dsv4_log_sum(u, missed, x);
    return (float)dsv4_add_odd(y.high, y.low);
}

static inline float dsv4_log(float x) {
    double u = (double)x;
    float y = dsv4_log_value(u, 0.0, u - 1.0);
    float infinity = dsv4_from_bits(0x7F800000u);
    y = x == infinity ? infinity : y;
    y = x == 0.0f ? -infinity : y;
    return x >= 0.0f ? y : dsv4_from_bits(DSV4_NAN_BITS);
}

static inline float dsv4_log2(float x) {
    uint64_t bits = dsv4_bits64((double)x), offset = bits - DSV4_LOG_FIRST;
    double k = (double)((int64_t)offset >> 52);
    double m = dsv4_from_bits64(bits - (offset & UINT64_C(0xFFF0000000000000)));
    const struct dsv4_two y = dsv4_log_sum(m, 0.0, m - 1.0);
    double high = y.high * 0x1.71547652b82fep+0;
    double low = fma(y.high, 0x1.71547652b82fep+0, -high);
    low = low + fma(y.high, 0x1.777d0ffda0d24p-56, y.low * 0x1.71547652b82fep+0);
    double sum = k + high;
    float result = (float)dsv4_add_odd(sum, high - (sum - k) + low);
    float infinity = dsv4_from_bits(0x7F800000u);
    result = x == infinity ? infinity : result;
    result = x == 0.0f ? -infinity : result;
    return x >= 0.0f ? result : dsv4_from_bits(DSV4_NAN_BITS);
}

static inline float dsv4_log1p(float x) {
    double d = (double)x, u = 1.0 + d, back = u - 1.0;
    double missed = (1.0 - (u - back)) + (d - back);
    float y = dsv4_log_value(u, missed, d);
    float infinity = dsv4_from_bits(0x7F800000u);
    y = x == infinity ? infinity : y;
    y = x == -1.0f ? -infinity : y;
    y = x == 0.0f ? x : y;
    return x >= -1.0f ? y : dsv4_from_bits(DSV4_NAN_BITS);
}

#endif
