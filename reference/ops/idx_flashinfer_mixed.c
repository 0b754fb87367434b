/* SPDX-License-Identifier: Apache-2.0 */
/*
 * idx_flashinfer_mixed: one row of slots per token for FlashInfer's sparse kernels: the window's, then compressed ones.
 *
 * Rows have window + P columns, P = max(topk, decode_topk) rounded up to 4, so that rows are multiples of 16 bytes where
 * window is one of 4 columns. lens[t] counts the window's columns in full: short windows are holes of -1.
 * Decode token t < D: columns c < window copy decode_swa[t, c]. Column window + c for c < decode_topk:
 *   decode none: -1, n = 0. decode global: decode_indices[t, c], n = decode_lens[t], or decode_topk without decode_lens.
 *   decode local: the slot of row decode_indices[t, c] of request token_to_req[t], -1 if that is negative; n = how many are
 *   not negative, or 0 if is_valid[t] is 0.
 * Prefill token t >= D at pos = positions[t]: columns c < window are slots of positions pos + 1 - min(pos + 1, window) + c up to
 * pos, then -1. n = min((pos + 1) / ratio, topk); columns window + c for c < n are slots of prefill_indices[t - D, c], -1 if
 * that is negative, which n does not notice. All other columns are -1. lens[t] = window + n.
 *
 * Numbers are taken as they come: a row number below 0, whichever, becomes -1; slots of decode global and decode_lens are
 * copied, if below 0 or beyond the columns, too. Domain: row numbers from 0 on are rows that the request has.
 *
 * Integers: no rounding. Rows of padding are written too, from stale requests and positions that exist.
 * Refused: indices with another width than window + P, or with rows that are not 16-byte aligned where 4 divides window.
 * Source: vllm models/deepseek_v4/common/ops/cache_utils.py, nvidia/flashinfer_sparse.py.
 * Pages packed with other caches: swa_span and span are the rows from one page to the next, and slot = page * span +
 * offset. 0: the block size.
 * Latitude: none.
 */
#include <stdio.h>

#include "idx_family.h"

enum {
    DECODE_SWA,
    DECODE_INDICES,
    DECODE_LENS,
    PREFILL_INDICES,
    POSITIONS,
    TOKEN_TO_REQ,
    IS_VALID,
    SWA_TABLE,
    BLOCK_TABLE,
    INDICES,
    LENS
};
enum {
    RIGHT,
    ROW_WRAPS,
    WINDOW_NOT_COUNTED,
    SHORT_WINDOW_COUNTED,
    WINDOW_RIGHT_ALIGNED,
    PADDING_LEN,
    HOLES_NOT_COUNTED,
    LOCAL_COPIED,
    TAIL_KEPT,
    ROUNDING_KEPT,
    PREFILL_FROM_FIRST,
    TABLES_SWAPPED,
    DECODE_LEN_LOST,
    SPAN_LOST,
    SPAN_OF_OTHER,
    NEGATIVE_COPIED,
    LEN_MENDED
};

