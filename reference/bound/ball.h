/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Balls: what a correct kernel may hold where the canon holds one float. A ball {v, r} says that the kernel's value x
 * satisfies |x - v| <= r, v being the value that exact arithmetic gives from the inputs. Each operation here encloses the
 * exact operation over all points of its operands, then one rounding to nearest binary32. u = 2^-24 is half a unit in the
 * last place of 1. Centres and radii are doubles, whose own rounding is 2^-29 of u: DSV4_BALL_SLACK pays for it.
 *
 * Whether a kernel multiplies and adds or uses fma does not matter: a ball_add of a ball_mul contains both.
 */
#ifndef DSV4_BOUND_BALL_H
#define DSV4_BOUND_BALL_H

#include <math.h>
#include <stdbool.h>
#include <stdint.h>

#include "../../harness/include/dsv4_plugin.h"
#include "../num/bf16.h"

#define DSV4_BALL_U 0x1p-24
#define DSV4_BALL_SLACK (1 + 0x1p-20)
#define DSV4_BALL_LEAST 0x1p-149 /* the least subnormal */

struct dsv4_ball {
    double v, r;
};

/* fmin and fmax, of NaN too, as vectors have them. */
static inline double dsv4_lesser(double x, double y) { return x < y || y != y ? x : y; }
static inline double dsv4_greater(double x, double y) { return x > y || y != y ? x : y; }

static inline struct dsv4_ball dsv4_ball_of(double exact) { return (struct dsv4_ball){exact, 0}; }

/* The centre is exact and `r` what is known to be around it; `ulp` units in the last place are added. */
static inline struct dsv4_ball dsv4_ball_within(double v, double r, double ulp) {
    const double error = r + 2 * ulp * DSV4_BALL_U * (fabs(v) + r);
    return (struct dsv4_ball){v, error * DSV4_BALL_SLACK + DSV4_BALL_LEAST};
}

/* One rounding to nearest. An exact zero stays one, with its sign. */
static inline struct dsv4_ball dsv4_ball_rounded(struct dsv4_ball x) {
    return x.v == 0 && x.r == 0 ? x : dsv4_ball_within(x.v, x.r, 0.5);
}

/* From `low` to `high`, which the ends of x became. Zeros of both signs leave the sign open. */
static inline struct dsv4_ball dsv4_ball_from(struct dsv4_ball x, double low, double high) {
    if (low < high && isinf(high - low)) return (struct dsv4_ball){x.v, INFINITY};
    const bool open = low == 0 && high == 0 && signbit(low) && !signbit(high);
    return (struct dsv4_ball){(low + high) / 2, open ? DSV4_BALL_LEAST : (high - low) / 2};
}

/* A rounding to bf16 that the recipe demands here: between what the ends are rounded to, mostly one value. */
static inline struct dsv4_ball dsv4_ball_bf16(struct dsv4_ball x) {
    if (x.r == 0) x.v = (double)dsv4_bf16_to_f32(dsv4_bf16_from_f32((float)x.v));
    if (x.r == 0) return x;
    return dsv4_ball_from(x, (double)dsv4_bf16_to_f32(dsv4_bf16_from_f32((float)(x.v - x.r))),
                          (double)dsv4_bf16_to_f32(dsv4_bf16_from_f32((float)(x.v + x.r))));
}

/* A rounding to binary32 that every kernel does here, of a value that all have: the same for the same value. */
static inline struct dsv4_ball dsv4_ball_f32(struct dsv4_ball x) {
    if (x.r == 0) return (struct dsv4_ball){(double)(float)x.v, 0};
    return dsv4_ball_from(x, (double)(float)(x.v - x.r), (double)(float)(x.v + x.r));
}

/* A rounding to bf16 that a kernel may do here, perhaps of a multiple of the value, or may not: 8 significant bits. */
static inline struct dsv4_ball dsv4_ball_perhaps_bf16(struct dsv4_ball x) {
    return (struct dsv4_ball){x.v, x.r + 0x1p-8 * (fabs(x.v) + x.r) + 0x1p-134};
}

static inline struct dsv4_ball dsv4_ball_negated(struct dsv4_ball x) {
    return (struct dsv4_ball){-x.v, x.r};
}

