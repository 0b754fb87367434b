/* SPDX-License-Identifier: Apache-2.0 */
/*
 * kv_norm_rope_store: the second of the two split stages. Norm, RoPE, quantise and store pooled rows.
 *
 * For every row t with slot_mapping[t] >= 0, (positions[t] + 1) % ratio == 0 and kv_slot_mapping[t] >= 0:
 *   n = RMSNorm(scratch[t]) * weight; RoPE at position positions[t] / ratio * ratio (the window's first new token)
 *   on the unrounded fp32 values; store at kv_slot_mapping[t].
 * Rounding points: kv_norm.c, then kv_store.c. cos and sin are fp32, or bf16 that is widened: no rounding.
 * Source: as kv_compress. A bf16 table (param `table`): aiter ops/flydsl/kernels/fused_compress_attn_hca.py, whose cos and sin
 * are two bf16 tensors; here they are two halves of a row.
 * Latitude: kv_norm.c. The floor on the scale (dialect scale_floor: scale) is what CuTeDSL kernels and FlashMLA's test
 * quantiser do; bytes differ from the floor on amax for every group of amax <= 448 * 2^-14.
 */
#include "kv_bound.h"

enum { SCRATCH, POSITIONS, SLOT_MAPPING, KV_SLOT_MAPPING, WEIGHT, ROPE_TABLE, CACHE };

static const struct dsv4_param_def params[] = {
    KV_RATIO_PARAM,
    KV_STORE_PARAMS,
    KV_STEP_PARAMS("9@0"),
    KV_WEIGHT_PARAMS,
    KV_COMPRESSED_SLOT_PARAMS,
    KV_MAX_POSITION_PARAM,
    DSV4_PARAM_NAME("pooled", INPUT, "normal", "normal unit zero rope_cancels",
                    "scratch rows; unit: +-1, so that normed rows are the weights; rope_cancels: "
                    "pairs that RoPE turns onto an axis"),
};

static const struct dsv4_slot slots[] = {
    {"scratch",      DSV4_IN, "[T, head] f32, rows strided", "pooled rows of kv_compress"             },
    {"positions",    DSV4_IN, "[T] i64",                     "token positions"                        },
    {"slot_mapping", DSV4_IN, "[N <= T] i64",                "slots of the state cache; -1 is padding"},
    KV_STORE_SLOTS,
};

static const struct dsv4_mutant mutants[] = {
    KV_STORE_MUTANTS,
    KV_MUTANT_BOUNDARY_EARLY,
    KV_MUTANT_PADDING_WRITES,
};

static int shape(struct dsv4_case *c, struct dsv4_err *err) {
    const int64_t ratio = dsv4_case_int(c, "ratio"), head = kv_store_head(kv_form(c));
    const struct kv_step *const step = kv_step_make(c, err);
    if (step == NULL || kv_check_ratio(ratio, head, err) != 0) return -1;
    DSV4_SHAPE(c, SCRATCH, DSV4_F32, step->batch.n_rows, head);
    kv_widen(c, SCRATCH, 0, 64);
    kv_shape_rows(c, POSITIONS, DSV4_I64, step->batch.n_rows);
    kv_shape_rows(c, SLOT_MAPPING, DSV4_I64, step->n_slots);
    return kv_shape_store(c, KV_SLOT_MAPPING, head, err);
}

/* Pairs (sin, cos) of the row's own angle: e * c - o * s cancels, so that contraction shows. */
static void fill_cancelling(struct dsv4_case *c) {
    const dsv4_tensor *const scratch = &c->tensors[SCRATCH].t, *const mapping =
                                                                   &c->tensors[SLOT_MAPPING].t;
    const int64_t ratio = dsv4_case_int(c, "ratio"), first = scratch->shape[1] - KV_ROPE;
    float wide[KV_ROPE_TABLE_ROW];
    for (int64_t t = 0; t < mapping->shape[0]; t++) {
        const int64_t position = kv_i64(&c->tensors[POSITIONS].t, t) / ratio * ratio;
        if (!kv_rope_is_live(c, ROPE_TABLE, position)) continue;
        float *const row = (float *)(void *)((char *)scratch->data + t * scratch->stride[0]);
        const float *const angle = kv_rope_angle(&c->tensors[ROPE_TABLE].t, position, wide);
        for (int i = 0; i < KV_ROPE / 2; i++) {
            row[first + 2 * i] = angle[KV_ROPE / 2 + i];
            row[first + 2 * i + 1] = angle[i];
        }
    }
}

