/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The arithmetic of one token. Every chain of the canon belongs to one (head, key) or one (head, channel): SIMD lanes
 * are heads for the dots and channels for the sums, so that speed changes no bit.
 */
#include <math.h>
#include <stdlib.h>

#include "../memory.h"
#include "../num/exp.h"
#include "../num/log.h"
#include "attn_family.h"

void attn_token_start(struct attn_token *token, int64_t heads, enum attn_wrong wrong) {
    const size_t n = (size_t)heads;
    memset(token, 0, sizeof *token);
    token->heads = heads;
    token->wrong = wrong;
    token->q = dsv4_alloc(n * KV_HEAD * sizeof *token->q);
    token->acc = dsv4_alloc(n * KV_HEAD * sizeof *token->acc);
    token->m = dsv4_alloc(n * sizeof *token->m);
    token->l = dsv4_alloc(n * sizeof *token->l);
    token->sum = dsv4_alloc(n * sizeof *token->sum);
}

void attn_token_free(struct attn_token *token) {
    dsv4_free(token->q);
    dsv4_free(token->k);
    dsv4_free(token->s);
    dsv4_free(token->p);
    dsv4_free(token->valid);
    dsv4_free(token->m);
    dsv4_free(token->l);
    dsv4_free(token->sum);
    dsv4_free(token->acc);
    dsv4_free(token->blocks);
}

void attn_token_clear(struct attn_token *token) {
    token->n = 0;
    token->n_blocks = 0;
}

/* Heads that are computed together from `first` on. */
static int64_t group_width(const struct attn_token *token, int64_t first) {
    const int64_t left = token->heads - first;
    return left >= ATTN_TILE ? ATTN_TILE : left >= 16 ? 16 : left;
}

void attn_token_query(struct attn_token *token, const dsv4_tensor *q, int64_t t, float scale) {
    const bool dense = token->wrong == ATTN_Q_DENSE;
    const int64_t head_stride = dense ? 2 * KV_HEAD : q->stride[1];
    const int64_t start = dense ? t * head_stride * q->shape[1]
                                : attn_token_offset(q, t, token->wrong == ATTN_TOKEN_WRAPS);
    int64_t width;
    for (int64_t first = 0; first < token->heads; first += width) {
        width = group_width(token, first);
        for (int64_t i = 0; i < width * (KV_HEAD / ATTN_TILE); i++) {
            /* Head by head, but 64 channels at a time: what is written stays in the cache. */
            const int64_t h = i % width, channel = i / width * ATTN_TILE;
            const uint16_t *const codes =
                (const void *)((const char *)q->data + start + (first + h) * head_stride);
            float *const to = token->q + first * KV_HEAD + h;
            for (int64_t d = channel; d < channel + ATTN_TILE; d++)
                to[d * width] = dsv4_bf16_to_f32(codes[d]);
            for (int64_t d = channel; token->wrong == ATTN_SCALE_IN_Q && d < channel + ATTN_TILE;
                 d++)
                to[d * width] = dsv4_bf16_to_f32(dsv4_bf16_from_f32(to[d * width] * scale));
        }
    }
}

/* s[key][head] += q . k over 128 channels, for LANES heads and KEYS keys in registers. */
#define DOT_TILE(name, LANES, KEYS)                                                                \
    static void name(float *restrict s, int64_t stride, const float *restrict q,                   \
                     const float *restrict k) {                                                    \
        float sum[KEYS][LANES] = {{0}};                                                            \
        for (int d = 0; d < ATTN_BLOCK; d++)                                                       \
            for (int i = 0; i < KEYS; i++) {                                                       \
                const float x = k[i * ATTN_STRIDE + d];                                            \
                _Pragma("omp simd") for (int h = 0; h < LANES; h++) sum[i][h] =                    \
                    fmaf(q[d * LANES + h], x, sum[i][h]);                                          \
            }                                                                                      \
        for (int i = 0; i < KEYS; i++)                                                             \
            for (int h = 0; h < LANES; h++) s[i * stride + h] += sum[i][h];                        \
    }
DOT_TILE(dot_64, 64, 6)
DOT_TILE(dot_16, 16, 16)

