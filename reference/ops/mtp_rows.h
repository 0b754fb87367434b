/* SPDX-License-Identifier: Apache-2.0 */
/* What the MTP and DSpark ops share that move rows of bf16. */
#ifndef DSV4_MTP_ROWS_H
#define DSV4_MTP_ROWS_H

#include "norm_family.h"

enum mtp_wrong {
    MTP_RIGHT,
    MTP_ROW_DENSE,
    MTP_TRUNCATED,
    MTP_E_LOST,
    MTP_E_ONCE,
    MTP_E_BY_ROW,
    MTP_STREAMS_REVERSED,
    MTP_TAIL_ZEROED,
    MTP_TAIL_COPIED,
    MTP_STREAMS_INNER,
    MTP_STREAM_ZERO,
    MTP_CHANNELS_BY_TURNS,
    MTP_TAPS_REVERSED,
    MTP_TAP_TWICE,
    MTP_OUTSIDE_KEPT,
    MTP_OUTSIDE_CLAMPED,
    MTP_START_LOST,
    MTP_END_INCLUDED,
    MTP_ID_OF_NEXT,
    MTP_PADDING_ZEROED,
    MTP_NAN_PAYLOAD,
};

static inline enum mtp_wrong mtp_wrong_of(const struct dsv4_op *op, int mutant) {
    return mutant > 0 ? (enum mtp_wrong)op->mutants[mutant - 1].id : MTP_RIGHT;
}

enum { MTP_STREAMS = 4 };

#define MTP_MUTANT_ROW_DENSE                                                                       \
    { "row-dense", "rows taken as contiguous; they have strides", MTP_ROW_DENSE }

/* Row `row` of a tensor whose leading dimensions count as rows; MTP_ROW_DENSE forgets the strides. */
static inline const uint16_t *mtp_row(const dsv4_tensor *x, int64_t row, enum mtp_wrong wrong) {
    if (wrong == MTP_ROW_DENSE) return (const uint16_t *)x->data + row * x->shape[x->ndim - 1];
    return norm_row_at(x, row);
}

/* ---- dots, in blocks of 128 ---- */

enum { MTP_ROWS = 4, MTP_TOKENS = 32, MTP_COLUMNS = 16 };

/* Adds to total [4][32] the chains of block first .. first + n of w [k][32] and four rows; the first takes its place. */
void mtp_add_bias(float *restrict total, const float *w, const float *const *embed, int64_t first,
                  int64_t n);
/* Adds to total [16] those of columns [k][16] and w [k], k < n; the `first` takes its place. */
void mtp_add_dots(float *restrict total, const float *restrict columns, const float *restrict w,
                  int64_t n, bool first);

#define MTP_VIEW_PARAM KV_VIEW_PARAM
#define MTP_WIDTH_PARAM DSV4_PARAM_INT("width", INPUT, 4096, 1, 8192, "hidden size")
#define MTP_VALUES_PARAM                                                                           \
    DSV4_PARAM_NAME("values", INPUT, "normal", NORM_VALUE_WORDS, "contents of the rows")

#endif
