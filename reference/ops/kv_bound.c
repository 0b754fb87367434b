/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Bounds of one row on its way into a cache.
 *   norm    squares are terms of a sum in binary32; mean, eps and rsqrt as norm_bound.c has them; x * r * weight in either
 *           order, two roundings. |x * r| is at most sqrt(n), whatever became of a sum of values that cancelled
 *   RoPE    two products and a sum, each rounded, which contains the fused forms; no class does so on matrix units
 *   bf16    where the recipe rounds, the value is what the ends of the ball round to: for nearly all values one number
 *   scale   from the amax of those numbers, by bits (admit.h); the codes under the scale that the kernel chose
 *   full_fp8  the product with fl(1 / scale) is one exact rounding: nobody divides
 * The eighth scale byte, and what is copied or not touched, is compared as bits.
 */
#include "kv_bound.h"

#include <math.h>

#include "norm_bound.h"

void kv_balls_of(struct dsv4_ball *balls, const float *values, int64_t n) {
    for (int64_t i = 0; i < n; i++) balls[i] = dsv4_ball_of((double)values[i]);
}

void kv_norm_balls(const dsv4_arithmetic *a, struct dsv4_ball *x, int64_t n, float eps,
                   const float *weight) {
    const double most = sqrt((double)n) * (1 + 0x1p-10);
    struct dsv4_terms terms = {0};
    for (int64_t i = 0; i < n; i++)
        dsv4_terms_add(&terms, x[i].v * x[i].v, (2 * fabs(x[i].v) + x[i].r) * x[i].r);
    const struct dsv4_ball r = norm_factor_of(a, &terms, n, eps);
    for (int64_t i = 0; i < n; i++) {
        x[i] = dsv4_ball_mul(x[i], r);
        if (!(x[i].r < most)) x[i] = dsv4_ball_clamp(x[i], -most, most);
        if (weight != NULL)
            x[i] = dsv4_ball_rounded(dsv4_ball_mul(x[i], dsv4_ball_of((double)weight[i])));
    }
}

struct dsv4_ball kv_rotated_ball(struct dsv4_ball e, double c, struct dsv4_ball o, double s) {
    const struct dsv4_ball ec = dsv4_ball_mul(e, dsv4_ball_of(c));
    const struct dsv4_ball os = dsv4_ball_mul(o, dsv4_ball_of(s));
    return dsv4_ball_add(ec, os);
}

void kv_rope_balls(struct dsv4_ball *x, const float *angle, bool back) {
    const double turn = back ? -1 : 1;
    for (int i = 0; i < KV_ROPE / 2; i++) {
        const struct dsv4_ball e = x[2 * i], o = x[2 * i + 1];
        const double c = (double)angle[i], s = turn * (double)angle[KV_ROPE / 2 + i];
        x[2 * i] = kv_rotated_ball(e, c, dsv4_ball_negated(o), s);
        x[2 * i + 1] = kv_rotated_ball(o, c, e, s);
    }
}

/* ---- stores ---- */

/* What lies together in a cache: codes and their scale, or values as they are. */
struct part {
    struct dsv4_row row;
    bool scaled;
    struct dsv4_scale scale;
};

enum { MOST_PARTS = KV_GROUPS + 1 };

static struct part group_of(const struct kv_store *store, size_t output, int64_t codes,
                            int64_t scale, enum dsv4_form form, int64_t n) {
    const bool on_scale = store->floor_on_scale;
    const enum dsv4_form fp8 = (enum dsv4_form)(DSV4_AS_OCP + (int)store->fp8);
    const struct dsv4_scale rule = {.slot = output,
                                    .offset = scale,
                                    .form = form,
                                    .floor = on_scale ? 0 : (double)1e-4f,
                                    .least = on_scale ? (double)1e-4f : 0,
                                    .most = (double)dsv4_fp8_max(store->fp8)};
    return (struct part){
        {output, codes, 1, fp8, n, 1},
        true, rule
    };
}

static struct part fours_of(size_t output, int64_t codes, int64_t scale) {
    const struct dsv4_scale rule = {
        .slot = output, .offset = scale, .form = DSV4_AS_E8M0, .floor = 6 * 0x1p-126, .most = 6};
    return (struct part){
        {output, codes, 1, DSV4_AS_E2M1, INDEXER_MXFP4_GROUP, 1},
        true, rule
    };
}

static struct part plain_of(size_t output, int64_t at, enum dsv4_form form, int64_t n) {
    return (struct part){
        .row = {output, at, form == DSV4_AS_BF16 ? 2 : 1, form, n, 1}
    };
}

