/* SPDX-License-Identifier: Apache-2.0 */
/*
 * mtp_argmax: the greedy sampler of draft tokens.
 *
 *   out[t] = the least v with the largest logits[t, v]
 * Ties go to the lowest id; -0 and +0 are equal; -inf is a number like others (a row of -inf alone gives 0); a NaN is
 * larger than everything, the first one wins, whatever its sign and payload. No arithmetic, no rounding.
 * Source: vllm nvidia/dspark.py samplers at temperature 0; torch.argmax for NaN.
 * Latitude: torch leaves ties open; the lowest id is what its kernels give.
 */
#include <math.h>
#include <stdio.h>

#include "../input/input.h"
#include "../num/bits.h"
#include "mtp_rows.h"

enum { LOGITS, OUT };
enum wrong {
    RIGHT,
    LAST_TIE,
    NAN_SKIPPED,
    ZEROS_APART,
    ABSOLUTE,
    INF_NONE,
    ROUNDED,
    TAIL,
    DENSE,
    NAN_SIGNED
};

static const struct dsv4_param_def params[] = {
    NORM_ROWS_PARAM(3),
    DSV4_PARAM_INT("vocab", INPUT, 129280, 1, 1 << 20, "tokens"),
    DSV4_PARAM_NAME("id_dtype", INPUT, "i64", "i64 i32", "dtype of out"),
    DSV4_PARAM_NAME("view", INPUT, "dense", "dense wide", "wide: rows lie apart"),
    DSV4_PARAM_NAME(
        "values", INPUT, "normal", "normal coarse ties zeros minus_inf nan last low_bits negative",
        "about N(0, 1); many ties; two equal largest; zeros of both signs above negatives; "
        "-inf alone or nearly; NaN of both signs; the last id; ones in low bits; all "
        "negative"),
};

static const struct dsv4_slot slots[] = {
    {"logits", DSV4_IN,  "[rows, vocab] f32, rows strided", "draft logits"},
    {"out",    DSV4_OUT, "[rows] i64 or i32",               "token ids"   },
};

static const struct dsv4_mutant mutants[] = {
    {"last-tie",    "the last of equal logits chosen; it is the first", LAST_TIE   },
    {"nan-skipped", "NaN passed over; the first one wins",              NAN_SKIPPED},
    {"nan-by-sign", "a NaN with its sign set taken for the smallest",   NAN_SIGNED },
    {"zeros-apart", "+0 above -0; they are equal",                      ZEROS_APART},
    {"absolute",    "the largest magnitude chosen",                     ABSOLUTE   },
    {"inf-none",    "a row of -inf gives -1; it gives 0",               INF_NONE   },
    {"rounded",     "logits compared as bf16",                          ROUNDED    },
    {"tail-lost",   "ids after the last whole 128 not looked at",       TAIL       },
    {"row-dense",   "rows taken as contiguous; they have a stride",     DENSE      },
};

static int shape(struct dsv4_case *c, struct dsv4_err *err) {
    const int64_t rows = dsv4_case_int(c, "rows");
    (void)err;
    DSV4_SHAPE(c, LOGITS, DSV4_F32, rows, dsv4_case_int(c, "vocab"));
    DSV4_SHAPE(c, OUT, dsv4_case_is(c, "id_dtype", "i32") ? DSV4_I32 : DSV4_I64, rows);
    if (dsv4_case_is(c, "view", "wide")) dsv4_widen(c, LOGITS, 0, 20);
    c->tensors[LOGITS].align = c->tensors[LOGITS].t.stride[0] % 16 == 0 ? 16 : 4;
    c->tensors[OUT].align = dsv4_dtype_bytes(c->tensors[OUT].t.dtype);
    return 0;
}

static float value(const struct dsv4_case *c, int64_t t, int64_t v) {
    const char *const values = dsv4_case_word(c, "values");
    const int64_t vocab = dsv4_case_int(c, "vocab");
    const uint64_t bits = dsv4_random(c->seed, 1, (uint64_t)(t << 21 | v));
    const float x = (float)((int)(bits >> 40 & 255) - 128) / 16.0f;
    const int64_t at = dsv4_below(dsv4_random(c->seed, 2, (uint64_t)t), vocab);
    switch (values[0]) {
    case 'c': return x;
    case 't': return v == at || v == vocab - 1 - at ? 9.0f : x;
    case 'z': return bits & 1 ? -1.0f - x * x : bits & 2 ? -0.0f : 0.0f;
    case 'm': return t % 2 == 0 || v != at ? -INFINITY : -3e38f;
    case 'l':
        if (values[1] == 'a') return v == vocab - 1 - t % 2 ? 9.0f : x;
        return dsv4_from_bits(0x41200000u + (uint32_t)(bits >> 40 & 1023));
    case 'n':
        if (values[1] == 'a')
            return v == at || v == vocab - 1 - at / 2
                       ? dsv4_from_bits(t % 2 ? 0x7FC00000u + (uint32_t)t : 0xFFC00000u)
                   : v % 7 == 0 ? INFINITY
                                : x;
        if (values[1] == 'e') return -1.0f - x * x;
        return dsv4_normal(bits) * 0x1.0c1524p+0f;
    default: return x;
    }
}

