/* SPDX-License-Identifier: Apache-2.0 */
/* Bounds of the indexer's quantised queries. */
#ifndef DSV4_IDX_QUERY_BOUND_H
#define DSV4_IDX_QUERY_BOUND_H

#include "../bound/admit.h"
#include "idx_query.h"

/* A row as it is before it is quantised: rotated, perhaps transformed, in bf16. */
void idx_query_balls(const struct idx_query *query, const dsv4_arithmetic *a, struct dsv4_ball *x,
                     int64_t t, int64_t head);

/* mxfp4: four groups, codes of row (t, head) in slot `codes` and their bytes in slot `scales`. */
void idx_query_bound_fours(struct dsv4_admission *a, const struct idx_query *query,
                           const dsv4_call *call, size_t codes, size_t scales, int64_t t,
                           int64_t head);

#endif
