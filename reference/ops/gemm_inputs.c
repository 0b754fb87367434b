/* SPDX-License-Identifier: Apache-2.0 */
/* Shapes, scales and contents that the GEMM ops share. */
#include <math.h>
#include <stdio.h>

#include "gemm_family.h"

void gemm_widen(struct dsv4_case *c, size_t slot, int dim, int64_t bytes) {
    if (dsv4_case_is(c, "view", "wide")) dsv4_widen(c, slot, dim, bytes);
}

/* Ops of experts have no groups. */
static int64_t groups_of(const struct dsv4_case *c) {
    for (size_t p = 0; p < c->op->n_params; p++)
        if (strcmp(c->op->params[p].name, "groups") == 0) return dsv4_case_int(c, "groups");
    return 0;
}

void gemm_shape_rows(struct dsv4_case *c, size_t slot, uint32_t dtype, int64_t rows,
                     int64_t columns) {
    const int64_t groups = groups_of(c);
    if (groups == 0) {
        DSV4_SHAPE(c, slot, dtype, rows, columns);
        gemm_widen(c, slot, 0, 48);
        return;
    }
    DSV4_SHAPE(c, slot, dtype, rows, groups, columns);
    gemm_widen(c, slot, 1, 16);
    gemm_widen(c, slot, 0, 48);
}

void gemm_shape_weight(struct dsv4_case *c, size_t slot, uint32_t dtype, int64_t rows,
                       int64_t columns) {
    const int64_t groups = groups_of(c);
    if (groups == 0)
        DSV4_SHAPE(c, slot, dtype, rows, columns);
    else
        DSV4_SHAPE(c, slot, dtype, groups, rows, columns);
    gemm_widen(c, slot, groups == 0 ? 0 : 1, 32);
    if (groups != 0) gemm_widen(c, slot, 0, 64);
}

dsv4_tensor gemm_dense(const dsv4_tensor *t) {
    dsv4_tensor dense = *t;
    int64_t bytes = dsv4_dtype_bytes(t->dtype);
    for (int i = t->ndim - 1; i >= 0; i--) {
        dense.stride[i] = bytes;
        bytes *= t->shape[i];
    }
    return dense;
}

/* ---- scales ---- */

enum gemm_scale_form gemm_scale_form(const char *word) {
    return strcmp(word, "f32") == 0      ? GEMM_F32
           : strcmp(word, "f32_mn") == 0 ? GEMM_F32_MN
           : strcmp(word, "packed") == 0 ? GEMM_PACKED
                                         : GEMM_E8M0;
}

int gemm_shape_scales(struct dsv4_case *c, size_t slot, const char *form, int64_t rows,
                      int64_t blocks, bool weight, struct dsv4_err *err) {
    static const uint32_t dtypes[] = {DSV4_F32, DSV4_F32, DSV4_I32, DSV4_E8M0};
    const enum gemm_scale_form f = gemm_scale_form(form);
    const int64_t groups = groups_of(c), padded = gemm_ceil(rows, 4) * 4;
    if ((f == GEMM_PACKED || f == GEMM_E8M0) && dsv4_case_is(c, "scales", "free"))
        return dsv4_fail(err, "scales: free; %s holds powers of two", form);
    if (f == GEMM_F32 || f == GEMM_E8M0) {
        if (groups == 0)
            DSV4_SHAPE(c, slot, dtypes[f], rows, blocks);
        else if (weight)
            DSV4_SHAPE(c, slot, dtypes[f], groups, rows, blocks);
        else
            DSV4_SHAPE(c, slot, dtypes[f], rows, groups, blocks);
        gemm_widen(c, slot, 0, 12);
    } else {
        const int64_t deep = f == GEMM_PACKED ? gemm_ceil(blocks, 4) : blocks;
        if (groups == 0)
            DSV4_SHAPE(c, slot, dtypes[f], deep, padded);
        else
            DSV4_SHAPE(c, slot, dtypes[f], groups, deep, padded);
        gemm_widen(c, slot, 0, 32);
    }
    c->tensors[slot].align = f == GEMM_E8M0 ? 1 : 4;
    return 0;
}

