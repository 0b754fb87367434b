/* SPDX-License-Identifier: Apache-2.0 */
/*
 * idx_q_quant: rotates and quantises the indexer's queries and folds what is constant per row into the weights.
 *
 * 1. Channels 64..127 are rotated in neighbouring pairs: e' = e*cos - o*sin, o' = o*cos + e*sin.
 *      plain: each product rounded, then one sum. fma: fma(e, cos, -(o*sin)), fma(o, cos, e*sin).
 *    All 128 channels are rounded to bf16.
 * 2. fp8    s = 2^ceil(log2(max(amax, 1e-4) / M)) over the 128 channels, M = 448, 224 or 240, the quotient rounded, the
 *           power by exponent bits; code = e4m3(x / s); w' = ((w * s) * softmax_scale) * head_scale
 *    mxfp4  per 32 channels: byte = exponent of max(amax, 6 * 2^-126) * (1/6), rounded up by exponent bits;
 *           code = e2m1(x / 2^(byte - 127)), the even channel in the low nibble; w' = (w * softmax_scale) * head_scale
 * Rounding points: each operation named, once; x / s is exact. cos and sin are fp32, or bf16 that is widened: no rounding.
 * form v32, fp8 alone: channels 0..63 are rotated, s = 2^ceil(log2(max(amax, 1e-10) * (1/M))), and x / s is clamped to
 * [-M, M], which is nothing: s * M >= amax.
 * Every row is written, those of padded tokens too. Domain: values that stay finite when they are rotated; positions, stale
 * ones of padding too, that name a row of the table.
 *
 * Source: vllm fused_indexer_q_rope_quant; v32: model_executor/layers/sparse_attn_indexer.py. A bf16 table (param `table`):
 * nvidia/ops/fused_indexer_q_cutedsl.py, which takes cos_sin_cache in either dtype.
 * Latitude: bounds take either form of RoPE and any order of the weight's factors. amax is a bf16 value, so that dividing by M and multiplying by 1/M agree after the power is taken.
 * Kernels with log2f instead of exponent bits differ for scales just above a power of two; bf16 amax never comes so near.
 */
#include "idx_query_bound.h"

enum { WEIGHTS = IDX_ROPE_TABLE + 1, Q_OUT, SCALES, WEIGHTS_OUT };

static const struct dsv4_param_def params[] = {
    IDX_QUERY_PARAMS,
    DSV4_PARAM_NAME("form", DIALECT, "v4", "v4 v32",
                    "v32: DeepSeek-V3.2's; the first 64 channels rotate, amax is at least 1e-10"),
    DSV4_PARAM_FLOAT("softmax_scale", CALL, 0.088388346, 0, 16, "128^-0.5"),
    DSV4_PARAM_FLOAT("head_scale", CALL, 0.125, 0, 16, "heads^-0.5"),
    DSV4_PARAM_NAME("weight_dtype", INPUT, "f32", "f32 bf16", "dtype of the weights"),
    KV_TABLE_PARAM,
};

static const struct dsv4_slot slots[] = {
    {"q",           DSV4_IN,  "[T, heads, 128] bf16, strided",                "queries"                         },
    {"positions",   DSV4_IN,  "[T] i64",                                      "token positions"                 },
    {"rope_table",  DSV4_IN,  "[max_position, 64] f32 or bf16, rows strided", "32 cos, then 32 sin"             },
    {"weights",     DSV4_IN,  "[T, heads] f32 or bf16, rows strided",         "one weight per head"             },
    {"q_out",       DSV4_OUT, "[T, heads, 128] e4m3 or [T, heads, 64] u8",    "codes"                           },
    {"scales",      DSV4_OUT, "[T, heads, 4] u8, or absent",                  "with mxfp4: scale bytes"         },
    {"weights_out", DSV4_OUT, "[T, heads] f32, rows strided",                 "weights with the factors in them"},
};

