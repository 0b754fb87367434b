/* SPDX-License-Identifier: Apache-2.0 */
/*
 * kv_compress_norm_rope_store: the compressor's boundary kernel, fused: kv_compress, then kv_norm_rope_store, with no
 * scratch between them. The same bits as the two stages.
 *
 * Source: vllm common/ops/fused_compress_quant_cache.py (Triton), nvidia/ops/sparse_attn_compress_cutedsl.py,
 * amd/ops/dsv4_csa_compress.hip and dsv4_hca_compress.hip. A bf16 table (param `table`): aiter
 * ops/flydsl/kernels/fused_compress_attn.py, whose cos and sin are two bf16 tensors.
 * Formula, rounding points and Latitude: kv_pool.c, kv_norm.c, kv_store.c.
 */
#include "kv_bound.h"

enum {
    STATE,
    APE,
    TOKEN_TO_REQ,
    POSITIONS,
    SLOT_MAPPING,
    BLOCK_TABLE,
    KV_SLOT_MAPPING,
    WEIGHT,
    ROPE_TABLE,
    CACHE
};

static const struct dsv4_param_def params[] = {
    KV_RATIO_PARAM,
    KV_STATE_PARAM,
    KV_STATE_BLOCK_SIZE_PARAM,
    KV_STORE_PARAMS,
    KV_STEP_PARAMS("9@0"),
    KV_COMPRESSOR_FILL_PARAMS,
    KV_WEIGHT_PARAMS,
    KV_COMPRESSED_SLOT_PARAMS,
    KV_MAX_POSITION_PARAM,
};

static const struct dsv4_slot slots[] = {KV_STATE_SLOTS, KV_STORE_SLOTS};

static const struct dsv4_mutant mutants[] = {KV_POOL_MUTANTS, KV_STORE_MUTANTS};

static int shape(struct dsv4_case *c, struct dsv4_err *err) {
    const int64_t head = kv_store_head(kv_form(c));
    if (kv_shape_pool(c, head, err) != 0) return -1;
    return kv_shape_store(c, KV_SLOT_MAPPING, head, err);
}

static void fill(struct dsv4_case *c) {
    kv_fill_pool(c, kv_store_head(kv_form(c)));
    kv_fill_store(c, KV_SLOT_MAPPING);
    kv_fill_overlay(c, kv_store_head(kv_form(c)), ROPE_TABLE);
}

const struct dsv4_op dsv4_op_kv_compress_norm_rope_store;

static int run(const dsv4_call *call, int mutant, struct dsv4_err *err) {
    const enum kv_wrong wrong = kv_wrong_of(&dsv4_op_kv_compress_norm_rope_store, mutant);
    const dsv4_tensor *const tensors = call->tensors;
    const int64_t n = kv_covered(&tensors[SLOT_MAPPING], tensors[POSITIONS].shape[0]);
    struct kv_finish finish;
    struct kv_state state;
    if (kv_refuse(call, err)) return DSV4_REFUSED;
    kv_finish_open(&finish, call, wrong);
    kv_state_open(&state, call, kv_store_head(finish.store.form), wrong);
#pragma omp parallel for schedule(dynamic, 1)
    for (int64_t t = 0; t < n; t++) {
        const int64_t position = kv_i64(&tensors[POSITIONS], t);
        if (!kv_finishes(&finish, kv_i64(&tensors[SLOT_MAPPING], t), t, position)) continue;
        float values[KV_MAX_HEAD];
        kv_pool(&state, values, kv_i32(&tensors[TOKEN_TO_REQ], t), position);
        kv_finish_row(&finish, values, t, position);
    }
    return DSV4_OK;
}

/* Pooled balls (kv_pool.c) take the way of kv_bound.c. */
static void bound(const dsv4_call *call, struct dsv4_admission *a) {
    const dsv4_tensor *const tensors = call->tensors;
    const int64_t n = kv_covered(&tensors[SLOT_MAPPING], tensors[POSITIONS].shape[0]);
    struct kv_finish finish;
    struct kv_state state;
    kv_finish_open(&finish, call, KV_RIGHT);
    kv_state_open(&state, call, finish.head, KV_RIGHT);
#pragma omp parallel for schedule(dynamic, 1)
    for (int64_t t = 0; t < n; t++) {
        const int64_t position = kv_i64(&tensors[POSITIONS], t);
        if (!kv_finishes(&finish, kv_i64(&tensors[SLOT_MAPPING], t), t, position)) continue;
        struct dsv4_ball values[KV_MAX_HEAD];
        if (kv_store_settled(a, &finish.store, CACHE, kv_i64(finish.kv_slots, t))) continue;
        kv_pool_balls(&state, &a->arithmetic, values, kv_i32(&tensors[TOKEN_TO_REQ], t), position);
        kv_finish_bound(a, &finish, CACHE, values, t, position);
    }
}

static void trace(const struct dsv4_case *c, size_t slot, int64_t offset, char *line, size_t size) {
    const int64_t row = kv_cache_row_at(c, slot, offset);
    const int64_t t = kv_writer_of(&c->tensors[KV_SLOT_MAPPING].t, row);
    dsv4_tensor tensors[DSV4_MAX_TENSORS];
    dsv4_param values[DSV4_MAX_PARAMS];
    struct kv_state state;
    dsv4_call call;
    float pooled[KV_MAX_HEAD];
    kv_trace_window(c, t, line, size);
    if (t < 0 || line[0] == '\0') return;
    dsv4_case_call(c, &call, tensors, values);
    kv_state_open(&state, &call, kv_store_head(kv_form(c)), KV_RIGHT);
    kv_pool(&state, pooled, kv_i32(&tensors[TOKEN_TO_REQ], t), kv_i64(&tensors[POSITIONS], t));
    kv_trace_finish(c, slot, offset, t, pooled, line, size);
}

static void work(const struct dsv4_case *c, struct dsv4_work *work) {
    const enum kv_store_form form = kv_form(c);
    const double stored = kv_pool_work(c, (double)kv_store_head(form), work);
    work->bytes_read += stored * kv_angle_bytes(c, ROPE_TABLE);
    work->bytes_written = stored * (double)kv_stored_bytes(form);
}

const struct dsv4_op dsv4_op_kv_compress_norm_rope_store = {
    .name = "kv_compress_norm_rope_store",
    .summary = "compresses each window that ends at a boundary token into the KV cache, fused",
    .source = "vllm deepseek_v4 common/ops/fused_compress_quant_cache.py, "
              "nvidia/ops/sparse_attn_compress_cutedsl.py, amd/ops/dsv4_csa_compress.hip",
    .bound = bound,
    .latitude = KV_POOL_LATITUDE " " KV_NORM_LATITUDE " " KV_ROPE_LATITUDE,
    DSV4_OP_PARTS,
};
