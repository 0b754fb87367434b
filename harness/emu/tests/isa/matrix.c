/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A holds m x k, B k x n, C and D m x n numbers per block. Of a wave's 64 lanes, A gives 64 / (m blocks) groups of
 * consecutive k to m rows of each block: lane i + m (block + blocks group); B the same by columns. D has rows i in
 * registers and lanes as the instruction set document's tables have them.
 */
#include "matrix.h"
#include "number.h"

#include <string.h>

/* Registers: A from v2, B from v10 (sparse: v14), index v22, C and D from v24 on; accumulators with a wider D. */
enum { REG_A = 2, REG_B = 6, REG_INDEX = 14, REG_D = 16, LARGEST = 32 };

const struct isa_matrix_row isa_matrix_rows[] = {
    {"v_mfma_f32_32x32x1_2b_f32", 32, 32, 1, 2, E_F32, E_F32, E_F32, false},
    {"v_mfma_f32_16x16x1_4b_f32",                         16, 16, 1, 4, E_F32, E_F32, E_F32, false},
    {"v_mfma_f32_4x4x1_16b_f32",                          4, 4, 1, 16, E_F32, E_F32, E_F32, false},
    {"v_mfma_f32_32x32x2_f32",                      32, 32, 2, 1, E_F32, E_F32, E_F32, false},
    {"v_mfma_f32_16x16x4_f32",                      16, 16, 4, 1, E_F32, E_F32, E_F32, false},
    {"v_mfma_f32_32x32x4_xf32", 32, 32, 4, 1, E_F32, E_F32, E_F32, false},
    {"v_mfma_f32_16x16x8_xf32",                         16, 16, 8, 1, E_F32, E_F32, E_F32, false},
    {"v_mfma_f32_32x32x4_2b_f16",                          32, 32, 4, 2, E_F16, E_F16, E_F32, false},
    {"v_mfma_f32_16x16x4_4b_f16",                      16, 16, 4, 4, E_F16, E_F16, E_F32, false},
    {"v_mfma_f32_4x4x4_16b_f16",                      4, 4, 4, 16, E_F16, E_F16, E_F32, false},
    {"v_mfma_f32_32x32x8_f16",  32, 32, 8, 1, E_F16, E_F16, E_F32, false},
    {"v_mfma_f32_16x16x16_f16",                          16, 16, 16, 1, E_F16, E_F16, E_F32, false},
    {"v_mfma_f32_32x32x4_2b_bf16",                         32, 32, 4, 2, E_BF16, E_BF16, E_F32, false},
    {"v_mfma_f32_16x16x4_4b_bf16",                      16, 16, 4, 4, E_BF16, E_BF16, E_F32, false},
    {"v_mfma_f32_4x4x4_16b_bf16",                      4, 4, 4, 16, E_BF16, E_BF16, E_F32, false},
    {"v_mfma_f32_32x32x8_bf16",    32, 32, 8, 1, E_BF16, E_BF16, E_F32, false},
    {"v_mfma_f32_16x16x16_bf16",                         16, 16, 16, 1, E_BF16, E_BF16, E_F32, false},
    {"v_mfma_f64_16x16x4_f64",                          16, 16, 4, 1, E_F64, E_F64, E_F64, false},
    {"v_mfma_f64_4x4x4_4b_f64",                      4, 4, 4, 4, E_F64, E_F64, E_F64, false},
    {"v_mfma_i32_32x32x4_2b_i8",                      32, 32, 4, 2, E_I8, E_I8, E_I32, false},
    {"v_mfma_i32_16x16x4_4b_i8",    16, 16, 4, 4, E_I8, E_I8, E_I32, false},
    {"v_mfma_i32_4x4x4_16b_i8",                         4, 4, 4, 16, E_I8, E_I8, E_I32, false},
    {"v_mfma_i32_32x32x16_i8",                          32, 32, 16, 1, E_I8, E_I8, E_I32, false},
    {"v_mfma_i32_16x16x32_i8",                      16, 16, 32, 1, E_I8, E_I8, E_I32, false},
    {"v_mfma_f32_32x32x16_fp8_fp8",                      32, 32, 16, 1, E_FP8, E_FP8, E_F32, false},
    {"v_mfma_f32_32x32x16_fp8_bf8",   32, 32, 16, 1, E_FP8, E_BF8, E_F32, false},
    {"v_mfma_f32_32x32x16_bf8_fp8",                         32, 32, 16, 1, E_BF8, E_FP8, E_F32, false},
    {"v_mfma_f32_32x32x16_bf8_bf8",                          32, 32, 16, 1, E_BF8, E_BF8, E_F32, false},
    {"v_mfma_f32_16x16x32_fp8_fp8",                      16, 16, 32, 1, E_FP8, E_FP8, E_F32, false},
    {"v_mfma_f32_16x16x32_fp8_bf8",                      16, 16, 32, 1, E_FP8, E_BF8, E_F32, false},
    {"v_mfma_f32_16x16x32_bf8_fp8",   16, 16, 32, 1, E_BF8, E_FP8, E_F32, false},
    {"v_mfma_f32_16x16x32_bf8_bf8",                         16, 16, 32, 1, E_BF8, E_BF8, E_F32, false},
    {"v_smfmac_f32_16x16x32_f16",                          16, 16, 32, 1, E_F16, E_F16, E_F32, true},
    {"v_smfmac_f32_32x32x16_f16",                      32, 32, 16, 1, E_F16, E_F16, E_F32, true},
    {"v_smfmac_f32_16x16x32_bf16",                      16, 16, 32, 1, E_BF16, E_BF16, E_F32, true},
    {"v_smfmac_f32_32x32x16_bf16", 32, 32, 16, 1, E_BF16, E_BF16, E_F32, true},
    {"v_smfmac_i32_16x16x64_i8",                         16, 16, 64, 1, E_I8, E_I8, E_I32, true},
    {"v_smfmac_i32_32x32x32_i8",                          32, 32, 32, 1, E_I8, E_I8, E_I32, true},
    {"v_smfmac_f32_16x16x64_fp8_fp8",                      16, 16, 64, 1, E_FP8, E_FP8, E_F32, true},
    {"v_smfmac_f32_16x16x64_fp8_bf8",                      16, 16, 64, 1, E_FP8, E_BF8, E_F32, true},
    {"v_smfmac_f32_16x16x64_bf8_fp8", 16, 16, 64, 1, E_BF8, E_FP8, E_F32, true},
    {"v_smfmac_f32_16x16x64_bf8_bf8",                         16, 16, 64, 1, E_BF8, E_BF8, E_F32, true},
    {"v_smfmac_f32_32x32x32_fp8_fp8",                          32, 32, 32, 1, E_FP8, E_FP8, E_F32, true},
    {"v_smfmac_f32_32x32x32_fp8_bf8",                      32, 32, 32, 1, E_FP8, E_BF8, E_F32, true},
    {"v_smfmac_f32_32x32x32_bf8_fp8",                      32, 32, 32, 1, E_BF8, E_FP8, E_F32, true},
    {"v_smfmac_f32_32x32x32_bf8_bf8",  32, 32, 32, 1, E_BF8, E_BF8, E_F32, true},
    {0                         }
};

