/* SPDX-License-Identifier: Apache-2.0 */
/*
 * f32 and f64 arithmetic.
 *
 * Assumed where the documents are silent: a NaN result is the first NaN source in the order of the operands, made quiet,
 * and 0x7fc00000 for an invalid operation. clamp makes -0 a +0. v_div_fmas scales by 2^64 or 2^-64 (f64: 128) after the
 * exponent of its third source, as the division sequence needs, and rounds once. v_div_scale takes 1/S1 as denormal where
 * that is so in its own format, and then makes a denominator smaller where the quotient is denormal, too (the documents
 * say greater, which would make it infinite). v_div_fixup takes a quotient that came out NaN from other numbers for an
 * overflow. With all that, test_division.c shows, the sequence divides correctly.
 */
#include "choose.h"
#include "output.h"
#include "vop.h"

#define FUNCTION(name)                                                                             \
    static const struct emu_insn *name(struct emu_wave *w, const struct emu_insn *i)

static bool ieee_mode(const struct emu_wave *w) { return w->mode >> EMU_IEEE & 1; }

/* ---- what happens to results ---- */

static void canonical32(uint32_t *result, const uint32_t *a, const uint32_t *b, const uint32_t *c) {
    EMU_EACH_LANE {
        const uint32_t from = emu_is_nan32(a[lane])   ? a[lane]
                              : emu_is_nan32(b[lane]) ? b[lane]
                              : emu_is_nan32(c[lane]) ? c[lane]
                                                      : EMU_NAN32;
        result[lane] = emu_is_nan32(result[lane]) ? from | 0x400000 : result[lane];
    }
}

static void canonical64(uint64_t *result, const uint64_t *a, const uint64_t *b, const uint64_t *c) {
    EMU_EACH_LANE {
        const uint64_t from = emu_is_nan64(a[lane])   ? a[lane]
                              : emu_is_nan64(b[lane]) ? b[lane]
                              : emu_is_nan64(c[lane]) ? c[lane]
                                                      : EMU_NAN64;
        result[lane] = emu_is_nan64(result[lane]) ? from | UINT64_C(0x8000000000000) : result[lane];
    }
}

static void canonical_wide(uint64_t *result, struct emu_wide a, struct emu_wide b,
                           struct emu_wide c) {
    uint64_t values[3][EMU_LANES];
    EMU_EACH_LANE {
        values[0][lane] = emu_wide_value(a, lane);
        values[1][lane] = emu_wide_value(b, lane);
        values[2][lane] = emu_wide_value(c, lane);
    }
    canonical64(result, values[0], values[1], values[2]);
}

static void modify32(const struct emu_wave *w, const struct emu_insn *i, uint32_t *result) {
    emu_output32(w, i, result);
}

static void modify64(const struct emu_wave *w, const struct emu_insn *i, uint64_t *result) {
    emu_output64(w, i, result);
}

static inline void finish32(struct emu_wave *w, const struct emu_insn *i, unsigned reg,
                            uint32_t *result) {
    if (i->clamp || i->omod) modify32(w, i, result);
    emu_store32(w, reg, result);
}

static inline void finish64(struct emu_wave *w, const struct emu_insn *i, uint64_t *result) {
    if (i->clamp || i->omod) modify64(w, i, result);
    emu_store64(w, i->operand[0].reg, result);
}

/* ---- functions of one number ---- */

/* Whatever the rounding mode: all of it is exact. */
static inline float nearest_even32(float x) {
    const float low = floorf(x), rest = x - low;
    const bool up = rest > 0.5f || (rest == 0.5f && floorf(low * 0.5f) * 2 != low);
    return copysignf(up ? low + 1 : low, x);
}
static inline double nearest_even64(double x) {
    const double low = floor(x), rest = x - low;
    const bool up = rest > 0.5 || (rest == 0.5 && floor(low * 0.5) * 2 != low);
    return copysign(up ? low + 1 : low, x);
}

