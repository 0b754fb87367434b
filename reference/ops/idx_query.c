/* SPDX-License-Identifier: Apache-2.0 */
/* Rows of the indexer's queries: inputs, rotation and quantisation. */
#include <math.h>
#include <stdio.h>

#include "../num/e2m1.h"
#include "../num/e8m0.h"
#include "../num/hadamard.h"
#include "idx_query.h"

enum { STREAM_Q = 1, STREAM_PEAK = 4, STREAM_PAIR = 100 };

enum idx_query_wrong idx_query_wrong_of(const struct dsv4_op *op, int mutant) {
    return mutant > 0 ? (enum idx_query_wrong)op->mutants[mutant - 1].id : IDX_QUERY_RIGHT;
}

int idx_query_shape(struct dsv4_case *c, uint32_t table, struct dsv4_err *err) {
    struct kv_step *const step = dsv4_case_alloc(c, sizeof *step);
    c->plan = step;
    if (dsv4_batch_make(c, &step->batch, err) != 0) return -1;
    DSV4_SHAPE(c, IDX_Q, DSV4_BF16, step->batch.n_rows, dsv4_case_int(c, "heads"), INDEXER_HEAD);
    kv_widen(c, IDX_Q, 1, 32);
    kv_widen(c, IDX_Q, 0, 80);
    kv_shape_rows(c, IDX_POSITIONS, DSV4_I64, step->batch.n_rows);
    return kv_shape_rope(c, IDX_ROPE_TABLE, table, 1, err);
}

void idx_query_shape_codes(struct dsv4_case *c, size_t slot) {
    const int64_t rows = kv_step_of(c)->batch.n_rows, heads = dsv4_case_int(c, "heads");
    const bool mxfp4 = dsv4_case_is(c, "format", "mxfp4"), ocp = dsv4_case_is(c, "fp8", "ocp");
    const uint32_t fp8 = ocp ? DSV4_E4M3FN : DSV4_E4M3FNUZ;
    DSV4_SHAPE(c, slot, mxfp4 ? DSV4_U8 : fp8, rows, heads,
               mxfp4 ? INDEXER_MXFP4_DATA_BYTES : INDEXER_HEAD);
    kv_widen(c, slot, 1, 32);
    kv_widen(c, slot, 0, 48);
}

/* The largest magnitude of a group of 32 becomes 6 * 2^k, or one bf16 step more. */
static void put_peaks(const struct dsv4_case *c) {
    const dsv4_tensor *const q = &c->tensors[IDX_Q].t;
    for (int64_t t = 0; t < q->shape[0]; t++)
        for (int64_t h = 0; h < q->shape[1]; h++) {
            uint16_t *const row = (void *)((char *)q->data + t * q->stride[0] + h * q->stride[1]);
            for (int g = 0; g < INDEXER_NOPE / INDEXER_MXFP4_GROUP; g++) {
                const uint64_t id = (uint64_t)(t * q->shape[1] + h) * 2 + (uint64_t)g;
                const uint64_t bits = dsv4_random(c->seed, STREAM_PEAK, id);
                const float peak = 6.0f * (float)(1 << dsv4_below(bits, 4));
                const uint16_t code = (uint16_t)(dsv4_bf16_from_f32(peak) + (bits & 1));
                row[g * INDEXER_MXFP4_GROUP + (int)(bits >> 8 & 31)] =
                    (uint16_t)(code | (bits >> 16 & 1) << 15);
            }
        }
}

static float rounded(float x) { return dsv4_bf16_to_f32(dsv4_bf16_from_f32(x)); }

/* Whether the first rotated value of a pair, and what is made of it, show that a product was fused. */
static bool shows_fusion(float e, float o, float cos, float sin, bool hadamard) {
    const float os = o * sin, ec = e * cos, es = e * sin, oc = o * cos;
    const float plain = rounded(ec - os), fused = rounded(fmaf(e, cos, -os));
    if (plain == fused) return false;
    if (!hadamard) return dsv4_e4m3fn_from_f32(plain) != dsv4_e4m3fn_from_f32(fused);
    const float other = fabsf(rounded(oc + es)), factor = 0.08838834764831845f;
    return rounded((fabsf(plain) + other) * factor) != rounded((fabsf(fused) + other) * factor);
}

