/* SPDX-License-Identifier: Apache-2.0 */
/*
 * idx_topk_buffer: what the indexer of one layer leaves in the persistent buffer of selected rows.
 *
 * 1. buffer[t, c] = -1 for t < hidden_rows and all its columns, beyond topk too.
 * 2. buffer[t, c] = decode_topk[t, c] for the first rows, c < topk: one for each token of a decode, B * next_n of them.
 * 3. For each chunk (start, end, rows) with rows > 0: buffer[t, c] = prefill_topk[t - D, c] for start <= t < end,
 *    D the number of decode rows. A chunk without compressed rows is dropped: its tokens keep -1, and what prefill_topk
 *    holds for them is not looked at.
 * Rows from hidden_rows on are untouched. topk is the number of columns of decode_topk and prefill_topk.
 *
 * Integers: no rounding. Chunks are ascending and lie behind the decode rows; unused ones, start = end, come last.
 * Refused: fewer columns than topk, fewer rows than hidden_rows, fewer hidden_rows than decode rows.
 * Source: vllm model_executor/layers/sparse_attn_indexer.py, v1/attention/ops/rocm_aiter_mla_sparse.py.
 * Latitude: none. Upstream's top-k writes into the buffer; here its rows are inputs, so that a fault in top-k is no fault
 * of the buffer.
 */
#include <stdio.h>

#include "idx_family.h"

enum { DECODE_TOPK, PREFILL_TOPK, CHUNKS, BUFFER };
enum { START, END, ROWS, FIELDS };
enum {
    RIGHT,
    ROW_WRAPS,
    STALE_KEPT,
    COLUMNS_KEPT,
    PADDING_KEPT,
    ALL_CLEARED,
    CLEARED_LAST,
    PREFILL_AT_ZERO,
    SOURCE_BY_TOKEN,
    DROPPED_COPIED,
    FIRST_CHUNK_ALONE,
    LAST_ROW_LOST,
    STRIDE_IS_TOPK,
    TAIL_IS_ZERO
};

static const struct dsv4_param_def params[] = {
    DSV4_PARAM_INT("hidden_rows", CALL, 16, 0, 1 << 22, "rows of the step, padding included"),
    DSV4_PARAM_INT("topk", INPUT, 512, 1, 1 << 16, "rows that are selected for a token"),
    DSV4_PARAM_INT("width", INPUT, -1, -1, 1 << 16, "columns of buffer; -1: topk"),
    DSV4_PARAM_INT("spare", INPUT, 2, -64, 1 << 20, "rows of buffer beyond hidden_rows"),
    DSV4_PARAM_INT("ratio", INPUT, 4, 1, 1024, "tokens per compressed row"),
    DSV4_PARAM_INT("decode_tokens", INPUT, 2, 0, 1 << 20,
                   "tokens that are decodes: the first ones"),
    DSV4_PARAM_INT("chunk_tokens", INPUT, 1048576, 1, 1 << 20, "most query tokens of a chunk"),
    DSV4_PARAM_INT("chunk_slots", INPUT, -1, -1, 1 << 16, "rows of chunks; -1: as many as needed"),
    IDX_STEP_PARAMS("1@30,1@70,5@150,3@0"),
};

static const struct dsv4_slot slots[] = {
    {"decode_topk",  DSV4_IN,  "[D, topk] i32, rows strided",                 "rows of decodes, or absent"       },
    {"prefill_topk", DSV4_IN,  "[others, topk] i32, rows strided",            "rows of the others, or absent"    },
    {"chunks",       DSV4_IN,  "[chunks, 3] i32",                             "first token, end, compressed rows"},
    {"buffer",       DSV4_OUT, "[>= hidden_rows, >= topk] i32, rows strided",
     "rows selected for each token, then -1"                                                                     },
};

