/* SPDX-License-Identifier: Apache-2.0 */
/*
 * idx_c128a_metadata: the rows that layers without an indexer attend to: all compressed ones, up to each token's.
 *
 * n = min((positions[t] + 1) / ratio, width). Decode token t < D (D: rows of global): global[t, c] = the slot of row c of
 * request token_to_req[t] for c < n, then -1, also for padding; decode_lens[t] = n, or 0 if slot_mapping[t] < 0.
 * Prefill token t >= D: local[t - D, c] = c for c < n, then -1. The width is that of a row, not its stride: columns of a
 * persistent buffer beyond it are untouched, and so are decode_lens beyond D.
 *
 * Integers: no rounding. Positions and requests of padding are stale: positions are rows that the request has, or negative,
 * and then there is none.
 * Refused: more rows of global than tokens, other rows of local than the rest, or two widths.
 * Source: vllm models/deepseek_v4/sparse_mla.py. Latitude: none.
 */
#include <stdio.h>

#include "idx_family.h"

enum { POSITIONS, TOKEN_TO_REQ, SLOT_MAPPING, BLOCK_TABLE, GLOBAL, DECODE_LENS, LOCAL };
enum {
    RIGHT,
    ROW_WRAPS,
    ROW_TOO_EARLY,
    LEN_UNCLAMPED,
    PADDING_LEN,
    PADDING_CLEARED,
    TAIL_KEPT,
    PREFILL_MAPPED,
    PREFILL_FROM_FIRST,
    FIRST_REQUEST,
    TABLE_ROW_WIDTH,
    NEGATIVE_WRAPS,
    STRIDE_WIDTH
};

static const struct dsv4_param_def params[] = {
    DSV4_PARAM_INT("ratio", CALL, 128, 1, 1024, "tokens per compressed row"),
    DSV4_PARAM_INT("block_size", CALL, 2, 1, 65536, "rows of a page of the compressed cache"),
    DSV4_PARAM_INT("width", INPUT, 128, 1, 1 << 17, "columns of global and local"),
    DSV4_PARAM_INT("decode_tokens", INPUT, 2, 0, 1 << 20,
                   "tokens that are decodes: the first ones"),
    IDX_STEP_PARAMS("1@300,1@700,5@250"),
    IDX_INVALID_PARAM,
    IDX_BEFORE_PARAM,
    DSV4_PARAM_INT("spare_lens", INPUT, 2, 0, 1 << 16, "entries of decode_lens beyond the decodes"),
    DSV4_PARAM_INT("missing_rows", INPUT, 0, 0, 16, "rows that local lacks: refused"),
};

static const struct dsv4_slot slots[] = {
    {"positions",    DSV4_IN,  "[tokens] i64",                             "token positions"          },
    {"token_to_req", DSV4_IN,  "[tokens] i32",                             "a request, even if stale" },
    {"slot_mapping", DSV4_IN,  "[tokens] i64",                             "-1: padding"              },
    {"block_table",  DSV4_IN,  "[requests, W] i32, rows strided",          "pages; garbage beyond use"},
    {"global",       DSV4_OUT, "[decode tokens, width] i32, rows strided", "slots, then -1"           },
    {"decode_lens",  DSV4_OUT, "[>= decode tokens] i32",                   "slots of each"            },
    {"local",        DSV4_OUT, "[other tokens, width] i32, rows strided",  "row numbers, then -1"     },
};

static const struct dsv4_mutant mutants[] = {
    {"row-wraps",          "byte offset of a row of global or local computed in 32 bits",               ROW_WRAPS     },
    {"row-too-early",      "a row counted before its last token; pos / ratio for (pos + 1) / ratio",
     ROW_TOO_EARLY                                                                                                    },
    {"len-unclamped",      "decode_lens beyond the width; it is at most the width",                     LEN_UNCLAMPED },
    {"padding-len",        "len of padding as of a token; it is 0",                                     PADDING_LEN   },
    {"padding-cleared",    "row of padding written as -1; it is written as any other",
     PADDING_CLEARED                                                                                                  },
    {"tail-kept",          "columns beyond n not written; they are -1",                                 TAIL_KEPT     },
    {"prefill-mapped",     "prefill rows mapped to slots; they hold row numbers",                       PREFILL_MAPPED},
    {"prefill-from-first", "prefill row i taken for token i; it is token D + i",
     PREFILL_FROM_FIRST                                                                                               },
    {"first-request",      "block table row 0 for all tokens",                                          FIRST_REQUEST },
    {"table-row-width",    "block table rows taken as `width` apart; they have a stride",
     TABLE_ROW_WIDTH                                                                                                  },
    {"negative-wraps",     "a negative position, of padding, read as an unsigned one: the row is full",
     NEGATIVE_WRAPS                                                                                                   },
    {"stride-width",       "the stride taken for the width: -1 spills beyond the row",                  STRIDE_WIDTH  },
};

static int shape(struct dsv4_case *c, struct dsv4_err *err) {
    const int64_t width = dsv4_case_int(c, "width"), block_size = dsv4_case_int(c, "block_size");
    if (idx_step_make(c, err) != 0) return -1;
    const struct idx_step *const step = idx_step_of(c);
    const int64_t tokens = step->first + step->batch.n_rows;
    const int64_t decodes = idx_min(dsv4_case_int(c, "decode_tokens"), tokens);
    const int64_t others = idx_max(tokens - decodes - dsv4_case_int(c, "missing_rows"), 0);
    idx_step_page(c, block_size, dsv4_case_int(c, "ratio"), 0, 2 * block_size + 1);
    idx_shape_rows(c, POSITIONS, DSV4_I64, tokens);
    idx_shape_rows(c, TOKEN_TO_REQ, DSV4_I32, tokens);
    idx_shape_rows(c, SLOT_MAPPING, DSV4_I64, tokens);
    idx_shape_table(c, BLOCK_TABLE);
    idx_shape_matrix(c, GLOBAL, decodes, width, 20);
    idx_shape_rows(c, DECODE_LENS, DSV4_I32, decodes + dsv4_case_int(c, "spare_lens"));
    idx_shape_matrix(c, LOCAL, others, width, 20);
    c->refused = decodes + others != tokens;
    return 0;
}

