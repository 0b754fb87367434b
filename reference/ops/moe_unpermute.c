/* SPDX-License-Identifier: Apache-2.0 */
/*
 * moe_unpermute: what the experts made of permuted rows, brought back to the tokens. By form:
 *   slots     y[t, k] = x[inverse[t, k]], bit for bit: what moe_combine adds
 *   sum       y[t] = bf16(acc), acc = +0 + x[inverse[t, 0]] + x[inverse[t, 1]] ... in fp32
 *   weighted  acc = +0 + w[t, 0] * x[inverse[t, 0]] + ..., each product rounded
 * A slot whose place is negative has no row: y[t, k] stays untouched, sums leave it out.
 * Rounding points: each product, each sum, bf16 at the end. Domain: finite values; places below the rows of x.
 *
 * Source: vllm csrc/moe/moe_permute_unpermute_op.cu (weighted), TileKernels reduce_fused (sum, weighted: its FMA rounds
 * once where the canon rounds twice), DeepEP's gather.
 * Latitude: contraction and the order of the sum show in the last bit of bf16, the start in the sign of a zero: bounds allow any.
 */
#include <stdio.h>

#include "../bound/admit.h"
#include "../num/bf16.h"
#include "moe_dispatch.h"

enum { X, INVERSE, WEIGHTS, Y };
enum form { SLOTS, SUM, WEIGHTED };
enum wrong {
    RIGHT,
    IN_PLACE,
    ZEROED,
    SKIPPED_READ,
    LAST_SKIPPED,
    TURNED,
    WEIGHT_LOST,
    WEIGHT_OF_NEXT,
    DESCENDING,
    BF16_SUM,
    FUSED_PRODUCT,
    STARTS_AT_ROW,
    X_DENSE,
    Y_DENSE
};
enum { CHUNK = 256, STREAM_X = 1, STREAM_WEIGHT = 2, STREAM_PLACE = 3 };

static const struct dsv4_param_def params[] = {
    DSV4_PARAM_NAME("form", CALL, "slots", "slots sum weighted", "what becomes of a token's rows"),
    DSV4_PARAM_INT("tokens", INPUT, 3, 0, 1 << 24, "tokens"),
    DSV4_PARAM_INT("topk", INPUT, 6, 1, 16, "slots of a token"),
    DSV4_PARAM_INT("hidden", INPUT, 64, 8, 1 << 16, "channels"),
    DSV4_PARAM_NAME("skipped", INPUT, "none", "none some all", "slots without a place"),
    DSV4_PARAM_INT(
        "assignment", INPUT, -1, -1, 1 << 20,
        "-1: as skipped says; else one of all assignments: places are the number's digits in "
        "base rows + 1, less 1"),
    DSV4_PARAM_INT("spare", INPUT, 0, 0, 1 << 20, "rows of x more than there are slots"),
    DSV4_PARAM_NAME("values", INPUT, "normal", "normal cancel opposite zeros",
                    "about N(0, 1); large ones that cancel; pairs of opposites of equal weight; "
                    "zeros of both signs"),
    DSV4_PARAM_NAME("view", INPUT, "dense", "dense wide", "wide: rows lie apart"),
};

static const struct dsv4_slot slots[] = {
    {"x",       DSV4_IN,  "[places, hidden] bf16, rows strided",                      "rows by expert"         },
    {"inverse", DSV4_IN,  "[tokens, topk] i32",                                       "place of a slot, or -1" },
    {"weights", DSV4_IN,  "[tokens, topk] f32, or absent",                            "weighted: their weights"},
    {"y",       DSV4_OUT, "[tokens, topk, hidden] or [tokens, hidden] bf16, strided", "rows by token"          },
};

static const struct dsv4_mutant mutants[] = {
    {"in-place",       "row i for slot i; inverse says which",                       IN_PLACE      },
    {"zeroed",         "rows of slots without a place zeroed; they stay",            ZEROED        },
    {"skipped-read",   "row 0 for slots without a place",                            SKIPPED_READ  },
    {"last-skipped",   "place 0 taken for none",                                     LAST_SKIPPED  },
    {"turned",         "inverse read by slot, then token",                           TURNED        },
    {"weight-lost",    "weights not applied",                                        WEIGHT_LOST   },
    {"weight-of-next", "the weight of the next slot",                                WEIGHT_OF_NEXT},
    {"descending",     "slots added from the last one",                              DESCENDING    },
    {"bf16-sum",       "the sum kept in bf16; it is fp32",                           BF16_SUM      },
    {"fused-product",  "product and sum by one fma; the product is rounded",         FUSED_PRODUCT },
    {"starts-at-row",  "the sum starts at its first row: -0 stays; it starts at +0", STARTS_AT_ROW },
    {"x-dense",        "rows of x taken as contiguous; they have a stride",          X_DENSE       },
    {"y-dense",        "rows of y taken as contiguous; they have strides",           Y_DENSE       },
};

