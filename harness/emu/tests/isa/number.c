/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Floating point, slowly: MPFR computes with the exponent range and precision of the format, so that one rounding
 * happens, denormals included. Assumed of the hardware: the first NaN among the sources, in their order, comes out
 * quieted; an invalid operation makes the positive quiet NaN without payload; denormals are flushed to zeros of their
 * sign; tininess is seen after rounding.
 */
#include "number.h"

#include <mpfr.h>
#include <string.h>

const struct isa_format *isa_format(enum isa_type type) {
    static const struct isa_format half = {11, -23, 16, 5}, single = {24, -148, 128, 8},
                                   wide = {53, -1073, 1024, 11};
    return type == F64 ? &wide : type == F32 ? &single : &half;
}

static unsigned total_bits(const struct isa_format *f) {
    return (unsigned)(f->precision + f->exponent_bits);
}

static uint64_t sign_bit(const struct isa_format *f) { return UINT64_C(1) << (total_bits(f) - 1); }
static uint64_t mantissa_mask(const struct isa_format *f) {
    return (UINT64_C(1) << (f->precision - 1)) - 1;
}
static uint64_t exponent_mask(const struct isa_format *f) {
    return sign_bit(f) - 1 - mantissa_mask(f);
}
static uint64_t default_nan(const struct isa_format *f) {
    return exponent_mask(f) | UINT64_C(1) << (f->precision - 2);
}

bool isa_nan(enum isa_type type, uint64_t a) {
    const struct isa_format *const f = isa_format(type);
    return (a & (sign_bit(f) - 1)) > exponent_mask(f);
}
bool isa_signalling(enum isa_type type, uint64_t a) {
    return isa_nan(type, a) && (a >> (isa_format(type)->precision - 2) & 1) == 0;
}
bool isa_infinite(enum isa_type type, uint64_t a) {
    const struct isa_format *const f = isa_format(type);
    return (a & (sign_bit(f) - 1)) == exponent_mask(f);
}
bool isa_zero(enum isa_type type, uint64_t a) {
    return (a & (sign_bit(isa_format(type)) - 1)) == 0;
}
bool isa_denormal(enum isa_type type, uint64_t a) {
    return !isa_zero(type, a) && (a & exponent_mask(isa_format(type))) == 0;
}
bool isa_sign(enum isa_type type, uint64_t a) { return (a & sign_bit(isa_format(type))) != 0; }
uint64_t isa_quiet(enum isa_type type, uint64_t a) {
    return a | UINT64_C(1) << (isa_format(type)->precision - 2);
}

static unsigned rounding_of(enum isa_type type, uint32_t mode) {
    return mode >> (type == F32 ? 0 : 2) & 3;
}
static unsigned denormals_of(enum isa_type type, uint32_t mode) {
    return mode >> (type == F32 ? 4 : 6) & 3;
}
static mpfr_rnd_t direction(unsigned rounding) {
    static const mpfr_rnd_t directions[] = {MPFR_RNDN, MPFR_RNDU, MPFR_RNDD, MPFR_RNDZ};
    return directions[rounding & 3];
}

/* Denormal sources under MODE. */
uint64_t isa_flush(enum isa_type type, uint32_t mode, uint64_t a) {
    if ((denormals_of(type, mode) & 1) != 0 || !isa_denormal(type, a)) return a;
    return a & sign_bit(isa_format(type));
}

static uint64_t flush_output(enum isa_type type, uint32_t mode, uint64_t a) {
    if ((denormals_of(type, mode) & 2) != 0 || !isa_denormal(type, a)) return a;
    return a & sign_bit(isa_format(type));
}

static void decode(mpfr_t x, enum isa_type type, uint64_t a) {
    const struct isa_format *const f = isa_format(type);
    const uint64_t mantissa = a & mantissa_mask(f);
    const long exponent = (long)((a & exponent_mask(f)) >> (f->precision - 1));
    if (isa_nan(type, a)) {
        mpfr_set_nan(x);
    } else if (isa_infinite(type, a)) {
        mpfr_set_inf(x, isa_sign(type, a) ? -1 : 1);
    } else if (isa_zero(type, a)) {
        mpfr_set_zero(x, isa_sign(type, a) ? -1 : 1);
    } else {
        const uint64_t whole = exponent == 0 ? mantissa : mantissa | (mantissa_mask(f) + 1);
        const long unit = f->emin - 1 + (exponent == 0 ? 0 : exponent - 1);
        mpfr_set_uj_2exp(x, whole, unit, MPFR_RNDN);
        if (isa_sign(type, a)) mpfr_neg(x, x, MPFR_RNDN);
    }
}

