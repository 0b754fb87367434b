/* SPDX-License-Identifier: Apache-2.0 */
/* An op's bounds applied to what a kernel left behind. */
#ifndef DSV4_BOUNDS_H
#define DSV4_BOUNDS_H

#include "../reference/bound/arithmetic.h"
#include "arena.h"
#include "report.h"

struct dsv4_bounds {
    const struct dsv4_vector *v;
    const dsv4_arithmetic *arithmetic;
    const struct dsv4_arena *before; /* as the kernel found it */
    struct dsv4_arena *got;          /* elements within their bounds become the expected ones */
    const struct dsv4_arena *want;
};

/* Whether other bits than the golden ones can be right: the arithmetic is not the canon's, the op has bounds, and the
 * case is not one whose sums are exact in every order (tag `exact`). */
bool dsv4_bounds_apply(const struct dsv4_vector *v, const dsv4_arithmetic *arithmetic);

/* What the errors of whole tensors say. */
enum dsv4_whole {
    DSV4_WHOLE_UNKNOWN /* no element has a variance */,
    DSV4_WHOLE_RIGHT,
    DSV4_WHOLE_WORSE
};

/* Adds to the outputs of `result`, which says so where a tensor as a whole alone is worse than its class. */
enum dsv4_whole dsv4_bounds_judge(const struct dsv4_bounds *bounds, struct dsv4_result *result);

/* The same without words. `of_mistake`: `want` is a wrong reference's answer, and what it is asked is whether `got` may be
 * the same mistake's. */
bool dsv4_bounds_admit(const struct dsv4_bounds *bounds, bool of_mistake);

#endif
