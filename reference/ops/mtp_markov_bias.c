/* SPDX-License-Identifier: Apache-2.0 */
/*
 * mtp_markov_bias: DSpark's Markov head: a bias of low rank, by the token before, added to a draft position's logits.
 *
 *   out[t, v] = base[t, v] + dot(w2[v], w1[prev[t]])
 * Rounding points, fp32: the dot in blocks of 128 along the rank, inside a block one accumulator from 0 by fma, ascending;
 * block sums added ascending; then one sum with base. Weights in bf16 or fp32.
 * Domain: prev is a row of w1. Positions go left to right: a position's prev is what the one before drew.
 * Source: vllm nvidia/dspark.py, models/qwen3_dspark.py (Markov head, rank 256).
 * Latitude: kernels with matrix units add up in another order.
 */
#include <math.h>
#include <stdio.h>

#include "../memory.h"
#include "../num/turn.h"
#include "../bound/admit.h"
#include "mtp_rows.h"

enum { PREV, W1, W2, BASE, OUT };
enum { BLOCK = 128, MAX_RANK = 1024, TILE = MTP_TOKENS, AT_ONCE = MTP_ROWS };
enum wrong {
    RIGHT,
    BASE_LOST,
    BASE_FIRST,
    ONE_RUN,
    PREV_OF_ROW,
    RANK_SHORT,
    ROUNDED,
    PRODUCTS_ROUNDED,
    DENSE,
    FACTORS_SWAPPED,
};

static const struct dsv4_param_def params[] = {
    NORM_ROWS_PARAM(3),
    DSV4_PARAM_INT("vocab", INPUT, 999, 1, 1 << 20, "tokens"),
    DSV4_PARAM_INT("rank", INPUT, 256, 8, 1024, "a multiple of 8"),
    DSV4_PARAM_NAME("weight_dtype", INPUT, "bf16", "bf16 f32", "dtype of w1 and w2"),
    DSV4_PARAM_NAME("id_dtype", INPUT, "i64", "i64 i32", "dtype of prev"),
    KV_VIEW_PARAM,
    DSV4_PARAM_NAME("values", INPUT, "normal", "normal coarse cancel minus_inf",
                    "weights; cancel: blocks whose sums cancel, small base, so that their order "
                    "shows; minus_inf: "
                    "every fifth base logit is -inf"),
};

static const struct dsv4_slot slots[] = {
    {"prev", DSV4_IN,  "[rows] i64 or i32",               "tokens before"             },
    {"w1",   DSV4_IN,  "[vocab, rank] bf16 or f32",       "embeds prev"               },
    {"w2",   DSV4_IN,  "[vocab, rank] bf16 or f32",       "projects to the vocabulary"},
    {"base", DSV4_IN,  "[rows, vocab] f32, rows strided", "logits"                    },
    {"out",  DSV4_OUT, "[rows, vocab] f32, rows strided", "logits with the bias"      },
};

static const struct dsv4_mutant mutants[] = {
    {"base-lost",        "the bias alone",                                              BASE_LOST      },
    {"base-first",       "base as the accumulator's start; it is added at the end",     BASE_FIRST     },
    {"one-run",          "one accumulator over the rank; the canon sums blocks of 128", ONE_RUN        },
    {"prev-of-first",    "every row biased by the first row's token",                   PREV_OF_ROW    },
    {"rank-short",       "the last eight of the rank left out",                         RANK_SHORT     },
    {"rounded",          "the bias rounded to bf16 before it is added; it is fp32",     ROUNDED        },
    {"products-rounded", "products rounded before they are added; they are fused",
     PRODUCTS_ROUNDED                                                                                  },
    {"row-dense",        "rows of logits taken as contiguous; they have a stride",      DENSE          },
    {"factors-swapped",  "w1 and w2 swapped",                                           FACTORS_SWAPPED},
};