/* The same for one key and fewer heads. */
static void dot_few(float *s, const float *q, const float *k, int64_t heads) {
    float sum[16] = {0};
    for (int64_t d = 0; d < ATTN_BLOCK; d++)
        for (int64_t h = 0; h < heads; h++) sum[h] = fmaf(q[d * heads + h], k[d], sum[h]);
    for (int64_t h = 0; h < heads; h++) s[h] += sum[h];
}

static void dot_group(struct attn_token *token, int64_t first, int64_t width) {
    const int64_t stride = token->heads;
    for (int64_t block = 0; block < KV_HEAD / ATTN_BLOCK; block++) {
        const float *const q = token->q + first * KV_HEAD + block * ATTN_BLOCK * width;
        const float *k = token->k + block * ATTN_BLOCK;
        float *s = token->s + first;
        const int64_t tile = width == ATTN_TILE ? 6 : width == 16 ? 16 : 1;
        for (int64_t i = 0; i < token->n; i += tile, s += tile * stride, k += tile * ATTN_STRIDE) {
            if (width == ATTN_TILE)
                dot_64(s, stride, q, k);
            else if (width == 16)
                dot_16(s, stride, q, k);
            else
                dot_few(s, q, k, width);
        }
    }
}

/* One chain over all 512 channels: what the canon is not. */
static void dot_one_chain(struct attn_token *token) {
    int64_t width;
    for (int64_t first = 0; first < token->heads; first += width) {
        width = group_width(token, first);
        for (int64_t i = 0; i < token->n; i++)
            for (int64_t h = 0; h < width; h++) {
                float sum = 0.0f;
                for (int64_t d = 0; d < KV_HEAD; d++)
                    sum = fmaf(token->q[first * KV_HEAD + d * width + h],
                               token->k[i * ATTN_STRIDE + d], sum);
                token->s[i * token->heads + first + h] = sum;
            }
    }
}

static void find_scores(struct attn_token *token, float scale) {
    const int64_t heads = token->heads;
    int64_t width;
    if (token->n == 0) return;
    memset(token->s, 0, (size_t)((token->n + 16) * heads) * sizeof *token->s);
    for (int64_t first = 0; first < heads; first += width) {
        width = group_width(token, first);
        dot_group(token, first, width);
    }
    if (token->wrong == ATTN_DOT_ONE_CHAIN) dot_one_chain(token);
    if (token->wrong == ATTN_SCALE_IN_Q) return;
    for (int64_t i = 0; i < token->n * heads; i++) token->s[i] *= scale;
}

static void find_max(struct attn_token *token) {
    const int64_t heads = token->heads;
    const bool zero = token->wrong == ATTN_MAX_FROM_ZERO;
    for (int64_t h = 0; h < heads; h++) token->m[h] = -INFINITY;
    for (int64_t i = 0; i < token->n; i++) {
        const float *const s = token->s + i * heads;
        if (!token->valid[i]) continue;
        for (int64_t h = 0; zero && h < heads; h++)
            token->m[h] = token->m[h] > 0.0f ? token->m[h] : 0.0f;
        for (int64_t h = 0; h < heads; h++) token->m[h] = s[h] > token->m[h] ? s[h] : token->m[h];
    }
    for (int64_t h = 0; h < heads; h++) token->m[h] += 0.0f; /* -0 becomes +0: no order decides */
}

/* s becomes p; dropped entries have none. */
static void find_weights(struct attn_token *token) {
    const float log2e = 1.44269504f;
    const int64_t heads = token->heads;
#define EACH_WEIGHT(expression)                                                                    \
    for (int64_t i = 0; i < token->n; i++) {                                                       \
        float *const s = token->s + i * heads;                                                     \
        if (!token->valid[i]) memset(s, 0, (size_t)heads * sizeof *s);                             \
        if (!token->valid[i]) continue;                                                            \
        for (int64_t h = 0; h < heads; h++) s[h] = expression;                                     \
    }
    if (token->wrong == ATTN_EXP_BASE_2)
        EACH_WEIGHT(dsv4_exp2(s[h] * log2e - token->m[h] * log2e))
    else
        EACH_WEIGHT(dsv4_exp(s[h] - token->m[h]))
#undef EACH_WEIGHT
}