static void fill(struct dsv4_case *c) {
    int64_t *const slots_of = c->tensors[SLOT_MAPPING].t.data;
    idx_fill_token_to_req(c, TOKEN_TO_REQ);
    idx_fill_stale_positions(c, POSITIONS, TOKEN_TO_REQ);
    idx_fill_positions_before(c, POSITIONS);
    for (int64_t t = 0; t < c->tensors[SLOT_MAPPING].t.shape[0]; t++)
        slots_of[t] = idx_token_is_valid(c, t) ? 1000 + t : -1;
    idx_fill_table(c, BLOCK_TABLE);
}

static void write_row(const dsv4_call *call, int64_t t, int wrong) {
    const dsv4_tensor *const tensors = call->tensors;
    const int64_t decodes = tensors[GLOBAL].shape[0], ratio = dsv4_int(call, "ratio", 128);
    const bool decode = t < decodes;
    const dsv4_tensor *const out = decode ? &tensors[GLOBAL] : &tensors[LOCAL];
    const int64_t width = out->shape[1], block_size = dsv4_int(call, "block_size", 2);
    const int64_t source = wrong == PREFILL_FROM_FIRST && !decode ? t - decodes : t;
    const int64_t pos = idx_at_i64(&tensors[POSITIONS], source);
    const int64_t all =
        wrong == NEGATIVE_WRAPS && pos < 0 ? width : (pos + (wrong != ROW_TOO_EARLY)) / ratio;
    const int64_t n = idx_min(all, width);
    const bool padding = idx_at_i64(&tensors[SLOT_MAPPING], t) < 0;
    const int64_t r = wrong == FIRST_REQUEST ? 0 : idx_at(&tensors[TOKEN_TO_REQ], t);
    int32_t *const row = idx_row_or(out, decode ? t : t - decodes, wrong == ROW_WRAPS);
    dsv4_tensor table = tensors[BLOCK_TABLE];
    if (wrong == TABLE_ROW_WIDTH) table.stride[0] = table.shape[1] * 4;
    const int64_t end = wrong == STRIDE_WIDTH ? idx_min(out->stride[0] / 4, width + 64) : width;
    const bool last = t == decodes - 1 || t - decodes == tensors[LOCAL].shape[0] - 1;
    for (int64_t c = 0; c < (last ? width : end); c++) {
        if (c < n && !(padding && decode && wrong == PADDING_CLEARED))
            row[c] = decode || wrong == PREFILL_MAPPED ? (int32_t)idx_slot(&table, r, c, block_size)
                                                       : (int32_t)c;
        else if (wrong != TAIL_KEPT)
            row[c] = -1;
    }
    if (decode)
        ((int32_t *)tensors[DECODE_LENS].data)[t] =
            padding && wrong != PADDING_LEN ? 0 : (int32_t)(wrong == LEN_UNCLAMPED ? all : n);
}

static int run(const dsv4_call *call, int mutant, struct dsv4_err *err) {
    const dsv4_tensor *const tensors = call->tensors;
    const int64_t tokens = tensors[POSITIONS].shape[0], decodes = tensors[GLOBAL].shape[0];
    if (decodes + tensors[LOCAL].shape[0] != tokens ||
        tensors[GLOBAL].shape[1] != tensors[LOCAL].shape[1] ||
        tensors[DECODE_LENS].shape[0] < decodes) {
        dsv4_fail(err, "%lld rows of global and %lld of local are not %lld tokens",
                  (long long)decodes, (long long)tensors[LOCAL].shape[0], (long long)tokens);
        return DSV4_REFUSED;
    }
#pragma omp parallel for schedule(static)
    for (int64_t t = 0; t < tokens; t++) write_row(call, t, mutant);
    return DSV4_OK;
}

static void trace(const struct dsv4_case *c, size_t slot, int64_t offset, char *line, size_t size) {
    const int64_t row = offset / c->tensors[slot].t.stride[0];
    const int64_t t = slot == LOCAL ? row + c->tensors[GLOBAL].t.shape[0] : row;
    if (t >= c->tensors[POSITIONS].t.shape[0])
        snprintf(line, size, "beyond the decodes");
    else
        snprintf(line, size, "token %lld at position %lld of request %d, slot %lld", (long long)t,
                 (long long)idx_at_i64(&c->tensors[POSITIONS].t, t),
                 idx_at(&c->tensors[TOKEN_TO_REQ].t, t),
                 (long long)idx_at_i64(&c->tensors[SLOT_MAPPING].t, t));
}

static void work(const struct dsv4_case *c, struct dsv4_work *work) {
    const double tokens = (double)c->tensors[POSITIONS].t.shape[0];
    work->bytes_read = 20 * tokens;
    work->bytes_written = 4 * tokens * (double)dsv4_case_int(c, "width") +
                          4.0 * (double)c->tensors[GLOBAL].t.shape[0];
}

const struct dsv4_op dsv4_op_idx_c128a_metadata = {
    .name = "idx_c128a_metadata",
    .summary = "lists all compressed rows up to each token, as slots or as row numbers",
    .source = "vllm models/deepseek_v4/sparse_mla.py",
    .exact = "integers alone",
    DSV4_OP_PARTS,
};
