/* SPDX-License-Identifier: Apache-2.0 */
/*
 * rope_inverse: turns the last 64 channels of every attention output back by its token's position.
 *
 *   pairs (2i, 2i + 1) of channels 448..511, c and s from row positions[t]: even = e*c + o*s, odd = o*c - e*s
 *   dialect `rope` plain: each product rounded, then one sum; fma: fma(e, c, o*s), fma(o, c, -(e*s)). Then bf16.
 * Channels 0..447 are copied as bits. in_place: o itself is rotated, its other channels are not touched.
 * Every row is written, those of padded tokens too. 65,536 tokens of 64 heads are 2^31 elements: offsets are of 64 bits.
 * Source: DeepSeek inference/model.py apply_rotary_emb(inverse); vllm rocm inverse RoPE (rocm_aiter_mla_sparse.py).
 * Latitude: both dialects are right in other arithmetic. Fused into an attention kernel's end the rotation takes fp32 values, here it takes bf16.
 */
#include <stdio.h>

#include "kv_bound.h"
#include "rope_family.h"

enum { O, POSITIONS, ROPE_TABLE, OUT };

static const struct dsv4_param_def params[] = {
    DSV4_PARAM_NAME("rope", DIALECT, "plain", "plain fma", "products rounded, or one of two fused"),
    DSV4_PARAM_INT("in_place", CALL, 0, 0, 1, "1: o is rotated, there is no out"),
    DSV4_PARAM_INT("heads", INPUT, 64, 1, 128, "attention heads"),
    ROPE_POSITION_PARAM,
    KV_STEP_PARAMS("3@5"),
    KV_MAX_POSITION_PARAM,
    ROPE_GAP_PARAM,
    DSV4_PARAM_NAME("values", INPUT, "normal", DSV4_VALUE_WORDS " fusible nan",
                    "outputs of attention; fusible: pairs that show a fused product; nan: NaN with "
                    "payloads in the channels that are copied, infinities in the others"),
};

static const struct dsv4_slot slots[] = {
    {"o",          DSV4_IN,  "[T, heads, 512] bf16, strided",            "attention outputs; in place: written"},
    {"positions",  DSV4_IN,  "[T] i64 or i32",                           "token positions"                     },
    {"rope_table", DSV4_IN,  "[max_position, 64] f32, rows strided",     "32 cos, then 32 sin"                 },
    {"out",        DSV4_OUT, "[T, heads, 512] bf16, strided, or absent", "turned back"                         },
};

static const struct dsv4_mutant mutants[] = {
    ROPE_MUTANTS,
    {"rope-other",  "a product fused where it is not, or not where it is",        ROPE_OTHER      },
    {"truncated",   "the result cut off; it is rounded to nearest even",          ROPE_TRUNCATED  },
    {"nope-lost",   "channels 0..447 not written; they are copied",               ROPE_NOPE_LOST  },
    {"row-dense",   "tokens and heads taken as contiguous; they have strides",    ROPE_ROW_DENSE  },
    {"token-wraps", "byte offset of a token of o computed in 32 bits",            ROPE_TOKEN_WRAPS},
    {"out-wraps",   "byte offset of a token that is written computed in 32 bits", ROPE_OUT_WRAPS  },
};

static int shape(struct dsv4_case *c, struct dsv4_err *err) {
    const struct kv_step *const step = kv_step_make(c, err);
    if (step == NULL) return -1;
    const int64_t rows = step->batch.n_rows, heads = dsv4_case_int(c, "heads");
    DSV4_SHAPE(c, O, DSV4_BF16, rows, heads, KV_HEAD);
    kv_widen(c, O, 1, 64);
    kv_widen(c, O, 0, 32);
    rope_spread(c, O);
    dsv4_absent(c, OUT);
    if (dsv4_case_int(c, "in_place") != 0) {
        c->tensors[O].role = DSV4_INOUT;
    } else {
        DSV4_SHAPE(c, OUT, DSV4_BF16, rows, heads, KV_HEAD);
        kv_widen(c, OUT, 0, 96);
        rope_spread(c, OUT);
    }
    return rope_shape_positions(c, POSITIONS, ROPE_TABLE, err);
}

/* NaN with payloads where channels are copied; infinities where they rotate. */
static void put_nan(const struct dsv4_case *c) {
    const dsv4_tensor *const o = &c->tensors[O].t;
    for (int64_t i = 0; i < o->shape[0] * o->shape[1]; i++) {
        uint16_t *const row = (void *)((char *)o->data + i / o->shape[1] * o->stride[0] +
                                       i % o->shape[1] * o->stride[1]);
        row[7] = 0xFFA5;
        row[447] = 0x7F81;
        row[450] = i % 2 ? 0x7F80 : 0xFF80;
        row[453] = 0x7FC1;
    }
}

static void fill(struct dsv4_case *c) {
    const char *const values = dsv4_case_word(c, "values");
    rope_fill_positions(c, POSITIONS, ROPE_TABLE);
    if (strcmp(values, "fusible") == 0) {
        rope_fill_fusible(c, O, POSITIONS, ROPE_TABLE);
        return;
    }
    dsv4_fill_bf16(c, O, strcmp(values, "nan") == 0 ? "coarse" : values, 1, 64);
    if (strcmp(values, "nan") == 0) put_nan(c);
}

const struct dsv4_op dsv4_op_rope_inverse;

