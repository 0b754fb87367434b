/* SPDX-License-Identifier: Apache-2.0 */
/* Vector floating point. */
#include "rows.h"

#define COMPUTE(operation, type) isa_compute(operation, type, x->mode, LA, LB, LC)
#define ONE(operation, type) isa_compute(operation, type, x->mode, LA, 0, 0)

static uint64_t three(struct isa_lane *x, enum isa_type type,
                      uint64_t (*choose)(enum isa_type, uint32_t, uint64_t, uint64_t)) {
    const uint32_t mode = isa_between(x->mode);
    return isa_last(type, x->mode, choose(type, mode, choose(type, mode, LA, LB), LC));
}

/* b - a; of two NaNs the first source's. */
static uint64_t reversed_difference(enum isa_type type, uint32_t mode, uint64_t a, uint64_t b) {
    return isa_nan(type, a) ? isa_quiet(type, a) : isa_compute(SUB, type, mode, b, a, 0);
}

/* The ISA document's table of fix-ups, in its order. */
static uint64_t div_fixup(enum isa_type type, uint32_t mode, uint64_t q, uint64_t denominator,
                          uint64_t numerator, bool *open) {
    const struct isa_format *const f = isa_format(type);
    const unsigned total = (unsigned)(f->precision + f->exponent_bits);
    const uint64_t sign_bit = UINT64_C(1) << (total - 1);
    const uint64_t infinity = ((UINT64_C(1) << f->exponent_bits) - 1) << (f->precision - 1);
    const uint64_t nan = infinity | UINT64_C(1) << (f->precision - 2);
    const uint64_t sign = (denominator ^ numerator) & sign_bit;
    denominator = isa_flush(type, mode, denominator);
    numerator = isa_flush(type, mode, numerator);
    if (isa_nan(type, numerator)) return isa_quiet(type, numerator);
    if (isa_nan(type, denominator)) return isa_quiet(type, denominator);
    if (isa_zero(type, denominator) && isa_zero(type, numerator)) {
        *open = true; /* the document's NaN has a sign, the arithmetic's has none */
        return nan;
    }
    if (isa_infinite(type, denominator) && isa_infinite(type, numerator)) {
        *open = true;
        return nan;
    }
    if (isa_zero(type, denominator) || isa_infinite(type, numerator)) return sign | infinity;
    if (isa_infinite(type, denominator) || isa_zero(type, numerator)) return sign;
    /* Quotients far out of range become 0 or infinity here; their limits are the document's affair. */
    const int exponents =
        isa_frexp_exponent(type, numerator) - isa_frexp_exponent(type, denominator);
    if (exponents > f->emax - 2 || exponents < f->emin || isa_nan(type, q)) *open = true;
    return (isa_flush(type, mode, q) & ~sign_bit) | sign;
}

static uint64_t legacy_product(struct isa_lane *x) {
    const uint64_t a = isa_flush(F32, x->mode, LA), b = isa_flush(F32, x->mode, LB);
    if (isa_zero(F32, a) || isa_zero(F32, b)) return 0;
    return isa_compute(MUL, F32, x->mode, a, b, 0);
}

static bool in_class(enum isa_type type, uint64_t a, uint32_t mask) {
    const bool sign = isa_sign(type, a);
    unsigned bit;
    if (isa_nan(type, a))
        bit = isa_signalling(type, a) ? 0 : 1;
    else if (isa_infinite(type, a))
        bit = sign ? 2 : 9;
    else if (isa_zero(type, a))
        bit = sign ? 5 : 6;
    else if (isa_denormal(type, a))
        bit = sign ? 4 : 7;
    else
        bit = sign ? 3 : 8;
    return mask >> bit & 1;
}

static void div_fmas(struct isa_lane *x, enum isa_type type) {
    D = COMPUTE(FMA, type);
    /* The scaled result's rounding is exercised by whole divisions. */
    if (x->carry) D = isa_compute(LDEXP, type, x->mode, D, type == F32 ? 32 : 64, 0);
    if (x->carry) x->open = true;
}

