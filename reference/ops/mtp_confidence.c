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

#include "../num/exp.h"
#include "mtp_rows.h"

enum { HIDDEN, EMBED, WEIGHT, OUT };
enum { BLOCK = 128, MAX_WIDTH = 8192 + 1024 };
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

/* Sums of eight whole blocks side by side, so that their chains overlap. */
static float dot(const float *x, const float *w, int64_t n) {
    enum { SIDE = 8 };
    float total = 0.0f;
    int64_t first = 0;
    for (; first + SIDE * BLOCK <= n; first += SIDE * BLOCK) {
        float sums[SIDE] = {0};
        for (int64_t k = 0; k < BLOCK; k++)
            for (int i = 0; i < SIDE; i++) {
                const int64_t at = first + i * BLOCK + k;
                sums[i] = fmaf(x[at], w[at], sums[i]);
            }
        for (int i = 0; i < SIDE; i++) total = first == 0 && i == 0 ? sums[i] : total + sums[i];
    }
    for (; first < n; first += BLOCK) {
        float sum = 0.0f;
        for (int64_t k = first; k < n && k < first + BLOCK; k++) sum = fmaf(x[k], w[k], sum);
        total = first == 0 ? sum : total + sum;
    }
    return total;
}

static float dot_wrong(const float *x, const float *w, int64_t width, int64_t n, enum wrong wrong) {
    float sum = 0.0f;
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
    for (int64_t k = 0; wrong == ONE_RUN && k < n; k++) sum = fmaf(x[k], w[k], sum);
    return wrong == ONE_RUN ? sum : dot(x, w, n);
}

static float confidence(const float *x, const float *w, int64_t width, int64_t n,
                        enum wrong wrong) {
    float y = wrong == RIGHT ? dot(x, w, n) : dot_wrong(x, w, width, n, wrong);
    if (wrong == SIGMOID_LOST) return y;
    if (wrong == NEGATED) y = -y;
    if (wrong == ROUNDED) y = dsv4_bf16_to_f32(dsv4_bf16_from_f32(y));
    return 1.0f / (1.0f + dsv4_exp(-y));
}

static int run(const dsv4_call *call, int mutant, struct dsv4_err *err) {
    const dsv4_tensor *const hidden = &call->tensors[HIDDEN], *const embed = &call->tensors[EMBED];
    const enum wrong wrong =
        mutant > 0 ? (enum wrong)dsv4_op_mtp_confidence.mutants[mutant - 1].id : RIGHT;
    const int64_t width = hidden->shape[1], n = width + embed->shape[1];
    const int64_t stride = wrong == DENSE ? width * 2 : hidden->stride[0];
    const int64_t at = wrong == EMBED_FIRST ? embed->shape[1] : 0;
    float weight[MAX_WIDTH];
    (void)err;
    kv_load_weight(weight, &call->tensors[WEIGHT]);
#pragma omp parallel for schedule(static)
    for (int64_t t = 0; t < hidden->shape[0]; t++) {
        float x[MAX_WIDTH];
        x[0] = 0.0f; /* for compilers that do not see that n > 0 */
        kv_load_bf16(x + at, (const char *)hidden->data + t * stride, (int)width);
        kv_load_bf16(x + (at > 0 ? 0 : width), (const char *)embed->data + t * embed->stride[0],
                     (int)(n - width));
        ((float *)call->tensors[OUT].data)[t] = confidence(x, weight, width, n, wrong);
    }
    return DSV4_OK;
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
    DSV4_OP_PARTS,
};
