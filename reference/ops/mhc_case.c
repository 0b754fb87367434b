/* SPDX-License-Identifier: Apache-2.0 */
/* Shapes and inputs of the hyper-connection ops. */
#include <stdio.h>

#include "mhc_family.h"

/* Makes a draw use all 24 bits. */
static const float FULL_SIGNIFICAND = 0x1.0c1524p+0f;

static float pow2(int e) { return dsv4_from_bits((uint32_t)(e + 127) << 23); }

enum mhc_wrong mhc_wrong_of(const struct dsv4_op *op, int mutant) {
    return mutant > 0 ? (enum mhc_wrong)op->mutants[mutant - 1].id : MHC_RIGHT;
}

int mhc_check(const struct dsv4_case *c, int64_t width, struct dsv4_err *err) {
    const int64_t hidden = dsv4_case_int(c, "hidden");
    if (hidden % 8 != 0) return dsv4_fail(err, "hidden: %lld; a multiple of 8", (long long)hidden);
    if (width == 0) return 0;
    const int64_t splits = dsv4_case_int(c, "splits");
    if (width % (8 * splits) != 0)
        return dsv4_fail(err, "splits: %lld do not cut %lld into multiples of 8", (long long)splits,
                         (long long)width);
    return 0;
}

static int64_t rows_of(const struct dsv4_case *c) {
    return dsv4_case_int(c, "tokens") + dsv4_case_int(c, "spare");
}

static void widen(struct dsv4_case *c, size_t slot, int dim, int64_t bytes) {
    if (dsv4_case_is(c, "view", "wide")) dsv4_widen(c, slot, dim, bytes);
}

void mhc_shape_rows(struct dsv4_case *c, size_t slot) {
    DSV4_SHAPE(c, slot, DSV4_BF16, rows_of(c), dsv4_case_int(c, "hidden"));
    widen(c, slot, 0, 48);
}

void mhc_shape_streams(struct dsv4_case *c, size_t slot) {
    DSV4_SHAPE(c, slot, DSV4_BF16, rows_of(c), MHC_STREAMS, dsv4_case_int(c, "hidden"));
    widen(c, slot, 1, 32);
    widen(c, slot, 0, 64);
}

void mhc_shape_raw(struct dsv4_case *c, size_t mixes, size_t squares) {
    const int64_t splits = dsv4_case_int(c, "splits");
    DSV4_SHAPE(c, mixes, DSV4_F32, splits, rows_of(c), MHC_MIXES);
    widen(c, mixes, 1, 32);
    DSV4_SHAPE(c, squares, DSV4_F32, splits, rows_of(c));
    widen(c, squares, 0, 12);
    c->tensors[squares].align = 4;
}

void mhc_shape_pre(struct dsv4_case *c, size_t pre) {
    DSV4_SHAPE(c, pre, DSV4_F32, rows_of(c), MHC_STREAMS);
    widen(c, pre, 0, 16);
}

void mhc_shape_mixes(struct dsv4_case *c, size_t post, size_t comb) {
    DSV4_SHAPE(c, post, DSV4_F32, rows_of(c), MHC_STREAMS, 1);
    widen(c, post, 0, 16);
    DSV4_SHAPE(c, comb, DSV4_F32, rows_of(c), MHC_STREAMS, MHC_STREAMS);
    widen(c, comb, 0, 32);
}

void mhc_shape_weights(struct dsv4_case *c, size_t scale, size_t base, int64_t outputs) {
    DSV4_SHAPE(c, scale, DSV4_F32, outputs == MHC_MIXES ? 3 : 1);
    DSV4_SHAPE(c, base, DSV4_F32, outputs);
    c->tensors[scale].align = c->tensors[base].align = 4;
}

void mhc_shape_fn(struct dsv4_case *c, size_t fn, int64_t outputs, int64_t width) {
    DSV4_SHAPE(c, fn, DSV4_F32, outputs, width);
    widen(c, fn, 0, 32);
}

void mhc_shape_norm(struct dsv4_case *c, size_t weight) {
    DSV4_SHAPE(c, weight, DSV4_BF16, dsv4_case_int(c, "hidden"));
    if (dsv4_case_is(c, "norm", "none")) dsv4_absent(c, weight);
}

/* ---- inputs ---- */

/* The word's first letter; `cancel` is 'a'. */
static char recipe_of(const struct dsv4_case *c) {
    return dsv4_case_is(c, "values", "cancel") ? 'a' : dsv4_case_word(c, "values")[0];
}