static int shape(struct dsv4_case *c, struct dsv4_err *err) {
    const int64_t tokens = dsv4_case_int(c, "tokens"), topk = dsv4_case_int(c, "topk");
    const int64_t hidden = dsv4_case_int(c, "hidden");
    const bool wide = dsv4_case_is(c, "view", "wide"), split = dsv4_case_is(c, "form", "slots");
    if (hidden % 8 != 0) return dsv4_fail(err, "hidden: %lld; a multiple of 8", (long long)hidden);
    DSV4_SHAPE(c, X, DSV4_BF16, tokens * topk + dsv4_case_int(c, "spare"), hidden);
    DSV4_SHAPE(c, INVERSE, DSV4_I32, tokens, topk);
    DSV4_SHAPE(c, WEIGHTS, DSV4_F32, tokens, topk);
    if (split)
        DSV4_SHAPE(c, Y, DSV4_BF16, tokens, topk, hidden);
    else
        DSV4_SHAPE(c, Y, DSV4_BF16, tokens, hidden);
    c->tensors[X].align = c->tensors[Y].align = 16;
    if (!dsv4_case_is(c, "form", "weighted")) dsv4_absent(c, WEIGHTS);
    if (wide) dsv4_widen(c, X, 0, 48);
    if (wide && split) dsv4_widen(c, Y, 1, 16);
    if (wide) dsv4_widen(c, Y, 0, 32);
    return 0;
}

static float value_of(const struct dsv4_case *c, int64_t slot, int64_t i, int64_t k) {
    const char recipe = dsv4_case_word(c, "values")[0];
    const int64_t source = recipe == 'o' ? slot - k % 2 : slot;
    const uint64_t bits = dsv4_random(c->seed, STREAM_X, (uint64_t)(source << 16 | (i & 0xFFFF)));
    const float x = dsv4_normal(bits);
    if (recipe == 'z') return bits >> 63 != 0 ? -0.0f : 0.0f;
    if (recipe == 'o') return k % 2 != 0 ? -x : x;
    if (recipe == 'c' && k < 4) return (k % 2 != 0 ? -1.0f : 1.0f) * (float)(1 << (8 + i % 16)) + x;
    return x;
}

/* Odd multiples of a step that has no factor in common with the rows: every slot has a place of its own. */
static int64_t step_of(int64_t rows) {
    int64_t step = rows / 2 + 1;
    for (bool common = true; common; step++) {
        int64_t a = rows, b = step;
        while (b != 0) {
            const int64_t rest = a % b;
            a = b;
            b = rest;
        }
        common = a != 1;
        if (!common) return step;
    }
    return step;
}

/* The place of slot i, negative if it has none. */
static int64_t place_of(const struct dsv4_case *c, int64_t i, int64_t rows, int64_t step) {
    const int64_t topk = dsv4_case_int(c, "topk");
    const char skipped = dsv4_case_word(c, "skipped")[0];
    int64_t number = dsv4_case_int(c, "assignment");
    if (number >= 0) {
        for (int64_t k = 0; k < i; k++) number /= rows + 1;
        return number % (rows + 1) - 1;
    }
    const bool none = skipped == 'a' || (skipped == 's' && (i * 7 + i / topk) % 5 == 0);
    return none ? (i % 3 == 1 ? -7 : -1) : (i + 1) * step % rows;
}