enum { DRAWS = 256 };

/* Pair i of the stream: bf16 values of 32 to 256, either sign. */
static uint32_t pair_of(const struct dsv4_case *c, uint64_t id, uint64_t i) {
    const uint64_t bits = dsv4_random(c->seed, STREAM_PAIR + id, i);
    return 0x42004200u + (uint32_t)(bits & 0x81FF81FF);
}

static void put_pair(uint16_t *pair, uint32_t both) {
    pair[0] = (uint16_t)both;
    pair[1] = (uint16_t)(both >> 16);
}

/* The first pair that shows a fused product, or the last of all. One in many thousands does: many are drawn at once. */
static void draw_pair(const struct dsv4_case *c, uint16_t *pair, uint64_t id, const float *angle,
                      bool hadamard) {
    const uint64_t all = UINT64_C(1) << 22;
    const float cos = angle[0], sin = angle[KV_ROPE / 2];
    const bool exact = cos == 0.0f || sin == 0.0f; /* no product rounds otherwise */
    for (uint64_t first = 0; first < all && !exact; first += DRAWS) {
        unsigned char differs[DRAWS];
#pragma omp simd
        for (int i = 0; i < DRAWS; i++) {
            const uint32_t both = pair_of(c, id, first + (uint64_t)i);
            const float os = dsv4_from_bits(both & 0xFFFF0000u) * sin;
            const float e = dsv4_from_bits(both << 16), ec = e * cos;
            differs[i] = dsv4_bf16_from_f32(ec - os) != dsv4_bf16_from_f32(fmaf(e, cos, -os));
        }
        for (int i = 0; i < DRAWS; i++) {
            if (differs[i] == 0) continue;
            put_pair(pair, pair_of(c, id, first + (uint64_t)i));
            if (shows_fusion(dsv4_bf16_to_f32(pair[0]), dsv4_bf16_to_f32(pair[1]), cos, sin,
                             hadamard))
                return;
        }
    }
    put_pair(pair, pair_of(c, id, all - 1));
}

/* Rows of one pair, beside a channel that sets the scale. */
static void put_fusible_pairs(const struct dsv4_case *c, bool hadamard) {
    const dsv4_tensor *const q = &c->tensors[IDX_Q].t;
    const bool v32 = !hadamard && dsv4_case_is(c, "form", "v32");
    const int64_t n = q->shape[0] * q->shape[1];
#pragma omp parallel for schedule(dynamic)
    for (int64_t i = 0; i < n; i++) {
        const int64_t t = i / q->shape[1], h = i % q->shape[1];
        const int64_t position = kv_step_of(c)->batch.positions[t];
        float wide[KV_ROPE_TABLE_ROW];
        const float *const angle = kv_rope_angle(&c->tensors[IDX_ROPE_TABLE].t, position, wide);
        uint16_t *const row = (void *)((char *)q->data + t * q->stride[0] + h * q->stride[1]);
        const int64_t p = i * 5 % 16;
        memset(row, 0, INDEXER_HEAD * sizeof *row);
        row[v32 ? KV_ROPE : 0] = hadamard ? 0 : 0x43E0; /* 448 */
        draw_pair(c, row + (v32 ? 0 : INDEXER_NOPE) + 2 * p, (uint64_t)i, angle + p, hadamard);
    }
}

void idx_query_fill(struct dsv4_case *c, bool hadamard) {
    const int64_t group = dsv4_case_is(c, "format", "mxfp4") ? INDEXER_MXFP4_GROUP : INDEXER_HEAD;
    dsv4_fill_bf16(c, IDX_Q, dsv4_case_word(c, "values"), STREAM_Q, group);
    if (dsv4_case_is(c, "peaks", "fp4")) put_peaks(c);
    kv_fill_positions(c, IDX_POSITIONS);
    dsv4_rope_fill(c, IDX_ROPE_TABLE, DSV4_ROPE_COMPRESSED);
    if (dsv4_case_is(c, "peaks", "fusible")) put_fusible_pairs(c, hadamard);
}

