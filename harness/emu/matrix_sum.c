/* SPDX-License-Identifier: Apache-2.0 */
/*
 * How the matrix cores of gfx942 add products, as measured on hardware by others and published in words: not by fma.
 *
 * f16, bf16 and xf32, a group at a time (8 terms, 4 for xf32 and for k = 4): exact products are aligned to the largest
 * exponent of the group and cut (towards zero) 24 bits below it; exponents are those of the factors added, products are
 * not normalised. Their sum meets the accumulator at the larger exponent of the two: the sum is rounded down (floor) to 31
 * bits below it, the accumulator to 24; the result is rounded to nearest even. Rounding down makes sums lean to the
 * negative.
 *
 * FP8 and BF8, 16 terms at a time: terms of even and odd k apart as above; each sum is rounded down to 24 bits below the
 * larger of the two exponents and added; then as above, but an accumulator more than 25 binades below counts as zero.
 *
 * Taken as likely, for want of knowledge: a zero product has no part in the largest exponent; a sum of zero is +0;
 * infinities and NaNs as in IEEE arithmetic, NaN being 0x7fc00000; a product of 2^128 or more is infinite.
 */
#include <math.h>

#include "matrix.h"
#include "number.h"

enum { MAX_COLUMNS = 32, KEPT = 24, KEPT_OF_SUM = 31, DROPPED = 25 };

/* One group's aligned sum in units of 2^(top - 24), for every column. */
struct partial {
    _Alignas(64) int32_t sum[MAX_COLUMNS];
    _Alignas(64) int32_t top[MAX_COLUMNS];
};

static inline int32_t lower(int32_t a, int32_t b) { return a < b ? a : b; }
static inline int32_t higher(int32_t a, int32_t b) { return a > b ? a : b; }

/* Terms first, first + step, ...: `count` of them. */
static inline void add_aligned(struct partial *p, const struct emu_matrix_terms *t, unsigned first,
                               unsigned step, unsigned count, unsigned n) {
    _Pragma("omp simd") for (unsigned j = 0; j < n; j++) {
        int32_t top = 2 * MATRIX_ZERO;
        for (unsigned c = 0; c < count; c++)
            top = higher(top, t->exponent[first + c * step] + t->b_exponent[first + c * step][j]);
        int32_t sum = 0;
        for (unsigned c = 0; c < count; c++) {
            const unsigned k = first + c * step;
            const int32_t product = t->significand[k] * t->b_significand[k][j];
            const int32_t below = lower(top - t->exponent[k] - t->b_exponent[k][j], 31);
            const int32_t sign = product >> 31;
            const int32_t size = (product ^ sign) - sign;
            sum += ((size >> below) ^ sign) - sign;
        }
        p->sum[j] = sum;
        p->top[j] = top;
    }
}

static inline int32_t accumulator_exponent(uint32_t c) {
    const int32_t field = (int32_t)(c >> 23 & 255);
    return field == 0 ? -126 : field - 127;
}

/* Accumulator plus sum; 1 in `special` where a value was not finite or may not be. */
static inline uint32_t combine(uint32_t *accumulators, const struct partial *p, uint32_t *special,
                               unsigned n, const bool drops) {
    uint32_t any = 0;
    _Pragma("omp simd reduction(| : any)") for (unsigned j = 0; j < n; j++) {
        const uint32_t c = accumulators[j];
        const int32_t exponent = accumulator_exponent(c), top = p->top[j];
        const int32_t larger = higher(exponent, top);
        const int32_t size = (int32_t)((c & 0x7fffffu) | (uint32_t)((c & 0x7f800000u) != 0) << 23);
        const int32_t significand = c >> 31 ? -size : size;
        const int64_t of_sum =
            (int64_t)p->sum[j] * (1 << (KEPT_OF_SUM - KEPT)) >> lower(larger - top, 63);
        const int32_t cut = (significand * 2) >> lower(larger - exponent, 31);
        const int32_t kept = drops && larger - exponent > DROPPED ? 0 : cut;
        const int64_t total = of_sum + (int64_t)kept * (1 << (KEPT_OF_SUM - KEPT));
        const int32_t scale = lower(larger, 300) - KEPT_OF_SUM;
        const double value = (double)total * emu_double((uint64_t)(int64_t)(scale + 1023) << 52);
        special[j] = (uint32_t)((top >= MATRIX_SPECIAL) | (exponent > 127));
        any |= special[j];
        accumulators[j] = special[j] != 0 ? c : emu_bits((float)value);
    }
    return any;
}

static double value_of(int32_t significand, int32_t exponent) {
    if (exponent >= MATRIX_NAN) return (double)NAN;
    if (exponent >= MATRIX_INFINITY) return significand < 0 ? -HUGE_VAL : HUGE_VAL;
    return ldexp((double)significand, exponent - KEPT);
}

/*
 * Infinities and NaNs of one group and column, and overflowing products. False: all is finite after all. The significands
 * of A are scaled so that those of a product count 2^-24.
 */
static bool sum_special(uint32_t *accumulator, const struct emu_matrix_terms *t, unsigned first,
                        unsigned count, unsigned j) {
    double sum = (double)emu_float(*accumulator);
    bool positive = false, negative = false;
    for (unsigned k = first; k < first + count; k++) {
        const double b = t->b_exponent[k][j] >= MATRIX_INFINITY
                             ? value_of(t->b_significand[k][j], t->b_exponent[k][j])
                             : ldexp((double)t->b_significand[k][j], t->b_exponent[k][j]);
        const double product = value_of(t->significand[k], t->exponent[k]) * b;
        sum += product;
        positive |= product >= 0x1p128;
        negative |= product <= -0x1p128;
    }
    if (sum - sum == 0) {
        if (!positive && !negative) return false;
        sum = positive && negative ? (double)NAN : positive ? HUGE_VAL : -HUGE_VAL;
    }
    *accumulator = sum != sum ? 0x7fc00000u : emu_bits((float)sum);
    return true;
}

