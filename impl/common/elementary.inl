/* SPDX-License-Identifier: Apache-2.0 */
/*
 * exp, exp2, log, log2, log1p, sqrt and 1/sqrt, correctly rounded to binary32 for every input: the canon defines them by value, not by code. Also
 * compiles as host C++, where elementary_check compares all inputs with the reference.
 *
 * exp. n = round(x / ln2); x - n * fl(ln2) is exact in binary32 (a multiple of 2^-25 below 0.36), so that only the
 * rest of ln2 and the polynomial need binary64: 13 operations, which hide behind the loads of a pooling kernel. The
 * polynomial of degree 11 interpolates (e^r - 1 - r) / r^2 at Chebyshev nodes of |r| <= ln2/2.
 * rsqrt. The hardware's estimate, then one step of third order in binary64.
 */
#ifndef DSV4_ELEMENTARY_INL
#define DSV4_ELEMENTARY_INL

#if defined(__CUDACC__) || defined(__HIP__) || defined(GPU_EMULATED)
#include "gpu.h"
#define ELEMENTARY GPU_DEVICE
#else
#include <stdint.h>
#define ELEMENTARY static inline
#endif

#if defined(__CUDA_ARCH__)
#define ELEMENTARY_FMA(a, b, c) __fma_rn(a, b, c)
#define ELEMENTARY_FMAF(a, b, c) __fmaf_rn(a, b, c)
#elif defined(__CUDACC__)
#define ELEMENTARY_FMA(a, b, c) fma(a, b, c)
#define ELEMENTARY_FMAF(a, b, c) fmaf(a, b, c)
#else
#define ELEMENTARY_FMA(a, b, c) __builtin_fma(a, b, c)
#define ELEMENTARY_FMAF(a, b, c) __builtin_fmaf(a, b, c)
#endif

/* The one NaN of the canon. */
#define ELEMENTARY_NAN __builtin_bit_cast(float, UINT32_C(0x7FC00000))

/* exp(x) for x up to 89, where the result is inf; NaN gives any value. */
ELEMENTARY float elementary_exp_below(float x) {
    /* From -104 down the result is 0. */
    x = x > -104.0f ? x : -104.0f;
    /* 1.5 * 2^23: the sum's low bits are the rounded quotient. */
    const float shifted = ELEMENTARY_FMAF(x, 0x1.715476p+0f, 0x1.8p23f);
    const float n = shifted - 0x1.8p23f;
    const float high = ELEMENTARY_FMAF(n, -0x1.62e43p-1f, x);
    const uint32_t bits = __builtin_bit_cast(uint32_t, shifted);
    /* The same number in binary64 without a conversion: 2^52 + bits, less what bits holds at n = 0. */
    const double wide = __builtin_bit_cast(double, UINT64_C(0x4330000000000000) | bits) -
                        (0x1p52 + (double)0x4B400000);
    const double r = ELEMENTARY_FMA(wide, 0x1.05c610ca86c39p-29, (double)high);
    double p = 0x1.af38a9b0ec855p-26;
    p = ELEMENTARY_FMA(p, r, 0x1.289185613a3d6p-22);
    p = ELEMENTARY_FMA(p, r, 0x1.71de0dae63bb3p-19);
    p = ELEMENTARY_FMA(p, r, 0x1.a019b90d2ae7ap-16);
    p = ELEMENTARY_FMA(p, r, 0x1.a01a01a7c41d5p-13);
    p = ELEMENTARY_FMA(p, r, 0x1.6c16c1788bd90p-10);
    p = ELEMENTARY_FMA(p, r, 0x1.11111111109b3p-7);
    p = ELEMENTARY_FMA(p, r, 0x1.5555555553d63p-5);
    p = ELEMENTARY_FMA(p, r, 0x1.5555555555556p-3);
    p = ELEMENTARY_FMA(p, r, 0x1.0000000000001p-1);
    p = ELEMENTARY_FMA(p, r, 1.0);
    p = ELEMENTARY_FMA(p, r, 1.0);
    const uint64_t scaled = __builtin_bit_cast(uint64_t, p) + ((uint64_t)bits << 52);
    return (float)__builtin_bit_cast(double, scaled);
}

ELEMENTARY float elementary_exp(float x) {
    const float y = elementary_exp_below(x < 89.0f ? x : 89.0f);
    return x != x ? ELEMENTARY_NAN : y;
}