static uint64_t encode(enum isa_type type, mpfr_t x) {
    const struct isa_format *const f = isa_format(type);
    const uint64_t sign = mpfr_signbit(x) ? sign_bit(f) : 0;
    if (mpfr_nan_p(x)) return default_nan(f);
    if (mpfr_inf_p(x)) return sign | exponent_mask(f);
    if (mpfr_zero_p(x)) return sign;
    mpz_t integer;
    mpz_init(integer);
    long unit = mpfr_get_z_2exp(integer, x);
    mpz_abs(integer, integer);
    while (unit > f->emin - 1 && mpz_sizeinbase(integer, 2) < (size_t)f->precision) {
        mpz_mul_2exp(integer, integer, 1);
        unit--;
    }
    while (unit < f->emin - 1) {
        mpz_fdiv_q_2exp(integer, integer, 1);
        unit++;
    }
    while (mpz_sizeinbase(integer, 2) > (size_t)f->precision) {
        mpz_fdiv_q_2exp(integer, integer, 1);
        unit++;
    }
    const uint64_t whole = mpz_get_ui(integer);
    mpz_clear(integer);
    const uint64_t biased = whole > mantissa_mask(f) ? (uint64_t)(unit - (f->emin - 1) + 1) : 0;
    return sign | biased << (f->precision - 1) | (whole & mantissa_mask(f));
}

struct range {
    mpfr_exp_t low, high;
};

static struct range enter(const struct isa_format *f) {
    const struct range old = {mpfr_get_emin(), mpfr_get_emax()};
    mpfr_set_emin(f->emin);
    mpfr_set_emax(f->emax);
    return old;
}

static void leave(struct range old) {
    mpfr_set_emin(old.low);
    mpfr_set_emax(old.high);
}

static int operate(mpfr_t r, enum isa_operation operation, mpfr_t x[3], uint64_t b, mpfr_rnd_t to) {
    switch (operation) {
    case ADD: return mpfr_add(r, x[0], x[1], to);
    case SUB: return mpfr_sub(r, x[0], x[1], to);
    case MUL: return mpfr_mul(r, x[0], x[1], to);
    case FMA: return mpfr_fma(r, x[0], x[1], x[2], to);
    case SQRT: return mpfr_sqrt(r, x[0], to);
    case DIV: return mpfr_div(r, x[0], x[1], to);
    case LDEXP: return mpfr_mul_2si(r, x[0], (long)(int32_t)b, to);
    case EXP2: return mpfr_exp2(r, x[0], to);
    case LOG2: return mpfr_log2(r, x[0], to);
    case RCP: return mpfr_ui_div(r, 1, x[0], to);
    case RSQ: return mpfr_rec_sqrt(r, x[0], to);
    case RINT: return mpfr_rint(r, x[0], MPFR_RNDN), 0;
    case TRUNC: return mpfr_rint(r, x[0], MPFR_RNDZ), 0;
    case CEIL: return mpfr_rint(r, x[0], MPFR_RNDU), 0;
    case FLOOR: return mpfr_rint(r, x[0], MPFR_RNDD), 0;
    case SIN:
    case COS: break;
    }
    mpfr_t angle;
    mpfr_init2(angle, 300);
    mpfr_const_pi(angle, MPFR_RNDN);
    mpfr_mul_2ui(angle, angle, 1, MPFR_RNDN);
    mpfr_mul(angle, angle, x[0], MPFR_RNDN);
    const int ternary = operation == SIN ? mpfr_sin(r, angle, to) : mpfr_cos(r, angle, to);
    mpfr_clear(angle);
    return ternary;
}

static uint64_t first_nan(enum isa_type type, unsigned n, const uint64_t *sources) {
    for (unsigned i = 0; i < n; i++)
        if (isa_nan(type, sources[i])) return isa_quiet(type, sources[i]);
    return 0;
}

static unsigned n_sources(enum isa_operation operation) {
    return operation == FMA                                                               ? 3
           : operation == ADD || operation == SUB || operation == MUL || operation == DIV ? 2
                                                                                          : 1;
}

