/* SPDX-License-Identifier: Apache-2.0 */
/*
 * kv_quantize_insert: quantises bf16 rows into the 584-byte KV cache.
 *
 * For every t that slot_mapping covers with slot_mapping[t] >= 0: store k[t] at that slot; channels 448..511 are copied
 * bit for bit. Rounding points: kv_store.c (the bf16 round is exact here).
 * Source: vllm common/ops/cache_utils.py, quantize_and_insert_k_cache.
 * Latitude: none on finite input. Slots other than -1 below zero are undefined upstream; here every negative one skips.
 */
#include "kv_family.h"

enum { K, SLOT_MAPPING, CACHE };

static const struct dsv4_param_def params[] = {
    KV_FP8_PARAM,
    KV_LAYOUT_PARAM,
    KV_BLOCK_SIZE_PARAM(64),
    KV_STEP_PARAMS("17@0"),
    DSV4_PARAM_NAME("values", INPUT, "normal", DSV4_VALUE_WORDS, "rows of k"),
};

static const struct dsv4_slot slots[] = {
    {"k",            DSV4_IN,  "[T, 512] bf16, rows strided",            "RoPE applied to channels 448..511"},
    {"slot_mapping", DSV4_IN,  "[N <= T] i64",                           "slots of the cache; -1 is padding"},
    {"cache",        DSV4_OUT, "[blocks, page bytes] u8, pages strided", "584 bytes per token"              },
};

static const struct dsv4_mutant mutants[] = {
    KV_MUTANT_SCALE_FLOOR,   KV_MUTANT_SCALE_UNFLOORED,    KV_MUTANT_SCALE_BIAS,
    KV_MUTANT_TIES_AWAY,     KV_MUTANT_SUBNORMALS_FLUSHED, KV_MUTANT_NEGATIVE_UNDERFLOW,
    KV_MUTANT_PAD_BYTE,      KV_MUTANT_PADDING_WRITES,     KV_MUTANT_SLOT_ORDER,
    KV_MUTANT_ADDRESS_WRAPS,
};

static int shape(struct dsv4_case *c, struct dsv4_err *err) {
    const struct kv_step *const step = kv_step_make(c, err);
    if (step == NULL) return -1;
    DSV4_SHAPE(c, K, DSV4_BF16, step->batch.n_rows, KV_HEAD);
    kv_widen(c, K, 0, 64);
    kv_shape_rows(c, SLOT_MAPPING, DSV4_I64, step->n_slots);
    kv_shape_cache(c, CACHE, KV_DS_MLA, 1, 128);
    return 0;
}

static void fill(struct dsv4_case *c) {
    dsv4_fill_bf16(c, K, dsv4_case_word(c, "values"), 1, KV_GROUP);
    kv_fill_slots(c, SLOT_MAPPING, &kv_step_of(c)->cache);
}

static void load(float *values, const dsv4_tensor *k, int64_t t) {
    kv_load_bf16(values, (const char *)k->data + t * k->stride[0], KV_HEAD);
}

const struct dsv4_op dsv4_op_kv_quantize_insert;

static int run(const dsv4_call *call, int mutant, struct dsv4_err *err) {
    const enum kv_wrong wrong = kv_wrong_of(&dsv4_op_kv_quantize_insert, mutant);
    const dsv4_tensor *const tensors = call->tensors;
    const int64_t n = kv_covered(&tensors[SLOT_MAPPING], tensors[K].shape[0]);
    struct kv_store store;
    (void)err;
    kv_store_open(&store, call, &tensors[CACHE], wrong);
    store.nope_is_bf16 = true;
#pragma omp parallel for schedule(static)
    for (int64_t t = 0; t < n; t++) {
        int64_t slot = kv_i64(&tensors[SLOT_MAPPING], t);
        if (slot < 0 && wrong != KV_PADDING_WRITES) continue;
        if (wrong == KV_SLOT_ORDER) slot = t % (store.n_blocks * store.block_size);
        float values[KV_HEAD];
        load(values, &tensors[K], t);
        kv_store_row(&store, values, slot >= 0 ? slot : 0);
    }
    return DSV4_OK;
}

static void trace(const struct dsv4_case *c, size_t slot, int64_t offset, char *line, size_t size) {
    const int64_t row = kv_cache_row_at(c, slot, offset);
    const int64_t t = kv_writer_of(&c->tensors[SLOT_MAPPING].t, row);
    float values[KV_HEAD];
    kv_trace_row(c, SLOT_MAPPING, row, line, size);
    if (t < 0) return;
    load(values, &c->tensors[K].t, t);
    kv_trace_group(c, slot, offset, values, line, size);
}

static void work(const struct dsv4_case *c, struct dsv4_work *work) {
    const int64_t active = kv_active(c, SLOT_MAPPING);
    work->bytes_read = (double)(active * (KV_HEAD * 2 + 8));
    work->bytes_written = (double)(active * KV_TOKEN_BYTES);
}

const struct dsv4_op dsv4_op_kv_quantize_insert = {
    .name = "kv_quantize_insert",
    .summary = "quantises bf16 rows into the 584-byte KV cache",
    .source = "vllm deepseek_v4 common/ops/cache_utils.py",
    .exact = "the greatest magnitude is an input, its scale a matter of bits, and a value over a "
             "power of two exact",
    DSV4_OP_PARTS,
};
