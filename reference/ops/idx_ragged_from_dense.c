/* SPDX-License-Identifier: Apache-2.0 */
/*
 * idx_ragged_from_dense: rows of indices one after the other, without what lies beyond their lens.
 *
 * n[t] = lens[t] clamped to 0..W, indptr = exclusive prefix sums of n, rows + 1 of them; flat[indptr[t] + c] =
 * indices[t, c] for c < n[t]. num_rows >= 0: indices outside of 0..num_rows - 1 become -1; num_rows -1: all are copied
 * as they are. Nothing is compacted. Entries of flat from indptr[rows] on are untouched.
 *
 * Integers: no rounding. Domain: the sum of n fits into an int32. Refused: a flat shorter than rows * W.
 * Source: vllm v1/attention/ops/rocm_aiter_mla_sparse.py.
 * Latitude: none.
 */
#include <stdio.h>

#include "idx_family.h"

enum { INDICES, LENS, FLAT, INDPTR };
enum {
    RIGHT,
    NEGATIVE_LEN,
    LONG_LEN,
    RANGE_LOST,
    RANGE_INCLUSIVE,
    NEGATIVE_KEPT,
    COMPACTED,
    TAIL_CLEARED,
    INDPTR_SHIFTED,
    ROW_WIDTH,
    ROW_WRAPS,
    SIZE_WRAPS
};

static const struct dsv4_param_def params[] = {
    DSV4_PARAM_INT("num_rows", CALL, -1, -1, INT32_MAX, "rows of the cache; -1: not checked"),
    DSV4_PARAM_INT("rows", INPUT, 8, 0, 1 << 22, "rows of indices"),
    DSV4_PARAM_INT("width", INPUT, 128, 0, 1 << 20, "columns of indices"),
    DSV4_PARAM_TEXT("lens", INPUT, "~128", "lens by turns: 128,0,~64,-3 (~ draws up to)"),
    DSV4_PARAM_INT("below", INPUT, 4096, 1, INT32_MAX, "indices are drawn below this"),
    DSV4_PARAM_NAME("extremes", INPUT, "none", "none holes range",
                    "holes: every fifth index is -1; range: negative, at and beyond num_rows too"),
    IDX_VIEW_PARAM,
    DSV4_PARAM_INT("row_gap", INPUT, 0, 0, 1 << 24,
                   "columns between the rows of indices; only the last two have entries then"),
    DSV4_PARAM_INT(
        "short_flat", INPUT, 0, 0, 2,
        "1: flat is one entry short; 2: it has room for the rows' entries alone: refused"),
};

static const struct dsv4_slot slots[] = {
    {"indices", DSV4_IN,  "[rows, W] i32, rows strided", "garbage beyond lens" },
    {"lens",    DSV4_IN,  "[rows] i32",                  "any int32"           },
    {"flat",    DSV4_OUT, "[>= rows * W] i32",           "the rows, end to end"},
    {"indptr",  DSV4_OUT, "[rows + 1] i32",              "where rows start"    },
};

static const struct dsv4_mutant mutants[] = {
    {"negative-len",    "a negative len moves the next row back; it counts as 0",                 NEGATIVE_LEN   },
    {"long-len",        "a len beyond the width reads into the next row; it counts as the width",
     LONG_LEN                                                                                                    },
    {"range-lost",      "indices beyond num_rows copied; they become -1",                         RANGE_LOST     },
    {"range-inclusive", "index num_rows copied; the last one is num_rows - 1",                    RANGE_INCLUSIVE},
    {"negative-kept",   "negative indices copied where num_rows is given; they become -1",
     NEGATIVE_KEPT                                                                                               },
    {"compacted",       "indices that are -1 left out; nothing is compacted",                     COMPACTED      },
    {"tail-cleared",    "entries beyond the last row written; they are untouched",                TAIL_CLEARED   },
    {"indptr-shifted",  "indptr holds the ends of rows from entry 0 on; it starts with 0",
     INDPTR_SHIFTED                                                                                              },
    {"row-width",       "rows of indices taken as W apart; they have a stride",                   ROW_WIDTH      },
    {"row-wraps",       "byte offset of a row computed in 32 bits",                               ROW_WRAPS      },
    {"size-wraps",      "rows * W in 32 bits: a flat that is too short is not refused",           SIZE_WRAPS     },
};