/* An overflow of finite sources to infinity becomes the largest finite half where FP16_OVFL says so. */
static uint64_t overflow(enum isa_type type, uint32_t mode, uint64_t result, bool finite) {
    if (type == F16 && finite && (mode & MODE_FP16_OVFL) != 0 && isa_infinite(type, result))
        return result - 1;
    return result;
}

uint64_t isa_compute(enum isa_operation operation, enum isa_type type, uint32_t mode, uint64_t a,
                     uint64_t b, uint64_t c) {
    const struct isa_format *const f = isa_format(type);
    const unsigned n = n_sources(operation);
    const uint64_t sources[] = {isa_flush(type, mode, a),
                                operation == LDEXP ? b : isa_flush(type, mode, b),
                                isa_flush(type, mode, c)};
    const uint64_t nan = first_nan(type, n, sources);
    if (nan != 0) return nan;
    mpfr_t x[3], r;
    bool finite = true;
    for (unsigned i = 0; i < 3; i++) {
        mpfr_init2(x[i], f->precision);
        decode(x[i], type, i < n ? sources[i] : 0);
        if (!mpfr_number_p(x[i])) finite = false;
    }
    mpfr_init2(r, f->precision);
    const mpfr_rnd_t to = direction(rounding_of(type, mode));
    const struct range old = enter(f);
    int ternary = operate(r, operation, x, b, to);
    ternary = mpfr_check_range(r, ternary, to);
    mpfr_subnormalize(r, ternary, to);
    leave(old);
    const uint64_t result = encode(type, r);
    for (unsigned i = 0; i < 3; i++) mpfr_clear(x[i]);
    mpfr_clear(r);
    const bool may_overflow = operation != RCP && operation != LOG2 && operation != RSQ &&
                              !(operation == DIV && isa_zero(type, sources[1]));
    return flush_output(type, mode, overflow(type, mode, result, finite && may_overflow));
}

int isa_order(enum isa_type type, uint32_t mode, uint64_t a, uint64_t b) {
    if (isa_nan(type, a) || isa_nan(type, b)) return 2;
    mpfr_t x, y;
    mpfr_inits2(64, x, y, (mpfr_ptr)0);
    decode(x, type, isa_flush(type, mode, a));
    decode(y, type, isa_flush(type, mode, b));
    const int order = mpfr_cmp(x, y);
    mpfr_clears(x, y, (mpfr_ptr)0);
    return order < 0 ? -1 : order > 0;
}

/* The ISA document's rules of V_MIN and V_MAX: signalling NaNs first if IEEE, then the number, then -0 < +0. */
static uint64_t extreme(enum isa_type type, uint32_t mode, uint64_t a, uint64_t b, int sign) {
    a = isa_flush(type, mode, a);
    b = isa_flush(type, mode, b);
    if ((mode & MODE_IEEE) != 0 && isa_signalling(type, a)) return isa_quiet(type, a);
    if ((mode & MODE_IEEE) != 0 && isa_signalling(type, b)) return isa_quiet(type, b);
    if (isa_nan(type, a)) return flush_output(type, mode, b);
    if (isa_nan(type, b)) return flush_output(type, mode, a);
    int order = isa_order(type, mode, a, b);
    if (order == 0) order = (int)isa_sign(type, b) - (int)isa_sign(type, a);
    return flush_output(type, mode, order * sign >= 0 ? a : b);
}

uint64_t isa_maximum(enum isa_type type, uint32_t mode, uint64_t a, uint64_t b) {
    return extreme(type, mode, a, b, 1);
}
uint64_t isa_minimum(enum isa_type type, uint32_t mode, uint64_t a, uint64_t b) {
    return extreme(type, mode, a, b, -1);
}

/* Inside an instruction of several steps denormals stay; the last result is flushed. */
uint32_t isa_between(uint32_t mode) { return mode | 0xa0; }
uint64_t isa_last(enum isa_type type, uint32_t mode, uint64_t a) {
    return flush_output(type, mode, a);
}

/* As the document's text computes it: which zero comes out follows from that order. */
static uint64_t median(enum isa_type type, uint32_t mode, uint64_t a, uint64_t b, uint64_t c) {
    if (isa_nan(type, a) || isa_nan(type, b) || isa_nan(type, c))
        return isa_minimum(type, mode, isa_minimum(type, mode, a, b), c);
    const uint64_t most = isa_maximum(type, mode, isa_maximum(type, mode, a, b), c);
    if (isa_order(type, mode, most, a) == 0) return isa_maximum(type, mode, b, c);
    if (isa_order(type, mode, most, b) == 0) return isa_maximum(type, mode, a, c);
    return isa_maximum(type, mode, a, b);
}

