/* SPDX-License-Identifier: Apache-2.0 */
/*
 * quant_fp8_dequant: a block-scaled FP8 weight to bf16, as it is done once at load for wo_a.
 *
 * y[n, k] = bf16(fl(e4m3(q[n, k]) * scale[n / 128, k / 128])); a scale byte b is 2^(b - 127), 255 is NaN; scales may be
 * fp32 instead, of any value. Rounding points: the product to fp32, then to bf16; each once. With a power-of-two scale
 * both are exact unless the result is subnormal in bf16, or overflows to an infinity.
 * A NaN code, or a NaN scale, gives 0x7FC0. Codes are e4m3fn or e4m3fnuz by dialect.
 *
 * Source: vllm models/deepseek_v4/amd (rocm_inv_rope_einsum's cached weight); DeepSeek inference/model.py for wo_a.
 * Latitude: none. With fp32 scales both roundings are the recipe's: a product rounded to bf16 at once is wrong where the
 * one to fp32 falls upon a tie.
 */
#include <math.h>
#include <stdio.h>

#include "quant_family.h"

enum { Q, SCALES, Y };

static const struct dsv4_param_def params[] = {
    DSV4_PARAM_NAME("fp8", DIALECT, "ocp", "ocp fnuz240", "ocp: e4m3fn; fnuz240: e4m3fnuz"),
    DSV4_PARAM_NAME("scale", INPUT, "e8m0", "e8m0 f32", "dtype of the scales"),
    DSV4_PARAM_NAME("codes", INPUT, "finite", "finite all",
                    "finite: no NaN, each row some of the codes; all: every code by turns"),
    DSV4_PARAM_NAME("bytes", INPUT, "common", "common all",
                    "scales: 2^-17..2^7; every fifteenth byte"),
    DSV4_PARAM_INT("rows", INPUT, 130, 0, 1 << 24, "N: rows"),
    DSV4_PARAM_INT("columns", INPUT, 256, 1, 65536, "K: columns"),
    QUANT_VIEW_PARAM,
};

static const struct dsv4_slot slots[] = {
    {"q",      DSV4_IN,  "[N, K] e4m3, rows strided",                             "codes"        },
    {"scales", DSV4_IN,  "[N up to 128, K up to 128] / 128 e8m0 or f32, strided", "one per block"},
    {"y",      DSV4_OUT, "[N, K] bf16, rows strided",                             "the weight"   },
};

static const struct dsv4_mutant mutants[] = {
    {"codes-of-ocp",       "fnuz codes read as OCP: twice the value",                    QUANT_CODES_OF_OCP      },
    {"codes-of-fnuz",      "OCP codes read as fnuz: half the value, and -0 is NaN",      QUANT_CODES_OF_FNUZ     },
    {"scale-as-number",    "the byte's value multiplied by; it is an exponent",          QUANT_SCALE_AS_NUMBER   },
    {"scale-inverted",     "divided by the scale",                                       QUANT_SCALE_INVERTED    },
    {"scale-bf16",         "fp32 scale rounded to bf16 first",                           QUANT_SCALE_BF16        },
    {"scale-pow2",         "fp32 scale rounded up to a power of two",                    QUANT_SCALE_POW2        },
    {"scale-neighbour",    "scale of the block to the right",                            QUANT_SCALE_NEIGHBOUR   },
    {"scale-transposed",   "scales column by column of blocks; they go row by row",
     QUANT_SCALE_TABLE_TRANSPOSED                                                                                },
    {"scale-of-row",       "a scale per row's number, not per 128 rows",                 QUANT_AMAX_OF_ROW       },
    {"truncated",          "the product cut off to bf16; it is rounded to nearest even", QUANT_TRUNCATED         },
    {"subnormals-flushed", "FP8 subnormals read as zero",                                QUANT_SUBNORMALS_FLUSHED},
    {"zero-unsigned",      "-0 read as +0",                                              QUANT_ZERO_UNSIGNED     },
    {"nan-lost",           "NaN codes read as the next value, 480 or -0",                QUANT_NAN_LOST          },
    {"rows-dense",         "rows taken as contiguous; they have a stride",               QUANT_ROWS_DENSE        },
};