#define FLOATS(ROW, type, suffix, TWO)                                                             \
    ROW(v_add_##suffix, TWO, 0, type, type, type, NONE, D = COMPUTE(ADD, type))                    \
    ROW(v_mul_##suffix, TWO, 0, type, type, type, NONE, D = COMPUTE(MUL, type))                    \
    ROW(v_max_##suffix, TWO, 0, type, type, type, NONE, D = isa_maximum(type, x->mode, LA, LB))    \
    ROW(v_min_##suffix, TWO, 0, type, type, type, NONE, D = isa_minimum(type, x->mode, LA, LB))    \
    ROW(v_fma_##suffix, VOP3, 0, type, type, type, type, D = COMPUTE(FMA, type))                   \
    ROW(v_trunc_##suffix, VOP2, 0, type, type, NONE, NONE, D = ONE(TRUNC, type))                   \
    ROW(v_ceil_##suffix, VOP2, 0, type, type, NONE, NONE, D = ONE(CEIL, type))                     \
    ROW(v_floor_##suffix, VOP2, 0, type, type, NONE, NONE, D = ONE(FLOOR, type))                   \
    ROW(v_rndne_##suffix, VOP2, 0, type, type, NONE, NONE, D = ONE(RINT, type))                    \
    ROW(v_fract_##suffix, VOP2, NO_RANDOM, type, type, NONE, NONE,                                 \
        D = isa_fract(type, x->mode, LA, &x->open))                                                \
    ROW(v_frexp_mant_##suffix, VOP2, USUAL_MODE, type, type, NONE, NONE,                           \
        D = isa_frexp_mantissa(type, x->mode, LA))                                                 \
    ROW(v_div_fixup_##suffix, VOP3, NO_RANDOM | USUAL_MODE, type, type, type, type,                \
        D = div_fixup(type, x->mode, LA, LB, LC, &x->open))                                        \
    ROW(v_cmp_class_##suffix, VOPC, NO_CLAMP, MASK, type, I32, NONE,                               \
        x->carry = in_class(type, LA, B))                                                          \
    ROW(v_cmpx_class_##suffix, VOPC, NO_CLAMP | WRITES_EXEC | NO_RANDOM, MASK, type, I32, NONE,    \
        x->carry = in_class(type, LA, B))

#define NARROW_FLOATS(ROW, type, suffix)                                                           \
    ROW(v_sub_##suffix, VOP2, 0, type, type, type, NONE, D = COMPUTE(SUB, type))                   \
    ROW(v_subrev_##suffix, VOP2, 0, type, type, type, NONE,                                        \
        D = reversed_difference(type, x->mode, LA, LB))                                            \
    ROW(v_max3_##suffix, VOP3, 0, type, type, type, type, D = three(x, type, isa_maximum))         \
    ROW(v_min3_##suffix, VOP3, 0, type, type, type, type, D = three(x, type, isa_minimum))         \
    ROW(v_med3_##suffix, VOP3, 0, type, type, type, type, D = isa_median(type, x->mode, LA, LB, LC))

#define ROWS(ROW)                                                                                  \
    FLOATS(ROW, F32, f32, VOP2)                                                                    \
    FLOATS(ROW, F64, f64, VOP3)                                                                    \
    FLOATS(ROW, F16, f16, VOP2)                                                                    \
    NARROW_FLOATS(ROW, F32, f32)                                                                   \
    NARROW_FLOATS(ROW, F16, f16)                                                                   \
    ROW(v_mul_legacy_f32, VOP3, 0, F32, F32, F32, NONE, D = legacy_product(x))                     \
    ROW(v_fmac_f32, VOP2, PARTIAL, F32, F32, F32, NONE,                                            \
        D = isa_compute(FMA, F32, x->mode, LA, LB, D))                                             \
    ROW(v_fmac_f64, VOP2, PARTIAL | PLAIN, F64, F64, F64, NONE,                                    \
        D = isa_compute(FMA, F64, x->mode, LA, LB, D))                                             \
    ROW(v_fmaak_f32, VOP2, LITERAL_K | PLAIN, F32, F32, F32, F32,                                  \
        D = isa_compute(FMA, F32, x->mode, LA, LB, LC))                                            \
    ROW(v_fmamk_f32, VOP2, LITERAL_M | PLAIN, F32, F32, F32, F32,                                  \
        D = isa_compute(FMA, F32, x->mode, LA, LB, LC))                                            \
    ROW(v_ldexp_f32, VOP3, 0, F32, F32, I32, NONE, D = COMPUTE(LDEXP, F32))                        \
    ROW(v_ldexp_f64, VOP3, 0, F64, F64, I32, NONE, D = COMPUTE(LDEXP, F64))                        \
    ROW(v_ldexp_f16, VOP2, 0, F16, F16, I16, NONE,                                                 \
        D = isa_compute(LDEXP, F16, x->mode, LA, (uint64_t)(int64_t)GB, 0))                        \
    ROW(v_frexp_exp_i32_f32, VOP2, NO_CLAMP | USUAL_MODE, I32, F32, NONE, NONE,                    \
        D = (uint32_t)isa_frexp_exponent(F32, isa_flush(F32, x->mode, LA)))                        \
    ROW(v_frexp_exp_i32_f64, VOP2, NO_CLAMP | USUAL_MODE, I32, F64, NONE, NONE,                    \
        D = (uint32_t)isa_frexp_exponent(F64, isa_flush(F64, x->mode, LA)))                        \
    ROW(v_frexp_exp_i16_f16, VOP2, NO_CLAMP | USUAL_MODE, I16, F16, NONE, NONE,                    \
        D = (uint16_t)isa_frexp_exponent(F16, isa_flush(F16, x->mode, LA)))                        \
    ROW(v_div_fmas_f32, VOP3, VCC_IN | NO_RANDOM | USUAL_MODE, F32, F32, F32, F32,                 \
        div_fmas(x, F32))                                                                          \
    ROW(v_div_fmas_f64, VOP3, VCC_IN | NO_RANDOM | USUAL_MODE, F64, F64, F64, F64, div_fmas(x, F64))

DEFINE_ROWS(isa_float_rows)