static void fill(struct dsv4_case *c) {
    const dsv4_tensor *const x = &c->tensors[X].t, *const inverse = &c->tensors[INVERSE].t;
    const int64_t rows = x->shape[0], topk = inverse->shape[1], n = inverse->shape[0] * topk;
    const int64_t step = rows > 0 ? step_of(rows) : 1;
    const bool assigned = dsv4_case_int(c, "assignment") >= 0;
#pragma omp parallel for schedule(static)
    for (int64_t r = 0; r < rows; r++) {
        uint16_t *const row = (void *)((char *)x->data + r * x->stride[0]);
        for (int64_t i = 0; i < x->shape[1]; i++) row[i] = 0x7FC0;
    }
#pragma omp parallel for schedule(static) if (!assigned)
    for (int64_t i = 0; i < n; i++) {
        const int64_t place = place_of(c, i, rows, step), t = i / topk;
        uint16_t *const row = (void *)((char *)x->data + place * x->stride[0]);
        ((int32_t *)inverse->data)[i] = (int32_t)place;
        for (int64_t d = 0; place >= 0 && d < x->shape[1]; d++)
            row[d] = dsv4_bf16_from_f32(value_of(c, assigned ? place : i, d, i % topk));
        const uint64_t pair =
            dsv4_random(c->seed, STREAM_WEIGHT, (uint64_t)(t * topk + i % topk / 2));
        if (c->tensors[WEIGHTS].t.ndim > 0)
            ((float *)c->tensors[WEIGHTS].t.data)[i] = (float)(1 + (pair & 0xFFFFFF)) * 0x1p-24f;
    }
}

const struct dsv4_op dsv4_op_moe_unpermute;

struct unpermute {
    const dsv4_tensor *x, *y;
    const int32_t *inverse;
    const float *weights;
    int64_t tokens, topk, hidden;
    enum form form;
    enum wrong wrong;
};

/* NULL: the slot has no row. */
static const uint16_t *row_of(const struct unpermute *u, int64_t t, int64_t k) {
    const int64_t i = u->wrong == TURNED ? k * u->tokens + t : t * u->topk + k;
    int64_t place = u->inverse[i];
    if (u->wrong == IN_PLACE && place >= 0) place = t * u->topk + k;
    if (u->wrong == LAST_SKIPPED && place == 0) return NULL;
    if (u->wrong == SKIPPED_READ && place < 0) place = 0;
    if (place < 0) return NULL;
    const int64_t stride = u->wrong == X_DENSE ? 2 * u->hidden : u->x->stride[0];
    return (const void *)((const char *)u->x->data + place * stride);
}

static uint16_t *out_of(const struct unpermute *u, int64_t t, int64_t k) {
    const bool split = u->form == SLOTS;
    if (u->wrong == Y_DENSE)
        return (uint16_t *)u->y->data + (split ? t * u->topk + k : t) * u->hidden;
    return (void *)((char *)u->y->data + t * u->y->stride[0] + (split ? k * u->y->stride[1] : 0));
}

static void split_token(const struct unpermute *u, int64_t t) {
    for (int64_t k = 0; k < u->topk; k++) {
        const uint16_t *const row = row_of(u, t, k);
        const size_t bytes = (size_t)u->hidden * 2;
        if (row != NULL)
            memcpy(out_of(u, t, k), row, bytes);
        else if (u->wrong == ZEROED)
            memset(out_of(u, t, k), 0, bytes);
    }
}

static void add(float *acc, const uint16_t *x, int n, float w, const struct unpermute *u) {
    const bool weighted = u->form == WEIGHTED && u->wrong != WEIGHT_LOST;
    if (weighted && u->wrong == FUSED_PRODUCT)
        for (int i = 0; i < n; i++) acc[i] = __builtin_fmaf(w, dsv4_bf16_to_f32(x[i]), acc[i]);
    else if (weighted)
#pragma omp simd
        for (int i = 0; i < n; i++) acc[i] = acc[i] + w * dsv4_bf16_to_f32(x[i]);
    else
#pragma omp simd
        for (int i = 0; i < n; i++) acc[i] = acc[i] + dsv4_bf16_to_f32(x[i]);
    for (int i = 0; u->wrong == BF16_SUM && i < n; i++)
        acc[i] = dsv4_bf16_to_f32(dsv4_bf16_from_f32(acc[i]));
}

static void sum_token(const struct unpermute *u, int64_t t) {
    for (int64_t first = 0; first < u->hidden; first += CHUNK) {
        const int n = u->hidden - first < CHUNK ? (int)(u->hidden - first) : CHUNK;
        float acc[CHUNK];
        for (int i = 0; i < n; i++) acc[i] = u->wrong == STARTS_AT_ROW ? -0.0f : 0.0f;
        for (int64_t j = 0; j < u->topk; j++) {
            const int64_t k = u->wrong == DESCENDING ? u->topk - 1 - j : j;
            const int64_t weight = u->wrong == WEIGHT_OF_NEXT ? (k + 1) % u->topk : k;
            const uint16_t *const row = row_of(u, t, k);
            if (row == NULL) continue;
            add(acc, row + first, n, u->weights != NULL ? u->weights[t * u->topk + weight] : 1.0f,
                u);
        }
        uint16_t *const y = out_of(u, t, 0) + first;
#pragma omp simd
        for (int i = 0; i < n; i++) y[i] = dsv4_bf16_from_f32(acc[i]);
    }
}

