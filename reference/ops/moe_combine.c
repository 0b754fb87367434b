/* SPDX-License-Identifier: Apache-2.0 */
/*
 * moe_combine: y[t] = sum over k of x[t, k], plus the shared expert's output. By order:
 *   slot              acc = +0 + x[t, 0] + x[t, 1] ... in fp32; y = bf16(acc), or bf16(bf16(acc) + shared)
 *   expert_ascending  the same by ascending id, equal ids by slot; y = bf16(acc + shared): one rounding
 *   weighted          acc = +0 + w[t, 0] * x[t, 0] + ..., each product rounded; then as slot
 * Slots with id -1 are skipped; their rows are never read. The shared output has no factor.
 * Rounding points: each product, each sum, bf16 where said. Domain: finite values.
 *
 * Source: DeepSeek's MoE.forward (expert_ascending), DeepGEMM mega_moe and vllm's shared add (slot), vllm moe_sum after
 * the routing weight (weighted).
 * Latitude: the order of the sum, and whether products are rounded, show in the last bit of bf16: bounds allow any.
 */
#include <stdio.h>

#include "../bound/admit.h"
#include "../input/input.h"
#include "../num/bf16.h"

enum { X, IDS, WEIGHTS, SHARED, Y };
enum order { SLOT, ASCENDING, WEIGHTED };
enum wrong {
    RIGHT,
    ORDER_MIXED,
    DESCENDING,
    BF16_SUM,
    SKIPPED_ADDED,
    SHARED_LOST,
    SHARED_SCALED,
    SHARED_ROUNDING,
    DUPLICATES_DROPPED,
    WEIGHT_LOST,
    WEIGHT_LATE,
    FUSED_PRODUCT,
    ROW_DENSE
};
enum { CHUNK = 256 };

static const struct dsv4_param_def params[] = {
    DSV4_PARAM_NAME("order", DIALECT, "slot", "slot expert_ascending weighted",
                    "order of the sum, and where it is rounded or weighed"),
    DSV4_PARAM_INT("tokens", INPUT, 3, 0, 1 << 22, "tokens"),
    DSV4_PARAM_INT("hidden", INPUT, 64, 8, 1 << 16, "channels"),
    DSV4_PARAM_INT("topk", INPUT, 6, 1, 8, "slots of a token"),
    DSV4_PARAM_INT("shared", INPUT, 1, 0, 1, "1: there is a shared expert"),
    DSV4_PARAM_NAME("skipped", INPUT, "none", "none some all", "slots with id -1"),
    DSV4_PARAM_INT("experts", INPUT, 256, 1, 1 << 16, "ids are below it; few: ids come twice"),
    DSV4_PARAM_NAME("values", INPUT, "normal", "normal coarse cancel opposite zeros",
                    "about N(0, 1); multiples of 1/16; large ones that cancel; "
                    "pairs of opposites of equal weight; zeros of both signs"),
    DSV4_PARAM_NAME("view", INPUT, "dense", "dense wide", "wide: rows lie apart"),
};

static const struct dsv4_slot slots[] = {
    {"x",       DSV4_IN,  "[tokens, topk, hidden] bf16, strided",      "outputs of the experts"     },
    {"ids",     DSV4_IN,  "[tokens, topk] i32",                        "experts; -1: nothing here"  },
    {"weights", DSV4_IN,  "[tokens, topk] f32, or absent",             "weighted: routing weights"  },
    {"shared",  DSV4_IN,  "[tokens, hidden] bf16, strided, or absent", "output of the shared expert"},
    {"y",       DSV4_OUT, "[tokens, hidden] bf16, rows strided",       "sums"                       },
};

static const struct dsv4_mutant mutants[] = {
    {"order-mixed",        "slots in another dialect's order",                   ORDER_MIXED       },
    {"descending",         "slots added from the last one",                      DESCENDING        },
    {"bf16-sum",           "the sum kept in bf16; it is fp32",                   BF16_SUM          },
    {"skipped-added",      "rows of skipped slots added",                        SKIPPED_ADDED     },
    {"shared-lost",        "the shared expert's output left out",                SHARED_LOST       },
    {"shared-scaled",      "the shared expert's output times the routed factor", SHARED_SCALED     },
    {"shared-rounding",    "one rounding where there are two, or the reverse",   SHARED_ROUNDING   },
    {"duplicates-dropped", "an expert that comes twice added once",              DUPLICATES_DROPPED},
    {"weight-lost",        "routing weights not applied",                        WEIGHT_LOST       },
    {"weight-late",        "the sum of unweighted rows times the first weight",  WEIGHT_LATE       },
    {"fused-product",      "product and sum by one fma; the product is rounded", FUSED_PRODUCT     },
    {"row-dense",          "rows taken as contiguous; they have a stride",       ROW_DENSE         },
};