uint64_t isa_median(enum isa_type type, uint32_t mode, uint64_t a, uint64_t b, uint64_t c) {
    return isa_last(type, mode, median(type, isa_between(mode), a, b, c));
}

/* a - floor(a); where that rounds to 1 documents differ. */
uint64_t isa_fract(enum isa_type type, uint32_t mode, uint64_t a, bool *open) {
    const uint64_t low = isa_compute(FLOOR, type, mode, a, 0, 0);
    const uint64_t result = isa_compute(SUB, type, mode, a, low, 0);
    const struct isa_format *const f = isa_format(type);
    const uint64_t one = ((UINT64_C(1) << (f->exponent_bits - 1)) - 1) << (f->precision - 1);
    if (isa_order(type, mode, result, one) == 0 || isa_zero(type, result) || isa_infinite(type, a))
        *open = true;
    return result;
}

uint64_t isa_frexp_mantissa(enum isa_type type, uint32_t mode, uint64_t a) {
    const uint64_t x = isa_flush(type, mode, a);
    if (isa_nan(type, x)) return isa_quiet(type, x);
    if (isa_infinite(type, x) || isa_zero(type, x)) return x;
    mpfr_t value;
    mpfr_init2(value, 64);
    decode(value, type, x);
    mpfr_set_exp(value, 0);
    const uint64_t result = encode(type, value);
    mpfr_clear(value);
    return result;
}

int isa_frexp_exponent(enum isa_type type, uint64_t a) {
    if (isa_nan(type, a) || isa_infinite(type, a) || isa_zero(type, a)) return 0;
    mpfr_t value;
    mpfr_init2(value, 64);
    decode(value, type, a);
    const int result = (int)mpfr_get_exp(value);
    mpfr_clear(value);
    return result;
}

uint64_t isa_output(enum isa_type type, uint32_t mode, unsigned omod, bool clamp, uint64_t a,
                    bool *open) {
    const struct isa_format *const f = isa_format(type);
    if (omod != 0 && (mode & MODE_IEEE) == 0 && (denormals_of(type, mode) & 2) == 0 &&
        !isa_nan(type, a)) {
        static const int powers[] = {0, 1, 2, -1};
        /* Whether tiny and huge results are cut off before or after is not said. */
        if (isa_zero(type, a)) *open = true;
        a = isa_compute(LDEXP, type, mode & ~(uint32_t)MODE_FP16_OVFL, a, (uint32_t)powers[omod],
                        0);
        if (isa_zero(type, a)) a = 0;
        if (isa_infinite(type, a) || isa_infinite(type, a + 1)) *open = true;
    }
    if (!clamp) return a;
    if (isa_nan(type, a)) return (mode & MODE_DX10_CLAMP) != 0 ? 0 : a;
    const uint64_t one = ((UINT64_C(1) << (f->exponent_bits - 1)) - 1) << (f->precision - 1);
    if (isa_zero(type, a) && isa_sign(type, a)) *open = true;
    if (isa_sign(type, a)) return 0;
    return isa_order(type, mode, a, one) > 0 ? one : a;
}

uint64_t isa_convert(enum isa_type to, enum isa_type from, uint32_t mode, unsigned rounding,
                     uint64_t a) {
    const struct isa_format *const f = isa_format(to), *const g = isa_format(from);
    a = isa_flush(from, mode, a);
    if (isa_nan(from, a)) {
        const uint64_t payload = a & mantissa_mask(g);
        const int shift = f->precision - g->precision;
        return (isa_sign(from, a) ? sign_bit(f) : 0) | default_nan(f) |
               (shift >= 0 ? payload << shift : payload >> -shift);
    }
    mpfr_t x, r;
    mpfr_init2(x, 64);
    mpfr_init2(r, f->precision);
    decode(x, from, a);
    const struct range old = enter(f);
    int ternary = mpfr_set(r, x, direction(rounding));
    ternary = mpfr_check_range(r, ternary, direction(rounding));
    mpfr_subnormalize(r, ternary, direction(rounding));
    leave(old);
    uint64_t result = encode(to, r);
    mpfr_clears(x, r, (mpfr_ptr)0);
    result = overflow(to, mode, result, !isa_infinite(from, a));
    return flush_output(to, mode, result);
}