static float value_of(char recipe, uint64_t bits, int64_t row) {
    switch (recipe) {
    case 'c': return (float)((int)(bits >> 40 & 127) - 64) / 16.0f;
    case 'z': return bits >> 63 != 0 ? -0.0f : 0.0f;
    case 'r': return dsv4_normal(bits) * pow2((int)(row * 5 % 21) - 10);
    case 't': return dsv4_normal(bits) * 0x1p-12f;
    default: return dsv4_normal(bits);
    }
}

void mhc_fill_bf16(const struct dsv4_case *c, size_t slot, uint64_t stream) {
    const dsv4_tensor *const t = &c->tensors[slot].t;
    const int64_t streams = t->ndim == 3 ? MHC_STREAMS : 1, hidden = t->shape[t->ndim - 1];
    const int64_t tokens = dsv4_case_int(c, "tokens");
    const char recipe = recipe_of(c);
#pragma omp parallel for schedule(static)
    for (int64_t row = 0; row < t->shape[0] * streams; row++) {
        const int64_t token = row / streams;
        uint16_t *const to = (void *)mhc_at(t, token, row % streams, MHC_RIGHT);
        /* cancel: a stream of odd number is the one before, negative. */
        const bool negative = recipe == 'a' && row % 2 == 1;
        const int64_t from = negative ? row - 1 : row;
        for (int64_t h = 0; h < hidden; h++) {
            const uint64_t bits = dsv4_random(c->seed, stream, (uint64_t)from << 16 | (uint64_t)h);
            const float x = value_of(recipe, bits, token);
            to[h] = token < tokens ? dsv4_bf16_from_f32(negative ? -x : x) : 0x7FC0;
        }
    }
}

/* Sums over `width` terms of about N(0, 1) become about N(0, 1). */
static float fn_unit(int64_t width) {
    int e = 0;
    while (INT64_C(1) << (2 * e) < width) e++;
    return FULL_SIGNIFICAND * pow2(-e);
}

static float normal(const struct dsv4_case *c, uint64_t stream, int64_t i) {
    return dsv4_normal(dsv4_random(c->seed, stream, (uint64_t)i));
}

/* Halfway between two TF32 values, the even one below. */
static float tie_of_tf32(float x) {
    return dsv4_from_bits((dsv4_bits(x) & ~UINT32_C(0x3FFF)) | UINT32_C(0x1000));
}

void mhc_fill_fn(const struct dsv4_case *c, size_t slot) {
    const dsv4_tensor *const fn = &c->tensors[slot].t;
    const float unit = fn_unit(fn->shape[1]);
    const bool few = dsv4_case_is(c, "fn_values", "few");
#pragma omp parallel for schedule(static)
    for (int64_t o = 0; o < fn->shape[0]; o++) {
        float *const row = (void *)((char *)fn->data + o * fn->stride[0]);
        for (int64_t k = 0; k < fn->shape[1]; k++) {
            const int64_t id = o << 20 | k;
            const int64_t which =
                dsv4_below(dsv4_random(c->seed, 9, (uint64_t)(o << 6 | k % 37)), 8);
            row[k] = unit * normal(c, MHC_STREAM_FN, few ? which : id);
            if (few && which < 2) row[k] = tie_of_tf32(row[k]);
        }
    }
}

void mhc_fill_weights(const struct dsv4_case *c, size_t scale, size_t base) {
    const bool sharp = dsv4_case_is(c, "base", "sharp");
    const float offset = dsv4_case_is(c, "base", "large") ? 100.0f : 0.0f;
    float *const s = c->tensors[scale].t.data, *const b = c->tensors[base].t.data;
    for (int64_t i = 0; i < c->tensors[scale].t.shape[0]; i++)
        s[i] = 1.0f + 0.3f * normal(c, MHC_STREAM_WEIGHT, i);
    for (int64_t i = 0; i < c->tensors[base].t.shape[0]; i++) {
        const float spread = i < 8 ? 1.0f : sharp ? 30.0f : 2.0f;
        const int64_t which = recipe_of(c) == 'a' && i < 4 ? 0 : i;
        b[i] = FULL_SIGNIFICAND * spread * normal(c, MHC_STREAM_WEIGHT, 100 + which);
        if (i >= 8) b[i] += offset;
    }
}

void mhc_fill_norm(const struct dsv4_case *c, size_t weight) {
    const dsv4_tensor *const w = &c->tensors[weight].t;
    for (int64_t h = 0; w->ndim > 0 && h < w->shape[0]; h++)
        ((uint16_t *)w->data)[h] =
            dsv4_bf16_from_f32(1.0f + 0.25f * normal(c, MHC_STREAM_WEIGHT, 1000 + h));
}

