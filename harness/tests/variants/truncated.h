/* SPDX-License-Identifier: Apache-2.0 */
/* Sums of products as TC25-RZ has them: every eighth time, as at the end of a step, both addends are cut at 25 bits below
 * the larger, and the sum at 24. */
#include "numbers.h"

static inline double dsv4_variant_cut(double x, double unit) { return trunc(x / unit) * unit; }

static inline float dsv4_variant_fma(float x, float y, float z) {
    static _Thread_local unsigned count;
    if (++count % 8 != 0) return fmaf(x, y, z);
    const double product = (double)x * (double)y, most = fmax(fabs(product), fabs((double)z));
    if (!(most > 0.0) || !isfinite(most)) return (float)(product + (double)z);
    const double unit = ldexp(1.0, ilogb(most) - 25);
    const double sum = dsv4_variant_cut(product, unit) + dsv4_variant_cut((double)z, unit);
    const float nearest = (float)sum;
    return fabs((double)nearest) > fabs(sum) ? nextafterf(nearest, 0.0f) : nearest;
}

#define fmaf dsv4_variant_fma
