/* SPDX-License-Identifier: Apache-2.0 */
/*
 * RMSNorm of one bf16 row.
 *
 * 64 strided partials, partial l = fma(x, x, partial) over x[l], x[l + 64], ...; halving tree 32, 16, ..., 1;
 * mean = fl(sum / n); r = rsqrt(fl(mean + eps)), correctly rounded; y = bf16(fl(fl(x * r) * weight)).
 *
 * Latitude: the order of the sum and an approximate rsqrt are what shipping kernels do; each moves r by some units of
 * its last place, and thereby the bf16 result by one unit at times.
 */
#include "../num/row.h"

#include <stdio.h>

#include "../num/rsqrt.h"
#include "norm_family.h"

enum { STREAM_WEIGHT = 40 };

/* Wrong on purpose. */
static float sum_wrong(const float *x, int64_t n, int width) {
    float partials[DSV4_ROW_PARTIALS] = {0};
    for (int64_t i = 0; i < n; i++) partials[i % width] = fmaf(x[i], x[i], partials[i % width]);
    return dsv4_row_tree(partials);
}

static float sum_of(const float *x, int64_t n, enum norm_wrong wrong) {
    if (wrong == NORM_IN_ORDER) return sum_wrong(x, n, 1);
    if (wrong == NORM_THIRTY_TWO) return sum_wrong(x, n, 32);
    if (wrong == NORM_TAIL_LOST) n -= n % DSV4_ROW_PARTIALS;
    return dsv4_row_squares(x, n);
}

bool norm_skips(const float *x, int64_t n, enum norm_wrong wrong) {
    int64_t zeros = 0;
    while (wrong == NORM_ZEROS_SKIPPED && zeros < n && x[zeros] == 0.0f) zeros++;
    return wrong == NORM_ZEROS_SKIPPED && zeros == n;
}

float norm_factor(const float *x, int64_t n, float eps, enum norm_wrong wrong) {
    const float sum = sum_of(x, n, wrong);
    int64_t count = n;
    if (wrong == NORM_MEAN_OF_POW2)
        for (count = 1; count < n;) count *= 2;
    const float mean = wrong == NORM_MEAN_LOST ? sum : sum / (float)count;
    if (wrong == NORM_EPS_OUTSIDE) return 1.0f / (sqrtf(mean) + eps);
    return dsv4_rsqrt(mean + (wrong == NORM_EPS_LOST ? 0.0f : eps));
}

static void scale_wrong(uint16_t *out, const float *x, int64_t n, float r, const float *weight,
                        enum norm_wrong wrong) {
    for (int64_t i = 0; i < n; i++) {
        float y = x[i] * r;
        if (wrong == NORM_ROUNDED_FIRST) y = dsv4_bf16_to_f32(dsv4_bf16_from_f32(y));
        if (weight != NULL && wrong == NORM_WEIGHT_FIRST)
            y = x[i] * (r * weight[i]);
        else if (weight != NULL && wrong == NORM_WEIGHT_PLUS_ONE)
            y = y * (1.0f + weight[i]);
        else if (weight != NULL && wrong != NORM_WEIGHT_LOST)
            y = y * weight[i];
        out[i] = wrong == NORM_TRUNCATED ? (uint16_t)(dsv4_bits(y) >> 16) : dsv4_bf16_from_f32(y);
    }
}

static void row_wrong(uint16_t *out, const uint16_t *x, int64_t n, float eps, const float *weight,
                      enum norm_wrong wrong) {
    float values[NORM_MAX_WIDTH];
    values[0] = 0.0f; /* for compilers that do not see that n > 0 */
    kv_load_bf16(values, x, (int)n);
    if (norm_skips(values, n, wrong)) return;
    scale_wrong(out, values, n, norm_factor(values, n, eps, wrong), weight, wrong);
}