static const struct dsv4_mutant mutants[] = {
    IDX_MUTANTS_OF_ROPE,
    {"table-as-f32",   "a bf16 table read as fp32: two entries in one",                           IDX_TABLE_AS_F32  },
    IDX_MUTANTS_OF_CODES,
    {"scale-floor",    "the scale's exponent rounded down; it is rounded up",                     IDX_SCALE_FLOOR   },
    {"floor-lost",     "amax from 1e-10 on kept where 1e-4 is the least, or the reverse",
      IDX_FLOOR_LOST                                                                                                 },
    {"scale-unused",   "weights without the scale of their row (fp8): codes have no other scale",
      IDX_SCALE_UNUSED                                                                                               },
    {"scale-folded",   "weights times a scale although mxfp4 codes carry theirs",                 IDX_SCALE_FOLDED  },
    {"weight-rounded", "new weights rounded to bf16; they are fp32",                              IDX_WEIGHT_ROUNDED},
    {"factors-first",  "both factors multiplied first; the weight takes them one by one",
      IDX_FACTORS_FIRST                                                                                              },
    {"hadamard",       "a Hadamard transform before quantising: that is another op",              IDX_HADAMARD      },
    {"zeros-skipped",  "a query of zeros, as padding has, left as it was; every row is written",
      IDX_ZEROS_SKIPPED                                                                                              },
    {"form-other",     "quantised as V3.2 does where V4 is asked for, or the reverse",            IDX_FORM_OTHER    },
};

static int shape(struct dsv4_case *c, struct dsv4_err *err) {
    if (idx_query_shape(c, kv_table_dtype(c), err) != 0) return -1;
    if (dsv4_case_is(c, "form", "v32") && dsv4_case_is(c, "format", "mxfp4"))
        return dsv4_fail(err, "form: V3.2 has no mxfp4");
    const int64_t rows = kv_step_of(c)->batch.n_rows, heads = dsv4_case_int(c, "heads");
    DSV4_SHAPE(c, WEIGHTS, dsv4_case_is(c, "weight_dtype", "f32") ? DSV4_F32 : DSV4_BF16, rows,
               heads);
    kv_widen(c, WEIGHTS, 0, 24);
    idx_query_shape_codes(c, Q_OUT);
    if (dsv4_case_is(c, "format", "mxfp4"))
        DSV4_SHAPE(c, SCALES, DSV4_U8, rows, heads, INDEXER_MXFP4_GROUPS);
    else
        dsv4_absent(c, SCALES);
    DSV4_SHAPE(c, WEIGHTS_OUT, DSV4_F32, rows, heads);
    kv_widen(c, WEIGHTS_OUT, 0, 20);
    c->tensors[WEIGHTS].align = c->tensors[WEIGHTS_OUT].align = 4;
    return 0;
}

static void fill(struct dsv4_case *c) {
    const dsv4_tensor *const weights = &c->tensors[WEIGHTS].t;
    idx_query_fill(c, false);
    for (int64_t t = 0; t < weights->shape[0]; t++)
        for (int64_t h = 0; h < weights->shape[1]; h++) {
            char *const row = (char *)weights->data + t * weights->stride[0];
            const uint64_t id = (uint64_t)(t * weights->shape[1] + h);
            const float w = dsv4_normal(dsv4_random(c->seed, 3, id));
            if (weights->dtype == DSV4_F32)
                ((float *)(void *)row)[h] = w;
            else
                ((uint16_t *)(void *)row)[h] = dsv4_bf16_from_f32(w);
        }
}

struct factors {
    float softmax, head;
    bool folded;
    enum idx_query_wrong wrong;
};

static float weigh(const struct factors *factors, float w, const struct idx_query_row *row) {
    const bool folded = factors->folded && factors->wrong != IDX_SCALE_UNUSED;
    if (folded) w = w * row->scale;
    if (factors->wrong == IDX_SCALE_FOLDED && !folded)
        w = w * dsv4_from_bits((uint32_t)row->bytes[0] << 23);
    const float both = factors->softmax * factors->head;
    w = factors->wrong == IDX_FACTORS_FIRST ? w * both : (w * factors->softmax) * factors->head;
    return factors->wrong == IDX_WEIGHT_ROUNDED ? dsv4_bf16_to_f32(dsv4_bf16_from_f32(w)) : w;
}

