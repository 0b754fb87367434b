/* SPDX-License-Identifier: Apache-2.0 */
/*
 * graph_copy_ragged: a step's ragged indices into the persistent buffers that a captured graph reads.
 *
 * indptr_buffer[0 .. R] = indptr; buffer[0 .. N - 1] = source, all N entries of it, those beyond indptr[R] too. Both
 * buffers keep what else they hold: entries from N on, and from R + 1 on, are of earlier steps and belong to nobody.
 * Nothing waits for the host, and no size depends on indptr: R, N and the addresses are what a replay repeats.
 *
 * indptr is copied as it is: entries that descend, are negative or lie beyond N are their readers' business. R * per_row
 * is a product of 64 bits.
 *
 * Integers: no rounding. Refused: N > max(R * per_row, 1), or a buffer that is too short for that.
 * Source: vllm models/deepseek_v4/amd/rocm.py. Latitude: none.
 */
#include <stdio.h>

#include "idx_family.h"

enum { SOURCE, INDPTR, BUFFER, INDPTR_BUFFER };
enum {
    RIGHT,
    TAIL_CLEARED,
    INDPTR_TAIL,
    LAST_INDPTR_LOST,
    NNZ_ALONE,
    INDPTR_REBASED,
    INDPTR_MENDED,
    VIEW_WRAPS,
    ROWS_PADDED
};

static const struct dsv4_param_def params[] = {
    DSV4_PARAM_INT("per_row", CALL, 128, 1, 1 << 20, "entries that a row may have"),
    DSV4_PARAM_INT("rows", INPUT, 8, 0, 1 << 24, "R: rows of the captured batch, padding included"),
    DSV4_PARAM_TEXT("lens", INPUT, "~128", "lens of the rows by turns: 128,0,~64"),
    DSV4_PARAM_INT("max_rows", INPUT, 16, 0, 1 << 24, "rows that the buffers are made for"),
    DSV4_PARAM_INT("source", INPUT, -1, -1, INT32_MAX, "N: entries of source; -1: rows * per_row"),
    DSV4_PARAM_NAME("starts", INPUT, "sums", "sums any",
                    "sums: indptr as the rows are; any: descending, negative, beyond the source"),
    DSV4_PARAM_INT("sparse", INPUT, 0, 0, 1,
                   "1: entries of buffer beyond the source are not there at all"),
};

static const struct dsv4_slot slots[] = {
    {"source",        DSV4_IN,  "[N] i32",              "ragged indices; garbage beyond indptr[R]"},
    {"indptr",        DSV4_IN,  "[R + 1] i32",          "where rows start"                        },
    {"buffer",        DSV4_OUT, "[>= R * per_row] i32", "persistent indices"                      },
    {"indptr_buffer", DSV4_OUT, "[>= R + 1] i32",       "persistent indptr"                       },
};

static const struct dsv4_mutant mutants[] = {
    {"tail-cleared",     "the buffer beyond the source cleared; it keeps what it holds",               TAIL_CLEARED    },
    {"indptr-tail",      "indptr_buffer filled up to its end; entries beyond R + 1 stay",              INDPTR_TAIL     },
    {"last-indptr-lost", "R entries of indptr copied; there are R + 1",                                LAST_INDPTR_LOST},
    {"nnz-alone",        "only indptr[R] entries copied, a size that a graph cannot know; all N are",
     NNZ_ALONE                                                                                                         },
    {"indptr-rebased",   "row t starts at t * per_row; indptr says where",                             INDPTR_REBASED  },
    {"indptr-mended",    "an indptr that descends or leaves the source mended; it is copied as it is",
     INDPTR_MENDED                                                                                                     },
    {"view-wraps",       "R * per_row in 32 bits: a large buffer is refused",                          VIEW_WRAPS      },
    {"rows-padded",      "entries spread to per_row apart; they are copied as they lie",               ROWS_PADDED     },
};

static int shape(struct dsv4_case *c, struct dsv4_err *err) {
    const int64_t rows = dsv4_case_int(c, "rows"), per_row = dsv4_case_int(c, "per_row");
    const int64_t most = idx_max(dsv4_case_int(c, "max_rows"), rows);
    int64_t n = dsv4_case_int(c, "source");
    int32_t *const lens = idx_lengths(c, "lens", rows, err);
    if (lens == NULL) return -1;
    n = n < 0 ? rows * per_row : n;
    int64_t room = n;
    for (int64_t t = 0; t < rows; t++) {
        lens[t] = (int32_t)idx_min(idx_min(idx_max(lens[t], 0), per_row), room);
        room -= lens[t];
    }
    c->plan = lens;
    c->refused = n > idx_max(rows * per_row, 1);
    idx_shape_rows(c, SOURCE, DSV4_I32, n);
    idx_shape_rows(c, INDPTR, DSV4_I32, rows + 1);
    idx_shape_rows(c, BUFFER, DSV4_I32, idx_max(most * per_row, 1));
    idx_shape_rows(c, INDPTR_BUFFER, DSV4_I32, most + 1);
    if (dsv4_case_int(c, "sparse") == 0) return 0;
    int64_t *const live = dsv4_case_alloc(c, (size_t)(n + 1) * sizeof *live);
    for (int64_t i = 0; i < n; i++) live[i] = i;
    dsv4_live_rows(c, BUFFER, live, n);
    return 0;
}

