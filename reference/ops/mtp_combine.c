/* SPDX-License-Identifier: Apache-2.0 */
/*
 * mtp_combine: the projected embedding of a token added to its four projected residual streams.
 *
 *   out[t, j] = bf16(h[t, j] + e[t]), j = 0..3
 * Rounding points: the sum, once, from two bf16 values. h + e and e + h are the same.
 * Source: vllm deepseek_v4 mtp.py (h_proj(h) + e_proj(e)); DeepSeek inference/model.py MTPBlock.
 * Latitude: none. A projection that adds in its own end, before it rounds, is another op.
 */
#include "mtp_rows.h"

enum { H, E, OUT };

static const struct dsv4_param_def params[] = {
    NORM_ROWS_PARAM(3),
    MTP_WIDTH_PARAM,
    MTP_VIEW_PARAM,
    MTP_VALUES_PARAM,
};

static const struct dsv4_slot slots[] = {
    {"h",   DSV4_IN,  "[rows, 4, width] bf16, strided",   "projected streams"   },
    {"e",   DSV4_IN,  "[rows, width] bf16, rows strided", "projected embeddings"},
    {"out", DSV4_OUT, "[rows, 4, width] bf16, strided",   "input of the layer"  },
};

static const struct dsv4_mutant mutants[] = {
    MTP_MUTANT_ROW_DENSE,
    {"truncated",        "the sum cut off; it is rounded to nearest even",           MTP_TRUNCATED       },
    {"e-lost",           "the embedding is not added",                               MTP_E_LOST          },
    {"e-once",           "the embedding added to stream 0 alone",                    MTP_E_ONCE          },
    {"e-by-row",         "rows of h and of e paired by number; four of h share one", MTP_E_BY_ROW        },
    {"streams-reversed", "streams stored in reverse",                                MTP_STREAMS_REVERSED},
};

static int shape(struct dsv4_case *c, struct dsv4_err *err) {
    const int64_t rows = dsv4_case_int(c, "rows"), width = dsv4_case_int(c, "width");
    (void)err;
    DSV4_SHAPE(c, H, DSV4_BF16, rows, MTP_STREAMS, width);
    DSV4_SHAPE(c, E, DSV4_BF16, rows, width);
    DSV4_SHAPE(c, OUT, DSV4_BF16, rows, MTP_STREAMS, width);
    kv_widen(c, H, 1, 32);
    kv_widen(c, H, 0, 64);
    kv_widen(c, E, 0, 32);
    kv_widen(c, OUT, 0, 96);
    for (size_t slot = H; slot <= OUT; slot++) norm_align(c, slot);
    return 0;
}

static void fill(struct dsv4_case *c) {
    norm_fill(c, H, dsv4_case_word(c, "values"), 1);
    norm_fill(c, E, dsv4_case_word(c, "values"), 3);
}

const struct dsv4_op dsv4_op_mtp_combine;

static void add_row(uint16_t *restrict out, const uint16_t *restrict h, const uint16_t *restrict e,
                    int64_t n) {
#pragma omp simd
    for (int64_t i = 0; i < n; i++)
        out[i] = dsv4_bf16_from_f32(dsv4_bf16_to_f32(h[i]) + dsv4_bf16_to_f32(e[i]));
}

static int run(const dsv4_call *call, int mutant, struct dsv4_err *err) {
    const dsv4_tensor *const h = &call->tensors[H], *const e = &call->tensors[E];
    const dsv4_tensor *const out = &call->tensors[OUT];
    const enum mtp_wrong wrong = mtp_wrong_of(&dsv4_op_mtp_combine, mutant);
    const int64_t width = h->shape[2];
    (void)err;
#pragma omp parallel for schedule(static)
    for (int64_t row = 0; row < h->shape[0] * MTP_STREAMS; row++) {
        const int64_t t = row / MTP_STREAMS, j = row % MTP_STREAMS;
        const uint16_t *const from = mtp_row(h, row, wrong);
        const uint16_t *const add =
            mtp_row(e, wrong == MTP_E_BY_ROW ? row % h->shape[0] : t, wrong);
        uint16_t *const to =
            norm_row_at(out, wrong == MTP_STREAMS_REVERSED ? row - j + MTP_STREAMS - 1 - j : row);
        if (wrong == MTP_E_LOST || (wrong == MTP_E_ONCE && j > 0))
            memcpy(to, from, (size_t)width * sizeof *to);
        else
            add_row(to, from, add, width);
        for (int64_t i = 0; wrong == MTP_TRUNCATED && i < width; i++)
            to[i] =
                (uint16_t)(dsv4_bits(dsv4_bf16_to_f32(from[i]) + dsv4_bf16_to_f32(add[i])) >> 16);
    }
    return DSV4_OK;
}

static void trace(const struct dsv4_case *c, size_t slot, int64_t offset, char *line, size_t size) {
    norm_trace(c, H, slot, offset, line, size);
}

static void work(const struct dsv4_case *c, struct dsv4_work *work) {
    const dsv4_tensor *const e = &c->tensors[E].t;
    const double bytes = (double)(e->shape[0] * e->shape[1]) * 2;
    work->bytes_read = bytes * (MTP_STREAMS + 1);
    work->bytes_written = bytes * MTP_STREAMS;
}

const struct dsv4_op dsv4_op_mtp_combine = {
    .name = "mtp_combine",
    .summary = "adds a token's projected embedding to its four projected streams",
    .source = "vllm deepseek_v4 mtp.py; DeepSeek inference/model.py",
    .exact = "one sum of two bf16, rounded once",
    DSV4_OP_PARTS,
};
