/* SPDX-License-Identifier: Apache-2.0 */
/*
 * mtp_input_norm: the two norms before an MTP layer, in one kernel: of the next token's embedding, and of each of the
 * four residual streams that the target left.
 *
 *   e_out[t] = RMSNorm(embeds[t], or +0 everywhere where positions[t] is 0) * enorm
 *   h_out[t, j] = RMSNorm(hidden[t, j]) * hnorm, j = 0..3
 * dialect `mask`: vllm, position 0 masked as above: 0 * r * w, so that the sign of zero follows the weight and an
 *   infinite weight gives NaN; ref, no mask (DeepSeek's model.py).
 * Rounding points: norm_row.c, for each row. Every row is written, those of padded tokens too.
 * Source: vllm fused_mtp_input_rmsnorm.py; DeepSeek inference/model.py MTPBlock.
 * Latitude: norm_row.c.
 */
#include <stdio.h>

#include "norm_bound.h"

enum { EMBEDS, HIDDEN, POSITIONS, ENORM, HNORM, E_OUT, H_OUT };
enum { STREAMS = 4 };

static const struct dsv4_param_def params[] = {
    DSV4_PARAM_NAME("mask", DIALECT, "vllm", "vllm ref",
                    "position 0: embedding taken as 0, or not"),
    DSV4_PARAM_FLOAT("eps", CALL, 1e-6, 0, 1, "added to the mean of squares"),
    DSV4_PARAM_INT("width", INPUT, 4096, 16, 8192, "hidden size"),
    KV_STEP_PARAMS("3@0"),
    NORM_VALUES_PARAM,
    NORM_WEIGHT_PARAMS,
};

static const struct dsv4_slot slots[] = {
    {"embeds",    DSV4_IN,  "[T, width] bf16, rows strided", "embeddings of the next tokens" },
    {"hidden",    DSV4_IN,  "[T, 4, width] bf16, strided",   "residual streams of the target"},
    {"positions", DSV4_IN,  "[T] i64",                       "token positions"               },
    {"enorm",     DSV4_IN,  "[width] bf16 or f32",           "weight of the embeddings"      },
    {"hnorm",     DSV4_IN,  "[width] bf16 or f32",           "weight of the streams"         },
    {"e_out",     DSV4_OUT, "[T, width] bf16, rows strided", "normalised embeddings"         },
    {"h_out",     DSV4_OUT, "[T, 4, width] bf16, strided",   "normalised streams"            },
};

static const struct dsv4_mutant mutants[] = {
    NORM_MUTANTS_OF_ROWS,
    NORM_MUTANTS_OF_WEIGHTS,
    {"row-dense",          "rows taken as contiguous; they have strides",           NORM_ROW_DENSE       },
    {"mask-other",         "position 0 masked where it is not, or not where it is", NORM_MASK_LOST       },
    {"mask-kept",          "a masked row is not written; it is zeros",              NORM_MASK_ROW_SKIPPED},
    {"mask-positive-zero", "a masked row is +0; the sign follows the weight",
      NORM_MASK_POSITIVE_ZERO                                                                             },
    {"mask-hidden",        "the streams of position 0 masked too",                  NORM_MASK_HIDDEN     },
    {"mask-first-row",     "the first row masked; positions says which",            NORM_MASK_FIRST_ROW  },
    {"weights-swapped",    "enorm and hnorm swapped",                               NORM_WEIGHTS_SWAPPED },
    {"stream-zero",        "stream 0 normalised four times",                        NORM_STREAM_ZERO     },
    {"streams-together",   "one mean over the four streams; each has its own",      NORM_STREAMS_TOGETHER},
};

