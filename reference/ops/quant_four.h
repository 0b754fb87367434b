/* SPDX-License-Identifier: Apache-2.0 */
/* Codes of e2m1, by the two rounding rules in use, and by wrong ones. */
#ifndef DSV4_QUANT_FOUR_H
#define DSV4_QUANT_FOUR_H

#include "quant_family.h"

/* Ties go down, and what becomes zero is +0. */
uint8_t quant_e2m1_strict(float x);

/* n (even) columns of x, at most QUANT_SPAN; the even one in the low nibble. */
void quant_fours(uint8_t *codes, const float *x, int64_t n, bool strict, enum quant_wrong wrong);

#endif