static int shape(struct dsv4_case *c, struct dsv4_err *err) {
    const int64_t rows = dsv4_case_int(c, "rows"), columns = dsv4_case_int(c, "columns");
    (void)err;
    DSV4_SHAPE(c, Q, dsv4_case_is(c, "fp8", "ocp") ? DSV4_E4M3FN : DSV4_E4M3FNUZ, rows, columns);
    DSV4_SHAPE(c, SCALES, dsv4_case_is(c, "scale", "e8m0") ? DSV4_E8M0 : DSV4_F32,
               quant_ceil(rows, QUANT_BLOCK), quant_ceil(columns, QUANT_BLOCK));
    DSV4_SHAPE(c, Y, DSV4_BF16, rows, columns);
    for (size_t slot = Q; slot <= Y; slot++) quant_widen(c, slot);
    return 0;
}

static void fill_scales(const struct dsv4_case *c) {
    const dsv4_tensor *const scales = &c->tensors[SCALES].t;
    const bool all = dsv4_case_is(c, "bytes", "all");
    for (int64_t i = 0; i < scales->shape[0]; i++)
        for (int64_t j = 0; j < scales->shape[1]; j++) {
            const int64_t at = i * scales->shape[1] + j;
            const uint64_t bits = dsv4_random(c->seed, 2, (uint64_t)at);
            const uint8_t byte =
                (uint8_t)(all ? at * 15 : 110 + (at * 7 + dsv4_below(bits, 3)) % 25);
            char *const to = (char *)scales->data + i * scales->stride[0];
            if (scales->dtype == DSV4_E8M0)
                ((uint8_t *)to)[j] = byte;
            else
                ((float *)(void *)to)[j] =
                    dsv4_from_bits((uint32_t)byte << 23 | (uint32_t)(bits >> 41 & 0x7FFFFF));
        }
}

static void fill(struct dsv4_case *c) {
    const dsv4_tensor *const q = &c->tensors[Q].t;
    const bool all = dsv4_case_is(c, "codes", "all"), ocp = q->dtype == DSV4_E4M3FN;
    fill_scales(c);
#pragma omp parallel for schedule(static)
    for (int64_t n = 0; n < q->shape[0]; n++)
        for (int64_t k = 0; k < q->shape[1]; k++) {
            uint8_t code = (uint8_t)(k * 5 + k / 128 * 3 + n * 37);
            if (!all && (ocp ? (code & 0x7F) == 0x7F : code == 0x80)) code = 1;
            ((uint8_t *)q->data)[n * q->stride[0] + k] = code;
        }
}

static float number_of(uint8_t code, bool ocp, enum quant_wrong wrong) {
    if (wrong == QUANT_CODES_OF_OCP) ocp = true;
    if (wrong == QUANT_CODES_OF_FNUZ) ocp = false;
    if (wrong == QUANT_SUBNORMALS_FLUSHED && (code & 0x78) == 0 && (ocp || code != 0x80))
        return dsv4_from_bits((uint32_t)(code & 0x80) << 24);
    if (wrong == QUANT_ZERO_UNSIGNED && ocp && code == 0x80) return 0.0f;
    if (wrong == QUANT_NAN_LOST && ocp && (code & 0x7F) == 0x7F)
        return code < 128 ? 480.0f : -480.0f;
    if (wrong == QUANT_NAN_LOST && !ocp && code == 0x80) return -0.0f;
    return ocp ? dsv4_e4m3fn_to_f32(code) : dsv4_e4m3fnuz_to_f32(code);
}

static float scale_at(const dsv4_tensor *scales, int64_t i, int64_t j, enum quant_wrong wrong) {
    const int64_t rows = scales->shape[0], columns = scales->shape[1];
    if (wrong == QUANT_SCALE_NEIGHBOUR) j = j + 1 < columns ? j + 1 : j;
    if (wrong == QUANT_SCALE_TABLE_TRANSPOSED) {
        const int64_t at = j * rows + i;
        i = at / columns;
        j = at % columns;
    }
    const char *const from = (const char *)scales->data + i * scales->stride[0];
    float scale;
    if (scales->dtype == DSV4_E8M0) {
        const uint8_t byte = ((const uint8_t *)from)[j];
        scale = wrong == QUANT_SCALE_AS_NUMBER ? (float)byte : dsv4_e8m0_to_f32(byte);
    } else {
        memcpy(&scale, from + 4 * j, sizeof scale);
    }
    if (wrong == QUANT_SCALE_BF16) scale = dsv4_bf16_to_f32(dsv4_bf16_from_f32(scale));
    if (wrong == QUANT_SCALE_POW2) scale = dsv4_e8m0_to_f32(dsv4_e8m0_ceil(scale));
    return wrong == QUANT_SCALE_INVERTED ? 1.0f / scale : scale;
}

