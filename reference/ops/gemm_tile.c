/* SPDX-License-Identifier: Apache-2.0 */
/* Tiles of sums: vectors run over columns, so that the order of a sum is nobody's but the loop's. */
#include <math.h>

#include "../num/turn.h"
#include "gemm_family.h"

void gemm_exact(double *restrict sum, const double *restrict a, const double *restrict b,
                int64_t n) {
    double tile[GEMM_ROWS][GEMM_COLUMNS] = {{0}};
    for (int64_t k = 0; k < n; k++)
        for (int i = 0; i < GEMM_ROWS; i++) {
            const double x = a[k * GEMM_ROWS + i];
#pragma omp simd
            for (int j = 0; j < GEMM_COLUMNS; j++)
                tile[i][j] = fma(x, b[k * GEMM_COLUMNS + j], tile[i][j]);
        }
    for (int i = 0; i < GEMM_ROWS; i++)
        for (int j = 0; j < GEMM_COLUMNS; j++) sum[i * GEMM_COLUMNS + j] = tile[i][j];
}

void gemm_add_chains(float *restrict acc, const float *restrict a, const float *restrict b,
                     int64_t n) {
    float tile[GEMM_ROWS][GEMM_CHAINS] = {{0}};
    for (int64_t k = 0; k < n; k++)
        for (int i = 0; i < GEMM_ROWS; i++) {
            const float x = a[k * GEMM_ROWS + i];
#pragma omp simd
            for (int j = 0; j < GEMM_CHAINS; j++)
                tile[i][j] = fmaf(x, b[k * GEMM_CHAINS + j], tile[i][j]);
        }
    for (int i = 0; i < GEMM_ROWS; i++)
#pragma omp simd
        for (int j = 0; j < GEMM_CHAINS; j++) acc[i * GEMM_CHAINS + j] += tile[i][j];
}

void gemm_add_partials(float *restrict acc, const double *restrict a, const double *restrict b,
                       int64_t n, const float *restrict a_scale, const float *restrict b_scale) {
    double sum[GEMM_ROWS * GEMM_COLUMNS];
    gemm_exact(sum, a, b, n);
    for (int i = 0; i < GEMM_ROWS; i++)
#pragma omp simd
        for (int j = 0; j < GEMM_COLUMNS; j++) {
            const float scale = a_scale[i] * b_scale[j];
            const float partial = (float)sum[i * GEMM_COLUMNS + j];
            acc[i * GEMM_COLUMNS + j] = fmaf(partial, scale, acc[i * GEMM_COLUMNS + j]);
        }
}

/* The sum is exact: what has no rounding has no order. */
float gemm_add_partial(float acc, const float *a, const uint8_t *codes, int64_t n, bool ocp,
                       float scale) {
    double sum = 0.0;
    if (ocp) {
#pragma omp simd reduction(+ : sum)
        for (int64_t k = 0; k < n; k++) sum += (double)(a[k] * dsv4_e4m3fn_to_f32(codes[k]));
    } else {
#pragma omp simd reduction(+ : sum)
        for (int64_t k = 0; k < n; k++) sum += (double)(a[k] * dsv4_e4m3fnuz_to_f32(codes[k]));
    }
    return fmaf((float)sum, scale, acc);
}

void gemm_turn(float *restrict to, const float *rows, int64_t columns, int64_t n) {
    for (int64_t j = 0; j < columns; j += DSV4_TURN_ROWS)
        dsv4_turn_into(to + j, columns, rows + j * GEMM_BLOCK, GEMM_BLOCK, n);
}

double gemm_wrong_sum(double exact, const double *a, const double *b, int64_t n, int i, int j,
                      enum gemm_wrong wrong) {
    if (wrong == GEMM_PARTIAL_BF16)
        return (double)dsv4_bf16_to_f32(dsv4_bf16_from_f32((float)exact));
    if (wrong != GEMM_PARTIAL_FP32 && wrong != GEMM_PARTIAL_14_BITS) return exact;
    float sum = 0.0f;
    for (int64_t k = 0; k < n; k++) {
        sum = (float)((double)sum + a[k * GEMM_ROWS + i] * b[k * GEMM_COLUMNS + j]);
        if (wrong == GEMM_PARTIAL_14_BITS) sum = dsv4_from_bits(dsv4_bits(sum) & ~UINT32_C(0x3FF));
    }
    return (double)sum;
}