/* Whether all channels are zeros, of either sign. */
static bool is_zero(const dsv4_tensor *q, int64_t t, int64_t h) {
    const char *const row = (const char *)q->data + t * q->stride[0] + h * q->stride[1];
    for (int64_t i = 0; i < INDEXER_HEAD; i++)
        if ((((const uint16_t *)(const void *)row)[i] & 0x7FFF) != 0) return false;
    return true;
}

const struct dsv4_op dsv4_op_idx_q_quant;

static float weight_at(const dsv4_tensor *weights, int64_t t, int64_t h) {
    const char *const from = (const char *)weights->data + t * weights->stride[0];
    return weights->dtype == DSV4_F32 ? ((const float *)(const void *)from)[h]
                                      : dsv4_bf16_to_f32(((const uint16_t *)(const void *)from)[h]);
}

static int run(const dsv4_call *call, int mutant, struct dsv4_err *err) {
    const dsv4_tensor *const weights = &call->tensors[WEIGHTS], *const q = &call->tensors[IDX_Q];
    const dsv4_tensor *const out = &call->tensors[Q_OUT], *const scales = &call->tensors[SCALES];
    const dsv4_tensor *const weights_out = &call->tensors[WEIGHTS_OUT];
    struct idx_query query;
    (void)err;
    idx_query_open(&query, call, idx_query_wrong_of(&dsv4_op_idx_q_quant, mutant));
    const struct factors factors = {dsv4_float(call, "softmax_scale", 0.088388346f),
                                    dsv4_float(call, "head_scale", 0.125f), !query.mxfp4,
                                    query.wrong};
#pragma omp parallel for schedule(static) collapse(2)
    for (int64_t t = 0; t < q->shape[0]; t++)
        for (int64_t h = 0; h < q->shape[1]; h++) {
            char *const to = (char *)weights_out->data + t * weights_out->stride[0];
            const float w = weight_at(weights, t, h);
            struct idx_query_row row;
            idx_query_make(&query, &row, t, h);
            if (query.wrong == IDX_ZEROS_SKIPPED && is_zero(q, t, h)) continue;
            memcpy((char *)out->data + t * out->stride[0] + h * out->stride[1], row.codes,
                   (size_t)out->shape[2]);
            if (query.mxfp4)
                memcpy((char *)scales->data + t * scales->stride[0] + h * scales->stride[1],
                       row.bytes, sizeof row.bytes);
            ((float *)(void *)to)[h] = weigh(&factors, w, &row);
        }
    return DSV4_OK;
}

/* The weight under scale `s`: three products in any order, of which that with s is exact. */
static struct dsv4_ball weight_ball(const dsv4_call *call, double w, double s) {
    const double softmax = (double)dsv4_float(call, "softmax_scale", 0.088388346f);
    const double head = (double)dsv4_float(call, "head_scale", 0.125f);
    return dsv4_ball_mul(dsv4_ball_mul(dsv4_ball_of(w * s), dsv4_ball_of(softmax)),
                         dsv4_ball_of(head));
}

static bool holds(struct dsv4_ball ball, const void *got) {
    float x;
    memcpy(&x, got, sizeof x);
    return fabs((double)x - ball.v) <= ball.r;
}

static bool same_codes(const struct dsv4_admission *a, const struct dsv4_row *row) {
    return memcmp(dsv4_admit_got(a, row->slot, row->offset),
                  dsv4_admit_want(a, row->slot, row->offset), (size_t)row->n) == 0;
}

/*
 * fp8: the scale is no output, but the weight tells which it was, where the errors of amax leave a choice. Codes and the
 * weight are judged under that scale, which is found anew for every kernel.
 */