static const struct dsv4_param_def params[] = {
    DSV4_PARAM_INT("window", CALL, 128, 1, 65536, "tokens of the window"),
    DSV4_PARAM_INT("ratio", CALL, 4, 1, 1024, "tokens per compressed row"),
    DSV4_PARAM_INT("swa_block_size", CALL, 64, 1, 65536, "tokens of a page of the window's cache"),
    DSV4_PARAM_INT("block_size", CALL, 64, 1, 65536, "rows of a page of the compressed cache"),
    DSV4_PARAM_INT("swa_span", CALL, 0, 0, 1 << 20, "rows from page to page there; 0: the block"),
    DSV4_PARAM_INT("span", CALL, 0, 0, 1 << 20, "rows from page to page here; 0: the block"),
    DSV4_PARAM_NAME("decode", CALL, "local", "local global none",
                    "what decode_indices holds: row numbers, slots, or nothing"),
    DSV4_PARAM_INT("topk", INPUT, 512, 0, 65536, "columns of prefill_indices"),
    DSV4_PARAM_INT("decode_topk", INPUT, 512, 0, 65536, "columns of decode_indices"),
    DSV4_PARAM_INT("decode_tokens", INPUT, 2, 0, 1 << 20,
                   "tokens that are decodes: the first ones"),
    IDX_STEP_PARAMS("1@300,1@70,5@150"),
    IDX_INVALID_PARAM,
    DSV4_PARAM_INT("holes", INPUT, 0, 0, 1, "1: -1 among the selected rows"),
    DSV4_PARAM_INT(
        "odd", INPUT, 0, 0, 1,
        "1: numbers that nobody should give: indices below -1, and decode_lens below 0 or "
        "beyond the columns"),
    DSV4_PARAM_INT("given_lens", INPUT, 1, 0, 1, "0: no decode_lens"),
    DSV4_PARAM_INT("extra_columns", INPUT, 0, -4, 4, "columns too many or too few: refused"),
};

static const struct dsv4_slot slots[] = {
    {"decode_swa",      DSV4_IN,  "[decodes, window] i32, rows strided",
     "slots of decode tokens, or absent"                                                                           },
    {"decode_indices",  DSV4_IN,  "[decodes, decode_topk] i32, rows strided",
     "rows or slots, or absent"                                                                                    },
    {"decode_lens",     DSV4_IN,  "[decodes] i32, or absent",                 "entries of decode_indices, if slots"},
    {"prefill_indices", DSV4_IN,  "[others, topk] i32, rows strided",         "row numbers, or absent"             },
    {"positions",       DSV4_IN,  "[tokens] i64",                             "token positions"                    },
    {"token_to_req",    DSV4_IN,  "[tokens] i32",                             "a request, even of stale tokens"    },
    {"is_valid",        DSV4_IN,  "[tokens] u8",                              "0: padding"                         },
    {"swa_table",       DSV4_IN,  "[requests, W] i32, rows strided",          "pages of the window's cache"        },
    {"block_table",     DSV4_IN,  "[requests, W] i32, rows strided",          "pages of the compressed cache"      },
    {"indices",         DSV4_OUT, "[tokens, window + P] i32, rows strided",   "slots"                              },
    {"lens",            DSV4_OUT, "[tokens] i32",                             "columns to look at"                 },
};

static const struct dsv4_mutant mutants[] = {
    {"row-wraps",            "byte offset of a row of indices computed in 32 bits",               ROW_WRAPS         },
    {"window-not-counted",   "lens without the window; it counts it in full",                     WINDOW_NOT_COUNTED},
    {"short-window-counted", "a short window counted by its tokens; it counts in full",
     SHORT_WINDOW_COUNTED                                                                                           },
    {"window-right-aligned", "a short window's slots at the end of its columns; they come first",
     WINDOW_RIGHT_ALIGNED                                                                                           },
    {"padding-len",          "entries of padding counted; it has none",                           PADDING_LEN       },
    {"holes-not-counted",    "prefill lens reduced by entries that are -1; the position says it",
     HOLES_NOT_COUNTED                                                                                              },
    {"local-copied",         "row numbers of decodes copied; they are mapped to slots",           LOCAL_COPIED      },
    {"tail-kept",            "columns beyond the entries not written; they are -1",               TAIL_KEPT         },
    {"rounding-kept",        "columns that round P up not written; they are -1",                  ROUNDING_KEPT     },
    {"prefill-from-first",   "prefill row i taken for token i; it is token D + i",
     PREFILL_FROM_FIRST                                                                                             },
    {"tables-swapped",       "window slots from the compressed cache's table",                    TABLES_SWAPPED    },
    {"decode-len-lost",      "decode_lens ignored: all columns count",                            DECODE_LEN_LOST   },
    {"span-lost",            "slots by block size; packed pages lie a span apart",                SPAN_LOST         },
    {"span-of-other",        "one cache's span used for the other's slots",                       SPAN_OF_OTHER     },
    {"negative-copied",      "a row number below -1 copied; it becomes -1",                       NEGATIVE_COPIED   },
    {"len-mended",           "decode_lens held to the columns; they are copied as they are",      LEN_MENDED        },
};

