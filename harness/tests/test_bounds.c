/* SPDX-License-Identifier: Apache-2.0 */
/* Balls hold what binary32 gives in any order, and no more than they say; classes are read and refused. */
#include <criterion/criterion.h>
#include <float.h>
#include <stdio.h>

#include "../../reference/bound/admit.h"
#include "../../reference/bound/arithmetic.h"
#include "../../reference/input/input.h"
#include "../../reference/num/exp.h"
#include "../../reference/num/rsqrt.h"

enum { TERMS = 1000, TRIES = 200 };

static dsv4_arithmetic arithmetic(const char *text) {
    dsv4_arithmetic a;
    struct dsv4_err err;
    cr_assert_eq(dsv4_arithmetic_parse(&a, text, &err), 0, "%s", text);
    return a;
}

static float draw(uint64_t seed, uint64_t i) { return dsv4_normal(dsv4_random(seed, 1, i)); }

/* A sum of products in an order of its own, each rounded or fused. */
static float sum_somehow(const float *x, const float *y, uint64_t seed) {
    float parts[16] = {0}, sum = 0.0f;
    const uint64_t n = 1 + seed % 16;
    for (uint64_t i = 0; i < TERMS; i++) {
        const uint64_t at = seed & 1 ? TERMS - 1 - i : i;
        float *const to = &parts[dsv4_random(seed, 2, at) % n];
        *to = seed & 2 ? fmaf(x[at], y[at], *to) : *to + x[at] * y[at];
    }
    for (uint64_t p = 0; p < n; p++) sum += parts[p];
    return sum;
}

Test(bounds, a_sum_in_any_order_is_inside) {
    const dsv4_arithmetic any = arithmetic("F32-ANY");
    double worst = 0;
    for (uint64_t seed = 0; seed < TRIES; seed++) {
        float x[TERMS], y[TERMS];
        struct dsv4_terms terms = {0};
        for (uint64_t i = 0; i < TERMS; i++) {
            x[i] = draw(seed, i);
            y[i] = draw(seed + 1000, i);
            dsv4_terms_add(&terms, (double)x[i] * (double)y[i], 0);
        }
        const struct dsv4_ball ball = dsv4_ball_sum(&any, DSV4_SUM_DOT, &terms);
        const double error = fabs((double)sum_somehow(x, y, seed) - ball.v);
        const double deviation = sqrt(dsv4_sum_variance(&any, DSV4_SUM_DOT, &terms));
        cr_assert_leq(error, ball.r, "seed %d", (int)seed);
        worst = fmax(worst, error / deviation);
    }
    /* The deviation claims to be a bound of the root mean square, and is no idle one. */
    cr_assert_lt(worst, 4.0);
    cr_assert_gt(worst, 0.1);
}

Test(bounds, functions_are_inside_and_no_further) {
    const dsv4_arithmetic canon = dsv4_arithmetic_canon(), fast = arithmetic("F32-ANY");
    for (uint64_t i = 0; i < 20000; i++) {
        const float x = 20.0f * draw(7, i), positive = fabsf(x) + 1e-6f;
        const struct dsv4_ball e = dsv4_ball_exp(&canon, dsv4_ball_of((double)x));
        const struct dsv4_ball r = dsv4_ball_rsqrt(&canon, dsv4_ball_of((double)positive));
        const float up = nextafterf(nextafterf(dsv4_exp(x), INFINITY), INFINITY);
        cr_assert_leq(fabs((double)dsv4_exp(x) - e.v), e.r);
        cr_assert_leq(fabs((double)dsv4_rsqrt(positive) - r.v), r.r);
        cr_assert_gt(fabs((double)up - e.v), e.r); /* 1.5 ulp off at least */
        cr_assert_leq(fabs((double)up - e.v),
                      dsv4_ball_exp(&fast, dsv4_ball_of((double)x)).r + e.v * 0x1p-23);
    }
}