/* Below 1 even where x - floor(x) rounds up to it. */
static inline float fraction32(float x) {
    const float f = x - floorf(x);
    return f >= 1 ? 0x1.fffffep-1f : f;
}
static inline double fraction64(double x) {
    const double f = x - floor(x);
    return f >= 1 ? 0x1.fffffffffffffp-1 : f;
}

static inline float mantissa32(float x) {
    const uint32_t bits = emu_bits(emu_is_denormal32(emu_bits(x)) ? x * 0x1p24f : x);
    const bool same = (bits & 0x7fffffff) == 0 || (bits & 0x7f800000) == 0x7f800000;
    return emu_float(same ? bits : (bits & 0x807fffff) | 126u << 23);
}

static inline uint32_t exponent32(uint32_t x) {
    const bool denormal = emu_is_denormal32(x);
    const uint32_t bits = denormal ? emu_bits(emu_float(x) * 0x1p24f) : x;
    const int32_t biased = (int32_t)(bits >> 23 & 0xff);
    const bool none = biased == 255 || (x & 0x7fffffff) == 0;
    return (uint32_t)(none ? 0 : biased - (denormal ? 150 : 126));
}

static inline double mantissa64(double x) {
    const uint64_t bits = emu_bits64(emu_is_denormal64(emu_bits64(x)) ? x * 0x1p54 : x);
    const uint64_t infinity = UINT64_C(0x7ff0000000000000);
    const bool same = (bits & ~(UINT64_C(1) << 63)) == 0 || (bits & infinity) == infinity;
    return emu_double(same ? bits : (bits & ~infinity) | UINT64_C(1022) << 52);
}

static inline uint32_t exponent64(uint64_t x) {
    const bool denormal = emu_is_denormal64(x);
    const uint64_t bits = denormal ? emu_bits64(emu_double(x) * 0x1p54) : x;
    const int32_t biased = (int32_t)(bits >> 52 & 0x7ff);
    const bool none = biased == 2047 || (x & ~(UINT64_C(1) << 63)) == 0;
    return (uint32_t)(none ? 0 : biased - (denormal ? 1022 + 54 : 1022));
}

/* x * 2^n, rounded once: the product is exact in double. */
static inline float scale32(float x, uint32_t n) {
    const int32_t limited = (int32_t)n < -400 ? -400 : (int32_t)n > 400 ? 400 : (int32_t)n;
    return (float)((double)x * emu_double((uint64_t)(limited + 1023) << 52));
}

/* ---- the end of a division: quotient a, denominator b, numerator c ---- */

static inline uint32_t fixup32(uint32_t a, uint32_t b, uint32_t c) {
    const uint32_t infinity = 0x7f800000, sign = (b ^ c) & 0x80000000;
    const uint32_t under = b & 0x7fffffff, over = c & 0x7fffffff;
    if (emu_is_nan32(c)) return c | 0x400000;
    if (emu_is_nan32(b)) return b | 0x400000;
    if ((under == 0 && over == 0) || (under == infinity && over == infinity)) return 0xffc00000;
    if (under == 0 || over == infinity) return sign | infinity;
    if (under == infinity || over == 0) return sign;
    if ((int32_t)(over >> 23) - (int32_t)(under >> 23) < -150) return sign;
    return sign | (emu_is_nan32(a) ? infinity : a & 0x7fffffff);
}

static inline uint64_t fixup64(uint64_t a, uint64_t b, uint64_t c) {
    const uint64_t top = UINT64_C(1) << 63, infinity = UINT64_C(0x7ff0000000000000);
    const uint64_t sign = (b ^ c) & top, under = b & ~top, over = c & ~top;
    if (emu_is_nan64(c)) return c | UINT64_C(0x8000000000000);
    if (emu_is_nan64(b)) return b | UINT64_C(0x8000000000000);
    if ((under == 0 && over == 0) || (under == infinity && over == infinity))
        return UINT64_C(0xfff8000000000000);
    if (under == 0 || over == infinity) return sign | infinity;
    if (under == infinity || over == 0) return sign;
    if ((int32_t)(over >> 52) - (int32_t)(under >> 52) < -1075) return sign;
    return sign | (emu_is_nan64(a) ? infinity : a & ~top);
}