static int shape(struct dsv4_case *c, struct dsv4_err *err) {
    const struct kv_step *const step = kv_step_make(c, err);
    if (step == NULL) return -1;
    const int64_t rows = step->batch.n_rows, width = dsv4_case_int(c, "width");
    DSV4_SHAPE(c, EMBEDS, DSV4_BF16, rows, width);
    DSV4_SHAPE(c, HIDDEN, DSV4_BF16, rows, STREAMS, width);
    kv_shape_rows(c, POSITIONS, DSV4_I64, rows);
    norm_shape_weight(c, ENORM, width);
    norm_shape_weight(c, HNORM, width);
    DSV4_SHAPE(c, E_OUT, DSV4_BF16, rows, width);
    DSV4_SHAPE(c, H_OUT, DSV4_BF16, rows, STREAMS, width);
    kv_widen(c, EMBEDS, 0, 64);
    kv_widen(c, HIDDEN, 1, 32);
    kv_widen(c, HIDDEN, 0, 64);
    kv_widen(c, E_OUT, 0, 32);
    kv_widen(c, H_OUT, 0, 96);
    for (size_t slot = EMBEDS; slot <= H_OUT; slot++)
        if (slot != POSITIONS) norm_align(c, slot);
    return 0;
}

static void fill(struct dsv4_case *c) {
    norm_fill(c, EMBEDS, dsv4_case_word(c, "values"), 1);
    norm_fill(c, HIDDEN, dsv4_case_word(c, "values"), 3);
    kv_fill_positions(c, POSITIONS);
    norm_fill_weight(c, ENORM, EMBEDS, 0);
    norm_fill_weight(c, HNORM, HIDDEN, 1);
}

const struct dsv4_op dsv4_op_mtp_input_norm;

struct inputs {
    const dsv4_tensor *tensors;
    float e_weight[NORM_MAX_WIDTH], h_weight[NORM_MAX_WIDTH];
    float eps;
    bool masks;
    enum norm_wrong wrong;
};

static const uint16_t *row_of(const dsv4_tensor *x, int64_t row, enum norm_wrong wrong) {
    const int64_t width = x->shape[x->ndim - 1];
    if (wrong == NORM_ROW_DENSE) return (const uint16_t *)x->data + row * width;
    return norm_row_at(x, row);
}

static void embedding(const struct inputs *in, int64_t t) {
    static const uint16_t zeros[NORM_MAX_WIDTH];
    const dsv4_tensor *const out = &in->tensors[E_OUT];
    uint16_t *const to = norm_row_at(out, t);
    const int64_t width = out->shape[1];
    const bool first =
        in->wrong == NORM_MASK_FIRST_ROW ? t == 0 : kv_i64(&in->tensors[POSITIONS], t) == 0;
    const bool masked = first && in->masks != (in->wrong == NORM_MASK_LOST);
    if (masked && in->wrong == NORM_MASK_ROW_SKIPPED) return;
    norm_row(to, masked ? zeros : row_of(&in->tensors[EMBEDS], t, in->wrong), width, in->eps,
             in->e_weight, in->wrong);
    if (masked && in->wrong == NORM_MASK_POSITIVE_ZERO) memset(to, 0, (size_t)width * sizeof *to);
}

/* Wrong on purpose: all streams by the factor of the four together. */
static void streams_together(const struct inputs *in, int64_t t, int64_t width) {
    float all[STREAMS * NORM_MAX_WIDTH];
    for (int64_t j = 0; j < STREAMS; j++)
        kv_load_bf16(all + j * width, norm_row_at(&in->tensors[HIDDEN], STREAMS * t + j),
                     (int)width);
    const float r = norm_factor(all, STREAMS * width, in->eps, NORM_RIGHT);
    for (int64_t j = 0; j < STREAMS; j++) {
        uint16_t *const to = norm_row_at(&in->tensors[H_OUT], STREAMS * t + j);
        for (int64_t i = 0; i < width; i++)
            to[i] = dsv4_bf16_from_f32(all[j * width + i] * r * in->h_weight[i]);
    }
}

