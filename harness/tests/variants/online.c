/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Attention as flash kernels compute it: the keys in three splits, a split in tiles of 16 keys from its end, each with the
 * maximum so far, by which sums are rescaled when it grows; weights exp2(fma(q . k, c, -m * c)) with c = scale * log2 e and
 * without a rounding to bf16; the splits joined in the end. Maxima leave as natural ones, the first stage's contract.
 * WITHOUT_RESCALING makes the wrong twin that a judge must refuse.
 */
#include <math.h>

#include "../../../reference/num/exp.h"
#include "../../../reference/ops/attn_family.h"

enum { KEYS = 16, SPLITS = 3 };

/* Of one head and some keys: the greatest q . k, the sums relative to it. */
struct state {
    float most, l, acc[KV_HEAD];
};

static float query(const struct attn_token *token, int64_t h, int64_t d) {
    int64_t first = 0, width = 0;
    for (; first <= h; first += width) {
        const int64_t left = token->heads - first;
        width = left >= ATTN_TILE ? ATTN_TILE : left >= 16 ? 16 : left;
    }
    first -= width;
    return token->q[first * KV_HEAD + d * width + h - first];
}

/* Two sums, of even channels and of odd ones, from the last. */
static float dot(const float *q, const float *k) {
    float sum[2] = {0.0f, 0.0f};
    for (int d = KV_HEAD - 1; d >= 0; d--) sum[d & 1] += q[d] * k[d];
    return sum[0] + sum[1];
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

static void add_tile(struct state *state, const struct attn_token *token, const float *q,
                     int64_t first, int64_t end, float c) {
    float s[KEYS], most = state->most;
    for (int64_t i = first; i < end; i++) {
        s[i - first] = token->valid[i] ? dot(q, token->k + i * ATTN_STRIDE) : -INFINITY;
        most = s[i - first] > most ? s[i - first] : most;
    }
    if (most == -INFINITY) return;
    if (most > state->most) rescale(state, most, c);
    const float offset = most * c;
    for (int64_t i = first; i < end; i++) {
        if (!token->valid[i]) continue;
        const float p = dsv4_exp2(fmaf(s[i - first], c, -offset));
        const float *const v = token->k + i * ATTN_STRIDE;
        state->l += p;
        for (int d = 0; d < KV_HEAD; d++) state->acc[d] = fmaf(p, v[d], state->acc[d]);
    }
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
        float q[KV_HEAD];
        for (int64_t d = 0; d < KV_HEAD; d++) q[d] = query(token, h, d);
        for (int64_t part = 0; part < SPLITS; part++) {
            const int64_t begin = token->n * part / SPLITS, end = token->n * (part + 1) / SPLITS;
            struct state split = {.most = -INFINITY};
            for (int64_t last = end; last > begin; last -= KEYS)
                add_tile(&split, token, q, last - KEYS > begin ? last - KEYS : begin, last, c);
            add_split(&all, &split, c);
        }
        token->m[h] = all.most == -INFINITY ? -INFINITY : all.most * scale;
        token->l[h] = all.l;
        for (int64_t d = 0; d < KV_HEAD; d++) token->acc[h * KV_HEAD + d] = all.acc[d];
    }
}