/* ---- generated functions ---- */

#define SOURCE32(n) emu_source32(w, &i->operand[1 + (n)], space[n])

/* Computes `result` from s0, s1, s2; a NaN among the results is rare, and put right afterwards. */
#define COMPUTE32(...)                                                                             \
    uint32_t result[EMU_LANES];                                                                    \
    uint32_t nans = 0;                                                                             \
    _Pragma("omp simd reduction(| : nans)") for (unsigned lane = 0; lane < EMU_LANES; lane++) {    \
        const float a = emu_float(s0[lane]), b = emu_float(s1[lane]), c = emu_float(s2[lane]);     \
        const uint32_t ib = s1[lane];                                                              \
        const uint32_t bits = ((void)b, (void)c, (void)ib, emu_bits(__VA_ARGS__));                 \
        result[lane] = bits;                                                                       \
        nans |= emu_is_nan32(bits);                                                                \
    }
#define F32(name, n1, n2, float1, ...)                                                             \
    FUNCTION(name) {                                                                               \
        uint32_t space[3][EMU_LANES];                                                              \
        const uint32_t *const s0 = SOURCE32(0);                                                    \
        const uint32_t *const s1 = (n1) ? SOURCE32(1) : s0;                                        \
        const uint32_t *const s2 = (n2) == 3   ? SOURCE32(2)                                       \
                                   : (n2) == 4 ? w->v[i->operand[0].reg]                           \
                                               : s0;                                               \
        COMPUTE32(__VA_ARGS__)                                                                     \
        if (nans) canonical32(result, s0, (float1) ? s1 : s0, s2);                                 \
        finish32(w, i, i->operand[0].reg, result);                                                 \
        return i + 1;                                                                              \
    }
#define F32_1(name, ...) F32(name, 0, 0, 1, __VA_ARGS__)
#define F32_2(name, ...) F32(name, 1, 0, 1, __VA_ARGS__)
#define F32_3(name, ...) F32(name, 1, 3, 1, __VA_ARGS__)
#define F32_ACCUMULATE(name, ...) F32(name, 1, 4, 1, __VA_ARGS__)
#define F32_SCALE(name, ...) F32(name, 1, 0, 0, __VA_ARGS__)

#define F32_EXPONENT(name, ...)                                                                    \
    FUNCTION(name) {                                                                               \
        uint32_t space[1][EMU_LANES], result[EMU_LANES];                                           \
        const uint32_t *const s0 = SOURCE32(0);                                                    \
        EMU_EACH_LANE {                                                                            \
            const uint32_t ia = s0[lane];                                                          \
            result[lane] = (__VA_ARGS__);                                                          \
        }                                                                                          \
        emu_store32(w, i->operand[0].reg, result);                                                 \
        return i + 1;                                                                              \
    }

/* Results are bits of a source, or special. */
#define F32_SELECT3(name, ...)                                                                     \
    FUNCTION(name) {                                                                               \
        uint32_t space[3][EMU_LANES], result[EMU_LANES];                                           \
        const uint32_t *const s0 = SOURCE32(0), *const s1 = SOURCE32(1), *const s2 = SOURCE32(2);  \
        EMU_EACH_LANE {                                                                            \
            const uint32_t ia = s0[lane], ib = s1[lane], ic = s2[lane];                            \
            result[lane] = (__VA_ARGS__);                                                          \
        }                                                                                          \
        finish32(w, i, i->operand[0].reg, result);                                                 \
        return i + 1;                                                                              \
    }