Test(bounds, operations_enclose_their_ends) {
    const struct dsv4_ball a = {3, 0.5}, b = {-2, 0.25};
    for (int i = -1; i <= 1; i++)
        for (int j = -1; j <= 1; j++) {
            const double x = a.v + i * a.r, y = b.v + j * b.r;
            const struct dsv4_ball sum = dsv4_ball_add(a, b), product = dsv4_ball_mul(a, b);
            const struct dsv4_ball most = dsv4_ball_max(a, b), cut = dsv4_ball_clamp(a, 0, 3.1);
            cr_assert_leq(fabs(x + y - sum.v), sum.r);
            cr_assert_leq(fabs(x * y - product.v), product.r);
            cr_assert_leq(fabs(fmax(x, y) - most.v), most.r);
            cr_assert_leq(fabs(fmin(x, 3.1) - cut.v), cut.r);
        }
    const dsv4_arithmetic canon = dsv4_arithmetic_canon();
    cr_assert(isinf(dsv4_ball_div(&canon, a, (struct dsv4_ball){0.1, 0.2}).r));
}

Test(bounds, a_rounding_to_bf16_is_one_value_unless_the_ball_straddles_a_tie) {
    const struct dsv4_ball one = dsv4_ball_bf16((struct dsv4_ball){1.001, 1e-5});
    const struct dsv4_ball two = dsv4_ball_bf16((struct dsv4_ball){1 + 0x1p-8, 1e-5});
    cr_assert_eq(one.v, 1);
    cr_assert_eq(one.r, 0);
    cr_assert_eq(two.v - two.r, 1);
    cr_assert_eq(two.v + two.r, 1 + 0x1p-7);
}

enum { ELEMENTS = 1000 };

/* A row of fp32: what was got, what is expected, and what may be. */
struct row {
    float got[ELEMENTS], want[ELEMENTS];
    struct dsv4_ball balls[ELEMENTS];
    double variances[ELEMENTS];
};

/* Most elements are some units off, inside; of `odd` ones every 97th is a zero, a NaN, far outside, or has no ball. */
static void make_row(struct row *row, uint64_t seed, bool odd) {
    for (uint64_t i = 0; i < ELEMENTS; i++) {
        const uint64_t bits = dsv4_random(seed, 3, i);
        const double x = (double)draw(seed, i);
        const double v = (x != 0 ? x : 1) * exp2((double)(bits % 40) - 20);
        row->balls[i] = (struct dsv4_ball){v, fabs(v) * 8 * DSV4_BALL_U * (double)(1 + bits % 7)};
        row->variances[i] = bits % 5 == 0 ? 0 : v * v * 0x1p-46;
        row->want[i] = (float)v;
        row->got[i] = dsv4_from_bits(dsv4_bits((float)v) + (uint32_t)(bits >> 40) % 7 - 3);
        if (!odd || i % 97 != 0) continue;
        const float strange[] = {0.0f, -0.0f, NAN, row->want[i] * 2, row->got[i], FLT_MAX};
        row->got[i] = strange[i / 97 % 6];
        if (i / 97 % 6 == 4) row->balls[i] = DSV4_BALL_UNKNOWN;
    }
}

/* `factor` times the balls, without which rows of fp32 are not judged together. */
static void judge_row(struct row *row, struct dsv4_admitted *tally, double factor) {
    static const dsv4_arithmetic any = {.accumulation = DSV4_F32_ANY};
    static const unsigned char written[1];
    struct dsv4_case c = {0};
    struct dsv4_vector_tensor golden = {.out = (unsigned char *)written};
    struct dsv4_admission a = {.arithmetic = any,
                               .c = &c,
                               .golden = &golden,
                               .got = (unsigned char *)row->got,
                               .want = (const unsigned char *)row->want};
    const struct dsv4_row all = {0, 0, 4, DSV4_AS_F32, ELEMENTS, factor};
    for (int i = 0; i < ELEMENTS; i++) {
        row->balls[i].v /= factor;
        row->balls[i].r /= factor;
        row->variances[i] /= factor * factor;
    }
    dsv4_admit(&a, &all, row->balls, row->variances);
    *tally = a.at[0];
}