/* exp2 by the same polynomial: x = n + r, r * ln2 rounded once in binary64. Two results lie too close to a tie. */
ELEMENTARY float elementary_exp2(float x) {
    const float above = x > -152.0f ? x : -152.0f, clamped = above < 130.0f ? above : 130.0f;
    const double shifted = (double)clamped + 0x1.8p52, n = shifted - 0x1.8p52;
    const double r = ((double)clamped - n) * 0x1.62e42fefa39efp-1;
    double p = 0x1.ad7e8bbacabe9p-26;
    p = ELEMENTARY_FMA(p, r, 0x1.28ae2f8a4ae7cp-22);
    p = ELEMENTARY_FMA(p, r, 0x1.71df2716199b4p-19);
    p = ELEMENTARY_FMA(p, r, 0x1.a019994967cf6p-16);
    p = ELEMENTARY_FMA(p, r, 0x1.a01a012905c67p-13);
    p = ELEMENTARY_FMA(p, r, 0x1.6c16c1846e028p-10);
    p = ELEMENTARY_FMA(p, r, 0x1.111111112814fp-7);
    p = ELEMENTARY_FMA(p, r, 0x1.555555555075cp-5);
    p = ELEMENTARY_FMA(p, r, 0x1.55555555554f8p-3);
    p = ELEMENTARY_FMA(p, r, 0x1.000000000000ap-1);
    p = ELEMENTARY_FMA(p, r, 1.0);
    p = ELEMENTARY_FMA(p, r, 1.0);
    const uint64_t scaled =
        __builtin_bit_cast(uint64_t, p) + (__builtin_bit_cast(uint64_t, shifted) << 52);
    float y = (float)__builtin_bit_cast(double, scaled);
    if (x == 0x1.853a6ep-9f) y = 0x1.00870ap+0f;
    if (x == -0x1.e7526ep-6f) y = 0x1.f58d62p-1f;
    return x != x ? ELEMENTARY_NAN : y;
}

/* 2 artanh(f / (2 + f)), which is log(1 + f), as a series in binary64; f from sqrt(1/2) - 1 to sqrt(2) - 1. */
ELEMENTARY double elementary_log_series(double f) {
    const double z = f / (2.0 + f), w = z * z;
    double p = 2.0 / 23.0;
    p = ELEMENTARY_FMA(p, w, 2.0 / 21.0);
    p = ELEMENTARY_FMA(p, w, 2.0 / 19.0);
    p = ELEMENTARY_FMA(p, w, 2.0 / 17.0);
    p = ELEMENTARY_FMA(p, w, 2.0 / 15.0);
    p = ELEMENTARY_FMA(p, w, 2.0 / 13.0);
    p = ELEMENTARY_FMA(p, w, 2.0 / 11.0);
    p = ELEMENTARY_FMA(p, w, 2.0 / 9.0);
    p = ELEMENTARY_FMA(p, w, 2.0 / 7.0);
    p = ELEMENTARY_FMA(p, w, 2.0 / 5.0);
    p = ELEMENTARY_FMA(p, w, 2.0 / 3.0);
    return ELEMENTARY_FMA(z * w, p, 2.0 * z);
}

/* y, or what log and log2 of 0, infinity and others are. */
ELEMENTARY float elementary_log_special(float x, float y) {
    const float infinity = __builtin_bit_cast(float, UINT32_C(0x7F800000));
    const float special = x == 0.0f ? -infinity : x == infinity ? infinity : ELEMENTARY_NAN;
    return x > 0.0f && x < infinity ? y : special;
}

/* log: x = 2^k * m with m from sqrt(1/2) to sqrt(2). Five results lie too close to a tie. */
ELEMENTARY float elementary_log(float x) {
    const uint64_t bits = __builtin_bit_cast(uint64_t, (double)x);
    const int64_t k = (int64_t)(bits - UINT64_C(0x3FE6A09E667F3BCD)) >> 52;
    const double m = __builtin_bit_cast(double, bits - ((uint64_t)k << 52));
    const double series = elementary_log_series(m - 1.0);
    float y = (float)ELEMENTARY_FMA((double)k, 0x1.62e42fefa39efp-1, series);
    if (x == 0x1.827a74p-7f) y = -0x1.1c2b1ep+2f;
    if (x == 0x1.2f1fd6p+3f) y = 0x1.1fcbcep+1f;
    if (x == 0x1.bacb4ap+25f) y = 0x1.1e0696p+4f;
    if (x == 0x1.b121a6p+76f) y = 0x1.a9a3f2p+5f;
    if (x == 0x1.6351d8p+95f) y = 0x1.08b512p+6f;
    return elementary_log_special(x, y);
}

