/* SPDX-License-Identifier: Apache-2.0 */
/*
 * kv_qnorm_rope_insert: Q norm and RoPE, KV RoPE, quantise and insert into the sliding-window cache, in one kernel.
 *
 * Q, all rows: x = q; [q_norm: x *= rsqrt(mean(x^2) + eps), no weight;] RoPE at positions[t] on the unrounded values;
 *   ds_mla     q_out = bf16(x); heads beyond the real ones are zero
 *   full_bf16  q = bf16(x), in place
 *   full_fp8   q_out = fp8(clamp(x * q_scale_inverse))
 * KV, rows that slot_mapping covers with a slot >= 0: y = kv; [kv_norm: y = bf16(RMSNorm(kv) * kv_weight);] RoPE;
 *   ds_mla     as kv_store.c
 *   full_bf16  bf16(y)
 *   full_fp8   fp8(clamp(y * fl(1/fp8_scale))) from the fp32 values, with no bf16 in between
 * q_heads 0: KV only. Rounding points: kv_norm.c, kv_store.c.
 * Source: vllm csrc fused_deepseek_v4_qnorm_rope_kv_insert_kernel.cu.
 * Latitude: kv_norm.c. The torch test reference rounds Q to bf16 between norm and RoPE; the kernel does not.
 */
#include <stdio.h>

#include "kv_bound.h"

enum { Q, KV, POSITIONS, SLOT_MAPPING, KV_WEIGHT, ROPE_TABLE, Q_OUT, CACHE };

static const struct dsv4_param_def params[] = {
    DSV4_PARAM_NAME("store", CALL, "ds_mla", "ds_mla full_bf16 full_fp8",
                    "584-byte pages, or full rows"),
    KV_FP8_PARAM,
    KV_LAYOUT_PARAM,
    KV_BLOCK_SIZE_PARAM(64),
    DSV4_PARAM_INT("q_norm", CALL, 1, 0, 1, "1: RMSNorm each Q head"),
    DSV4_PARAM_INT("kv_norm", CALL, 0, 0, 1, "1: RMSNorm the KV row with a weight"),
    KV_EPS_PARAM,
    KV_FP8_SCALE_PARAM,
    DSV4_PARAM_FLOAT("q_scale_inverse", CALL, 1.0, 1e-6, 1e6,
                     "full_fp8: Q codes are value times this"),
    DSV4_PARAM_INT("q_heads", INPUT, 64, 0, 128, "Q heads; 0: KV only"),
    DSV4_PARAM_INT("q_heads_padded", INPUT, 64, 0, 128,
                   "heads of q_out (ds_mla): 8, 16, 32, 64 or 128"),
    KV_STEP_PARAMS("3@0"),
    KV_MAX_POSITION_PARAM,
    DSV4_PARAM_NAME("values", INPUT, "normal", DSV4_VALUE_WORDS, "rows of kv"),
    DSV4_PARAM_NAME("q_values", INPUT, "normal", DSV4_VALUE_WORDS, "rows of q"),
    KV_WEIGHT_PARAMS,
};

static const struct dsv4_slot slots[] = {
    {"q",            DSV4_IN,  "[T, q_heads, 512] bf16, or absent",                                "in place (written) for full_bf16" },
    {"kv",           DSV4_IN,  "[T, 512] bf16, rows strided",                                      "latent rows"                      },
    {"positions",    DSV4_IN,  "[T] i64",                                                          "token positions"                  },
    {"slot_mapping", DSV4_IN,  "[N <= T] i64",                                                     "slots of the cache; -1 is padding"},
    {"kv_weight",    DSV4_IN,  "[512] bf16 or f32, or absent",                                     "with kv_norm"                     },
    {"rope_table",   DSV4_IN,  "[max_position, 64] f32, rows strided",                             "32 cos, then 32 sin"              },
    {"q_out",        DSV4_OUT, "[T, q_heads_padded, 512] bf16, [T, q_heads, 512] e4m3, or absent",
     "rotated Q"                                                                                                                      },
    {"cache",        DSV4_OUT,
     "[blocks, page bytes] u8, or [blocks, block_size, 512] bf16 or e4m3, strided",                "sliding-window cache"             },
};

