/* SPDX-License-Identifier: Apache-2.0 */
/* Turning back, and inputs that show how. */
#include <math.h>

#include "rope_family.h"

enum { PAIRS = KV_ROPE / 2, STREAM_PAIR = 100 };

static void back_wrong(float *x, const float *angle, bool fused, enum rope_wrong wrong) {
    const int step = wrong == ROPE_NEOX ? 1 : 2, apart = wrong == ROPE_NEOX ? PAIRS : 1;
    const float sign = wrong == ROPE_FORWARD ? -1.0f : 1.0f;
    if (wrong == ROPE_LOST) return;
    for (int i = 0; i < PAIRS; i++) {
        const float e = x[step * i], o = x[step * i + apart];
        const float c = angle[i], s = sign * angle[PAIRS + i];
        const float os = o * s, oc = o * c, ec = e * c;
        const float even = fused ? fmaf(e, c, os) : ec + os;
        const float es = (wrong == ROPE_SERIAL ? even : e) * s;
        x[step * i] = even;
        x[step * i + apart] = fused ? fmaf(o, c, -es) : oc - es;
    }
}

void rope_back(float *values, const float *angle, bool fused, enum rope_wrong wrong) {
    float *const x = values + (wrong == ROPE_FIRST ? 0 : KV_HEAD - KV_ROPE);
    if (wrong == ROPE_OTHER) fused = !fused;
    if (wrong != ROPE_RIGHT || fused) {
        back_wrong(x, angle, fused, wrong);
        return;
    }
#pragma omp simd
    for (int i = 0; i < PAIRS; i++) {
        const float e = x[2 * i], o = x[2 * i + 1], c = angle[i], s = angle[PAIRS + i];
        const float ec = e * c, os = o * s, oc = o * c, es = e * s;
        x[2 * i] = ec + os;
        x[2 * i + 1] = oc - es;
    }
}

int64_t rope_position(const dsv4_tensor *positions, int64_t t) {
    return positions->dtype == DSV4_I32 ? kv_i32(positions, t) : kv_i64(positions, t);
}

const float *rope_angle(const dsv4_tensor *table, const dsv4_tensor *positions, int64_t t,
                        enum rope_wrong wrong) {
    /* Only rows that the case fills may be read: another token's row is wrong as well. */
    return kv_rope_row(table, rope_position(positions, wrong == ROPE_POSITION_BY_ROW ? t / 2 : t));
}

void rope_spread(struct dsv4_case *c, size_t slot) {
    const int64_t gap = dsv4_case_int(c, "token_gap"), n = c->tensors[slot].t.shape[0];
    if (gap == 0) return;
    int64_t *const live = dsv4_case_alloc(c, (size_t)(n + 1) * sizeof *live);
    for (int64_t i = 0; i < n; i++) live[i] = i;
    dsv4_widen(c, slot, 0, gap);
    dsv4_live_rows(c, slot, live, n);
}

int rope_shape_positions(struct dsv4_case *c, size_t positions, size_t table,
                         struct dsv4_err *err) {
    kv_shape_rows(c, positions, dsv4_case_is(c, "position_dtype", "i32") ? DSV4_I32 : DSV4_I64,
                  kv_step_of(c)->batch.n_rows);
    return kv_shape_rope(c, table, DSV4_F32, 1, err);
}

void rope_fill_positions(const struct dsv4_case *c, size_t positions, size_t table) {
    const dsv4_tensor *const t = &c->tensors[positions].t;
    const struct dsv4_batch *const batch = &kv_step_of(c)->batch;
    if (t->dtype == DSV4_I64) {
        kv_fill_positions(c, positions);
    } else {
        for (int64_t i = 0; i < t->shape[0]; i++)
            ((int32_t *)t->data)[i] = (int32_t)batch->positions[i];
    }
    dsv4_rope_fill(c, table, DSV4_ROPE_COMPRESSED);
}

static bool shows_fusion(float e, float o, float c, float s) {
    const float os = o * s, ec = e * c;
    return dsv4_bf16_from_f32(ec + os) != dsv4_bf16_from_f32(fmaf(e, c, os));
}

void rope_fill_fusible(const struct dsv4_case *c, size_t o, size_t positions, size_t table) {
    const dsv4_tensor *const t = &c->tensors[o].t;
    const int64_t heads = t->shape[1], n = t->shape[0] * heads;
#pragma omp parallel for schedule(dynamic)
    for (int64_t i = 0; i < n; i++) {
        const float *const angle =
            rope_angle(&c->tensors[table].t, &c->tensors[positions].t, i / heads, ROPE_RIGHT);
        uint16_t *const row =
            (void *)((char *)t->data + i / heads * t->stride[0] + i % heads * t->stride[1]);
        const int64_t p = i * 5 % 16;
        uint16_t *const pair = row + KV_HEAD - KV_ROPE + 2 * p;
        memset(row, 0, KV_HEAD * sizeof *row);
        for (uint64_t k = 0; k < UINT64_C(1) << 22; k++) {
            const uint64_t bits = dsv4_random(c->seed, STREAM_PAIR + (uint64_t)i, k);
            pair[0] = (uint16_t)(0x3F00 + (bits & 0x81FF));
            pair[1] = (uint16_t)(0x3F00 + (bits >> 16 & 0x81FF));
            if (shows_fusion(dsv4_bf16_to_f32(pair[0]), dsv4_bf16_to_f32(pair[1]), angle[p],
                             angle[PAIRS + p]))
                break;
        }
    }
}
