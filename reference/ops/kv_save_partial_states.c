/* SPDX-License-Identifier: Apache-2.0 */
/*
 * kv_save_partial_states: keeps the compressor's per-token projections.
 *
 * For every row t that slot_mapping covers, slot = slot_mapping[t] >= 0:
 *   state[slot / B, slot % B, :width] = kv[t];  state[.., width:] = score[t] + ape[positions[t] % ratio]
 * Rounding points: the add, once per element. bf16 state: kv and score are rounded to bf16, APE is added at read.
 * Source: vllm common/ops/save_partial_states.py; the bf16 form as vllm's HIP compressor reads it.
 * Latitude: none. Two rows with one slot are undefined and do not occur.
 */
#include "kv_family.h"

enum { KV, SCORE, APE, POSITIONS, SLOT_MAPPING, STATE };

static const struct dsv4_param_def params[] = {
    KV_RATIO_PARAM,
    DSV4_PARAM_INT("head", INPUT, 512, 128, 512, "512, or 128 for the indexer"),
    KV_STATE_PARAM,
    KV_STATE_BLOCK_SIZE_PARAM,
    KV_STEP_PARAMS("9@0"),
    KV_COMPRESSOR_FILL_PARAMS,
};

static const struct dsv4_slot slots[] = {
    {"kv",           DSV4_IN,  "[T, width] f32, rows strided",
     "width: 1024 (ratio 4), 512 (128), 256 (indexer)"                                                                                  },
    {"score",        DSV4_IN,  "[T, width] f32, rows strided",                               "the other column slice of one projection" },
    {"ape",          DSV4_IN,  "[ratio, width] f32, or absent",                              "position embedding; absent for bf16 state"},
    {"positions",    DSV4_IN,  "[T] i64",                                                    "token positions"                          },
    {"slot_mapping", DSV4_IN,  "[N <= T] i64",                                               "slots of the state cache; -1 is padding"  },
    {"state",        DSV4_OUT, "[blocks, state_block_size, 2 * width] f32 or bf16, strided",
     "kv, then score"                                                                                                                   },
};

static const struct dsv4_mutant mutants[] = {
    KV_MUTANT_APE_BY_ROW,     KV_MUTANT_APE_ON_KV,      KV_MUTANT_APE_LOST,
    KV_MUTANT_HALVES_SWAPPED, KV_MUTANT_PADDING_WRITES, KV_MUTANT_STATE_TRUNCATED,
    KV_MUTANT_ADDRESS_WRAPS,
};

static int64_t width_of(const struct dsv4_case *c) {
    return kv_state_width(dsv4_case_int(c, "ratio"), dsv4_case_int(c, "head"));
}

static int shape(struct dsv4_case *c, struct dsv4_err *err) {
    const int64_t ratio = dsv4_case_int(c, "ratio"), width = width_of(c);
    struct kv_step *const step = kv_step_make(c, err);
    if (step == NULL || kv_check_ratio(ratio, dsv4_case_int(c, "head"), err) != 0) return -1;
    const int64_t rows = step->batch.n_rows;
    DSV4_SHAPE(c, KV, DSV4_F32, rows, width);
    DSV4_SHAPE(c, SCORE, DSV4_F32, rows, width);
    kv_widen(c, KV, 0, width * 4);
    kv_widen(c, SCORE, 0, width * 4);
    if (dsv4_case_is(c, "state", "f32"))
        kv_shape_ape(c, APE, ratio, width);
    else
        dsv4_absent(c, APE);
    kv_shape_rows(c, POSITIONS, DSV4_I64, rows);
    kv_shape_rows(c, SLOT_MAPPING, DSV4_I64, step->n_slots);
    kv_shape_state(c, STATE, width);
    return 0;
}

static void fill(struct dsv4_case *c) {
    const char *const values = dsv4_case_word(c, "values"), *const scores =
                                                                dsv4_case_word(c, "scores");
    const dsv4_tensor *const kv = &c->tensors[KV].t, *const score = &c->tensors[SCORE].t;
#pragma omp parallel for schedule(static)
    for (int64_t t = 0; t < kv->shape[0]; t++) {
        float *const kv_row = (float *)(void *)((char *)kv->data + t * kv->stride[0]);
        float *const score_row = (float *)(void *)((char *)score->data + t * score->stride[0]);
        for (int64_t d = 0; d < kv->shape[1]; d++) {
            kv_row[d] = dsv4_state_value(values, c->seed, 1, t, d);
            score_row[d] = dsv4_score(scores, c->seed, 2, t, d);
        }
    }
    kv_fill_ape(c, APE);
    kv_fill_positions(c, POSITIONS);
    kv_fill_slots(c, SLOT_MAPPING, &kv_step_of(c)->state);
}