static void turn(uint16_t *out, const uint16_t *o, const float *angle, bool fused,
                 enum rope_wrong wrong) {
    const int first = wrong == ROPE_FIRST ? 0 : KV_HEAD - KV_ROPE;
    float y[KV_HEAD];
    kv_load_bf16(y + first, o + first, KV_ROPE);
    rope_back(y, angle, fused, wrong);
    if (wrong == ROPE_TRUNCATED)
        for (int i = first; i < KV_HEAD; i++) out[i] = (uint16_t)(dsv4_bits(y[i]) >> 16);
    else
        kv_store_bf16(out + first, y + first, KV_ROPE);
}

/* All heads of a token: in one piece where they lie behind each other, which memory likes better. */
static void copy_heads(char *out, const char *o, int64_t heads, int64_t out_head, int64_t head) {
    const int64_t bytes = KV_HEAD * 2;
    if (head == bytes && out_head == bytes)
        memcpy(out, o, (size_t)(heads * bytes));
    else
        for (int64_t h = 0; h < heads; h++) memcpy(out + h * out_head, o + h * head, (size_t)bytes);
}

static int run(const dsv4_call *call, int mutant, struct dsv4_err *err) {
    const enum rope_wrong wrong = rope_wrong_of(&dsv4_op_rope_inverse, mutant);
    const bool in_place = dsv4_int(call, "in_place", 0) != 0, fused = dsv4_is(call, "rope", "fma");
    const dsv4_tensor *const o = &call->tensors[O], *const out = &call->tensors[in_place ? O : OUT];
    const bool dense = wrong == ROPE_ROW_DENSE;
    const int64_t head = dense ? KV_HEAD * 2 : o->stride[1];
    (void)err;
#pragma omp parallel for schedule(static)
    for (int64_t t = 0; t < o->shape[0]; t++) {
        const float *const angle =
            rope_angle(&call->tensors[ROPE_TABLE], &call->tensors[POSITIONS], t, wrong);
        const int64_t token =
            dense ? t * o->shape[1] * KV_HEAD * 2 : rope_offset(o, t, wrong == ROPE_TOKEN_WRAPS);
        const char *const from = (const char *)o->data + token;
        char *const to = (char *)out->data + rope_offset(out, t, wrong == ROPE_OUT_WRAPS);
        if (!in_place && wrong != ROPE_NOPE_LOST)
            copy_heads(to, from, o->shape[1], out->stride[1], head);
        for (int64_t h = 0; h < o->shape[1]; h++)
            turn((void *)(to + h * out->stride[1]), (const void *)(from + h * head), angle, fused,
                 wrong);
    }
    return DSV4_OK;
}

/* The rotated channels: kv_bound.c. The others are copies. */
static void bound(const dsv4_call *call, struct dsv4_admission *a) {
    const dsv4_tensor *const o = &call->tensors[O];
    const size_t slot = dsv4_int(call, "in_place", 0) != 0 ? O : OUT;
    const dsv4_tensor *const out = &call->tensors[slot];
#pragma omp parallel for schedule(static) collapse(2)
    for (int64_t t = 0; t < o->shape[0]; t++)
        for (int64_t h = 0; h < o->shape[1]; h++) {
            const char *const from = (const char *)o->data + t * o->stride[0] + h * o->stride[1];
            const int64_t at = t * out->stride[0] + h * out->stride[1] + 2 * KV_NOPE;
            const struct dsv4_row row = {slot, at, 2, DSV4_AS_BF16, KV_ROPE, 1};
            struct dsv4_ball y[KV_ROPE];
            float x[KV_ROPE];
            if (!dsv4_admit_same(a, &row, 0, KV_ROPE)) {
                kv_load_bf16(x, from + 2 * KV_NOPE, KV_ROPE);
                kv_balls_of(y, x, KV_ROPE);
                kv_rope_balls(y,
                              rope_angle(&call->tensors[ROPE_TABLE], &call->tensors[POSITIONS], t,
                                         ROPE_RIGHT),
                              true);
            }
            dsv4_admit(a, &row, y, NULL);
        }
}

static void trace(const struct dsv4_case *c, size_t slot, int64_t offset, char *line, size_t size) {
    const dsv4_tensor *const out = &c->tensors[slot].t;
    const int64_t t = offset / out->stride[0], h = offset % out->stride[0] / out->stride[1];
    snprintf(line, size, "token %lld (position %lld), head %lld, channel %lld", (long long)t,
             (long long)kv_step_of(c)->batch.positions[t], (long long)h,
             (long long)(offset % out->stride[0] % out->stride[1] / 2));
}

static void work(const struct dsv4_case *c, struct dsv4_work *work) {
    const dsv4_tensor *const o = &c->tensors[O].t;
    const double heads = (double)(o->shape[0] * o->shape[1]);
    const double bytes = dsv4_case_int(c, "in_place") != 0 ? KV_ROPE * 2 : KV_HEAD * 2;
    work->bytes_read = heads * bytes + (double)o->shape[0] * (KV_ROPE_TABLE_ROW * 4 + 8);
    work->bytes_written = heads * bytes;
}

const struct dsv4_op dsv4_op_rope_inverse = {
    .name = "rope_inverse",
    .summary = "turns the RoPE channels of attention outputs back, in place or not",
    .source = "DeepSeek inference/model.py; vllm rocm_aiter_mla_sparse.py",
    .bound = bound,
    .latitude = "rope-other",
    DSV4_OP_PARTS,
};
