/* SPDX-License-Identifier: Apache-2.0 */
/*
 * quant_preshuffle: weight rows cut into pieces of 16 bytes, which matrix instructions load from `tile` rows at a time.
 *
 * Piece c (bytes 16c .. 16c + 15) of row n becomes piece number (n / tile * C + c) * tile + n % tile of its expert, C pieces
 * to a row. Bytes are copied, whatever the dtype: no arithmetic. Domain: N a multiple of tile (16 or 32), rows of whole
 * pieces of 32 bytes.
 *
 * Source: aiter aiter/ops/shuffle.py, shuffle_weight with layout (16, 16) or (32, 16).
 * Latitude: none. The tile's depth along K that upstream names cancels out: pieces stay in ascending order.
 */
#include <stdio.h>

#include "quant_family.h"

enum { W, OUT };
enum { RIGHT, NOT_SHUFFLED, TILE_OF_16, PIECES_OF_8, PIECES_OF_32, TILE_ACROSS, ROWS_DENSE };
enum { PIECE = 16 };

static const struct dsv4_param_def params[] = {
    DSV4_PARAM_INT("tile", CALL, 16, 16, 32, "rows of a tile: 16 or 32"),
    DSV4_PARAM_INT("experts", INPUT, 2, 1, 1024, "E"),
    DSV4_PARAM_INT("rows", INPUT, 32, 0, 1 << 24, "N: rows of an expert, a multiple of tile"),
    DSV4_PARAM_INT("bytes", INPUT, 64, 32, 65536, "bytes of a row, a multiple of 32"),
    DSV4_PARAM_INT("start", INPUT, 0, 0, 255, "what the numbering of bytes starts at"),
    QUANT_VIEW_PARAM,
};

static const struct dsv4_slot slots[] = {
    {"w",   DSV4_IN,  "[E, N, bytes] u8, strided", "rows of codes, of any type"},
    {"out", DSV4_OUT, "[E, N, bytes] u8, dense",   "the same bytes, by pieces" },
};

static const struct dsv4_mutant mutants[] = {
    {"not-shuffled",  "rows as they are",                                         NOT_SHUFFLED},
    {"tile-of-other", "tiles of 16 rows where the call says 32, or the reverse",  TILE_OF_16  },
    {"pieces-of-8",   "pieces of 8 bytes: elements counted where bytes are",      PIECES_OF_8 },
    {"pieces-of-32",  "pieces of 32 bytes",                                       PIECES_OF_32},
    {"tile-across",   "rows of a tile are `N / tile` apart; they are neighbours", TILE_ACROSS },
    {"rows-dense",    "rows taken as contiguous; they have a stride",             ROWS_DENSE  },
};

static int shape(struct dsv4_case *c, struct dsv4_err *err) {
    const int64_t experts = dsv4_case_int(c, "experts"), rows = dsv4_case_int(c, "rows");
    const int64_t bytes = dsv4_case_int(c, "bytes"), tile = dsv4_case_int(c, "tile");
    if ((tile != 16 && tile != 32) || rows % tile != 0 || bytes % 32 != 0)
        return dsv4_fail(err,
                         "tile %lld, %lld rows of %lld bytes: tiles of 16 or 32 rows, pieces of 32",
                         (long long)tile, (long long)rows, (long long)bytes);
    DSV4_SHAPE(c, W, DSV4_U8, experts, rows, bytes);
    DSV4_SHAPE(c, OUT, DSV4_U8, experts, rows, bytes);
    if (!dsv4_case_is(c, "view", "dense")) {
        dsv4_widen(c, W, 1, dsv4_case_is(c, "view", "odd") ? 4 : 32);
        dsv4_widen(c, W, 0, 16);
        if (dsv4_case_is(c, "view", "odd")) c->tensors[W].align = 4;
    }
    return 0;
}

static void fill(struct dsv4_case *c) {
    const dsv4_tensor *const w = &c->tensors[W].t;
    const int64_t start = dsv4_case_int(c, "start");
#pragma omp parallel for schedule(static) collapse(2)
    for (int64_t e = 0; e < w->shape[0]; e++)
        for (int64_t n = 0; n < w->shape[1]; n++)
            for (int64_t k = 0; k < w->shape[2]; k++)
                ((uint8_t *)w->data)[e * w->stride[0] + n * w->stride[1] + k] =
                    (uint8_t)(start + n + n / 256 * 3 + k * 13 + k / 16 * 5 + e * 101);
}

