/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Butterflies (a, b) -> (a + b, a - b) over elements i and i + stride, strides 1, 2, 4, ... n / 2, in this order: the
 * Walsh-Hadamard transform without its factor.
 */
#ifndef DSV4_NUM_HADAMARD_H
#define DSV4_NUM_HADAMARD_H

#include <stdint.h>

enum { DSV4_HADAMARD_BLOCK = 32 }; /* two wide vectors */

/* Neighbours in pairs. Sums go to the first half and differences to the second, so that those which the next stride pairs
 * are neighbours again; after five strides every element of a block is back in its place. */
static inline void dsv4_butterflies_of_neighbours(float *restrict to, const float *restrict from) {
#pragma omp simd
    for (int i = 0; i < DSV4_HADAMARD_BLOCK / 2; i++) {
        const float a = from[2 * i], b = from[2 * i + 1];
        to[i] = a + b;
        to[DSV4_HADAMARD_BLOCK / 2 + i] = a - b;
    }
}

/* Strides `stride` and 2 * stride of 4 * stride elements. */
static inline void dsv4_butterflies_of_two(float *x, int64_t stride) {
    float *const y = x + stride, *const z = y + stride, *const w = z + stride;
#pragma omp simd
    for (int64_t j = 0; j < stride; j++) {
        const float a = x[j] + y[j], b = x[j] - y[j], c = z[j] + w[j], d = z[j] - w[j];
        x[j] = a + c;
        y[j] = b + d;
        z[j] = a - c;
        w[j] = b - d;
    }
}

/* n is a power of two from 32 on. */
static inline void dsv4_butterflies(float *x, int64_t n) {
    int64_t stride = DSV4_HADAMARD_BLOCK;
    for (int64_t first = 0; first < n; first += DSV4_HADAMARD_BLOCK) {
        float a[DSV4_HADAMARD_BLOCK], b[DSV4_HADAMARD_BLOCK];
        dsv4_butterflies_of_neighbours(a, x + first);
        dsv4_butterflies_of_neighbours(b, a);
        dsv4_butterflies_of_neighbours(a, b);
        dsv4_butterflies_of_neighbours(b, a);
        dsv4_butterflies_of_neighbours(x + first, b);
    }
    for (; stride < n / 2; stride *= 4)
        for (int64_t i = 0; i < n; i += 4 * stride) dsv4_butterflies_of_two(x + i, stride);
#pragma omp simd
    for (int64_t i = 0; i < (stride < n ? stride : 0); i++) {
        const float a = x[i], b = x[i + stride];
        x[i] = a + b;
        x[i + stride] = a - b;
    }
}

/* The greatest stride first: what mutants do. */
static inline void dsv4_butterflies_descending(float *x, int64_t n) {
    for (int64_t stride = n / 2; stride > 0; stride /= 2)
        for (int64_t i = 0; i < n; i++)
            if ((i & stride) == 0) {
                const float a = x[i], b = x[i + stride];
                x[i] = a + b;
                x[i + stride] = a - b;
            }
}

#endif
