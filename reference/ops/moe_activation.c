/* SPDX-License-Identifier: Apache-2.0 */
/* SwiGLU with a clamp: inputs, and the rows in fp32. */
#include "moe_activation.h"

#include <math.h>
#include <pthread.h>
#include <stdio.h>

#include "../num/bf16.h"
#include "../num/exp.h"

void moe_activation_shape(struct dsv4_case *c) {
    const int64_t rows = dsv4_case_int(c, "rows"), width = dsv4_case_int(c, "width");
    DSV4_SHAPE(c, MOE_GATE_UP, DSV4_BF16, rows, 2 * width);
    DSV4_SHAPE(c, MOE_ROW_WEIGHTS, DSV4_F32, rows);
    DSV4_SHAPE(c, MOE_N_ROWS, DSV4_I32, 1);
    if (dsv4_case_is(c, "view", "wide")) dsv4_widen(c, MOE_GATE_UP, 0, 48);
    c->tensors[MOE_GATE_UP].align = width % 8 == 0 ? 16 : 2;
    c->tensors[MOE_ROW_WEIGHTS].align = c->tensors[MOE_N_ROWS].align = 4;
    if (dsv4_case_int(c, "weighted") == 0) dsv4_absent(c, MOE_ROW_WEIGHTS);
    if (dsv4_case_int(c, "in_use") < 0) dsv4_absent(c, MOE_N_ROWS);
}

static float value_of(char recipe, uint64_t bits, int64_t i) {
    static const float limits[] = {10.0f,    -10.0f,    9.9375f,  10.0625f,
                                   -9.9375f, -10.0625f, 7.03125f, 0.0f};
    const float sign = bits >> 63 != 0 ? -1.0f : 1.0f;
    switch (recipe) {
    case 'c': return (float)(dsv4_below(bits, 128) - 64) * 0.25f;
    case 'z': return sign * 0.0f;
    case 'l': return limits[bits & 7];
    case 'h': return sign * dsv4_from_bits(0x7F7F0000u - ((uint32_t)(i % 97 * 5) << 16));
    case 't': return sign * dsv4_from_bits((uint32_t)dsv4_below(bits, 0x3000) << 16);
    default: return dsv4_normal(bits) * 6.0f;
    }
}

void moe_activation_fill(struct dsv4_case *c) {
    const dsv4_tensor *const x = &c->tensors[MOE_GATE_UP].t;
    const dsv4_tensor *const weights = &c->tensors[MOE_ROW_WEIGHTS].t;
    const char recipe = dsv4_case_word(c, "values")[0];
#pragma omp parallel for schedule(static)
    for (int64_t t = 0; t < x->shape[0]; t++) {
        uint16_t *const row = (void *)((char *)x->data + t * x->stride[0]);
        for (int64_t i = 0; i < x->shape[1]; i++) {
            const uint64_t bits = dsv4_random(c->seed, 1, (uint64_t)t << 17 | (uint64_t)i);
            row[i] = dsv4_bf16_from_f32(value_of(recipe, bits, i));
        }
        if (weights->ndim > 0)
            ((float *)weights->data)[t] =
                (float)(1 + (dsv4_random(c->seed, 2, (uint64_t)t) >> 40)) * 0x1p-23f;
    }
    if (c->tensors[MOE_N_ROWS].t.ndim > 0)
        ((int32_t *)c->tensors[MOE_N_ROWS].t.data)[0] = (int32_t)dsv4_case_int(c, "in_use");
}

enum moe_activation_wrong moe_activation_wrong_of(const struct dsv4_op *op, int mutant) {
    return mutant > 0 ? (enum moe_activation_wrong)op->mutants[mutant - 1].id : MOE_ACT_RIGHT;
}

/* silu of every bf16 number: a gate is one of 65,536, so exp and the division are done once for each. */
static float silus[1 << 16];
static pthread_once_t silus_filled = PTHREAD_ONCE_INIT;