/* The parts of the row at `slot`, in the order of its channels. */
static int parts_of(struct part *parts, const struct kv_store *store, size_t output, int64_t slot) {
    const enum dsv4_form fp8 = (enum dsv4_form)(DSV4_AS_OCP + (int)store->fp8);
    const dsv4_tensor *const cache = store->cache;
    const int64_t j = slot % store->block_size, page = slot / store->block_size * cache->stride[0];
    const int64_t row = cache->ndim == 3 ? page + j * cache->stride[1] : 0;
    const int64_t data = page + kv_data_offset(store->interleaved, j);
    const int64_t scales = page + kv_scale_offset(store->interleaved, store->block_size, j);
    const int64_t fours = page + j * INDEXER_MXFP4_DATA_BYTES;
    const int64_t powers =
        page + store->block_size * INDEXER_MXFP4_DATA_BYTES + j * INDEXER_MXFP4_GROUPS;
    switch (store->form) {
    case KV_DS_MLA:
        for (int g = 0; g < KV_GROUPS; g++)
            parts[g] =
                group_of(store, output, data + g * KV_GROUP, scales + g, DSV4_AS_E8M0, KV_GROUP);
        parts[KV_GROUPS] = plain_of(output, data + KV_NOPE, DSV4_AS_BF16, KV_ROPE);
        return KV_GROUPS + 1;
    case KV_INDEXER_FP8:
        parts[0] =
            group_of(store, output, page + j * INDEXER_HEAD,
                     page + store->block_size * INDEXER_HEAD + 4 * j, DSV4_AS_POWER, INDEXER_HEAD);
        return 1;
    case KV_INDEXER_MXFP4:
        for (int g = 0; g < INDEXER_MXFP4_GROUPS; g++)
            parts[g] = fours_of(output, fours + g * INDEXER_MXFP4_GROUP / 2, powers + g);
        return INDEXER_MXFP4_GROUPS;
    case KV_FULL_BF16: parts[0] = plain_of(output, row, DSV4_AS_BF16, KV_HEAD); return 1;
    case KV_FULL_FP8: parts[0] = plain_of(output, row, fp8, KV_HEAD); return 1;
    }
    return 0;
}

/* What is stored of the value of channel i, before a scale. */
static struct dsv4_ball stored_ball(const struct kv_store *store, struct dsv4_ball x, int64_t i) {
    const struct dsv4_ball rounded = dsv4_ball_bf16(x);
    switch (store->form) {
    case KV_DS_MLA: return i >= KV_NOPE || store->nope_is_bf16 ? x : rounded;
    case KV_FULL_BF16: return x;
    case KV_FULL_FP8:
        return dsv4_ball_f32(dsv4_ball_times(store->round_before_scale ? rounded : x,
                                             dsv4_ball_of((double)(1.0f / store->scale))));
    default: return rounded;
    }
}

bool kv_store_settled(struct dsv4_admission *a, const struct kv_store *store, size_t output,
                      int64_t slot) {
    struct part parts[MOST_PARTS];
    const int n = parts_of(parts, store, output, slot);
    for (int p = 0; p < n; p++)
        if (parts[p].scaled ? dsv4_admit_scale_needs(a, &parts[p].scale, &parts[p].row)
                            : dsv4_admit_needs(a, &parts[p].row, NULL))
            return false;
    for (int p = 0; p < n; p++)
        if (parts[p].scaled)
            dsv4_admit_scale(a, &parts[p].scale, DSV4_BALL_UNKNOWN, &parts[p].row, NULL);
        else
            dsv4_admit(a, &parts[p].row, NULL, NULL);
    return true;
}

void kv_store_bound(struct dsv4_admission *a, const struct kv_store *store, size_t output,
                    const struct dsv4_ball *values, int64_t slot) {
    struct part parts[MOST_PARTS];
    struct dsv4_ball balls[KV_HEAD];
    const int n = parts_of(parts, store, output, slot);
    const struct dsv4_ball *x = balls;
    for (int64_t i = 0; i < kv_store_head(store->form); i++)
        balls[i] = stored_ball(store, values[i], i);
    for (int p = 0; p < n; x += parts[p++].row.n)
        if (parts[p].scaled)
            dsv4_admit_scale(a, &parts[p].scale, dsv4_ball_amax(x, parts[p].row.n), &parts[p].row,
                             x);
        else
            dsv4_admit(a, &parts[p].row, x, NULL);
}

void kv_finish_bound(struct dsv4_admission *a, const struct kv_finish *finish, size_t output,
                     struct dsv4_ball *values, int64_t t, int64_t position) {
    const int64_t first = position / finish->ratio * finish->ratio;
    float wide[KV_ROPE_TABLE_ROW];
    kv_norm_balls(&a->arithmetic, values, finish->head, finish->eps, finish->weight);
    kv_rope_balls(values + finish->head - KV_ROPE, kv_rope_angle(finish->rope_table, first, wide),
                  false);
    kv_store_bound(a, &finish->store, output, values, kv_i64(finish->kv_slots, t));
}
