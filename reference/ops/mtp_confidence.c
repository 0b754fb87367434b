/* SPDX-License-Identifier: Apache-2.0 */
/*
 * mtp_confidence: DSpark's confidence in a draft token.
 *
 *   out[t] = sigmoid(dot(weight, [hidden[t] ; embed[t]])), no bias; embed is the Markov head's row of the token before
 * Rounding points, fp32: the dot over both parts as one vector, in blocks of 128, inside a block one accumulator from 0 by
 * fma, ascending; block sums added ascending; sigmoid = 1 / (1 + exp(-x)) as these three roundings.
 * Source: vllm nvidia/dspark.py, models/qwen3_dspark.py (confidence head, width H + 256).
 * Latitude: the order of the sum, and an approximate exp.
 */
#include <math.h>
#include <stdio.h>

#include "../memory.h"
#include "../num/exp.h"
#include "../num/turn.h"
#include "../bound/admit.h"
#include "mtp_rows.h"

enum { HIDDEN, EMBED, WEIGHT, OUT };
enum { BLOCK = DSV4_TURN_MOST, ROWS = MTP_COLUMNS, MAX_WIDTH = 8192 + 1024 };
/* A line of a cache more, so that rows do not share its sets; blocks are read to their ends. */
enum { APART = MAX_WIDTH + BLOCK + 32 };
enum wrong {
    RIGHT,
    EMBED_LOST,
    EMBED_FIRST,
    ONE_RUN,
    SIGMOID_LOST,
    NEGATED,
    ROUNDED,
    DENSE,
    PARTS,
    PRODUCTS
};

static const struct dsv4_param_def params[] = {
    NORM_ROWS_PARAM(3),
    DSV4_PARAM_INT("width", INPUT, 4096, 1, 8192, "hidden size"),
    DSV4_PARAM_INT("rank", INPUT, 256, 1, 1024, "width of embed"),
    DSV4_PARAM_NAME("weight_dtype", INPUT, "bf16", "bf16 f32", "dtype of the weight"),
    KV_VIEW_PARAM,
    DSV4_PARAM_NAME("values", INPUT, "normal", "normal coarse large",
                    "hidden rows; large: sums up to +-200, where exp overflows"),
};

static const struct dsv4_slot slots[] = {
    {"hidden", DSV4_IN,  "[rows, width] bf16, rows strided", "hidden rows"                },
    {"embed",  DSV4_IN,  "[rows, rank] bf16, rows strided",  "of the token before"        },
    {"weight", DSV4_IN,  "[width + rank] bf16 or f32",       "the head"                   },
    {"out",    DSV4_OUT, "[rows] f32",                       "confidence, between 0 and 1"},
};

static const struct dsv4_mutant mutants[] = {
    {"embed-lost",       "the embedding left out of the dot",                            EMBED_LOST  },
    {"embed-first",      "the embedding before the hidden row; it comes after",          EMBED_FIRST },
    {"one-run",          "one accumulator over the row; the canon sums blocks of 128",   ONE_RUN     },
    {"parts-apart",      "blocks begin anew with the embedding; both parts are one row", PARTS       },
    {"products-rounded", "products rounded before they are added; they are fused",       PRODUCTS    },
    {"sigmoid-lost",     "the dot itself",                                               SIGMOID_LOST},
    {"negated",          "sigmoid of the negated dot",                                   NEGATED     },
    {"rounded",          "the dot rounded to bf16 before the sigmoid; it is fp32",       ROUNDED     },
    {"row-dense",        "hidden rows taken as contiguous; they have a stride",          DENSE       },
};

static int shape(struct dsv4_case *c, struct dsv4_err *err) {
    const int64_t rows = dsv4_case_int(c, "rows"), width = dsv4_case_int(c, "width");
    const int64_t rank = dsv4_case_int(c, "rank");
    (void)err;
    DSV4_SHAPE(c, HIDDEN, DSV4_BF16, rows, width);
    DSV4_SHAPE(c, EMBED, DSV4_BF16, rows, rank);
    DSV4_SHAPE(c, WEIGHT, dsv4_case_is(c, "weight_dtype", "f32") ? DSV4_F32 : DSV4_BF16,
               width + rank);
    DSV4_SHAPE(c, OUT, DSV4_F32, rows);
    kv_widen(c, HIDDEN, 0, 64);
    kv_widen(c, EMBED, 0, 32);
    norm_align(c, HIDDEN);
    norm_align(c, EMBED);
    c->tensors[OUT].align = 4;
    return 0;
}