static void shuffle_tile(const dsv4_call *call, int64_t e, int64_t first, int64_t tile) {
    const dsv4_tensor *const w = &call->tensors[W], *const out = &call->tensors[OUT];
    const char *const from = (const char *)w->data + e * w->stride[0] + first * w->stride[1];
    char *to = (char *)out->data + e * out->stride[0] + first * w->shape[2];
    for (int64_t k = 0; k < w->shape[2]; k += PIECE)
        for (int64_t row = 0; row < tile; row++, to += PIECE)
            memcpy(to, from + row * w->stride[1] + k, PIECE);
}

static void wrong_row(const dsv4_call *call, int64_t e, int64_t n, int wrong) {
    const dsv4_tensor *const w = &call->tensors[W], *const out = &call->tensors[OUT];
    const int64_t rows = w->shape[1], bytes = w->shape[2];
    int64_t tile = dsv4_int(call, "tile", 16);
    const int64_t piece = wrong == PIECES_OF_8 ? 8 : wrong == PIECES_OF_32 ? 32 : PIECE;
    const int64_t pieces = bytes / piece;
    const char *const from =
        (const char *)w->data + e * w->stride[0] + n * (wrong == ROWS_DENSE ? bytes : w->stride[1]);
    char *const to = (char *)out->data + e * out->stride[0];
    if (wrong == TILE_OF_16) tile = rows % 32 == 0 && tile == 16 ? 32 : 16;
    for (int64_t c = 0; c < pieces; c++) {
        int64_t at = (n / tile * pieces + c) * tile + n % tile;
        if (wrong == TILE_ACROSS) at = (n % (rows / tile) * pieces + c) * tile + n / (rows / tile);
        if (wrong == NOT_SHUFFLED) at = n * pieces + c;
        memcpy(to + at * piece, from + c * piece, (size_t)piece);
    }
}

const struct dsv4_op dsv4_op_quant_preshuffle;

static int run(const dsv4_call *call, int mutant, struct dsv4_err *err) {
    const int wrong = mutant > 0 ? dsv4_op_quant_preshuffle.mutants[mutant - 1].id : RIGHT;
    const dsv4_tensor *const w = &call->tensors[W];
    const int64_t tile = dsv4_int(call, "tile", 16);
    (void)err;
#pragma omp parallel for schedule(static) collapse(2)
    for (int64_t e = 0; e < w->shape[0]; e++)
        for (int64_t first = 0; first < w->shape[1]; first += tile) {
            if (wrong == RIGHT) shuffle_tile(call, e, first, tile);
            for (int64_t n = first; wrong != RIGHT && n < first + tile; n++)
                wrong_row(call, e, n, wrong);
        }
    return DSV4_OK;
}

static void trace(const struct dsv4_case *c, size_t slot, int64_t offset, char *line, size_t size) {
    const dsv4_tensor *const t = &c->tensors[slot].t;
    const int64_t tile = dsv4_case_int(c, "tile"), pieces = t->shape[2] / PIECE;
    const int64_t at = offset % t->stride[0] / PIECE;
    snprintf(line, size, "expert %lld: row %lld, byte %lld of w",
             (long long)(offset / t->stride[0]), (long long)(at / tile / pieces * tile + at % tile),
             (long long)(at / tile % pieces * PIECE + offset % PIECE));
}

static void work(const struct dsv4_case *c, struct dsv4_work *work) {
    work->bytes_read = (double)dsv4_case_int(c, "experts") * (double)dsv4_case_int(c, "rows") *
                       (double)dsv4_case_int(c, "bytes");
    work->bytes_written = work->bytes_read;
}

const struct dsv4_op dsv4_op_quant_preshuffle = {
    .name = "quant_preshuffle",
    .summary = "weight rows as tiles of 16-byte pieces",
    .source = "aiter aiter/ops/shuffle.py",
    .exact = "nothing is computed: bytes are copied",
    DSV4_OP_PARTS,
};
