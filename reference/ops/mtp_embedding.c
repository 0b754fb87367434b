/* SPDX-License-Identifier: Apache-2.0 */
/*
 * mtp_embedding: gathers embedding rows by token id from one shard of the vocabulary.
 *
 *   out[t] = weight[ids[t] - start] where start <= ids[t] < end, else +0 everywhere
 * A copy of bits. Shards add up by an all-reduce, which is exact: all but one are zero. An id that no shard has (a padded
 * token's -1, say) is zero everywhere.
 * Source: DeepSeek inference/model.py ParallelEmbedding; vllm VocabParallelEmbedding.
 * Latitude: none.
 */
#include <stdio.h>
#include <stdlib.h>

#include "mtp_rows.h"

enum { IDS, WEIGHT, OUT };

static const struct dsv4_param_def params[] = {
    DSV4_PARAM_INT("start", CALL, 0, 0, 1 << 20, "first id of the shard"),
    DSV4_PARAM_INT("end", CALL, 129280, 1, 1 << 20, "id after its last one"),
    NORM_ROWS_PARAM(3),
    MTP_WIDTH_PARAM,
    DSV4_PARAM_NAME("id_dtype", INPUT, "i64", "i64 i32", "dtype of ids"),
    DSV4_PARAM_NAME(
        "ids", INPUT, "mixed", "mixed inside last",
        "mixed: the shard's ends, ids beside them, -1, and others; last: the last rows"),
    MTP_VIEW_PARAM,
    MTP_VALUES_PARAM,
};

static const struct dsv4_slot slots[] = {
    {"ids",    DSV4_IN,  "[rows] i64 or i32",                       "token ids"       },
    {"weight", DSV4_IN,  "[end - start, width] bf16, rows strided", "the shard's rows"},
    {"out",    DSV4_OUT, "[rows, width] bf16, rows strided",        "embeddings"      },
};

static const struct dsv4_mutant mutants[] = {
    MTP_MUTANT_ROW_DENSE,
    {"outside-kept",    "rows of ids outside the shard not written; they are 0",         MTP_OUTSIDE_KEPT},
    {"outside-clamped", "ids outside the shard get its nearest row; they get 0",
      MTP_OUTSIDE_CLAMPED                                                                                 },
    {"start-masked",    "the shard's first id taken for one outside",                    MTP_START_LOST  },
    {"end-included",    "the id after the shard's last gets its last row",               MTP_END_INCLUDED},
    {"id-of-next",      "ids of the next token used: the drafter's shift applied twice", MTP_ID_OF_NEXT  },
    {"nan-payload",     "NaN made canonical; bits are copied",                           MTP_NAN_PAYLOAD },
};

/* The ids of a case, and which rows of the shard they name. */
struct plan {
    int64_t *ids, *live, n_live;
};

static int64_t draw(const struct dsv4_case *c, int64_t t) {
    const int64_t start = dsv4_case_int(c, "start"), end = dsv4_case_int(c, "end");
    const int64_t ends[] = {start, start - 1, end - 1, end, -1};
    const uint64_t bits = dsv4_random(c->seed, 1, (uint64_t)t);
    if (dsv4_case_is(c, "ids", "last")) return end - 1 - t % 3;
    if (dsv4_case_is(c, "ids", "mixed") && t % 2 == 0) return ends[t / 2 % 5];
    return start + dsv4_below(bits, end - start);
}

static int ascending(const void *a, const void *b) {
    const int64_t x = *(const int64_t *)a, y = *(const int64_t *)b;
    return (x > y) - (x < y);
}

static int shape(struct dsv4_case *c, struct dsv4_err *err) {
    const int64_t rows = dsv4_case_int(c, "rows"), width = dsv4_case_int(c, "width");
    const int64_t start = dsv4_case_int(c, "start"), n = dsv4_case_int(c, "end") - start;
    struct plan *const plan = c->plan = dsv4_case_alloc(c, sizeof *plan);
    if (n < 1) return dsv4_fail(err, "end: %lld; more than start", (long long)(n + start));
    plan->ids = dsv4_case_alloc(c, (size_t)(rows + 1) * sizeof *plan->ids);
    int64_t *const live = dsv4_case_alloc(c, (size_t)(rows + 2) * sizeof *live);
    for (int64_t t = 0; t < rows; t++) plan->ids[t] = draw(c, t);
    /* The ends too, for wrong references. */
    live[0] = 0;
    live[1] = n - 1;
    for (int64_t t = 0; t < rows; t++) {
        const int64_t row = plan->ids[t] - start;
        live[t + 2] = row < 0 ? 0 : row >= n ? n - 1 : row;
    }
    qsort(live, (size_t)rows + 2, sizeof *live, ascending);
    for (int64_t i = 0; i < rows + 2; i++)
        if (plan->n_live == 0 || live[i] != live[plan->n_live - 1]) live[plan->n_live++] = live[i];
    DSV4_SHAPE(c, IDS, dsv4_case_is(c, "id_dtype", "i32") ? DSV4_I32 : DSV4_I64, rows);
    c->tensors[IDS].align = dsv4_dtype_bytes(c->tensors[IDS].t.dtype);
    DSV4_SHAPE(c, WEIGHT, DSV4_BF16, n, width);
    dsv4_live_rows(c, WEIGHT, live, plan->n_live);
    DSV4_SHAPE(c, OUT, DSV4_BF16, rows, width);
    kv_widen(c, WEIGHT, 0, 64);
    kv_widen(c, OUT, 0, 32);
    norm_align(c, WEIGHT);
    norm_align(c, OUT);
    return 0;
}