static const struct dsv4_mutant mutants[] = {
    {"row-wraps",         "byte offset of a row of buffer computed in 32 bits",                      ROW_WRAPS        },
    {"stale-kept",        "rows that nothing is written to kept; they are cleared first",            STALE_KEPT       },
    {"columns-kept",      "only topk columns cleared; the whole row is",                             COLUMNS_KEPT     },
    {"padding-kept",      "only rows of real tokens cleared; hidden_rows are",                       PADDING_KEPT     },
    {"all-cleared",       "the whole buffer cleared; rows from hidden_rows on stay",                 ALL_CLEARED      },
    {"cleared-last",      "rows of decodes cleared after they were written",                         CLEARED_LAST     },
    {"prefill-at-zero",   "chunks written from row 0 on, over the decodes; D rows come before them",
     PREFILL_AT_ZERO                                                                                                  },
    {"source-by-token",   "prefill_topk row t taken for token t; it is row t - D",                   SOURCE_BY_TOKEN  },
    {"dropped-copied",    "a chunk without compressed rows written; its tokens keep -1",
     DROPPED_COPIED                                                                                                   },
    {"first-chunk-alone", "chunks after the first not written",                                      FIRST_CHUNK_ALONE},
    {"last-row-lost",     "a chunk's last token not written; end is behind it",                      LAST_ROW_LOST    },
    {"stride-is-topk",    "rows taken as topk apart; the buffer has another stride",                 STRIDE_IS_TOPK   },
    {"tail-is-zero",      "columns beyond topk are 0; that is a row",                                TAIL_IS_ZERO     },
};

/* The chunks of the prefill requests, one request each, none longer than chunk_tokens; NULL: only counted. */
static int64_t make_chunks(const struct dsv4_case *c, int64_t decodes, int32_t *chunks) {
    const struct dsv4_batch *const batch = &idx_step_of(c)->batch;
    const int64_t most = dsv4_case_int(c, "chunk_tokens"), ratio = dsv4_case_int(c, "ratio");
    int64_t n = 0, first = 0;
    for (int64_t r = 0; r < batch->n_requests; r++) {
        const int64_t end = first + batch->requests[r].query;
        for (int64_t at = idx_max(first, decodes); at < end; at += most, n++)
            if (chunks != NULL) {
                chunks[FIELDS * n + START] = (int32_t)at;
                chunks[FIELDS * n + END] = (int32_t)idx_min(at + most, end);
                chunks[FIELDS * n + ROWS] = (int32_t)(batch->seq_lens[r] / ratio);
            }
        first = end;
    }
    return n;
}

static int shape(struct dsv4_case *c, struct dsv4_err *err) {
    const int64_t topk = dsv4_case_int(c, "topk"), hidden = dsv4_case_int(c, "hidden_rows");
    int64_t width = dsv4_case_int(c, "width"), slots_given = dsv4_case_int(c, "chunk_slots");
    if (idx_step_make(c, err) != 0) return -1;
    const int64_t tokens = idx_step_of(c)->batch.n_rows;
    const int64_t decodes = idx_min(dsv4_case_int(c, "decode_tokens"), tokens);
    const int64_t chunks = make_chunks(c, decodes, NULL);
    const int64_t rows = idx_max(hidden + dsv4_case_int(c, "spare"), 0);
    width = width < 0 ? topk : width;
    slots_given = slots_given < 0 ? chunks : slots_given;
    c->refused = width < topk || rows < hidden || decodes > hidden;
    if (chunks > slots_given)
        return dsv4_fail(err, "chunk_slots: the batch has %lld chunks", (long long)chunks);
    if (!c->refused && tokens > hidden)
        return dsv4_fail(err, "hidden_rows: the batch has %lld rows", (long long)tokens);
    idx_shape_matrix(c, DECODE_TOPK, decodes, topk, 20);
    idx_shape_matrix(c, PREFILL_TOPK, tokens - decodes, topk, 12);
    if (decodes == 0) dsv4_absent(c, DECODE_TOPK);
    if (tokens == decodes) dsv4_absent(c, PREFILL_TOPK);
    DSV4_SHAPE(c, CHUNKS, DSV4_I32, slots_given, FIELDS);
    c->tensors[CHUNKS].align = 4;
    idx_shape_matrix(c, BUFFER, rows, width, 8);
    return 0;
}

