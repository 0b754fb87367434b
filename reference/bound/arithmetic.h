/* SPDX-License-Identifier: Apache-2.0 */
/* Declared arithmetic as text: "F32-ANY", "TC25-RZ exp=2 rsqrt=1". */
#ifndef DSV4_BOUND_ARITHMETIC_H
#define DSV4_BOUND_ARITHMETIC_H

#include "../op.h"

extern const char *const dsv4_class_names[]; /* by enum dsv4_accumulation; the canon is "BITS" */

/* The canon: every output as bits, functions correctly rounded. */
dsv4_arithmetic dsv4_arithmetic_canon(void);

/* A class, perhaps followed by errors of functions in ulp. Functions that are not named are 2 ulp in every class but the
 * canon, which is what the fast ones of CUDA and HIP keep. -1: no such class or function, or not 0.5 to 64 ulp. */
int dsv4_arithmetic_parse(dsv4_arithmetic *a, const char *text, struct dsv4_err *err);
void dsv4_arithmetic_text(char *text, size_t size, const dsv4_arithmetic *a);

/* What a plug-in filled in; its numbers may be anything. */
int dsv4_arithmetic_check(const dsv4_arithmetic *a, struct dsv4_err *err);

#endif
