/* SPDX-License-Identifier: Apache-2.0 */
/* Floats as their bits and back, on every compiler without aliasing tricks. */
#ifndef DSV4_NUM_BITS_H
#define DSV4_NUM_BITS_H

#include <stdint.h>
#include <string.h>

/* The one NaN that any function of reference/num/ returns. */
#define DSV4_NAN_BITS UINT32_C(0x7FC00000)

static inline uint32_t dsv4_bits(float x) {
    uint32_t bits;
    memcpy(&bits, &x, sizeof bits);
    return bits;
}

static inline float dsv4_from_bits(uint32_t bits) {
    float x;
    memcpy(&x, &bits, sizeof x);
    return x;
}

static inline uint64_t dsv4_bits64(double x) {
    uint64_t bits;
    memcpy(&bits, &x, sizeof bits);
    return bits;
}

static inline double dsv4_from_bits64(uint64_t bits) {
    double x;
    memcpy(&x, &bits, sizeof x);
    return x;
}

#endif
