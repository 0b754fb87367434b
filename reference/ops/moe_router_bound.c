/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Bounds of routing.
 *   score    each step of the router's softplus with its error, and the root's. log1p has a relative error, log(1 + e) that of
 *            the sum too. Above 20 a logit is its own softplus, exactly, where the form says so
 *   choice   by margin: an expert may stand before another if its greatest value is not below the other's least
 *   weights  those of the experts that the kernel chose, over their sum in any order, times the factor: a division and a
 *            product in any order. Where exp is subnormal, and by its declared error may be flushed, the sum may be 0 or not:
 *            a weight is then only known to be a share of the factor
 */
#include "moe_router_bound.h"

#include <math.h>

/* As the form has them, rounded to binary32. */
static const double log2_of_e = 0x1.715476p+0, ln_of_2 = 0x1.62e43p-1;

static struct dsv4_ball softplus(const dsv4_arithmetic *a, enum moe_softplus form, double x) {
    const double ulp = (double)a->log_ulp;
    const struct dsv4_ball one = dsv4_ball_of(1);
    if (form == MOE_MAX_FORM) {
        const struct dsv4_ball e = dsv4_ball_exp(a, dsv4_ball_of(-fabs(x)));
        return dsv4_ball_add(dsv4_ball_of(fmax(x, 0)), dsv4_ball_log(a, dsv4_ball_add(one, e)));
    }
    if (form != MOE_NO_THRESHOLD && x > 20) return dsv4_ball_of(x);
    if (form == MOE_BASE_TWO) {
        const struct dsv4_ball scaled = dsv4_ball_mul(dsv4_ball_of(x), dsv4_ball_of(log2_of_e));
        const struct dsv4_ball e = dsv4_ball_exp2(a, scaled);
        const struct dsv4_ball y = dsv4_ball_log2(a, dsv4_ball_add(one, e));
        return dsv4_ball_mul(y, dsv4_ball_of(ln_of_2));
    }
    const struct dsv4_ball e = dsv4_ball_exp(a, dsv4_ball_of(x));
    if (x > 88.7229)
        return dsv4_ball_of((double)INFINITY); /* exp overflows to all; a little below to some */
    if (x > 88.7227) return (struct dsv4_ball){NAN, 0};
    if (form == MOE_LOG_ONE_PLUS) return dsv4_ball_log(a, dsv4_ball_add(one, e));
    return dsv4_ball_between(log1p(e.v), log1p(fmax(e.v - e.r, 0)), log1p(e.v + e.r), ulp);
}

struct dsv4_ball moe_score_ball(const dsv4_arithmetic *a, const struct moe_router *router,
                                float logit) {
    if (isnan(logit) || logit < -104.5f) return dsv4_ball_of(0); /* exp is 0 to all */
    const struct dsv4_ball y = softplus(a, router->softplus, (double)logit);
    return isinf(y.v) ? y : dsv4_ball_sqrt(a, y);
}

static bool may_precede(int64_t first, int64_t second, const struct dsv4_ball *values,
                        const float *logits, const float *bias) {
    const double most = values[first].v + values[first].r;
    const double least = values[second].v - values[second].r;
    if (logits[first] == logits[second] && bias[first] == bias[second]) return first < second;
    if (most == least && values[first].r + values[second].r == 0) return first < second;
    return most >= least;
}

bool moe_may_choose(const struct moe_router *router, const int64_t *ids,
                    const struct dsv4_ball *values, const float *logits, const float *bias) {
    bool chosen[MOE_MAX_EXPERTS] = {false};
    for (int64_t k = 0; k < router->topk; k++) {
        if (ids[k] < 0 || ids[k] >= router->experts || chosen[ids[k]]) return false;
        chosen[ids[k]] = true;
        for (int64_t e = 0; e < router->experts; e++) {
            if (isnan(values[e].v) || isnan(values[e].r)) return false;
            if (!chosen[e] && !may_precede(ids[k], e, values, logits, bias)) return false;
        }
    }
    return true;
}

static struct dsv4_ball sum_of(const dsv4_arithmetic *a, const struct moe_router *router,
                               const struct dsv4_ball *weights) {
    struct dsv4_terms terms = {0};
    if (router->denominator == MOE_START) dsv4_terms_add(&terms, (double)1e-20f, 0);
    for (int64_t k = 0; k < router->topk; k++) dsv4_terms_add(&terms, weights[k].v, weights[k].r);
    const struct dsv4_ball sum = dsv4_ball_sum(a, DSV4_SUM_ROW, &terms);
    if (router->denominator == MOE_ONE_IF_ZERO && terms.magnitude == 0) return dsv4_ball_of(1);
    if (router->denominator == MOE_FLOOR) return dsv4_ball_max(sum, dsv4_ball_of((double)1e-20f));
    return sum;
}

struct dsv4_row moe_weights_row(size_t slot, const dsv4_call *call, const struct moe_router *router,
                                int64_t t) {
    return (struct dsv4_row){slot, t * call->tensors[slot].stride[0], 4, DSV4_AS_F32, router->topk,
                             1};
}

void moe_weights_bound(struct dsv4_admission *a, size_t slot, const dsv4_call *call,
                       const struct moe_router *router, int64_t t, const struct dsv4_ball *weights,
                       bool other) {
    const struct dsv4_row row = moe_weights_row(slot, call, router, t);
    const struct dsv4_ball sum = sum_of(&a->arithmetic, router, weights);
    const struct dsv4_ball factor = dsv4_ball_of((double)router->factor);
    struct dsv4_ball y[MOE_MAX_TOPK];
    for (int64_t k = 0; k < router->topk; k++) {
        y[k] = dsv4_ball_mul(dsv4_ball_div(&a->arithmetic, weights[k], sum), factor);
        if (sum.v > 0 && !isfinite(y[k].r)) y[k] = (struct dsv4_ball){factor.v / 2, factor.v};
        if (!isfinite(y[k].v) || !isfinite(y[k].r)) y[k].v = NAN; /* the canon's bits */
    }
    if (other)
        dsv4_admit_other(a, &row, y);
    else
        dsv4_admit(a, &row, y, NULL);
}
