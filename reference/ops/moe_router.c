/* SPDX-License-Identifier: Apache-2.0 */
/* Scores, weights and rows of padding of the routing ops. */
#include "moe_router.h"

#include <math.h>

#include "../num/exp.h"
#include "../num/log.h"

enum { STREAM_LOGITS = 1, STREAM_ODD = 2 };

int moe_router_shape(struct dsv4_case *c, size_t logits, size_t padding, struct dsv4_err *err) {
    const int64_t tokens = dsv4_case_int(c, "tokens"), experts = dsv4_case_int(c, "experts");
    const int64_t topk = dsv4_case_int(c, "topk"), slots = topk + dsv4_case_int(c, "shared");
    if (topk > experts)
        return dsv4_fail(err, "topk: %lld of %lld experts", (long long)topk, (long long)experts);
    if (slots > MOE_MAX_TOPK)
        return dsv4_fail(err, "shared: %lld slots in all, more than %d", (long long)slots,
                         MOE_MAX_TOPK);
    DSV4_SHAPE(c, logits, DSV4_F32, tokens, experts);
    DSV4_SHAPE(c, padding + MOE_PADDING, DSV4_U8, tokens);
    if (dsv4_case_is(c, "padding", "absent")) dsv4_absent(c, padding + MOE_PADDING);
    DSV4_SHAPE(c, padding + MOE_WEIGHTS, DSV4_F32, tokens, slots);
    const bool wide_ids = dsv4_case_is(c, "ids", "i64");
    DSV4_SHAPE(c, padding + MOE_IDS, wide_ids ? DSV4_I64 : DSV4_I32, tokens, slots);
    DSV4_SHAPE(c, padding + MOE_SOURCE, DSV4_I32, tokens, slots);
    if (dsv4_case_int(c, "source") == 0) dsv4_absent(c, padding + MOE_SOURCE);
    c->tensors[logits].align = c->tensors[padding + MOE_WEIGHTS].align = 4;
    c->tensors[padding + MOE_IDS].align = wide_ids ? 8 : 4;
    c->tensors[padding + MOE_SOURCE].align = 4;
    if (!dsv4_case_is(c, "view", "wide")) return 0;
    dsv4_widen(c, logits, 0, 12);
    dsv4_widen(c, padding + MOE_WEIGHTS, 0, 8);
    dsv4_widen(c, padding + MOE_IDS, 0, 16);
    return 0;
}

/* A logit by the case's recipe. */
static float logit(const struct dsv4_case *c, char recipe, int64_t t, int64_t e) {
    static const uint32_t odd[] = {0x7FC00000, 0xFFC12345, 0x7F800000, 0xFF800000};
    const uint64_t bits = dsv4_random(c->seed, STREAM_LOGITS, (uint64_t)t << 10 | (uint64_t)e);
    switch (recipe) {
    case 'c': return (float)(dsv4_below(bits, 16) - 8) * 0.5f;
    case 'e': return 0.75f;
    case 's': return (float)(dsv4_below(bits, 961) - 480) * 0.25f;
    case 't': return -90.0f - (float)dsv4_below(bits, 112) * 0.125f;
    case 'z': return -110.0f - (float)dsv4_below(bits, 8);
    case 'l': return dsv4_from_bits(0x3F800000u + (uint32_t)dsv4_below(bits, 6));
    case 'o':
        return bits >> 62 == 0 ? dsv4_from_bits(odd[bits & 3])
                               : (float)(dsv4_below(bits, 64) - 32) * 0.25f;
    default: return dsv4_normal(bits) * 2.0f;
    }
}

bool moe_router_padded(const struct dsv4_case *c, int64_t t) {
    const char word = dsv4_case_word(c, "padding")[1];
    return word == 'l' || (word == 'o' && dsv4_case_is(c, "padding", "some") && t % 3 != 1);
}

void moe_router_fill(struct dsv4_case *c, size_t logits, size_t padding) {
    const dsv4_tensor *const to = &c->tensors[logits].t;
    const dsv4_tensor *const pad = &c->tensors[padding + MOE_PADDING].t;
    const char *const word = dsv4_case_word(c, "values");
    /* Two words begin like others. */
    const char recipe = strcmp(word, "near") == 0 ? 'l' : strcmp(word, "none") == 0 ? 'z' : word[0];
#pragma omp parallel for schedule(static)
    for (int64_t t = 0; t < to->shape[0]; t++) {
        float *const row = (void *)((char *)to->data + t * to->stride[0]);
        for (int64_t e = 0; e < to->shape[1]; e++) row[e] = logit(c, recipe, t, e);
        if (pad->ndim > 0) ((uint8_t *)pad->data)[t] = moe_router_padded(c, t);
    }
}

