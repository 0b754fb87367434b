/* SPDX-License-Identifier: Apache-2.0 */
/*
 * norm_rms: RMSNorm of bf16 rows: attn_norm, ffn_norm, the final norm, and every other norm with a weight.
 *
 *   y[t, d] = bf16((x[t, d] * rsqrt(sum_d x[t, d]^2 / D + eps)) * weight[d])
 * Rounding points and their order: norm_row.c. One rounding to bf16, at the end; the weight may be fp32.
 * A row with a NaN is NaN; one with an infinity has r = 0: NaN where it is infinite, else zeros of their sign.
 * Source: DeepSeek inference/model.py RMSNorm; vllm RMSNorm without a residual.
 * Latitude: norm_row.c.
 */
#include "norm_bound.h"

enum { X, WEIGHT, OUT };

static const struct dsv4_param_def params[] = {
    DSV4_PARAM_FLOAT("eps", CALL, 1e-6, 0, 1, "added to the mean of squares"),
    NORM_ROWS_PARAM(3),
    DSV4_PARAM_INT("width", INPUT, 4096, 16, 8192, "channels of a row"),
    KV_VIEW_PARAM,
    NORM_VALUES_PARAM,
    NORM_WEIGHT_PARAMS,
};

static const struct dsv4_slot slots[] = {
    {"x",      DSV4_IN,  "[rows, width] bf16, rows strided", "what is normalised"},
    {"weight", DSV4_IN,  "[width] bf16 or f32",              "one per channel"   },
    {"out",    DSV4_OUT, "[rows, width] bf16, rows strided", "the normalised row"},
};

static const struct dsv4_mutant mutants[] = {
    NORM_MUTANTS_OF_ROWS,
    NORM_MUTANTS_OF_WEIGHTS,
    {"tail-lost",    "channels after the last 64 whole ones left out of the sum",                    NORM_TAIL_LOST},
    {"mean-of-pow2", "divided by the next power of two, as a padded block has it; the width counts",
      NORM_MEAN_OF_POW2                                                                                             },
    {"row-dense",    "rows taken as contiguous; they have a stride",                                 NORM_ROW_DENSE},
};

static int shape(struct dsv4_case *c, struct dsv4_err *err) {
    const int64_t rows = dsv4_case_int(c, "rows"), width = dsv4_case_int(c, "width");
    (void)err;
    DSV4_SHAPE(c, X, DSV4_BF16, rows, width);
    norm_shape_weight(c, WEIGHT, width);
    DSV4_SHAPE(c, OUT, DSV4_BF16, rows, width);
    kv_widen(c, X, 0, 64);
    kv_widen(c, OUT, 0, 32);
    norm_align(c, X);
    norm_align(c, OUT);
    return 0;
}

static void fill(struct dsv4_case *c) {
    norm_fill(c, X, dsv4_case_word(c, "values"), 1);
    norm_fill_weight(c, WEIGHT, X, 0);
}

const struct dsv4_op dsv4_op_norm_rms;

static int run(const dsv4_call *call, int mutant, struct dsv4_err *err) {
    const dsv4_tensor *const x = &call->tensors[X], *const out = &call->tensors[OUT];
    const enum norm_wrong wrong = norm_wrong_of(&dsv4_op_norm_rms, mutant);
    const int64_t stride = wrong == NORM_ROW_DENSE ? x->shape[1] * 2 : x->stride[0];
    const float eps = dsv4_float(call, "eps", 1e-6f);
    float weight[NORM_MAX_WIDTH];
    (void)err;
    kv_load_weight(weight, &call->tensors[WEIGHT]);
#pragma omp parallel for schedule(static)
    for (int64_t t = 0; t < x->shape[0]; t++)
        norm_row((void *)((char *)out->data + t * out->stride[0]),
                 (const void *)((const char *)x->data + t * stride), x->shape[1], eps, weight,
                 wrong);
    return DSV4_OK;
}

static void bound(const dsv4_call *call, struct dsv4_admission *a) {
    const dsv4_tensor *const x = &call->tensors[X], *const out = &call->tensors[OUT];
    float weight[NORM_MAX_WIDTH];
    kv_load_weight(weight, &call->tensors[WEIGHT]);
#pragma omp parallel for schedule(static)
    for (int64_t t = 0; t < x->shape[0]; t++)
        norm_row_bound(a, OUT, t * out->stride[0], norm_row_at(x, t), x->shape[1],
                       dsv4_float(call, "eps", 1e-6f), weight);
}

static void trace(const struct dsv4_case *c, size_t slot, int64_t offset, char *line, size_t size) {
    norm_trace(c, X, slot, offset, line, size);
}

static void work(const struct dsv4_case *c, struct dsv4_work *work) {
    const dsv4_tensor *const x = &c->tensors[X].t;
    work->bytes_read = work->bytes_written = (double)(x->shape[0] * x->shape[1]) * 2;
}

const struct dsv4_op dsv4_op_norm_rms = {
    .name = "norm_rms",
    .summary = "RMSNorm of bf16 rows of any width",
    .source = "DeepSeek inference/model.py RMSNorm",
    .bound = bound,
    .latitude = NORM_LATITUDE,
    DSV4_OP_PARTS,
};
