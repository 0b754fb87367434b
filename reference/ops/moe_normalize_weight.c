/* SPDX-License-Identifier: Apache-2.0 */
/*
 * moe_normalize_weight: d = 1e-20 + w[t, 0] + w[t, 1] + ..., added in this order; y[t, k] = w[t, k] / d.
 *
 * Rounding points: each sum, each quotient. Domain: weights that are not negative, finite sums.
 * Source: TileKernels normalize_weight.
 * Latitude: the order of the sum, and how it is divided by: bounds allow any.
 */
#include <stdio.h>

#include "../bound/admit.h"
#include "../input/input.h"
#include "../num/bits.h"

enum { WEIGHTS, DENOMINATORS, NORMALIZED };
enum { BLOCK = 64 /* tokens */, MOST = 16 /* slots of a token */ };
enum wrong { RIGHT, START_LOST, FLOOR, REVERSED, BY_PAIRS, RECIPROCAL, FACTOR };

static const struct dsv4_param_def params[] = {
    DSV4_PARAM_INT("tokens", INPUT, 3, 0, 1 << 24, "tokens"),
    DSV4_PARAM_INT("topk", INPUT, 6, 1, 16, "slots of a token"),
    DSV4_PARAM_NAME("values", INPUT, "normal", "normal spread tiny zeros mixed",
                    "in 0..8; over 40 binades; around 1e-20 and below; zeros; by turns"),
};

static const struct dsv4_slot slots[] = {
    {"weights",      DSV4_IN,  "[tokens, topk] f32", "weights"         },
    {"denominators", DSV4_OUT, "[tokens] f32",       "their sums"      },
    {"normalized",   DSV4_OUT, "[tokens, topk] f32", "weights, divided"},
};

static const struct dsv4_mutant mutants[] = {
    {"start-lost", "the sum starts at 0: 0 / 0 for a token without weights", START_LOST},
    {"floor",      "the greater of the sum and 1e-20; the sum starts at it", FLOOR     },
    {"reversed",   "added from the last slot",                               REVERSED  },
    {"by-pairs",   "added as a tree",                                        BY_PAIRS  },
    {"reciprocal", "multiplied by the reciprocal; it is a quotient",         RECIPROCAL},
    {"factor",     "times routed_scaling_factor",                            FACTOR    },
};

static int shape(struct dsv4_case *c, struct dsv4_err *err) {
    const int64_t tokens = dsv4_case_int(c, "tokens"), topk = dsv4_case_int(c, "topk");
    (void)err;
    DSV4_SHAPE(c, WEIGHTS, DSV4_F32, tokens, topk);
    DSV4_SHAPE(c, DENOMINATORS, DSV4_F32, tokens);
    DSV4_SHAPE(c, NORMALIZED, DSV4_F32, tokens, topk);
    return 0;
}

static float value_of(char recipe, uint64_t bits, int64_t t) {
    static const char all[] = {'n', 's', 't', 'z'};
    const float x = (float)(1 + (bits & 0xFFFFFF)) * 0x1p-21f;
    if (recipe == 'm') recipe = all[t % 4];
    if (recipe == 'z') return 0.0f;
    if (recipe == 's') return dsv4_from_bits(dsv4_bits(x) - ((uint32_t)(bits >> 40) % 40 << 23));
    return recipe == 't' ? x * 0x1p-69f : x;
}

static void fill(struct dsv4_case *c) {
    const dsv4_tensor *const w = &c->tensors[WEIGHTS].t;
    const int64_t n = w->shape[0] * w->shape[1];
    const char recipe = dsv4_case_word(c, "values")[0];
#pragma omp parallel for schedule(static)
    for (int64_t i = 0; i < n; i++)
        ((float *)w->data)[i] =
            value_of(recipe, dsv4_random(c->seed, 1, (uint64_t)i), i / w->shape[1]);
}

static float sum_of(const float *w, int64_t n, enum wrong wrong) {
    float sum = wrong == START_LOST || wrong == FLOOR ? 0.0f : 1e-20f;
    if (wrong == BY_PAIRS) {
        float pairs[MOST] = {0};
        for (int64_t k = 0; k < n; k++) pairs[k] = w[k];
        for (int step = 8; step > 0; step /= 2)
            for (int k = 0; k < step; k++) pairs[k] += pairs[k + step];
        return sum + pairs[0];
    }
    for (int64_t k = 0; k < n; k++) sum += w[wrong == REVERSED ? n - 1 - k : k];
    return wrong == FLOOR && sum < 1e-20f ? 1e-20f : sum;
}