static const struct dsv4_mutant mutants[] = {
    KV_MUTANT_HEADS_UNPADDED, KV_MUTANT_PADDED_Q_SKIPPED,   KV_MUTANT_NORM_ROUNDED,
    KV_MUTANT_EPS_LOST,       KV_MUTANT_WEIGHT_LOST,        KV_MUTANT_ROPE_NEOX,
    KV_MUTANT_ROPE_INVERSE,   KV_MUTANT_ROPE_FUSED,         KV_MUTANT_ROUNDED_FIRST,
    KV_MUTANT_SCALE_FLOOR,    KV_MUTANT_SCALE_BIAS,         KV_MUTANT_PAD_BYTE,
    KV_MUTANT_PADDING_WRITES, KV_MUTANT_NEGATIVE_UNDERFLOW, KV_MUTANT_SCALE_DIVIDES,
    KV_MUTANT_SLOT_ORDER,     KV_MUTANT_CLAMP_OF_FORMAT,    KV_MUTANT_ADDRESS_WRAPS,
};

static int shape_q(struct dsv4_case *c, enum kv_store_form form, struct dsv4_err *err) {
    const int64_t rows = kv_step_of(c)->batch.n_rows, heads = dsv4_case_int(c, "q_heads");
    const int64_t padded = dsv4_case_int(c, "q_heads_padded");
    dsv4_absent(c, Q);
    dsv4_absent(c, Q_OUT);
    if (heads == 0) return 0;
    DSV4_SHAPE(c, Q, DSV4_BF16, rows, heads, KV_HEAD);
    kv_widen(c, Q, 0, 64);
    if (form == KV_FULL_BF16) {
        c->tensors[Q].role = DSV4_INOUT;
        return 0;
    }
    if (form == KV_FULL_FP8) {
        const bool ocp = dsv4_case_is(c, "fp8", "ocp");
        DSV4_SHAPE(c, Q_OUT, ocp ? DSV4_E4M3FN : DSV4_E4M3FNUZ, rows, heads, KV_HEAD);
        kv_widen(c, Q_OUT, 1, 32);
        return 0;
    }
    if (padded < heads || padded < 8 || (padded & (padded - 1)) != 0)
        return dsv4_fail(err,
                         "q_heads_padded: %lld; 8, 16, 32, 64 or 128 and at least q_heads (%lld)",
                         (long long)padded, (long long)heads);
    DSV4_SHAPE(c, Q_OUT, DSV4_BF16, rows, padded, KV_HEAD);
    return 0;
}

static int shape(struct dsv4_case *c, struct dsv4_err *err) {
    const enum kv_store_form form = kv_form(c);
    const struct kv_step *const step = kv_step_make(c, err);
    if (step == NULL || shape_q(c, form, err) != 0) return -1;
    DSV4_SHAPE(c, KV, DSV4_BF16, step->batch.n_rows, KV_HEAD);
    kv_widen(c, KV, 0, 64);
    kv_shape_rows(c, POSITIONS, DSV4_I64, step->batch.n_rows);
    kv_shape_rows(c, SLOT_MAPPING, DSV4_I64, step->n_slots);
    if (dsv4_case_int(c, "kv_norm") != 0)
        kv_shape_weight(c, KV_WEIGHT, KV_HEAD);
    else
        dsv4_absent(c, KV_WEIGHT);
    if (kv_shape_rope(c, ROPE_TABLE, DSV4_F32, 1, err) != 0) return -1;
    kv_shape_cache(c, CACHE, form, 1, 128);
    return 0;
}

