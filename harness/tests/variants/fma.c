/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Dots in binary32 in another order: two sums, of even terms and of odd ones, from the last.
 * Wrong twins: LOST_PARTIAL splits them in 16 and loses the last one's sum; LOST_TAIL forgets what does not fill a tile.
 */
#include <math.h>

#include "chain.h"

float variant_chain(float c, const double *x, const double *y, int64_t n, enum factors factors) {
    float sum[2] = {0.0f, 0.0f};
    (void)factors;
#ifdef LOST_TAIL
    n -= n % LOST_TAIL;
#endif
    for (int64_t i = n - 1; i >= 0; i--) {
#ifdef LOST_PARTIAL
        if (i % 16 == 15) continue;
#endif
        sum[i & 1] = fmaf((float)x[i], (float)y[i], sum[i & 1]);
    }
    return c + (sum[0] + sum[1]);
}
