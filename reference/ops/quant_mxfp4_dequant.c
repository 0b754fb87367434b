/* SPDX-License-Identifier: Apache-2.0 */
/*
 * quant_mxfp4_dequant: an MXFP4 weight back to bf16.
 *
 * y[n, k] = bf16(e2m1(q[n, k]) * 2^(byte - 127)), byte = scales[n, k / 32]; even k in the low nibble. Both the product and
 * the rounding are exact but for overflow, which gives an infinity, and for the bytes at the ends, by `ends`:
 *   e8m0     byte 0 is 2^-127, byte 255 is NaN
 *   shifted  the byte is moved into the exponent field: 0 is 0.0, 255 is an infinity (times zero: NaN)
 * Any NaN is 0x7FC0. Zeros keep their sign. The last group of a row may be shorter.
 *
 * Source: DeepSeek inference/convert.py and kernel.py (e8m0); vllm's mxfp4 kernels (byte << 23).
 * Latitude: none.
 */
#include <stdio.h>

#include "quant_family.h"

enum { Q, SCALES, Y };
enum { FOURS_GROUP = 32 };

static const struct dsv4_param_def params[] = {
    DSV4_PARAM_NAME("ends", DIALECT, "e8m0", "e8m0 shifted", "what bytes 0 and 255 mean"),
    DSV4_PARAM_NAME("bytes", INPUT, "common", "common all ends",
                    "scale bytes: 110..134; every fifteenth one by turns; 0, 1, 254 and 255"),
    DSV4_PARAM_INT("rows", INPUT, 5, 0, 1 << 24, "N: rows"),
    DSV4_PARAM_INT("columns", INPUT, 128, 2, 65536, "K: columns, an even number"),
    QUANT_VIEW_PARAM,
};

static const struct dsv4_slot slots[] = {
    {"q",      DSV4_IN,  "[N, K / 2] u8, rows strided",             "codes, two to a byte"},
    {"scales", DSV4_IN,  "[N, K up to 32 / 32] e8m0, rows strided", "one per 32 columns"  },
    {"y",      DSV4_OUT, "[N, K] bf16, rows strided",               "the weight"          },
};

static const struct dsv4_mutant mutants[] = {
    {"nibbles-swapped",    "even column in the high nibble; it is the low one", QUANT_NIBBLES_SWAPPED   },
    {"ends-other",         "bytes 0 and 255 by the other dialect",              QUANT_SCALE_OTHER_END   },
    {"scale-as-number",    "the byte's value multiplied by; it is an exponent", QUANT_SCALE_AS_NUMBER   },
    {"scale-neighbour",    "scale of the group after this one",                 QUANT_SCALE_NEIGHBOUR   },
    {"scale-inverted",     "divided by the scale",                              QUANT_SCALE_INVERTED    },
    {"scale-transposed",   "scales column by column; they go row by row",
     QUANT_SCALE_TABLE_TRANSPOSED                                                                       },
    {"rows-dense",         "rows taken as contiguous; they have a stride",      QUANT_ROWS_DENSE        },
    {"zero-unsigned",      "code 8 read as +0; it is -0",                       QUANT_ZERO_UNSIGNED     },
    {"subnormals-flushed", "bf16 subnormals flushed to zero",                   QUANT_SUBNORMALS_FLUSHED},
    {"nan-lost",           "byte 255 read as 2^128",                            QUANT_NAN_LOST          },
};

static int shape(struct dsv4_case *c, struct dsv4_err *err) {
    const int64_t rows = dsv4_case_int(c, "rows"), columns = dsv4_case_int(c, "columns");
    if (columns % 2 != 0) return dsv4_fail(err, "%lld columns: an even number", (long long)columns);
    DSV4_SHAPE(c, Q, DSV4_U8, rows, columns / 2);
    DSV4_SHAPE(c, SCALES, DSV4_E8M0, rows, quant_ceil(columns, FOURS_GROUP));
    DSV4_SHAPE(c, Y, DSV4_BF16, rows, columns);
    for (size_t slot = Q; slot <= Y; slot++) quant_widen(c, slot);
    c->tensors[SCALES].align = 1;
    return 0;
}

