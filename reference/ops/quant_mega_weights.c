/* SPDX-License-Identifier: Apache-2.0 */
/*
 * quant_mega_weights: expert weights and their packed scales in the order that the fused MoE kernel reads.
 *
 * interleave = G > 0 (the first layer: gate rows 0 .. N/2 - 1, up rows behind them): row r of the result is, with
 * p = r / 2G and i = r % 2G, the gate row p * G + i for i < G and the up row p * G + i - G for the others. Both w and the
 * scales follow it. interleave = 0 (the second layer): rows keep their order, and w is not there.
 * Then, for the scales alone, the order of rows in tensor memory: within each 128 rows, row m goes to m % 32 * 4 + m / 32.
 * Bytes and words are copied: no arithmetic. Domain: N a multiple of 128, N / 2 of G.
 *
 * Source: DeepGEMM transform_weights_for_mega_moe.
 * Latitude: none. G is 8 upstream.
 */
#include <stdio.h>

#include "quant_family.h"

enum { W, SCALES, W_OUT, SCALES_OUT };
enum { SWIZZLE = 128 };
enum {
    RIGHT,
    NOT_INTERLEAVED,
    UP_FIRST,
    ROW_BY_ROW,
    SCALES_NOT_INTERLEAVED,
    NOT_SWIZZLED,
    SWIZZLED_BACK,
    SWIZZLED_FIRST,
    SWIZZLED_BY_ROWS,
    WORDS_SWAPPED,
    STRIDES_DENSE,
};

static const struct dsv4_param_def params[] = {
    DSV4_PARAM_INT("interleave", CALL, 8, 0, 128,
                   "G: rows of gate and up that take turns; 0: none"),
    DSV4_PARAM_INT("experts", INPUT, 2, 1, 1024, "E"),
    DSV4_PARAM_INT("rows", INPUT, 128, 0, 65536, "N: rows of an expert, a multiple of 128"),
    DSV4_PARAM_INT("bytes", INPUT, 16, 1, 65536, "bytes of a row of w"),
    DSV4_PARAM_INT("words", INPUT, 2, 1, 1024, "words of packed scales of a row"),
    DSV4_PARAM_INT("start", INPUT, 0, 0, 65535, "what the numbering of bytes and words starts at"),
    QUANT_VIEW_PARAM,
};

static const struct dsv4_slot slots[] = {
    {"w",          DSV4_IN,  "[E, N, bytes] u8, strided; absent without interleave", "rows of codes"     },
    {"scales",     DSV4_IN,  "[E, words, N] i32, strided",                           "packed scale bytes"},
    {"w_out",      DSV4_OUT, "as w",                                                 "interleaved"       },
    {"scales_out", DSV4_OUT, "as scales",                                            "and swizzled"      },
};

static const struct dsv4_mutant mutants[] = {
    {"not-interleaved",        "gate and up stay halves",                                 NOT_INTERLEAVED       },
    {"up-first",               "up rows before gate rows",                                UP_FIRST              },
    {"row-by-row",             "gate and up rows take turns one by one; it is G by G",    ROW_BY_ROW            },
    {"scales-not-interleaved", "scales of the rows as they were before",                  SCALES_NOT_INTERLEAVED},
    {"not-swizzled",           "scales in the order of rows",                             NOT_SWIZZLED          },
    {"swizzled-back",          "the inverse order: m % 4 * 32 + m / 4",                   SWIZZLED_BACK         },
    {"swizzled-first",         "swizzled, then interleaved; it is the other way round",   SWIZZLED_FIRST        },
    {"swizzled-by-rows",       "whole 128 rows in blocks of 4 x 32 across all of N",      SWIZZLED_BY_ROWS      },
    {"words-swapped",          "words of one row beside each other; rows are",            WORDS_SWAPPED         },
    {"strides-dense",          "rows and experts taken as contiguous; they have strides", STRIDES_DENSE         },
};

