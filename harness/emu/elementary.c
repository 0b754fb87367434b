/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Elementary functions. The hardware's are tables of which only a bound is known: `elementary.def` has them in ULP. The
 * emulator gives the correctly rounded value (v_rsq_f64: within 0.501 ULP); with approx=low or approx=high, the lowest or
 * the highest number inside the bound, so that a kernel whose bits depend on it shows itself. Zeros, infinities and NaNs
 * are exact in all three.
 *
 * f32: denormal sources and results are flushed to a zero of the same sign, whatever MODE says. f16 and f64: MODE's
 * denormal bits; MODE.FP16_OVFL makes an infinite f16 result of a finite source 65504. All round to nearest even. sin and
 * cos are of x turns; beyond 256 turns they are 0 and 1, of infinity NaN. A NaN source is quieted; a NaN made here is
 * 0x7fc00000, 0x7e00 or 0x7ff8000000000000. v_exp_legacy_f32 and v_log_legacy_f32 differ from these in a way that is not
 * documented, and are not here.
 */
#include "elementary.h"

#include <math.h>
#include <string.h>

#include "lanes.h"
#include "machine.h"
#include "number.h"
#include "output.h"

/*
 * One function: all lanes in doubles, with a relative error below 2^-49, and one value again in long double, where two
 * numbers are too close to tell which is nearer.
 */
struct function {
    void (*lanes)(double *y, const double *x);
    long double (*again)(double x);
};

static void rcp_lanes(double *y, const double *x) { EMU_EACH_LANE y[lane] = 1.0 / x[lane]; }
static long double rcp_again(double x) { return 1.0L / (long double)x; }

static void sqrt_lanes(double *y, const double *x) {
    for (unsigned lane = 0; lane < EMU_LANES; lane++) y[lane] = sqrt(x[lane]);
}
static long double sqrt_again(double x) { return sqrtl((long double)x); }

static void rsq_lanes(double *y, const double *x) {
    for (unsigned lane = 0; lane < EMU_LANES; lane++) y[lane] = 1.0 / sqrt(x[lane]);
}
static long double rsq_again(double x) { return 1.0L / sqrtl((long double)x); }

/* The integer nearest x, |x| < 2^51. */
static inline double nearest(double x) { return (x + 0x1.8p52) - 0x1.8p52; }

/* The value of a polynomial, highest coefficient first. */
#define POLYNOMIAL(p, x, c)                                                                        \
    double p = (c)[0];                                                                             \
    for (unsigned k = 1; k < sizeof(c) / sizeof *(c); k++) p = p * (x) + (c)[k]

/* 2^x = 2^n * 2^r, |r| <= 1/2: ln(2)^k / k!. */
static const double exp_terms[] = {0x1.816193166d0f9p-40, 0x1.c3bd650fc2986p-36,
                                   0x1.e8cac7351bb25p-32, 0x1.e4cf5158b8ecap-28,
                                   0x1.b5253d395e7c4p-24, 0x1.62c0223a5c824p-20,
                                   0x1.ffcbfc588b0c7p-17, 0x1.430912f86c787p-13,
                                   0x1.5d87fe78a6731p-10, 0x1.3b2ab6fba4e77p-7,
                                   0x1.c6b08d704a0c0p-5,  0x1.ebfbdff82c58fp-3,
                                   0x1.62e42fefa39efp-1,  1.0};

static void exp_lanes(double *y, const double *x) {
    EMU_EACH_LANE {
        const double number = x[lane] != x[lane] ? 0.0 : x[lane];
        const double limited = number > 1000.0 ? 1000.0 : number < -1000.0 ? -1000.0 : number;
        const double n = nearest(limited), r = limited - n;
        POLYNOMIAL(p, r, exp_terms);
        const double value = p * emu_double((uint64_t)((int64_t)n + 1023) << 52);
        y[lane] = x[lane] != x[lane] ? x[lane] : value;
    }
}
static long double exp_again(double x) { return exp2l((long double)x); }

/* log2(2^e * m) = e + 2 / ln(2) * atanh((m - 1) / (m + 1)), m from sqrt(1/2) to sqrt(2): 2 / ln(2) / (2k + 1). */
static const double log_terms[] = {0x1.d8be0817f5ffep-4, 0x1.00ecd7e080215p-3, 0x1.1964ec6fc9491p-3,
                                   0x1.3703c1f4d0ffep-3, 0x1.5b9ac9b743f0dp-3, 0x1.89f3b1694cffep-3,
                                   0x1.c68f568d31760p-3, 0x1.0c9a84994022dp-2, 0x1.484b13d7c02a9p-2,
                                   0x1.a61762a7aded9p-2, 0x1.2776c50ef9bfep-1, 0x1.ec709dc3a03fdp-1,
                                   0x1.71547652b82fep+1};