static void fill(struct dsv4_case *c) {
    const struct plan *const plan = c->plan;
    const dsv4_tensor *const ids = &c->tensors[IDS].t;
    const struct dsv4_case_tensor *const weight = &c->tensors[WEIGHT];
    for (int64_t t = 0; t < ids->shape[0]; t++) {
        if (ids->dtype == DSV4_I32)
            ((int32_t *)ids->data)[t] = (int32_t)plan->ids[t];
        else
            ((int64_t *)ids->data)[t] = plan->ids[t];
    }
    const bool odd = dsv4_case_is(c, "values", "odd");
    const char *const recipe = odd ? "coarse" : dsv4_case_word(c, "values");
#pragma omp parallel for schedule(static)
    for (int64_t i = 0; i < weight->n_rows; i++) {
        uint16_t *const row = norm_row_at(&weight->t, weight->rows[i]);
        for (int64_t d = 0; d < weight->t.shape[1]; d++)
            if (odd && d % 7 == 3)
                row[d] = (uint16_t)(0x7F81 + d % 64);
            else
                row[d] = dsv4_bf16_from_f32(dsv4_value(recipe, c->seed, 3, weight->rows[i], d, 64));
    }
}

const struct dsv4_op dsv4_op_mtp_embedding;

static int64_t id_at(const dsv4_tensor *ids, int64_t t) {
    return ids->dtype == DSV4_I32 ? kv_i32(ids, t) : kv_i64(ids, t);
}

/* The shard's row for token t; -1: none. */
static int64_t row_of(const dsv4_call *call, int64_t t, enum mtp_wrong wrong) {
    const dsv4_tensor *const ids = &call->tensors[IDS];
    const int64_t start = dsv4_int(call, "start", 0), n = call->tensors[WEIGHT].shape[0];
    if (wrong == MTP_ID_OF_NEXT && t + 1 < ids->shape[0]) t++;
    const int64_t row = id_at(ids, t) - start;
    if (wrong == MTP_START_LOST && row == 0) return -1;
    if (wrong == MTP_END_INCLUDED && row == n) return n - 1;
    if (wrong == MTP_OUTSIDE_CLAMPED) return row < 0 ? 0 : row >= n ? n - 1 : row;
    return row >= 0 && row < n ? row : -1;
}

static int run(const dsv4_call *call, int mutant, struct dsv4_err *err) {
    const dsv4_tensor *const weight = &call->tensors[WEIGHT], *const out = &call->tensors[OUT];
    const enum mtp_wrong wrong = mtp_wrong_of(&dsv4_op_mtp_embedding, mutant);
    const int64_t width = out->shape[1];
    const int64_t stride = wrong == MTP_ROW_DENSE ? width * 2 : out->stride[0];
    (void)err;
#pragma omp parallel for schedule(static)
    for (int64_t t = 0; t < out->shape[0]; t++) {
        const int64_t row = row_of(call, t, wrong);
        uint16_t *const to = (void *)((char *)out->data + t * stride);
        if (row >= 0)
            memcpy(to, norm_row_at(weight, row), (size_t)width * sizeof *to);
        else if (wrong != MTP_OUTSIDE_KEPT)
            memset(to, 0, (size_t)width * sizeof *to);
        for (int64_t d = 0; wrong == MTP_NAN_PAYLOAD && row >= 0 && d < width; d++)
            if ((to[d] & 0x7FFF) > 0x7F80) to[d] = 0x7FC0;
    }
    return DSV4_OK;
}

static void trace(const struct dsv4_case *c, size_t slot, int64_t offset, char *line, size_t size) {
    const dsv4_tensor *const out = &c->tensors[slot].t;
    const int64_t t = offset / out->stride[0];
    snprintf(line, size, "token %lld (id %lld), channel %lld", (long long)t,
             (long long)((const struct plan *)c->plan)->ids[t],
             (long long)(offset % out->stride[0] / 2));
}

static void work(const struct dsv4_case *c, struct dsv4_work *work) {
    const dsv4_tensor *const out = &c->tensors[OUT].t;
    work->bytes_written = (double)(out->shape[0] * out->shape[1]) * 2;
    work->bytes_read = (double)(((const struct plan *)c->plan)->n_live * out->shape[1]) * 2 +
                       (double)out->shape[0] * (double)dsv4_dtype_bytes(c->tensors[IDS].t.dtype);
}

const struct dsv4_op dsv4_op_mtp_embedding = {
    .name = "mtp_embedding",
    .summary = "gathers embedding rows by token id from one shard of the vocabulary",
    .source = "DeepSeek inference/model.py ParallelEmbedding; vllm VocabParallelEmbedding",
    .exact = "nothing is computed: bytes are copied",
    DSV4_OP_PARTS,
};