static void multiply(uint16_t *y, const uint8_t *codes, int64_t n, float scale, bool ocp,
                     enum quant_wrong wrong) {
    if (wrong != QUANT_RIGHT) {
        for (int64_t k = 0; k < n; k++) {
            const float product = number_of(codes[k], ocp, wrong) * scale;
            y[k] = wrong == QUANT_TRUNCATED && product == product
                       ? (uint16_t)(dsv4_bits(product) >> 16)
                       : dsv4_bf16_from_f32(product);
        }
    } else if (ocp) {
#pragma omp simd
        for (int64_t k = 0; k < n; k++)
            y[k] = dsv4_bf16_from_f32(dsv4_e4m3fn_to_f32(codes[k]) * scale);
    } else {
#pragma omp simd
        for (int64_t k = 0; k < n; k++)
            y[k] = dsv4_bf16_from_f32(dsv4_e4m3fnuz_to_f32(codes[k]) * scale);
    }
}

const struct dsv4_op dsv4_op_quant_fp8_dequant;

static int run(const dsv4_call *call, int mutant, struct dsv4_err *err) {
    const enum quant_wrong wrong = quant_wrong_of(&dsv4_op_quant_fp8_dequant, mutant);
    const dsv4_tensor *const q = &call->tensors[Q], *const scales = &call->tensors[SCALES];
    const dsv4_tensor *const y = &call->tensors[Y];
    const int64_t stride = wrong == QUANT_ROWS_DENSE ? q->shape[1] : q->stride[0];
    (void)err;
#pragma omp parallel for schedule(static)
    for (int64_t n = 0; n < q->shape[0]; n++)
        for (int64_t j = 0; j < scales->shape[1]; j++) {
            const int64_t first = j * QUANT_BLOCK;
            const int64_t i = wrong == QUANT_AMAX_OF_ROW ? n % scales->shape[0] : n / QUANT_BLOCK;
            multiply((uint16_t *)(void *)((char *)y->data + n * y->stride[0]) + first,
                     (const uint8_t *)q->data + n * stride + first,
                     quant_min(QUANT_BLOCK, q->shape[1] - first), scale_at(scales, i, j, wrong),
                     q->dtype == DSV4_E4M3FN, wrong);
        }
    return DSV4_OK;
}

static void trace(const struct dsv4_case *c, size_t slot, int64_t offset, char *line, size_t size) {
    const dsv4_tensor *const y = &c->tensors[slot].t, *const q = &c->tensors[Q].t;
    const int64_t n = offset / y->stride[0], k = offset % y->stride[0] / 2;
    const uint8_t code = ((const uint8_t *)q->data)[n * q->stride[0] + k];
    snprintf(
        line, size, "row %lld, column %lld: code 0x%02x (%.9g), scale %.9g", (long long)n,
        (long long)k, code, (double)number_of(code, q->dtype == DSV4_E4M3FN, QUANT_RIGHT),
        (double)scale_at(&c->tensors[SCALES].t, n / QUANT_BLOCK, k / QUANT_BLOCK, QUANT_RIGHT));
}

static void work(const struct dsv4_case *c, struct dsv4_work *work) {
    const dsv4_tensor *const y = &c->tensors[Y].t;
    const double elements = (double)(y->shape[0] * y->shape[1]);
    work->bytes_read = elements;
    work->bytes_written = elements * 2;
}

const struct dsv4_op dsv4_op_quant_fp8_dequant = {
    .name = "quant_fp8_dequant",
    .summary = "a block-scaled FP8 weight to bf16",
    .source = "vllm models/deepseek_v4/amd, rocm_inv_rope_einsum",
    .exact = "one product of a code and its scale, rounded as the recipe says",
    DSV4_OP_PARTS,
};