static void round_weights(struct attn_token *token) {
    for (int64_t i = 0; i < token->n * token->heads; i++)
        token->s[i] = dsv4_bf16_to_f32(dsv4_bf16_from_f32(token->s[i]));
}

/* Weights in the order in which value_4 and value_1 read them. */
static void pack_weights(struct attn_token *token, struct attn_span block) {
    const int64_t heads = token->heads, whole = heads - heads % 4;
    float *const to = token->p + block.first * heads;
    for (int64_t i = 0; i < block.n; i++) {
        const float *const from = token->s + (block.first + i) * heads;
        for (int64_t h = 0; h < whole; h += 4)
            memcpy(to + h * block.n + i * 4, from + h, 4 * sizeof *to);
        for (int64_t h = whole; h < heads; h++) to[h * block.n + i] = from[h];
    }
}

static void sum_weights(struct attn_token *token) {
    const int64_t heads = token->heads;
    float *const sum = token->sum;
    memset(token->l, 0, (size_t)heads * sizeof *token->l);
    memset(sum, 0, (size_t)heads * sizeof *sum);
    for (int64_t b = 0; b < token->n_blocks; b++) {
        const struct attn_span block = token->blocks[b];
        if (token->wrong != ATTN_SUM_ONE_CHAIN) memset(sum, 0, (size_t)heads * sizeof *sum);
        for (int64_t i = block.first; i < block.first + block.n; i++)
            for (int64_t h = 0; h < heads; h++) sum[h] += token->s[i * heads + h];
        for (int64_t h = 0; h < heads; h++)
            token->l[h] = token->wrong == ATTN_SUM_ONE_CHAIN ? sum[h] : token->l[h] + sum[h];
    }
}

/* acc[head][channel] += p . v over n keys, for HEADS heads and 64 channels in registers. */
#define VALUE_TILE(name, HEADS)                                                                    \
    static void name(float *restrict acc, const float *restrict p, const float *restrict v,        \
                     int64_t n) {                                                                  \
        float sum[HEADS][ATTN_TILE] = {{0}};                                                       \
        for (int64_t i = 0; i < n; i++)                                                            \
            for (int h = 0; h < HEADS; h++) {                                                      \
                const float x = p[i * HEADS + h];                                                  \
                _Pragma("omp simd") for (int c = 0; c < ATTN_TILE; c++) sum[h][c] =                \
                    fmaf(x, v[i * ATTN_STRIDE + c], sum[h][c]);                                    \
            }                                                                                      \
        for (int h = 0; h < HEADS; h++)                                                            \
            for (int c = 0; c < ATTN_TILE; c++) acc[h * KV_HEAD + c] += sum[h][c];                 \
    }
VALUE_TILE(value_4, 4)
VALUE_TILE(value_1, 1)

static void sum_values(struct attn_token *token) {
    const int64_t heads = token->heads, whole = heads - heads % 4;
    struct attn_span all = {0, token->n};
    const bool chain = token->wrong == ATTN_PV_ONE_CHAIN;
    memset(token->acc, 0, (size_t)heads * KV_HEAD * sizeof *token->acc);
    for (int64_t b = 0; b < (chain ? 1 : token->n_blocks); b++) {
        const struct attn_span block = chain ? all : token->blocks[b];
        pack_weights(token, block);
        for (int64_t c = 0; c < KV_HEAD; c += ATTN_TILE) {
            const float *const v = token->k + block.first * ATTN_STRIDE + c;
            const float *const p = token->p + block.first * heads;
            for (int64_t h = 0; h < whole; h += 4)
                value_4(token->acc + h * KV_HEAD + c, p + h * block.n, v, block.n);
            for (int64_t h = whole; h < heads; h++)
                value_1(token->acc + h * KV_HEAD + c, p + h * block.n, v, block.n);
        }
    }
}

