/* SPDX-License-Identifier: Apache-2.0 */
/*
 * idx_pack_ragged: decode rows of requests with different numbers of query tokens, padded to the most of them, and back.
 *
 * start[b] = sum of lens before b. pack: packed[b, j] = flat[start[b] + j] for j < lens[b], and padding for the others:
 * pad_byte (u8), -inf (bf16, 0xFF80), NaN (e4m3fn, which has no infinity, 0xFF). unpack: flat[start[b] + j] =
 * packed[b, j] for j < lens[b]; rows of flat beyond the requests' are untouched.
 *
 * Rows are moved as bytes. Domain: lens from 0 to the second dimension of packed, their sum at most flat's rows.
 * Refused: rows of flat and packed of different widths.
 * Source: vllm v1/attention/ops/common.py. Latitude: what -inf becomes in e4m3fn is the converter's; 0xFF is torch's. Upstream
 * packs queries and not their weights, so that the two fall apart for unequal lens; here each call says what it packs.
 */
#include <stdio.h>

#include "idx_family.h"

enum { LENS, FLAT, PACKED };
enum {
    RIGHT,
    ROW_WRAPS,
    EQUAL_LENS,
    PADDING_KEPT,
    PADDING_ZERO,
    START_INCLUSIVE,
    WHOLE_ROWS,
    ROW_WIDTH
};

static const struct dsv4_param_def params[] = {
    DSV4_PARAM_NAME("direction", CALL, "pack", "pack unpack", "which way"),
    DSV4_PARAM_INT("pad_byte", CALL, 0, 0, 255, "padding of u8 rows"),
    DSV4_PARAM_NAME("dtype", INPUT, "bf16", "bf16 e4m3fn u8", "of the rows"),
    DSV4_PARAM_INT("requests", INPUT, 4, 0, 1 << 20, "requests, padding included"),
    DSV4_PARAM_INT("most", INPUT, 3, 1, 1024, "query tokens of a padded request"),
    DSV4_PARAM_INT("width", INPUT, 64, 1, 1 << 20, "elements of a row"),
    DSV4_PARAM_TEXT("lens", INPUT, "~3", "query tokens by turns: 3,0,~2"),
    DSV4_PARAM_INT("spare_rows", INPUT, 2, 0, 1 << 16, "rows of flat beyond requests * most"),
    IDX_VIEW_PARAM,
    DSV4_PARAM_INT("wider", INPUT, 0, 0, 1, "1: packed rows are wider than flat ones: refused"),
};

static const struct dsv4_slot slots[] = {
    {"lens",   DSV4_IN,  "[requests] i32",                                    "query tokens of each request"},
    {"flat",   DSV4_IN,  "[rows, width] bf16, e4m3fn or u8, rows strided",
     "rows end to end; unpack: written"                                                                     },
    {"packed", DSV4_OUT, "[requests, most, width] of the same, rows strided",
     "padded rows; unpack: read"                                                                            },
};

static const struct dsv4_mutant mutants[] = {
    {"row-wraps",       "byte offset of a row of flat or packed computed in 32 bits",        ROW_WRAPS      },
    {"equal-lens",      "request b starts at b * most; it starts where the one before ends", EQUAL_LENS     },
    {"padding-kept",    "padding rows not written",                                          PADDING_KEPT   },
    {"padding-zero",    "padding of zeros; it is -inf, or the byte given",                   PADDING_ZERO   },
    {"start-inclusive", "a request's own tokens counted in its start",                       START_INCLUSIVE},
    {"whole-rows",      "all rows of a request moved, padding too",                          WHOLE_ROWS     },
    {"row-width",       "rows of flat taken as `width` apart; they have a stride",           ROW_WIDTH      },
};