static struct unpermute open_unpermute(const dsv4_call *call, int mutant) {
    const dsv4_tensor *const tensors = call->tensors;
    struct unpermute u = {.x = &tensors[X], .y = &tensors[Y], .inverse = tensors[INVERSE].data};
    u.form = dsv4_is(call, "form", "slots") ? SLOTS : dsv4_is(call, "form", "sum") ? SUM : WEIGHTED;
    u.wrong = mutant > 0 ? (enum wrong)mutants[mutant - 1].id : RIGHT;
    u.weights = u.form == WEIGHTED ? tensors[WEIGHTS].data : NULL;
    u.tokens = tensors[INVERSE].shape[0];
    u.topk = tensors[INVERSE].shape[1];
    u.hidden = tensors[X].shape[1];
    return u;
}

static int run(const dsv4_call *call, int mutant, struct dsv4_err *err) {
    const struct unpermute u = open_unpermute(call, mutant);
    (void)err;
#pragma omp parallel for schedule(static)
    for (int64_t t = 0; t < u.tokens; t++) {
        if (u.form == SLOTS)
            split_token(&u, t);
        else
            sum_token(&u, t);
    }
    return DSV4_OK;
}

/* The sum of a token's rows in any order, products rounded or not. */
static void bound_part(const struct unpermute *u, struct dsv4_admission *a, int64_t t,
                       int64_t first) {
    const int64_t left = u->hidden - first, n = left < CHUNK ? left : CHUNK;
    const struct dsv4_row part = {Y, t * u->y->stride[0] + 2 * first, 2, DSV4_AS_BF16, n, 1};
    if (dsv4_admit_settled(a, &part, 1)) return;
    struct dsv4_ball balls[CHUNK];
    for (int64_t i = first; i < first + n; i++) {
        struct dsv4_terms terms = {0};
        for (int64_t k = 0; k < u->topk; k++) {
            const uint16_t *const row = row_of(u, t, k);
            const double w = u->weights != NULL ? (double)u->weights[t * u->topk + k] : 1;
            if (row == NULL) continue;
            const double term = w * (double)dsv4_bf16_to_f32(row[i]);
            dsv4_terms_add(&terms, term, u->weights != NULL ? DSV4_BALL_U * fabs(term) : 0);
        }
        balls[i - first] = dsv4_ball_sum(&a->arithmetic, DSV4_SUM_ROW, &terms);
    }
    dsv4_admit(a, &part, balls, NULL);
}

static void bound(const dsv4_call *call, struct dsv4_admission *a) {
    const struct unpermute u = open_unpermute(call, 0);
#pragma omp parallel for schedule(static)
    for (int64_t t = 0; t < u.tokens; t++)
        for (int64_t first = 0; first < u.hidden && u.form != SLOTS; first += CHUNK)
            bound_part(&u, a, t, first);
}

static void trace(const struct dsv4_case *c, size_t slot, int64_t offset, char *line, size_t size) {
    const dsv4_tensor *const y = &c->tensors[slot].t, *const inverse = &c->tensors[INVERSE].t;
    const int64_t t = offset / y->stride[0], topk = inverse->shape[1];
    int n = snprintf(line, size, "token %lld, places", (long long)t);
    for (int64_t k = 0; k < topk && n > 0 && (size_t)n < size; k++)
        n += snprintf(line + n, size - (size_t)n, " %d",
                      ((const int32_t *)inverse->data)[t * topk + k]);
}

static void work(const struct dsv4_case *c, struct dsv4_work *work) {
    const double tokens = (double)dsv4_case_int(c, "tokens"),
                 topk = (double)dsv4_case_int(c, "topk");
    const double row = 2 * (double)dsv4_case_int(c, "hidden");
    const bool split = dsv4_case_is(c, "form", "slots");
    work->bytes_read = tokens * topk * (row + (dsv4_case_is(c, "form", "weighted") ? 8 : 4));
    work->bytes_written = tokens * row * (split ? topk : 1);
}

const struct dsv4_op dsv4_op_moe_unpermute = {
    .name = "moe_unpermute",
    .summary = "the experts' rows back to their tokens, by slot or summed",
    .source = "vllm csrc/moe/moe_permute_unpermute_op.cu, TileKernels reduce_fused",
    .bound = bound,
    .latitude = "descending fused-product starts-at-row",
    DSV4_OP_PARTS,
};
