/* SPDX-License-Identifier: Apache-2.0 */
/*
 * norm_q_kv: RMSNorm of the two latents of a token, in one kernel.
 *
 * qr [T, q_lora] and kv [T, 512] are column slices of one [T, q_lora + 512] projection, so both have its row stride:
 *   q_out  = bf16((qr * rsqrt(sum qr^2 / q_lora + eps)) * q_weight)
 *   kv_out = bf16((kv * rsqrt(sum kv^2 / 512 + eps)) * kv_weight)
 * Rounding points: norm_row.c, for each.
 * Source: vllm fused_q_kv_rmsnorm (fused_qk_rmsnorm.py).
 * Latitude: norm_row.c.
 */
#include "norm_bound.h"

enum { QR, KV, Q_WEIGHT, KV_WEIGHT, Q_OUT, KV_OUT };

static const struct dsv4_param_def params[] = {
    DSV4_PARAM_FLOAT("eps", CALL, 1e-6, 0, 1, "added to the mean of squares"),
    NORM_ROWS_PARAM(3),
    DSV4_PARAM_INT("q_lora", INPUT, 1024, 64, 4096, "1024 (Flash) or 1536 (Pro)"),
    DSV4_PARAM_INT("kv_width", INPUT, 512, 64, 4096, "512"),
    KV_VIEW_PARAM,
    NORM_VALUES_PARAM,
    NORM_WEIGHT_PARAMS,
};

static const struct dsv4_slot slots[] = {
    {"qr",        DSV4_IN,  "[rows, q_lora] bf16, rows strided",   "first columns of the projection"},
    {"kv",        DSV4_IN,  "[rows, kv_width] bf16, rows strided", "its last columns"               },
    {"q_weight",  DSV4_IN,  "[q_lora] bf16 or f32",                "q_norm"                         },
    {"kv_weight", DSV4_IN,  "[kv_width] bf16 or f32",              "kv_norm"                        },
    {"q_out",     DSV4_OUT, "[rows, q_lora] bf16, rows strided",   "normalised"                     },
    {"kv_out",    DSV4_OUT, "[rows, kv_width] bf16, rows strided", "normalised"                     },
};

static const struct dsv4_mutant mutants[] = {
    NORM_MUTANTS_OF_ROWS,
    NORM_MUTANTS_OF_WEIGHTS,
    {"row-dense",       "rows taken as contiguous; they have the projection's stride",     NORM_ROW_DENSE      },
    {"weights-swapped", "kv normalised with q's weight; it has its own",                   NORM_WEIGHTS_SWAPPED},
    {"width-of-q",      "kv's mean taken over q_lora channels; it has a width of its own",
      NORM_WIDTH_OF_Q                                                                                           },
    {"kv-copied",       "kv copied without a norm",                                        NORM_KV_SKIPPED     },
};

static int shape(struct dsv4_case *c, struct dsv4_err *err) {
    const int64_t rows = dsv4_case_int(c, "rows"), q_lora = dsv4_case_int(c, "q_lora");
    const int64_t width = dsv4_case_int(c, "kv_width");
    (void)err;
    DSV4_SHAPE(c, QR, DSV4_BF16, rows, q_lora);
    DSV4_SHAPE(c, KV, DSV4_BF16, rows, width);
    dsv4_widen(c, QR, 0, width * 2);
    dsv4_widen(c, KV, 0, q_lora * 2);
    norm_shape_weight(c, Q_WEIGHT, q_lora);
    norm_shape_weight(c, KV_WEIGHT, width);
    DSV4_SHAPE(c, Q_OUT, DSV4_BF16, rows, q_lora);
    DSV4_SHAPE(c, KV_OUT, DSV4_BF16, rows, width);
    kv_widen(c, Q_OUT, 0, 32);
    kv_widen(c, KV_OUT, 0, 64);
    for (size_t slot = QR; slot <= KV_OUT; slot++) norm_align(c, slot);
    return 0;
}

static void fill(struct dsv4_case *c) {
    norm_fill(c, QR, dsv4_case_word(c, "values"), 1);
    norm_fill(c, KV, dsv4_case_word(c, "values"), 3);
    norm_fill_weight(c, Q_WEIGHT, QR, 0);
    norm_fill_weight(c, KV_WEIGHT, KV, 1);
}