static int64_t rounded(int64_t topk, int64_t decode_topk) {
    return (idx_max(topk, decode_topk) + 3) / 4 * 4;
}

static void shape_matrix_or_absent(struct dsv4_case *c, size_t slot, int64_t rows, int64_t width,
                                   bool there) {
    idx_shape_matrix(c, slot, rows, width > 0 ? width : 1, 12);
    if (!there || width == 0) dsv4_absent(c, slot);
}

static int check_spans(const struct dsv4_case *c, struct dsv4_err *err) {
    const int64_t span = dsv4_case_int(c, "span"), swa_span = dsv4_case_int(c, "swa_span");
    if ((span == 0 || span >= dsv4_case_int(c, "block_size")) &&
        (swa_span == 0 || swa_span >= dsv4_case_int(c, "swa_block_size")))
        return 0;
    return dsv4_fail(err, "span, swa_span: a page does not fit into them");
}

static int shape(struct dsv4_case *c, struct dsv4_err *err) {
    const int64_t window = dsv4_case_int(c, "window"), topk = dsv4_case_int(c, "topk");
    const int64_t given = dsv4_case_int(c, "decode_topk");
    const bool none = dsv4_case_is(c, "decode", "none"),
               global = dsv4_case_is(c, "decode", "global");
    const int64_t decode_topk = none ? 0 : given, block_size = dsv4_case_int(c, "block_size");
    if (idx_step_make(c, err) != 0) return -1;
    if (check_spans(c, err) != 0) return -1;
    struct idx_step *const step = idx_step_of(c);
    const int64_t tokens = step->first + step->batch.n_rows;
    const int64_t decodes = idx_min(dsv4_case_int(c, "decode_tokens"), tokens);
    const int64_t swa_block = dsv4_case_int(c, "swa_block_size");
    idx_step_page(c, swa_block, 1, window, 2 * swa_block + 1);
    step->other = step->paging;
    idx_shape_table(c, SWA_TABLE);
    idx_step_page(c, block_size, dsv4_case_int(c, "ratio"), 0, 2 * block_size + 1);
    idx_shape_table(c, BLOCK_TABLE);
    shape_matrix_or_absent(c, DECODE_SWA, decodes, window, decodes > 0);
    shape_matrix_or_absent(c, DECODE_INDICES, decodes, decode_topk, decodes > 0);
    shape_matrix_or_absent(c, PREFILL_INDICES, tokens - decodes, topk, tokens > decodes);
    idx_shape_rows(c, DECODE_LENS, DSV4_I32, decodes);
    if (!global || dsv4_case_int(c, "given_lens") == 0) dsv4_absent(c, DECODE_LENS);
    idx_shape_rows(c, POSITIONS, DSV4_I64, tokens);
    idx_shape_rows(c, TOKEN_TO_REQ, DSV4_I32, tokens);
    idx_shape_rows(c, IS_VALID, DSV4_U8, tokens);
    const bool has_prefill = tokens > decodes, has_decode = decodes > 0;
    const int64_t width = window + rounded(has_prefill ? topk : 0, has_decode ? decode_topk : 0);
    const int64_t extra = dsv4_case_int(c, "extra_columns");
    idx_shape_matrix(c, INDICES, tokens, width + extra, 12);
    idx_shape_rows(c, LENS, DSV4_I32, tokens);
    c->refused = extra != 0;
    return 0;
}