void norm_row(uint16_t *out, const uint16_t *x, int64_t n, float eps, const float *weight,
              enum norm_wrong wrong) {
    if (wrong != NORM_RIGHT) {
        row_wrong(out, x, n, eps, weight, wrong);
        return;
    }
    const float r = dsv4_rsqrt(dsv4_row_squares_bf16(x, n) / (float)n + eps);
    if (weight == NULL) {
#pragma omp simd
        for (int64_t i = 0; i < n; i++) out[i] = dsv4_bf16_from_f32(dsv4_bf16_to_f32(x[i]) * r);
    } else {
#pragma omp simd
        for (int64_t i = 0; i < n; i++)
            out[i] = dsv4_bf16_from_f32(dsv4_bf16_to_f32(x[i]) * r * weight[i]);
    }
}

/* ---- inputs ---- */

static void draw_dominant(const struct dsv4_case *c, uint16_t *to, float *x, int64_t width,
                          uint64_t stream, int64_t row) {
    for (int64_t i = 0; i < width; i++) {
        const uint64_t bits = dsv4_random(c->seed, stream, (uint64_t)row << 16 | (uint64_t)i);
        const float magnitude = i < DSV4_ROW_PARTIALS
                                    ? 4096.0f + 32.0f * (float)dsv4_below(bits, 48)
                                    : 1.05f + (float)(bits >> 40) * 0x1.3p-26f;
        to[i] = dsv4_bf16_from_f32(bits & 1 ? -magnitude : magnitude);
        x[i] = dsv4_bf16_to_f32(to[i]);
    }
}

/* Whether a sum with 32 partials shows in the row's bf16 values. */
static bool shows_order(const float *x, int64_t width) {
    const float r = norm_factor(x, width, 1e-6f, NORM_RIGHT);
    const float other = norm_factor(x, width, 1e-6f, NORM_THIRTY_TWO);
    for (int64_t i = 0; r != other && i < width; i++)
        if (dsv4_bf16_from_f32(x[i] * r) != dsv4_bf16_from_f32(x[i] * other)) return true;
    return false;
}

static void dominant(const struct dsv4_case *c, uint16_t *to, int64_t width, uint64_t stream,
                     int64_t row) {
    float x[NORM_MAX_WIDTH];
    for (uint64_t i = 0; i < 8192; i++) {
        draw_dominant(c, to, x, width, stream + i * 1000, row);
        if (shows_order(x, width)) return;
    }
}

static uint16_t odd(uint64_t bits, int64_t row, int64_t i) {
    if (i == 5 && row % 4 % 2 == 0) return bits & 1 ? 0xFFC1 : 0x7FC0;
    if (i == 7 && row % 4 >= 1 && row % 4 <= 2) return bits & 1 ? 0xFF80 : 0x7F80;
    return dsv4_bf16_from_f32((float)((int)(bits >> 40 & 127) - 64) / 16.0f);
}

void *norm_row_at(const dsv4_tensor *t, int64_t row) {
    char *at = t->data;
    for (int d = t->ndim - 2; d >= 0; d--) {
        at += row % t->shape[d] * t->stride[d];
        row /= t->shape[d];
    }
    return at;
}

void norm_fill(const struct dsv4_case *c, size_t slot, const char *recipe, uint64_t stream) {
    const dsv4_tensor *const t = &c->tensors[slot].t;
    const int64_t width = t->shape[t->ndim - 1];
    int64_t rows = 1;
    for (int d = 0; d + 1 < t->ndim; d++) rows *= t->shape[d];
    if (recipe[0] != 'd' && recipe[0] != 'o') {
        dsv4_fill_bf16(c, slot, recipe, stream, 64);
        return;
    }
#pragma omp parallel for schedule(static)
    for (int64_t row = 0; row < rows; row++) {
        uint16_t *const to = norm_row_at(t, row);
        if (recipe[0] == 'd') dominant(c, to, width, stream, row);
        for (int64_t i = 0; recipe[0] == 'o' && i < width; i++)
            to[i] = odd(dsv4_random(c->seed, stream, (uint64_t)row << 16 | (uint64_t)i), row, i);
    }
}