static void fill(struct dsv4_case *c) {
    const dsv4_tensor *const x = &c->tensors[LOGITS].t;
#pragma omp parallel for schedule(static)
    for (int64_t t = 0; t < x->shape[0]; t++) {
        float *const row = (void *)((char *)x->data + t * x->stride[0]);
        for (int64_t v = 0; v < x->shape[1]; v++) row[v] = value(c, t, v);
    }
}

const struct dsv4_op dsv4_op_mtp_argmax;

/* An unsigned number in the order of the logits. */
static inline uint32_t key_of(float x) {
    const uint32_t bits = dsv4_bits(x), magnitude = bits & 0x7FFFFFFFu;
    const uint32_t key = bits >> 31 ? 0x80000000u - magnitude : 0x80000000u + magnitude;
    return magnitude > 0x7F800000u ? 0xFFFFFFFFu : key;
}

static int64_t argmax(const float *row, int64_t n) {
    enum { CHUNK = 1024 };
    uint32_t best = 0;
    int64_t found = 0;
    for (int64_t first = 0; first < n; first += CHUNK) {
        const int64_t end = n - first < CHUNK ? n : first + CHUNK;
        uint32_t most = 0;
#pragma omp simd reduction(max : most)
        for (int64_t v = first; v < end; v++) {
            const uint32_t key = key_of(row[v]);
            most = key > most ? key : most;
        }
        if (most <= best) continue;
        best = most;
        for (found = first; key_of(row[found]) != most;) found++;
    }
    return found;
}

static uint32_t wrong_key(float x, enum wrong wrong) {
    const uint32_t bits = dsv4_bits(x);
    if (wrong == NAN_SKIPPED && x != x) return 0;
    if (wrong == NAN_SIGNED && x != x && bits >> 31) return 0;
    if (wrong == ZEROS_APART && bits == 0x80000000u) return key_of(x) - 1;
    if (wrong == ABSOLUTE) return key_of(dsv4_from_bits(bits & 0x7FFFFFFFu));
    if (wrong == ROUNDED && x == x) return key_of(dsv4_bf16_to_f32(dsv4_bf16_from_f32(x)));
    return key_of(x);
}

static int64_t argmax_wrong(const float *row, int64_t n, enum wrong wrong) {
    uint32_t best = 0;
    int64_t found = wrong == INF_NONE ? -1 : 0;
    if (wrong == TAIL) n -= n % 128;
    for (int64_t v = 0; v < n; v++) {
        const uint32_t key = wrong_key(row[v], wrong);
        if (wrong == INF_NONE && dsv4_bits(row[v]) == 0xFF800000u) continue;
        if (key > best || (wrong == LAST_TIE && key == best)) best = key, found = v;
    }
    return found;
}

static int run(const dsv4_call *call, int mutant, struct dsv4_err *err) {
    const dsv4_tensor *const x = &call->tensors[LOGITS], *const out = &call->tensors[OUT];
    const enum wrong wrong =
        mutant > 0 ? (enum wrong)dsv4_op_mtp_argmax.mutants[mutant - 1].id : RIGHT;
    const int64_t stride = wrong == DENSE ? x->shape[1] * 4 : x->stride[0];
    (void)err;
#pragma omp parallel for schedule(static)
    for (int64_t t = 0; t < x->shape[0]; t++) {
        const float *const row = (const void *)((const char *)x->data + t * stride);
        const int64_t v =
            wrong == RIGHT ? argmax(row, x->shape[1]) : argmax_wrong(row, x->shape[1], wrong);
        if (out->dtype == DSV4_I32)
            ((int32_t *)out->data)[t] = (int32_t)v;
        else
            ((int64_t *)out->data)[t] = v;
    }
    return DSV4_OK;
}

static void trace(const struct dsv4_case *c, size_t slot, int64_t offset, char *line, size_t size) {
    const dsv4_tensor *const x = &c->tensors[LOGITS].t;
    const int64_t t = offset / dsv4_dtype_bytes(c->tensors[slot].t.dtype);
    const float *const row = (const void *)((const char *)x->data + t * x->stride[0]);
    const int64_t v = argmax(row, x->shape[1]);
    snprintf(line, size, "row %lld: logit %.9g of token %lld", (long long)t, (double)row[v],
             (long long)v);
}

static void work(const struct dsv4_case *c, struct dsv4_work *work) {
    const dsv4_tensor *const x = &c->tensors[LOGITS].t;
    work->bytes_read = (double)(x->shape[0] * x->shape[1]) * 4;
    work->bytes_written = (double)x->shape[0] * 8;
}

const struct dsv4_op dsv4_op_mtp_argmax = {
    .name = "mtp_argmax",
    .summary = "the greedy sampler: the lowest id of the largest logit",
    .source = "vllm nvidia/dspark.py",
    .exact = "floats are compared, not computed",
    DSV4_OP_PARTS,
};