static float silu_of(float gate) { return gate / (1.0f + dsv4_exp(-gate)); }

static void fill_silus(void) {
#pragma omp simd
    for (int code = 0; code < 1 << 16; code++)
        silus[code] = silu_of(dsv4_bf16_to_f32((uint16_t)code));
}

static float bf16(float x) { return dsv4_bf16_to_f32(dsv4_bf16_from_f32(x)); }

void moe_activation_open(struct moe_activation *activation, const dsv4_call *call,
                         bool silu_rounded, bool limit_rounded, enum moe_activation_wrong wrong) {
    const dsv4_tensor *const x = &call->tensors[MOE_GATE_UP];
    const dsv4_tensor *const weights = &call->tensors[MOE_ROW_WEIGHTS];
    const dsv4_tensor *const n_rows = &call->tensors[MOE_N_ROWS];
    const float limit = dsv4_float(call, "limit", 10.0f);
    activation->x = x;
    activation->weights = weights->ndim == 0 || wrong == MOE_ACT_WEIGHT_LOST ? NULL : weights->data;
    activation->width = x->shape[1] / 2;
    activation->rows = x->shape[0];
    if (n_rows->ndim > 0 && wrong != MOE_ACT_ALL_ROWS) {
        const int32_t in_use = *(const int32_t *)n_rows->data;
        activation->rows = in_use < activation->rows ? in_use : activation->rows;
    }
    activation->limited = limit > 0.0f || wrong == MOE_ACT_ZERO_CLAMPS;
    if (wrong == MOE_ACT_CLAMP_LOST) activation->limited = false;
    activation->limit = limit_rounded && wrong != MOE_ACT_LIMIT_UNROUNDED ? bf16(limit) : limit;
    activation->silu_of_limit = silu_of(activation->limit);
    activation->silu_rounded =
        (silu_rounded && wrong != MOE_ACT_ROUNDED_ONCE) || wrong == MOE_ACT_ROUNDED_TWICE;
    activation->wrong = wrong;
    pthread_once(&silus_filled, fill_silus);
}

/* What gates outside of the limits become. The comparisons are such that NaN stays and loops vectorise. */
static inline void clamp_gates(const struct moe_activation *activation, float *silu,
                               const float *gate, int n) {
    const float most = activation->limit, of_most = activation->silu_of_limit;
    if (activation->wrong == MOE_ACT_GATE_BELOW)
        for (int i = 0; i < n; i++) silu[i] = gate[i] < -most ? silu_of(-most) : silu[i];
    if (activation->wrong == MOE_ACT_CLAMP_AFTER)
        for (int i = 0; i < n; i++) silu[i] = silu[i] > most ? most : silu[i];
    else
#pragma omp simd
        for (int i = 0; i < n; i++) silu[i] = gate[i] > most ? of_most : silu[i];
}

static inline void clamp_up(const struct moe_activation *activation, float *up, int n) {
    const float most = activation->limit;
    const float least = activation->wrong == MOE_ACT_UP_ONE_SIDED ? -INFINITY : -most;
#pragma omp simd
    for (int i = 0; i < n; i++) {
        up[i] = up[i] > most ? most : up[i];
        up[i] = up[i] < least ? least : up[i];
    }
}

/* n columns, where gates and ups are `step` apart. */
static inline void activate(const struct moe_activation *activation, float *out, const uint16_t *g,
                            const uint16_t *u, int step, float weight, int n) {
    float gate[128], up[128], silu[128];
    for (int i = 0; i < n; i++) gate[i] = dsv4_bf16_to_f32(g[i * step]);
    for (int i = 0; i < n; i++) up[i] = dsv4_bf16_to_f32(u[i * step]);
    for (int i = 0; i < n; i++) silu[i] = silus[g[i * step]];
    if (activation->limited) {
        clamp_gates(activation, silu, gate, n);
        clamp_up(activation, up, n);
    }
    if (activation->silu_rounded)
#pragma omp simd
        for (int i = 0; i < n; i++) silu[i] = dsv4_bf16_to_f32(dsv4_bf16_from_f32(silu[i]));
    for (int i = 0; i < n; i++) out[i] = silu[i] * up[i] * weight;
}