void gemm_scales_open(struct gemm_scales *scales, const dsv4_tensor *t, const char *form,
                      bool weight, enum gemm_wrong wrong) {
    const int last = t->ndim - 1;
    scales->form = gemm_scale_form(form);
    scales->data = t->data;
    scales->wrong = wrong;
    const bool by_row = scales->form == GEMM_F32 || scales->form == GEMM_E8M0;
    if (by_row) {
        scales->row = t->stride[weight && last == 2 ? 1 : 0];
        scales->group = last == 2 ? t->stride[weight ? 0 : 1] : 0;
        scales->block = dsv4_dtype_bytes(t->dtype);
    } else {
        scales->row = 4;
        scales->group = last == 2 ? t->stride[0] : 0;
        scales->block = t->stride[last - 1];
    }
    const bool turned =
        weight ? wrong == GEMM_B_SCALE_TRANSPOSED : wrong == GEMM_A_SCALE_OTHER_LAYOUT;
    if (turned && scales->form != GEMM_PACKED) {
        /* As if what is innermost were outermost; stays inside of the tensor. */
        const int64_t bytes = dsv4_dtype_bytes(t->dtype);
        scales->row = by_row ? bytes : t->shape[last - 1] * bytes;
        scales->block = by_row ? t->shape[weight && last == 2 ? 1 : 0] * bytes : bytes;
    }
}

static float of_byte(const struct gemm_scales *scales, uint8_t byte) {
    if (scales->wrong == GEMM_SCALE_AS_NUMBER) return (float)byte;
    if (scales->wrong == GEMM_SCALE_BYTE_ZERO && byte == 0) return 0.0f;
    return dsv4_e8m0_to_f32(byte);
}

float gemm_scale(const struct gemm_scales *scales, int64_t group, int64_t row, int64_t block) {
    const char *const at = scales->data + group * scales->group + row * scales->row;
    if (scales->form == GEMM_PACKED) {
        const int64_t byte = scales->wrong == GEMM_SCALE_BYTES_REVERSED ? 3 - block % 4 : block % 4;
        return of_byte(scales, ((const uint8_t *)at)[block / 4 * scales->block + byte]);
    }
    if (scales->form == GEMM_E8M0)
        return of_byte(scales, ((const uint8_t *)at)[block * scales->block]);
    float value;
    memcpy(&value, at + block * scales->block, sizeof value);
    return scales->wrong == GEMM_SCALE_BYTE_ZERO && value < dsv4_from_bits(0x00800000u) ? 0.0f
                                                                                        : value;
}

/* `opposed` and `heavy` codes: the block whose negative, under the same scale, block b is. */
static int64_t twin_of(const struct dsv4_case *c, int64_t b) {
    const char word = dsv4_case_word(c, "codes")[0];
    return word == 'o' || word == 'h' ? b & ~INT64_C(2) : b;
}

static float value_of(const struct dsv4_case *c, uint64_t stream, int64_t at, bool weight) {
    const uint64_t bits = dsv4_random(c->seed, stream, (uint64_t)at);
    if (dsv4_case_is(c, "scales", "one")) return 1.0f;
    if (dsv4_case_is(c, "scales", "free")) return fabsf(dsv4_normal(bits)) + 0.01f;
    const bool tiny = dsv4_case_is(c, "scales", "tiny");
    const int64_t byte = !tiny    ? 116 + dsv4_below(bits, 8)
                         : weight ? 245 + dsv4_below(bits, 4)
                                  : dsv4_below(bits, 4);
    return dsv4_e8m0_to_f32((uint8_t)byte);
}

void gemm_fill_scales(const struct dsv4_case *c, size_t slot, const char *form, int64_t rows,
                      int64_t blocks, bool weight, uint64_t stream) {
    const dsv4_tensor *const t = &c->tensors[slot].t;
    struct gemm_scales scales;
    const int64_t groups = t->ndim == 3 ? groups_of(c) : 1;
    gemm_scales_open(&scales, t, form, weight, GEMM_RIGHT);
    const bool by_row = scales.form == GEMM_F32 || scales.form == GEMM_E8M0;
    const int64_t all_rows = by_row ? rows : gemm_ceil(rows, 4) * 4;
    const int64_t all_blocks = scales.form == GEMM_PACKED ? gemm_ceil(blocks, 4) * 4 : blocks;
    for (int64_t g = 0; g < groups; g++)
        for (int64_t r = 0; r < all_rows; r++)
            for (int64_t b = 0; b < all_blocks; b++) {
                const bool there = r < rows && b < blocks;
                const float x =
                    there ? value_of(c, stream, (g * rows + r) * blocks + twin_of(c, b), weight)
                          : dsv4_from_bits(DSV4_NAN_BITS);
                char *const at = (char *)t->data + g * scales.group + r * scales.row;
                if (scales.form == GEMM_PACKED)
                    at[b / 4 * scales.block + b % 4] =
                        (char)(there ? dsv4_e8m0_ceil(x) - (x < dsv4_from_bits(0x00800000u)) : 255);
                else if (scales.form == GEMM_E8M0)
                    at[b] = (char)(dsv4_e8m0_ceil(x) - (x < dsv4_from_bits(0x00800000u)));
                else
                    memcpy(at + b * scales.block, &x, sizeof x);
            }
}

/* ---- codes ---- */

