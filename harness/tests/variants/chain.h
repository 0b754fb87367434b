/* SPDX-License-Identifier: Apache-2.0 */
/* The dots of variants whose loops take the place of the reference's: tiles.c and online.c ask, fma.c or units.c adds. */
#ifndef DSV4_VARIANT_CHAIN_H
#define DSV4_VARIANT_CHAIN_H

#include <stdint.h>

enum factors {
    FACTORS_FP8, /* and narrower */
    FACTORS_FLOAT,
    N_FACTORS
};

/* c + the sum of x[i] * y[i], i < n. */
float variant_chain(float c, const double *x, const double *y, int64_t n, enum factors factors);

#endif
