/* SPDX-License-Identifier: Apache-2.0 */
/* Rows to be quantised, and where their scales lie. */
#include <math.h>
#include <stdio.h>

#include "quant_family.h"

enum { STREAM_X = 1, STREAM_BOUNDARY = 7 };

static float sign_of(uint64_t bits) { return bits >> 63 != 0 ? -1.0f : 1.0f; }

void quant_widen(struct dsv4_case *c, size_t slot) {
    const int64_t bytes = dsv4_dtype_bytes(c->tensors[slot].t.dtype);
    if (dsv4_case_is(c, "view", "wide")) dsv4_widen(c, slot, 0, 64);
    if (dsv4_case_is(c, "view", "odd")) {
        dsv4_widen(c, slot, 0, 3 * bytes);
        c->tensors[slot].align = bytes;
    }
}

void quant_shape_input(struct dsv4_case *c, size_t slot, int64_t rows, int64_t columns) {
    const uint32_t dtype = dsv4_case_is(c, "input", "f32") ? DSV4_F32 : DSV4_BF16;
    DSV4_SHAPE(c, slot, dtype, rows, columns);
    quant_widen(c, slot);
}

float quant_case_most(const struct dsv4_case *c) {
    return dsv4_case_is(c, "fp8", "ocp")       ? 448.0f
           : dsv4_case_is(c, "fp8", "fnuz224") ? 224.0f
                                               : 240.0f;
}

/* The group's amax, at its channel 5, a few ulp of its type around most * 2^e; the rest stays below it. */
static float boundary(const struct dsv4_case *c, uint64_t row, int64_t column, int64_t group,
                      float most, bool bf16) {
    const uint64_t bits = dsv4_random(c->seed, STREAM_BOUNDARY, row << 24 | (uint64_t)column);
    const uint64_t id = row << 24 | (uint64_t)(column / group);
    const uint64_t common = dsv4_random(c->seed, STREAM_BOUNDARY + 1, id);
    const int e = (int)dsv4_below(common, 41) - 20, ulps = (int)(common & 7) - 2;
    const float power = dsv4_from_bits((uint32_t)(127 + e) << 23);
    const uint32_t peak = dsv4_bits(most * power) + (uint32_t)(bf16 ? (ulps & 1) << 16 : ulps);
    if (column % group == 5) return sign_of(bits) * dsv4_from_bits(peak);
    return dsv4_normal(bits) * (most / 8.0f) * power;
}

/* Under scale 1 (a peak of 6 in each group): FP4 values, halfway points and their neighbours. */
static float four(const struct dsv4_case *c, uint64_t row, int64_t column, int64_t group) {
    static const float points[] = {0.0f, 0.25f, 0.5f, 0.75f, 1.0f, 1.25f, 1.5f, 1.75f,
                                   2.0f, 2.5f,  3.0f, 3.5f,  4.0f, 5.0f,  6.0f, 0.125f};
    const uint64_t bits = dsv4_random(c->seed, STREAM_BOUNDARY, row << 24 | (uint64_t)column);
    const uint64_t id = row << 24 | (uint64_t)(column / group);
    const int e = (int)dsv4_below(dsv4_random(c->seed, STREAM_BOUNDARY + 1, id), 21) - 10;
    const float power = dsv4_from_bits((uint32_t)(127 + e) << 23);
    if (column % group == 3) return sign_of(bits) * 6.0f * power;
    const float point = points[bits & 15] * power;
    const uint32_t step =
        (bits >> 4 & 3) == 0 && point != 0.0f ? (uint32_t)(bits >> 6 & 2) - 1u : 0;
    return sign_of(bits) * dsv4_from_bits(dsv4_bits(point) + (step << 16));
}

static float value_of(const struct dsv4_case *c, const char *recipe, int64_t row, int64_t column,
                      int64_t group, float most, bool bf16) {
    if (recipe[0] == 'b') return boundary(c, (uint64_t)row, column, group, most, bf16);
    if (recipe[0] == 'f') return four(c, (uint64_t)row, column, group);
    if (strcmp(recipe, "halves") == 0)
        return (column % 2 == 0 ? 1.0f : -1.0f) * (float)((column / 2 + row * 7) % 49) / 8.0f *
               (float)(1 << (row * 3 + column / 128 * 5) % 8);
    const float x = dsv4_value(recipe, c->seed, STREAM_X, row, column, group);
    return bf16 || recipe[0] != 'n' ? x : x * 0x1.0c1524p+0f;
}