static int shape(struct dsv4_case *c, struct dsv4_err *err) {
    const int64_t tokens = dsv4_case_int(c, "tokens"), hidden = dsv4_case_int(c, "hidden");
    const int64_t topk = dsv4_case_int(c, "topk");
    if (hidden % 8 != 0) return dsv4_fail(err, "hidden: %lld; a multiple of 8", (long long)hidden);
    DSV4_SHAPE(c, X, DSV4_BF16, tokens, topk, hidden);
    DSV4_SHAPE(c, IDS, DSV4_I32, tokens, topk);
    DSV4_SHAPE(c, WEIGHTS, DSV4_F32, tokens, topk);
    DSV4_SHAPE(c, SHARED, DSV4_BF16, tokens, hidden);
    DSV4_SHAPE(c, Y, DSV4_BF16, tokens, hidden);
    c->tensors[X].align = c->tensors[SHARED].align = c->tensors[Y].align = 16;
    if (!dsv4_case_is(c, "order", "weighted")) dsv4_absent(c, WEIGHTS);
    if (dsv4_case_is(c, "view", "wide")) {
        dsv4_widen(c, X, 1, 32);
        dsv4_widen(c, SHARED, 0, 48);
        dsv4_widen(c, Y, 0, 16);
    }
    if (dsv4_case_int(c, "shared") == 0) dsv4_absent(c, SHARED);
    return 0;
}

static float value_of(char recipe, uint64_t bits, int64_t k) {
    switch (recipe) {
    case 'n': return dsv4_normal(bits);
    case 'z': return bits >> 63 != 0 ? -0.0f : 0.0f;
    case 'c': break;
    }
    return (float)(dsv4_below(bits, 128) - 64) * 0.0625f + 0.0f * (float)k;
}

static void fill_row(const struct dsv4_case *c, const dsv4_tensor *to, uint64_t stream, int64_t t,
                     int64_t k, bool nan) {
    const bool cancel = dsv4_case_is(c, "values", "cancel");
    const bool opposite = dsv4_case_is(c, "values", "opposite");
    const char recipe = cancel || opposite ? 'n' : dsv4_case_word(c, "values")[0];
    uint16_t *const row =
        (void *)((char *)to->data + t * to->stride[0] + (to->ndim > 2 ? k * to->stride[1] : 0));
    for (int64_t i = 0; i < to->shape[to->ndim - 1]; i++) {
        const uint64_t id = (uint64_t)(t * 8 + (opposite ? k & ~1 : k)) << 16 | (uint64_t)i;
        float x = value_of(recipe, dsv4_random(c->seed, stream, id), k);
        if (opposite && k % 2 != 0) x = -x;
        if (cancel && k < 4) x = (k % 2 != 0 ? -1.0f : 1.0f) * (float)(1 << (8 + i % 16)) + x;
        row[i] = nan ? 0x7FC0 : dsv4_bf16_from_f32(x);
    }
}

static void fill(struct dsv4_case *c) {
    const dsv4_tensor *const x = &c->tensors[X].t, *const shared = &c->tensors[SHARED].t;
    const int64_t topk = x->shape[1], experts = dsv4_case_int(c, "experts");
    const char skipped = dsv4_case_word(c, "skipped")[0];
    int32_t *const ids = c->tensors[IDS].t.data;
    float *const weights = c->tensors[WEIGHTS].t.data;
#pragma omp parallel for schedule(static)
    for (int64_t t = 0; t < x->shape[0]; t++) {
        for (int64_t k = 0; k < topk; k++) {
            const uint64_t bits = dsv4_random(c->seed, 2, (uint64_t)(t * topk + k));
            const uint64_t pair = dsv4_random(c->seed, 4, (uint64_t)(t * topk + k / 2));
            const bool skip = skipped == 'a' || (skipped == 's' && (t + k) % 3 == 0);
            ids[t * topk + k] = skip ? -1 : (int32_t)dsv4_below(bits, experts);
            if (weights != NULL) weights[t * topk + k] = (float)(1 + (pair & 0xFFFFFF)) * 0x1p-24f;
            fill_row(c, x, 1, t, k, skip);
        }
        if (shared->ndim > 0) fill_row(c, shared, 3, t, 0, false);
    }
}