static void fill(struct dsv4_case *c) {
    const struct dsv4_batch *const batch = &idx_step_of(c)->batch;
    const dsv4_tensor *const decode = &c->tensors[DECODE_TOPK].t;
    const dsv4_tensor *const prefill = &c->tensors[PREFILL_TOPK].t;
    const int64_t decodes = decode->ndim == 0 ? 0 : decode->shape[0];
    const int64_t topk = dsv4_case_int(c, "topk"), ratio = dsv4_case_int(c, "ratio");
    if (c->tensors[CHUNKS].t.shape[0] > 0) {
        memset(c->tensors[CHUNKS].t.data, 0,
               (size_t)(c->tensors[CHUNKS].t.shape[0] * FIELDS) * sizeof(int32_t));
        make_chunks(c, decodes, c->tensors[CHUNKS].t.data);
    }
    for (int64_t t = 0; t < batch->n_rows; t++) {
        int32_t *const row = t < decodes ? idx_row(decode, t) : idx_row(prefill, t - decodes);
        const bool real = t < batch->n_tokens;
        const int64_t r = real ? batch->token_to_req[t] : batch->n_requests;
        idx_fill_topk(c, row, t, r, topk, ratio, false);
        const bool dropped = t >= decodes && (!real || batch->seq_lens[r] / ratio == 0);
        for (int64_t k = 0; dropped && k < topk; k++) /* nobody computed these */
            row[k] = (int32_t)dsv4_below(
                dsv4_random(c->seed, IDX_STREAM_STALE, (uint64_t)(t * topk + k)), 1 << 20);
    }
}

static int32_t *row_at(const dsv4_call *call, int64_t t, int wrong) {
    const dsv4_tensor *const decode = &call->tensors[DECODE_TOPK];
    const dsv4_tensor *const any = idx_absent(decode) ? &call->tensors[PREFILL_TOPK] : decode;
    dsv4_tensor buffer = call->tensors[BUFFER];
    if (wrong == STRIDE_IS_TOPK && !idx_absent(any)) buffer.stride[0] = any->shape[1] * 4;
    return idx_row_or(&buffer, t, wrong == ROW_WRAPS);
}

static void clear(const dsv4_call *call, int64_t t, int64_t topk, int wrong) {
    const int64_t width = call->tensors[BUFFER].shape[1];
    int32_t *const row = row_at(call, t, wrong);
    for (int64_t k = 0; k < (wrong == COLUMNS_KEPT ? topk : width); k++)
        row[k] = wrong == TAIL_IS_ZERO && k >= topk ? 0 : -1;
}

static void write_chunks(const dsv4_call *call, int64_t decodes, int wrong) {
    const dsv4_tensor *const chunks = &call->tensors[CHUNKS];
    const dsv4_tensor *const from = &call->tensors[PREFILL_TOPK];
    for (int64_t i = 0; i < chunks->shape[0]; i++) {
        const int64_t start = idx_at2(chunks, i, START), end = idx_at2(chunks, i, END);
        if (idx_at2(chunks, i, ROWS) == 0 && wrong != DROPPED_COPIED) continue;
        if (wrong == FIRST_CHUNK_ALONE && i > 0) break;
#pragma omp parallel for schedule(static)
        for (int64_t t = start; t < end - (wrong == LAST_ROW_LOST); t++) {
            const int64_t at =
                wrong == SOURCE_BY_TOKEN ? idx_min(t, from->shape[0] - 1) : t - decodes;
            memcpy(row_at(call, wrong == PREFILL_AT_ZERO ? t - decodes : t, wrong),
                   idx_row(from, at), (size_t)from->shape[1] * sizeof(int32_t));
        }
    }
}