static void fill(struct dsv4_case *c) {
    if (c->tensors[Q].t.ndim > 0) dsv4_fill_bf16(c, Q, dsv4_case_word(c, "q_values"), 1, KV_GROUP);
    dsv4_fill_bf16(c, KV, dsv4_case_word(c, "values"), 3, KV_GROUP);
    kv_fill_positions(c, POSITIONS);
    kv_fill_slots(c, SLOT_MAPPING, &kv_step_of(c)->cache);
    if (c->tensors[KV_WEIGHT].t.ndim > 0) kv_fill_weight(c, KV_WEIGHT);
    dsv4_rope_fill(c, ROPE_TABLE, DSV4_ROPE_SWA);
}

struct insert {
    const dsv4_call *call;
    struct kv_store store;
    float weight[KV_HEAD];
    float eps, q_scale_inverse;
    bool q_norm, kv_norm;
    enum kv_wrong wrong;
};

static void q_head(const struct insert *in, int64_t t, int64_t head) {
    const dsv4_tensor *const q = &in->call->tensors[Q], *const out = &in->call->tensors[Q_OUT];
    char *const from = (char *)q->data + t * q->stride[0] + head * q->stride[1];
    float x[KV_HEAD];
    kv_load_bf16(x, from, KV_HEAD);
    if (in->q_norm) kv_norm(x, KV_HEAD, in->eps, NULL, in->wrong);
    for (int i = 0; in->wrong == KV_NORM_ROUNDED && i < KV_HEAD; i++)
        x[i] = dsv4_bf16_to_f32(dsv4_bf16_from_f32(x[i]));
    kv_rope(x, KV_HEAD,
            kv_rope_row(&in->call->tensors[ROPE_TABLE], kv_i64(&in->call->tensors[POSITIONS], t)),
            in->wrong);
    if (in->store.form == KV_FULL_BF16) {
        kv_store_bf16(from, x, KV_HEAD);
        return;
    }
    char *const to = (char *)out->data + t * out->stride[0] + head * out->stride[1];
    if (in->store.form == KV_DS_MLA) {
        kv_store_bf16(to, x, KV_HEAD);
        return;
    }
    for (int i = 0; i < KV_HEAD; i++)
        ((uint8_t *)to)[i] = dsv4_fp8_from_f32(x[i] * in->q_scale_inverse, in->store.fp8);
}

static void q_row(const struct insert *in, int64_t t, bool padded) {
    const dsv4_tensor *const q = &in->call->tensors[Q], *const out = &in->call->tensors[Q_OUT];
    if (q->data == NULL || (padded && in->wrong == KV_PADDED_Q_SKIPPED)) return;
    for (int64_t head = 0; head < q->shape[1]; head++) q_head(in, t, head);
    if (in->store.form != KV_DS_MLA || in->wrong == KV_HEADS_UNPADDED) return;
    for (int64_t head = q->shape[1]; head < out->shape[1]; head++)
        memset((char *)out->data + t * out->stride[0] + head * out->stride[1], 0, KV_HEAD * 2);
}

/* The row as it is quantised. */
static void kv_values(const struct insert *in, float *y, int64_t t) {
    const dsv4_tensor *const kv = &in->call->tensors[KV];
    kv_load_bf16(y, (const char *)kv->data + t * kv->stride[0], KV_HEAD);
    if (in->kv_norm) {
        kv_norm(y, KV_HEAD, in->eps, in->weight, in->wrong);
#pragma omp simd
        for (int i = 0; i < KV_HEAD; i++) y[i] = dsv4_bf16_to_f32(dsv4_bf16_from_f32(y[i]));
    }
    kv_rope(y, KV_HEAD,
            kv_rope_row(&in->call->tensors[ROPE_TABLE], kv_i64(&in->call->tensors[POSITIONS], t)),
            in->wrong);
}

static void kv_row(const struct insert *in, int64_t t, int64_t slot) {
    float y[KV_HEAD];
    if (in->wrong == KV_SLOT_ORDER) slot = t % (in->store.n_blocks * in->store.block_size);
    kv_values(in, y, t);
    kv_store_row(&in->store, y, slot >= 0 ? slot : 0);
}