/* Asymmetric, and of both signs: a sinkhorn's result would hide a transposition. */
void mhc_fill_mixes(const struct dsv4_case *c, size_t pre, size_t post, size_t comb) {
    const size_t slots[] = {pre, post, comb};
    for (size_t s = 0; s < 3; s++) {
        if (slots[s] == MHC_NO_SLOT) continue;
        const dsv4_tensor *const t = &c->tensors[slots[s]].t;
        const int64_t n = s == 2 ? MHC_STREAMS * MHC_STREAMS : MHC_STREAMS;
        for (int64_t row = 0; row < t->shape[0]; row++)
            for (int64_t i = 0; i < n; i++) {
                const int64_t which = s == 0 && recipe_of(c) == 'a' ? 0 : i;
                const float x = normal(c, MHC_STREAM_SMALL + 10 * (s + 1), row << 4 | which);
                const bool padding = row >= dsv4_case_int(c, "tokens");
                ((float *)(void *)((char *)t->data + row * t->stride[0]))[i] =
                    padding ? dsv4_from_bits(DSV4_NAN_BITS) : FULL_SIGNIFICAND * x;
            }
    }
}

void mhc_fill_raw(const struct dsv4_case *c, size_t mixes, size_t squares) {
    const dsv4_tensor *const m = &c->tensors[mixes].t, *const q = &c->tensors[squares].t;
    const int64_t splits = m->shape[0], rows = m->shape[1];
    const float part = 4.0f * (float)dsv4_case_int(c, "hidden") / (float)splits;
    const char recipe = recipe_of(c);
    const float size = recipe == 'z' ? 0.0f : recipe == 't' ? 0x1p-12f : 1.0f;
    for (int64_t s = 0; s < splits; s++)
        for (int64_t t = 0; t < rows; t++) {
            const int64_t id = (s << 24 | t) << 5;
            float *const to = (void *)((char *)m->data + s * m->stride[0] + t * m->stride[1]);
            float *const sum = (void *)((char *)q->data + s * q->stride[0] + t * q->stride[1]);
            for (int64_t o = 0; o < MHC_MIXES; o++)
                to[o] = FULL_SIGNIFICAND * size *
                        normal(c, MHC_STREAM_SMALL, id + (recipe == 'a' && o < 4 ? 0 : o));
            const float u = normal(c, MHC_STREAM_SMALL, id + 31);
            *sum = part * size * size * (1.0f + u * u * FULL_SIGNIFICAND);
            if (t < dsv4_case_int(c, "tokens")) continue;
            for (int64_t o = 0; o < MHC_MIXES; o++) to[o] = dsv4_from_bits(DSV4_NAN_BITS);
            *sum = dsv4_from_bits(DSV4_NAN_BITS);
        }
}

/* ---- calls ---- */

int64_t mhc_tokens(const dsv4_call *call, const dsv4_tensor *rows, enum mhc_wrong wrong) {
    return wrong == MHC_PADDING_WRITTEN ? rows->shape[0] : dsv4_int(call, "tokens", 0);
}

char *mhc_at(const dsv4_tensor *tensor, int64_t t, int64_t j, enum mhc_wrong wrong) {
    const int64_t stream = tensor->shape[tensor->ndim - 1] * dsv4_dtype_bytes(tensor->dtype);
    const int64_t row = tensor->ndim == 3 ? stream * tensor->shape[1] : stream;
    const int64_t row_stride = wrong == MHC_ROWS_DENSE ? row : tensor->stride[0];
    const int64_t stream_stride = wrong == MHC_STREAM_DENSE ? stream
                                  : tensor->ndim == 3       ? tensor->stride[1]
                                                            : 0;
    return (char *)tensor->data + t * row_stride + j * stream_stride;
}

void mhc_trace(const struct dsv4_case *c, size_t slot, int64_t offset, char *line, size_t size) {
    const dsv4_tensor *const t = &c->tensors[slot].t;
    const int64_t last = t->ndim - 1, item = dsv4_dtype_bytes(t->dtype);
    int64_t index[DSV4_MAX_DIMS] = {0};
    for (int d = 0; d < last; d++) {
        index[d] = offset / t->stride[d];
        offset %= t->stride[d];
    }
    index[last] = offset / item;
    if (t->ndim == 3)
        snprintf(line, size, "row %lld: %s [%lld, %lld]", (long long)index[0], t->name,
                 (long long)index[1], (long long)index[2]);
    else
        snprintf(line, size, "row %lld: %s [%lld]", (long long)index[0], t->name,
                 (long long)index[last]);
}

double mhc_row_bytes(const struct dsv4_case *c) {
    return 2.0 * (double)dsv4_case_int(c, "tokens") * (double)dsv4_case_int(c, "hidden");
}
