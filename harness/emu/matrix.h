/* SPDX-License-Identifier: Apache-2.0 */
/* Between the files of matrix instructions. */
#ifndef DSV4_EMU_MATRIX_H
#define DSV4_EMU_MATRIX_H

#include "lanes.h"

enum matrix_format {
    MATRIX_F32,
    MATRIX_XF32,
    MATRIX_F16,
    MATRIX_BF16,
    MATRIX_FP8,
    MATRIX_BF8,
    MATRIX_I8,
    MATRIX_F64
};

/* m x n results of k products each, `blocks` times. sparse: two of four elements of A's rows are given. */
struct emu_matrix_shape {
    enum matrix_format a, b;
    uint8_t m, n, k, blocks;
    bool sparse, swizzles; /* swizzles: blgp is documented */
};

enum { MATRIX_MAX_ELEMENTS = 1024, MATRIX_MAX_TERMS = 64 };

/*
 * A or B with the registers' order of lanes: element k of row (or column) r of block b is [k][b * rows + r].
 * Floats narrower than 32 bits are significand * 2^(exponent - fraction), see emu_matrix_terms.
 */
struct emu_matrix_input {
    _Alignas(64) int32_t significand[MATRIX_MAX_ELEMENTS];
    _Alignas(64) int32_t exponent[MATRIX_MAX_ELEMENTS];
    _Alignas(64) uint64_t wide[256]; /* f64 */
    unsigned rows;                   /* of all blocks */
};

/* Exponents of what is no finite number, and of zero: sums of two tell by their size what a product is. */
enum { MATRIX_ZERO = -2000, MATRIX_INFINITY = 5000, MATRIX_NAN = 20000, MATRIX_SPECIAL = 127 };

/* The terms of one row of results: A's elements, and the rows of B that they meet. */
struct emu_matrix_terms {
    int32_t significand[MATRIX_MAX_TERMS], exponent[MATRIX_MAX_TERMS];
    const int32_t *b_significand[MATRIX_MAX_TERMS], *b_exponent[MATRIX_MAX_TERMS];
    unsigned count;
};

/* Adds the terms to n accumulators of f32, by the rule of 16-bit and xf32 formats in groups of `group`, or of FP8. */
void emu_matrix_sum(uint32_t *accumulators, const struct emu_matrix_terms *terms, unsigned group,
                    unsigned n);
void emu_matrix_sum_fp8(uint32_t *accumulators, const struct emu_matrix_terms *terms, unsigned n);

/* Splits 64 raw values of a format; `scale` is a number of bits to shift significands up by. */
void emu_matrix_split(int32_t *significand, int32_t *exponent, const uint32_t *raw,
                      enum matrix_format format, unsigned scale);
unsigned emu_matrix_fraction(enum matrix_format format);

emu_run emu_matrix_run;

#endif
