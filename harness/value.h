/* SPDX-License-Identifier: Apache-2.0 */
/* Values for people: the bits and what they mean. */
#ifndef DSV4_VALUE_H
#define DSV4_VALUE_H

#include "../reference/layout/layout.h"

/* "0x79   e8m0 2^-6", "0x4061   bf16 3.515625". */
void dsv4_value_text(char *text, size_t size, const struct dsv4_site *site,
                     const unsigned char *bytes);

/* The number itself; NaN for what has none (nibble pairs). */
double dsv4_value_of(uint32_t dtype, const unsigned char *bytes);

#endif