const struct dsv4_op dsv4_op_norm_q_kv;

static const uint16_t *row_of(const dsv4_tensor *x, int64_t t, enum norm_wrong wrong) {
    const int64_t stride = wrong == NORM_ROW_DENSE ? x->shape[1] * 2 : x->stride[0];
    return (const void *)((const char *)x->data + t * stride);
}

/* kv's row with the mean over another width: a wrong reference. */
static void row_of_other_width(uint16_t *out, const uint16_t *x, int64_t n, int64_t width,
                               float eps, const float *weight) {
    uint16_t padded[NORM_MAX_WIDTH] = {0}, result[NORM_MAX_WIDTH];
    memcpy(padded, x, (size_t)n * sizeof *padded);
    norm_row(result, padded, width > n ? width : n, eps, weight, NORM_RIGHT);
    memcpy(out, result, (size_t)n * sizeof *out);
}

static int run(const dsv4_call *call, int mutant, struct dsv4_err *err) {
    const dsv4_tensor *const qr = &call->tensors[QR], *const kv = &call->tensors[KV];
    const dsv4_tensor *const q_out = &call->tensors[Q_OUT], *const kv_out = &call->tensors[KV_OUT];
    const enum norm_wrong wrong = norm_wrong_of(&dsv4_op_norm_q_kv, mutant);
    const float eps = dsv4_float(call, "eps", 1e-6f);
    float q_weight[NORM_MAX_WIDTH] = {0}, kv_weight[NORM_MAX_WIDTH] = {0};
    (void)err;
    kv_load_weight(q_weight, &call->tensors[Q_WEIGHT]);
    kv_load_weight(kv_weight, &call->tensors[KV_WEIGHT]);
    const float *const of_kv = wrong == NORM_WEIGHTS_SWAPPED ? q_weight : kv_weight;
#pragma omp parallel for schedule(static)
    for (int64_t t = 0; t < qr->shape[0]; t++) {
        uint16_t *const to = (void *)((char *)kv_out->data + t * kv_out->stride[0]);
        norm_row((void *)((char *)q_out->data + t * q_out->stride[0]), row_of(qr, t, wrong),
                 qr->shape[1], eps, q_weight, wrong);
        if (wrong == NORM_KV_SKIPPED)
            memcpy(to, row_of(kv, t, wrong), (size_t)kv->shape[1] * sizeof *to);
        else if (wrong == NORM_WIDTH_OF_Q)
            row_of_other_width(to, row_of(kv, t, wrong), kv->shape[1], qr->shape[1], eps, of_kv);
        else
            norm_row(to, row_of(kv, t, wrong), kv->shape[1], eps, of_kv, wrong);
    }
    return DSV4_OK;
}

static void bound(const dsv4_call *call, struct dsv4_admission *a) {
    const float eps = dsv4_float(call, "eps", 1e-6f);
    for (size_t part = 0; part < 2; part++) { /* q, then kv: the slots run alike */
        const dsv4_tensor *const x = &call->tensors[QR + part];
        const dsv4_tensor *const out = &call->tensors[Q_OUT + part];
        float weight[NORM_MAX_WIDTH];
        kv_load_weight(weight, &call->tensors[Q_WEIGHT + part]);
#pragma omp parallel for schedule(static)
        for (int64_t t = 0; t < x->shape[0]; t++)
            norm_row_bound(a, Q_OUT + part, t * out->stride[0], norm_row_at(x, t), x->shape[1], eps,
                           weight);
    }
}

static void trace(const struct dsv4_case *c, size_t slot, int64_t offset, char *line, size_t size) {
    norm_trace(c, slot == Q_OUT ? QR : KV, slot, offset, line, size);
}

static void work(const struct dsv4_case *c, struct dsv4_work *work) {
    const int64_t width = c->tensors[QR].t.shape[1] + c->tensors[KV].t.shape[1];
    work->bytes_read = work->bytes_written = (double)(c->tensors[QR].t.shape[0] * width) * 2;
}

const struct dsv4_op dsv4_op_norm_q_kv = {
    .name = "norm_q_kv",
    .summary = "RMSNorm of a token's q and kv latents, slices of one projection",
    .source = "vllm fused_q_kv_rmsnorm",
    .bound = bound,
    .latitude = NORM_LATITUDE,
    DSV4_OP_PARTS,
};