static void fill(struct dsv4_case *c) {
    static const uint8_t ends[] = {0, 255, 1, 254, 0, 128, 127, 253};
    const dsv4_tensor *const q = &c->tensors[Q].t, *const scales = &c->tensors[SCALES].t;
    const bool all = dsv4_case_is(c, "bytes", "all"), common = dsv4_case_is(c, "bytes", "common");
#pragma omp parallel for schedule(static)
    for (int64_t n = 0; n < q->shape[0]; n++) {
        uint8_t *const codes = (uint8_t *)q->data + n * q->stride[0];
        uint8_t *const bytes = (uint8_t *)scales->data + n * scales->stride[0];
        for (int64_t i = 0; i < q->shape[1]; i++)
            codes[i] = (uint8_t)(i * 17 + i / 16 * 7 + n * 29);
        for (int64_t g = 0; g < scales->shape[1]; g++) {
            const uint64_t bits = dsv4_random(c->seed, 1, (uint64_t)(n * scales->shape[1] + g));
            bytes[g] = (uint8_t)(all      ? (n * scales->shape[1] + g) * 15
                                 : common ? 110 + dsv4_below(bits, 25)
                                          : ends[(n * 3 + g) % 8]);
        }
    }
}

static float scale_of(uint8_t byte, bool shifted, enum quant_wrong wrong) {
    if (wrong == QUANT_SCALE_OTHER_END) shifted = !shifted;
    if (wrong == QUANT_SCALE_AS_NUMBER) return (float)byte;
    if (wrong == QUANT_SCALE_INVERTED) byte = (uint8_t)(254 - byte);
    return shifted ? dsv4_from_bits((uint32_t)byte << 23) : dsv4_e8m0_to_f32(byte);
}

static uint16_t wrong_product(float x, float scale, uint8_t byte, enum quant_wrong wrong) {
    if (wrong == QUANT_ZERO_UNSIGNED && x == 0.0f) x = 0.0f;
    if (wrong == QUANT_NAN_LOST && byte == 255)
        return dsv4_bf16_from_f32(x == 0.0f ? x : x * dsv4_from_bits(0x7F800000u));
    const uint16_t code = dsv4_bf16_from_f32(x * scale);
    if (wrong == QUANT_SUBNORMALS_FLUSHED && (code & 0x7F80) == 0) return code & 0x8000;
    return code;
}

/* Bytes whose products with all codes are normal numbers: 0.5 to 6 are of four binades from 2^-1 on. */
enum { LEAST_NORMAL = 2, MOST_NORMAL = 252, HALF = 0x3F00 /* 0.5 */ };

/* A code times 2^(byte - 127), whose exponent field is added: `half` is the product of 0.5. */
static inline uint16_t normal_product(uint16_t four, uint16_t half) {
    const uint16_t magnitude = four & 7, sign = (uint16_t)((four & 8) << 12);
    const uint16_t steps = (uint16_t)(magnitude == 1 ? 0 : magnitude << 6);
    return (uint16_t)(sign | (magnitude == 0 ? 0 : half + steps));
}

static inline void multiply_normal(uint16_t *y, const uint8_t *codes, int64_t n, uint8_t byte) {
    const uint16_t half = (uint16_t)(HALF + ((int)byte - 127) * 128);
#pragma omp simd
    for (int64_t i = 0; i < n / 2; i++) {
        y[2 * i] = normal_product(codes[i] & 15, half);
        y[2 * i + 1] = normal_product(codes[i] >> 4, half);
    }
}

static void multiply(uint16_t *y, const uint8_t *codes, int64_t n, float scale) {
    for (int64_t i = 0; i < n; i++)
        y[i] = dsv4_bf16_from_f32(dsv4_e2m1_to_f32((uint8_t)(codes[i / 2] >> i % 2 * 4)) * scale);
}

static void wrong_multiply(uint16_t *y, const uint8_t *codes, int64_t n, float scale, uint8_t byte,
                           enum quant_wrong wrong) {
    const int swapped = wrong == QUANT_NIBBLES_SWAPPED ? 4 : 0;
    for (int64_t i = 0; i < n; i++) {
        const uint8_t four = codes[i / 2] >> (i % 2 * 4 ^ swapped) & 15;
        y[i] = wrong_product(dsv4_e2m1_to_f32(four), scale, byte, wrong);
    }
}