static int shape(struct dsv4_case *c, struct dsv4_err *err) {
    const int64_t requests = dsv4_case_int(c, "requests"), most = dsv4_case_int(c, "most");
    const int64_t width = dsv4_case_int(c, "width"), wider = dsv4_case_int(c, "wider");
    const uint32_t dtype = dsv4_case_is(c, "dtype", "bf16")     ? DSV4_BF16
                           : dsv4_case_is(c, "dtype", "e4m3fn") ? DSV4_E4M3FN
                                                                : DSV4_U8;
    const bool wide = dsv4_case_is(c, "view", "wide");
    int32_t *const lens = idx_lengths(c, "lens", requests, err);
    if (lens == NULL) return -1;
    for (int64_t b = 0; b < requests; b++) lens[b] = (int32_t)idx_min(idx_max(lens[b], 0), most);
    c->plan = lens;
    idx_shape_rows(c, LENS, DSV4_I32, requests);
    DSV4_SHAPE(c, FLAT, dtype, requests * most + dsv4_case_int(c, "spare_rows"), width);
    DSV4_SHAPE(c, PACKED, dtype, requests, most, width + wider);
    if (wide) {
        dsv4_widen(c, FLAT, 0, 6);
        dsv4_widen(c, PACKED, 1, 10);
    }
    if (dsv4_case_is(c, "view", "far")) {
        const int64_t rows = requests * most + dsv4_case_int(c, "spare_rows");
        int64_t *const live = dsv4_case_alloc(c, (size_t)(rows + 1) * sizeof *live);
        for (int64_t i = 0; i < rows; i++) live[i] = i;
        dsv4_widen(c, FLAT, 0, (1 << 30) + 64);
        dsv4_live_rows(c, FLAT, live, rows);
        dsv4_widen(c, PACKED, 0, (1 << 30) + 64);
        dsv4_live_rows(c, PACKED, live, requests);
    }
    c->tensors[FLAT].align = c->tensors[PACKED].align =
        wide || width * dsv4_dtype_bytes(dtype) % 16 != 0 ? dsv4_dtype_bytes(dtype) : 16;
    if (dsv4_case_is(c, "direction", "unpack")) {
        c->tensors[FLAT].role = DSV4_OUT;
        c->tensors[PACKED].role = DSV4_IN;
    }
    c->refused = wider != 0;
    return 0;
}

/* Rows of one of the matrices, one after the other. */
static char *row_at(const dsv4_tensor *t, int64_t i, int wrong) {
    int64_t offset = i * t->stride[0];
    if (t->ndim == 3) offset = i / t->shape[1] * t->stride[0] + i % t->shape[1] * t->stride[1];
    return (char *)t->data + (wrong == ROW_WRAPS ? offset & INT64_C(0x7FFFFFFF) : offset);
}

static void fill(struct dsv4_case *c) {
    const bool pack = dsv4_case_is(c, "direction", "pack");
    const dsv4_tensor *const from = &c->tensors[pack ? FLAT : PACKED].t;
    const int64_t rows = pack ? from->shape[0] : from->shape[0] * from->shape[1];
    const int64_t bytes = from->shape[from->ndim - 1] * dsv4_dtype_bytes(from->dtype);
    memcpy(c->tensors[LENS].t.data, c->plan, (size_t)c->tensors[LENS].t.shape[0] * sizeof(int32_t));
#pragma omp parallel for schedule(static)
    for (int64_t i = 0; i < rows; i++)
        for (int64_t k = 0; k < bytes; k++)
            row_at(from, i, RIGHT)[k] =
                (char)(dsv4_random(c->seed, 44, (uint64_t)(i * bytes + k)) >> 56);
}

static void pad_row(char *to, int64_t bytes, const dsv4_tensor *t, int64_t byte, int wrong) {
    if (wrong == PADDING_KEPT) return;
    if (t->dtype == DSV4_E4M3FN) byte = 0xFF;
    for (int64_t k = 0; k < bytes; k++) {
        const int64_t value = t->dtype == DSV4_BF16 ? (k % 2 == 0 ? 0x80 : 0xFF) : byte;
        to[k] = (char)(wrong == PADDING_ZERO ? 0 : value);
    }
}