void idx_query_open(struct idx_query *query, const dsv4_call *call, enum idx_query_wrong wrong) {
    query->q = &call->tensors[IDX_Q];
    query->positions = &call->tensors[IDX_POSITIONS];
    query->table = &call->tensors[IDX_ROPE_TABLE];
    query->mxfp4 = dsv4_is(call, "format", "mxfp4");
    query->fused = dsv4_is(call, "rope", "fma") != (wrong == IDX_ROPE_OTHER);
    query->hadamard = wrong == IDX_HADAMARD;
    query->v32 = dsv4_is(call, "form", "v32") != (wrong == IDX_FORM_OTHER);
    query->fp8 = dsv4_is(call, "fp8", "ocp")       ? DSV4_OCP
                 : dsv4_is(call, "fp8", "fnuz224") ? DSV4_FNUZ224
                                                   : DSV4_FNUZ240;
    query->wrong = wrong;
}

static void round_bf16(float *x) {
#pragma omp simd
    for (int i = 0; i < INDEXER_HEAD; i++) x[i] = dsv4_bf16_to_f32(dsv4_bf16_from_f32(x[i]));
}

static inline void rotate_pairs(float *first, const float *angle, bool fused) {
#pragma omp simd
    for (int i = 0; i < KV_ROPE / 2; i++) {
        const float e = first[2 * i], o = first[2 * i + 1];
        const float cos = angle[i], sin = angle[KV_ROPE / 2 + i];
        const float os = o * sin, es = e * sin, ec = e * cos, oc = o * cos;
        first[2 * i] = fused ? fmaf(e, cos, -os) : ec - os;
        first[2 * i + 1] = fused ? fmaf(o, cos, es) : oc + es;
    }
}

static void rotate_neox(float *first, const float *angle, bool fused) {
    float pairs[KV_ROPE];
    for (int i = 0; i < KV_ROPE; i++) pairs[i] = first[i % 2 * (KV_ROPE / 2) + i / 2];
    rotate_pairs(pairs, angle, fused);
    for (int i = 0; i < KV_ROPE; i++) first[i % 2 * (KV_ROPE / 2) + i / 2] = pairs[i];
}

static void rotate(const struct idx_query *query, float *x, const float *angle) {
    const bool at_zero = query->v32 != (query->wrong == IDX_ROPE_FIRST);
    float *const first = x + (at_zero ? 0 : INDEXER_NOPE), backwards[KV_ROPE];
    if (query->wrong == IDX_ROPE_INVERSE) {
        for (int i = 0; i < KV_ROPE; i++)
            backwards[i] = (i < KV_ROPE / 2 ? 1.0f : -1.0f) * angle[i];
        angle = backwards;
    }
    if (query->wrong == IDX_ROPE_NEOX)
        rotate_neox(first, angle, query->fused);
    else if (query->fused)
        rotate_pairs(first, angle, true);
    else
        rotate_pairs(first, angle, false);
}

void idx_query_butterflies(float *x) { dsv4_butterflies(x, INDEXER_HEAD); }

static void hadamard(const struct idx_query *query, float *x) {
    const float factor = query->wrong == IDX_HADAMARD_UNSCALED ? 1.0f : 0.08838834764831845f;
    if (query->wrong == IDX_HADAMARD_NONE) return;
    if (query->wrong == IDX_HADAMARD_DESCENDING)
        dsv4_butterflies_descending(x, INDEXER_HEAD);
    else
        idx_query_butterflies(x);
#pragma omp simd
    for (int i = 0; i < INDEXER_HEAD; i++) x[i] *= factor;
    if (query->wrong != IDX_HADAMARD_UNROUNDED) round_bf16(x);
}

/* Magnitudes are in the order of their bits; NaNs count for nothing. */
static inline float amax_of(const float *x, int n) {
    uint32_t amax = 0;
#pragma omp simd reduction(max : amax)
    for (int i = 0; i < n; i++) {
        const uint32_t bits = dsv4_bits(x[i]) & 0x7FFFFFFFu;
        const uint32_t magnitude = bits > 0x7F800000u ? 0 : bits;
        amax = magnitude > amax ? magnitude : amax;
    }
    return dsv4_from_bits(amax);
}