static void bound_codes(struct dsv4_admission *a, const dsv4_call *call,
                        const struct idx_query *query, int64_t t, int64_t h,
                        const struct dsv4_row *weight, double w) {
    const int64_t *const stride = call->tensors[Q_OUT].stride;
    const enum dsv4_form fp8 = (enum dsv4_form)(DSV4_AS_OCP + (int)query->fp8);
    const struct dsv4_scale scale = {.floor = query->v32 ? (double)1e-10f : (double)1e-4f,
                                     .most = (double)dsv4_fp8_max(query->fp8)};
    struct dsv4_row row = {Q_OUT, t * stride[0] + h * stride[1], 1, fp8, INDEXER_HEAD, 1};
    const void *const want = dsv4_admit_want(a, WEIGHTS_OUT, weight->offset);
    const void *const got = dsv4_admit_got(a, WEIGHTS_OUT, weight->offset);
    struct dsv4_ball x[INDEXER_HEAD];
    int low, high, byte, canon;
    if (memcmp(got, want, 4) == 0 && same_codes(a, &row)) {
        dsv4_admit(a, &row, NULL, NULL);
        dsv4_admit(a, weight, NULL, NULL);
        return;
    }
    idx_query_balls(query, &a->arithmetic, x, t, h);
    dsv4_scale_bytes(a, &scale, dsv4_ball_amax(x, INDEXER_HEAD), &low, &high);
    for (canon = low; canon < high; canon++)
        if (holds(weight_ball(call, w, ldexp(1, canon - 127)), want)) break;
    for (byte = low; byte < high; byte++)
        if (holds(weight_ball(call, w, ldexp(1, byte - 127)), got)) break;
    if (low > high) return;
    const struct dsv4_ball y = weight_ball(call, w, ldexp(1, byte - 127));
    row.factor = ldexp(1, 127 - byte);
    if (byte == canon) {
        dsv4_admit(a, &row, x, NULL);
        dsv4_admit(a, weight, &y, NULL);
    } else {
        dsv4_admit_other(a, &row, x);
        dsv4_admit_other(a, weight, &y);
    }
}

static void bound(const dsv4_call *call, struct dsv4_admission *a) {
    const dsv4_tensor *const weights = &call->tensors[WEIGHTS], *const q = &call->tensors[IDX_Q];
    struct idx_query query;
    idx_query_open(&query, call, IDX_QUERY_RIGHT);
#pragma omp parallel for schedule(static) collapse(2)
    for (int64_t t = 0; t < q->shape[0]; t++)
        for (int64_t h = 0; h < q->shape[1]; h++) {
            const int64_t at = t * call->tensors[WEIGHTS_OUT].stride[0] + 4 * h;
            const struct dsv4_row row = {WEIGHTS_OUT, at, 4, DSV4_AS_F32, 1, 1};
            const double w = (double)weight_at(weights, t, h);
            if (query.mxfp4) {
                const struct dsv4_ball y = weight_ball(call, w, 1);
                idx_query_bound_fours(a, &query, call, Q_OUT, SCALES, t, h);
                dsv4_admit(a, &row, &y, NULL);
            } else {
                bound_codes(a, call, &query, t, h, &row, w);
            }
        }
}

static void trace(const struct dsv4_case *c, size_t slot, int64_t offset, char *line, size_t size) {
    idx_query_trace(c, slot, offset, line, size);
}

static void work(const struct dsv4_case *c, struct dsv4_work *work) {
    const dsv4_tensor *const weights = &c->tensors[WEIGHTS].t;
    const double n = (double)(weights->shape[0] * weights->shape[1]);
    idx_query_work(c, work);
    work->bytes_read += n * (double)dsv4_dtype_bytes(weights->dtype);
    work->bytes_written += n * 4;
}

const struct dsv4_op dsv4_op_idx_q_quant = {
    .name = "idx_q_quant",
    .summary = "rotates and quantises the indexer's queries, folds scales into the weights",
    .source = "vllm fused_indexer_q_rope_quant",
    .bound = bound,
    .latitude = "rope-other factors-first",
    DSV4_OP_PARTS,
};