/* ---- reading a call ---- */

enum moe_route_wrong moe_router_wrong_of(const struct dsv4_op *op, int mutant) {
    return mutant > 0 ? (enum moe_route_wrong)op->mutants[mutant - 1].id : MOE_RIGHT;
}

void moe_router_open(struct moe_router *router, const dsv4_call *call, size_t logits,
                     enum moe_route_wrong wrong) {
    router->softplus = dsv4_is(call, "softplus", "log_one_plus")   ? MOE_LOG_ONE_PLUS
                       : dsv4_is(call, "softplus", "max_form")     ? MOE_MAX_FORM
                       : dsv4_is(call, "softplus", "no_threshold") ? MOE_NO_THRESHOLD
                       : dsv4_is(call, "softplus", "base_two")     ? MOE_BASE_TWO
                                                                   : MOE_LOG1P;
    router->order = dsv4_is(call, "order", "factor_first")     ? MOE_FACTOR_FIRST
                    : dsv4_is(call, "order", "multiply_first") ? MOE_MULTIPLY_FIRST
                                                               : MOE_DIVIDE_FIRST;
    router->denominator = dsv4_is(call, "denominator", "one_if_zero") ? MOE_ONE_IF_ZERO
                          : dsv4_is(call, "denominator", "floor")     ? MOE_FLOOR
                          : dsv4_is(call, "denominator", "start")     ? MOE_START
                                                                      : MOE_PLAIN;
    router->factor = dsv4_float(call, "factor", 1.5f);
    router->experts = call->tensors[logits].shape[1];
    router->shared = dsv4_int(call, "shared", 0);
    router->topk = call->tensors[call->n_tensors - 2].shape[1] - router->shared;
    router->wrong = wrong;
    if (wrong == MOE_THRESHOLD_LOST) router->softplus = MOE_NO_THRESHOLD;
    if (wrong == MOE_LOG_NAIVE) router->softplus = MOE_LOG_ONE_PLUS;
    if (wrong == MOE_ORDER_MIXED) router->order = (enum moe_order)((router->order + 1) % 3);
    if (wrong == MOE_SUM_GUARDED)
        router->denominator = router->denominator == MOE_START ? MOE_PLAIN : MOE_START;
}

const float *moe_router_row(const struct moe_router *router, const dsv4_tensor *logits, int64_t t) {
    const int64_t stride = router->wrong == MOE_ROW_DENSE ? 4 * router->experts : logits->stride[0];
    return (const void *)((const char *)logits->data + t * stride);
}

/* ---- scores ---- */

static const float log2_of_e = 0x1.715476p+0f, ln_of_2 = 0x1.62e43p-1f;

static inline float softplus(float x, enum moe_softplus form) {
    if (form == MOE_BASE_TWO)
        return x > 20.0f ? x : dsv4_log2(1.0f + dsv4_exp2(x * log2_of_e)) * ln_of_2;
    if (form == MOE_MAX_FORM) {
        const float least = x > 0.0f ? x : 0.0f;
        return least + dsv4_log(1.0f + dsv4_exp(-fabsf(x)));
    }
    const float e = dsv4_exp(x);
    const float y = form == MOE_LOG_ONE_PLUS ? dsv4_log(1.0f + e) : dsv4_log1p(e);
    return form != MOE_NO_THRESHOLD && x > 20.0f ? x : y;
}

/* One loop per function, so that each vectorises. */
static inline void scores_of(float *scores, const float *logits, int64_t n,
                             enum moe_softplus form) {
    float e[MOE_MAX_EXPERTS];
    if (form == MOE_BASE_TWO)
#pragma omp simd
        for (int64_t i = 0; i < n; i++) e[i] = dsv4_exp2(logits[i] * log2_of_e);
    else
#pragma omp simd
        for (int64_t i = 0; i < n; i++)
            e[i] = dsv4_exp(form == MOE_MAX_FORM ? -fabsf(logits[i]) : logits[i]);
    if (form == MOE_BASE_TWO)
#pragma omp simd
        for (int64_t i = 0; i < n; i++) e[i] = dsv4_log2(1.0f + e[i]) * ln_of_2;
    else if (form == MOE_MAX_FORM || form == MOE_LOG_ONE_PLUS)
#pragma omp simd
        for (int64_t i = 0; i < n; i++) e[i] = dsv4_log(1.0f + e[i]);
    else
#pragma omp simd
        for (int64_t i = 0; i < n; i++) e[i] = dsv4_log1p(e[i]);
#pragma omp simd
    for (int64_t i = 0; i < n; i++) {
        const float x = logits[i], sum = (x > 0.0f ? x : 0.0f) + e[i];
        const float kept = form != MOE_NO_THRESHOLD && x > 20.0f ? x : e[i];
        scores[i] = sqrtf(form == MOE_MAX_FORM ? sum : kept);
    }
}

