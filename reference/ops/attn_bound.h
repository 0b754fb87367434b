/* SPDX-License-Identifier: Apache-2.0 */
/* Bounds of the ops that attend listed rows. */
#ifndef DSV4_ATTN_BOUND_H
#define DSV4_ATTN_BOUND_H

#include "../bound/admit.h"
#include "attn_family.h"

/* Other orders of sums, other places of the maximum and of what is rounded to bf16. */
#define ATTN_LATITUDE                                                                              \
    "exp-base-2 p-unrounded l-from-rounded dot-one-chain sum-one-chain pv-one-chain"

/* The slots of the outputs; an output that is absent in the call is passed over. */
struct attn_bound {
    const dsv4_call *call;
    struct dsv4_admission *a;
    size_t q, o, lse, max_logits;
    float scale;
    const float *sink; /* or NULL */
    bool log2_sink;    /* lse is of base 2 and has the sink in it */
};

/*
 * What the first stage may give for split i of token t, whose rows have been appended: the maximum in slot `m`, in those
 * after it the denominator, the logarithm and the numerator, relative to the kernel's own maximum; or, without a maximum,
 * the quotient. Settled: without its rows, for no ball is needed.
 */
bool attn_part_settled(const struct attn_bound *bound, int64_t heads, int64_t t, int64_t i,
                       size_t m);
void attn_part_bound(const struct attn_bound *bound, const struct attn_token *token, int64_t t,
                     int64_t i, size_t m);

/* What attn_token_attend() and attn_token_store() may give for token t, whose rows have been appended. Settled: as above. */
bool attn_token_settled(const struct attn_bound *bound, int64_t heads, int64_t t);
void attn_token_bound(const struct attn_bound *bound, const struct attn_token *token, int64_t t);

#endif
