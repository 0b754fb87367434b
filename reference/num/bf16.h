/* SPDX-License-Identifier: Apache-2.0 */
/* bfloat16: the upper half of a binary32. */
#ifndef DSV4_NUM_BF16_H
#define DSV4_NUM_BF16_H

#include "bits.h"

/* Round to nearest, ties to even; overflow gives infinity; any NaN gives 0x7FC0. */
static inline uint16_t dsv4_bf16_from_f32(float x) {
    uint32_t b = dsv4_bits(x);
    uint32_t rounded = (b + 0x7FFFu + ((b >> 16) & 1u)) >> 16;
    return (uint16_t)((b & 0x7FFFFFFFu) > 0x7F800000u ? 0x7FC0u : rounded);
}

/* Exact. A NaN comes back as the canonical one, whatever its payload. */
static inline float dsv4_bf16_to_f32(uint16_t code) {
    uint32_t nan = (code & 0x7FFFu) > 0x7F80u;
    return dsv4_from_bits(nan ? DSV4_NAN_BITS : (uint32_t)code << 16);
}

#endif
