/* SPDX-License-Identifier: Apache-2.0 */
/*
 * idx_global_topk: the indexer's selection, row numbers of a request, as slots of the compressed cache.
 *
 * slot(t, k) = block_table[r, x / block_size] * block_size + x % block_size for x = local[t, k] >= 0 and
 * r = token_to_req[t], else -1. lens[t] = how many x of row t are >= 0, or 0 if is_valid[t] is 0.
 * dense: indices[t, k] = slot(t, k) for all t and k, of tokens that are not valid too.
 * ragged: indptr = exclusive prefix sums of lens, tokens + 1 of them; indices[indptr[t] + o] = slot(t, o) for
 * o < lens[t]; entries from indptr[tokens] on are untouched. This is no compaction: entries -1 are counted out of lens
 * but not moved, so that a row with -1 before its end loses its last entries and keeps the -1. Rows should be valid
 * prefixes; others have this documented outcome.
 * bounds: check: x whose page lies beyond the table's columns counts as -1; trust: there is none.
 *
 * Integers: no rounding. token_to_req names a request for every token, stale or not.
 * Source: vllm models/deepseek_v4/common/ops/cache_utils.py; ragged: models/deepseek_v4/amd/rocm.py.
 * Latitude: none.
 */
#include <stdio.h>

#include "idx_family.h"

enum { LOCAL, TOKEN_TO_REQ, IS_VALID, BLOCK_TABLE, INDICES, LENS, INDPTR };
enum {
    RIGHT,
    ROW_WRAPS,
    LEN_IS_WIDTH,
    PADDING_LEN,
    PADDING_CLEARED,
    COMPACTED,
    LEN_TO_FIRST_HOLE,
    HOLE_MAPPED,
    FIRST_REQUEST,
    TABLE_ROW_WIDTH,
    INDPTR_INCLUSIVE,
    TAIL_CLEARED,
    BOUNDS_LOST,
    ROW_WIDTH
};

static const struct dsv4_param_def params[] = {
    DSV4_PARAM_INT("block_size", CALL, 64, 1, 65536, "rows of a page of the compressed cache"),
    DSV4_PARAM_NAME("form", DIALECT, "dense", "dense ragged",
                    "dense: a row for each token; ragged: rows one after the other, and indptr"),
    DSV4_PARAM_NAME("bounds", DIALECT, "trust", "trust check",
                    "check: numbers beyond the block table count as -1"),
    DSV4_PARAM_INT("topk", INPUT, 512, 1, 1 << 18, "columns of local"),
    DSV4_PARAM_INT("ratio", INPUT, 4, 1, 128, "tokens per row of the compressed cache"),
    IDX_STEP_PARAMS("5@20,1@300"),
    IDX_INVALID_PARAM,
    DSV4_PARAM_NAME("holes", INPUT, "none", "none interspersed garbage",
                    "interspersed: -1 among the rest; garbage: what NaN scores leave behind too"),
    DSV4_PARAM_INT("spare", INPUT, 0, 0, 1 << 16,
                   "ragged: entries of indices beyond tokens * topk"),
};

static const struct dsv4_slot slots[] = {
    {"local",        DSV4_IN,  "[tokens, topk] i32, rows strided",                       "row numbers of the request; -1: none"},
    {"token_to_req", DSV4_IN,  "[tokens] i32",                                           "a request, even of stale tokens"     },
    {"is_valid",     DSV4_IN,  "[tokens] u8",                                            "0: padding"                          },
    {"block_table",  DSV4_IN,  "[requests, W] i32, rows strided",                        "pages; garbage beyond use"           },
    {"indices",      DSV4_OUT, "[tokens, topk] i32, rows strided; ragged: [>= nnz] i32", "slots"                               },
    {"lens",         DSV4_OUT, "[tokens] i32",                                           "entries of each token"               },
    {"indptr",       DSV4_OUT, "[tokens + 1] i32, or absent",                            "ragged: where rows start"            },
};