static void fill(struct dsv4_case *c) {
    const dsv4_tensor *const w = &c->tensors[WEIGHT].t;
    const bool coarse = dsv4_case_is(c, "values", "coarse");
    const float unit = dsv4_case_is(c, "values", "large") ? 1.0f : 0.0625f;
    norm_fill(c, HIDDEN, coarse ? "coarse" : "normal", 1);
    norm_fill(c, EMBED, coarse ? "coarse" : "normal", 3);
    for (int64_t i = 0; i < w->shape[0]; i++) {
        const float x = dsv4_normal(dsv4_random(c->seed, 5, (uint64_t)i)) * unit * 0x1.0c1524p+0f;
        if (w->dtype == DSV4_F32)
            ((float *)w->data)[i] = x;
        else
            ((uint16_t *)w->data)[i] = dsv4_bf16_from_f32(x);
    }
}

const struct dsv4_op dsv4_op_mtp_confidence;

void mtp_add_dots(float *restrict total, const float *restrict columns, const float *restrict w,
                  int64_t n, bool first) {
    float chains[ROWS] = {0};
    for (int64_t k = 0; k < n; k++)
#pragma omp simd
        for (int t = 0; t < ROWS; t++) chains[t] = fmaf(columns[k * ROWS + t], w[k], chains[t]);
    for (int t = 0; t < ROWS; t++) total[t] = first ? chains[t] : total[t] + chains[t];
}

/* Codes of which a NaN is the canonical one. */
static void load_codes(uint16_t *restrict to, const void *row, int64_t n) {
    const uint16_t *const from = row;
#pragma omp simd
    for (int64_t i = 0; i < n; i++) to[i] = (from[i] & 0x7FFF) > 0x7F80 ? 0x7FC0 : from[i];
}

/* Columns of a block of ROWS rows that lie APART. Two codes turn as one float, in half the steps. */
static void turn_codes(float *restrict columns, const uint16_t *codes, int64_t n) {
    float twos[ROWS * BLOCK / 2], turned[ROWS * BLOCK / 2];
    for (int64_t t = 0; t < ROWS; t++)
        memcpy(twos + t * BLOCK / 2, codes + t * APART, BLOCK * sizeof *codes);
    dsv4_turn(turned, twos, BLOCK / 2, (n + 1) / 2);
    for (int64_t k = 0; k < n; k += 2)
#pragma omp simd
        for (int t = 0; t < ROWS; t++) {
            const uint32_t two = dsv4_bits(turned[k / 2 * ROWS + t]);
            columns[k * ROWS + t] = dsv4_from_bits(two << 16);
            columns[(k + 1) * ROWS + t] = dsv4_from_bits(two & 0xFFFF0000u);
        }
}

/* Of ROWS rows, side by side. */
static void dots(float *total, const uint16_t *codes, const float *w, int64_t n) {
    float columns[BLOCK * ROWS];
    for (int64_t first = 0; first < n; first += BLOCK) {
        const int64_t size = n - first < BLOCK ? n - first : BLOCK;
        turn_codes(columns, codes + first, size);
        mtp_add_dots(total, columns, w + first, size, first == 0);
    }
}

/* Of one row, where others are wrong. */
static float dot(const float *x, const float *w, int64_t n) {
    float total = 0.0f;
    for (int64_t first = 0; first < n; first += BLOCK) {
        float sum = 0.0f;
        for (int64_t k = first; k < n && k < first + BLOCK; k++) sum = fmaf(x[k], w[k], sum);
        total = first == 0 ? sum : total + sum;
    }
    return total;
}

static float dot_wrong(const uint16_t *codes, const float *w, int64_t width, int64_t n,
                       enum wrong wrong) {
    float x[MAX_WIDTH], sum = 0.0f;
    kv_load_bf16(x, codes, (int)n);
    if (wrong == EMBED_LOST) return dot(x, w, width);
    if (wrong == PARTS) return dot(x, w, width) + dot(x + width, w + width, n - width);
    if (wrong == PRODUCTS) {
        float total = 0.0f;
        for (int64_t first = 0; first < n; first += BLOCK, total += sum) {
            sum = 0.0f;
            for (int64_t k = first; k < n && k < first + BLOCK; k++) sum += x[k] * w[k];
        }
        return total;
    }
    for (int64_t k = 0; k < n; k++) sum = fmaf(x[k], w[k], sum);
    return sum;
}

static bool sums_otherwise(enum wrong wrong) {
    return wrong == EMBED_LOST || wrong == PARTS || wrong == PRODUCTS || wrong == ONE_RUN;
}

static float confidence(float y, enum wrong wrong) {
    if (wrong == SIGMOID_LOST) return y;
    if (wrong == NEGATED) y = -y;
    if (wrong == ROUNDED) y = dsv4_bf16_to_f32(dsv4_bf16_from_f32(y));
    return 1.0f / (1.0f + dsv4_exp(-y));
}