static void fill(struct dsv4_case *c) {
    const dsv4_tensor *const scratch = &c->tensors[SCRATCH].t;
    const bool unit = dsv4_case_is(c, "pooled", "unit"), zero = dsv4_case_is(c, "pooled", "zero");
#pragma omp parallel for schedule(static)
    for (int64_t t = 0; t < scratch->shape[0]; t++)
        for (int64_t d = 0; d < scratch->shape[1]; d++) {
            const uint64_t bits = dsv4_random(c->seed, 1, (uint64_t)(t << 16 | d));
            const float x = unit ? (bits >> 63 != 0 ? -1.0f : 1.0f)
                                 : dsv4_state_value("normal", c->seed, 1, t, d);
            ((float *)(void *)((char *)scratch->data + t * scratch->stride[0]))[d] =
                zero ? 0.0f : x;
        }
    kv_fill_positions(c, POSITIONS);
    kv_fill_active(c, SLOT_MAPPING);
    kv_fill_store(c, KV_SLOT_MAPPING);
    if (dsv4_case_is(c, "pooled", "rope_cancels")) fill_cancelling(c);
}

const struct dsv4_op dsv4_op_kv_norm_rope_store;

static int run(const dsv4_call *call, int mutant, struct dsv4_err *err) {
    const enum kv_wrong wrong = kv_wrong_of(&dsv4_op_kv_norm_rope_store, mutant);
    const dsv4_tensor *const tensors = call->tensors, *const scratch = &tensors[SCRATCH];
    const int64_t n = kv_covered(&tensors[SLOT_MAPPING], scratch->shape[0]);
    struct kv_finish finish;
    (void)err;
    kv_finish_open(&finish, call, wrong);
#pragma omp parallel for schedule(dynamic, 16)
    for (int64_t t = 0; t < n; t++) {
        const int64_t position = kv_i64(&tensors[POSITIONS], t);
        if (!kv_finishes(&finish, kv_i64(&tensors[SLOT_MAPPING], t), t, position)) continue;
        float values[KV_MAX_HEAD];
        memcpy(values, (const char *)scratch->data + t * scratch->stride[0],
               (size_t)scratch->shape[1] * sizeof *values);
        kv_finish_row(&finish, values, t, position);
    }
    return DSV4_OK;
}

/* Rows are exact up to the norm: kv_bound.c. */
static void bound(const dsv4_call *call, struct dsv4_admission *a) {
    const dsv4_tensor *const tensors = call->tensors, *const scratch = &tensors[SCRATCH];
    const int64_t n = kv_covered(&tensors[SLOT_MAPPING], scratch->shape[0]);
    struct kv_finish finish;
    kv_finish_open(&finish, call, KV_RIGHT);
#pragma omp parallel for schedule(dynamic, 16)
    for (int64_t t = 0; t < n; t++) {
        const int64_t position = kv_i64(&tensors[POSITIONS], t);
        if (!kv_finishes(&finish, kv_i64(&tensors[SLOT_MAPPING], t), t, position)) continue;
        struct dsv4_ball values[KV_MAX_HEAD];
        if (kv_store_settled(a, &finish.store, CACHE, kv_i64(finish.kv_slots, t))) continue;
        kv_balls_of(values, (const void *)((const char *)scratch->data + t * scratch->stride[0]),
                    finish.head);
        kv_finish_bound(a, &finish, CACHE, values, t, position);
    }
}

static void trace(const struct dsv4_case *c, size_t slot, int64_t offset, char *line, size_t size) {
    const int64_t row = kv_cache_row_at(c, slot, offset);
    const int64_t t = kv_writer_of(&c->tensors[KV_SLOT_MAPPING].t, row);
    const dsv4_tensor *const scratch = &c->tensors[SCRATCH].t;
    float values[KV_MAX_HEAD];
    kv_trace_row(c, KV_SLOT_MAPPING, row, line, size);
    if (t < 0) return;
    memcpy(values, (const char *)scratch->data + t * scratch->stride[0],
           (size_t)scratch->shape[1] * sizeof *values);
    kv_trace_finish(c, slot, offset, t, values, line, size);
}

static void work(const struct dsv4_case *c, struct dsv4_work *work) {
    const double active = (double)kv_active(c, KV_SLOT_MAPPING);
    const enum kv_store_form form = kv_form(c);
    work->bytes_read = active * ((double)kv_store_head(form) * 4 + kv_angle_bytes(c, ROPE_TABLE));
    work->bytes_written = active * (double)kv_stored_bytes(form);
}

const struct dsv4_op dsv4_op_kv_norm_rope_store = {
    .name = "kv_norm_rope_store",
    .summary = "norms, rotates, quantises and stores pooled rows",
    .source = "vllm deepseek_v4 compressor.py, nvidia/ops/sparse_attn_compress_cutedsl.py",
    .bound = bound,
    .latitude = KV_NORM_LATITUDE " " KV_ROPE_LATITUDE,
    DSV4_OP_PARTS,
};
