/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The order of sums over a row of n > 8 elements: partial l takes x[l], x[l + 64], ... ascending, then a halving tree,
 * strides 32, 16, ..., 1. Missing elements are neutral. Warps, waves of 64 and SIMD registers can all follow it.
 */
#ifndef DSV4_NUM_ROW_H
#define DSV4_NUM_ROW_H

#include <math.h>
#include <stdint.h>

#include "bf16.h"

enum { DSV4_ROW_PARTIALS = 64 };

/* The tree over the partials; they are overwritten. */
static inline float dsv4_row_tree(float partials[DSV4_ROW_PARTIALS]) {
#pragma omp simd
    for (int l = 0; l < 32; l++) partials[l] += partials[l + 32];
#pragma omp simd
    for (int l = 0; l < 16; l++) partials[l] += partials[l + 16];
    for (int stride = 8; stride > 0; stride /= 2)
        for (int l = 0; l < stride; l++) partials[l] += partials[l + stride];
    return partials[0];
}

/* Sum of squares: each is added by one fma. */
static inline float dsv4_row_squares(const float *x, int64_t n) {
    float partials[DSV4_ROW_PARTIALS] = {0};
    const int64_t whole = n - n % DSV4_ROW_PARTIALS;
    for (int64_t at = 0; at < whole; at += DSV4_ROW_PARTIALS)
#pragma omp simd
        for (int l = 0; l < DSV4_ROW_PARTIALS; l++)
            partials[l] = fmaf(x[at + l], x[at + l], partials[l]);
    for (int64_t l = 0; l < n - whole; l++)
        partials[l] = fmaf(x[whole + l], x[whole + l], partials[l]);
    return dsv4_row_tree(partials);
}

/* The same of a bf16 row, without a row of floats between. */
static inline float dsv4_row_squares_bf16(const uint16_t *x, int64_t n) {
    float partials[DSV4_ROW_PARTIALS] = {0};
    const int64_t whole = n - n % DSV4_ROW_PARTIALS;
    for (int64_t at = 0; at < whole; at += DSV4_ROW_PARTIALS)
#pragma omp simd
        for (int l = 0; l < DSV4_ROW_PARTIALS; l++) {
            const float value = dsv4_bf16_to_f32(x[at + l]);
            partials[l] = fmaf(value, value, partials[l]);
        }
    for (int64_t l = 0; l < n - whole; l++) {
        const float value = dsv4_bf16_to_f32(x[whole + l]);
        partials[l] = fmaf(value, value, partials[l]);
    }
    return dsv4_row_tree(partials);
}

/* Sum of the elements. */
static inline float dsv4_row_sum(const float *x, int64_t n) {
    float partials[DSV4_ROW_PARTIALS] = {0};
    const int64_t whole = n - n % DSV4_ROW_PARTIALS;
    for (int64_t at = 0; at < whole; at += DSV4_ROW_PARTIALS)
#pragma omp simd
        for (int l = 0; l < DSV4_ROW_PARTIALS; l++) partials[l] += x[at + l];
    for (int64_t l = 0; l < n - whole; l++) partials[l] += x[whole + l];
    return dsv4_row_tree(partials);
}

#endif