static uint8_t scale_byte(const struct idx_query *query, float s) {
    return query->wrong == IDX_SCALE_FLOOR ? (uint8_t)(dsv4_bits(s) >> 23) : dsv4_e8m0_ceil(s);
}

/* e2m1 with ties away from zero, for the wrong reference. */
static uint8_t e2m1_away(float x) {
    static const float middle[] = {0.25f, 0.75f, 1.25f, 1.75f, 2.5f, 3.5f, 5.0f};
    int code = 0;
    while (code < 7 && fabsf(x) >= middle[code]) code++;
    return (uint8_t)(code | (signbit(x) ? 8 : 0));
}

static uint8_t wrong_pair(float even, float odd, enum idx_query_wrong wrong) {
    if (wrong == IDX_TIES_AWAY) return (uint8_t)(e2m1_away(even) | e2m1_away(odd) << 4);
    return (uint8_t)(dsv4_e2m1_from_f32(odd) | dsv4_e2m1_from_f32(even) << 4);
}

static void make_mxfp4(const struct idx_query *query, struct idx_query_row *row, const float *x) {
    const float floor = 6.0f * 0x1p-126f;
    float scaled[INDEXER_HEAD];
    for (int g = 0; g < INDEXER_MXFP4_GROUPS; g++) {
        const float *const from = x + INDEXER_MXFP4_GROUP * g;
        const float amax = query->wrong == IDX_GROUP_OF_16 ? amax_of(from, 16)
                                                           : amax_of(from, INDEXER_MXFP4_GROUP);
        const uint8_t byte = scale_byte(query, (amax > floor ? amax : floor) * (1.0f / 6.0f));
        const float inverse = dsv4_from_bits((254u - byte) << 23);
        row->bytes[g] = byte;
#pragma omp simd
        for (int i = 0; i < INDEXER_MXFP4_GROUP; i++)
            scaled[INDEXER_MXFP4_GROUP * g + i] = from[i] * inverse;
    }
    row->scale = 1.0f;
    if (query->wrong == IDX_TIES_AWAY || query->wrong == IDX_NIBBLES_SWAPPED) {
        for (int i = 0; i < INDEXER_MXFP4_DATA_BYTES; i++)
            row->codes[i] = wrong_pair(scaled[2 * i], scaled[2 * i + 1], query->wrong);
        return;
    }
#pragma omp simd
    for (int i = 0; i < INDEXER_MXFP4_DATA_BYTES; i++)
        row->codes[i] = (uint8_t)(dsv4_e2m1_from_f32(scaled[2 * i]) |
                                  dsv4_e2m1_from_f32(scaled[2 * i + 1]) << 4);
}

static void make_codes(const struct idx_query *query, struct idx_query_row *row, const float *x,
                       float factor) {
    const enum dsv4_fp8 fp8 = query->fp8;
    const uint32_t limit = dsv4_bits(dsv4_fp8_max(fp8));
    const float scaled = query->wrong == IDX_TIES_AWAY ? 1.0f + 0x1p-20f : 1.0f;
    if (fp8 == DSV4_OCP) {
#pragma omp simd
        for (int i = 0; i < INDEXER_HEAD; i++)
            row->codes[i] = dsv4_e4m3fn_from_f32(x[i] * factor * scaled);
    } else {
#pragma omp simd
        for (int i = 0; i < INDEXER_HEAD; i++)
            row->codes[i] = dsv4_e4m3fnuz_clamped(x[i] * factor * scaled, limit);
    }
    for (int i = 0; query->wrong == IDX_SUBNORMALS_FLUSHED && i < INDEXER_HEAD; i++)
        if ((row->codes[i] & 0x78) == 0) row->codes[i] = 0;
}

/* One scale of a power of two: max(amax, 1e-4) / M, or max(amax, 1e-10) * (1/M), rounded up. */
static void make_fp8(const struct idx_query *query, struct idx_query_row *row, const float *x) {
    const float floor = query->v32 != (query->wrong == IDX_FLOOR_LOST) ? 1e-10f : 1e-4f;
    const float most = query->wrong == IDX_SCALE_OF_OCP ? 448.0f : dsv4_fp8_max(query->fp8);
    const float amax = amax_of(x, INDEXER_HEAD), least = amax > floor ? amax : floor;
    const uint8_t byte = scale_byte(query, query->v32 ? least * (1.0f / most) : least / most);
    row->scale = dsv4_e8m0_to_f32(byte);
    make_codes(query, row, x, dsv4_from_bits((254u - byte) << 23));
}

