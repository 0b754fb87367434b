/* SPDX-License-Identifier: Apache-2.0 */
/*
 * mtp_concat_aux: what DSpark reads of the target: the hidden rows of its three last layers, side by side.
 *
 *   out[t] = first[t] | second[t] | third[t]
 * A copy of bits. The projection, the norm and the context's KV that follow are ops of their own: an FP8 GEMM, norm_rms
 * and kv_qnorm_rope_insert without q.
 * Source: vllm nvidia/dspark.py (main_proj of the concatenated auxiliary hidden states).
 * Latitude: none. Which tensor of a layer is tapped is the model's affair.
 */
#include <stdio.h>

#include "mtp_rows.h"

enum { FIRST, SECOND, THIRD, OUT, TAPS = 3 };

static const struct dsv4_param_def params[] = {
    NORM_ROWS_PARAM(3),
    MTP_WIDTH_PARAM,
    MTP_VIEW_PARAM,
    MTP_VALUES_PARAM,
};

static const struct dsv4_slot slots[] = {
    {"first",  DSV4_IN,  "[rows, width] bf16, rows strided",     "of the earliest layer"},
    {"second", DSV4_IN,  "[rows, width] bf16, rows strided",     "of the next one"      },
    {"third",  DSV4_IN,  "[rows, width] bf16, rows strided",     "of the last one"      },
    {"out",    DSV4_OUT, "[rows, 3 * width] bf16, rows strided", "input of main_proj"   },
};

static const struct dsv4_mutant mutants[] = {
    MTP_MUTANT_ROW_DENSE,
    {"taps-reversed",     "the last layer's row first",                          MTP_TAPS_REVERSED},
    {"tap-twice",         "the second layer's row in the third place too",       MTP_TAP_TWICE    },
    {"channels-by-turns", "one channel of each by turns; rows lie side by side",
      MTP_CHANNELS_BY_TURNS                                                                        },
    {"nan-payload",       "NaN made canonical; bits are copied",                 MTP_NAN_PAYLOAD  },
};

static int shape(struct dsv4_case *c, struct dsv4_err *err) {
    const int64_t rows = dsv4_case_int(c, "rows"), width = dsv4_case_int(c, "width");
    (void)err;
    for (size_t slot = FIRST; slot <= THIRD; slot++) {
        DSV4_SHAPE(c, slot, DSV4_BF16, rows, width);
        kv_widen(c, slot, 0, 32 * (int64_t)(slot + 1));
        norm_align(c, slot);
    }
    DSV4_SHAPE(c, OUT, DSV4_BF16, rows, TAPS * width);
    kv_widen(c, OUT, 0, 64);
    norm_align(c, OUT);
    if (width * 2 % 16 != 0) c->tensors[OUT].align = 2;
    return 0;
}

static void fill(struct dsv4_case *c) {
    for (size_t slot = FIRST; slot <= THIRD; slot++)
        norm_fill(c, slot, dsv4_case_word(c, "values"), 1 + 2 * slot);
}

const struct dsv4_op dsv4_op_mtp_concat_aux;

static void copy_wrong(uint16_t *to, const uint16_t *from, int64_t width, int tap,
                       enum mtp_wrong wrong) {
    for (int64_t d = 0; d < width; d++) {
        const bool nan = wrong == MTP_NAN_PAYLOAD && (from[d] & 0x7FFF) > 0x7F80;
        to[wrong == MTP_CHANNELS_BY_TURNS ? d * TAPS + tap : tap * width + d] =
            nan ? 0x7FC0 : from[d];
    }
}

static int run(const dsv4_call *call, int mutant, struct dsv4_err *err) {
    const dsv4_tensor *const x = call->tensors, *const out = &call->tensors[OUT];
    const enum mtp_wrong wrong = mtp_wrong_of(&dsv4_op_mtp_concat_aux, mutant);
    const int64_t width = x->shape[1];
    (void)err;
#pragma omp parallel for schedule(static)
    for (int64_t t = 0; t < x->shape[0]; t++)
        for (int tap = 0; tap < TAPS; tap++) {
            const int from = wrong == MTP_TAPS_REVERSED           ? TAPS - 1 - tap
                             : wrong == MTP_TAP_TWICE && tap == 2 ? 1
                                                                  : tap;
            uint16_t *const to = norm_row_at(out, t);
            if (wrong == MTP_RIGHT)
                memcpy(to + tap * width, norm_row_at(&x[tap], t), (size_t)width * sizeof *to);
            else
                copy_wrong(to, mtp_row(&x[from], t, wrong), width, tap, wrong);
        }
    return DSV4_OK;
}

static void trace(const struct dsv4_case *c, size_t slot, int64_t offset, char *line, size_t size) {
    const dsv4_tensor *const out = &c->tensors[slot].t;
    const int64_t i = offset % out->stride[0] / 2, width = dsv4_case_int(c, "width");
    snprintf(line, size, "row %lld, tap %lld, channel %lld", (long long)(offset / out->stride[0]),
             (long long)(i / width), (long long)(i % width));
}

static void work(const struct dsv4_case *c, struct dsv4_work *work) {
    const dsv4_tensor *const x = &c->tensors[FIRST].t;
    work->bytes_read = work->bytes_written = (double)(x->shape[0] * x->shape[1] * TAPS) * 2;
}

const struct dsv4_op dsv4_op_mtp_concat_aux = {
    .name = "mtp_concat_aux",
    .summary = "puts the hidden rows of the target's three last layers side by side",
    .source = "vllm nvidia/dspark.py",
    .exact = "nothing is computed: bytes are copied",
    DSV4_OP_PARTS,
};