static int shape(struct dsv4_case *c, struct dsv4_err *err) {
    const int64_t rows = dsv4_case_int(c, "rows"), vocab = dsv4_case_int(c, "vocab");
    const int64_t rank = dsv4_case_int(c, "rank");
    const uint32_t dtype = dsv4_case_is(c, "weight_dtype", "f32") ? DSV4_F32 : DSV4_BF16;
    if (rank % 8 != 0) return dsv4_fail(err, "rank: %lld; a multiple of 8", (long long)rank);
    DSV4_SHAPE(c, PREV, dsv4_case_is(c, "id_dtype", "i32") ? DSV4_I32 : DSV4_I64, rows);
    DSV4_SHAPE(c, W1, dtype, vocab, rank);
    DSV4_SHAPE(c, W2, dtype, vocab, rank);
    DSV4_SHAPE(c, BASE, DSV4_F32, rows, vocab);
    DSV4_SHAPE(c, OUT, DSV4_F32, rows, vocab);
    kv_widen(c, BASE, 0, 12);
    kv_widen(c, OUT, 0, 20);
    c->tensors[PREV].align = dsv4_dtype_bytes(c->tensors[PREV].t.dtype);
    c->tensors[BASE].align = c->tensors[OUT].align = 4;
    return 0;
}

static float weight(const struct dsv4_case *c, uint64_t stream, int64_t v, int64_t k) {
    const uint64_t bits = dsv4_random(c->seed, stream, (uint64_t)(v << 10 | k));
    if (dsv4_case_is(c, "values", "coarse")) return (float)((int)(bits >> 40 & 15) - 8) / 8.0f;
    const float x = dsv4_normal(bits) / 8.0f * 0x1.0c1524p+0f;
    /* In w2 the second block is the first one, negated, but for what is small. */
    if (!dsv4_case_is(c, "values", "cancel") || k < BLOCK || k >= 2 * BLOCK) return x;
    const float before = weight(c, stream, v, k - BLOCK);
    return (stream == 2 ? -before : before) * (1.0f + 0x1p-6f * (float)(k % 3));
}

static void fill_weight(const struct dsv4_case *c, size_t slot, uint64_t stream) {
    const dsv4_tensor *const w = &c->tensors[slot].t;
#pragma omp parallel for schedule(static)
    for (int64_t v = 0; v < w->shape[0]; v++)
        for (int64_t k = 0; k < w->shape[1]; k++) {
            const float x = weight(c, stream, v, k);
            if (w->dtype == DSV4_F32)
                ((float *)w->data)[v * w->shape[1] + k] = x;
            else
                ((uint16_t *)w->data)[v * w->shape[1] + k] = dsv4_bf16_from_f32(x);
        }
}

static void fill(struct dsv4_case *c) {
    const dsv4_tensor *const prev = &c->tensors[PREV].t, *const base = &c->tensors[BASE].t;
    const int64_t vocab = base->shape[1];
    const bool inf = dsv4_case_is(c, "values", "minus_inf");
    const bool coarse = dsv4_case_is(c, "values", "coarse");
    /* Small where the bias is, so that its last bits show. */
    const float unit = dsv4_case_is(c, "values", "cancel") ? 0x1p-12f : 4.0f;
    fill_weight(c, W1, 1);
    fill_weight(c, W2, 2);
    for (int64_t t = 0; t < prev->shape[0]; t++) {
        const int64_t id =
            t == 1 ? vocab - 1 : dsv4_below(dsv4_random(c->seed, 3, (uint64_t)t), vocab);
        if (prev->dtype == DSV4_I32)
            ((int32_t *)prev->data)[t] = (int32_t)id;
        else
            ((int64_t *)prev->data)[t] = id;
    }
#pragma omp parallel for schedule(static)
    for (int64_t t = 0; t < base->shape[0]; t++) {
        float *const row = (void *)((char *)base->data + t * base->stride[0]);
        for (int64_t v = 0; v < vocab; v++) {
            const uint64_t bits = dsv4_random(c->seed, 4, (uint64_t)(t << 21 | v));
            row[v] = inf && v % 5 == 2 ? -INFINITY
                     : coarse          ? (float)((int)(bits >> 40 & 63) - 32) / 4.0f
                                       : dsv4_normal(bits) * unit * 0x1.0c1524p+0f;
        }
    }
}

struct bias {
    const dsv4_tensor *prev, *w1, *w2, *base, *out;
    int64_t rank, vocab;
    float *embed; /* [rows, rank] */
    enum wrong wrong;
};

static void load(float *to, const dsv4_tensor *w, int64_t row, int64_t rank) {
    if (w->dtype == DSV4_F32)
        memcpy(to, (const float *)w->data + row * rank, (size_t)rank * sizeof *to);
    else
        kv_load_bf16(to, (const uint16_t *)w->data + row * rank, (int)rank);
}