void norm_shape_weight(struct dsv4_case *c, size_t slot, int64_t width) {
    DSV4_SHAPE(c, slot, dsv4_case_is(c, "weight_dtype", "f32") ? DSV4_F32 : DSV4_BF16, width);
}

/* A weight near 1 with which x * r, times it, is a tie of bf16 or next to one, so that the order of the products shows.
 */
static float boundary(float x, float r, uint64_t bits) {
    for (int k = 0; k < 512; k++) {
        const float tie = 1.0f + (float)(2 * (int)((bits + (uint64_t)k) % 64) + 1) * 0x1p-8f;
        const float near = tie / (x * r);
        const float w = dsv4_from_bits(dsv4_bits(near) + (uint32_t)(k / 64 % 8) - 4u);
        if (dsv4_bf16_from_f32(x * r * w) != dsv4_bf16_from_f32(x * (r * w))) return w;
    }
    return 1.0f;
}

static void fill_boundary(const struct dsv4_case *c, size_t slot, size_t from, uint64_t stream) {
    const dsv4_tensor *const t = &c->tensors[slot].t, *const x = &c->tensors[from].t;
    float values[NORM_MAX_WIDTH];
    if (x->shape[0] == 0) return;
    kv_load_bf16(values, norm_row_at(x, 0), (int)t->shape[0]);
    const float r = norm_factor(values, t->shape[0], dsv4_case_float(c, "eps"), NORM_RIGHT);
    for (int64_t i = 0; i < t->shape[0]; i++) {
        const uint64_t bits = dsv4_random(c->seed, STREAM_WEIGHT + stream, (uint64_t)i);
        const float w = values[i] != 0.0f ? boundary(values[i], r, bits >> 8) : 1.0f;
        if (t->dtype == DSV4_F32)
            ((float *)t->data)[i] = w;
        else
            ((uint16_t *)t->data)[i] = dsv4_bf16_from_f32(w);
    }
}

void norm_fill_weight(const struct dsv4_case *c, size_t slot, size_t x, uint64_t stream) {
    const dsv4_tensor *const t = &c->tensors[slot].t;
    const char *const recipe = dsv4_case_word(c, "weights");
    if (recipe[0] == 'b') {
        fill_boundary(c, slot, x, stream);
        return;
    }
    for (int64_t i = 0; i < t->shape[0]; i++) {
        const float w = dsv4_weight(recipe, c->seed, STREAM_WEIGHT + stream, i, 64);
        if (t->dtype == DSV4_F32)
            ((float *)t->data)[i] = recipe[0] == 'o' ? w : w * 0x1.0c1524p+0f; /* all 24 bits */
        else
            ((uint16_t *)t->data)[i] = dsv4_bf16_from_f32(w);
    }
}

void norm_align(struct dsv4_case *c, size_t slot) {
    struct dsv4_case_tensor *const t = &c->tensors[slot];
    t->align = 16;
    for (int d = 0; d + 1 < t->t.ndim; d++)
        if (t->t.stride[d] % 16 != 0) t->align = dsv4_dtype_bytes(t->t.dtype);
}

void norm_trace(const struct dsv4_case *c, size_t from, size_t slot, int64_t offset, char *line,
                size_t size) {
    const dsv4_tensor *const x = &c->tensors[from].t, *const y = &c->tensors[slot].t;
    int64_t row = 0;
    for (int d = 0; d + 1 < y->ndim; d++) {
        row = row * y->shape[d] + offset / y->stride[d];
        offset %= y->stride[d];
    }
    const int64_t i = offset / dsv4_dtype_bytes(y->dtype);
    const uint16_t code = ((const uint16_t *)norm_row_at(x, row))[i];
    snprintf(line, size, "row %lld, channel %lld: %s = %.9g (0x%04X)", (long long)row, (long long)i,
             x->name, (double)dsv4_bf16_to_f32(code), code);
}