uint64_t isa_from_integer(enum isa_type to, uint32_t mode, int64_t a) {
    const struct isa_format *const f = isa_format(to);
    const mpfr_rnd_t rounding = direction(rounding_of(to, mode));
    mpfr_t r;
    mpfr_init2(r, f->precision);
    const struct range old = enter(f);
    const int ternary = mpfr_set_sj(r, a, rounding);
    mpfr_check_range(r, ternary, rounding);
    leave(old);
    const uint64_t result = encode(to, r);
    mpfr_clear(r);
    return overflow(to, mode, result, true);
}

int64_t isa_to_integer(enum isa_type from, uint32_t mode, enum isa_operation rounding, uint64_t a,
                       int64_t low, int64_t high) {
    if (isa_nan(from, a)) return 0;
    mpfr_t x;
    mpfr_init2(x, 64);
    decode(x, from, isa_flush(from, mode, a));
    if (mpfr_number_p(x))
        mpfr_rint(x, x, rounding == TRUNC ? MPFR_RNDZ : rounding == FLOOR ? MPFR_RNDD : MPFR_RNDN);
    const int64_t result = mpfr_cmp_si(x, low) <= 0    ? low
                           : mpfr_cmp_si(x, high) >= 0 ? high
                                                       : mpfr_get_sj(x, MPFR_RNDZ);
    mpfr_clear(x);
    return result;
}

/* Nearest-even by comparing with the midpoint of two neighbours, in 2^-40 fixed point of the scaled value. */
uint8_t isa_to_fnuz(bool bf8, bool saturate, bool stochastic, uint32_t noise, uint32_t f32) {
    (void)stochastic;
    (void)noise;
    const unsigned sign = f32 >> 31 ? 0x80 : 0;
    if ((f32 & 0x7fffffff) >= 0x7f800000) return 0x80;
    uint8_t best = 0;
    double least = -1;
    float value;
    memcpy(&value, &f32, sizeof value);
    const double magnitude = value < 0 ? -(double)value : (double)value;
    for (unsigned code = 0; code < 0x80; code++) {
        const uint32_t bits = isa_from_fnuz(bf8, (uint8_t)code);
        float candidate;
        memcpy(&candidate, &bits, sizeof candidate);
        const double distance = magnitude > (double)candidate ? magnitude - (double)candidate
                                                              : (double)candidate - magnitude;
        if (least < 0 || distance < least || (distance == least && (code & 1) == 0)) {
            least = distance;
            best = (uint8_t)code;
        }
    }
    /* Half a step beyond the largest value, and the tie to the even code that does not exist, overflow. */
    const double beyond = bf8 ? 57344.0 + 4096.0 : 240.0 + 8.0;
    if (magnitude >= beyond) return saturate ? (uint8_t)(sign | 0x7f) : 0x80;
    return best == 0 ? 0 : (uint8_t)(sign | best);
}

uint32_t isa_from_fnuz(bool bf8, uint8_t a) {
    if (a == 0x80) return 0x7fc00000;
    const unsigned mantissa_bits = bf8 ? 2 : 3;
    const int bias = bf8 ? 16 : 8;
    const unsigned mantissa = a & ((1u << mantissa_bits) - 1);
    const int exponent = a >> mantissa_bits & (bf8 ? 31 : 15);
    const float whole = (float)(exponent == 0 ? mantissa : mantissa | 1u << mantissa_bits);
    float value = whole;
    const int power = (exponent == 0 ? 1 : exponent) - bias - (int)mantissa_bits;
    for (int i = 0; i < power; i++) value *= 2;
    for (int i = power; i < 0; i++) value /= 2;
    if (a >> 7) value = -value;
    uint32_t bits;
    memcpy(&bits, &value, sizeof bits);
    return bits;
}

uint64_t isa_distance(enum isa_type type, uint64_t a, uint64_t b) {
    if (isa_nan(type, a) || isa_nan(type, b))
        return isa_nan(type, a) && isa_nan(type, b) ? 0 : UINT64_MAX;
    if (isa_zero(type, a) && isa_zero(type, b)) return 0;
    if (isa_sign(type, a) != isa_sign(type, b)) return UINT64_MAX;
    return a > b ? a - b : b - a;
}