void mtp_add_bias(float *restrict total, const float *w, const float *const *embed, int64_t first,
                  int64_t n) {
    float chains[AT_ONCE][TILE] = {{0}}; /* whose address nobody has: they stay in registers */
    for (int64_t k = first; k < first + n; k++)
        for (int i = 0; i < AT_ONCE; i++)
#pragma omp simd
            for (int l = 0; l < TILE; l++)
                chains[i][l] = fmaf(w[k * TILE + l], embed[i][k], chains[i][l]);
    for (int i = 0; i < AT_ONCE; i++)
        for (int l = 0; l < TILE; l++) {
            float *const to = &total[i * TILE + l];
            *to = first == 0 ? chains[i][l] : *to + chains[i][l];
        }
}

static void tile_rows(const struct bias *b, const float *w, int64_t v0, int64_t n, int64_t t0) {
    const int64_t rows = b->out->shape[0];
    const float *embed[AT_ONCE];
    float total[AT_ONCE * TILE];
    for (int i = 0; i < AT_ONCE; i++)
        embed[i] = b->embed + (t0 + i < rows ? t0 + i : rows - 1) * b->rank;
    for (int64_t k = 0; k < b->rank; k += BLOCK)
        mtp_add_bias(total, w, embed, k, b->rank - k < BLOCK ? b->rank - k : BLOCK);
    for (int64_t t = t0; t < rows && t < t0 + AT_ONCE; t++) {
        const float *const base =
            (const void *)((const char *)b->base->data + t * b->base->stride[0]);
        float *const out = (void *)((char *)b->out->data + t * b->out->stride[0]);
        for (int64_t l = 0; l < n; l++) out[v0 + l] = base[v0 + l] + total[(t - t0) * TILE + l];
    }
}

/* TILE tokens of the vocabulary, rank by rank. */
static void tile(const struct bias *b, int64_t v0) {
    const int64_t n = b->vocab - v0 < TILE ? b->vocab - v0 : TILE;
    float rows[DSV4_TURN_ROWS * MAX_RANK], w[MAX_RANK * TILE];
    w[0] = 0.0f; /* for compilers that do not see that rank > 0 */
    for (int64_t l = 0; l < TILE; l += DSV4_TURN_ROWS) {
        for (int64_t t = 0; t < DSV4_TURN_ROWS; t++)
            load(rows + t * MAX_RANK, b->w2, v0 + (l + t < n ? l + t : n - 1), b->rank);
        for (int64_t first = 0; first < b->rank; first += BLOCK) {
            const int64_t size = b->rank - first < BLOCK ? b->rank - first : BLOCK;
            dsv4_turn_into(w + first * TILE + l, TILE, rows + first, MAX_RANK, size);
        }
    }
    for (int64_t t = 0; t < b->out->shape[0]; t += AT_ONCE) tile_rows(b, w, v0, n, t);
}

static float wrong_dot(const struct bias *b, const float *w, const float *e, float base) {
    const int64_t rank = b->rank - (b->wrong == RANK_SHORT ? 8 : 0);
    float total = 0.0f, sum = b->wrong == BASE_FIRST ? base : 0.0f;
    for (int64_t k = 0; k < rank; k++) {
        sum = b->wrong == PRODUCTS_ROUNDED ? sum + w[k] * e[k] : fmaf(w[k], e[k], sum);
        if (b->wrong == ONE_RUN || (k % BLOCK != BLOCK - 1 && k + 1 != rank)) continue;
        total = k < BLOCK ? sum : total + sum;
        sum = 0.0f;
    }
    return b->wrong == ONE_RUN ? sum : total;
}

static void run_wrong(const struct bias *b) {
    float w[MAX_RANK];
    for (int64_t t = 0; t < b->out->shape[0]; t++) {
        const float *const e = b->embed + (b->wrong == PREV_OF_ROW ? 0 : t) * b->rank;
        const bool dense = b->wrong == DENSE;
        const float *const base = (const void *)((const char *)b->base->data +
                                                 t * (dense ? b->vocab * 4 : b->base->stride[0]));
        float *const out = (void *)((char *)b->out->data + t * b->out->stride[0]);
        for (int64_t v = 0; v < b->vocab; v++) {
            load(w, b->w2, v, b->rank);
            float x = wrong_dot(b, w, e, base[v]);
            if (b->wrong == ROUNDED) x = dsv4_bf16_to_f32(dsv4_bf16_from_f32(x));
            out[v] = b->wrong == BASE_LOST || b->wrong == BASE_FIRST ? x : base[v] + x;
        }
    }
}

const struct dsv4_op dsv4_op_mtp_markov_bias;

