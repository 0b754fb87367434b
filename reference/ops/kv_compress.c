/* SPDX-License-Identifier: Apache-2.0 */
/*
 * kv_compress: the first of the two split stages. Pools the window that ends at every boundary token into scratch.
 *
 * For every row t with slot_mapping[t] >= 0 and (positions[t] + 1) % ratio == 0: scratch[t] = pool(window); other rows
 * of scratch stay untouched. Formula, rounding points and Latitude: kv_pool.c.
 * Source: vllm nvidia/ops/sparse_attn_compress_cutedsl.py (two-stage C128), compressor.py; bf16 state:
 * amd/ops/dsv4_hca_compress.hip.
 */
#include "kv_bound.h"

enum { STATE, APE, TOKEN_TO_REQ, POSITIONS, SLOT_MAPPING, BLOCK_TABLE, SCRATCH };

static const struct dsv4_param_def params[] = {
    KV_RATIO_PARAM,
    DSV4_PARAM_INT("head", CALL, 512, 128, 512, "512, or 128 for the indexer"),
    KV_STATE_PARAM,
    KV_SCALE_FLOOR_PARAM,
    KV_STATE_BLOCK_SIZE_PARAM,
    KV_STEP_PARAMS("9@0"),
    KV_COMPRESSOR_FILL_PARAMS,
};

static const struct dsv4_slot slots[] = {
    KV_STATE_SLOTS,
    {"scratch", DSV4_OUT, "[T, head] f32, rows strided",
      "pooled rows; only active boundary rows are written"},
};

static const struct dsv4_mutant mutants[] = {KV_POOL_MUTANTS};

static int shape(struct dsv4_case *c, struct dsv4_err *err) {
    const int64_t head = dsv4_case_int(c, "head");
    if (kv_shape_pool(c, head, err) != 0) return -1;
    DSV4_SHAPE(c, SCRATCH, DSV4_F32, kv_step_of(c)->batch.n_rows, head);
    kv_widen(c, SCRATCH, 0, 64);
    return 0;
}

static void fill(struct dsv4_case *c) {
    kv_fill_pool(c, dsv4_case_int(c, "head"));
    kv_fill_overlay(c, dsv4_case_int(c, "head"), -1);
}

const struct dsv4_op dsv4_op_kv_compress;

static int run(const dsv4_call *call, int mutant, struct dsv4_err *err) {
    const enum kv_wrong wrong = kv_wrong_of(&dsv4_op_kv_compress, mutant);
    const dsv4_tensor *const tensors = call->tensors, *const scratch = &tensors[SCRATCH];
    const int64_t n = kv_covered(&tensors[SLOT_MAPPING], scratch->shape[0]);
    struct kv_state state;
    if (kv_refuse(call, err)) return DSV4_REFUSED;
    kv_state_open(&state, call, scratch->shape[1], wrong);
#pragma omp parallel for schedule(dynamic, 1)
    for (int64_t t = 0; t < n; t++) {
        const int64_t position = kv_i64(&tensors[POSITIONS], t);
        if (!kv_boundary(kv_i64(&tensors[SLOT_MAPPING], t), position, state.ratio, wrong)) continue;
        float values[KV_MAX_HEAD];
        kv_pool(&state, values, kv_i32(&tensors[TOKEN_TO_REQ], t), position);
        memcpy((char *)scratch->data + t * scratch->stride[0], values,
               (size_t)state.head * sizeof *values);
    }
    return DSV4_OK;
}

/* Every row that is written is a row of pooled balls: kv_pool.c. */
static void bound(const dsv4_call *call, struct dsv4_admission *a) {
    const dsv4_tensor *const tensors = call->tensors, *const scratch = &tensors[SCRATCH];
    const int64_t n = kv_covered(&tensors[SLOT_MAPPING], scratch->shape[0]);
    struct kv_state state;
    kv_state_open(&state, call, scratch->shape[1], KV_RIGHT);
#pragma omp parallel for schedule(dynamic, 1)
    for (int64_t t = 0; t < n; t++) {
        const int64_t position = kv_i64(&tensors[POSITIONS], t);
        const struct dsv4_row row = {SCRATCH, t * scratch->stride[0], 4, DSV4_AS_F32, state.head,
                                     1};
        struct dsv4_ball values[KV_MAX_HEAD];
        if (!kv_boundary(kv_i64(&tensors[SLOT_MAPPING], t), position, state.ratio, KV_RIGHT))
            continue;
        if (dsv4_admit_settled(a, &row, 1)) continue;
        kv_pool_balls(&state, &a->arithmetic, values, kv_i32(&tensors[TOKEN_TO_REQ], t), position);
        dsv4_admit(a, &row, values, NULL);
    }
}

static void trace(const struct dsv4_case *c, size_t slot, int64_t offset, char *line, size_t size) {
    kv_trace_window(c, offset / c->tensors[slot].t.stride[0], line, size);
}

static void work(const struct dsv4_case *c, struct dsv4_work *work) {
    const double head = (double)dsv4_case_int(c, "head");
    work->bytes_written = kv_pool_work(c, head, work) * head * 4;
}

const struct dsv4_op dsv4_op_kv_compress = {
    .name = "kv_compress",
    .summary = "pools each window that ends at a boundary token into an fp32 scratch row",
    .source = "vllm deepseek_v4 nvidia/ops/sparse_attn_compress_cutedsl.py, "
              "amd/ops/dsv4_hca_compress.hip",
    .bound = bound,
    .latitude = KV_POOL_LATITUDE,
    DSV4_OP_PARTS,
};
