/* SPDX-License-Identifier: Apache-2.0 */
/* Dots in binary32 in another order: two sums, of even terms and of odd ones, from the last. */
#include <math.h>

#include "chain.h"

float variant_chain(float c, const double *x, const double *y, int64_t n, enum factors factors) {
    float sum[2] = {0.0f, 0.0f};
    (void)factors;
    for (int64_t i = n - 1; i >= 0; i--) sum[i & 1] = fmaf((float)x[i], (float)y[i], sum[i & 1]);
    return c + (sum[0] + sum[1]);
}