static inline struct dsv4_ball dsv4_ball_add(struct dsv4_ball a, struct dsv4_ball b) {
    return dsv4_ball_rounded((struct dsv4_ball){a.v + b.v, a.r + b.r});
}

static inline struct dsv4_ball dsv4_ball_sub(struct dsv4_ball a, struct dsv4_ball b) {
    return dsv4_ball_add(a, dsv4_ball_negated(b));
}

/* Without a rounding: the product of two bf16 or FP8 values, or a scale by a power of two. */
static inline struct dsv4_ball dsv4_ball_times(struct dsv4_ball a, struct dsv4_ball b) {
    return (struct dsv4_ball){a.v * b.v, fabs(a.v) * b.r + fabs(b.v) * a.r + a.r * b.r};
}

static inline struct dsv4_ball dsv4_ball_mul(struct dsv4_ball a, struct dsv4_ball b) {
    return dsv4_ball_rounded(dsv4_ball_times(a, b));
}

static inline struct dsv4_ball dsv4_ball_abs(struct dsv4_ball x) {
    return x.v < 0 ? dsv4_ball_negated(x) : x;
}

static inline struct dsv4_ball dsv4_ball_max(struct dsv4_ball a, struct dsv4_ball b) {
    const double v = a.v > b.v ? a.v : b.v;
    const double low = dsv4_greater(a.v - a.r, b.v - b.r),
                 high = dsv4_greater(a.v + a.r, b.v + b.r);
    return (struct dsv4_ball){v, dsv4_greater(high - v, v - low)};
}

static inline struct dsv4_ball dsv4_ball_clamp(struct dsv4_ball x, double low, double high) {
    if (isnan(x.v)) return x;
    const double v = dsv4_lesser(dsv4_greater(x.v, low), high);
    const double l = dsv4_lesser(dsv4_greater(x.v - x.r, low), high),
                 h = dsv4_lesser(dsv4_greater(x.v + x.r, low), high);
    return (struct dsv4_ball){v, dsv4_greater(h - v, v - l)};
}

/* From the values at the ends of the operand, for a function that rises or falls throughout, and its error in ulp. A
 * function that is not correctly rounded may flush what is subnormal. */
static inline struct dsv4_ball dsv4_ball_between(double v, double one, double other, double ulp) {
    const double low = dsv4_lesser(one, other), high = dsv4_greater(one, other);
    struct dsv4_ball y = dsv4_ball_within(v, dsv4_greater(high - v, v - low), ulp);
    if (ulp > 0.5 && fabs(v) - y.r < 0x1p-126) y.r += 0x1p-126;
    return y;
}

static inline struct dsv4_ball dsv4_ball_div(const dsv4_arithmetic *a, struct dsv4_ball x,
                                             struct dsv4_ball y) {
    const double v = x.v / y.v, least = fabs(y.v) - y.r;
    if (least <= 0) return (struct dsv4_ball){v, INFINITY};
    return dsv4_ball_between(v, v, v + (x.r + fabs(v) * y.r) / least, a->divide_ulp);
}

/* How far exp's argument may be from its centre. exp2(x * log2(e)) is a common form: the product and its constant are
 * rounded, 2u of |x|. */
static inline double dsv4_ball_exp_reach(const dsv4_arithmetic *a, struct dsv4_ball x) {
    return x.r + (a->exp_ulp > 0.5f ? 2 * DSV4_BALL_U * (fabs(x.v) + x.r) : 0);
}

static inline struct dsv4_ball dsv4_ball_exp(const dsv4_arithmetic *a, struct dsv4_ball x) {
    const double r = dsv4_ball_exp_reach(a, x);
    return dsv4_ball_between(exp(x.v), exp(x.v - r), exp(x.v + r), a->exp_ulp);
}

static inline struct dsv4_ball dsv4_ball_log(const dsv4_arithmetic *a, struct dsv4_ball x) {
    const double least = x.v - x.r;
    struct dsv4_ball y =
        dsv4_ball_between(log(x.v), least > 0 ? log(least) : -INFINITY, log(x.v + x.r), a->log_ulp);
    /* Hardware's logarithms are bounded absolutely near 1, where the result is small. */
    if (a->log_ulp > 0.5f) y.r += 4 * DSV4_BALL_U;
    return y;
}

