/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Attention as flash kernels compute it: the keys in three splits, a split in tiles of 16 keys from its end, each with the
 * maximum so far, by which sums are rescaled when it grows; weights exp2(fma(q . k, c, -m * c)) with c = scale * log2 e,
 * rounded to bf16 for matrix units alone; the splits joined in the end. Maxima leave as natural ones, the first stage's
 * contract.
 * WITHOUT_RESCALING makes the wrong twin that a judge must refuse.
 */
#include <math.h>

#include "../../../reference/num/exp.h"
#include "../../../reference/ops/attn_family.h"
#include "chain.h"

enum { KEYS = 16, SPLITS = 3 };

/* Of one head and some keys: the greatest q . k, the sums relative to it. */
struct state {
    float most, l, acc[KV_HEAD];
};

static double query(const struct attn_token *token, int64_t h, int64_t d) {
    int64_t first = 0, width = 0;
    for (; first <= h; first += width) {
        const int64_t left = token->heads - first;
        width = left >= ATTN_TILE ? ATTN_TILE : left >= 16 ? 16 : left;
    }
    first -= width;
    return (double)token->q[first * KV_HEAD + d * width + h - first];
}

static float dot(const double *q, const float *k) {
    double row[KV_HEAD];
    for (int d = 0; d < KV_HEAD; d++) row[d] = (double)k[d];
    return variant_chain(0.0f, q, row, KV_HEAD, FACTORS_FLOAT);
}

/* What sums are multiplied by when the maximum grows from `from` to `to`. */
static float factor_of(float from, float to, float c) {
#ifdef WITHOUT_RESCALING
    (void)to, (void)c;
    return from == -INFINITY ? 0.0f : 1.0f;
#else
    return from == -INFINITY ? 0.0f : dsv4_exp2((from - to) * c);
#endif
}

static void rescale(struct state *state, float most, float c) {
    const float factor = factor_of(state->most, most, c);
    state->l *= factor;
    for (int d = 0; d < KV_HEAD; d++) state->acc[d] *= factor;
    state->most = most;
}

static float weight(float s, float c, float offset) {
    const float p = dsv4_exp2(fmaf(s, c, -offset));
#ifdef UNIT
    return dsv4_bf16_to_f32(dsv4_bf16_from_f32(p));
#else
    return p;
#endif
}

/* acc += p . v over n keys, p being 0 where there is none. */
static void add_values(float *acc, const double *p, const float *v, int64_t n) {
    for (int64_t d = 0; d < KV_HEAD; d++) {
        double column[KEYS];
        for (int64_t i = 0; i < n; i++) column[i] = p[i] == 0 ? 0 : (double)v[i * ATTN_STRIDE + d];
        acc[d] = variant_chain(acc[d], p, column, n, FACTORS_FLOAT);
    }
}

static void add_tile(struct state *state, const struct attn_token *token, const double *q,
                     int64_t first, int64_t n, float c) {
    float s[KEYS], most = state->most;
    double p[KEYS] = {0};
    for (int64_t i = 0; i < n; i++) {
        const float *const k = token->k + (first + i) * ATTN_STRIDE;
        s[i] = token->valid[first + i] ? dot(q, k) : -INFINITY;
        most = s[i] > most ? s[i] : most;
    }
    if (most == -INFINITY) return;
    if (most > state->most) rescale(state, most, c);
    for (int64_t i = 0; i < n; i++) {
        if (!token->valid[first + i]) continue;
        state->l += dsv4_exp2(fmaf(s[i], c, -(most * c)));
        p[i] = (double)weight(s[i], c, most * c);
    }
    add_values(state->acc, p, token->k + first * ATTN_STRIDE, n);
}

static void add_split(struct state *state, const struct state *split, float c) {
    if (split->most == -INFINITY) return;
    if (split->most > state->most) rescale(state, split->most, c);
    const float factor = factor_of(split->most, state->most, c);
    state->l = fmaf(split->l, factor, state->l);
    for (int d = 0; d < KV_HEAD; d++) state->acc[d] = fmaf(split->acc[d], factor, state->acc[d]);
}

void attn_token_attend(struct attn_token *token, float scale, const float *sink) {
    const float c = scale * 1.44269504f;
    (void)sink; /* attn_token_store() adds it */
    for (int64_t h = 0; h < token->heads; h++) {
        struct state all = {.most = -INFINITY};
        double q[KV_HEAD];
        for (int64_t d = 0; d < KV_HEAD; d++) q[d] = query(token, h, d);
        for (int64_t part = 0; part < SPLITS; part++) {
            const int64_t begin = token->n * part / SPLITS, end = token->n * (part + 1) / SPLITS;
            struct state split = {.most = -INFINITY};
            for (int64_t last = end; last > begin; last -= KEYS) {
                const int64_t first = last - KEYS > begin ? last - KEYS : begin;
                add_tile(&split, token, q, first, last - first, c);
            }
            add_split(&all, &split, c);
        }
        token->m[h] = all.most == -INFINITY ? -INFINITY : all.most * scale;
        token->l[h] = all.l;
        for (int64_t d = 0; d < KV_HEAD; d++) token->acc[h * KV_HEAD + d] = all.acc[d];
    }
}