/* The slots of a token in the order in which they are added; returns their number. */
static int64_t slots_of(const int32_t *ids, int64_t topk, bool ascending, enum wrong wrong,
                        int64_t *order) {
    int64_t n = 0;
    for (int64_t k = 0; k < topk; k++) {
        bool twice = false;
        for (int64_t j = 0; j < k; j++) twice |= ids[j] == ids[k];
        if (ids[k] < 0 && wrong != SKIPPED_ADDED) continue;
        if (twice && wrong == DUPLICATES_DROPPED) continue;
        int64_t at = n++;
        for (; ascending && at > 0 && ids[order[at - 1]] > ids[k]; at--) order[at] = order[at - 1];
        order[at] = k;
    }
    for (int64_t i = 0; wrong == DESCENDING && i < n / 2; i++) {
        const int64_t other = order[i];
        order[i] = order[n - 1 - i];
        order[n - 1 - i] = other;
    }
    return n;
}

static float bf16(float x) { return dsv4_bf16_to_f32(dsv4_bf16_from_f32(x)); }

static void add_row(float *acc, const uint16_t *x, int n, float w, bool weighted,
                    enum wrong wrong) {
    if (wrong == FUSED_PRODUCT && weighted)
        for (int i = 0; i < n; i++) acc[i] = __builtin_fmaf(w, dsv4_bf16_to_f32(x[i]), acc[i]);
    else if (weighted)
#pragma omp simd
        for (int i = 0; i < n; i++) acc[i] = acc[i] + w * dsv4_bf16_to_f32(x[i]);
    else
#pragma omp simd
        for (int i = 0; i < n; i++) acc[i] = acc[i] + dsv4_bf16_to_f32(x[i]);
    for (int i = 0; wrong == BF16_SUM && i < n; i++) acc[i] = bf16(acc[i]);
}

static void finish(uint16_t *y, const float *acc, const uint16_t *shared, int n, bool once,
                   float factor) {
    if (shared == NULL)
#pragma omp simd
        for (int i = 0; i < n; i++) y[i] = dsv4_bf16_from_f32(acc[i]);
    else if (once)
#pragma omp simd
        for (int i = 0; i < n; i++)
            y[i] = dsv4_bf16_from_f32(acc[i] + dsv4_bf16_to_f32(shared[i]) * factor);
    else
#pragma omp simd
        for (int i = 0; i < n; i++)
            y[i] = dsv4_bf16_from_f32(dsv4_bf16_to_f32(dsv4_bf16_from_f32(acc[i])) +
                                      dsv4_bf16_to_f32(shared[i]) * factor);
}

static void combine(const dsv4_call *call, int64_t t, enum order order, enum wrong wrong) {
    const dsv4_tensor *const x = &call->tensors[X], *const y = &call->tensors[Y];
    const dsv4_tensor *const shared = &call->tensors[SHARED];
    const int64_t topk = x->shape[1], hidden = x->shape[2];
    const int64_t stride = wrong == ROW_DENSE ? 2 * hidden : x->stride[1];
    const int64_t token = wrong == ROW_DENSE ? topk * stride : x->stride[0];
    const int32_t *const ids = (const int32_t *)call->tensors[IDS].data + t * topk;
    const float *const weights = (const float *)call->tensors[WEIGHTS].data + t * topk;
    const bool ascending = (order == ASCENDING) != (wrong == ORDER_MIXED);
    const bool once = (order == ASCENDING) != (wrong == SHARED_ROUNDING);
    const bool weighted = order == WEIGHTED && wrong != WEIGHT_LOST && wrong != WEIGHT_LATE;
    int64_t list[8];
    const int64_t n = slots_of(ids, topk, ascending, wrong, list);
    for (int64_t first = 0; first < hidden; first += CHUNK) {
        const int width = hidden - first < CHUNK ? (int)(hidden - first) : CHUNK;
        const bool added = shared->ndim > 0 && wrong != SHARED_LOST;
        float acc[CHUNK] = {0};
        for (int64_t i = 0; i < n; i++) {
            const char *const row = (const char *)x->data + t * token + list[i] * stride;
            const float w = weighted ? weights[list[i]] : 1.0f;
            add_row(acc, (const uint16_t *)(const void *)row + first, width, w, weighted, wrong);
        }
        for (int i = 0; order == WEIGHTED && wrong == WEIGHT_LATE && i < width; i++)
            acc[i] *= weights[0];
        finish((uint16_t *)(void *)((char *)y->data + t * y->stride[0]) + first, acc,
               added ? (const uint16_t *)(const void *)((const char *)shared->data +
                                                        t * shared->stride[0]) +
                           first
                     : NULL,
               width, once, wrong == SHARED_SCALED ? 1.5f : 1.0f);
    }
}

static int run(const dsv4_call *call, int mutant, struct dsv4_err *err) {
    const enum wrong wrong = mutant > 0 ? (enum wrong)mutants[mutant - 1].id : RIGHT;
    const enum order order = dsv4_is(call, "order", "weighted")           ? WEIGHTED
                             : dsv4_is(call, "order", "expert_ascending") ? ASCENDING
                                                                          : SLOT;
    (void)err;
#pragma omp parallel for schedule(static)
    for (int64_t t = 0; t < call->tensors[X].shape[0]; t++) combine(call, t, order, wrong);
    return DSV4_OK;
}