static void log_lanes(double *y, const double *x) {
    EMU_EACH_LANE {
        const uint64_t bits = emu_bits64(x[lane]), half = UINT64_C(0x3fe6a09e667f3bcd);
        const uint64_t above = bits - half; /* above sqrt(1/2): its exponent field is e */
        const int64_t e = (int64_t)above >> 52;
        const double m = emu_double(bits - ((uint64_t)e << 52));
        const double s = (m - 1.0) / (m + 1.0), square = s * s;
        POLYNOMIAL(p, square, log_terms);
        const double value = (double)e + s * p;
        y[lane] = x[lane] == 0.0        ? -HUGE_VAL
                  : !(x[lane] > 0.0)    ? (double)NAN
                  : x[lane] == HUGE_VAL ? HUGE_VAL
                                        : value;
    }
}
static long double log_again(double x) { return log2l((long double)x); }

/* sin and cos of 2 * pi * t, |t| <= 1/8. */
static const double sin_terms[] = {
    0x1.aaec32af93359p-4,  -0x1.6fadb9f155744p-1, 0x1.e8f434d018d63p+1,
    -0x1.e3074fde8871fp+3, 0x1.50783487ee782p+5,  -0x1.32d2cce62bd86p+6,
    0x1.466bc6775aae2p+6,  -0x1.4abbce625be53p+5, 0x1.921fb54442d18p+2};
static const double cos_terms[] = {-0x1.2a0c591af8314p-5, 0x1.20c62c2f2d7f5p-2,
                                   -0x1.b6e24f44b128fp+0, 0x1.f9d38a3763cc3p+2,
                                   -0x1.a6d1f2a204a8cp+4, 0x1.e1f506891babbp+5,
                                   -0x1.55d3c7e3cbffap+6, 0x1.03c1f081b5ac4p+6,
                                   -0x1.3bd3cc9be45dep+4, 1.0};

/* quarters: 0 for sin, 1 for cos, which is sin a quarter turn on. beyond: the value past 256 turns. */
static inline void sine(double *y, const double *x, int64_t quarters, double beyond) {
    EMU_EACH_LANE {
        const bool inside = x[lane] >= -256.0 && x[lane] <= 256.0;
        const double turns = inside ? x[lane] : 0.0;
        const double n = nearest(turns * 4.0), t = turns - n * 0.25, square = t * t;
        const int64_t quadrant = (int64_t)n + quarters;
        POLYNOMIAL(of_sin, square, sin_terms);
        POLYNOMIAL(of_cos, square, cos_terms);
        const double value = quadrant & 1 ? of_cos : t * of_sin;
        const double signed_value = quadrant & 2 ? -value : value;
        const bool number = x[lane] - x[lane] == 0.0;
        y[lane] = inside ? signed_value : number ? beyond : (double)NAN;
    }
}

/* The same, exactly reduced, one value. */
static long double sine_again(double x, int64_t quarters) {
    const double n = nearest(x * 4.0), t = x - n * 0.25;
    const long double angle = 6.283185307179586476925286766559005768L * (long double)t;
    const int64_t quadrant = (int64_t)n + quarters;
    const long double value = quadrant & 1 ? cosl(angle) : sinl(angle);
    return quadrant & 2 ? -value : value;
}

static void sin_lanes(double *y, const double *x) { sine(y, x, 0, 0.0); }
static void cos_lanes(double *y, const double *x) { sine(y, x, 1, 1.0); }
static long double sin_again(double x) { return sine_again(x, 0); }
static long double cos_again(double x) { return sine_again(x, 1); }

static const struct function rcp = {rcp_lanes, rcp_again}, rsq = {rsq_lanes, rsq_again},
                             root = {sqrt_lanes, sqrt_again}, exponential = {exp_lanes, exp_again},
                             logarithm = {log_lanes, log_again}, sin_turns = {sin_lanes, sin_again},
                             cos_turns = {cos_lanes, cos_again};

/* ---- rounding to the result's format ---- */

/* A double as f32 with every cut-off bit shown by the last one, which makes a second rounding harmless. */
static inline uint32_t to_odd(double x) {
    const uint32_t cut = emu_f64_to_f32(emu_bits64(x), EMU_ROUND_ZERO, true, true);
    return cut | (uint32_t)((double)emu_float(cut) != x);
}

static inline uint32_t to_f32(double x) { return emu_bits((float)x); }