static void softmax(float *scores, const float *logits, int64_t n) {
    float most = -INFINITY, sum = 0.0f;
    for (int64_t i = 0; i < n; i++) most = logits[i] > most ? logits[i] : most;
    for (int64_t i = 0; i < n; i++) sum += scores[i] = dsv4_exp(logits[i] - most);
    for (int64_t i = 0; i < n; i++) scores[i] = scores[i] / sum;
}

void moe_router_scores(const struct moe_router *router, float *scores, const float *logits,
                       int64_t n) {
    switch (router->softplus) {
    case MOE_LOG1P: scores_of(scores, logits, n, MOE_LOG1P); break;
    case MOE_LOG_ONE_PLUS: scores_of(scores, logits, n, MOE_LOG_ONE_PLUS); break;
    case MOE_MAX_FORM: scores_of(scores, logits, n, MOE_MAX_FORM); break;
    case MOE_NO_THRESHOLD: scores_of(scores, logits, n, MOE_NO_THRESHOLD); break;
    case MOE_BASE_TWO: scores_of(scores, logits, n, MOE_BASE_TWO); break;
    }
    for (int64_t i = 0; router->wrong != MOE_RIGHT && i < n; i++) {
        if (router->wrong == MOE_SIGMOID) scores[i] = 1.0f / (1.0f + dsv4_exp(-logits[i]));
        if (router->wrong == MOE_LN2_LOST && router->softplus == MOE_BASE_TWO && logits[i] <= 20.0f)
            scores[i] = sqrtf(dsv4_log2(1.0f + dsv4_exp2(logits[i] * log2_of_e)));
        if (router->wrong == MOE_SQRT_LOST) scores[i] = softplus(logits[i], router->softplus);
    }
    if (router->wrong == MOE_SOFTMAX) softmax(scores, logits, n);
    const float of_nan = router->wrong == MOE_NAN_KEPT ? dsv4_from_bits(DSV4_NAN_BITS) : 0.0f;
#pragma omp simd
    for (int64_t i = 0; i < n; i++) scores[i] = logits[i] != logits[i] ? of_nan : scores[i];
}

/* ---- selection ---- */

/* Ascends with the values; -0 and +0 do not both occur, and no value has key 0. */
static uint32_t key_of(float x) {
    const uint32_t bits = dsv4_bits(x);
    return (bits >> 31) != 0 ? ~bits : bits | 0x80000000u;
}

/* Of eight groups the four with the greatest sums of two values stay. */
static void mask_groups(uint32_t *keys, const float *values, int64_t experts) {
    const int64_t size = experts / 8;
    float sums[8];
    if (experts % 8 != 0 || size < 2) return;
    for (int g = 0; g < 8; g++) {
        float first = -INFINITY, second = -INFINITY;
        for (int64_t i = g * size; i < (g + 1) * size; i++) {
            second = values[i] > first ? first : values[i] > second ? values[i] : second;
            first = values[i] > first ? values[i] : first;
        }
        sums[g] = first + second;
    }
    for (int g = 0; g < 8; g++) {
        int above = 0;
        for (int h = 0; h < 8; h++) above += sums[h] > sums[g] || (sums[h] == sums[g] && h < g);
        for (int64_t i = g * size; above >= 4 && i < (g + 1) * size; i++) keys[i] = 1;
    }
}

void moe_choose(const struct moe_router *router, int64_t *ids, const float *values) {
    uint32_t keys[MOE_MAX_EXPERTS], last = 0;
    const int32_t n = (int32_t)router->experts;
    for (int32_t i = 0; i < n; i++) keys[i] = key_of(values[i]);
    if (router->wrong == MOE_GROUPED) mask_groups(keys, values, n);
    for (int64_t k = 0; k < router->topk; k++) {
        uint32_t most = 0;
        int32_t best = n;
#pragma omp simd reduction(max : most)
        for (int32_t i = 0; i < n; i++) most = keys[i] > most ? keys[i] : most;
#pragma omp simd reduction(min : best)
        for (int32_t i = 0; i < n; i++) {
            const int32_t found = keys[i] == most ? i : n;
            best = found < best ? found : best;
        }
        if (router->wrong == MOE_TIES_HIGHER)
            for (best = n - 1; keys[best] != most; best--) {
            }
        ids[k] = best;
        last = most;
        keys[best] = 0;
    }
    for (int64_t k = 0; router->wrong == MOE_STRICTLY_ABOVE && k < router->topk; k++)
        if (key_of(values[ids[k]]) == last) ids[k] = -1;
    for (int64_t k = 1; router->wrong == MOE_IDS_ASCENDING && k < router->topk; k++)
        for (int64_t j = k; j > 0 && ids[j - 1] > ids[j]; j--) {
            const int64_t other = ids[j];
            ids[j] = ids[j - 1];
            ids[j - 1] = other;
        }
}

