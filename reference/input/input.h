/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Inputs. Everything comes from a counter-based generator: element i of a stream is a pure function
 * of (key, stream, i), so that any element can be produced alone, in parallel and on any machine.
 */
#ifndef DSV4_INPUT_H
#define DSV4_INPUT_H

#include "../op.h"

/* 64 random bits. */
static inline uint64_t dsv4_random(uint64_t key, uint64_t stream, uint64_t i) {
    uint64_t x = key ^ (stream + 1) * UINT64_C(0x9E3779B97F4A7C15);
    x ^= x >> 32;
    x *= UINT64_C(0xD6E8FEB86659FD93);
    x ^= x >> 32;
    x += (i + 1) * UINT64_C(0xA0761D6478BD642F);
    x ^= x >> 30;
    x *= UINT64_C(0xBF58476D1CE4E5B9);
    x ^= x >> 27;
    x *= UINT64_C(0x94D049BB133111EB);
    return x ^ x >> 31;
}

/* Roughly normal, mean 0, variance 1, |x| < 7, a multiple of 2^-15: exact in fp32 and free of libm.
 */
static inline float dsv4_normal(uint64_t bits) {
    const int64_t a = (int64_t)(bits & 0xFFFF), b = (int64_t)(bits >> 16 & 0xFFFF);
    const int64_t c = (int64_t)(bits >> 32 & 0xFFFF), d = (int64_t)(bits >> 48);
    return (float)((a + b + c + d - 131070) * 7 / 8) /
           32768.0f; /* sum of four uniforms, sd 1.0104 */
}

/* Uniform in [0, n). */
static inline int64_t dsv4_below(uint64_t bits, int64_t n) {
    return (int64_t)((bits >> 32) * (uint64_t)n >> 32);
}

#endif
