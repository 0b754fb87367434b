/* SPDX-License-Identifier: Apache-2.0 */
/* Matrix instructions as tests see them: shapes from the mnemonic, element maps as the instruction set describes them. */
#ifndef DSV4_EMU_TESTS_MATRIX_CASE_H
#define DSV4_EMU_TESTS_MATRIX_CASE_H

#include <math.h>
#include <stdio.h>
#include <stdlib.h>

#include "bare.h"

struct matrix_case {
    const char *name;
    unsigned m, n, k, blocks;
    char a[8], b[8]; /* formats */
    bool sparse;
};

/* v_mfma_f32_32x32x4_2b_f16, v_smfmac_f32_16x16x64_fp8_bf8 */
static inline struct matrix_case matrix_case(const char *name) {
    struct matrix_case c = {.name = name, .blocks = 1, .sparse = name[2] == 's'};
    const char *at = strchr(strchr(name + 2, '_') + 1, '_') + 1;
    int length = 0;
    cr_assert_eq(sscanf(at, "%ux%ux%u%n", &c.m, &c.n, &c.k, &length), 3, "%s", name);
    at += length;
    int blocks = 0;
    if (sscanf(at, "_%ub%n", &c.blocks, &blocks) == 1 && at[blocks] == '_' && blocks > 0)
        at += blocks;
    else
        c.blocks = 1;
    const int formats = sscanf(at, "_%7[a-z0-9]_%7[a-z0-9]", c.a, c.b);
    cr_assert_geq(formats, 1, "%s", name);
    if (formats == 1) memcpy(c.b, c.a, sizeof c.b);
    return c;
}

static inline unsigned format_bits(const char *format) {
    if (strcmp(format, "f64") == 0) return 64;
    if (strcmp(format, "f32") == 0 || strcmp(format, "xf32") == 0) return 32;
    if (strcmp(format, "f16") == 0 || strcmp(format, "bf16") == 0) return 16;
    return 8;
}

/* The value of a code, by its definition. */
static inline double format_value(const char *format, uint64_t x) {
    static const struct {
        const char *name;
        int exponent, fraction, bias;
        bool ieee;
    } formats[] = {
        {"f64",  11, 52, 1023, true },
        {"f32",  8,  23, 127,  true },
        {"xf32", 8,  23, 127,  true },
        {"f16",  5,  10, 15,   true },
        {"bf16", 8,  7,  127,  true },
        {"fp8",  4,  3,  8,    false},
        {"bf8",  5,  2,  16,   false}
    };
    if (strcmp(format, "i8") == 0) return (int8_t)x;
    unsigned f = 0;
    while (strcmp(formats[f].name, format) != 0) f++;
    const int width = formats[f].exponent, fraction = formats[f].fraction;
    const uint64_t field = x >> fraction & ((UINT64_C(1) << width) - 1);
    uint64_t rest = x & ((UINT64_C(1) << fraction) - 1);
    const bool negative = x >> (fraction + width) & 1;
    if (formats[f].ieee && field == (UINT64_C(1) << width) - 1)
        return rest != 0 ? (double)NAN : negative ? -HUGE_VAL : HUGE_VAL;
    if (!formats[f].ieee && x == UINT64_C(1) << (fraction + width)) return (double)NAN;
    if (strcmp(format, "xf32") == 0) rest &= ~UINT64_C(0x1fff);
    const double size = field == 0 ? ldexp((double)rest, 1 - formats[f].bias - fraction)
                                   : ldexp((double)(rest + (UINT64_C(1) << fraction)),
                                           (int)field - formats[f].bias - fraction);
    return negative ? -size : size;
}

/* A code of a small whole number. */
static inline uint64_t code_of(const char *format, int x) {
    if (strcmp(format, "i8") == 0) return (uint8_t)(int8_t)x;
    const unsigned bits = format_bits(format);
    if (bits == 64) {
        const double d = x;
        uint64_t u;
        memcpy(&u, &d, sizeof u);
        return u;
    }
    if (bits == 32 || strcmp(format, "bf16") == 0) {
        const float f = (float)x;
        uint32_t u;
        memcpy(&u, &f, sizeof u);
        return bits == 32 ? u : u >> 16;
    }
    if (x == 0) return 0;
    const int fraction = bits == 16 ? 10 : format[0] == 'f' ? 3 : 2;
    const int bias = bits == 16 ? 15 : format[0] == 'f' ? 8 : 16;
    int exponent;
    const double half = frexp(abs(x), &exponent); /* from 1/2 to 1 */
    const uint64_t code =
        (uint64_t)(exponent - 1 + bias) << fraction | (uint64_t)ldexp(2 * half - 1, fraction);
    return code | (uint64_t)(x < 0) << (bits - 1);
}

/* Registers of the operands; v0, v32, v64, v96 of bare_insn. */
enum { D_AT = 0, A_AT = 32, B_AT = 64, C_AT = 96 };

static inline uint64_t get_bits(const struct bare *b, unsigned reg, unsigned lane, unsigned bits,
                                unsigned v) {
    if (bits == 64) return (uint64_t)b->v[reg + 2 * v + 1][lane] << 32 | b->v[reg + 2 * v][lane];
    const uint32_t word = b->v[reg + v * bits / 32][lane];
    return bits == 32 ? word : word >> (v * bits % 32) & ((1u << bits) - 1);
}

static inline void set_bits(struct bare *b, unsigned reg, unsigned lane, unsigned bits, unsigned v,
                            uint64_t x) {
    if (bits == 64) {
        b->v[reg + 2 * v][lane] = (uint32_t)x;
        b->v[reg + 2 * v + 1][lane] = (uint32_t)(x >> 32);
        return;
    }
    const unsigned shift = v * bits % 32;
    const uint32_t mask = bits == 32 ? ~0u : ((1u << bits) - 1) << shift;
    uint32_t *const word = &b->v[reg + v * bits / 32][lane];
    *word = (*word & ~mask) | ((uint32_t)x << shift & mask);
}

/* Where element (r, k) of a block of A (or column r of B) is: of `length` elements per row in all. */
static inline void input_place(unsigned rows, unsigned blocks, unsigned length, unsigned block,
                               unsigned r, unsigned k, unsigned *lane, unsigned *v) {
    const unsigned per = length * rows * blocks / 64;
    *v = k % per;
    *lane = r + rows * block + rows * blocks * (k / per);
}

/* Where result (i, j) is, shape by shape as the manuals' pictures have it. v counts elements. */
static inline void output_place(const struct matrix_case *c, unsigned block, unsigned i, unsigned j,
                                unsigned *lane, unsigned *v) {
    if (format_bits(c->a) == 64) {
        *v = c->m == 16 ? i / 4 : 0;
        *lane = c->m == 16 ? j + 16 * (i % 4) : j + 4 * block + 16 * i;
    } else if (c->m == 32) {
        *v = 16 * block + 4 * (i / 8) + i % 4;
        *lane = j + 32 * (i / 4 % 2);
    } else if (c->m == 16) {
        *v = 4 * block + i % 4;
        *lane = j + 16 * (i / 4);
    } else {
        *v = i;
        *lane = j + 4 * block;
    }
}

#endif
