/* SPDX-License-Identifier: Apache-2.0 */
/*
 * idx_prefill_chunks: which prefill requests share a workspace, and how its rows are divided.
 *
 * Requests are taken in order. A chunk takes the next one while requests * (c + g) <= 4 * (ceil(max_model_len / ratio) +
 * window + max_batched_tokens), where c is the most seq_lens[r] / ratio and g the most gather_lens[r] of its requests,
 * the next one included, in 64 bits. It has at least one. Row i of chunks = first request, end, n = c, m = c + g;
 * count[0] = chunks. Rows from count on are untouched.
 *
 * Integers: no rounding. Refused: chunks with fewer rows than requests.
 * Source: vllm v1/attention/backends/mla/sparse_swa.py, where the host does it.
 * Latitude: upstream's plan never meets a request that is too large alone; here it gets a chunk of its own.
 */
#include <stdio.h>

#include "idx_family.h"

enum { SEQ_LENS, GATHER_LENS, CHUNKS, COUNT };
enum { RIGHT, NEXT_LEFT_OUT, ONE_TOO_FEW, ROUNDED_UP, MOST_KEPT, N_AND_M_SWAPPED, BUDGET_DOWN };

static const struct dsv4_param_def params[] = {
    DSV4_PARAM_INT("ratio", CALL, 4, 1, 1024, "tokens per compressed row"),
    DSV4_PARAM_INT("window", CALL, 128, 1, 1 << 20, "tokens of the window"),
    DSV4_PARAM_INT("max_model_len", CALL, 4096, 1, 1 << 24, "longest sequence"),
    DSV4_PARAM_INT("max_batched_tokens", CALL, 512, 1, 1 << 24, "most tokens of a step"),
    IDX_STEP_PARAMS("5@200,9@0,300@101"),
    DSV4_PARAM_INT("short_chunks", INPUT, 0, 0, 1, "1: chunks lacks a row: refused"),
};

static const struct dsv4_slot slots[] = {
    {"seq_lens",    DSV4_IN,  "[requests] i32",       "tokens with the step's"                },
    {"gather_lens", DSV4_IN,  "[requests] i32",       "window rows in the workspace"          },
    {"chunks",      DSV4_OUT, "[>= requests, 4] i32", "first request, end, n, m of each chunk"},
    {"count",       DSV4_OUT, "[1] i32",              "chunks"                                },
};

static const struct dsv4_mutant mutants[] = {
    {"next-left-out",   "the next request's own lengths left out of the comparison",          NEXT_LEFT_OUT  },
    {"one-too-few",     "a chunk that fits exactly is cut; it may reach the budget",          ONE_TOO_FEW    },
    {"rounded-up",      "compressed rows rounded up; unfinished ones do not exist",           ROUNDED_UP     },
    {"most-kept",       "the longest request of earlier chunks counted on",                   MOST_KEPT      },
    {"n-and-m-swapped", "m before n",                                                         N_AND_M_SWAPPED},
    {"budget-down",     "max_model_len / ratio rounded down in the budget; it is rounded up",
     BUDGET_DOWN                                                                                             },
};

static int shape(struct dsv4_case *c, struct dsv4_err *err) {
    if (idx_step_make(c, err) != 0) return -1;
    const int64_t requests = idx_step_of(c)->batch.n_requests;
    c->refused = dsv4_case_int(c, "short_chunks") != 0;
    idx_shape_rows(c, SEQ_LENS, DSV4_I32, requests);
    idx_shape_rows(c, GATHER_LENS, DSV4_I32, requests);
    idx_shape_matrix(c, CHUNKS, requests - (c->refused ? 1 : 0), 4, 4);
    idx_shape_rows(c, COUNT, DSV4_I32, 1);
    return 0;
}

static void fill(struct dsv4_case *c) {
    const struct dsv4_batch *const batch = &idx_step_of(c)->batch;
    idx_fill_seq_lens(c, SEQ_LENS);
    for (int64_t r = 0; r < batch->n_requests; r++)
        ((int32_t *)c->tensors[GATHER_LENS].t.data)[r] =
            (int32_t)(batch->requests[r].query +
                      idx_min(batch->requests[r].context, dsv4_case_int(c, "window") - 1));
}

static int run(const dsv4_call *call, int mutant, struct dsv4_err *err) {
    const dsv4_tensor *const tensors = call->tensors, *const chunks = &tensors[CHUNKS];
    const int64_t requests = tensors[SEQ_LENS].shape[0], ratio = dsv4_int(call, "ratio", 4);
    const int64_t up = mutant == BUDGET_DOWN ? 0 : ratio - 1;
    const int64_t budget =
        4 * ((dsv4_int(call, "max_model_len", 0) + up) / ratio + dsv4_int(call, "window", 0) +
             dsv4_int(call, "max_batched_tokens", 0));
    int64_t begin = 0, compressed = 0, gathered = 0;
    int32_t count = 0;
    if (chunks->shape[0] < requests) {
        dsv4_fail(err, "chunks has %lld rows; %lld requests may need one each",
                  (long long)chunks->shape[0], (long long)requests);
        return DSV4_REFUSED;
    }
    for (int64_t r = 0; r < requests; r++) {
        const int64_t tokens = idx_at(&tensors[SEQ_LENS], r);
        const int64_t rows = (tokens + (mutant == ROUNDED_UP ? ratio - 1 : 0)) / ratio;
        const int64_t gather = idx_at(&tensors[GATHER_LENS], r);
        const int64_t c = idx_max(compressed, rows), g = idx_max(gathered, gather);
        const int64_t width = mutant == NEXT_LEFT_OUT ? compressed + gathered : c + g;
        const int64_t needed = (r + 1 - begin) * width + (mutant == ONE_TOO_FEW);
        if (r > begin && needed > budget) {
            count++;
            begin = r;
            compressed = mutant == MOST_KEPT ? c : rows;
            gathered = mutant == MOST_KEPT ? g : gather;
        } else {
            compressed = c;
            gathered = g;
        }
        int32_t *const row = idx_row(chunks, count);
        const bool swapped = mutant == N_AND_M_SWAPPED;
        row[0] = (int32_t)begin;
        row[1] = (int32_t)(r + 1);
        row[swapped ? 3 : 2] = (int32_t)compressed;
        row[swapped ? 2 : 3] = (int32_t)(compressed + gathered);
    }
    ((int32_t *)tensors[COUNT].data)[0] = requests > 0 ? count + 1 : 0;
    return DSV4_OK;
}

static void trace(const struct dsv4_case *c, size_t slot, int64_t offset, char *line, size_t size) {
    static const char *const words[] = {"first request", "end", "n", "m"};
    const int64_t row = offset / c->tensors[slot].t.stride[0];
    if (slot == COUNT)
        snprintf(line, size, "number of chunks");
    else
        snprintf(line, size, "chunk %lld: %s", (long long)row,
                 words[offset % c->tensors[slot].t.stride[0] / 4 % 4]);
}

static void work(const struct dsv4_case *c, struct dsv4_work *work) {
    work->bytes_read = 8.0 * (double)c->tensors[SEQ_LENS].t.shape[0];
    work->bytes_written = 20;
}

const struct dsv4_op dsv4_op_idx_prefill_chunks = {
    .name = "idx_prefill_chunks",
    .summary = "plans which prefill requests share a workspace, and its layout",
    .source = "vllm v1/attention/backends/mla/sparse_swa.py",
    .exact = "integers alone",
    DSV4_OP_PARTS,
};