static void save_f32(float *restrict to, const float *restrict kv, const float *restrict score,
                     const float *restrict ape, int64_t width) {
    memcpy(to, kv, (size_t)width * sizeof *to);
#pragma omp simd
    for (int64_t d = 0; d < width; d++) to[width + d] = score[d] + ape[d];
}

static void save_bf16(uint16_t *restrict to, const float *restrict kv, const float *restrict score,
                      int64_t width, enum kv_wrong wrong) {
#pragma omp simd
    for (int64_t d = 0; d < width; d++) {
        to[d] = dsv4_bf16_from_f32(kv[d]);
        to[width + d] = dsv4_bf16_from_f32(score[d]);
    }
    for (int64_t d = 0; wrong == KV_STATE_TRUNCATED && d < width; d++) {
        to[d] = (uint16_t)(dsv4_bits(kv[d]) >> 16);
        to[width + d] = (uint16_t)(dsv4_bits(score[d]) >> 16);
    }
}

static void save_f32_wrong(float *to, const float *kv, const float *score, const float *ape,
                           int64_t width, enum kv_wrong wrong) {
    const int64_t first = wrong == KV_HALVES_SWAPPED ? width : 0;
    for (int64_t d = 0; d < width; d++) {
        to[first + d] = wrong == KV_APE_ON_KV ? kv[d] + ape[d] : kv[d];
        to[width - first + d] = wrong == KV_APE_LOST ? score[d] : score[d] + ape[d];
    }
}

static void save_row(const dsv4_call *call, int64_t t, enum kv_wrong wrong) {
    const dsv4_tensor *const tensors = call->tensors, *const state = &tensors[STATE];
    const int64_t width = tensors[KV].shape[1], ratio = dsv4_int(call, "ratio", 4);
    int64_t slot = kv_i64(&tensors[SLOT_MAPPING], t);
    if (slot < 0 && wrong != KV_PADDING_WRITES) return;
    slot = slot < 0 ? 0 : slot;
    const void *const kv = (const char *)tensors[KV].data + t * tensors[KV].stride[0];
    const void *const score = (const char *)tensors[SCORE].data + t * tensors[SCORE].stride[0];
    int64_t offset = slot / state->shape[1] * state->stride[0];
    if (wrong == KV_ADDRESS_WRAPS) offset &= INT64_C(0xFFFFFFFF);
    void *const to = (char *)state->data + offset + slot % state->shape[1] * state->stride[1];
    if (state->dtype == DSV4_BF16) {
        save_bf16(to, kv, score, width, wrong);
        return;
    }
    const int64_t a = (wrong == KV_APE_BY_ROW ? t : kv_i64(&tensors[POSITIONS], t)) % ratio;
    const void *const ape = (const char *)tensors[APE].data + a * tensors[APE].stride[0];
    if (wrong == KV_RIGHT)
        save_f32(to, kv, score, ape, width);
    else
        save_f32_wrong(to, kv, score, ape, width, wrong);
}

const struct dsv4_op dsv4_op_kv_save_partial_states;

static int run(const dsv4_call *call, int mutant, struct dsv4_err *err) {
    const enum kv_wrong wrong = kv_wrong_of(&dsv4_op_kv_save_partial_states, mutant);
    const int64_t n = kv_covered(&call->tensors[SLOT_MAPPING], call->tensors[KV].shape[0]);
    (void)err;
#pragma omp parallel for schedule(static)
    for (int64_t t = 0; t < n; t++) save_row(call, t, wrong);
    return DSV4_OK;
}

static void trace(const struct dsv4_case *c, size_t slot, int64_t offset, char *line, size_t size) {
    const dsv4_tensor *const state = &c->tensors[slot].t;
    const int64_t row =
        offset / state->stride[0] * state->shape[1] + offset % state->stride[0] / state->stride[1];
    kv_trace_row(c, SLOT_MAPPING, row, line, size);
}

static void work(const struct dsv4_case *c, struct dsv4_work *work) {
    const double active = (double)kv_active(c, SLOT_MAPPING);
    const double width = (double)width_of(c);
    work->bytes_read = active * (width * 8 + 16);
    work->bytes_written = active * width * 2 * (double)dsv4_dtype_bytes(c->tensors[STATE].t.dtype);
}

const struct dsv4_op dsv4_op_kv_save_partial_states = {
    .name = "kv_save_partial_states",
    .summary = "stores kv and score + APE of each token in the compressor's paged state",
    .source = "vllm deepseek_v4 common/ops/save_partial_states.py",
    .exact = "copies, and one sum of two floats, rounded once",
    DSV4_OP_PARTS,
};