void moe_activate(const struct moe_activation *activation, float *out, int64_t row, int64_t first,
                  int n) {
    const int64_t width = activation->width;
    const int64_t stride =
        activation->wrong == MOE_ACT_ROW_DENSE ? 4 * width : activation->x->stride[0];
    const uint16_t *const x = (const void *)((const char *)activation->x->data + row * stride);
    const bool swapped = activation->wrong == MOE_ACT_HALVES_SWAPPED;
    const bool weighted = activation->weights != NULL && activation->wrong != MOE_ACT_WEIGHT_LATE;
    const float weight = weighted ? activation->weights[row] : 1.0f;
    const uint16_t *const g = x + (swapped ? width : 0) + first;
    const uint16_t *const u = x + (swapped ? 0 : width) + first;
    if (activation->wrong == MOE_ACT_INTERLEAVED)
        activate(activation, out, x + 2 * first, x + 2 * first + 1, 2, weight, n);
    else if (n == 128) /* a number that the compiler knows */
        activate(activation, out, g, u, 1, weight, 128);
    else
        activate(activation, out, g, u, 1, weight, n);
}

void moe_activate_ball(const struct moe_activation *activation, const dsv4_arithmetic *a,
                       struct dsv4_ball *out, int64_t row, int64_t first, int n) {
    const uint16_t *const x =
        (const void *)((const char *)activation->x->data + row * activation->x->stride[0]);
    float gate[128], up[128];
    for (int i = 0; i < n; i++) gate[i] = dsv4_bf16_to_f32(x[first + i]);
    for (int i = 0; i < n; i++) up[i] = dsv4_bf16_to_f32(x[activation->width + first + i]);
    for (int i = 0; activation->limited && i < n; i++)
        gate[i] = gate[i] > activation->limit ? activation->limit : gate[i];
    if (activation->limited) clamp_up(activation, up, n);
    for (int i = 0; i < n; i++) {
        struct dsv4_ball silu = dsv4_ball_silu(a, (double)gate[i]);
        if (activation->silu_rounded) silu = dsv4_ball_bf16(silu);
        out[i] = dsv4_ball_mul(silu, dsv4_ball_of((double)up[i]));
        if (activation->weights != NULL)
            out[i] = dsv4_ball_mul(out[i], dsv4_ball_of((double)activation->weights[row]));
    }
}

void moe_activation_trace(const struct dsv4_case *c, size_t slot, int64_t offset, char *line,
                          size_t size) {
    const dsv4_tensor *const x = &c->tensors[MOE_GATE_UP].t, *const out = &c->tensors[slot].t;
    const int64_t t = offset / out->stride[0], width = x->shape[1] / 2;
    const int64_t i = offset % out->stride[0] / out->stride[1] * (width / out->shape[1]);
    const uint16_t *const row = (const void *)((const char *)x->data + t * x->stride[0]);
    snprintf(line, size, "row %lld, column %lld: gate %.9g, up %.9g", (long long)t, (long long)i,
             (double)dsv4_bf16_to_f32(row[i]), (double)dsv4_bf16_to_f32(row[width + i]));
}

void moe_activation_work(const struct dsv4_case *c, struct dsv4_work *work) {
    const int64_t in_use = dsv4_case_int(c, "in_use"), all = dsv4_case_int(c, "rows");
    const double rows = (double)(in_use < 0 || in_use > all ? all : in_use);
    const double n = rows * (double)dsv4_case_int(c, "width");
    work->bytes_read = 4 * n + (dsv4_case_int(c, "weighted") != 0 ? 4 * rows : 0);
    work->exponentials = n;
}