static const struct dsv4_mutant mutants[] = {
    {"row-wraps",         "byte offset of a row of indices computed in 32 bits",                  ROW_WRAPS        },
    {"len-is-width",      "lens counts entries that are -1; it counts the others",                LEN_IS_WIDTH     },
    {"padding-len",       "entries of tokens that are not valid counted; their len is 0",         PADDING_LEN      },
    {"padding-cleared",   "rows of tokens that are not valid written as -1; they are mapped too",
     PADDING_CLEARED                                                                                               },
    {"compacted",         "entries after a -1 moved into its place; nothing is moved",            COMPACTED        },
    {"len-to-first-hole", "lens stops at the first -1; it counts all others",                     LEN_TO_FIRST_HOLE},
    {"hole-mapped",       "-1 mapped as a row number; it stays -1",                               HOLE_MAPPED      },
    {"first-request",     "block table row 0 for all tokens; token_to_req names it",              FIRST_REQUEST    },
    {"table-row-width",   "block table rows taken as `width` apart; they have a stride",
     TABLE_ROW_WIDTH                                                                                               },
    {"indptr-inclusive",  "indptr[t] counts row t too; it counts the rows before",                INDPTR_INCLUSIVE },
    {"tail-cleared",      "entries beyond indptr's last written; they are untouched",             TAIL_CLEARED     },
    {"bounds-lost",       "a number beyond the table mapped all the same",                        BOUNDS_LOST      },
    {"row-width",         "rows of local taken as topk apart; they have a stride",                ROW_WIDTH        },
};

static int shape(struct dsv4_case *c, struct dsv4_err *err) {
    const int64_t topk = dsv4_case_int(c, "topk"), block_size = dsv4_case_int(c, "block_size");
    if (idx_step_make(c, err) != 0) return -1;
    const struct idx_step *const step = idx_step_of(c);
    const int64_t tokens = step->first + step->batch.n_rows;
    idx_step_page(c, block_size, dsv4_case_int(c, "ratio"), 0, 2 * block_size + 1);
    idx_shape_matrix(c, LOCAL, tokens, topk, 28);
    idx_shape_rows(c, TOKEN_TO_REQ, DSV4_I32, tokens);
    idx_shape_rows(c, IS_VALID, DSV4_U8, tokens);
    idx_shape_table(c, BLOCK_TABLE);
    idx_shape_rows(c, LENS, DSV4_I32, tokens);
    idx_shape_rows(c, INDPTR, DSV4_I32, tokens + 1);
    if (dsv4_case_is(c, "form", "ragged")) {
        idx_shape_rows(c, INDICES, DSV4_I32, tokens * topk + dsv4_case_int(c, "spare"));
        return 0;
    }
    idx_shape_matrix(c, INDICES, tokens, topk, 12);
    dsv4_absent(c, INDPTR);
    return 0;
}

static void fill(struct dsv4_case *c) {
    const dsv4_tensor *const local = &c->tensors[LOCAL].t;
    const int64_t topk = local->shape[1], ratio = dsv4_case_int(c, "ratio");
    const bool garbage = dsv4_case_is(c, "holes", "garbage");
    idx_fill_token_to_req(c, TOKEN_TO_REQ);
    idx_fill_valid(c, IS_VALID);
    idx_fill_table(c, BLOCK_TABLE);
#pragma omp parallel for schedule(static)
    for (int64_t t = 0; t < local->shape[0]; t++) {
        int32_t *const row = idx_row(local, t);
        const int64_t request = idx_at(&c->tensors[TOKEN_TO_REQ].t, t);
        idx_fill_topk(c, row, t, request, topk, ratio, !dsv4_case_is(c, "holes", "none"));
        for (int64_t k = 1; garbage && k < topk; k += 4)
            row[k] = k % 8 == 1 ? 0x7FC00000 : INT32_MAX - (int32_t)k;
    }
}

struct mapping {
    dsv4_tensor table;
    int64_t block_size;
    bool check;
    int wrong;
};

static int64_t map(const struct mapping *m, int64_t request, int64_t x) {
    const int64_t rows = m->table.shape[1] * m->block_size;
    if (m->wrong == FIRST_REQUEST) request = 0;
    if (m->wrong == HOLE_MAPPED && x < 0) return idx_slot(&m->table, request, 0, m->block_size) + x;
    if (x < 0 || (x >= rows && (m->wrong != BOUNDS_LOST || rows == 0))) return -1;
    return idx_slot(&m->table, request, x % rows, m->block_size);
}

/* Whether an entry counts. */
static bool counts(const struct mapping *m, int64_t x) {
    if (m->wrong == LEN_IS_WIDTH) return true;
    const bool beyond = m->check && x >= m->table.shape[1] * m->block_size;
    return x >= 0 && (!beyond || m->wrong == BOUNDS_LOST);
}

static int64_t length_of(const struct mapping *m, const int32_t *row, int64_t topk) {
    int64_t n = 0;
    for (int64_t k = 0; k < topk; k++) {
        if (m->wrong == LEN_TO_FIRST_HOLE && row[k] < 0) break;
        n += counts(m, row[k]);
    }
    return n;
}