static unsigned width(enum isa_element e) {
    return e == E_F64 ? 64 : e == E_F32 || e == E_I32 ? 32 : e == E_F16 || e == E_BF16 ? 16 : 8;
}

static uint64_t encoded(enum isa_element e, int64_t value) {
    const uint32_t single = (uint32_t)isa_from_integer(F32, 0x3f0, value);
    switch (e) {
    case E_F16: return isa_from_integer(F16, 0x3f0, value);
    case E_BF16: return single >> 16;
    case E_F32: return single;
    case E_F64: return isa_from_integer(F64, 0x3f0, value);
    case E_I8: return (uint8_t)value;
    case E_FP8: return isa_to_fnuz(false, false, false, 0, single);
    case E_BF8: return isa_to_fnuz(true, false, false, 0, single);
    case E_I32: break;
    }
    return (uint32_t)value;
}

/* One-hot in every third state, else whole numbers; bf8 has two bits for them. */
static int64_t number(const struct isa_matrix_row *row, unsigned wave, unsigned matrix,
                      unsigned block, unsigned i, unsigned j) {
    const uint64_t r = isa_random(90 + matrix, ((wave * 64u + block) * 64 + i) * 64 + j);
    if (matrix == 2) return (int64_t)(r % 2001) - 1000;
    const enum isa_element e = matrix == 0 ? row->a : row->b;
    if (wave % 3 == 0) {
        const uint64_t hot = isa_random(93 + matrix, wave);
        return i == hot % (matrix == 0 ? row->m : row->k) &&
               j == (hot >> 8) % (matrix == 0 ? row->k : row->n);
    }
    return e == E_BF8 ? (int64_t)(r % 9) - 4 : (int64_t)(r % 17) - 8;
}

static void place(uint32_t *registers, size_t stride, unsigned lane, unsigned element,
                  unsigned bits, uint64_t value) {
    const unsigned at = element * bits;
    if (bits == 64) {
        registers[(at / 32) * stride + lane] = (uint32_t)value;
        registers[(at / 32 + 1) * stride + lane] = (uint32_t)(value >> 32);
        return;
    }
    uint32_t *const word = &registers[(at / 32) * stride + lane];
    const uint32_t mask = bits == 32 ? UINT32_MAX : (1u << bits) - 1;
    *word = (*word & ~(mask << at % 32)) | ((uint32_t)value & mask) << at % 32;
}

/* Register (in elements) and lane of D's element. */
static unsigned d_lane(const struct isa_matrix_row *row, unsigned block, unsigned i, unsigned j,
                       unsigned *element) {
    if (row->c == E_F64) {
        *element = i / 4;
        return row->m == 16 ? j + 16 * (i % 4) : j + 4 * block + 16 * i;
    }
    if (row->m == 4) {
        *element = i;
        return j + 4 * block;
    }
    *element = i % 4 + (row->m == 32 ? 4 * (i / 8) + 16 * block : 4 * block);
    return j + row->n * (row->m == 32 ? i / 4 % 2 : i / 4);
}

