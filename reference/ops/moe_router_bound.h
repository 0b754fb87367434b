/* SPDX-License-Identifier: Apache-2.0 */
/* Bounds of routing: scores, the choice by margin, and weights. */
#ifndef DSV4_MOE_ROUTER_BOUND_H
#define DSV4_MOE_ROUTER_BOUND_H

#include "../bound/admit.h"
#include "moe_router.h"

/* sqrt(softplus(logit)) by the router's form; no ball where exp overflows. */
struct dsv4_ball moe_score_ball(const dsv4_arithmetic *a, const struct moe_router *router,
                                float logit);

/*
 * Whether a correct kernel may choose `ids` in this order. Values of e have the ball values[e]; where two experts have the
 * same logit and bias their values are the same too, and the smaller one comes first.
 */
bool moe_may_choose(const struct moe_router *router, const int64_t *ids,
                    const struct dsv4_ball *values, const float *logits, const float *bias);

/* Weights of row t, whose slot is `slot`: where they are; and from those of its experts. other: not the canon's experts. */
struct dsv4_row moe_weights_row(size_t slot, const dsv4_call *call, const struct moe_router *router,
                                int64_t t);
void moe_weights_bound(struct dsv4_admission *a, size_t slot, const dsv4_call *call,
                       const struct moe_router *router, int64_t t, const struct dsv4_ball *weights,
                       bool other);

#endif