/* `embed` is the caller's to free. */
static struct bias open_bias(const dsv4_call *call, int mutant) {
    const dsv4_tensor *const x = call->tensors;
    struct bias b = {.prev = &x[PREV],
                     .w1 = &x[W1],
                     .w2 = &x[W2],
                     .base = &x[BASE],
                     .out = &x[OUT],
                     .rank = x[W1].shape[1],
                     .vocab = x[W2].shape[0]};
    b.wrong = mutant > 0 ? (enum wrong)dsv4_op_mtp_markov_bias.mutants[mutant - 1].id : RIGHT;
    if (b.wrong == FACTORS_SWAPPED) b.w1 = &x[W2], b.w2 = &x[W1];
    const int64_t rows = x[OUT].shape[0];
    b.embed = dsv4_alloc((size_t)(rows * b.rank + 1) * sizeof *b.embed);
    for (int64_t t = 0; t < rows; t++)
        load(b.embed + t * b.rank, b.w1,
             b.prev->dtype == DSV4_I32 ? kv_i32(b.prev, t) : kv_i64(b.prev, t), b.rank);
    return b;
}

static int run(const dsv4_call *call, int mutant, struct dsv4_err *err) {
    const struct bias b = open_bias(call, mutant);
    (void)err;
    if (b.wrong != RIGHT && b.wrong != FACTORS_SWAPPED) {
        run_wrong(&b);
    } else {
#pragma omp parallel for schedule(static)
        for (int64_t v = 0; v < b.vocab; v += TILE) tile(&b, v);
    }
    dsv4_free(b.embed);
    return DSV4_OK;
}

/* The exact products and the base are terms of one sum in the declared class: a kernel may begin with the base. */
static void bound_row(const struct bias *b, struct dsv4_admission *a, int64_t t) {
    const float *const e = b->embed + t * b->rank;
    const float *const base = (const void *)((const char *)b->base->data + t * b->base->stride[0]);
    float w[MAX_RANK];
    w[0] = 0.0f;
    for (int64_t v = 0; v < b->vocab; v++) {
        const struct dsv4_row row = {OUT, t * b->out->stride[0] + 4 * v, 4, DSV4_AS_F32, 1, 1};
        struct dsv4_terms terms = {0};
        load(w, b->w2, v, b->rank);
        for (int64_t k = 0; k < b->rank; k++)
            dsv4_terms_add(&terms, (double)w[k] * (double)e[k], 0);
        dsv4_terms_add(&terms, (double)base[v], 0);
        const struct dsv4_ball y = dsv4_ball_sum(&a->arithmetic, DSV4_SUM_DOT, &terms);
        dsv4_admit(a, &row, &y, NULL);
    }
}

static void bound(const dsv4_call *call, struct dsv4_admission *a) {
    const struct bias b = open_bias(call, 0);
#pragma omp parallel for schedule(static)
    for (int64_t t = 0; t < b.out->shape[0]; t++) bound_row(&b, a, t);
    dsv4_free(b.embed);
}

static void trace(const struct dsv4_case *c, size_t slot, int64_t offset, char *line, size_t size) {
    const dsv4_tensor *const out = &c->tensors[slot].t;
    const int64_t t = offset / out->stride[0], v = offset % out->stride[0] / 4;
    const char *const base = (const char *)c->tensors[BASE].t.data;
    float x;
    memcpy(&x, base + t * c->tensors[BASE].t.stride[0] + v * 4, sizeof x);
    snprintf(line, size, "row %lld, token %lld: base %.9g", (long long)t, (long long)v, (double)x);
}

static void work(const struct dsv4_case *c, struct dsv4_work *work) {
    const dsv4_tensor *const w2 = &c->tensors[W2].t, *const out = &c->tensors[OUT].t;
    const double logits = (double)(out->shape[0] * out->shape[1]);
    const double weights = (double)((w2->shape[0] + out->shape[0]) * w2->shape[1]);
    work->bytes_read = logits * 4 + weights * (double)dsv4_dtype_bytes(w2->dtype);
    work->bytes_written = logits * 4;
    work->fmas = logits * (double)w2->shape[1];
}

const struct dsv4_op dsv4_op_mtp_markov_bias = {
    .name = "mtp_markov_bias",
    .summary = "adds DSpark's low-rank Markov bias of the token before to draft logits",
    .source = "vllm nvidia/dspark.py",
    .bound = bound,
    .latitude = "base-first one-run products-rounded",
    DSV4_OP_PARTS,
};