static void open_insert(struct insert *in, const dsv4_call *call, enum kv_wrong wrong) {
    in->call = call;
    kv_store_open(&in->store, call, &call->tensors[CACHE], wrong);
    in->store.nope_is_bf16 = true;
    in->store.round_before_scale = wrong == KV_ROUNDED_FIRST;
    in->q_norm = dsv4_int(call, "q_norm", 1) != 0;
    in->kv_norm = dsv4_int(call, "kv_norm", 0) != 0;
    in->eps = dsv4_float(call, "eps", 1e-6f);
    in->q_scale_inverse = dsv4_float(call, "q_scale_inverse", 1.0f);
    in->wrong = wrong;
    if (in->kv_norm) kv_load_weight(in->weight, &call->tensors[KV_WEIGHT]);
}

const struct dsv4_op dsv4_op_kv_qnorm_rope_insert;

static int run(const dsv4_call *call, int mutant, struct dsv4_err *err) {
    const enum kv_wrong wrong = kv_wrong_of(&dsv4_op_kv_qnorm_rope_insert, mutant);
    const int64_t rows = call->tensors[KV].shape[0];
    const int64_t n = kv_covered(&call->tensors[SLOT_MAPPING], rows);
    struct insert in;
    (void)err;
    open_insert(&in, call, wrong);
#pragma omp parallel for schedule(static)
    for (int64_t t = 0; t < rows; t++) {
        const int64_t slot = t < n ? kv_i64(&call->tensors[SLOT_MAPPING], t) : -1;
        q_row(&in, t, slot < 0);
        if (slot >= 0 || (t < n && wrong == KV_PADDING_WRITES)) kv_row(&in, t, slot);
    }
    return DSV4_OK;
}

/*
 * Bound: kv_bound.c. Q codes of full_fp8 are the fp32 value's product with q_scale_inverse, one exact rounding; a KV row
 * that is normed is rounded to bf16 before RoPE, one that is not is exact up to there.
 */
static void bound_head(const struct insert *in, struct dsv4_admission *a, int64_t t, int64_t head) {
    const dsv4_tensor *const tensors = in->call->tensors, *const q = &tensors[Q];
    const enum kv_store_form form = in->store.form;
    const size_t slot = form == KV_FULL_BF16 ? Q : Q_OUT;
    const dsv4_tensor *const out = &tensors[slot];
    const int64_t at = t * out->stride[0] + head * out->stride[1];
    const enum dsv4_form fp8 = (enum dsv4_form)(DSV4_AS_OCP + (int)in->store.fp8);
    const struct dsv4_row halves = {slot, at, 2, DSV4_AS_BF16, KV_HEAD, 1};
    const struct dsv4_row codes = {slot, at, 1, fp8, KV_HEAD, 1};
    const struct dsv4_row *const row = form == KV_FULL_FP8 ? &codes : &halves;
    float x[KV_HEAD];
    struct dsv4_ball balls[KV_HEAD];
    if (dsv4_admit_settled(a, row, 1)) return;
    kv_load_bf16(x, (const char *)q->data + t * q->stride[0] + head * q->stride[1], KV_HEAD);
    kv_balls_of(balls, x, KV_HEAD);
    if (in->q_norm) kv_norm_balls(&a->arithmetic, balls, KV_HEAD, in->eps, NULL);
    kv_rope_balls(balls + KV_NOPE,
                  kv_rope_row(&tensors[ROPE_TABLE], kv_i64(&tensors[POSITIONS], t)), false);
    const struct dsv4_ball inverse = dsv4_ball_of((double)in->q_scale_inverse);
    for (int i = 0; form == KV_FULL_FP8 && i < KV_HEAD; i++)
        balls[i] = dsv4_ball_f32(dsv4_ball_times(balls[i], inverse));
    dsv4_admit(a, row, balls, NULL);
}