/* One rule for numbers, another where a source is a NaN, which is rare. */
#define F32_CHOOSE(name, n, numbers, rare, any)                                                    \
    FUNCTION(name) {                                                                               \
        uint32_t space[3][EMU_LANES], result[EMU_LANES], nans = 0;                                 \
        const uint32_t *const s0 = SOURCE32(0), *const s1 = SOURCE32(1);                           \
        const uint32_t *const s2 = (n) == 3 ? SOURCE32(2) : s0;                                    \
        _Pragma("omp simd reduction(| : nans)") for (unsigned lane = 0; lane < EMU_LANES;          \
                                                     lane++) {                                     \
            const uint32_t ia = s0[lane], ib = s1[lane], ic = s2[lane];                            \
            result[lane] = ((void)ic, numbers);                                                    \
            nans |= emu_is_nan32(ia) | emu_is_nan32(ib) | emu_is_nan32(ic) | (rare);               \
        }                                                                                          \
        const bool ieee = ieee_mode(w);                                                            \
        for (unsigned lane = 0; nans && lane < EMU_LANES; lane++) {                                \
            const uint32_t ia = s0[lane], ib = s1[lane], ic = s2[lane];                            \
            result[lane] = ((void)ic, any);                                                        \
        }                                                                                          \
        finish32(w, i, i->operand[0].reg, result);                                                 \
        return i + 1;                                                                              \
    }
/* Its rule for zeros of both signs matters where none is greater. */
#define F32_MEDIAN(name)                                                                           \
    F32_CHOOSE(name, 3, emu_between32(ia, ib, ic), emu_upper32(emu_upper32(ia, ib), ic) == 0,      \
               emu_median32(ia, ib, ic, ieee))
#define F32_CHOOSE2(name, numbers, any) F32_CHOOSE(name, 2, numbers, 0, any)
#define F32_CHOOSE3(name, numbers, any) F32_CHOOSE(name, 3, numbers, 0, any)

#define COMPUTE64(...)                                                                             \
    uint32_t nans = 0;                                                                             \
    uint64_t result[EMU_LANES];                                                                    \
    _Pragma("omp simd reduction(| : nans)") for (unsigned lane = 0; lane < EMU_LANES; lane++) {    \
        const double a = emu_double(emu_wide_value(s0, lane));                                     \
        const double b = emu_double(emu_wide_value(s1, lane));                                     \
        const double c = emu_double(emu_wide_value(s2, lane));                                     \
        const uint64_t bits = ((void)b, (void)c, emu_bits64(__VA_ARGS__));                         \
        result[lane] = bits;                                                                       \
        nans |= emu_is_nan64(bits);                                                                \
    }
#define F64(name, n1, n2, ...)                                                                     \
    FUNCTION(name) {                                                                               \
        uint32_t wide[3][2][EMU_LANES];                                                            \
        const struct emu_wide s0 = emu_wide_source(w, &i->operand[1], wide[0]);                    \
        const struct emu_wide s1 = (n1) ? emu_wide_source(w, &i->operand[2], wide[1]) : s0;        \
        const struct emu_wide s2 =                                                                 \
            (n2) ? emu_wide_source(w, &i->operand[(n2) == 4 ? 0 : 3], wide[2]) : s0;               \
        COMPUTE64(__VA_ARGS__)                                                                     \
        if (nans) canonical_wide(result, s0, s1, s2);                                              \
        finish64(w, i, result);                                                                    \
        return i + 1;                                                                              \
    }
#define F64_1(name, ...) F64(name, 0, 0, __VA_ARGS__)
#define F64_2(name, ...) F64(name, 1, 0, __VA_ARGS__)
#define F64_3(name, ...) F64(name, 1, 3, __VA_ARGS__)
#define F64_ACCUMULATE(name, ...) F64(name, 1, 4, __VA_ARGS__)