Test(bounds, elements_that_are_judged_together_are_judged_as_if_alone) {
    for (uint64_t seed = 0; seed < TRIES; seed++) {
        struct row together, alone;
        struct dsv4_admitted x, y;
        make_row(&together, seed, seed % 2 != 0);
        alone = together;
        judge_row(&together, &x, 1);
        judge_row(&alone, &y, 2);
        cr_assert_arr_eq(together.got, alone.got, sizeof alone.got, "seed %d", (int)seed);
        cr_assert_eq(x.elements, ELEMENTS);
        cr_assert_eq(y.elements, ELEMENTS);
        cr_assert_gt(x.differ, ELEMENTS / 2);
        cr_assert_eq(x.refused > 0, seed % 2 != 0);
        cr_assert_eq(x.differ, y.differ);
        cr_assert_eq(x.refused, y.refused);
        cr_assert_eq(x.first, y.first);
        cr_assert_eq(x.contradicted, y.contradicted);
        cr_assert_eq(x.slack, y.slack, "seed %d: %g, %g", (int)seed, x.slack, y.slack);
        cr_assert_arr_eq(x.bins, y.bins, sizeof x.bins, "seed %d", (int)seed);
        cr_assert_eq(x.n_squares, y.n_squares);
        cr_assert(x.squares == y.squares, "seed %d: %g, %g", (int)seed, x.squares, y.squares);
    }
}

Test(bounds, every_op_has_one_or_a_reason_for_none) {
    for (size_t i = 0; i < dsv4_n_ops; i++) {
        const struct dsv4_op *const op = dsv4_ops[i];
        cr_assert_neq(op->bound == NULL, op->exact == NULL, "%s", op->name);
        cr_assert(op->latitude == NULL || op->bound != NULL, "%s", op->name);
    }
}

/* A name that no mutant has would never be looked at. */
Test(bounds, latitude_names_mutants) {
    char list[1024], *rest = NULL;
    for (size_t i = 0; i < dsv4_n_ops; i++) {
        const struct dsv4_op *const op = dsv4_ops[i];
        snprintf(list, sizeof list, "%s", op->latitude != NULL ? op->latitude : "");
        for (char *name = strtok_r(list, " ", &rest); name != NULL;
             name = strtok_r(NULL, " ", &rest)) {
            bool found = false;
            name[strcspn(name, "@")] = '\0';
            for (size_t m = 0; m < op->n_mutants; m++)
                found |= strcmp(op->mutants[m].name, name) == 0;
            cr_assert(found, "%s: %s", op->name, name);
        }
    }
}

Test(bounds, classes_are_read_and_refused) {
    static const char *const bad[] = {"",
                                      "F32",
                                      "F32-ANY exp",
                                      "F32-ANY exp=",
                                      "F32-ANY exp=0.1",
                                      "F32-ANY sin=1",
                                      "F32-ANY exp=nan",
                                      "TC25-RZ exp=2x"};
    char text[128];
    dsv4_arithmetic a = arithmetic("TC25-RZ exp=1 rsqrt=3");
    struct dsv4_err err;
    cr_assert_eq(a.accumulation, DSV4_TC25_RZ);
    cr_assert_eq(a.exp_ulp, 1.0f);
    cr_assert_eq(a.log_ulp, 2.0f);
    dsv4_arithmetic_text(text, sizeof text, &a);
    cr_assert_str_eq(text, "TC25-RZ exp=1 log=2 rsqrt=3 divide=2");
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++)
        cr_assert_eq(dsv4_arithmetic_parse(&a, bad[i], &err), -1, "'%s'", bad[i]);
    cr_assert_eq(arithmetic("BITS").accumulation, DSV4_CANON);
}
