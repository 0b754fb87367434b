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

/* A row being stored. */
struct stored {
    struct dsv4_admission *a;
    const struct kv_store *store;
    size_t output;
    int64_t page, j; /* offset of the page, token in it */
    struct dsv4_ball x[KV_HEAD], rounded[KV_HEAD];
};

/* FP8 codes of one group at `codes`, its scale at `scale`. */
static void store_group(const struct stored *s, int64_t codes, int64_t scale, enum dsv4_form form,
                        const struct dsv4_ball *x, int64_t n) {
    const bool on_scale = s->store->floor_on_scale;
    const enum dsv4_form fp8 = (enum dsv4_form)(DSV4_AS_OCP + (int)s->store->fp8);
    const struct dsv4_row row = {s->output, codes, 1, fp8, n, 1};
    const struct dsv4_scale rule = {.slot = s->output,
                                    .offset = scale,
                                    .form = form,
                                    .floor = on_scale ? 0 : (double)1e-4f,
                                    .least = on_scale ? (double)1e-4f : 0,
                                    .most = (double)dsv4_fp8_max(s->store->fp8)};
    dsv4_admit_scale(s->a, &rule, dsv4_ball_amax(x, n), &row, x);
}

static void store_fours(const struct stored *s, int64_t codes, int64_t scale,
                        const struct dsv4_ball *x) {
    const struct dsv4_row row = {s->output, codes, 1, DSV4_AS_E2M1, INDEXER_MXFP4_GROUP, 1};
    const struct dsv4_scale rule = {
        .slot = s->output, .offset = scale, .form = DSV4_AS_E8M0, .floor = 6 * 0x1p-126, .most = 6};
    dsv4_admit_scale(s->a, &rule, dsv4_ball_amax(x, INDEXER_MXFP4_GROUP), &row, x);
}

static void store_ds_mla(const struct stored *s) {
    const bool interleaved = s->store->interleaved;
    const int64_t data = s->page + kv_data_offset(interleaved, s->j);
    const int64_t scales = s->page + kv_scale_offset(interleaved, s->store->block_size, s->j);
    const struct dsv4_ball *const x = s->store->nope_is_bf16 ? s->x : s->rounded;
    const struct dsv4_row rope = {s->output, data + KV_NOPE, 2, DSV4_AS_BF16, KV_ROPE, 1};
    for (int64_t g = 0; g < KV_GROUPS; g++)
        store_group(s, data + g * KV_GROUP, scales + g, DSV4_AS_E8M0, x + g * KV_GROUP, KV_GROUP);
    dsv4_admit(s->a, &rope, s->x + KV_NOPE, NULL);
}

static void store_mxfp4(const struct stored *s) {
    const int64_t data = s->page + s->j * INDEXER_MXFP4_DATA_BYTES;
    const int64_t scales =
        s->page + s->store->block_size * INDEXER_MXFP4_DATA_BYTES + s->j * INDEXER_MXFP4_GROUPS;
    for (int64_t g = 0; g < INDEXER_MXFP4_GROUPS; g++)
        store_fours(s, data + g * INDEXER_MXFP4_GROUP / 2, scales + g,
                    s->rounded + g * INDEXER_MXFP4_GROUP);
}

static void store_full_fp8(struct stored *s, int64_t at) {
    const enum dsv4_form fp8 = (enum dsv4_form)(DSV4_AS_OCP + (int)s->store->fp8);
    const struct dsv4_row row = {s->output, at, 1, fp8, KV_HEAD, 1};
    const struct dsv4_ball inverse = dsv4_ball_of((double)(1.0f / s->store->scale));
    for (int i = 0; i < KV_HEAD; i++)
        s->x[i] = dsv4_ball_f32(
            dsv4_ball_times(s->store->round_before_scale ? s->rounded[i] : s->x[i], inverse));
    dsv4_admit(s->a, &row, s->x, NULL);
}

void kv_store_bound(struct dsv4_admission *a, const struct kv_store *store, size_t output,
                    const struct dsv4_ball *values, int64_t slot) {
    const dsv4_tensor *const cache = store->cache;
    const int64_t head = kv_store_head(store->form), j = slot % store->block_size;
    struct stored s = {a, store,    output,  slot / store->block_size * cache->stride[0],
                       j, {{0, 0}}, {{0, 0}}};
    const int64_t row = cache->ndim == 3 ? s.page + j * cache->stride[1] : 0;
    const struct dsv4_row full = {output, row, 2, DSV4_AS_BF16, KV_HEAD, 1};
    for (int64_t i = 0; i < head; i++) {
        s.x[i] = values[i];
        s.rounded[i] = dsv4_ball_bf16(values[i]);
    }
    switch (store->form) {
    case KV_DS_MLA: store_ds_mla(&s); break;
    case KV_INDEXER_FP8:
        store_group(&s, s.page + j * INDEXER_HEAD,
                    s.page + store->block_size * INDEXER_HEAD + 4 * j, DSV4_AS_POWER, s.rounded,
                    INDEXER_HEAD);
        break;
    case KV_INDEXER_MXFP4: store_mxfp4(&s); break;
    case KV_FULL_BF16: dsv4_admit(a, &full, s.x, NULL); break;
    case KV_FULL_FP8: store_full_fp8(&s, row); break;
    }
}

void kv_finish_bound(struct dsv4_admission *a, const struct kv_finish *finish, size_t output,
                     struct dsv4_ball *values, int64_t t, int64_t position) {
    const int64_t first = position / finish->ratio * finish->ratio;
    kv_norm_balls(&a->arithmetic, values, finish->head, finish->eps, finish->weight);
    kv_rope_balls(values + finish->head - KV_ROPE, kv_rope_row(finish->rope_table, first), false);
    kv_store_bound(a, &finish->store, output, values, kv_i64(finish->kv_slots, t));
}