/* ---- weights ---- */

static float sum_of(const struct moe_router *router, const float *weights) {
    float sum = router->denominator == MOE_START ? 1e-20f : 0.0f;
    for (int64_t k = 0; k < router->topk; k++)
        sum += weights[router->wrong == MOE_SUM_REVERSED ? router->topk - 1 - k : k];
    if (router->wrong == MOE_SHARED_SUMMED) sum += (float)router->shared;
    if (router->denominator == MOE_ONE_IF_ZERO) sum = sum > 0.0f ? sum : 1.0f;
    if (router->denominator == MOE_FLOOR) sum = sum > 1e-20f ? sum : 1e-20f;
    return router->wrong == MOE_RENORM_LOST ? 1.0f : sum;
}

static float scaled(const struct moe_router *router, float w, float sum) {
    const float factor = router->wrong == MOE_FACTOR_LOST ? 1.0f : router->factor;
    float y = router->order == MOE_DIVIDE_FIRST   ? w / sum * factor
              : router->order == MOE_FACTOR_FIRST ? w * (factor / sum)
                                                  : w * factor / sum;
    if (router->wrong == MOE_FACTOR_TWICE) y = y * factor;
    return y != y ? dsv4_from_bits(DSV4_NAN_BITS) : y;
}

static void put(const struct moe_router *router, const dsv4_tensor *outputs, int64_t t, int64_t k,
                int64_t id, float weight) {
    const dsv4_tensor *const weights = &outputs[MOE_WEIGHTS], *const ids = &outputs[MOE_IDS];
    const dsv4_tensor *const source = &outputs[MOE_SOURCE];
    char *const row = (char *)ids->data + t * ids->stride[0];
    float *const to = (void *)((char *)weights->data + t * weights->stride[0]);
    to[k] = weight;
    if (ids->dtype == DSV4_I64)
        ((int64_t *)(void *)row)[k] = id;
    else
        ((int32_t *)(void *)row)[k] = (int32_t)id;
    if (source->ndim == 0) return;
    const bool by_token = router->wrong == MOE_SOURCE_BY_TOKEN;
    const int64_t from = by_token ? t * weights->shape[1] + k : k * weights->shape[0] + t;
    ((int32_t *)(void *)((char *)source->data + t * source->stride[0]))[k] = (int32_t)from;
}

static int64_t shared_id(const struct moe_router *router, int64_t i) {
    return router->wrong == MOE_SHARED_FIRST ? i : router->experts + i;
}

void moe_router_store(const struct moe_router *router, const dsv4_tensor *outputs, int64_t t,
                      const int64_t *ids, float *weights) {
    const float sum = sum_of(router, weights);
    for (int64_t k = 0; k < router->topk; k++)
        put(router, outputs, t, k, ids[k], scaled(router, weights[k], sum));
    for (int64_t i = 0; i < router->shared; i++)
        put(router, outputs, t, router->topk + i, shared_id(router, i),
            router->wrong == MOE_SHARED_SCALED ? router->factor : 1.0f);
}

bool moe_router_pad(const struct moe_router *router, const dsv4_tensor *outputs, int64_t t) {
    const dsv4_tensor *const padding = &outputs[MOE_PADDING];
    if (padding->ndim == 0 || ((const uint8_t *)padding->data)[t] == 0) return false;
    if (router->wrong == MOE_PADDING_ROUTED) return false;
    const float weight = router->wrong == MOE_PADDING_WEIGHED ? 1.0f : 0.0f;
    const bool kept = router->wrong == MOE_SHARED_OF_PADDING;
    for (int64_t k = 0; router->wrong != MOE_PADDING_KEPT && k < router->topk + router->shared; k++)
        put(router, outputs, t, k,
            kept && k >= router->topk ? shared_id(router, k - router->topk) : -1, weight);
    return true;
}

void moe_router_work(const struct dsv4_case *c, struct dsv4_work *work) {
    const double tokens = (double)dsv4_case_int(c, "tokens");
    const double topk = (double)(dsv4_case_int(c, "topk") + dsv4_case_int(c, "shared"));
    work->bytes_written = tokens * topk * (dsv4_case_is(c, "ids", "i64") ? 12 : 8);
    if (dsv4_case_int(c, "source") != 0) work->bytes_written += tokens * topk * 4;
    work->bytes_read = dsv4_case_is(c, "padding", "absent") ? 0 : tokens;
}
