/* SPDX-License-Identifier: Apache-2.0 */
/*
 * mtp_hidden_copy: keeps the residual streams of a step for MTP, in a buffer that outlives the step.
 *
 *   buffer[t, j * width + d] = hidden[t, j, d] for the step's rows; the buffer's rows beyond stay as they were
 * A copy of bits, NaN with their payloads. The streams are the target's, after its last hc_post and before its hc_head.
 * Source: vllm deepseek_v4 model.py (the MTP hidden buffer that CUDA graphs share).
 * Latitude: none.
 */
#include <stdio.h>

#include "mtp_rows.h"

enum { HIDDEN, BUFFER };

static const struct dsv4_param_def params[] = {
    NORM_ROWS_PARAM(3),
    DSV4_PARAM_INT("spare", INPUT, 2, 0, 1 << 20, "rows of the buffer after the step's"),
    MTP_WIDTH_PARAM,
    MTP_VIEW_PARAM,
    MTP_VALUES_PARAM,
};

static const struct dsv4_slot slots[] = {
    {"hidden", DSV4_IN,  "[rows, 4, width] bf16, strided",                      "residual streams"},
    {"buffer", DSV4_OUT, "[rows and spare rows, 4 * width] bf16, rows strided", "persistent"      },
};

static const struct dsv4_mutant mutants[] = {
    MTP_MUTANT_ROW_DENSE,
    {"tail-zeroed",   "rows beyond the step's set to 0; they stay",                MTP_TAIL_ZEROED},
    {"tail-copied",   "rows beyond the step's get its last row; they stay",        MTP_TAIL_COPIED},
    {"streams-inner", "streams of a channel side by side; a stream is contiguous",
      MTP_STREAMS_INNER                                                                            },
    {"stream-zero",   "stream 0 copied four times",                                MTP_STREAM_ZERO},
    {"nan-payload",   "NaN made canonical; bits are copied",                       MTP_NAN_PAYLOAD},
};

static int shape(struct dsv4_case *c, struct dsv4_err *err) {
    const int64_t rows = dsv4_case_int(c, "rows"), width = dsv4_case_int(c, "width");
    (void)err;
    DSV4_SHAPE(c, HIDDEN, DSV4_BF16, rows, MTP_STREAMS, width);
    DSV4_SHAPE(c, BUFFER, DSV4_BF16, rows + dsv4_case_int(c, "spare"), MTP_STREAMS * width);
    kv_widen(c, HIDDEN, 1, 32);
    kv_widen(c, HIDDEN, 0, 64);
    kv_widen(c, BUFFER, 0, 32);
    norm_align(c, HIDDEN);
    norm_align(c, BUFFER);
    if (width * 2 % 16 != 0) c->tensors[BUFFER].align = 2;
    return 0;
}

static void fill(struct dsv4_case *c) { norm_fill(c, HIDDEN, dsv4_case_word(c, "values"), 1); }

const struct dsv4_op dsv4_op_mtp_hidden_copy;

static void copy_wrong(uint16_t *to, const dsv4_tensor *hidden, int64_t t, enum mtp_wrong wrong) {
    const int64_t width = hidden->shape[2];
    for (int64_t j = 0; j < MTP_STREAMS; j++) {
        const int64_t row = MTP_STREAMS * t + (wrong == MTP_STREAM_ZERO ? 0 : j);
        const uint16_t *const from = mtp_row(hidden, row, wrong);
        for (int64_t d = 0; d < width; d++) {
            const bool nan = wrong == MTP_NAN_PAYLOAD && (from[d] & 0x7FFF) > 0x7F80;
            to[wrong == MTP_STREAMS_INNER ? d * MTP_STREAMS + j : j * width + d] =
                nan ? 0x7FC0 : from[d];
        }
    }
}

static int run(const dsv4_call *call, int mutant, struct dsv4_err *err) {
    const dsv4_tensor *const hidden = &call->tensors[HIDDEN], *const buffer =
                                                                  &call->tensors[BUFFER];
    const enum mtp_wrong wrong = mtp_wrong_of(&dsv4_op_mtp_hidden_copy, mutant);
    const int64_t rows = hidden->shape[0], width = hidden->shape[2];
    (void)err;
#pragma omp parallel for schedule(static)
    for (int64_t t = 0; t < rows; t++) {
        uint16_t *const to = norm_row_at(buffer, t);
        if (wrong != MTP_RIGHT)
            copy_wrong(to, hidden, t, wrong);
        else
            for (int64_t j = 0; j < MTP_STREAMS; j++)
                memcpy(to + j * width, norm_row_at(hidden, MTP_STREAMS * t + j),
                       (size_t)width * sizeof *to);
    }
    for (int64_t t = rows; t < buffer->shape[0] && rows > 0; t++) {
        if (wrong == MTP_TAIL_ZEROED)
            memset(norm_row_at(buffer, t), 0, (size_t)(MTP_STREAMS * width) * 2);
        if (wrong == MTP_TAIL_COPIED) copy_wrong(norm_row_at(buffer, t), hidden, rows - 1, wrong);
    }
    return DSV4_OK;
}

static void trace(const struct dsv4_case *c, size_t slot, int64_t offset, char *line, size_t size) {
    const dsv4_tensor *const buffer = &c->tensors[slot].t;
    const int64_t i = offset % buffer->stride[0] / 2, width = dsv4_case_int(c, "width");
    snprintf(line, size, "row %lld, stream %lld, channel %lld",
             (long long)(offset / buffer->stride[0]), (long long)(i / width),
             (long long)(i % width));
}

static void work(const struct dsv4_case *c, struct dsv4_work *work) {
    const dsv4_tensor *const x = &c->tensors[HIDDEN].t;
    work->bytes_read = work->bytes_written = (double)(x->shape[0] * MTP_STREAMS * x->shape[2]) * 2;
}

const struct dsv4_op dsv4_op_mtp_hidden_copy = {
    .name = "mtp_hidden_copy",
    .summary = "copies a step's residual streams into the persistent MTP buffer",
    .source = "vllm deepseek_v4 model.py",
    .exact = "nothing is computed: bytes are copied",
    DSV4_OP_PARTS,
};