void quant_fill(const struct dsv4_case *c, size_t slot, int64_t group, float most) {
    const dsv4_tensor *const t = &c->tensors[slot].t;
    const char *const recipe = dsv4_case_word(c, "values");
    const bool bf16 = t->dtype == DSV4_BF16;
#pragma omp parallel for schedule(static)
    for (int64_t row = 0; row < t->shape[0]; row++) {
        char *const at = (char *)t->data + row * t->stride[0];
        for (int64_t i = 0; i < t->shape[1]; i++) {
            const float x = value_of(c, recipe, row, i, group, most, bf16);
            if (bf16) {
                const uint16_t code = dsv4_bf16_from_f32(x);
                memcpy(at + 2 * i, &code, sizeof code);
            } else {
                memcpy(at + 4 * i, &x, sizeof x);
            }
        }
    }
}

const float *quant_load(float *room, const dsv4_tensor *t, int64_t row, int64_t first, int64_t n,
                        enum quant_wrong wrong) {
    const int64_t bytes = t->dtype == DSV4_BF16 ? 2 : 4;
    const int64_t stride = wrong == QUANT_ROWS_DENSE ? t->shape[1] * bytes : t->stride[0];
    const char *const from = (const char *)t->data + row * stride + first * bytes;
    const float *const numbers = (const float *)(const void *)from;
    if (t->dtype == DSV4_BF16) {
        const uint16_t *const codes = (const uint16_t *)(const void *)from;
#pragma omp simd
        for (int64_t i = 0; i < n; i++) room[i] = dsv4_bf16_to_f32(codes[i]);
        return room;
    }
    if (wrong != QUANT_INPUT_ROUNDED) return numbers;
    for (int64_t i = 0; i < n; i++) room[i] = dsv4_bf16_to_f32(dsv4_bf16_from_f32(numbers[i]));
    return room;
}

void quant_trace_group(const struct dsv4_case *c, size_t slot, int64_t row, int64_t first,
                       int64_t n, char *line, size_t size) {
    const dsv4_tensor *const t = &c->tensors[slot].t;
    float amax = -1.0f, room;
    int64_t at = first;
    for (int64_t i = first; i < first + n; i++) {
        const float x = *quant_load(&room, t, row, i, 1, QUANT_RIGHT);
        if (fabsf(x) > amax) at = i;
        amax = fabsf(x) > amax ? fabsf(x) : amax;
    }
    snprintf(line, size, "%s[%lld, %lld..%lld]: amax %.9g (0x%08x) at column %lld", t->name,
             (long long)row, (long long)first, (long long)(first + n - 1), (double)amax,
             dsv4_bits(amax), (long long)at);
}

/* ---- scales ---- */

static const char *const layouts[] = {"bytes", "f32_row", "f32_mn", "packed"};

enum quant_layout quant_layout_of(const dsv4_call *call) {
    int layout = 0;
    while (!dsv4_is(call, "scale_layout", layouts[layout])) layout++;
    return (enum quant_layout)layout;
}

void quant_shape_scales(struct dsv4_case *c, size_t slot, int64_t rows, int64_t groups) {
    const int64_t padded = quant_ceil(rows, QUANT_MN_ALIGN) * QUANT_MN_ALIGN;
    if (dsv4_case_is(c, "scale_layout", "bytes"))
        DSV4_SHAPE(c, slot, DSV4_E8M0, rows, groups);
    else if (dsv4_case_is(c, "scale_layout", "f32_row"))
        DSV4_SHAPE(c, slot, DSV4_F32, rows, groups);
    else if (dsv4_case_is(c, "scale_layout", "f32_mn"))
        DSV4_SHAPE(c, slot, DSV4_F32, groups, padded);
    else
        DSV4_SHAPE(c, slot, DSV4_I32, quant_ceil(groups, 4), padded);
    if (!dsv4_case_is(c, "view", "dense")) dsv4_widen(c, slot, 0, 16);
    if (c->tensors[slot].t.dtype == DSV4_E8M0) c->tensors[slot].align = 1;
}

/* The fp32 number of a scale: its exponent field is the byte, so that byte 0 is 0. */
static float number_of(const struct quant_scale *scale, enum quant_wrong wrong) {
    return wrong == QUANT_SCALE_UNROUNDED ? scale->unrounded : dsv4_from_bits(scale->byte << 23);
}

