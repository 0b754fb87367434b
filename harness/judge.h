/* SPDX-License-Identifier: Apache-2.0 */
/* One case against one implementation: run it, compare everything, put the outcome into words. */
#ifndef DSV4_JUDGE_H
#define DSV4_JUDGE_H

#include "report.h"
#include "runner.h"
#include "vector.h"

struct dsv4_judge {
    uint64_t poison;
    int64_t repeat;               /* runs of each case */
    struct dsv4_runner *suspects; /* a runner without a plug-in: explains failures; NULL: do not */
    double hint_seconds;          /* how long a failure may search for what explains it */
    const char *dump;             /* directory for wrong outputs; NULL: none */
};

/* Fills verdict, seconds, message and notes of `result`. The vector must be placed with skew. */
void dsv4_judge_case(struct dsv4_result *result, struct dsv4_runner *r, const struct dsv4_vector *v,
                     const struct dsv4_suite_case *s, const struct dsv4_judge *judge);

#endif
