/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Dots as matrix units add them, bit by bit as their rules are known (MMA-Sim, arXiv 2511.10909), with infinities and NaN
 * as binary64 has them. A step adds its products and the sum so far at once. An addend's exponent is the sum of its
 * factors', neither below the least normal one of its format; all are cut at a place relative to the greatest exponent.
 *   TC25     Hopper, Blackwell: bf16 in steps of 16, TF32 of 8, FP8 of 32; cut towards zero at 2^-25 of the greatest, and
 *            the result at 2^-23 of its own
 *   TC13     Hopper's FP8 units: both at 2^-13; other factors as TC25
 *   FLOOR24  CDNA3: bf16 in steps of 8, FP8 of 16, even and odd ones apart; products cut towards zero at 2^-24; their sums
 *            joined, the sum so far cut at 2^-24 and what joins it at 2^-31, all downwards; then rounded to nearest
 * fp32 factors are for no such unit: they are added by fma.
 * FRACTION and KEPT make wrong twins, which cut too much: FRACTION the sum so far, and products on NVIDIA; KEPT results.
 */
#include <math.h>
#include <stdbool.h>
#include <string.h>

#include "chain.h"

enum { TC25, TC13, FLOOR24 };
enum { BF16 = N_FACTORS, TF32, N_STEPS, MOST = 32 };

static const int steps[3][N_STEPS] = {
    [TC25] = {[FACTORS_FP8] = 32, [BF16] = 16, [TF32] = 8},
    [TC13] = {[FACTORS_FP8] = 32,                  [BF16] = 16,            [TF32] = 8},
    [FLOOR24] = {[FACTORS_FP8] = 16,        [BF16] = 8       },
};

#ifndef FRACTION
#define FRACTION (UNIT == FLOOR24 ? 24 : 25)
#endif

/* Of a float: of what is subnormal in its format that of the least normal value. */
static int exponent_of(double x, int least) {
    uint64_t bits;
    memcpy(&bits, &x, sizeof bits);
    const int exponent = (int)(bits >> 52 & 2047) - 1023;
    return x == 0 ? -126 : exponent > least ? exponent : least;
}

static double power(int exponent) {
    const uint64_t bits = (uint64_t)(exponent + 1023) << 52;
    double y;
    memcpy(&y, &bits, sizeof y);
    return y;
}

struct step {
    const double *x, *y;
    int n, least;
};

static int greatest(const struct step *s, int first, int stride) {
    int most = 2 * -126;
    for (int i = first; i < s->n; i += stride) {
        const int e = exponent_of(s->x[i], s->least) + exponent_of(s->y[i], s->least);
        most = e > most ? e : most;
    }
    return most;
}

/* The sum of products first, first + stride, ... cut towards zero at `unit`, in units. */
static double cut_sum(const struct step *s, int first, int stride, int unit) {
    const double scale = power(-unit);
    double sum = 0;
    for (int i = first; i < s->n; i += stride) sum += trunc(s->x[i] * s->y[i] * scale);
    return sum;
}

static float towards_zero(double x, int bits) {
    float y = (float)x;
    if (fabs((double)y) > fabs(x)) y = nextafterf(y, 0.0f);
    uint32_t code;
    memcpy(&code, &y, sizeof code);
    code &= UINT32_MAX << (23 - bits);
    memcpy(&y, &code, sizeof y);
    return y;
}

static float nvidia(float c, const struct step *s, int fraction, int kept) {
    const int own = exponent_of((double)c, -126), products = greatest(s, 0, 1);
    const int unit = (own > products ? own : products) - fraction;
    const double sum = trunc((double)c * power(-unit)) + cut_sum(s, 0, 1, unit);
    return towards_zero(sum * power(unit), kept);
}

static int most_of(int a, int b) { return a > b ? a : b; }

static float cdna3(float c, const struct step *s, bool fp8) {
    const int even = greatest(s, 0, fp8 ? 2 : 1), odd = fp8 ? greatest(s, 1, 2) : even;
    const int products = most_of(even, odd), own = exponent_of((double)c, -126);
    const int most = most_of(products, own);
    double sum = cut_sum(s, 0, fp8 ? 2 : 1, even - 24);
    if (fp8)
        sum = floor(sum * power(even - products)) +
              floor(cut_sum(s, 1, 2, odd - 24) * power(odd - products));
    sum = floor(sum * power(products - 24 + 31 - most)) * power(most - 31);
    const bool lost = fp8 && own < most - 25;
    const double before = lost ? 0 : floor((double)c * power(FRACTION - most));
    return (float)(sum + before * power(most - FRACTION));
}

/* Whether the sum is; `sum` is what binary64 makes of it. */
static bool is_finite(float c, const struct step *s, double *sum) {
    *sum = (double)c;
    for (int i = 0; i < s->n; i++) *sum += s->x[i] * s->y[i];
    return isfinite(*sum);
}

static float add_step(float c, const struct step *s, int kind) {
    const bool fp8 = kind == FACTORS_FP8;
    double sum;
    if (!is_finite(c, s, &sum)) return (float)sum;
    if (UNIT == FLOOR24) return cdna3(c, s, fp8);
    if (UNIT == TC13 && fp8) return nvidia(c, s, 13, 13);
    return nvidia(c, s, FRACTION, FRACTION < 23 ? FRACTION : 23);
}

/* The narrowest format that holds all: bits that it has not are 0. */
static int kind_of(const double *x, const double *y, int64_t n) {
    uint32_t all = 0;
    for (int64_t i = 0; i < 2 * n; i++) {
        const float v = (float)(i < n ? x[i] : y[i - n]);
        uint32_t bits;
        memcpy(&bits, &v, sizeof bits);
        all |= bits;
    }
    return (all & 0xFFFF) == 0 ? BF16 : (all & 0x1FFF) == 0 ? TF32 : FACTORS_FLOAT;
}

float variant_chain(float c, const double *x, const double *y, int64_t n, enum factors factors) {
    const int kind = factors == FACTORS_FP8 ? (int)FACTORS_FP8 : kind_of(x, y, n);
    const int size = steps[UNIT][kind], least = UNIT == FLOOR24 ? -7 : -6;
    if (size == 0)
        for (int64_t i = 0; i < n; i++) c = fmaf((float)x[i], (float)y[i], c);
    for (int64_t i = 0; size > 0 && i < n; i += size) {
        const struct step step = {x + i, y + i, n - i < size ? (int)(n - i) : size,
                                  kind == FACTORS_FP8 ? least : -126};
        c = add_step(c, &step, kind);
    }
    return c;
}