void attn_token_attend(struct attn_token *token, float scale, const float *sink) {
    find_scores(token, scale);
    find_max(token);
    if (token->wrong == ATTN_SINK_AS_KEY && sink != NULL)
        for (int64_t h = 0; h < token->heads; h++)
            if (token->m[h] > -INFINITY && sink[h] > token->m[h] && sink[h] < INFINITY)
                token->m[h] = sink[h];
    find_weights(token);
    if (token->wrong == ATTN_L_FROM_ROUNDED) round_weights(token);
    sum_weights(token);
    if (token->wrong != ATTN_P_UNROUNDED) round_weights(token);
    sum_values(token);
}

/* ---- outputs ---- */

void attn_finish(uint16_t *o, const float *acc, float m, float l, float sink,
                 enum attn_wrong wrong) {
    const float most = sink > m ? sink : m, log2e = 1.44269504f;
    const bool empty = m == -INFINITY, swallowed = sink == INFINITY;
    if ((empty && wrong != ATTN_EMPTY_NAN) || (swallowed && wrong != ATTN_SINK_INF_NAN)) {
        memset(o, 0, KV_HEAD * sizeof *o);
        return;
    }
    const float a = dsv4_exp(m - most);
    const float rest = wrong == ATTN_SINK_BASE_2 ? dsv4_exp2((sink - most) * log2e * log2e)
                                                 : dsv4_exp(sink - most);
    const float scaled = l * a, den = scaled + rest;
#pragma omp simd
    for (int c = 0; c < KV_HEAD; c++) o[c] = dsv4_bf16_from_f32((acc[c] * a) / den);
}

static float lse_of(const struct attn_token *token, int64_t h, float sink, bool log2_sink) {
    const bool with_sink = log2_sink != (token->wrong == ATTN_LSE_WITH_SINK);
    const bool base_2 = log2_sink != (token->wrong == ATTN_LSE_BASE_2);
    const bool other = token->wrong == ATTN_EMPTY_LSE;
    const float m = token->m[h], most = with_sink && sink > m ? sink : m;
    if (m == -INFINITY && !log2_sink) return other ? -INFINITY : INFINITY;
    if (most == -INFINITY) return other ? INFINITY : -INFINITY;
    if (most == INFINITY && log2_sink) return INFINITY;
    float sum = token->l[h];
    if (with_sink) sum = sum * dsv4_exp(m - most) + dsv4_exp(sink - most);
    const float lse = most + dsv4_log(sum);
    return base_2 ? lse * 1.44269504f : lse;
}

static void put(const struct attn_token *token, const dsv4_tensor *tensor, int64_t t, int64_t h,
                float value) {
    if (attn_absent(tensor)) return;
    const int64_t offset = attn_token_offset(tensor, t, token->wrong == ATTN_LSE_WRAPS);
    memcpy((char *)tensor->data + offset + h * tensor->stride[1], &value, sizeof value);
}

void attn_token_store(const struct attn_token *token, const struct attn_outputs *outputs,
                      const float *sink, int64_t t) {
    const dsv4_tensor *const o = outputs->o;
    const int64_t all = token->wrong == ATTN_PADDED_HEADS_WRITTEN ? o->shape[1] : token->heads;
    const int64_t turn = token->wrong == ATTN_SINK_ROTATED ? 1 : 0;
    char *const out = (char *)o->data + attn_token_offset(o, t, token->wrong == ATTN_OUT_WRAPS);
    for (int64_t h = 0; h < all; h++) {
        uint16_t *const row = (void *)(out + h * o->stride[1]);
        if (h >= token->heads) {
            memset(row, 0, KV_HEAD * sizeof *row);
            continue;
        }
        const bool used = sink != NULL && token->wrong != ATTN_SINK_IGNORED;
        float bias = used ? sink[(h + turn) % token->heads] : -INFINITY;
        if (used && bias == -INFINITY && token->wrong == ATTN_SINK_MINUS_INF) bias = INFINITY;
        const float m = token->m[h];
        if (m == -INFINITY && token->wrong == ATTN_EMPTY_UNWRITTEN) continue;
        attn_finish(row, token->acc + h * KV_HEAD, m, token->l[h], bias, token->wrong);
        put(token, outputs->lse, t, h, lse_of(token, h, bias, outputs->log2_sink));
        put(token, outputs->max_logits, t, h,
            token->wrong == ATTN_MAX_LOGIT_FROM_ZERO && !(m > 0.0f) ? 0.0f : m);
    }
}