static inline struct dsv4_ball dsv4_ball_exp2(const dsv4_arithmetic *a, struct dsv4_ball x) {
    return dsv4_ball_between(exp2(x.v), exp2(x.v - x.r), exp2(x.v + x.r), a->exp_ulp);
}

static inline struct dsv4_ball dsv4_ball_log2(const dsv4_arithmetic *a, struct dsv4_ball x) {
    const double least = x.v - x.r;
    struct dsv4_ball y = dsv4_ball_between(log2(x.v), least > 0 ? log2(least) : -INFINITY,
                                           log2(x.v + x.r), a->log_ulp);
    if (a->log_ulp > 0.5f) y.r += 4 * DSV4_BALL_U; /* as dsv4_ball_log */
    return y;
}

static inline struct dsv4_ball dsv4_ball_rsqrt(const dsv4_arithmetic *a, struct dsv4_ball x) {
    const double least = x.v - x.r;
    return dsv4_ball_between(1 / sqrt(x.v), least > 0 ? 1 / sqrt(least) : INFINITY,
                             1 / sqrt(x.v + x.r), a->rsqrt_ulp);
}

static inline struct dsv4_ball dsv4_ball_sqrt(const dsv4_arithmetic *a, struct dsv4_ball x) {
    const double least = x.v > x.r ? x.v - x.r : 0;
    return dsv4_ball_between(sqrt(x.v), sqrt(least), sqrt(x.v + x.r), a->rsqrt_ulp);
}

/* 1 / (1 + exp(-x)), of an exp, an addition and a division; taken as one, for exp may overflow inside. */
static inline struct dsv4_ball dsv4_ball_sigmoid(const dsv4_arithmetic *a, struct dsv4_ball x) {
    const double ulp = a->exp_ulp + a->divide_ulp + 0.5;
    const double r = dsv4_ball_exp_reach(a, x);
    struct dsv4_ball y = dsv4_ball_between(1 / (1 + exp(-x.v)), 1 / (1 + exp(-x.v + r)),
                                           1 / (1 + exp(-x.v - r)), ulp);
    /* exp(-x) above the largest float is an infinity, and the quotient 0. */
    if (x.v - r < -88.0) y.r += y.v;
    return y;
}

/*
 * x / (1 + exp(-x)), also as x * sigmoid(x), of an exact x. The quotient may be subnormal, and flushed, where |x| is about
 * 88 to 104; below that exp(-x) is an infinity to all, and the result a zero; between, to some.
 */
static inline struct dsv4_ball dsv4_ball_silu(const dsv4_arithmetic *a, double x) {
    const struct dsv4_ball y = dsv4_ball_sigmoid(a, dsv4_ball_of(x));
    const double v = y.v == 0 ? -0.0 : x * y.v, relative = y.v > 0 ? y.r / y.v : 0;
    double r = fabs(v) * (x < -87.0 ? 1 + 0x1p-16 : relative + DSV4_BALL_U);
    if (x < -80.0 && a->exp_ulp + a->divide_ulp > 1.0f) r += 128 * 0x1p-126;
    return (struct dsv4_ball){v, r * DSV4_BALL_SLACK + DSV4_BALL_LEAST};
}

/* ---- sums ---- */

/* The terms of a sum in no order: what every order's error is bounded by. */
struct dsv4_terms {
    double v, magnitude, squares, r; /* sums of: terms, |terms|, squares, radii */
    double sizes;                    /* of |terms| as FP8 units see them */
    int64_t n;
};

static inline void dsv4_terms_add(struct dsv4_terms *t, double term, double r) {
    t->v += term;
    t->magnitude += fabs(term) + r;
    t->squares += term * term;
    t->r += r;
    t->n++;
}

/* How large FP8 units take a product for: a subnormal factor has the exponent of the least normal one. */
static inline double dsv4_fp8_size(double x, double y) {
    const double least = 0x1p-6;
    return x * y == 0 ? 0 : fmax(fabs(x), least) * fmax(fabs(y), least);
}

static inline void dsv4_terms_add_fp8(struct dsv4_terms *t, double x, double y) {
    dsv4_terms_add(t, x * y, 0);
    t->sizes += dsv4_fp8_size(x, y);
}