static void move_request(const dsv4_call *call, int64_t b, int64_t start, int wrong) {
    const dsv4_tensor *const tensors = call->tensors, *const packed = &tensors[PACKED];
    dsv4_tensor flat = tensors[FLAT];
    const int64_t most = packed->shape[1], bytes = flat.shape[1] * dsv4_dtype_bytes(flat.dtype);
    const int64_t n = wrong == WHOLE_ROWS ? most : idx_at(&tensors[LENS], b);
    const bool pack = dsv4_is(call, "direction", "pack");
    if (wrong == ROW_WIDTH) flat.stride[0] = bytes;
    for (int64_t j = 0; j < most; j++) {
        char *const there = row_at(packed, b * most + j, wrong);
        const int64_t row = start + j;
        if (j < n && row < flat.shape[0])
            memcpy(pack ? there : row_at(&flat, row, wrong),
                   pack ? row_at(&flat, row, wrong) : there, (size_t)bytes);
        else if (pack)
            pad_row(there, bytes, packed, dsv4_int(call, "pad_byte", 0), wrong);
    }
}

static int run(const dsv4_call *call, int mutant, struct dsv4_err *err) {
    const dsv4_tensor *const tensors = call->tensors;
    int64_t start = 0;
    if (tensors[FLAT].shape[1] != tensors[PACKED].shape[2]) {
        dsv4_fail(err, "rows of flat have %lld elements, rows of packed %lld",
                  (long long)tensors[FLAT].shape[1], (long long)tensors[PACKED].shape[2]);
        return DSV4_REFUSED;
    }
    for (int64_t b = 0; b < tensors[LENS].shape[0]; b++) {
        const int64_t n = idx_at(&tensors[LENS], b);
        if (mutant == START_INCLUSIVE) start += n;
        move_request(call, b, mutant == EQUAL_LENS ? b * tensors[PACKED].shape[1] : start, mutant);
        if (mutant != START_INCLUSIVE) start += n;
    }
    return DSV4_OK;
}

static void trace(const struct dsv4_case *c, size_t slot, int64_t offset, char *line, size_t size) {
    const int32_t *const lens = c->plan;
    const dsv4_tensor *const out = &c->tensors[slot].t;
    int64_t row = offset / out->stride[0], b = 0;
    if (slot == PACKED) {
        snprintf(line, size, "request %lld, token %lld of %d", (long long)row,
                 (long long)(offset % out->stride[0] / out->stride[1]), lens[row]);
        return;
    }
    for (; b < c->tensors[LENS].t.shape[0] && row >= lens[b]; b++) row -= lens[b];
    if (b < c->tensors[LENS].t.shape[0])
        snprintf(line, size, "request %lld, token %lld of %d", (long long)b, (long long)row,
                 lens[b]);
    else
        snprintf(line, size, "beyond the last request");
}

static void work(const struct dsv4_case *c, struct dsv4_work *work) {
    const int32_t *const lens = c->plan;
    const dsv4_tensor *const packed = &c->tensors[PACKED].t;
    const double bytes = (double)(packed->shape[2] * dsv4_dtype_bytes(packed->dtype));
    double rows = 0;
    for (int64_t b = 0; b < packed->shape[0]; b++) rows += lens[b];
    work->bytes_read = rows * bytes;
    work->bytes_written = dsv4_case_is(c, "direction", "pack")
                              ? (double)(packed->shape[0] * packed->shape[1]) * bytes
                              : rows * bytes;
}

const struct dsv4_op dsv4_op_idx_pack_ragged = {
    .name = "idx_pack_ragged",
    .summary = "pads rows of decode requests to one number of tokens, and takes them apart again",
    .source = "vllm v1/attention/ops/common.py",
    .exact = "integers alone",
    DSV4_OP_PARTS,
};