static uint8_t heavy(const struct dsv4_case *c, uint64_t stream, int64_t row, int64_t k,
                     enum dsv4_fp8 fp8) {
    const int64_t twin = k & ~INT64_C(256);
    const uint64_t bits = dsv4_random(c->seed, stream, (uint64_t)row << 20 | (uint64_t)twin);
    const bool tiny = twin % 5 == 0 || (k & 128) != 0;
    const float x =
        tiny ? (float)(1 + dsv4_below(bits, 7)) / 512.0f : (float)(256 + 32 * dsv4_below(bits, 7));
    return dsv4_fp8_from_f32((k & 256) != 0 && stream == 1 ? -x : x, fp8);
}

/* The 32nd product is that of the least subnormal factor and a large one. */
static float grain(uint64_t stream, int64_t k) {
    if (k % 32 != 31) return 0x1.6p-6f;
    return stream == 1 ? 0x1p-9f : 256.0f;
}

uint8_t gemm_code(const struct dsv4_case *c, uint64_t stream, int64_t row, int64_t k) {
    static const float some[] = {0.0f, 1.0f, -1.5f, 2.0f};
    const char *const word = dsv4_case_word(c, "codes");
    const bool ocp = dsv4_case_is(c, "fp8", "ocp");
    const enum dsv4_fp8 fp8 = ocp ? DSV4_OCP : DSV4_FNUZ240;
    const uint64_t bits = dsv4_random(c->seed, stream, (uint64_t)row << 20 | (uint64_t)k);
    const uint8_t any = (uint8_t)(bits >> 30);
    const bool nan = ocp ? (any & 0x7F) == 0x7F : any == 0x80;
    if (word[0] == 'e') return nan ? 0x38 : any;
    if (word[0] == 'f') return dsv4_fp8_from_f32(some[bits >> 62], fp8);
    if (word[0] == 's')
        return dsv4_fp8_from_f32(bits >> 61 == 0 ? some[bits >> 59 & 3] : 0.0f, fp8);
    if (word[0] == 'h') return heavy(c, stream, row, k, fp8);
    if (word[0] == 'n') return dsv4_fp8_from_f32(96.0f * dsv4_normal(bits), fp8);
    if (word[0] == 'p') return dsv4_fp8_from_f32(fabsf(96.0f * dsv4_normal(bits)), fp8);
    if (word[0] == 'g') return dsv4_fp8_from_f32(grain(stream, k), fp8);
    if (word[0] == 'o') {
        const int64_t twin = k & ~INT64_C(256);
        const uint64_t other = dsv4_random(c->seed, stream, (uint64_t)row << 20 | (uint64_t)twin);
        const float x = 96.0f * dsv4_normal(other), y = (k & 256) != 0 && stream == 1 ? -x : x;
        return dsv4_fp8_from_f32((k & 128) != 0 ? 0.0001f * y : y, fp8);
    }
    /* cancel: halves of a block of opposite sign and large, but for their last channels */
    const uint64_t twin =
        dsv4_random(c->seed, stream, (uint64_t)row << 20 | (uint64_t)(k & ~INT64_C(64)));
    const bool tail = (k & 63) > 55;
    const float large = 100.0f + (float)dsv4_below(twin, 100), small = 0.01f * dsv4_normal(bits);
    const bool negative = (k & 64) != 0 && stream == 1;
    return dsv4_fp8_from_f32(tail ? small : negative ? -large : large, fp8);
}

void gemm_fill_codes(const struct dsv4_case *c, size_t slot, uint64_t stream) {
    const dsv4_tensor *const t = &c->tensors[slot].t;
    const int64_t inner = t->ndim == 3 ? t->shape[1] : 1, width = t->shape[t->ndim - 1];
#pragma omp parallel for schedule(static)
    for (int64_t r = 0; r < t->shape[0] * inner; r++) {
        char *const row = (char *)t->data + r / inner * t->stride[0] +
                          (t->ndim == 3 ? r % inner * t->stride[1] : 0);
        for (int64_t k = 0; k < width; k++) row[k] = (char)gemm_code(c, stream, r, k);
    }
}

void gemm_trace(const struct dsv4_case *c, size_t slot, int64_t offset, char *line, size_t size) {
    const dsv4_tensor *const t = &c->tensors[slot].t;
    const int64_t m = offset / t->stride[0], rest = offset % t->stride[0];
    const int64_t bytes = dsv4_dtype_bytes(t->dtype);
    if (t->ndim == 3)
        snprintf(line, size, "row %lld, group %lld, column %lld", (long long)m,
                 (long long)(rest / t->stride[1]), (long long)(rest % t->stride[1] / bytes));
    else
        snprintf(line, size, "row %lld, column %lld", (long long)m, (long long)(rest / bytes));
}