/* log2 by the same series. */
ELEMENTARY float elementary_log2(float x) {
    const uint64_t bits = __builtin_bit_cast(uint64_t, (double)x);
    const int64_t k = (int64_t)(bits - UINT64_C(0x3FE6A09E667F3BCD)) >> 52;
    const double m = __builtin_bit_cast(double, bits - ((uint64_t)k << 52));
    const double series = elementary_log_series(m - 1.0);
    const float y = (float)ELEMENTARY_FMA(series, 0x1.71547652b82fep+0, (double)k);
    return elementary_log_special(x, y);
}

/* log1p: as log with u = 1 + x, which is exact where it matters; near u = 1 the series takes x itself, so that small
 * results lose nothing. Eight results lie too close to a tie. */
ELEMENTARY float elementary_log1p(float x) {
    const double d = (double)x, u = 1.0 + d;
    const uint64_t bits = __builtin_bit_cast(uint64_t, u);
    const int64_t k = (int64_t)(bits - UINT64_C(0x3FE6A09E667F3BCD)) >> 52;
    const double m = __builtin_bit_cast(double, bits - ((uint64_t)k << 52));
    const double f = k == 0 ? d : m - 1.0;
    const double series = elementary_log_series(f);
    float y = (float)ELEMENTARY_FMA((double)k, 0x1.62e42fefa39efp-1, series);
    if (x == -0x1.7ffffap-21f) y = -0x1.800002p-21f;
    if (x == 0x1.800006p-21f) y = 0x1.7ffffep-21f;
    if (x == 0x1.200036p-17f) y = 0x1.1fffe6p-17f;
    if (x == -0x1.1fffcap-17f) y = -0x1.20001ap-17f;
    if (x == -0x1.1d9188p-9f) y = -0x1.1de14ap-9f;
    if (x == 0x1.0f1fd6p+3f) y = 0x1.1fcbcep+1f;
    if (x == 0x1.b121a6p+76f) y = 0x1.a9a3f2p+5f;
    if (x == 0x1.6351d8p+95f) y = 0x1.08b512p+6f;
    const float infinity = __builtin_bit_cast(float, UINT32_C(0x7F800000));
    y = x == 0.0f ? x : y;
    const float special = x == -1.0f ? -infinity : x == infinity ? infinity : ELEMENTARY_NAN;
    return x > -1.0f && x < infinity ? y : special;
}

/* One third-order step from an estimate y of 1/sqrt(x): the error's cube and 2^-52 are left. */
ELEMENTARY float elementary_rsqrt_refine(double x, double y) {
    const double error = ELEMENTARY_FMA(-x * y, y, 1.0);
    const double step = y * error;
    return (float)ELEMENTARY_FMA(step, ELEMENTARY_FMA(error, 0.375, 0.5), y);
}

#if defined(__CUDACC__)
GPU_DEVICE double elementary_rsqrt_estimate(float x) { return (double)rsqrtf(x); }
#elif defined(__HIP__)
GPU_DEVICE double elementary_rsqrt_estimate(float x) { return __builtin_amdgcn_rsq((double)x); }
#elif defined(GPU_EMULATED)
GPU_DEVICE double elementary_rsqrt_estimate(float x) { return (double)(1.0f / sqrtf(x)); }
#endif

#if defined(__CUDACC__) || defined(__HIP__) || defined(GPU_EMULATED)
ELEMENTARY float elementary_rsqrt(float x) {
    const float y = elementary_rsqrt_refine((double)x, elementary_rsqrt_estimate(x));
    const float infinity = gpu_float(0x7F800000u);
    const float signed_infinity = gpu_float(0x7F800000u | (gpu_bits(x) & 0x80000000u));
    const float special = x == 0.0f ? signed_infinity : x == infinity ? 0.0f : ELEMENTARY_NAN;
    return x > 0.0f && x < infinity ? y : special;
}
#endif

#if defined(__CUDACC__)
GPU_DEVICE float elementary_sqrt(float x) {
    return x < 0.0f || x != x ? ELEMENTARY_NAN : __fsqrt_rn(x);
}
#elif defined(__HIP__) || defined(GPU_EMULATED)
GPU_DEVICE float elementary_sqrt(float x) {
    return x < 0.0f || x != x ? ELEMENTARY_NAN : __builtin_sqrtf(x);
}
#endif

#endif