static inline uint32_t to_f16(double x) {
    return emu_f32_to_f16(to_odd(x), EMU_ROUND_NEAREST, true, false);
}

/* A long double, once rounded to odd in 53 bits. */
static double narrowed(long double x) {
    const double y = (double)x;
    const long double error = x - (long double)y;
    if (error == 0 || emu_bits64(y) & 1) return y;
    return nextafter(y, error > 0 ? HUGE_VAL : -HUGE_VAL);
}

/* Rounded results; where an error of y could change one, the value is computed again. */
#define ROUND_LANES(name, to)                                                                      \
    static void name(uint32_t *result, const double *x, const double *y,                           \
                     const struct function *f) {                                                   \
        uint32_t unsure[EMU_LANES], any = 0;                                                       \
        EMU_EACH_LANE {                                                                            \
            const double error = y[lane] * 0x1p-48;                                                \
            const uint32_t low = to(y[lane] - error), high = to(y[lane] + error);                  \
            result[lane] = to(y[lane]);                                                            \
            unsure[lane] = low ^ high;                                                             \
        }                                                                                          \
        for (unsigned lane = 0; lane < EMU_LANES; lane++) any |= unsure[lane];                     \
        if (any == 0) return;                                                                      \
        for (unsigned lane = 0; lane < EMU_LANES; lane++)                                          \
            if (unsure[lane] != 0 && y[lane] - y[lane] == 0)                                       \
                result[lane] = to(narrowed(f->again(x[lane])));                                    \
    }

ROUND_LANES(round_f32, to_f32)
ROUND_LANES(round_f16, to_f16)

/* ---- the ends of the bound ---- */

/*
 * The lowest (way < 0) or highest f32 that is within ulp last places of y in a format of `fraction` bits and least exponent
 * `lowest`, and on y's side of zero. Zeros, infinities and NaNs stay as they are.
 */
static uint32_t end_of_bound(double y, double ulp, int way, int fraction, int lowest) {
    double moved = y;
    if (y != 0 && y - y == 0) {
        int exponent; /* of the lower binade, if y is at the border of two */
        frexp(nextafter(y, 0), &exponent);
        exponent = exponent - 1 < lowest ? lowest : exponent - 1;
        moved = y + way * ulp * ldexp(1.0, exponent - fraction);
        if ((moved > 0) != (y > 0)) moved = copysign(0.0, y);
    }
    const struct emu_rounding inwards = {.up = way < 0 ? ~0u : 0, .down = way < 0 ? 0 : ~0u};
    return emu_f64_to_f32(emu_bits64(moved), inwards, true, true);
}

static double bound_of(const struct emu_insn *i) {
    for (const struct emu_bound *b = emu_bounds; b->name != NULL; b++)
        if (strcmp(b->name, i->opcode->name) == 0) return b->ulp;
    return 0;
}

/* ---- handlers ---- */

static inline const struct emu_insn *run_f32(struct emu_wave *w, const struct emu_insn *i,
                                             const struct function *f) {
    uint32_t space[EMU_LANES], result[EMU_LANES];
    double x[EMU_LANES], y[EMU_LANES];
    const uint32_t *const source = emu_source32(w, &i->operand[1], space);
    EMU_EACH_LANE x[lane] = (double)emu_float(emu_flush32(source[lane], false));
    f->lanes(y, x);
    round_f32(result, x, y, f);
    const int way = emu_options()->approximate;
    const double ulp = way == 0 ? 0 : bound_of(i);
    for (unsigned lane = 0; way != 0 && lane < EMU_LANES; lane++)
        if ((result[lane] & 0x7fffffffu) < 0x7f800000u)
            result[lane] = end_of_bound(y[lane], ulp, way, 23, -126);
    EMU_EACH_LANE {
        const uint32_t nan =
            (source[lane] & 0x7fffffffu) > 0x7f800000u ? source[lane] | 0x400000u : 0x7fc00000u;
        result[lane] = y[lane] != y[lane] ? nan : emu_flush32(result[lane], false);
    }
    emu_output32(w, i, result);
    emu_store32(w, i->operand[0].reg, result);
    return i + 1;
}