/* Rows first .. first + ROWS - 1; codes has room for them. */
static void tile(const dsv4_call *call, const float *weight, uint16_t *codes, int64_t first,
                 enum wrong wrong) {
    const dsv4_tensor *const hidden = &call->tensors[HIDDEN], *const embed = &call->tensors[EMBED];
    const int64_t left = hidden->shape[0] - first, rows = left < ROWS ? left : ROWS;
    const int64_t width = hidden->shape[1], n = width + embed->shape[1];
    const int64_t stride = wrong == DENSE ? width * 2 : hidden->stride[0];
    const int64_t at = wrong == EMBED_FIRST ? embed->shape[1] : 0;
    float total[ROWS] = {0};
    for (int64_t t = 0; t < rows; t++) {
        uint16_t *const row = codes + t * APART;
        load_codes(row + at, (const char *)hidden->data + (first + t) * stride, width);
        load_codes(row + (at > 0 ? 0 : width),
                   (const char *)embed->data + (first + t) * embed->stride[0], n - width);
    }
    if (sums_otherwise(wrong))
        for (int64_t t = 0; t < rows; t++)
            total[t] = dot_wrong(codes + t * APART, weight, width, n, wrong);
    else
        dots(total, codes, weight, n);
    for (int64_t t = 0; t < rows; t++)
        ((float *)call->tensors[OUT].data)[first + t] = confidence(total[t], wrong);
}

static int run(const dsv4_call *call, int mutant, struct dsv4_err *err) {
    const enum wrong wrong =
        mutant > 0 ? (enum wrong)dsv4_op_mtp_confidence.mutants[mutant - 1].id : RIGHT;
    float weight[MAX_WIDTH];
    (void)err;
    kv_load_weight(weight, &call->tensors[WEIGHT]);
#pragma omp parallel
    {
        uint16_t *const codes = dsv4_alloc(ROWS * APART * sizeof *codes);
#pragma omp for schedule(static)
        for (int64_t first = 0; first < call->tensors[HIDDEN].shape[0]; first += ROWS)
            tile(call, weight, codes, first, wrong);
        dsv4_free(codes);
    }
    return DSV4_OK;
}

/* The exact products are terms of one sum in the declared class; then the sigmoid's three steps. */
static void bound(const dsv4_call *call, struct dsv4_admission *a) {
    const dsv4_tensor *const hidden = &call->tensors[HIDDEN], *const embed = &call->tensors[EMBED];
    const int64_t width = hidden->shape[1], n = width + embed->shape[1];
    float weight[MAX_WIDTH], x[MAX_WIDTH];
    kv_load_weight(weight, &call->tensors[WEIGHT]);
    for (int64_t t = 0; t < hidden->shape[0]; t++) {
        const struct dsv4_row row = {OUT, 4 * t, 4, DSV4_AS_F32, 1, 1};
        struct dsv4_terms terms = {0};
        if (dsv4_admit_settled(a, &row, 1)) continue;
        kv_load_bf16(x, (const char *)hidden->data + t * hidden->stride[0], (int)width);
        kv_load_bf16(x + width, (const char *)embed->data + t * embed->stride[0], (int)(n - width));
        for (int64_t i = 0; i < n; i++) dsv4_terms_add(&terms, (double)x[i] * (double)weight[i], 0);
        const struct dsv4_ball y =
            dsv4_ball_sigmoid(&a->arithmetic, dsv4_ball_sum(&a->arithmetic, DSV4_SUM_DOT, &terms));
        dsv4_admit(a, &row, &y, NULL);
    }
}

static void trace(const struct dsv4_case *c, size_t slot, int64_t offset, char *line, size_t size) {
    (void)c, (void)slot;
    snprintf(line, size, "row %lld", (long long)(offset / 4));
}

static void work(const struct dsv4_case *c, struct dsv4_work *work) {
    const dsv4_tensor *const w = &c->tensors[WEIGHT].t;
    const double rows = (double)c->tensors[HIDDEN].t.shape[0], n = (double)w->shape[0];
    work->bytes_read = rows * n * 2 + n * (double)dsv4_dtype_bytes(w->dtype);
    work->bytes_written = rows * 4;
    work->fmas = rows * n;
    work->exponentials = rows;
}

const struct dsv4_op dsv4_op_mtp_confidence = {
    .name = "mtp_confidence",
    .summary = "DSpark's confidence: sigmoid of a dot with hidden row and Markov embedding",
    .source = "vllm nvidia/dspark.py",
    .bound = bound,
    .latitude = "one-run parts-apart products-rounded",
    DSV4_OP_PARTS,
};