#define F64_EXPONENT(name, ...)                                                                    \
    FUNCTION(name) {                                                                               \
        uint64_t s0[EMU_LANES];                                                                    \
        uint32_t result[EMU_LANES];                                                                \
        emu_source64(w, &i->operand[1], s0);                                                       \
        EMU_EACH_LANE {                                                                            \
            const uint64_t ia = s0[lane];                                                          \
            result[lane] = (__VA_ARGS__);                                                          \
        }                                                                                          \
        emu_store32(w, i->operand[0].reg, result);                                                 \
        return i + 1;                                                                              \
    }

/* ldexp of the C library rounds once. */
#define F64_SCALE(name)                                                                            \
    FUNCTION(name) {                                                                               \
        uint32_t space[EMU_LANES];                                                                 \
        uint64_t s0[EMU_LANES], result[EMU_LANES];                                                 \
        emu_source64(w, &i->operand[1], s0);                                                       \
        const uint32_t *const s1 = emu_source_word(w, &i->operand[2], 0, space);                   \
        for (unsigned lane = 0; lane < EMU_LANES; lane++)                                          \
            result[lane] = emu_bits64(ldexp(emu_double(s0[lane]), (int)s1[lane]));                 \
        canonical64(result, s0, s0, s0);                                                           \
        finish64(w, i, result);                                                                    \
        return i + 1;                                                                              \
    }

#define F64_CHOOSE(name, n, ...)                                                                   \
    FUNCTION(name) {                                                                               \
        uint64_t space[3][EMU_LANES];                                                              \
        for (unsigned source = 0; source < (n); source++)                                          \
            emu_source64(w, &i->operand[1 + source], space[source]);                               \
        const bool ieee = ieee_mode(w);                                                            \
        EMU_EACH_LANE {                                                                            \
            const uint64_t ia = space[0][lane], ib = space[1][lane], ic = space[(n)-1][lane];      \
            space[0][lane] = ((void)ic, (void)ieee, (__VA_ARGS__));                                \
        }                                                                                          \
        finish64(w, i, space[0]);                                                                  \
        return i + 1;                                                                              \
    }
#define F64_CHOOSE2(name, ...) F64_CHOOSE(name, 2, __VA_ARGS__)
#define F64_CHOOSE3(name, ...) F64_CHOOSE(name, 3, __VA_ARGS__)

/* One float of a packed pair, low or high: op_sel and op_sel_hi choose words, neg_lo and neg_hi signs. */
static inline const uint32_t *packed_source(struct emu_wave *w, const struct emu_insn *i,
                                            unsigned source, unsigned half, uint32_t *space) {
    const unsigned select = half ? i->op_sel_hi : i->op_sel, neg = half ? i->neg_hi : i->neg_lo;
    const uint32_t *const words =
        emu_source_word(w, &i->operand[1 + source], select >> source & 1, space);
    if (!(neg >> source & 1)) return words;
    EMU_EACH_LANE space[lane] = words[lane] ^ 0x80000000;
    return space;
}

#define PK_F32(name, n, ...)                                                                       \
    FUNCTION(name) {                                                                               \
        uint32_t space[3][EMU_LANES], both[2][EMU_LANES];                                          \
        for (unsigned half = 0; half < 2; half++) {                                                \
            const uint32_t *const s0 = packed_source(w, i, 0, half, space[0]);                     \
            const uint32_t *const s1 = packed_source(w, i, 1, half, space[1]);                     \
            const uint32_t *const s2 = (n) == 3 ? packed_source(w, i, 2, half, space[2]) : s0;     \
            COMPUTE32(__VA_ARGS__)                                                                 \
            if (nans) canonical32(result, s0, s1, s2);                                             \
            EMU_EACH_LANE both[half][lane] = result[lane];                                         \
        }                                                                                          \
        finish32(w, i, i->operand[0].reg, both[0]);                                                \
        finish32(w, i, i->operand[0].reg + 1u, both[1]);                                           \
        return i + 1;                                                                              \
    }
#define PK_F32_2(name, ...) PK_F32(name, 2, __VA_ARGS__)
#define PK_F32_3(name, ...) PK_F32(name, 3, __VA_ARGS__)

