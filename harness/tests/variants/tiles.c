/* SPDX-License-Identifier: Apache-2.0 */
/* The reference's tiles of dots, added by variant_chain(). Sums go on from block to block, but where FP8 is promoted. */
#include "../../../reference/ops/gemm_family.h"
#include "../../../reference/ops/idx_query.h"
#include "../../../reference/ops/mhc_family.h"
#include "../../../reference/ops/mtp_rows.h"
#include "chain.h"

static void column(double *to, const float *from, int64_t stride, int64_t n) {
    for (int64_t k = 0; k < n; k++) to[k] = (double)from[k * stride];
}

static void column_f64(double *to, const double *from, int64_t stride, int64_t n) {
    for (int64_t k = 0; k < n; k++) to[k] = from[k * stride];
}

void gemm_exact(double *restrict sum, const double *restrict a, const double *restrict b,
                int64_t n) {
    double x[GEMM_BLOCK], y[GEMM_COLUMNS][GEMM_BLOCK];
    for (int j = 0; j < GEMM_COLUMNS; j++) column_f64(y[j], b + j, GEMM_COLUMNS, n);
    for (int i = 0; i < GEMM_ROWS; i++) {
        column_f64(x, a + i, GEMM_ROWS, n);
        for (int j = 0; j < GEMM_COLUMNS; j++)
            sum[i * GEMM_COLUMNS + j] = (double)variant_chain(0.0f, x, y[j], n, FACTORS_FP8);
    }
}

/* The sum so far and a block's under its scale. Without promotion the unit goes on from the one to the other. */
static float promoted(float sum, const double *x, const double *y, int64_t n, float scale) {
#ifdef WITHOUT_PROMOTION
    return variant_chain(sum / scale, x, y, n, FACTORS_FP8) * scale;
#else
    return sum + variant_chain(0.0f, x, y, n, FACTORS_FP8) * scale;
#endif
}

void gemm_add_partials(float *restrict acc, const double *restrict a, const double *restrict b,
                       int64_t n, const float *restrict a_scale, const float *restrict b_scale) {
    double x[GEMM_BLOCK], y[GEMM_COLUMNS][GEMM_BLOCK];
    for (int j = 0; j < GEMM_COLUMNS; j++) column_f64(y[j], b + j, GEMM_COLUMNS, n);
    for (int i = 0; i < GEMM_ROWS; i++) {
        column_f64(x, a + i, GEMM_ROWS, n);
        for (int j = 0; j < GEMM_COLUMNS; j++) {
            float *const to = &acc[i * GEMM_COLUMNS + j];
            *to = promoted(*to, x, y[j], n, a_scale[i] * b_scale[j]);
        }
    }
}

float gemm_add_partial(float acc, const float *a, const uint8_t *codes, int64_t n, bool ocp,
                       float scale) {
    const enum dsv4_fp8 fp8 = ocp ? DSV4_OCP : DSV4_FNUZ240;
    double x[GEMM_BLOCK], y[GEMM_BLOCK];
    column(x, a, 1, n);
    for (int64_t k = 0; k < n; k++) y[k] = (double)dsv4_fp8_to_f32(codes[k], fp8);
    return promoted(acc, x, y, n, scale);
}

void gemm_add_chains(float *restrict acc, const float *restrict a, const float *restrict b,
                     int64_t n) {
    double x[GEMM_BLOCK], y[GEMM_CHAINS][GEMM_BLOCK];
    for (int j = 0; j < GEMM_CHAINS; j++) column(y[j], b + j, GEMM_CHAINS, n);
    for (int i = 0; i < GEMM_ROWS; i++) {
        column(x, a + i, GEMM_ROWS, n);
        for (int j = 0; j < GEMM_CHAINS; j++) {
            float *const to = &acc[i * GEMM_CHAINS + j];
            *to = variant_chain(*to, x, y[j], n, FACTORS_FLOAT);
        }
    }
}

void mhc_add_block(float *restrict total, const float *restrict x, const float *restrict fn,
                   int64_t padded, int64_t n, bool first) {
    enum { OUTPUTS = 8, TOKENS = 16 };
    double column_of[TOKENS][MHC_BLOCK], w[MHC_BLOCK];
    for (int t = 0; t < TOKENS; t++) column(column_of[t], x + t, TOKENS, n);
    for (int o = 0; o < OUTPUTS; o++) {
        column(w, fn + o, padded, n);
        for (int t = 0; t < TOKENS; t++) {
            float *const to = &total[o * TOKENS + t];
            *to = variant_chain(first ? 0.0f : *to, column_of[t], w, n, FACTORS_FLOAT);
        }
    }
}

void mtp_add_bias(float *restrict total, const float *w, const float *const *embed, int64_t first,
                  int64_t n) {
    double x[MTP_ROWS][GEMM_BLOCK], y[GEMM_BLOCK];
    for (int i = 0; i < MTP_ROWS; i++) column(x[i], embed[i] + first, 1, n);
    for (int j = 0; j < MTP_TOKENS; j++) {
        column(y, w + first * MTP_TOKENS + j, MTP_TOKENS, n);
        for (int i = 0; i < MTP_ROWS; i++) {
            float *const to = &total[i * MTP_TOKENS + j];
            *to = variant_chain(first == 0 ? 0.0f : *to, x[i], y, n, FACTORS_FLOAT);
        }
    }
}

void mtp_add_dots(float *restrict total, const float *restrict columns, const float *restrict w,
                  int64_t n, bool first) {
    double x[GEMM_BLOCK], y[GEMM_BLOCK];
    column(y, w, 1, n);
    for (int t = 0; t < MTP_COLUMNS; t++) {
        column(x, columns + t, MTP_COLUMNS, n);
        total[t] = variant_chain(first ? 0.0f : total[t], x, y, n, FACTORS_FLOAT);
    }
}

/* As a product with the matrix of signs. */
void idx_query_butterflies(float *x) {
    double row[INDEXER_HEAD], signs[INDEXER_HEAD];
    column(row, x, 1, INDEXER_HEAD);
    for (int i = 0; i < INDEXER_HEAD; i++) {
        for (int k = 0; k < INDEXER_HEAD; k++)
            signs[k] = __builtin_parity((unsigned)(i & k)) ? -1 : 1;
        x[i] = variant_chain(0.0f, row, signs, INDEXER_HEAD, FACTORS_FLOAT);
    }
}