static char *place_of(const struct quant_scales *scales, int64_t row, int64_t group) {
    const enum quant_wrong wrong = scales->wrong;
    const int64_t padded = quant_ceil(scales->rows, QUANT_MN_ALIGN) * QUANT_MN_ALIGN;
    const int64_t words = quant_ceil(scales->groups, 4);
    const int64_t byte = wrong == QUANT_BIG_ENDIAN ? 3 - group % 4 : group % 4;
    const int64_t stride = wrong == QUANT_SCALES_UNPADDED ? scales->rows * 4 : scales->stride;
    if (wrong == QUANT_SCALES_TRANSPOSED) {
        /* The same elements, the other way round. */
        const int64_t width = scales->layout == QUANT_PACKED ? words : scales->groups;
        const int64_t at = scales->layout <= QUANT_F32_ROW
                               ? group * scales->rows + row
                               : row * width + (scales->layout == QUANT_PACKED ? group / 4 : group);
        const int64_t inner = scales->layout <= QUANT_F32_ROW ? scales->groups : padded;
        const int64_t bytes = scales->layout == QUANT_BYTES ? 1 : 4;
        return scales->data + at / inner * scales->stride + at % inner * bytes +
               (scales->layout == QUANT_PACKED ? byte : 0);
    }
    switch (scales->layout) {
    case QUANT_BYTES: return scales->data + row * scales->stride + group;
    case QUANT_F32_ROW: return scales->data + row * scales->stride + 4 * group;
    case QUANT_F32_MN: return scales->data + group * stride + 4 * row;
    default: return scales->data + group / 4 * stride + 4 * row + byte;
    }
}

static void put_scale(const struct quant_scales *scales, int64_t row, int64_t group,
                      const struct quant_scale *scale) {
    const float number = number_of(scale, scales->wrong);
    char *const to = place_of(scales, row, group);
    if (scales->layout == QUANT_BYTES || scales->layout == QUANT_PACKED)
        *(uint8_t *)to = (uint8_t)scale->byte;
    else
        memcpy(to, &number, sizeof number);
    if (scales->layout != QUANT_PACKED || group != scales->groups - 1) return;
    for (int64_t g = scales->groups; g % 4 != 0 && scales->wrong != QUANT_PAD_BYTES; g++)
        *(uint8_t *)place_of(scales, row, g) = 0;
}

void quant_put_scales(const struct quant_scales *scales, int64_t row, int64_t first,
                      const struct quant_scale *of, int64_t n) {
    for (int64_t g = 0; g < n; g++) put_scale(scales, row, first + g, &of[g]);
}

void quant_put_rows(const struct quant_scales *scales, int64_t row, int64_t rows,
                    const struct quant_scale *of) {
    for (int64_t g = 0; g < scales->groups; g++)
        for (int64_t r = 0; r < rows; r++)
            put_scale(scales, row + r, g, &of[r * scales->groups + g]);
}

void quant_pad_scales(const struct quant_scales *scales) {
    const int64_t padded = quant_ceil(scales->rows, QUANT_MN_ALIGN) * QUANT_MN_ALIGN;
    const bool packed = scales->layout == QUANT_PACKED;
    const bool pads = scales->pads_rows != (scales->wrong == QUANT_PAD_ROWS);
    if (scales->layout < QUANT_F32_MN || !pads) return;
    for (int64_t i = 0; i < (packed ? quant_ceil(scales->groups, 4) : scales->groups); i++)
        memset(scales->data + i * scales->stride + 4 * scales->rows, 0,
               (size_t)(4 * (padded - scales->rows)));
}

void quant_case_scale_at(const struct dsv4_case *c, size_t slot, int64_t offset, int64_t *row,
                         int64_t *group) {
    const int64_t stride = c->tensors[slot].t.stride[0];
    const int64_t outer = offset / stride, inner = offset % stride;
    const bool bytes = dsv4_case_is(c, "scale_layout", "bytes");
    const bool by_row = bytes || dsv4_case_is(c, "scale_layout", "f32_row");
    const bool packed = dsv4_case_is(c, "scale_layout", "packed");
    *row = by_row ? outer : inner / 4;
    *group = by_row ? inner / (bytes ? 1 : 4) : packed ? outer * 4 + inner % 4 : outer;
}