/* ---- division ---- */

/*
 * What v_div_scale gives for s0, and whether the quotient will need scaling back. Conditions in the order of their
 * precedence, the last one first: each replaces what those before it chose.
 */
static inline uint32_t div_scale32(uint32_t s0, uint32_t s1, uint32_t s2, uint32_t *post) {
    const float under = emu_float(s1), over = emu_float(s2), x = emu_float(s0);
    const uint32_t inverse = emu_is_denormal32(emu_bits(1 / under)) ? ~0u : 0;
    const uint32_t quotient = emu_is_denormal32(emu_bits(over / under)) ? ~0u : 0;
    const uint32_t up = emu_bits(x * 0x1p64f), down = emu_bits(scale32(x, (uint32_t)-64));
    const int32_t over_exponent = (int32_t)(s2 >> 23 & 0xff);
    const int32_t distance = over_exponent - (int32_t)(s1 >> 23 & 0xff);
    uint32_t result = over_exponent <= 23 ? up : s0, scaled = 0;
    result = quotient ? (x == over ? up : s0) : result;
    result = inverse ? down : result;
    result = inverse & quotient ? (x == under ? down : s0) : result;
    scaled = quotient;
    result = emu_is_denormal32(s1) ? up : result;
    scaled = emu_is_denormal32(s1) ? 0 : scaled;
    result = distance >= 96 ? (x == under ? up : s0) : result;
    scaled = distance >= 96 ? ~0u : scaled;
    const uint32_t zero = (s1 & 0x7fffffff) == 0 || (s2 & 0x7fffffff) == 0 ? ~0u : 0;
    *post = scaled & ~zero & 1;
    return zero ? EMU_NAN32 : result;
}

static inline uint64_t div_scale64(uint64_t s0, uint64_t s1, uint64_t s2, uint32_t *post) {
    const double under = emu_double(s1), over = emu_double(s2), x = emu_double(s0);
    const bool inverse = emu_is_denormal64(emu_bits64(1 / under));
    const bool quotient = emu_is_denormal64(emu_bits64(over / under));
    const uint64_t up = emu_bits64(x * 0x1p128), down = emu_bits64(x * 0x1p-128);
    const int32_t over_exponent = (int32_t)(s2 >> 52 & 0x7ff);
    const int32_t distance = over_exponent - (int32_t)(s1 >> 52 & 0x7ff);
    *post = 0;
    if (over == 0 || under == 0) return EMU_NAN64;
    if (distance >= 768) return *post = 1, x == under ? up : s0;
    if (emu_is_denormal64(s1)) return up;
    if (inverse && quotient) return *post = 1, x == under ? down : s0;
    if (inverse) return down;
    if (quotient) return *post = 1, x == over ? up : s0;
    return over_exponent <= 53 ? up : s0;
}

FUNCTION(v_div_scale_f32) {
    uint32_t space[3][EMU_LANES], result[EMU_LANES], post[EMU_LANES];
    const uint32_t *const s0 = emu_source32(w, &i->operand[2], space[0]);
    const uint32_t *const s1 = emu_source32(w, &i->operand[3], space[1]);
    const uint32_t *const s2 = emu_source32(w, &i->operand[4], space[2]);
    EMU_EACH_LANE {
        uint32_t bit;
        result[lane] = div_scale32(s0[lane], s1[lane], s2[lane], &bit);
        post[lane] = bit;
    }
    emu_store32(w, i->operand[0].reg, result);
    emu_store_mask(w, &i->operand[1], emu_pack_bits(post));
    return i + 1;
}

FUNCTION(v_div_scale_f64) {
    uint64_t s[3][EMU_LANES];
    uint32_t post[EMU_LANES];
    for (unsigned n = 0; n < 3; n++) emu_source64(w, &i->operand[2 + n], s[n]);
    for (unsigned lane = 0; lane < EMU_LANES; lane++)
        s[0][lane] = div_scale64(s[0][lane], s[1][lane], s[2][lane], &post[lane]);
    emu_store64(w, i->operand[0].reg, s[0]);
    emu_store_mask(w, &i->operand[1], emu_pack_bits(post));
    return i + 1;
}