/* Each slot has its token's sum beside it, so that the quotients of a block are one loop. */
static void normalize(float *restrict y, float *restrict sums, const float *restrict w, int64_t n,
                      int64_t topk) {
    float divisors[BLOCK * MOST];
    for (int64_t t = 0; t < n; t++) {
        sums[t] = sum_of(w + t * topk, topk, RIGHT);
        for (int64_t k = 0; k < topk; k++) divisors[t * topk + k] = sums[t];
    }
#pragma omp simd
    for (int64_t i = 0; i < n * topk; i++) y[i] = w[i] / divisors[i];
}

static void normalize_wrong(float *y, float *sums, const float *w, int64_t n, int64_t topk,
                            enum wrong wrong) {
    for (int64_t t = 0; t < n; t++, y += topk, w += topk) {
        const float sum = sum_of(w, topk, wrong), inverse = 1.0f / sum;
        sums[t] = sum;
        for (int64_t k = 0; k < topk; k++) {
            y[k] = wrong == RECIPROCAL ? w[k] * inverse : w[k] / sum;
            if (wrong == FACTOR) y[k] *= 1.5f;
        }
    }
}

static int run(const dsv4_call *call, int mutant, struct dsv4_err *err) {
    const enum wrong wrong = mutant > 0 ? (enum wrong)mutants[mutant - 1].id : RIGHT;
    const dsv4_tensor *const weights = &call->tensors[WEIGHTS];
    const int64_t tokens = weights->shape[0], topk = weights->shape[1];
    (void)err;
#pragma omp parallel for schedule(static)
    for (int64_t t = 0; t < tokens; t += BLOCK) {
        const int64_t n = tokens - t < BLOCK ? tokens - t : BLOCK;
        const float *const w = (const float *)weights->data + t * topk;
        float *const y = (float *)call->tensors[NORMALIZED].data + t * topk;
        float *const sums = (float *)call->tensors[DENOMINATORS].data + t;
        if (wrong == RIGHT)
            normalize(y, sums, w, n, topk);
        else
            normalize_wrong(y, sums, w, n, topk, wrong);
    }
    return DSV4_OK;
}

/* The sum in any order; quotients by any denominator that it allows, within divide_ulp. */
static void bound_token(const dsv4_call *call, struct dsv4_admission *a, int64_t t) {
    const int64_t topk = call->tensors[WEIGHTS].shape[1];
    const float *const w = (const float *)call->tensors[WEIGHTS].data + t * topk;
    const struct dsv4_row sum = {DENOMINATORS, 4 * t, 4, DSV4_AS_F32, 1, 1};
    const struct dsv4_row quotients = {NORMALIZED, 4 * t * topk, 4, DSV4_AS_F32, topk, 1};
    struct dsv4_terms terms = {0};
    struct dsv4_ball y[MOST];
    dsv4_terms_add(&terms, (double)1e-20f, 0);
    for (int64_t k = 0; k < topk; k++) dsv4_terms_add(&terms, (double)w[k], 0);
    const struct dsv4_ball d = dsv4_ball_sum(&a->arithmetic, DSV4_SUM_ROW, &terms);
    for (int64_t k = 0; k < topk; k++)
        y[k] = dsv4_ball_div(&a->arithmetic, dsv4_ball_of((double)w[k]), d);
    dsv4_admit(a, &sum, &d, NULL);
    dsv4_admit(a, &quotients, y, NULL);
}

static void bound(const dsv4_call *call, struct dsv4_admission *a) {
#pragma omp parallel for schedule(static)
    for (int64_t t = 0; t < call->tensors[WEIGHTS].shape[0]; t++) bound_token(call, a, t);
}

static void trace(const struct dsv4_case *c, size_t slot, int64_t offset, char *line, size_t size) {
    const dsv4_tensor *const w = &c->tensors[WEIGHTS].t;
    const int64_t topk = w->shape[1], t = offset / (slot == DENOMINATORS ? 4 : 4 * topk);
    int n = snprintf(line, size, "token %lld, weights", (long long)t);
    for (int64_t k = 0; k < topk && n > 0 && (size_t)n < size; k++)
        n += snprintf(line + n, size - (size_t)n, " %.9g",
                      (double)((const float *)w->data)[t * topk + k]);
}

static void work(const struct dsv4_case *c, struct dsv4_work *work) {
    const double tokens = (double)dsv4_case_int(c, "tokens");
    work->bytes_read = 4 * tokens * (double)dsv4_case_int(c, "topk");
    work->bytes_written = work->bytes_read + 4 * tokens;
}

const struct dsv4_op dsv4_op_moe_normalize_weight = {
    .name = "moe_normalize_weight",
    .summary = "routing weights of a token divided by their sum",
    .source = "TileKernels normalize_weight",
    .bound = bound,
    .latitude = "reversed by-pairs reciprocal",
    DSV4_OP_PARTS,
};