static void streams(const struct inputs *in, int64_t t) {
    const int64_t width = in->tensors[HIDDEN].shape[2];
    if (in->wrong == NORM_STREAMS_TOGETHER) {
        streams_together(in, t, width);
        return;
    }
    for (int64_t j = 0; j < STREAMS; j++) {
        const int64_t from = in->wrong == NORM_STREAM_ZERO ? STREAMS * t : STREAMS * t + j;
        uint16_t *const to = norm_row_at(&in->tensors[H_OUT], STREAMS * t + j);
        norm_row(to, row_of(&in->tensors[HIDDEN], from, in->wrong), width, in->eps, in->h_weight,
                 in->wrong);
        if (in->wrong == NORM_MASK_HIDDEN && kv_i64(&in->tensors[POSITIONS], t) == 0)
            memset(to, 0, (size_t)width * sizeof *to);
    }
}

static int run(const dsv4_call *call, int mutant, struct dsv4_err *err) {
    struct inputs in = {.tensors = call->tensors};
    (void)err;
    in.wrong = norm_wrong_of(&dsv4_op_mtp_input_norm, mutant);
    in.eps = dsv4_float(call, "eps", 1e-6f);
    in.masks = dsv4_is(call, "mask", "vllm");
    const bool swapped = in.wrong == NORM_WEIGHTS_SWAPPED;
    kv_load_weight(in.e_weight, &call->tensors[swapped ? HNORM : ENORM]);
    kv_load_weight(in.h_weight, &call->tensors[swapped ? ENORM : HNORM]);
#pragma omp parallel for schedule(static)
    for (int64_t t = 0; t < call->tensors[EMBEDS].shape[0]; t++) {
        embedding(&in, t);
        streams(&in, t);
    }
    return DSV4_OK;
}

/* Rows of norm_bound.c; a masked one is zeros whose sign follows the weight's. */
static void bound(const dsv4_call *call, struct dsv4_admission *a) {
    static const uint16_t zeros[NORM_MAX_WIDTH];
    const dsv4_tensor *const x = call->tensors;
    const bool masks = dsv4_is(call, "mask", "vllm");
    const float eps = dsv4_float(call, "eps", 1e-6f);
    const int64_t width = x[EMBEDS].shape[1];
    float e_weight[NORM_MAX_WIDTH], h_weight[NORM_MAX_WIDTH];
    kv_load_weight(e_weight, &x[ENORM]);
    kv_load_weight(h_weight, &x[HNORM]);
#pragma omp parallel for schedule(static)
    for (int64_t t = 0; t < x[EMBEDS].shape[0]; t++) {
        const bool masked = masks && kv_i64(&x[POSITIONS], t) == 0;
        norm_row_bound(a, E_OUT, t * x[E_OUT].stride[0],
                       masked ? zeros : norm_row_at(&x[EMBEDS], t), width, eps, e_weight);
        for (int64_t j = 0; j < STREAMS; j++)
            norm_row_bound(a, H_OUT, t * x[H_OUT].stride[0] + j * x[H_OUT].stride[1],
                           norm_row_at(&x[HIDDEN], STREAMS * t + j), width, eps, h_weight);
    }
}

static void trace(const struct dsv4_case *c, size_t slot, int64_t offset, char *line, size_t size) {
    norm_trace(c, slot == E_OUT ? EMBEDS : HIDDEN, slot, offset, line, size);
}

static void work(const struct dsv4_case *c, struct dsv4_work *work) {
    const dsv4_tensor *const x = &c->tensors[EMBEDS].t;
    const double bytes = (double)(x->shape[0] * x->shape[1]) * (1 + STREAMS) * 2;
    work->bytes_read = bytes + (double)x->shape[0] * 8;
    work->bytes_written = bytes;
}

const struct dsv4_op dsv4_op_mtp_input_norm = {
    .name = "mtp_input_norm",
    .summary = "norms of an MTP layer's embedding and residual streams, position 0 masked",
    .source = "vllm fused_mtp_input_rmsnorm.py; DeepSeek inference/model.py",
    .bound = bound,
    .latitude = NORM_LATITUDE,
    DSV4_OP_PARTS,
};