/* What x + y leaves out when it is rounded to nearest. */
static double sum_error(double x, double y, double sum) {
    const double part = sum - x;
    return (x - (sum - part)) + (y - part);
}

/* sum with its last bit set where error says that it is not exact: rounding it again to fewer digits is right. */
static double odd(double sum, double error) {
    uint64_t bits = emu_bits64(sum);
    if (error == 0 || isnan(error) || bits & 1) return sum;
    /* Towards zero where the error has the other sign, then up to the odd neighbour. */
    bits += (error > 0) == (sum > 0) ? 1 : UINT64_MAX;
    return emu_double(bits);
}

static float fma_scaled32(float a, float b, float c, bool scale) {
    if (!scale) return fmaf(a, b, c);
    const double product = (double)a * b, sum = product + c;
    const uint32_t exponent = emu_bits(c) >> 23 & 0xff;
    return (float)(odd(sum, sum_error(product, c, sum)) * (exponent > 127 ? 0x1p64 : 0x1p-64));
}

/* A double times 2^-128 where the result is denormal; error: what the double itself left out. */
static double scaled_denormal64(double x, double error) {
    const uint64_t bits = emu_bits64(x);
    const int biased = (int)(bits >> 52 & 0x7ff) - 128, shift = 1 - biased;
    if (biased > 0 || shift > 54 || isnan(x)) return x * 0x1p-128;
    const uint64_t digits = (bits & UINT64_C(0xfffffffffffff)) | UINT64_C(1) << 52;
    const uint64_t half = UINT64_C(1) << (shift - 1), rest = digits & (2 * half - 1);
    const bool beyond = error != 0 && (error > 0) == (x > 0);
    uint64_t result = digits >> shift;
    if (rest > half || (rest == half && (beyond || (error == 0 && result & 1)))) result++;
    return emu_double(result | (bits & UINT64_C(1) << 63));
}

static double fma_scaled64(double a, double b, double c, bool scale) {
    const double result = fma(a, b, c);
    if (!scale) return result;
    if ((emu_bits64(c) >> 52 & 0x7ff) > 1023) return result * 0x1p128;
    const double product = a * b, low = fma(a, b, -product), sum = product + c;
    const double error = (sum - result) + (sum_error(product, c, sum) + low);
    return scaled_denormal64(result, isfinite(result) ? error : 0);
}

#define OTHER(...)

#include "float.def"

FUNCTION(v_div_fmas_f32) {
    uint32_t space[3][EMU_LANES], result[EMU_LANES];
    const uint32_t *const s0 = SOURCE32(0), *const s1 = SOURCE32(1), *const s2 = SOURCE32(2);
    const uint64_t vcc = emu_s64(w, EMU_VCC);
    if ((vcc & emu_exec(w)) == 0) return v_fma_f32(w, i);
    for (unsigned lane = 0; lane < EMU_LANES; lane++)
        result[lane] = emu_bits(fma_scaled32(emu_float(s0[lane]), emu_float(s1[lane]),
                                             emu_float(s2[lane]), vcc >> lane & 1));
    canonical32(result, s0, s1, s2);
    finish32(w, i, i->operand[0].reg, result);
    return i + 1;
}

FUNCTION(v_div_fmas_f64) {
    uint64_t s[3][EMU_LANES], result[EMU_LANES];
    for (unsigned n = 0; n < 3; n++) emu_source64(w, &i->operand[1 + n], s[n]);
    const uint64_t vcc = emu_s64(w, EMU_VCC);
    if ((vcc & emu_exec(w)) == 0) return v_fma_f64(w, i);
    for (unsigned lane = 0; lane < EMU_LANES; lane++)
        result[lane] = emu_bits64(fma_scaled64(emu_double(s[0][lane]), emu_double(s[1][lane]),
                                               emu_double(s[2][lane]), vcc >> lane & 1));
    canonical64(result, s[0], s[1], s[2]);
    finish64(w, i, result);
    return i + 1;
}

