/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A second, slow implementation of reference/num/ that shares no arithmetic with it: conversions
 * search the values of the format, which follow from its definition, and compare in exact
 * arithmetic; functions come from MPFR. For tests only.
 */
#ifndef DSV4_ORACLE_H
#define DSV4_ORACLE_H

#include <stdint.h>

#include "../num/functions.h"

/* A number format by its definition. Codes are sign, exponent, mantissa from the top bit down. */
struct dsv4_oracle_format {
    const char *name;
    int exponent_bits, mantissa_bits, bias;
    uint32_t largest;  /* magnitude code of the largest finite value */
    uint32_t overflow; /* magnitude code of what lies above it: infinity, or `largest` again */
    uint32_t nan;      /* the code that every NaN is encoded to */
    int zero_has_sign;
};

enum dsv4_oracle_format_id {
    DSV4_ORACLE_BF16,
    DSV4_ORACLE_E4M3FN,
    DSV4_ORACLE_E4M3FNUZ,
    DSV4_ORACLE_E2M1,
    DSV4_ORACLE_N_FORMATS
};

extern const struct dsv4_oracle_format dsv4_oracle_formats[DSV4_ORACLE_N_FORMATS];

/* Value of a magnitude code by the definition, also of codes above `largest`. */
double dsv4_oracle_magnitude(const struct dsv4_oracle_format *format, uint32_t code);

/* The code nearest to x, ties to the even code. */
uint32_t dsv4_oracle_encode(const struct dsv4_oracle_format *format, float x);

/* The binary32 of a code; NaN is 0x7FC00000. */
float dsv4_oracle_decode(const struct dsv4_oracle_format *format, uint32_t code);

uint32_t dsv4_oracle_e8m0_ceil(float x);
float dsv4_oracle_e8m0_to_f32(uint32_t code);

/* What dsv4_functions[which] must give at the input with these bits. */
uint32_t dsv4_oracle_function(enum dsv4_function_id which, uint32_t bits);

/* Frees what MPFR keeps for the calling thread. */
void dsv4_oracle_free(void);

#endif
