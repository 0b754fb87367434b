/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The Walsh-Hadamard transform of n balls, n a power of two, times fl(n^-0.5). By butterflies in any order every output is
 * log2(n) additions from every input, each off by at most u of the magnitudes' sum; on matrix units it is a sum of n terms
 * in the declared class.
 */
#ifndef DSV4_BOUND_HADAMARD_H
#define DSV4_BOUND_HADAMARD_H

#include "ball.h"

static inline void dsv4_balls_hadamard(const dsv4_arithmetic *a, struct dsv4_ball *x, int64_t n) {
    const uint32_t class = dsv4_sum_class(a, DSV4_SUM_DOT);
    const struct dsv4_ball factor = dsv4_ball_of((double)(float)(1 / sqrt((double)n)));
    struct dsv4_terms terms = {0};
    double levels = 0;
    for (int64_t i = 0; i < n; i++) dsv4_terms_add(&terms, x[i].v, x[i].r);
    for (int64_t stride = n / 2; stride > 0; stride /= 2, levels++)
        for (int64_t i = 0; i < n; i++)
            if ((i & stride) == 0) {
                const double first = x[i].v, second = x[i + stride].v;
                x[i].v = first + second;
                x[i + stride].v = first - second;
            }
    /* Of zeros the order leaves the sign open. */
    double r = terms.r + levels * DSV4_BALL_U * terms.magnitude * DSV4_BALL_SLACK + DSV4_BALL_LEAST;
    if (class == DSV4_TC25_RZ || class == DSV4_CDNA3_FLOOR24)
        r = dsv4_ball_sum(a, DSV4_SUM_DOT, &terms).r;
    for (int64_t i = 0; i < n; i++) x[i] = dsv4_ball_mul((struct dsv4_ball){x[i].v, r}, factor);
}

#endif