static void fill_decodes(const struct dsv4_case *c) {
    const dsv4_tensor *const swa = &c->tensors[DECODE_SWA].t;
    const dsv4_tensor *const rows = &c->tensors[DECODE_INDICES].t;
    const bool local = dsv4_case_is(c, "decode", "local");
    for (int64_t t = 0; swa->ndim > 0 && t < swa->shape[0]; t++)
        for (int64_t k = 0; k < swa->shape[1]; k++) {
            const uint64_t bits = dsv4_random(c->seed, 40, (uint64_t)(t * swa->shape[1] + k));
            idx_row(swa, t)[k] = (int32_t)dsv4_below(bits, 5000) - (bits % 7 == 0 ? 5001 : 0);
        }
    for (int64_t t = 0; rows->ndim > 0 && t < rows->shape[0]; t++) {
        int32_t *const row = idx_row(rows, t);
        idx_fill_topk(c, row, t, idx_at(&c->tensors[TOKEN_TO_REQ].t, t), rows->shape[1],
                      dsv4_case_int(c, "ratio"), dsv4_case_int(c, "holes") != 0);
        for (int64_t k = 0; !local && k < rows->shape[1]; k++)
            row[k] = (int32_t)dsv4_below(dsv4_random(c->seed, 41, (uint64_t)(t << 20 | k)), 90000);
    }
    for (int64_t t = 0; c->tensors[DECODE_LENS].t.ndim > 0 && t < swa->shape[0]; t++)
        ((int32_t *)c->tensors[DECODE_LENS].t.data)[t] =
            (int32_t)dsv4_below(dsv4_random(c->seed, 42, (uint64_t)t), rows->shape[1] + 1);
}

/* Negative numbers of all sizes in place of some, and lengths outside of the columns. */
static void fill_odd(const struct dsv4_case *c) {
    const dsv4_tensor *const lens = &c->tensors[DECODE_LENS].t;
    if (dsv4_case_int(c, "odd") == 0) return;
    for (size_t slot = DECODE_INDICES; slot <= PREFILL_INDICES; slot += 2) {
        const dsv4_tensor *const rows = &c->tensors[slot].t;
        for (int64_t t = 0; rows->ndim > 0 && t < rows->shape[0]; t++)
            for (int64_t k = 1; k < rows->shape[1]; k += 3)
                idx_row(rows, t)[k] = k % 2 == 0 ? INT32_MIN : (int32_t)(-2 - k);
    }
    for (int64_t t = 0; lens->ndim > 0 && t < lens->shape[0]; t++)
        ((int32_t *)lens->data)[t] = (int32_t)(t % 2 == 0 ? -3 - t : 90 + t);
}

static void fill(struct dsv4_case *c) {
    const dsv4_tensor *const rows = &c->tensors[PREFILL_INDICES].t;
    const int64_t decodes = idx_min(dsv4_case_int(c, "decode_tokens"), c->tensors[LENS].t.shape[0]);
    idx_fill_token_to_req(c, TOKEN_TO_REQ);
    idx_fill_stale_positions(c, POSITIONS, TOKEN_TO_REQ);
    idx_fill_valid(c, IS_VALID);
    idx_fill_table(c, BLOCK_TABLE);
    dsv4_paging_fill(&idx_step_of(c)->other, &c->tensors[SWA_TABLE].t);
    fill_decodes(c);
    for (int64_t i = 0; rows->ndim > 0 && i < rows->shape[0]; i++)
        idx_fill_topk(c, idx_row(rows, i), i + decodes,
                      idx_at(&c->tensors[TOKEN_TO_REQ].t, i + decodes), rows->shape[1],
                      dsv4_case_int(c, "ratio"), dsv4_case_int(c, "holes") != 0);
    fill_odd(c);
}

static int64_t columns_of(const dsv4_tensor *t) { return idx_absent(t) ? 0 : t->shape[1]; }