/*
 * The sum of a token's rows in any order, products rounded or not; bf16 where the recipe rounds between.
 */
static void bound_part(const dsv4_call *call, struct dsv4_admission *a, int64_t t, int64_t first,
                       bool weighted, bool once) {
    const dsv4_tensor *const x = &call->tensors[X], *const shared = &call->tensors[SHARED];
    const int64_t topk = x->shape[1], left = x->shape[2] - first, n = left < CHUNK ? left : CHUNK;
    const struct dsv4_row part = {Y, t * call->tensors[Y].stride[0] + 2 * first, 2, DSV4_AS_BF16, n,
                                  1};
    struct dsv4_ball balls[CHUNK];
    const int32_t *const ids = (const int32_t *)call->tensors[IDS].data + t * topk;
    const float *const weights = (const float *)call->tensors[WEIGHTS].data + t * topk;
    const uint16_t *const other =
        (const void *)((const char *)shared->data + (shared->ndim > 0 ? t * shared->stride[0] : 0));
    const bool same = dsv4_admit_same(a, &part, 0, n);
    for (int64_t i = first; i < first + n && !same; i++) {
        struct dsv4_terms terms = {0};
        for (int64_t k = 0; k < topk; k++) {
            if (ids[k] < 0) continue;
            const char *const row = (const char *)x->data + t * x->stride[0] + k * x->stride[1];
            const double w = weighted ? (double)weights[k] : 1;
            const double term =
                w * (double)dsv4_bf16_to_f32(((const uint16_t *)(const void *)row)[i]);
            dsv4_terms_add(&terms, term, weighted ? DSV4_BALL_U * fabs(term) : 0);
        }
        struct dsv4_ball y = dsv4_ball_sum(&a->arithmetic, DSV4_SUM_ROW, &terms);
        if (shared->ndim > 0 && !once) y = dsv4_ball_bf16(y);
        if (shared->ndim > 0)
            y = dsv4_ball_add(y, dsv4_ball_of((double)dsv4_bf16_to_f32(other[i])));
        balls[i - first] = y;
    }
    dsv4_admit(a, &part, balls, NULL);
}

static void bound(const dsv4_call *call, struct dsv4_admission *a) {
    const bool weighted = dsv4_is(call, "order", "weighted");
    const bool once = dsv4_is(call, "order", "expert_ascending");
#pragma omp parallel for schedule(static)
    for (int64_t t = 0; t < call->tensors[X].shape[0]; t++)
        for (int64_t first = 0; first < call->tensors[X].shape[2]; first += CHUNK)
            bound_part(call, a, t, first, weighted, once);
}

static void trace(const struct dsv4_case *c, size_t slot, int64_t offset, char *line, size_t size) {
    const dsv4_tensor *const out = &c->tensors[slot].t, *const x = &c->tensors[X].t;
    const int64_t t = offset / out->stride[0], i = offset % out->stride[0] / 2;
    const int32_t *const ids = (const int32_t *)c->tensors[IDS].t.data + t * x->shape[1];
    int n = snprintf(line, size, "token %lld, channel %lld:", (long long)t, (long long)i);
    for (int64_t k = 0; k < x->shape[1] && n > 0 && (size_t)n < size; k++) {
        const char *const row = (const char *)x->data + t * x->stride[0] + k * x->stride[1];
        const float value = dsv4_bf16_to_f32(((const uint16_t *)(const void *)row)[i]);
        n += snprintf(line + n, size - (size_t)n, " %.9g of %d", (double)value, ids[k]);
    }
}

static void work(const struct dsv4_case *c, struct dsv4_work *work) {
    const double tokens = (double)dsv4_case_int(c, "tokens"),
                 topk = (double)dsv4_case_int(c, "topk");
    const double n = tokens * (double)dsv4_case_int(c, "hidden");
    const bool weighted = dsv4_case_is(c, "order", "weighted");
    work->bytes_read = 2 * n * topk + tokens * topk * (weighted ? 8 : 4);
    if (dsv4_case_int(c, "shared") != 0) work->bytes_read += 2 * n;
    work->bytes_written = 2 * n;
}

const struct dsv4_op dsv4_op_moe_combine = {
    .name = "moe_combine",
    .summary = "adds the outputs of a token's experts and of the shared expert",
    .source = "DeepSeek MoE.forward, DeepGEMM mega_moe, vllm moe_sum",
    .bound = bound,
    .latitude = "order-mixed descending fused-product",
    DSV4_OP_PARTS,
};
