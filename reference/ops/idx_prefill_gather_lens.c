/* SPDX-License-Identifier: Apache-2.0 */
/*
 * idx_prefill_gather_lens: how many rows of its window's cache each prefill request needs in the workspace.
 *
 * Entry i is request r = first_request + i: gather_lens[i] = query_len + min(seq_lens[r] - query_len, window - 1), with
 * query_len = query_start_loc[r + 1] - query_start_loc[r]: its own tokens, and what the first of them sees;
 * where seq_lens is less than the query, all that there is: seq_lens.
 *
 * Integers: no rounding. Refused: more entries than requests from first_request on.
 * Source: vllm v1/attention/backends/mla/sparse_swa.py. Latitude: none.
 */
#include <stdio.h>

#include "idx_family.h"

enum { QUERY_START, SEQ_LENS, GATHER_LENS };
enum { RIGHT, WINDOW_LONG, WHOLE_CONTEXT, QUERY_LOST, CONTEXT_CLAMPED, FIRST_LOST };

static const struct dsv4_param_def params[] = {
    DSV4_PARAM_INT("window", CALL, 128, 1, 1 << 20, "tokens of the window"),
    DSV4_PARAM_INT("first_request", CALL, 0, 0, 1 << 20, "the first prefill request"),
    IDX_STEP_PARAMS("1@300,5@20,9@500"),
    IDX_SHORT_PARAM,
    DSV4_PARAM_INT("more", INPUT, 0, 0, 16, "entries too many: refused"),
};

static const struct dsv4_slot slots[] = {
    {"query_start_loc", DSV4_IN,  "[requests + 1] i32", "first token of each request, the end"},
    {"seq_lens",        DSV4_IN,  "[requests] i32",     "tokens with the step's"              },
    {"gather_lens",     DSV4_OUT, "[prefills] i32",     "rows to gather"                      },
};

static const struct dsv4_mutant mutants[] = {
    {"window-long",     "window tokens before the first one; it is window - 1",           WINDOW_LONG  },
    {"whole-context",   "all tokens gathered; only the window's are",                     WHOLE_CONTEXT},
    {"query-lost",      "the window alone; the query's own tokens come on top",           QUERY_LOST   },
    {"context-clamped", "a context below 0 taken for 0: more rows than the sequence has",
     CONTEXT_CLAMPED                                                                                   },
    {"first-lost",      "entry i taken for request i; it is first_request + i",           FIRST_LOST   },
};

static int shape(struct dsv4_case *c, struct dsv4_err *err) {
    if (idx_step_make(c, err) != 0) return -1;
    const int64_t requests = idx_step_of(c)->batch.n_requests, more = dsv4_case_int(c, "more");
    const int64_t rest = idx_max(requests - dsv4_case_int(c, "first_request"), 0);
    idx_shape_rows(c, QUERY_START, DSV4_I32, requests + 1);
    idx_shape_rows(c, SEQ_LENS, DSV4_I32, requests);
    idx_shape_rows(c, GATHER_LENS, DSV4_I32, rest + more);
    c->refused = dsv4_case_int(c, "first_request") + rest + more > requests;
    return 0;
}

static void fill(struct dsv4_case *c) {
    idx_fill_query_start(c, QUERY_START);
    idx_fill_short_seq_lens(c, SEQ_LENS);
}

static int run(const dsv4_call *call, int mutant, struct dsv4_err *err) {
    const dsv4_tensor *const tensors = call->tensors, *const start = &tensors[QUERY_START];
    const int64_t n = tensors[GATHER_LENS].shape[0], first = dsv4_int(call, "first_request", 0);
    const int64_t window = dsv4_int(call, "window", 128);
    if (first + n > tensors[SEQ_LENS].shape[0]) {
        dsv4_fail(err, "%lld entries from request %lld on; there are %lld requests", (long long)n,
                  (long long)first, (long long)tensors[SEQ_LENS].shape[0]);
        return DSV4_REFUSED;
    }
    for (int64_t i = 0; i < n; i++) {
        const int64_t r = mutant == FIRST_LOST ? i : first + i;
        const int64_t query = idx_at(start, r + 1) - idx_at(start, r);
        const int64_t all = idx_at(&tensors[SEQ_LENS], r) - query;
        const int64_t context = mutant == CONTEXT_CLAMPED ? idx_max(all, 0) : all;
        const int64_t seen =
            mutant == WHOLE_CONTEXT ? context : idx_min(context, window - (mutant != WINDOW_LONG));
        ((int32_t *)tensors[GATHER_LENS].data)[i] =
            (int32_t)((mutant == QUERY_LOST ? 1 : query) + seen);
    }
    return DSV4_OK;
}

static void trace(const struct dsv4_case *c, size_t slot, int64_t offset, char *line, size_t size) {
    const int64_t r = offset / 4 + dsv4_case_int(c, "first_request");
    const struct dsv4_request *const request = &idx_step_of(c)->batch.requests[r];
    (void)slot;
    snprintf(line, size, "request %lld: %lld tokens after %lld", (long long)r,
             (long long)request->query, (long long)request->context);
}

static void work(const struct dsv4_case *c, struct dsv4_work *work) {
    const double n = (double)c->tensors[GATHER_LENS].t.shape[0];
    work->bytes_read = 8 * n;
    work->bytes_written = 4 * n;
}

const struct dsv4_op dsv4_op_idx_prefill_gather_lens = {
    .name = "idx_prefill_gather_lens",
    .summary = "counts the window rows that each prefill request gathers",
    .source = "vllm v1/attention/backends/mla/sparse_swa.py",
    .exact = "integers alone",
    DSV4_OP_PARTS,
};