/* The slot of a row in one of the two caches, or -1. */
static int32_t slot_of(const dsv4_call *call, int64_t request, int64_t row, bool swa, int wrong) {
    const int64_t block_size = dsv4_int(call, swa ? "swa_block_size" : "block_size", 64);
    int64_t span = dsv4_int(call, swa != (wrong == SPAN_OF_OTHER) ? "swa_span" : "span", 0);
    if (span == 0 || wrong == SPAN_LOST) span = block_size;
    const dsv4_tensor *const table = &call->tensors[swa ? SWA_TABLE : BLOCK_TABLE];
    const int64_t page = idx_slot(table, request, row / block_size * block_size, block_size);
    return (int32_t)(page < 0 ? -1 : page / block_size * span + row % block_size);
}

/* The slot of a selected row, or -1. */
static int32_t mapped(const dsv4_call *call, int64_t t, int64_t row, int wrong) {
    if (row < 0) return wrong == NEGATIVE_COPIED ? (int32_t)row : -1;
    return slot_of(call, idx_at(&call->tensors[TOKEN_TO_REQ], t), row, false, wrong);
}

static int64_t decode_row(const dsv4_call *call, int64_t t, int32_t *to, int wrong) {
    const dsv4_tensor *const tensors = call->tensors, *const given = &tensors[DECODE_LENS];
    const int64_t window = dsv4_int(call, "window", 0), topk = columns_of(&tensors[DECODE_INDICES]);
    const bool local = dsv4_is(call, "decode", "local");
    int64_t n = 0;
    memcpy(to, idx_row(&tensors[DECODE_SWA], t), (size_t)window * sizeof *to);
    if (dsv4_is(call, "decode", "none")) return 0;
    for (int64_t k = 0; k < topk; k++) {
        const int32_t x = idx_row(&tensors[DECODE_INDICES], t)[k];
        to[window + k] = local && wrong != LOCAL_COPIED ? mapped(call, t, x, wrong) : x;
        n += x >= 0;
    }
    if (local) return idx_flag(&tensors[IS_VALID], t) || wrong == PADDING_LEN ? n : 0;
    if (idx_absent(given) || wrong == DECODE_LEN_LOST) return topk;
    const int64_t len = idx_at(given, t);
    return wrong == LEN_MENDED ? idx_max(idx_min(len, topk), 0) : len;
}

static int64_t prefill_row(const dsv4_call *call, int64_t t, int64_t decodes, int32_t *to,
                           int64_t *seen, int wrong) {
    const dsv4_tensor *const tensors = call->tensors, *const rows = &tensors[PREFILL_INDICES];
    const int64_t window = dsv4_int(call, "window", 0);
    const int64_t r = idx_at(&tensors[TOKEN_TO_REQ], t), pos = idx_at_i64(&tensors[POSITIONS], t);
    const int64_t n = idx_min((pos + 1) / dsv4_int(call, "ratio", 4), columns_of(rows));
    const int64_t short_by = window - idx_min(pos + 1, window);
    int64_t holes = 0;
    *seen = window - short_by;
    for (int64_t k = 0; k < window; k++) {
        const int64_t c = wrong == WINDOW_RIGHT_ALIGNED ? k - short_by : k;
        const bool inside = c >= 0 && c < *seen;
        to[k] = inside ? slot_of(call, r, pos + 1 - *seen + c, wrong != TABLES_SWAPPED, wrong) : -1;
    }
    for (int64_t k = 0; k < n; k++) {
        const int64_t i =
            wrong == PREFILL_FROM_FIRST ? idx_min(t, rows->shape[0] - 1) : t - decodes;
        to[window + k] = mapped(call, t, idx_row(rows, i)[k], wrong);
        holes += to[window + k] < 0;
    }
    return wrong == HOLES_NOT_COUNTED ? n - holes : n;
}

