/* SPDX-License-Identifier: Apache-2.0 */
/*
 * quant_scale_layout: scales of weights into the packed MN-major layout that GEMM kernels read.
 *
 * out[e, j / 4, n] has in its byte j % 4 the scale byte of scales[e, n / per_rows, j], for n < N and j < groups; all else,
 * columns n >= N up to the next multiple of 4 and bytes of groups behind the last, is zero. per_rows is 1 (a scale per row
 * and 32 columns) or 128 (a scale per block, repeated for its rows). A byte comes from an e8m0 scale as it is, never as a
 * number, and from an fp32 scale as its exponent field: mantissa bits are dropped.
 * No rounding. Domain: positive fp32 scales.
 *
 * Source: DeepGEMM transform_sf_into_required_layout, get_mn_major_tma_aligned_packed_ue8m0_tensor.
 * Latitude: none.
 */
#include <stdio.h>

#include "../num/turn.h"
#include "quant_family.h"

enum { SCALES, OUT };
enum { TILE = 64, WORDS = 32 }; /* columns and words of them that are turned at a time */
enum { EXPERTS_DENSE = 1000, BYTE_ROUNDED_UP, BYTE_LEAKS, ROW_OF_BLOCK };

static const struct dsv4_param_def params[] = {
    DSV4_PARAM_INT("per_rows", CALL, 1, 1, 128, "rows that share a scale: 1 or 128"),
    DSV4_PARAM_INT("n", CALL, 6, 0, 1 << 24, "N: rows of the weight"),
    DSV4_PARAM_INT("groups", INPUT, 6, 1, 4096, "scales of a row"),
    DSV4_PARAM_INT("experts", INPUT, 2, 1, 1024, "E: weights"),
    DSV4_PARAM_NAME("scale", INPUT, "e8m0", "e8m0 pow2 f32",
                    "e8m0 bytes; fp32 powers of two; fp32 with mantissas"),
    QUANT_VIEW_PARAM,
};

static const struct dsv4_slot slots[] = {
    {"scales", DSV4_IN,  "[E, N up to per_rows / per_rows, groups] e8m0 or f32, strided",
     "as loaded"                                                                                   },
    {"out",    DSV4_OUT, "[E, groups up to 4 / 4, N up to 4] i32, dense",                 "as read"},
};

static const struct dsv4_mutant mutants[] = {
    {"transposed",     "rows outermost; groups of four are",                      QUANT_SCALES_TRANSPOSED},
    {"unpadded",       "arrays N apart; they are N up to 4 apart",                QUANT_SCALES_UNPADDED  },
    {"pad-rows",       "columns behind N left as they were; they are zero",       QUANT_PAD_ROWS         },
    {"pad-bytes",      "bytes of groups behind the last left as they were",       QUANT_PAD_BYTES        },
    {"big-endian",     "the first group's byte is the highest; it is the lowest", QUANT_BIG_ENDIAN       },
    {"as-number",      "an e8m0 byte converted to a number; it is copied",        QUANT_SCALE_AS_NUMBER  },
    {"rounded-up",     "fp32 scale rounded up; its exponent field is taken",      BYTE_ROUNDED_UP        },
    {"mantissa-leaks", "mantissa bits left below the exponent of the neighbour",  BYTE_LEAKS             },
    {"row-of-block",   "scale row n % blocks; it is n / per_rows",                ROW_OF_BLOCK           },
    {"rows-dense",     "rows taken as contiguous; they have a stride",            QUANT_ROWS_DENSE       },
    {"experts-dense",  "experts taken as contiguous; they have a stride",         EXPERTS_DENSE          },
};

static int shape(struct dsv4_case *c, struct dsv4_err *err) {
    const int64_t per_rows = dsv4_case_int(c, "per_rows"), n = dsv4_case_int(c, "n");
    const int64_t groups = dsv4_case_int(c, "groups"), experts = dsv4_case_int(c, "experts");
    const uint32_t dtype = dsv4_case_is(c, "scale", "e8m0") ? DSV4_E8M0 : DSV4_F32;
    if (per_rows != 1 && per_rows != QUANT_BLOCK)
        return dsv4_fail(err, "per_rows: %lld; 1 or 128", (long long)per_rows);
    DSV4_SHAPE(c, SCALES, dtype, experts, quant_ceil(n, per_rows), groups);
    if (dsv4_case_is(c, "view", "wide")) {
        dsv4_widen(c, SCALES, 1, 16);
        dsv4_widen(c, SCALES, 0, 32);
    }
    c->tensors[SCALES].align = dsv4_dtype_bytes(dtype);
    DSV4_SHAPE(c, OUT, DSV4_I32, experts, quant_ceil(groups, 4),
               quant_ceil(n, QUANT_MN_ALIGN) * QUANT_MN_ALIGN);
    return 0;
}