static int shape(struct dsv4_case *c, struct dsv4_err *err) {
    const int64_t experts = dsv4_case_int(c, "experts"), rows = dsv4_case_int(c, "rows");
    const int64_t bytes = dsv4_case_int(c, "bytes"), words = dsv4_case_int(c, "words");
    const int64_t g = dsv4_case_int(c, "interleave");
    if (rows % 128 != 0 || (g > 0 && rows / 2 % g != 0))
        return dsv4_fail(err, "%lld rows: a multiple of 128, and half of it of interleave",
                         (long long)rows);
    for (size_t slot = W; slot <= SCALES_OUT; slot++) {
        if (slot == W || slot == W_OUT)
            DSV4_SHAPE(c, slot, DSV4_U8, experts, rows, bytes);
        else
            DSV4_SHAPE(c, slot, DSV4_I32, experts, words, rows);
        if (dsv4_case_is(c, "view", "dense")) continue;
        const bool odd = dsv4_case_is(c, "view", "odd");
        dsv4_widen(c, slot, 1, odd ? 4 : 32);
        dsv4_widen(c, slot, 0, odd ? 4 : 64);
        if (odd) c->tensors[slot].align = 4;
    }
    if (bytes % 4 != 0) c->tensors[W].align = c->tensors[W_OUT].align = 1;
    if (g == 0) {
        dsv4_absent(c, W);
        dsv4_absent(c, W_OUT);
    }
    return 0;
}

/* Rows say who they are: any byte out of place shows. */
static void fill(struct dsv4_case *c) {
    const dsv4_tensor *const w = &c->tensors[W].t, *const s = &c->tensors[SCALES].t;
    const int64_t start = dsv4_case_int(c, "start");
    for (int64_t e = 0; w->ndim > 0 && e < w->shape[0]; e++)
#pragma omp parallel for schedule(static)
        for (int64_t n = 0; n < w->shape[1]; n++)
            for (int64_t k = 0; k < w->shape[2]; k++)
                ((uint8_t *)w->data)[e * w->stride[0] + n * w->stride[1] + k] =
                    (uint8_t)(start + n + n / 256 * 3 + k * 7 + k / 16 + e * 101);
    for (int64_t e = 0; e < s->shape[0]; e++)
        for (int64_t j = 0; j < s->shape[1]; j++) {
            int32_t *const to =
                (int32_t *)(void *)((char *)s->data + e * s->stride[0] + j * s->stride[1]);
            for (int64_t n = 0; n < s->shape[2]; n++)
                to[n] = (int32_t)(((e * 64 + j) << 18 | n << 1 | 1) + start);
        }
}

/* Row that comes to be row r. */
static int64_t interleaved(int64_t r, int64_t rows, int64_t g, int wrong) {
    if (wrong == ROW_BY_ROW) g = 1;
    const int64_t p = r / (2 * g), i = r % (2 * g), half = rows / 2;
    const bool up = (i >= g) != (wrong == UP_FIRST);
    return wrong == NOT_INTERLEAVED ? r : (up ? half : 0) + p * g + i % g;
}

/* Row that comes to lie at p. */
static int64_t swizzled(int64_t p, int64_t rows, int wrong) {
    const int64_t at = p % SWIZZLE, base = p - at;
    if (wrong == NOT_SWIZZLED) return p;
    if (wrong == SWIZZLED_BACK) return base + at % 32 * 4 + at / 32;
    if (wrong == SWIZZLED_BY_ROWS) return p % 4 * (rows / 4) + p / 4;
    return base + at % 4 * 32 + at / 4;
}

static int64_t scale_row(int64_t p, int64_t rows, int64_t g, int wrong) {
    if (g == 0 || wrong == SCALES_NOT_INTERLEAVED) return swizzled(p, rows, wrong);
    if (wrong == SWIZZLED_FIRST) return swizzled(interleaved(p, rows, g, wrong), rows, wrong);
    return interleaved(swizzled(p, rows, wrong), rows, g, wrong);
}