static void bound_row(const struct insert *in, struct dsv4_admission *a, int64_t t, int64_t slot) {
    const dsv4_tensor *const tensors = in->call->tensors, *const kv = &tensors[KV];
    float x[KV_HEAD];
    struct dsv4_ball y[KV_HEAD];
    if (kv_store_settled(a, &in->store, CACHE, slot)) return;
    kv_load_bf16(x, (const char *)kv->data + t * kv->stride[0], KV_HEAD);
    kv_balls_of(y, x, KV_HEAD);
    if (in->kv_norm) kv_norm_balls(&a->arithmetic, y, KV_HEAD, in->eps, in->weight);
    for (int i = 0; in->kv_norm && i < KV_HEAD; i++) y[i] = dsv4_ball_bf16(y[i]);
    kv_rope_balls(y + KV_NOPE, kv_rope_row(&tensors[ROPE_TABLE], kv_i64(&tensors[POSITIONS], t)),
                  false);
    kv_store_bound(a, &in->store, CACHE, y, slot);
}

static void bound(const dsv4_call *call, struct dsv4_admission *a) {
    const dsv4_tensor *const q = &call->tensors[Q];
    const int64_t rows = call->tensors[KV].shape[0];
    const int64_t n = kv_covered(&call->tensors[SLOT_MAPPING], rows);
    const int64_t heads = q->data != NULL ? q->shape[1] : 0;
    struct insert in;
    open_insert(&in, call, KV_RIGHT);
#pragma omp parallel for schedule(static)
    for (int64_t t = 0; t < rows; t++) {
        const int64_t slot = t < n ? kv_i64(&call->tensors[SLOT_MAPPING], t) : -1;
        for (int64_t head = 0; head < heads; head++) bound_head(&in, a, t, head);
        if (slot >= 0) bound_row(&in, a, t, slot);
    }
}

static void trace(const struct dsv4_case *c, size_t slot, int64_t offset, char *line, size_t size) {
    const dsv4_tensor *const out = &c->tensors[slot].t;
    if (slot != CACHE) {
        const int64_t t = offset / out->stride[0];
        snprintf(line, size, "row %lld (position %lld), head %lld", (long long)t,
                 (long long)kv_step_of(c)->batch.positions[t],
                 (long long)(offset % out->stride[0] / out->stride[1]));
        return;
    }
    const int64_t row = kv_cache_row_at(c, slot, offset);
    const int64_t t = kv_writer_of(&c->tensors[SLOT_MAPPING].t, row);
    dsv4_tensor tensors[DSV4_MAX_TENSORS];
    dsv4_param values[DSV4_MAX_PARAMS];
    dsv4_call call;
    struct insert in;
    float y[KV_HEAD];
    kv_trace_row(c, SLOT_MAPPING, row, line, size);
    if (t < 0) return;
    dsv4_case_call(c, &call, tensors, values);
    open_insert(&in, &call, KV_RIGHT);
    kv_values(&in, y, t);
    kv_trace_group(c, slot, offset, y, line, size);
}

static void work(const struct dsv4_case *c, struct dsv4_work *work) {
    const int64_t active = kv_active(c, SLOT_MAPPING), rows = kv_step_of(c)->batch.n_rows;
    const int64_t heads = dsv4_case_int(c, "q_heads");
    const enum kv_store_form form = kv_form(c);
    const int64_t out_heads = form == KV_DS_MLA ? dsv4_case_int(c, "q_heads_padded") : heads;
    const int64_t out_bytes = form == KV_FULL_FP8 ? KV_HEAD : KV_HEAD * 2;
    work->bytes_read =
        (double)(rows * (heads * KV_HEAD * 2 + KV_ROPE_TABLE_ROW * 4 + 16) + active * KV_HEAD * 2);
    work->bytes_written =
        (double)((heads > 0 ? rows * out_heads * out_bytes : 0) + active * kv_stored_bytes(form));
}

const struct dsv4_op dsv4_op_kv_qnorm_rope_insert = {
    .name = "kv_qnorm_rope_insert",
    .summary = "Q norm and RoPE, KV RoPE, quantise and insert into the sliding-window cache",
    .source = "vllm csrc fused_deepseek_v4_qnorm_rope_kv_insert_kernel.cu",
    .bound = bound,
    .latitude = KV_ROPE_LATITUDE,
    DSV4_OP_PARTS,
};