static inline const struct emu_insn *run_f16(struct emu_wave *w, const struct emu_insn *i,
                                             const struct function *f) {
    uint32_t space[EMU_LANES], result[EMU_LANES];
    double x[EMU_LANES], y[EMU_LANES];
    const uint32_t *const source = emu_source32(w, &i->operand[1], space);
    const bool in = emu_keeps_inputs(w->mode, EMU_DENORM_16_64),
               out = emu_keeps_outputs(w->mode, EMU_DENORM_16_64);
    EMU_EACH_LANE x[lane] = (double)emu_float(emu_f16_to_f32(source[lane] & 0xffff, in));
    f->lanes(y, x);
    round_f16(result, x, y, f);
    const int way = emu_options()->approximate;
    const double ulp = way == 0 ? 0 : bound_of(i);
    const struct emu_rounding inwards = {.up = way < 0 ? ~0u : 0, .down = way < 0 ? 0 : ~0u};
    for (unsigned lane = 0; way != 0 && lane < EMU_LANES; lane++)
        if ((result[lane] & 0x7fff) < 0x7c00)
            result[lane] =
                emu_f32_to_f16(end_of_bound(y[lane], ulp, way, 10, -14), inwards, true, false);
    const bool saturate = w->mode >> EMU_FP16_OVFL & 1;
    EMU_EACH_LANE {
        const uint32_t magnitude = source[lane] & 0x7fff;
        const uint32_t nan = magnitude > 0x7c00 ? (source[lane] & 0xffff) | 0x200 : 0x7e00;
        const uint32_t flushed = emu_flush16(result[lane], out);
        const uint32_t made_infinite =
            (uint32_t)saturate & ((flushed & 0x7fff) == 0x7c00) & (magnitude < 0x7c00);
        result[lane] = y[lane] != y[lane] ? nan : flushed - made_infinite;
    }
    emu_output16(w, i, result);
    emu_store32(w, i->operand[0].reg, result);
    return i + 1;
}

static uint64_t f64_lane(uint64_t bits, double y, bool out, double ulp, int way) {
    const uint64_t infinity = UINT64_C(0x7ff) << 52, magnitude = bits & (~UINT64_C(0) >> 1);
    if (magnitude > infinity) return bits | UINT64_C(1) << 51;
    if (y != y) return infinity | UINT64_C(1) << 51;
    const uint64_t exact = emu_bits64(y);
    /* Neighbours in the order of magnitudes are neighbouring integers. */
    const int64_t places = way * (exact >> 63 ? -1 : 1) * (int64_t)ulp;
    const uint64_t least = infinity - 1;
    const uint64_t size = exact & (~UINT64_C(0) >> 1);
    if (places == 0 || y == 0 || size == infinity) return emu_flush64(exact, out);
    const uint64_t moved = places < 0 && size < (uint64_t)-places ? 0 : size + (uint64_t)places;
    return emu_flush64((exact & UINT64_C(1) << 63) | (moved > least ? least : moved), out);
}

static inline const struct emu_insn *run_f64(struct emu_wave *w, const struct emu_insn *i,
                                             const struct function *f) {
    uint64_t source[EMU_LANES], result[EMU_LANES];
    double x[EMU_LANES], y[EMU_LANES];
    const bool in = emu_keeps_inputs(w->mode, EMU_DENORM_16_64),
               out = emu_keeps_outputs(w->mode, EMU_DENORM_16_64);
    const int way = emu_options()->approximate;
    const double ulp = way == 0 ? 0 : bound_of(i);
    emu_source64(w, &i->operand[1], source);
    EMU_EACH_LANE x[lane] = emu_double(emu_flush64(source[lane], in));
    f->lanes(y, x);
    for (unsigned lane = 0; lane < EMU_LANES; lane++) {
        if (f == &rsq) y[lane] = (double)rsq_again(x[lane]);
        result[lane] = f64_lane(source[lane], y[lane], out, ulp, way);
    }
    emu_output64(w, i, result);
    emu_store64(w, i->operand[0].reg, result);
    return i + 1;
}

#define ELEMENTARY(name, format, function, ulp, documented)                                        \
    static const struct emu_insn *name(struct emu_wave *w, const struct emu_insn *i) {             \
        return run_##format(w, i, &(function));                                                    \
    }
#include "elementary.def"
#undef ELEMENTARY

#define BRACES(...)                                                                                \
    { __VA_ARGS__ }

#define ELEMENTARY(name, format, function, ulp, documented) BRACES(#name, ulp, documented),
const struct emu_bound emu_bounds[] = {
#include "elementary.def"
    {0},
};
#undef ELEMENTARY

enum { FLAGS = EMU_VALU | EMU_APPROXIMATE | EMU_CLAMPS | EMU_OMOD };
enum { f16 = EMU_F16, f32 = EMU_F32, f64 = EMU_F64 };

#define ELEMENTARY(name, format, function, ulp, documented)                                        \
    BRACES(#name, name, BRACES(format, format), 1, FLAGS),
const struct emu_opcode emu_elementary_opcodes[] = {
#include "elementary.def"
    {0},
};