static int shape(struct dsv4_case *c, struct dsv4_err *err) {
    const int64_t rows = dsv4_case_int(c, "rows"), width = dsv4_case_int(c, "width");
    int32_t *const lens = idx_lengths(c, "lens", rows, err);
    if (lens == NULL) return -1;
    for (int64_t t = 0; dsv4_case_int(c, "row_gap") > 0 && t < rows - 2; t++) lens[t] = 0;
    c->plan = lens;
    c->refused = dsv4_case_int(c, "short_flat") != 0 && rows * width > 0;
    idx_shape_matrix(c, INDICES, rows, width, 36);
    dsv4_widen(c, INDICES, 0, 4 * dsv4_case_int(c, "row_gap"));
    idx_shape_rows(c, LENS, DSV4_I32, rows);
    int64_t entries = rows * width - (c->refused ? 1 : 0);
    if (dsv4_case_int(c, "short_flat") == 2) {
        entries = 0;
        for (int64_t t = 0; t < rows; t++) entries += idx_min(idx_max(lens[t], 0), width);
    }
    idx_shape_rows(c, FLAT, DSV4_I32, entries);
    idx_shape_rows(c, INDPTR, DSV4_I32, rows + 1);
    if (dsv4_case_int(c, "row_gap") == 0) return 0;
    /* Rows without entries are not there at all. */
    int64_t *const live = dsv4_case_alloc(c, (size_t)(rows + 1) * sizeof *live);
    int64_t n = 0;
    for (int64_t t = 0; t < rows; t++)
        if (lens[t] > 0) live[n++] = t;
    dsv4_live_rows(c, INDICES, live, n);
    return 0;
}

static int32_t extreme(const struct dsv4_case *c, int64_t k) {
    const int32_t limit = (int32_t)dsv4_case_int(c, "num_rows");
    const int32_t some[] = {-1, limit, INT32_MIN, limit - 1, INT32_MAX, -123456, 0, limit + 1};
    return dsv4_case_is(c, "extremes", "range") ? some[k % 8] : -1;
}

static void fill(struct dsv4_case *c) {
    const struct dsv4_case_tensor *const indices = &c->tensors[INDICES];
    const int64_t rows = indices->t.shape[0], width = indices->t.shape[1];
    const bool plain = dsv4_case_is(c, "extremes", "none");
    memcpy(c->tensors[LENS].t.data, c->plan, (size_t)rows * sizeof(int32_t));
#pragma omp parallel for schedule(static)
    for (int64_t i = 0; i < indices->n_rows; i++) {
        const int64_t t = indices->rows != NULL ? indices->rows[i] : i;
        int32_t *const row = idx_row(&indices->t, t);
        for (int64_t k = 0; k < width; k++) {
            const uint64_t bits = dsv4_random(c->seed, IDX_STREAM_TOPK, (uint64_t)(t * width + k));
            row[k] = (int32_t)dsv4_below(bits, dsv4_case_int(c, "below"));
            if (width > 4096 && k >= 64) row[k] = INT32_MIN; /* for the vectors' sake */
            if (!plain && k % 3 == 1) row[k] = extreme(c, k / 3 + t);
        }
    }
}

static int32_t checked(int64_t x, int64_t num_rows, int wrong) {
    if (num_rows < 0) return (int32_t)x;
    if (x < 0) return wrong == NEGATIVE_KEPT ? (int32_t)x : -1;
    const bool beyond = wrong == RANGE_INCLUSIVE ? x > num_rows : x >= num_rows;
    return beyond && wrong != RANGE_LOST ? -1 : (int32_t)x;
}

