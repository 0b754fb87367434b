/* SPDX-License-Identifier: Apache-2.0 */
/*
 * exp and 1/sqrt, correctly rounded to binary32 for every input: the canon defines them by value, not by code. Also
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

#endif
