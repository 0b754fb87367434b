/* SPDX-License-Identifier: Apache-2.0 */
/* Sums of products as TC25-RZ has them, a product at a time: both addends cut at 25 bits below the larger, the sum at 24. */
#include "numbers.h"

static inline double dsv4_variant_cut(double x, double unit) { return trunc(x / unit) * unit; }

static inline float dsv4_variant_fma(float x, float y, float z) {
    const double product = (double)x * (double)y, most = fmax(fabs(product), fabs((double)z));
    if (!(most > 0.0) || !isfinite(most)) return (float)(product + (double)z);
    const double unit = ldexp(1.0, ilogb(most) - 25);
    const double sum = dsv4_variant_cut(product, unit) + dsv4_variant_cut((double)z, unit);
    const float nearest = (float)sum;
    return fabs((double)nearest) > fabs(sum) ? nextafterf(nearest, 0.0f) : nearest;
}

#define fmaf dsv4_variant_fma