static void copy_row(const dsv4_call *call, int64_t t, int64_t first, int64_t n, int wrong) {
    const dsv4_tensor *const indices = &call->tensors[INDICES], *const flat = &call->tensors[FLAT];
    const int64_t num_rows = dsv4_int(call, "num_rows", -1), width = indices->shape[1];
    int64_t offset = t * (wrong == ROW_WIDTH ? width * 4 : indices->stride[0]), at = first;
    if (wrong == ROW_WRAPS) offset = (int64_t)(uint32_t)offset % INT64_C(0x80000000);
    const int32_t *const row =
        (const int32_t *)(const void *)((const char *)indices->data + offset);
    for (int64_t k = 0; k < n; k++) {
        const int32_t x = checked(row[k % width], num_rows, wrong);
        if (wrong == COMPACTED && x == -1) continue;
        if (at >= 0 && at < flat->shape[0]) ((int32_t *)flat->data)[at++] = x;
    }
}

static int run(const dsv4_call *call, int mutant, struct dsv4_err *err) {
    const dsv4_tensor *const tensors = call->tensors;
    const int64_t rows = tensors[INDICES].shape[0], width = tensors[INDICES].shape[1];
    int32_t *const indptr = tensors[INDPTR].data;
    int64_t sum = 0;
    const int64_t all = rows * width;
    if (tensors[FLAT].shape[0] < (mutant == SIZE_WRAPS ? (int32_t)(uint32_t)all : all)) {
        dsv4_fail(err, "flat has %lld entries; %lld rows of %lld need %lld",
                  (long long)tensors[FLAT].shape[0], (long long)rows, (long long)width,
                  (long long)(rows * width));
        return DSV4_REFUSED;
    }
    indptr[0] = 0;
    for (int64_t t = 0; t < rows; t++) {
        int64_t n = idx_at(&tensors[LENS], t);
        if (mutant != NEGATIVE_LEN) n = idx_max(n, 0);
        n = idx_min(n, mutant == LONG_LEN && width > 0 ? width + 3 : width);
        indptr[t + 1] = (int32_t)(sum += n);
    }
#pragma omp parallel for schedule(static)
    for (int64_t t = 0; t < rows; t++)
        copy_row(call, t, indptr[t], indptr[t + 1] - indptr[t], mutant);
    for (int64_t i = sum; mutant == TAIL_CLEARED && i < tensors[FLAT].shape[0]; i++)
        ((int32_t *)tensors[FLAT].data)[i] = -1;
    for (int64_t t = 0; mutant == INDPTR_SHIFTED && t < rows; t++) indptr[t] = indptr[t + 1];
    return DSV4_OK;
}

static void trace(const struct dsv4_case *c, size_t slot, int64_t offset, char *line, size_t size) {
    const int32_t *const lens = c->plan;
    const int64_t rows = dsv4_case_int(c, "rows"), width = dsv4_case_int(c, "width");
    int64_t entry = offset / 4, t = 0;
    if (slot == INDPTR) {
        snprintf(line, size, "entries of the rows before %lld", (long long)entry);
        return;
    }
    for (; t < rows; t++) {
        const int64_t n = idx_min(idx_max(lens[t], 0), width);
        if (entry < n) break;
        entry -= n;
    }
    if (t < rows)
        snprintf(line, size, "indices[%lld, %lld], lens %d", (long long)t, (long long)entry,
                 lens[t]);
    else
        snprintf(line, size, "beyond the last row");
}

static void work(const struct dsv4_case *c, struct dsv4_work *work) {
    const int32_t *const lens = c->plan;
    double entries = 0;
    for (int64_t t = 0; t < dsv4_case_int(c, "rows"); t++)
        entries += (double)idx_min(idx_max(lens[t], 0), dsv4_case_int(c, "width"));
    work->bytes_read = 4 * (entries + (double)dsv4_case_int(c, "rows"));
    work->bytes_written = work->bytes_read + 4;
}

const struct dsv4_op dsv4_op_idx_ragged_from_dense = {
    .name = "idx_ragged_from_dense",
    .summary = "rows of indices end to end, with indptr in place of lens",
    .source = "vllm v1/attention/ops/rocm_aiter_mla_sparse.py",
    .exact = "integers alone",
    DSV4_OP_PARTS,
};
