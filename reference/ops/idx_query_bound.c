/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Bounds of the indexer's queries: RoPE as kv_bound.c has it, which contains both forms; rounded to bf16; perhaps the
 * transform of bound/hadamard.h, rounded to bf16 again. What is quantised is then one number for nearly all channels.
 */
#include "idx_query_bound.h"

#include "../bound/hadamard.h"
#include "kv_bound.h"

static void round_all(struct dsv4_ball *x) {
    for (int i = 0; i < INDEXER_HEAD; i++) x[i] = dsv4_ball_bf16(x[i]);
}

void idx_query_balls(const struct idx_query *query, const dsv4_arithmetic *a, struct dsv4_ball *x,
                     int64_t t, int64_t head) {
    const dsv4_tensor *const q = query->q;
    float values[INDEXER_HEAD], wide[KV_ROPE_TABLE_ROW];
    kv_load_bf16(values, (const char *)q->data + t * q->stride[0] + head * q->stride[1],
                 INDEXER_HEAD);
    kv_balls_of(x, values, INDEXER_HEAD);
    kv_rope_balls(x + (query->v32 ? 0 : INDEXER_HEAD - KV_ROPE),
                  kv_rope_angle(query->table, kv_i64(query->positions, t), wide), false);
    round_all(x);
    if (!query->hadamard) return;
    dsv4_balls_hadamard(a, x, INDEXER_HEAD);
    round_all(x);
}

void idx_query_bound_fours(struct dsv4_admission *a, const struct idx_query *query,
                           const dsv4_call *call, size_t codes, size_t scales, int64_t t,
                           int64_t head) {
    struct dsv4_ball x[INDEXER_HEAD];
    bool found = false;
    const int64_t *const to = call->tensors[codes].stride, *const by = call->tensors[scales].stride;
    const bool shuffled = dsv4_is(call, "scale_layout", "shuffled");
    for (int64_t g = 0; g < INDEXER_MXFP4_GROUPS; g++) {
        const struct dsv4_ball *const group = x + g * INDEXER_MXFP4_GROUP;
        const int64_t byte_at =
            shuffled ? indexer_query_scale_offset(call->tensors[codes].shape[1], head, (int)g)
                     : head * by[1] + g;
        const struct dsv4_row row = {codes,
                                     t * to[0] + head * to[1] + g * INDEXER_MXFP4_GROUP / 2,
                                     1,
                                     DSV4_AS_E2M1,
                                     INDEXER_MXFP4_GROUP,
                                     1};
        const struct dsv4_scale scale = {.slot = scales,
                                         .offset = t * by[0] + byte_at,
                                         .form = DSV4_AS_E8M0,
                                         .floor = 6 * 0x1p-126,
                                         .most = 6};
        if (dsv4_admit_scale_settled(a, &scale, &row)) continue;
        if (!found) idx_query_balls(query, &a->arithmetic, x, t, head);
        found = true;
        dsv4_admit_scale(a, &scale, dsv4_ball_amax(group, INDEXER_MXFP4_GROUP), &row, group);
    }
}