#undef F32_1
#undef F32_2
#undef F32_3
#undef F32_ACCUMULATE
#undef F32_SCALE
#undef F32_EXPONENT
#undef F32_CHOOSE2
#undef F32_CHOOSE3
#undef F32_SELECT3
#undef F32_MEDIAN
#undef F64_1
#undef F64_2
#undef F64_3
#undef F64_ACCUMULATE
#undef F64_SCALE
#undef F64_EXPONENT
#undef F64_CHOOSE2
#undef F64_CHOOSE3
#undef PK_F32_2
#undef PK_F32_3
#undef OTHER

#define MODIFIED (EMU_FLOAT | EMU_UNDER_MODE | EMU_CLAMPS | EMU_OMOD)
#define PACKED_FLAGS (EMU_FLOAT | EMU_UNDER_MODE | EMU_CLAMPS | EMU_OP_SEL)
#define F32_1(name, ...) EMU_ROW(name, 1, MODIFIED, EMU_F32, EMU_F32)
#define F32_2(name, ...) EMU_ROW(name, 1, MODIFIED, EMU_F32, EMU_F32, EMU_F32)
#define F32_3(name, ...) EMU_ROW(name, 1, MODIFIED, EMU_F32, EMU_F32, EMU_F32, EMU_F32)
#define F32_ACCUMULATE(name, ...)                                                                  \
    EMU_ROW(name, 1, MODIFIED | EMU_PARTIAL, EMU_F32, EMU_F32, EMU_F32)
#define F32_SCALE(name, ...) EMU_ROW(name, 1, MODIFIED, EMU_F32, EMU_F32, EMU_I32)
#define F32_EXPONENT(name, ...) EMU_ROW(name, 1, EMU_FLOAT | EMU_UNDER_MODE, EMU_I32, EMU_F32)
#define F32_CHOOSE2 F32_2
#define F32_CHOOSE3 F32_3
#define F32_SELECT3 F32_3
#define F32_MEDIAN(name) F32_3(name, 0)
#define F64_1(name, ...) EMU_ROW(name, 1, MODIFIED, EMU_F64, EMU_F64)
#define F64_2(name, ...) EMU_ROW(name, 1, MODIFIED, EMU_F64, EMU_F64, EMU_F64)
#define F64_3(name, ...) EMU_ROW(name, 1, MODIFIED, EMU_F64, EMU_F64, EMU_F64, EMU_F64)
#define F64_ACCUMULATE(name, ...)                                                                  \
    EMU_ROW(name, 1, MODIFIED | EMU_PARTIAL, EMU_F64, EMU_F64, EMU_F64)
#define F64_SCALE(name) EMU_ROW(name, 1, MODIFIED, EMU_F64, EMU_F64, EMU_I32)
#define F64_EXPONENT(name, ...) EMU_ROW(name, 1, EMU_FLOAT | EMU_UNDER_MODE, EMU_I32, EMU_F64)
#define F64_CHOOSE2 F64_2
#define F64_CHOOSE3 F64_3
#define PK_F32_2(name, ...) EMU_ROW(name, 1, PACKED_FLAGS, EMU_2F32, EMU_2F32, EMU_2F32)
#define PK_F32_3(name, ...) EMU_ROW(name, 1, PACKED_FLAGS, EMU_2F32, EMU_2F32, EMU_2F32, EMU_2F32)
#define OTHER(name, destinations, flags, ...)                                                      \
    EMU_ROW(name, destinations, EMU_FLOAT | EMU_UNDER_MODE | (flags), __VA_ARGS__)

const struct emu_opcode emu_float_opcodes[] = {
#include "float.def"
    {0}};