static void map_row(const struct mapping *m, int32_t *to, const int32_t *row, int64_t request,
                    int64_t n, bool valid) {
    int64_t at = 0;
    for (int64_t k = 0; k < n; k++) {
        const int64_t slot = map(m, request, row[k]);
        if (m->wrong == COMPACTED && slot < 0) continue;
        to[at++] = (int32_t)(m->wrong == PADDING_CLEARED && !valid ? -1 : slot);
    }
    while (at < n) to[at++] = -1;
}

static int run(const dsv4_call *call, int mutant, struct dsv4_err *err) {
    const dsv4_tensor *const tensors = call->tensors, *const indices = &tensors[INDICES];
    const bool ragged = dsv4_is(call, "form", "ragged");
    dsv4_tensor local = tensors[LOCAL];
    struct mapping m = {tensors[BLOCK_TABLE], dsv4_int(call, "block_size", 0),
                        dsv4_is(call, "bounds", "check"), mutant};
    int32_t *const lens = tensors[LENS].data, *const indptr = tensors[INDPTR].data;
    (void)err;
    if (mutant == TABLE_ROW_WIDTH) m.table.stride[0] = m.table.shape[1] * 4;
    if (mutant == ROW_WIDTH) local.stride[0] = local.shape[1] * 4;
#pragma omp parallel for schedule(static)
    for (int64_t t = 0; t < local.shape[0]; t++) {
        const bool valid = idx_flag(&tensors[IS_VALID], t) || mutant == PADDING_LEN;
        lens[t] = valid ? (int32_t)length_of(&m, idx_row(&local, t), local.shape[1]) : 0;
    }
    if (ragged) {
        int64_t sum = 0;
        indptr[0] = 0;
        for (int64_t t = 0; t < local.shape[0]; t++) indptr[t + 1] = (int32_t)(sum += lens[t]);
        for (int64_t i = sum; mutant == TAIL_CLEARED && i < indices->shape[0]; i++)
            ((int32_t *)indices->data)[i] = -1;
    }
#pragma omp parallel for schedule(static)
    for (int64_t t = 0; t < local.shape[0]; t++) {
        int32_t *const to = ragged ? (int32_t *)indices->data + indptr[t]
                                   : idx_row_or(indices, t, mutant == ROW_WRAPS);
        const int64_t n = ragged ? lens[t] : local.shape[1];
        map_row(&m, to, idx_row(&local, t), idx_at(&tensors[TOKEN_TO_REQ], t), n,
                idx_flag(&tensors[IS_VALID], t));
    }
    for (int64_t t = 0; ragged && mutant == INDPTR_INCLUSIVE && t < local.shape[0]; t++)
        indptr[t] += lens[t];
    return DSV4_OK;
}

static void trace(const struct dsv4_case *c, size_t slot, int64_t offset, char *line, size_t size) {
    const dsv4_tensor *const out = &c->tensors[slot].t;
    const int64_t t = offset / out->stride[0];
    if (slot == INDICES && out->ndim == 1)
        snprintf(line, size, "entry %lld of the ragged rows", (long long)t);
    else if (t >= c->tensors[LOCAL].t.shape[0])
        snprintf(line, size, "the end of the ragged rows");
    else
        snprintf(line, size, "token %lld (%s) of request %d", (long long)t,
                 idx_flag(&c->tensors[IS_VALID].t, t) ? "valid" : "padding",
                 idx_at(&c->tensors[TOKEN_TO_REQ].t, t));
}

static void work(const struct dsv4_case *c, struct dsv4_work *work) {
    const dsv4_tensor *const local = &c->tensors[LOCAL].t;
    const double entries = (double)local->shape[0] * (double)local->shape[1];
    double live = entries;
    if (dsv4_case_is(c, "form", "ragged")) {
        live = 0;
        for (int64_t t = 0; t < local->shape[0]; t++) {
            if (!idx_token_is_valid(c, t)) continue;
            const int64_t token = t - idx_step_of(c)->first;
            const int64_t rows =
                (idx_step_of(c)->batch.positions[token] + 1) / dsv4_case_int(c, "ratio");
            live += (double)idx_min(rows, local->shape[1]);
        }
    }
    work->bytes_read = 4.0 * entries + 5.0 * (double)local->shape[0];
    work->bytes_written = 4.0 * live + 4.0 * (double)local->shape[0];
}

const struct dsv4_op dsv4_op_idx_global_topk = {
    .name = "idx_global_topk",
    .summary = "maps the indexer's row numbers to slots of the compressed cache",
    .source = "vllm models/deepseek_v4/common/ops/cache_utils.py, amd/rocm.py",
    .exact = "integers alone",
    DSV4_OP_PARTS,
};
