/* SPDX-License-Identifier: Apache-2.0 */
/* Sixteen rows into columns, so that sixteen chains of sums run side by side. */
#ifndef DSV4_NUM_TURN_H
#define DSV4_NUM_TURN_H

#include <stdint.h>

enum { DSV4_TURN_ROWS = 16, DSV4_TURN_MOST = 128 };

/* By turns from a and from b. */
static inline void dsv4_interleave(float *restrict to, const float *restrict a,
                                   const float *restrict b, int64_t n) {
#pragma omp simd
    for (int64_t i = 0; i < n; i++) {
        to[2 * i] = a[i];
        to[2 * i + 1] = b[i];
    }
}

/* to[16 * k + t] = rows[t * stride + k], k < n <= DSV4_TURN_MOST. Each round puts a row and the one half of all rows behind
 * it together: after four rounds all rows are one. */
static inline void dsv4_turn(float *to, const float *rows, int64_t stride, int64_t n) {
    float eight[DSV4_TURN_ROWS * DSV4_TURN_MOST], four[DSV4_TURN_ROWS * DSV4_TURN_MOST];
    float *const two = eight;
    for (int64_t t = 0; t < 8; t++)
        dsv4_interleave(eight + t * 2 * n, rows + t * stride, rows + (t + 8) * stride, n);
    for (int64_t t = 0; t < 4; t++)
        dsv4_interleave(four + t * 4 * n, eight + t * 2 * n, eight + (t + 4) * 2 * n, 2 * n);
    for (int64_t t = 0; t < 2; t++)
        dsv4_interleave(two + t * 8 * n, four + t * 4 * n, four + (t + 2) * 4 * n, 4 * n);
    dsv4_interleave(to, two, two + 8 * n, 8 * n);
}

/* The same with columns that lie `width` apart: to[width * k + t]. */
static inline void dsv4_turn_into(float *to, int64_t width, const float *rows, int64_t stride,
                                  int64_t n) {
    float columns[DSV4_TURN_ROWS * DSV4_TURN_MOST];
    dsv4_turn(columns, rows, stride, n);
    for (int64_t k = 0; k < n; k++)
#pragma omp simd
        for (int t = 0; t < DSV4_TURN_ROWS; t++)
            to[k * width + t] = columns[k * DSV4_TURN_ROWS + t];
}

#endif