static void copy_rows(const dsv4_call *call, int64_t g, int wrong) {
    const dsv4_tensor *const w = &call->tensors[W], *const to = &call->tensors[W_OUT];
    const int64_t rows = w->shape[1], bytes = w->shape[2];
    const int64_t row = wrong == STRIDES_DENSE ? bytes : w->stride[1];
    const int64_t expert = wrong == STRIDES_DENSE ? rows * bytes : w->stride[0];
    /* Rows that stay neighbours go in one piece where they lie so. */
    const bool dense = wrong == RIGHT && row == bytes && to->stride[1] == bytes;
    const int64_t piece = dense ? g : 1;
#pragma omp parallel for schedule(static) collapse(2)
    for (int64_t e = 0; e < w->shape[0]; e++)
        for (int64_t r = 0; r < rows; r += piece)
            memcpy((char *)to->data + e * to->stride[0] + r * to->stride[1],
                   (const char *)w->data + e * expert + interleaved(r, rows, g, wrong) * row,
                   (size_t)(piece * bytes));
}

/* Places first .. first + 127 of every word of an expert. */
static void copy_scales(const dsv4_call *call, int64_t e, int64_t first, int64_t g, int wrong) {
    const dsv4_tensor *const s = &call->tensors[SCALES], *const to = &call->tensors[SCALES_OUT];
    const int64_t words = s->shape[1], rows = s->shape[2];
    const char *const from = (const char *)s->data + e * s->stride[0];
    int64_t sources[SWIZZLE];
    for (int64_t p = 0; p < SWIZZLE; p++) sources[p] = scale_row(first + p, rows, g, wrong);
    for (int64_t j = 0; j < words; j++) {
        char *const out = (char *)to->data + e * to->stride[0] + j * to->stride[1] + 4 * first;
        for (int64_t p = 0; p < SWIZZLE; p++) {
            int64_t at = j * s->stride[1] + sources[p] * 4;
            if (wrong == WORDS_SWAPPED) {
                const int64_t flat = sources[p] * words + j;
                at = flat / rows * s->stride[1] + flat % rows * 4;
            }
            memcpy(out + 4 * p, from + at, 4);
        }
    }
}

const struct dsv4_op dsv4_op_quant_mega_weights;

static int run(const dsv4_call *call, int mutant, struct dsv4_err *err) {
    const int wrong = mutant > 0 ? dsv4_op_quant_mega_weights.mutants[mutant - 1].id : RIGHT;
    const int64_t g = dsv4_int(call, "interleave", 8);
    const dsv4_tensor *const s = &call->tensors[SCALES];
    (void)err;
    if (g > 0) copy_rows(call, g, wrong);
#pragma omp parallel for schedule(static) collapse(2)
    for (int64_t e = 0; e < s->shape[0]; e++)
        for (int64_t first = 0; first < s->shape[2]; first += SWIZZLE)
            copy_scales(call, e, first, g, wrong);
    return DSV4_OK;
}

static void trace(const struct dsv4_case *c, size_t slot, int64_t offset, char *line, size_t size) {
    const dsv4_tensor *const t = &c->tensors[slot].t;
    const int64_t g = dsv4_case_int(c, "interleave"), rows = dsv4_case_int(c, "rows");
    const int64_t e = offset / t->stride[0], i = offset % t->stride[0] / t->stride[1];
    if (slot == W_OUT)
        snprintf(line, size, "expert %lld: row %lld comes from row %lld of w", (long long)e,
                 (long long)i, (long long)interleaved(i, rows, g, RIGHT));
    else
        snprintf(line, size, "expert %lld, word %lld: place %lld comes from row %lld of scales",
                 (long long)e, (long long)i, (long long)(offset % t->stride[1] / 4),
                 (long long)scale_row(offset % t->stride[1] / 4, rows, g, RIGHT));
}

static void work(const struct dsv4_case *c, struct dsv4_work *work) {
    const double rows = (double)(dsv4_case_int(c, "experts") * dsv4_case_int(c, "rows"));
    const double w = dsv4_case_int(c, "interleave") > 0 ? (double)dsv4_case_int(c, "bytes") : 0;
    work->bytes_read = rows * (w + 4 * (double)dsv4_case_int(c, "words"));
    work->bytes_written = work->bytes_read;
}

const struct dsv4_op dsv4_op_quant_mega_weights = {
    .name = "quant_mega_weights",
    .summary = "expert weights and scales in the order of the fused MoE kernel",
    .source = "DeepGEMM transform_weights_for_mega_moe",
    .exact = "bytes are moved; scales are moved or powers of two",
    DSV4_OP_PARTS,
};
