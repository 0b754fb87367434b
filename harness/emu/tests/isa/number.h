/* SPDX-License-Identifier: Apache-2.0 */
/* Floating-point results by MPFR: exact, then rounded once as MODE says. */
#ifndef DSV4_ISA_NUMBER_H
#define DSV4_ISA_NUMBER_H

#include "isa.h"

/* MODE's fields, from the ISA document. */
enum { MODE_DX10_CLAMP = 1 << 8, MODE_IEEE = 1 << 9, MODE_FP16_OVFL = 1 << 23 };

enum isa_operation {
    ADD,
    SUB,
    MUL,
    FMA,
    SQRT,
    DIV,
    RINT, /* to nearest even */
    TRUNC,
    CEIL,
    FLOOR,
    LDEXP, /* b: an integer */
    EXP2,
    LOG2,
    RCP,
    RSQ,
    SIN, /* of 2 pi a */
    COS
};

struct isa_format {
    int precision, emin, emax, exponent_bits;
};
const struct isa_format *isa_format(enum isa_type type);

/* Type: F16, F32 or F64. Bits in, bits out; NaN, denormals and rounding as on the hardware. */
uint64_t isa_compute(enum isa_operation operation, enum isa_type type, uint32_t mode, uint64_t a,
                     uint64_t b, uint64_t c);
uint64_t isa_flush(enum isa_type type, uint32_t mode, uint64_t a);
uint64_t isa_maximum(enum isa_type type, uint32_t mode, uint64_t a, uint64_t b);
uint64_t isa_minimum(enum isa_type type, uint32_t mode, uint64_t a, uint64_t b);
uint64_t isa_median(enum isa_type type, uint32_t mode, uint64_t a, uint64_t b, uint64_t c);
uint32_t isa_between(uint32_t mode);
uint64_t isa_last(enum isa_type type, uint32_t mode, uint64_t a);
uint64_t isa_fract(enum isa_type type, uint32_t mode, uint64_t a, bool *open);
uint64_t isa_frexp_mantissa(enum isa_type type, uint32_t mode, uint64_t a);
int isa_frexp_exponent(enum isa_type type, uint64_t a);
/* omod, then clamp. */
uint64_t isa_output(enum isa_type type, uint32_t mode, unsigned omod, bool clamp, uint64_t a,
                    bool *open);

bool isa_nan(enum isa_type type, uint64_t a);
bool isa_signalling(enum isa_type type, uint64_t a);
bool isa_infinite(enum isa_type type, uint64_t a);
bool isa_zero(enum isa_type type, uint64_t a);
bool isa_denormal(enum isa_type type, uint64_t a);
bool isa_sign(enum isa_type type, uint64_t a);
/* -1, 0, 1; 2 if unordered. */
int isa_order(enum isa_type type, uint32_t mode, uint64_t a, uint64_t b);
uint64_t isa_quiet(enum isa_type type, uint64_t a);

/* Conversions: between formats under a rounding mode, to and from integers. */
uint64_t isa_convert(enum isa_type to, enum isa_type from, uint32_t mode, unsigned rounding,
                     uint64_t a);
uint64_t isa_from_integer(enum isa_type to, uint32_t mode, int64_t a);
/* Rounds as operation says, then saturates; NaN is 0. */
int64_t isa_to_integer(enum isa_type from, uint32_t mode, enum isa_operation rounding, uint64_t a,
                       int64_t low, int64_t high);
/* 8-bit FNUZ floats: e4m3 (fp8) or e5m2 (bf8). */
uint8_t isa_to_fnuz(bool bf8, bool saturate, bool stochastic, uint32_t noise, uint32_t f32);
uint32_t isa_from_fnuz(bool bf8, uint8_t a);
/* Distance in units of the last place between two finite results of one sign; UINT64_MAX otherwise. */
uint64_t isa_distance(enum isa_type type, uint64_t a, uint64_t b);

#endif