static void fill(struct dsv4_case *c) {
    const dsv4_tensor *const source = &c->tensors[SOURCE].t, *const indptr = &c->tensors[INDPTR].t;
    const int32_t *const lens = c->plan;
    int32_t sum = 0;
#pragma omp parallel for schedule(static)
    for (int64_t i = 0; i < source->shape[0]; i++)
        ((int32_t *)source->data)[i] =
            (int32_t)dsv4_below(dsv4_random(c->seed, IDX_STREAM_TOPK, (uint64_t)i), 1 << 20);
    for (int64_t t = 0; t < indptr->shape[0]; t++) {
        ((int32_t *)indptr->data)[t] = sum;
        if (t + 1 < indptr->shape[0]) sum += lens[t];
    }
    if (dsv4_case_is(c, "starts", "any"))
        for (int64_t t = 0; t < indptr->shape[0]; t++) {
            const int32_t odd[] = {
                7, 3, -1, INT32_MAX, 5, INT32_MIN, (int32_t)source->shape[0] + 1};
            ((int32_t *)indptr->data)[t] = odd[t % 7];
        }
    /* Garbage: what nothing may take for an index. */
    for (int64_t i = sum; i < source->shape[0]; i++)
        ((int32_t *)source->data)[i] = i % 2 == 0 ? INT32_MIN : 0x7FC00000;
}

static void copy_rows(const dsv4_call *call, int64_t nnz, int wrong) {
    const dsv4_tensor *const source = &call->tensors[SOURCE], *const buffer =
                                                                  &call->tensors[BUFFER];
    const int32_t *const indptr = call->tensors[INDPTR].data, *const from = source->data;
    const int64_t rows = call->tensors[INDPTR].shape[0] - 1, per_row = dsv4_int(call, "per_row", 1);
    int32_t *const to = buffer->data;
    const int64_t n = source->shape[0];
    if (wrong == ROWS_PADDED) {
        for (int64_t t = 0; t < rows; t++)
            for (int64_t i = idx_max(indptr[t], 0); i < idx_min(indptr[t + 1], n); i++)
                to[t * per_row + i - indptr[t]] = from[i];
        return;
    }
#pragma omp parallel for schedule(static)
    for (int64_t i = 0; i < (wrong == NNZ_ALONE ? idx_min(nnz, n) : n); i++) to[i] = from[i];
    for (int64_t i = n; wrong == TAIL_CLEARED && i < buffer->shape[0]; i++) to[i] = -1;
}

static int run(const dsv4_call *call, int mutant, struct dsv4_err *err) {
    const dsv4_tensor *const tensors = call->tensors;
    const int64_t rows = tensors[INDPTR].shape[0] - 1, per_row = dsv4_int(call, "per_row", 1);
    const int64_t n = tensors[SOURCE].shape[0], all_rows = rows * per_row;
    const int64_t view = idx_max(mutant == VIEW_WRAPS ? (int32_t)(uint32_t)all_rows : all_rows, 1);
    const int32_t *const indptr = tensors[INDPTR].data;
    int32_t *const to = tensors[INDPTR_BUFFER].data;
    if (n > view || view > tensors[BUFFER].shape[0] || rows >= tensors[INDPTR_BUFFER].shape[0]) {
        dsv4_fail(err, "%lld entries do not fit into a view of %lld in a buffer of %lld",
                  (long long)n, (long long)view, (long long)tensors[BUFFER].shape[0]);
        return DSV4_REFUSED;
    }
    const int64_t all = tensors[INDPTR_BUFFER].shape[0];
    for (int64_t t = 0; t < (mutant == INDPTR_TAIL ? all : rows + 1); t++) {
        if (mutant == LAST_INDPTR_LOST && t == rows) continue;
        to[t] = mutant == INDPTR_REBASED ? (int32_t)(t * per_row) : indptr[idx_min(t, rows)];
        if (mutant == INDPTR_MENDED)
            to[t] = (int32_t)idx_min(idx_max(to[t], t > 0 ? to[t - 1] : 0), n);
    }
    copy_rows(call, indptr[rows], mutant);
    return DSV4_OK;
}

static void trace(const struct dsv4_case *c, size_t slot, int64_t offset, char *line, size_t size) {
    const dsv4_tensor *const from = &c->tensors[slot == BUFFER ? SOURCE : INDPTR].t;
    const int64_t i = offset / 4;
    if (i < from->shape[0])
        snprintf(line, size, "%s[%lld]", from->name, (long long)i);
    else
        snprintf(line, size, "beyond the %lld entries of %s", (long long)from->shape[0],
                 from->name);
}

static void work(const struct dsv4_case *c, struct dsv4_work *work) {
    work->bytes_read =
        4.0 * (double)(c->tensors[SOURCE].t.shape[0] + c->tensors[INDPTR].t.shape[0]);
    work->bytes_written = work->bytes_read;
}

const struct dsv4_op dsv4_op_graph_copy_ragged = {
    .name = "graph_copy_ragged",
    .summary = "copies ragged indices into the persistent buffers of a captured graph",
    .source = "vllm models/deepseek_v4/amd/rocm.py",
    .exact = "integers alone",
    DSV4_OP_PARTS,
};