/* Every byte that is a number, each at another place of its row than in the row above. */
static void fill(struct dsv4_case *c) {
    const dsv4_tensor *const s = &c->tensors[SCALES].t;
    const bool mantissas = dsv4_case_is(c, "scale", "f32");
#pragma omp parallel for schedule(static)
    for (int64_t i = 0; i < s->shape[0] * s->shape[1]; i++) {
        const int64_t e = i / s->shape[1], row = i % s->shape[1];
        char *const to = (char *)s->data + e * s->stride[0] + row * s->stride[1];
        for (int64_t j = 0; j < s->shape[2]; j++) {
            const uint8_t byte = (uint8_t)((i * s->shape[2] + j) * 37 % 255);
            const uint64_t bits = dsv4_random(c->seed, 1, (uint64_t)(i * s->shape[2] + j));
            if (s->dtype == DSV4_E8M0)
                ((uint8_t *)to)[j] = byte;
            else
                ((float *)(void *)to)[j] =
                    dsv4_from_bits((uint32_t)byte << 23 | (mantissas ? (uint32_t)(bits >> 41) : 0));
        }
    }
}

static uint8_t byte_at(const dsv4_tensor *s, int64_t e, int64_t row, int64_t j, int wrong) {
    const int64_t bytes = s->dtype == DSV4_E8M0 ? 1 : 4;
    const int64_t across = wrong == QUANT_ROWS_DENSE ? s->shape[2] * bytes : s->stride[1];
    const int64_t apart = wrong == EXPERTS_DENSE ? s->shape[1] * s->stride[1] : s->stride[0];
    const char *const at = (const char *)s->data + e * apart + row * across + j * bytes;
    uint32_t bits;
    if (s->dtype == DSV4_E8M0) {
        const uint8_t byte = *(const uint8_t *)at;
        return wrong == QUANT_SCALE_AS_NUMBER ? (uint8_t)(dsv4_bits((float)byte) >> 23) : byte;
    }
    memcpy(&bits, at, sizeof bits);
    if (wrong == BYTE_ROUNDED_UP) return dsv4_e8m0_ceil(dsv4_from_bits(bits));
    return (uint8_t)(bits >> 23);
}

static void make_word(const dsv4_call *call, int64_t e, int64_t word, int64_t n, int wrong) {
    const dsv4_tensor *const s = &call->tensors[SCALES], *const out = &call->tensors[OUT];
    const int64_t groups = s->shape[2], words = out->shape[1];
    const int64_t per_rows = dsv4_int(call, "per_rows", 1), rows = dsv4_int(call, "n", 0);
    int64_t at = word * (wrong == QUANT_SCALES_UNPADDED ? rows : out->shape[2]) + n;
    if (wrong == QUANT_SCALES_TRANSPOSED) at = n * words + word;
    uint8_t *const to = (uint8_t *)out->data + e * out->stride[0] + 4 * at;
    if (n >= rows && wrong == QUANT_PAD_ROWS) return;
    for (int64_t b = 0; b < 4; b++) {
        const int64_t j = word * 4 + b;
        const bool there = n < rows && j < groups;
        uint8_t byte = 0;
        if (n < rows && !there && wrong == QUANT_PAD_BYTES) continue;
        if (there)
            byte = byte_at(s, e, wrong == ROW_OF_BLOCK ? n % s->shape[1] : n / per_rows, j, wrong);
        if (there && wrong == BYTE_LEAKS && b < 3 && s->dtype == DSV4_F32) {
            uint32_t bits;
            memcpy(&bits,
                   (const char *)s->data + e * s->stride[0] + n / per_rows * s->stride[1] + 4 * j,
                   sizeof bits);
            byte |= (uint8_t)(bits >> 15);
        }
        to[wrong == QUANT_BIG_ENDIAN ? 3 - b : b] = byte;
    }
}

const struct dsv4_op dsv4_op_quant_scale_layout;