/* The scale as it comes: max(amax, 1e-10) times 1/M, codes through its reciprocal. */
static void make_free_fp8(const struct idx_query *query, struct idx_query_row *row,
                          const float *x) {
    const float floor = query->wrong == IDX_FLOOR_LOST ? 1e-4f : 1e-10f;
    const float most = query->wrong == IDX_SCALE_OF_OCP ? 448.0f : dsv4_fp8_max(query->fp8);
    const float amax = amax_of(x, INDEXER_HEAD);
    float scale = (amax > floor ? amax : floor) * (1.0f / most);
    if (query->wrong == IDX_SCALE_DIVIDES) scale = (amax > floor ? amax : floor) / most;
    if (query->wrong == IDX_SCALE_POW2) scale = dsv4_e8m0_to_f32(dsv4_e8m0_ceil(scale));
    row->scale = scale;
    make_codes(query, row, x, 1.0f / scale);
}

void idx_query_make(const struct idx_query *query, struct idx_query_row *row, int64_t t,
                    int64_t head) {
    const dsv4_tensor *const q = query->q;
    const int64_t position =
        query->wrong == IDX_ROPE_BY_ROW ? t % query->table->shape[0] : kv_i64(query->positions, t);
    const int64_t head_stride = query->wrong == IDX_HEADS_DENSE ? 2 * INDEXER_HEAD : q->stride[1];
    _Alignas(64) float x[INDEXER_HEAD];
    float wide[KV_ROPE_TABLE_ROW];
    kv_load_bf16(x, (const char *)q->data + t * q->stride[0] + head * head_stride, INDEXER_HEAD);
    rotate(query, x,
           query->wrong == IDX_TABLE_AS_F32 ? kv_rope_angle_as_f32(query->table, position, wide)
                                            : kv_rope_angle(query->table, position, wide));
    if (query->wrong != IDX_ROPE_UNROUNDED) round_bf16(x);
    if (query->hadamard) hadamard(query, x);
    if (query->mxfp4)
        make_mxfp4(query, row, x);
    else if (query->hadamard && query->wrong != IDX_HADAMARD)
        make_free_fp8(query, row, x);
    else
        make_fp8(query, row, x);
}

void idx_query_trace(const struct dsv4_case *c, size_t slot, int64_t offset, char *line,
                     size_t size) {
    const dsv4_tensor *const out = &c->tensors[slot].t, *const q = &c->tensors[IDX_Q].t;
    const int64_t t = offset / out->stride[0], head = offset % out->stride[0] / out->stride[1];
    float x[INDEXER_HEAD];
    int at = 0;
    kv_load_bf16(x, (const char *)q->data + t * q->stride[0] + head * q->stride[1], INDEXER_HEAD);
    for (int i = 0; i < INDEXER_HEAD; i++) at = fabsf(x[i]) > fabsf(x[at]) ? i : at;
    snprintf(line, size, "row %lld (position %lld), head %lld: before RoPE amax %.9g at channel %d",
             (long long)t, (long long)kv_step_of(c)->batch.positions[t], (long long)head,
             (double)fabsf(x[at]), at);
}

void idx_query_work(const struct dsv4_case *c, struct dsv4_work *work) {
    const double rows = (double)kv_step_of(c)->batch.n_rows;
    const double heads = (double)dsv4_case_int(c, "heads");
    const bool mxfp4 = dsv4_case_is(c, "format", "mxfp4");
    work->bytes_read =
        rows * (heads * (double)INDEXER_HEAD * 2 + kv_angle_bytes(c, IDX_ROPE_TABLE) + 8);
    const int64_t bytes = mxfp4 ? (int64_t)INDEXER_MXFP4_TOKEN_BYTES : (int64_t)INDEXER_HEAD;
    work->bytes_written = rows * heads * (double)bytes;
}