/* Columns that combine() left alone, with the finite rule where it holds. */
static void redo_special(uint32_t *accumulators, const struct partial *p, const uint32_t *special,
                         const struct emu_matrix_terms *t, unsigned first, unsigned count,
                         unsigned n) {
    for (unsigned j = 0; j < n; j++) {
        if (special[j] == 0 || sum_special(&accumulators[j], t, first, count, j)) continue;
        const int32_t exponent = accumulator_exponent(accumulators[j]);
        const int32_t larger = higher(exponent, p->top[j]);
        const double sum = floor(ldexp(p->sum[j], 7 + p->top[j] - larger));
        const uint32_t c = accumulators[j];
        const int32_t size = (int32_t)((c & 0x7fffffu) | (uint32_t)((c & 0x7f800000u) != 0) << 23);
        const double kept = floor(ldexp(c >> 31 ? -size : size, 1 + exponent - larger));
        accumulators[j] = emu_bits((float)ldexp(sum + kept * 128, larger - KEPT_OF_SUM));
    }
}

static inline void sum_groups(uint32_t *accumulators, const struct emu_matrix_terms *t,
                              const unsigned group, const unsigned n) {
    struct partial p;
    uint32_t special[MAX_COLUMNS];
    for (unsigned first = 0; first < t->count; first += group) {
        add_aligned(&p, t, first, 1, group, n);
        if (combine(accumulators, &p, special, n, false) != 0)
            redo_special(accumulators, &p, special, t, first, group, n);
    }
}

void emu_matrix_sum(uint32_t *accumulators, const struct emu_matrix_terms *terms, unsigned group,
                    unsigned n) {
    if (group == 8 && n == 32)
        sum_groups(accumulators, terms, 8, 32);
    else if (group == 8 && n == 16)
        sum_groups(accumulators, terms, 8, 16);
    else if (n == 32)
        sum_groups(accumulators, terms, 4, 32);
    else if (n == 16)
        sum_groups(accumulators, terms, 4, 16);
    else
        sum_groups(accumulators, terms, 4, 4);
}

static inline void sum_groups_fp8(uint32_t *accumulators, const struct emu_matrix_terms *t,
                                  const unsigned n) {
    struct partial even, odd;
    uint32_t special[MAX_COLUMNS];
    for (unsigned first = 0; first < t->count; first += 16) {
        add_aligned(&even, t, first, 2, 8, n);
        add_aligned(&odd, t, first + 1, 2, 8, n);
        _Pragma("omp simd") for (unsigned j = 0; j < n; j++) {
            const int32_t top = higher(even.top[j], odd.top[j]);
            even.sum[j] = (even.sum[j] >> lower(top - even.top[j], 31)) +
                          (odd.sum[j] >> lower(top - odd.top[j], 31));
            even.top[j] = top;
        }
        if (combine(accumulators, &even, special, n, true) != 0)
            redo_special(accumulators, &even, special, t, first, 16, n);
    }
}

void emu_matrix_sum_fp8(uint32_t *accumulators, const struct emu_matrix_terms *terms, unsigned n) {
    if (n == 32)
        sum_groups_fp8(accumulators, terms, 32);
    else
        sum_groups_fp8(accumulators, terms, 16);
}

unsigned emu_matrix_fraction(enum matrix_format format) {
    switch (format) {
    case MATRIX_F16:
    case MATRIX_XF32: return 10;
    case MATRIX_BF16: return 7;
    case MATRIX_FP8: return 3;
    default: return 2; /* BF8 */
    }
}

/* fields of a float: `bits` of exponent above `fraction`, the least exponent `lowest`. */
static inline void split(int32_t *significand, int32_t *exponent, const uint32_t *raw,
                         const unsigned bits, const unsigned fraction, const int32_t lowest,
                         const bool ieee, const unsigned scale) {
    EMU_EACH_LANE {
        const uint32_t x = raw[lane];
        const uint32_t largest = (1u << bits) - 1;
        const uint32_t field = x >> fraction & largest, rest = x & ((1u << fraction) - 1);
        const uint32_t sign = x >> (fraction + bits) & 1;
        const int32_t size = (int32_t)(rest | (uint32_t)(field != 0) << fraction);
        const int32_t finite = lowest + (int32_t)field - (int32_t)(field != 0);
        const int32_t number = size == 0 ? MATRIX_ZERO : finite;
        const int32_t top = rest == 0 ? MATRIX_INFINITY : MATRIX_NAN;
        const uint32_t nan = (uint32_t)(x == 1u << (fraction + bits));
        exponent[lane] = ieee ? (field == largest ? top : number) : (nan ? MATRIX_NAN : number);
        significand[lane] = (sign ? -size : size) * (int32_t)(1u << scale);
    }
}

void emu_matrix_split(int32_t *significand, int32_t *exponent, const uint32_t *raw,
                      enum matrix_format format, unsigned scale) {
    switch (format) {
    case MATRIX_F16: split(significand, exponent, raw, 5, 10, -14, true, scale); break;
    case MATRIX_BF16: split(significand, exponent, raw, 8, 7, -126, true, scale); break;
    case MATRIX_FP8: split(significand, exponent, raw, 4, 3, -7, false, scale); break;
    case MATRIX_BF8: split(significand, exponent, raw, 5, 2, -15, false, scale); break;
    default: split(significand, exponent, raw, 8, 10, -126, true, scale); break; /* XF32 */
    }
}