/* Whether a decode or a chunk writes row t. */
static bool covered(const dsv4_call *call, int64_t t, int64_t decodes) {
    const dsv4_tensor *const chunks = &call->tensors[CHUNKS];
    bool inside = t < decodes;
    for (int64_t i = 0; i < chunks->shape[0]; i++)
        inside |= t >= idx_at2(chunks, i, START) && t < idx_at2(chunks, i, END);
    return inside;
}

static int refuse(const dsv4_call *call, int64_t decodes, int64_t topk, struct dsv4_err *err) {
    const dsv4_tensor *const buffer = &call->tensors[BUFFER];
    const int64_t hidden = dsv4_int(call, "hidden_rows", 0);
    if (buffer->shape[1] >= topk && buffer->shape[0] >= hidden && decodes <= hidden) return 0;
    return dsv4_fail(err,
                     "buffer [%lld, %lld] is too small for %lld rows, %lld of decodes, of %lld",
                     (long long)buffer->shape[0], (long long)buffer->shape[1], (long long)hidden,
                     (long long)decodes, (long long)topk);
}

static int run(const dsv4_call *call, int mutant, struct dsv4_err *err) {
    const dsv4_tensor *const decode = &call->tensors[DECODE_TOPK];
    const dsv4_tensor *const prefill = &call->tensors[PREFILL_TOPK];
    const int64_t decodes = idx_absent(decode) ? 0 : decode->shape[0];
    const int64_t topk = !idx_absent(decode)    ? decode->shape[1]
                         : !idx_absent(prefill) ? prefill->shape[1]
                                                : 0;
    if (refuse(call, decodes, topk, err) != 0) return DSV4_REFUSED;
    const int64_t rows =
        mutant == ALL_CLEARED ? call->tensors[BUFFER].shape[0] : dsv4_int(call, "hidden_rows", 0);
#pragma omp parallel for schedule(static)
    for (int64_t t = 0; t < rows; t++)
        if (mutant != STALE_KEPT && (mutant != PADDING_KEPT || covered(call, t, decodes)))
            clear(call, t, topk, mutant);
    for (int64_t t = 0; t < decodes; t++) {
        memcpy(row_at(call, t, mutant), idx_row(decode, t), (size_t)topk * sizeof(int32_t));
        if (mutant == CLEARED_LAST) clear(call, t, topk, mutant);
    }
    write_chunks(call, decodes, mutant);
    return DSV4_OK;
}

static void trace(const struct dsv4_case *c, size_t slot, int64_t offset, char *line, size_t size) {
    const struct dsv4_batch *const batch = &idx_step_of(c)->batch;
    const dsv4_tensor *const decode = &c->tensors[DECODE_TOPK].t;
    const int64_t t = offset / c->tensors[slot].t.stride[0];
    const char *const kind = decode->ndim > 0 && t < decode->shape[0] ? "decode" : "prefill";
    if (t >= batch->n_tokens)
        snprintf(line, size, "row %lld is padding", (long long)t);
    else
        snprintf(line, size, "%s token %lld: request %d, position %lld", kind, (long long)t,
                 batch->token_to_req[t], (long long)batch->positions[t]);
}

static void work(const struct dsv4_case *c, struct dsv4_work *work) {
    const struct dsv4_batch *const batch = &idx_step_of(c)->batch;
    work->bytes_read = 4.0 * (double)(batch->n_rows * dsv4_case_int(c, "topk"));
    work->bytes_written =
        4.0 * (double)(dsv4_case_int(c, "hidden_rows") * c->tensors[BUFFER].t.shape[1]);
}

const struct dsv4_op dsv4_op_idx_topk_buffer = {
    .name = "idx_topk_buffer",
    .summary = "clears the persistent top-k buffer and lays decode and prefill rows into it",
    .source = "vllm model_executor/layers/sparse_attn_indexer.py",
    .exact = "integers alone",
    DSV4_OP_PARTS,
};