/* Which of four k a stored element of a sparse A stands for. */
static unsigned kept(unsigned wave, unsigned i, unsigned four, unsigned which) {
    static const unsigned char pairs[6][2] = {
        {0, 1},
        {0, 2},
        {0, 3},
        {1, 2},
        {1, 3},
        {2, 3}
    };
    return pairs[isa_random(97, (wave * 64u + i) * 64 + four) % 6][which];
}

static void fill_a(struct isa_state *s, const struct isa_matrix_row *row, unsigned wave) {
    const unsigned stored = row->sparse ? row->k / 2 : row->k;
    const unsigned per_lane = row->m * stored * row->blocks / ISA_LANES;
    for (unsigned block = 0; block < row->blocks; block++)
        for (unsigned i = 0; i < row->m; i++)
            for (unsigned e = 0; e < stored; e++) {
                const unsigned lane = i + row->m * (block + row->blocks * (e / per_lane));
                const unsigned which = row->sparse ? kept(wave, i, e / 2, e % 2) : 0;
                const unsigned k = row->sparse ? 4 * (e / 2) + which : e;
                place(s->v[REG_A], ISA_LANES, lane, e % per_lane, width(row->a),
                      encoded(row->a, number(row, wave, 0, block, i, k)));
                if (row->sparse) place(s->v[REG_INDEX], ISA_LANES, lane, e % per_lane, 2, which);
            }
}

static void fill(struct isa_state *s, const struct isa_program *p, unsigned wave) {
    const struct isa_matrix_row *const row = p->argument;
    memset(s, 0, sizeof *s);
    s->mode = 0x3f0;
    s->s[ISA_EXEC] = s->s[ISA_EXEC + 1] = UINT32_MAX;
    s->s[ISA_FIRST_S] = wave;
    const unsigned per_lane = row->n * row->k * row->blocks / ISA_LANES;
    fill_a(s, row, wave);
    for (unsigned block = 0; block < row->blocks; block++) {
        for (unsigned j = 0; j < row->n; j++)
            for (unsigned k = 0; k < row->k; k++)
                place(s->v[REG_B], ISA_LANES, j + row->n * (block + row->blocks * (k / per_lane)),
                      k % per_lane, width(row->b),
                      encoded(row->b, number(row, wave, 1, block, k, j)));
        for (unsigned i = 0; i < row->m; i++)
            for (unsigned j = 0; j < row->n; j++) {
                unsigned element;
                const unsigned lane = d_lane(row, block, i, j, &element);
                place(s->v[REG_D], ISA_LANES, lane, element, width(row->c),
                      encoded(row->c, number(row, wave, 2, block, i, j)));
            }
    }
}

static bool stored(const struct isa_matrix_row *row, unsigned wave, unsigned i, unsigned k) {
    return !row->sparse || kept(wave, i, k / 4, 0) == k % 4 || kept(wave, i, k / 4, 1) == k % 4;
}

static void model(struct isa_state *s, const void *argument) {
    const struct isa_matrix_row *const row = argument;
    const unsigned wave = s->s[ISA_FIRST_S];
    for (unsigned block = 0; block < row->blocks; block++)
        for (unsigned i = 0; i < row->m; i++)
            for (unsigned j = 0; j < row->n; j++) {
                int64_t sum = number(row, wave, 2, block, i, j);
                for (unsigned k = 0; k < row->k; k++)
                    if (stored(row, wave, i, k))
                        sum +=
                            number(row, wave, 0, block, i, k) * number(row, wave, 1, block, k, j);
                unsigned element;
                const unsigned lane = d_lane(row, block, i, j, &element);
                place(s->v[REG_D], ISA_LANES, lane, element, width(row->c), encoded(row->c, sum));
            }
}

static void registers(char text[32], unsigned first, unsigned n) {
    if (n == 1)
        snprintf(text, 32, "v%u", first);
    else
        snprintf(text, 32, "v[%u:%u]", first, first + n - 1);
}

void isa_build_matrix(struct isa_program *p, const struct isa_matrix_row *row) {
    char a[32], b[32], d[32], c[32];
    const unsigned k = row->sparse ? row->k / 2 : row->k;
    memset(p, 0, sizeof *p);
    registers(a, REG_A, row->m * k * row->blocks * width(row->a) / ISA_LANES / 32);
    registers(b, REG_B, row->n * row->k * row->blocks * width(row->b) / ISA_LANES / 32);
    registers(d, REG_D, row->m * row->n * row->blocks * width(row->c) / ISA_LANES / 32);
    registers(c, row->sparse ? REG_INDEX : REG_D,
              row->sparse ? 1 : row->m * row->n * row->blocks * width(row->c) / ISA_LANES / 32);
    snprintf(p->name, sizeof p->name, "%s", row->name);
    snprintf(p->text, sizeof p->text, "\ts_nop 7\n\t%s %s, %s, %s, %s\n\ts_nop 15\n\ts_nop 15\n",
             row->name, d, a, b, c);
    p->model = model;
    p->argument = row;
    p->fill = fill;
    p->waves = 9;
    p->default_mode = true;
}