static void write_row(const dsv4_call *call, int64_t t, int64_t decodes, int wrong) {
    const dsv4_tensor *const tensors = call->tensors, *const indices = &tensors[INDICES];
    const int64_t window = dsv4_int(call, "window", 0), width = indices->shape[1];
    int64_t topk = columns_of(&tensors[DECODE_INDICES]), seen = window;
    int32_t *const to = idx_row_or(indices, t, wrong == ROW_WRAPS);
    if (columns_of(&tensors[PREFILL_INDICES]) > topk) topk = columns_of(&tensors[PREFILL_INDICES]);
    const int64_t written = wrong == ROUNDING_KEPT ? window + topk : width;
    for (int64_t k = 0; wrong != TAIL_KEPT && k < written; k++) to[k] = -1;
    const int64_t n = t < decodes ? decode_row(call, t, to, wrong)
                                  : prefill_row(call, t, decodes, to, &seen, wrong);
    if (wrong == WINDOW_NOT_COUNTED) seen = 0;
    if (wrong != WINDOW_NOT_COUNTED && wrong != SHORT_WINDOW_COUNTED) seen = window;
    ((int32_t *)tensors[LENS].data)[t] = (int32_t)(seen + n);
}

static int run(const dsv4_call *call, int mutant, struct dsv4_err *err) {
    const dsv4_tensor *const tensors = call->tensors, *const indices = &tensors[INDICES];
    const int64_t window = dsv4_int(call, "window", 0);
    const int64_t decodes = idx_absent(&tensors[DECODE_SWA]) ? 0 : tensors[DECODE_SWA].shape[0];
    const int64_t width = window + rounded(columns_of(&tensors[PREFILL_INDICES]),
                                           columns_of(&tensors[DECODE_INDICES]));
    if (indices->shape[1] != width || (window % 4 == 0 && indices->stride[0] % 16 != 0)) {
        dsv4_fail(err,
                  "indices has %lld columns, %lld bytes apart; they are %lld, and rows are "
                  "multiples of 16 bytes",
                  (long long)indices->shape[1], (long long)indices->stride[0], (long long)width);
        return DSV4_REFUSED;
    }
#pragma omp parallel for schedule(static)
    for (int64_t t = 0; t < indices->shape[0]; t++) write_row(call, t, decodes, mutant);
    return DSV4_OK;
}

static void trace(const struct dsv4_case *c, size_t slot, int64_t offset, char *line, size_t size) {
    const dsv4_tensor *const out = &c->tensors[slot].t;
    const int64_t t = offset / out->stride[0], column = offset % out->stride[0] / 4;
    const dsv4_tensor *const swa = &c->tensors[DECODE_SWA].t;
    snprintf(line, size, "%s token %lld (%s) at position %lld%s",
             swa->ndim > 0 && t < swa->shape[0] ? "decode" : "prefill", (long long)t,
             idx_flag(&c->tensors[IS_VALID].t, t) ? "valid" : "padding",
             (long long)idx_at_i64(&c->tensors[POSITIONS].t, t),
             slot == LENS                          ? ""
             : column < dsv4_case_int(c, "window") ? ", window"
                                                   : ", compressed");
}

static void work(const struct dsv4_case *c, struct dsv4_work *work) {
    const dsv4_tensor *const indices = &c->tensors[INDICES].t;
    const double tokens = (double)indices->shape[0];
    work->bytes_read = (double)dsv4_packed_bytes(&c->tensors[DECODE_SWA]) +
                       (double)dsv4_packed_bytes(&c->tensors[DECODE_INDICES]) +
                       (double)dsv4_packed_bytes(&c->tensors[PREFILL_INDICES]) + 13 * tokens;
    work->bytes_written = 4 * tokens * (double)(indices->shape[1] + 1);
}

const struct dsv4_op dsv4_op_idx_flashinfer_mixed = {
    .name = "idx_flashinfer_mixed",
    .summary = "lists window and compressed slots of decode and prefill tokens in one row each",
    .source = "vllm models/deepseek_v4/common/ops/cache_utils.py, nvidia/flashinfer_sparse.py",
    .exact = "integers alone",
    DSV4_OP_PARTS,
};