/* Bytes of groups first..first + 4 * words - 1 of a row; those behind the last are zero. */
static void take_row(float *to, const dsv4_tensor *s, const char *row, int64_t first,
                     int64_t words) {
    uint8_t bytes[4 * WORDS];
    const int64_t there = quant_min(4 * words, s->shape[2] - first);
    for (int64_t j = 0; s->dtype == DSV4_F32 && j < there; j++) {
        uint32_t bits;
        memcpy(&bits, row + 4 * (first + j), sizeof bits);
        bytes[j] = (uint8_t)(bits >> 23);
    }
    memcpy(to, s->dtype == DSV4_F32 ? (const char *)bytes : row + first, (size_t)there);
    memset((char *)to + there, 0, (size_t)(4 * words - there));
}

/* Columns first..first + n - 1, n <= TILE, of `words` words: words are taken row by row, and turned 16 rows at a time. */
static void make_tile(const dsv4_call *call, int64_t e, int64_t word, int64_t words, int64_t first,
                      int64_t n) {
    const dsv4_tensor *const s = &call->tensors[SCALES], *const out = &call->tensors[OUT];
    const int64_t per_rows = dsv4_int(call, "per_rows", 1);
    const int64_t there = quant_min(n, dsv4_int(call, "n", 0) - first);
    const char *const from = (const char *)s->data + e * s->stride[0];
    char *const to = (char *)out->data + e * out->stride[0] + word * out->stride[1] + 4 * first;
    float tile[TILE * WORDS];
    for (int64_t at = 0; at < n; at += DSV4_TURN_ROWS) {
        float rows[DSV4_TURN_ROWS * WORDS] = {0};
        for (int64_t i = at; i < quant_min(at + DSV4_TURN_ROWS, there); i++)
            take_row(rows + (i - at) * words, s, from + (first + i) / per_rows * s->stride[1],
                     4 * word, words);
        dsv4_turn_into(tile + at, TILE, rows, words, words);
    }
    for (int64_t k = 0; k < words; k++)
        memcpy(to + k * out->stride[1], tile + k * TILE, (size_t)(4 * n));
}

static void make_wrong(const dsv4_call *call, int64_t e, int64_t first, int64_t n, int wrong) {
    for (int64_t word = 0; word < call->tensors[OUT].shape[1]; word++)
        for (int64_t i = first; i < first + n; i++) make_word(call, e, word, i, wrong);
}

static int run(const dsv4_call *call, int mutant, struct dsv4_err *err) {
    const int wrong = mutant > 0 ? dsv4_op_quant_scale_layout.mutants[mutant - 1].id : 0;
    const dsv4_tensor *const out = &call->tensors[OUT];
    const int64_t words = out->shape[1], columns = out->shape[2];
    (void)err;
#pragma omp parallel for schedule(static) collapse(2)
    for (int64_t e = 0; e < out->shape[0]; e++)
        for (int64_t first = 0; first < columns; first += TILE) {
            const int64_t n = quant_min(TILE, columns - first);
            if (wrong != 0) make_wrong(call, e, first, n, wrong);
            for (int64_t word = 0; wrong == 0 && word < words; word += WORDS)
                make_tile(call, e, word, quant_min(WORDS, words - word), first, n);
        }
    return DSV4_OK;
}

static void trace(const struct dsv4_case *c, size_t slot, int64_t offset, char *line, size_t size) {
    const dsv4_tensor *const out = &c->tensors[slot].t;
    const int64_t e = offset / out->stride[0], word = offset % out->stride[0] / out->stride[1];
    const int64_t n = offset % out->stride[1] / 4, j = 4 * word + offset % 4;
    if (n >= dsv4_case_int(c, "n") || j >= dsv4_case_int(c, "groups"))
        snprintf(line, size, "padding of row %lld, group %lld", (long long)n, (long long)j);
    else
        snprintf(line, size, "scales[%lld, %lld, %lld], byte %d", (long long)e,
                 (long long)(n / dsv4_case_int(c, "per_rows")), (long long)j,
                 byte_at(&c->tensors[SCALES].t, e, n / dsv4_case_int(c, "per_rows"), j, 0));
}

static void work(const struct dsv4_case *c, struct dsv4_work *work) {
    const dsv4_tensor *const s = &c->tensors[SCALES].t, *const out = &c->tensors[OUT].t;
    work->bytes_read =
        (double)(s->shape[0] * s->shape[1] * s->shape[2]) * (double)dsv4_dtype_bytes(s->dtype);
    work->bytes_written = (double)(out->shape[0] * out->shape[1] * out->shape[2]) * 4;
}

const struct dsv4_op dsv4_op_quant_scale_layout = {
    .name = "quant_scale_layout",
    .summary = "scales of weights into packed MN-major words",
    .source = "DeepGEMM transform_sf_into_required_layout",
    .exact = "scales are moved; a power of two has one exponent byte",
    DSV4_OP_PARTS,
};