/*
 * Their sum. Each class is n terms, each off by at most a share of the sum of magnitudes M = sum |p|, which no partial sum
 * exceeds:
 *   F32-SEQ, F32-ANY    a product and n - 1 additions in any tree: at most n roundings on a path, n u M / (1 - n u)
 *   TC25-RZ             steps of q >= 4 products; each addend of a step, and the sum so far, is cut at 2^-25 of the largest,
 *                       the result at 2^-23: ((q + 1) 2^-25 + 2^-23) M per step, 1.125 n u M at q = 4
 *   CDNA3-FLOOR24       groups of q >= 4; addends and sum cut at 2^-24, then one rounding: (q + 2) u M per group, 1.5 n u M
 *   TC13-PROMOTE128     within 128 terms, steps of 32: 33 addends cut at 2^-13 of the largest and a result of 13 bits,
 *                       (33 + 1) 2^-13 M per step and 4 steps; the sums of 128 are added in binary32. The largest is found
 *                       by exponents: M is the sum of dsv4_fp8_size(). At the exponents of subnormal FP8 factors, up to
 *                       2^2, the other classes cut nothing of products, which are multiples of 2^-20; bf16 is never subnormal here
 * and a handful of binary32 additions where the sum is split. Matrix units take dots; rows are summed in binary32 by every
 * class. TC13 is what FP8 units do, whose kernels take bf16 dots as TC25 does.
 */
enum dsv4_sum_kind { DSV4_SUM_ROW, DSV4_SUM_DOT, DSV4_SUM_FP8 };

static inline uint32_t dsv4_sum_class(const dsv4_arithmetic *a, enum dsv4_sum_kind kind) {
    if (kind == DSV4_SUM_ROW) return DSV4_F32_ANY;
    if (kind == DSV4_SUM_DOT && a->accumulation == DSV4_TC13_PROMOTE128) return DSV4_TC25_RZ;
    return a->accumulation;
}

static inline struct dsv4_ball dsv4_ball_sum(const dsv4_arithmetic *a, enum dsv4_sum_kind kind,
                                             const struct dsv4_terms *t) {
    const double n = (double)t->n, any = n * DSV4_BALL_U,
                 split = 64 * DSV4_BALL_U; /* additions of the parts */
    const uint32_t class = dsv4_sum_class(a, kind);
    double share = any / (1 - any);
    if (class == DSV4_TC25_RZ) share = 1.125 * any + split;
    if (class == DSV4_CDNA3_FLOOR24) share = 1.5 * any + split;
    if (class == DSV4_TC13_PROMOTE128) share = 4 * 34 * 0x1p-13 + any / 128 + split;
    const double all = class == DSV4_TC13_PROMOTE128 ? t->sizes : t->magnitude;
    return dsv4_ball_within(t->v, t->r + share * all, 0.5);
}

/*
 * The variance of a dot's error, for the check of a whole tensor; 0 where nothing is claimed. Terms come in an order
 * that does not depend on their values: the mean square of the sum of i terms is then at most i S/n + i^2 (v/n)^2, with
 * S the sum of squares, and adding up over i: n S / 2 + n v^2 / 3. A rounding is uniform over at most u of the partial
 * sum: u^2 / 3 of its square. Matrix units take steps of 8 products or more: cut addends err against their signs, which
 * cancels but for the share that agrees, |v| / M; cut results err to one side throughout, u of the sum, over n / 8 steps.
 */
static inline double dsv4_sum_variance(const dsv4_arithmetic *a, enum dsv4_sum_kind kind,
                                       const struct dsv4_terms *t) {
    const double n = (double)t->n, partial_squares = n * t->squares / 2 + n * t->v * t->v / 3;
    const double u2 = DSV4_BALL_U * DSV4_BALL_U;
    const uint32_t class = dsv4_sum_class(a, kind);
    if (class == DSV4_F32_SEQ || class == DSV4_F32_ANY) return u2 / 3 * partial_squares;
    if (class != DSV4_TC25_RZ && class != DSV4_CDNA3_FLOOR24) return 0;
    const double agree = t->magnitude > 0 ? t->v * t->v / (t->magnitude * t->magnitude) : 0;
    return u2 * (n / 64 + 0.5 + 9 * agree) * partial_squares;
}

#endif