static uint8_t byte_at(const dsv4_tensor *scales, int64_t n, int64_t g, enum quant_wrong wrong) {
    const int64_t rows = scales->shape[0], groups = scales->shape[1];
    if (wrong == QUANT_SCALE_NEIGHBOUR && g + 1 < groups) g++;
    if (wrong == QUANT_SCALE_TABLE_TRANSPOSED) {
        const int64_t at = g * rows + n;
        n = at / groups;
        g = at % groups;
    }
    return ((const uint8_t *)scales->data)[n * scales->stride[0] + g];
}

static void make_row(const dsv4_call *call, int64_t row, enum quant_wrong wrong) {
    const dsv4_tensor *const q = &call->tensors[Q], *const y = &call->tensors[Y];
    const int64_t columns = y->shape[1];
    const int64_t stride = wrong == QUANT_ROWS_DENSE ? q->shape[1] : q->stride[0];
    const bool shifted = dsv4_is(call, "ends", "shifted");
    const uint8_t *const codes = (const uint8_t *)q->data + row * stride;
    uint16_t *const to = (uint16_t *)(void *)((char *)y->data + row * y->stride[0]);
    for (int64_t k = 0; k < columns; k += FOURS_GROUP) {
        const int64_t n = quant_min(FOURS_GROUP, columns - k);
        const uint8_t byte = byte_at(&call->tensors[SCALES], row, k / FOURS_GROUP, wrong);
        const float scale = scale_of(byte, shifted, wrong);
        if (wrong != QUANT_RIGHT)
            wrong_multiply(to + k, codes + k / 2, n, scale, byte, wrong);
        else if (byte < LEAST_NORMAL || byte > MOST_NORMAL)
            multiply(to + k, codes + k / 2, n, scale);
        else if (n == FOURS_GROUP)
            multiply_normal(to + k, codes + k / 2, FOURS_GROUP, byte);
        else
            multiply_normal(to + k, codes + k / 2, n, byte);
    }
}

const struct dsv4_op dsv4_op_quant_mxfp4_dequant;

static int run(const dsv4_call *call, int mutant, struct dsv4_err *err) {
    const enum quant_wrong wrong = quant_wrong_of(&dsv4_op_quant_mxfp4_dequant, mutant);
    (void)err;
#pragma omp parallel for schedule(static)
    for (int64_t n = 0; n < call->tensors[Q].shape[0]; n++) make_row(call, n, wrong);
    return DSV4_OK;
}

static void trace(const struct dsv4_case *c, size_t slot, int64_t offset, char *line, size_t size) {
    const dsv4_tensor *const y = &c->tensors[slot].t, *const q = &c->tensors[Q].t;
    const dsv4_tensor *const scales = &c->tensors[SCALES].t;
    const int64_t n = offset / y->stride[0], k = offset % y->stride[0] / 2;
    const int code = ((const uint8_t *)q->data)[n * q->stride[0] + k / 2] >> 4 * (k % 2) & 15;
    const int byte = ((const uint8_t *)scales->data)[n * scales->stride[0] + k / FOURS_GROUP];
    snprintf(line, size, "row %lld, column %lld: code %d (%g), scale byte %d", (long long)n,
             (long long)k, code, (double)dsv4_e2m1_to_f32((uint8_t)code), byte);
}

static void work(const struct dsv4_case *c, struct dsv4_work *work) {
    const dsv4_tensor *const y = &c->tensors[Y].t;
    const double elements = (double)(y->shape[0] * y->shape[1]);
    work->bytes_read = elements / 2 + elements / (double)FOURS_GROUP;
    work->bytes_written = elements * 2;
}

const struct dsv4_op dsv4_op_quant_mxfp4_dequant = {
    .name = "quant_mxfp4_dequant",
    .summary = "an MXFP4 weight back to bf16",
    .source = "DeepSeek inference/convert.py; vllm mxfp4",
    .exact = "a code times a power of two is exact",
    DSV4_OP_PARTS,
};
