/* SPDX-License-Identifier: Apache-2.0 */
/*
 * norm_q_head: RMSNorm of every q head, without a weight, and RoPE of its last 64 channels.
 *
 *   r = rsqrt(sum_d q[t, h, d]^2 / 512 + eps); y = q * r; [rope: y[448..511] rotated at positions[t];] out = bf16(y)
 * dialect `rounding`: f32, fp32 throughout (vllm); bf16, rounded between norm and RoPE as well (DSpark); ref, every step
 * of the norm in bf16 (DeepSeek's model.py). Rounding points and their order: norm_head.c.
 * rope 0: the norm alone; f32 and bf16 are the same then. Every row is written, those of padded tokens too.
 * Source: DeepSeek inference/model.py; vllm fused_deepseek_v4_qnorm_rope_kv_insert; vllm nvidia/dspark_triton.py.
 * Latitude: norm_row.c; contraction of RoPE moves the last bits.
 */
#include "kv_bound.h"
#include "norm_bound.h"

enum { Q, POSITIONS, ROPE_TABLE, OUT };

static const struct dsv4_param_def params[] = {
    DSV4_PARAM_NAME("rounding", DIALECT, "f32", "f32 bf16 ref",
                    "fp32 up to the end, rounded before RoPE too, or at every step"),
    DSV4_PARAM_INT("rope", CALL, 1, 0, 1, "1: rotate the last 64 channels"),
    DSV4_PARAM_FLOAT("eps", CALL, 1e-6, 0, 1, "added to the mean of squares"),
    DSV4_PARAM_INT("heads", INPUT, 64, 1, 128, "q heads"),
    KV_STEP_PARAMS("3@5"),
    KV_MAX_POSITION_PARAM,
    NORM_VALUES_PARAM,
};

static const struct dsv4_slot slots[] = {
    {"q",          DSV4_IN,  "[T, heads, 512] bf16, strided",                   "queries"            },
    {"positions",  DSV4_IN,  "[T] i64, or absent",                              "token positions"    },
    {"rope_table", DSV4_IN,  "[max_position, 64] f32, rows strided, or absent",
     "32 cos, then 32 sin"                                                                           },
    {"out",        DSV4_OUT, "[T, heads, 512] bf16, strided",                   "normalised, rotated"},
};

static const struct dsv4_mutant mutants[] = {
    NORM_MUTANTS_OF_ROWS,
    NORM_MUTANTS_OF_ROPE,
    {"rounding-other", "rounded to bf16 between norm and RoPE where it is not, or not where it is",
      NORM_ROUNDING_OTHER},
    {"rounding-ref",   "every step of the norm in bf16 where it is not, or not where it is",
      NORM_ROUNDING_REF  },
    {"heads-together", "one mean over all heads of a token; each head has its own",
      NORM_HEADS_TOGETHER},
};

static int shape(struct dsv4_case *c, struct dsv4_err *err) {
    const struct kv_step *const step = kv_step_make(c, err);
    if (step == NULL) return -1;
    const int64_t rows = step->batch.n_rows, heads = dsv4_case_int(c, "heads");
    DSV4_SHAPE(c, Q, DSV4_BF16, rows, heads, KV_HEAD);
    DSV4_SHAPE(c, OUT, DSV4_BF16, rows, heads, KV_HEAD);
    kv_widen(c, Q, 1, 64);
    kv_widen(c, OUT, 0, 96);
    dsv4_absent(c, POSITIONS);
    dsv4_absent(c, ROPE_TABLE);
    if (dsv4_case_int(c, "rope") == 0) return 0;
    kv_shape_rows(c, POSITIONS, DSV4_I64, rows);
    return kv_shape_rope(c, ROPE_TABLE, DSV4_F32, 1, err);
}

static void fill(struct dsv4_case *c) {
    norm_fill(c, Q, dsv4_case_word(c, "values"), 1);
    if (dsv4_case_int(c, "rope") == 0) return;
    kv_fill_positions(c, POSITIONS);
    dsv4_rope_fill(c, ROPE_TABLE, DSV4_ROPE_COMPRESSED);
}

const struct dsv4_op dsv4_op_norm_q_head;

/* Wrong on purpose: the first head's factor for all heads of a token. */
static void heads_together(uint16_t *out, const uint16_t *x, const uint16_t *first, float eps) {
    float y[KV_HEAD], z[KV_HEAD];
    kv_load_bf16(y, x, KV_HEAD);
    kv_load_bf16(z, first, KV_HEAD);
    const float r = norm_factor(z, KV_HEAD, eps, NORM_RIGHT);
    for (int i = 0; i < KV_HEAD; i++) y[i] *= r;
    kv_store_bf16(out, y, KV_HEAD);
}

static int run(const dsv4_call *call, int mutant, struct dsv4_err *err) {
    const dsv4_tensor *const q = &call->tensors[Q], *const out = &call->tensors[OUT];
    const enum norm_wrong wrong = norm_wrong_of(&dsv4_op_norm_q_head, mutant);
    const enum norm_rounding rounding = dsv4_is(call, "rounding", "f32")    ? NORM_ROUND_END
                                        : dsv4_is(call, "rounding", "bf16") ? NORM_ROUND_BETWEEN
                                                                            : NORM_ROUND_ALWAYS;
    const bool turns = dsv4_int(call, "rope", 1) != 0;
    const float eps = dsv4_float(call, "eps", 1e-6f);
    (void)err;
#pragma omp parallel for schedule(static) collapse(2)
    for (int64_t t = 0; t < q->shape[0]; t++)
        for (int64_t h = 0; h < q->shape[1]; h++) {
            const char *const token = (const char *)q->data + t * q->stride[0];
            const void *const from = token + h * q->stride[1];
            void *const to = (char *)out->data + t * out->stride[0] + h * out->stride[1];
            const float *const angle =
                turns ? norm_angle(&call->tensors[ROPE_TABLE], &call->tensors[POSITIONS], t, wrong)
                      : NULL;
            if (wrong == NORM_HEADS_TOGETHER && h > 0)
                heads_together(to, from, (const void *)token, eps);
            else
                norm_head(to, from, eps, rounding, angle, wrong);
        }
    return DSV4_OK;
}

/* rsqrt of the mean with every step in bf16: what each of them rounds to is mostly one value. */
static struct dsv4_ball factor_of_bf16(const dsv4_arithmetic *a, const float *x, float eps) {
    const float least = dsv4_bf16_to_f32(dsv4_bf16_from_f32(eps));
    const struct dsv4_ball count = dsv4_ball_of((double)KV_HEAD);
    struct dsv4_terms terms = {0};
    for (int i = 0; i < KV_HEAD; i++) {
        const float square = dsv4_bf16_to_f32(dsv4_bf16_from_f32(x[i] * x[i]));
        dsv4_terms_add(&terms, (double)square, 0);
    }
    const struct dsv4_ball mean =
        dsv4_ball_bf16(dsv4_ball_div(a, dsv4_ball_sum(a, DSV4_SUM_ROW, &terms), count));
    const struct dsv4_ball sum = dsv4_ball_add(mean, dsv4_ball_of((double)least));
    return dsv4_ball_bf16(dsv4_ball_rsqrt(a, dsv4_ball_bf16(sum)));
}

/* Norm as norm_bound.c and RoPE as kv_bound.c have them, and what the dialect rounds to bf16 on the way. */
static void bound_head(struct dsv4_admission *a, const dsv4_call *call, int64_t t, int64_t h) {
    const dsv4_tensor *const q = &call->tensors[Q], *const out = &call->tensors[OUT];
    const struct dsv4_row row = {
        OUT, t * out->stride[0] + h * out->stride[1], 2, DSV4_AS_BF16, KV_HEAD, 1};
    const bool end = dsv4_is(call, "rounding", "f32"), ref = dsv4_is(call, "rounding", "ref");
    const float eps = dsv4_float(call, "eps", 1e-6f);
    struct dsv4_ball y[KV_HEAD];
    float x[KV_HEAD];
    if (dsv4_admit_settled(a, &row, 1)) return;
    kv_load_bf16(x, (const char *)q->data + t * q->stride[0] + h * q->stride[1], KV_HEAD);
    const struct dsv4_ball r = ref ? factor_of_bf16(&a->arithmetic, x, eps)
                                   : norm_factor_ball(&a->arithmetic, x, KV_HEAD, eps);
    for (int i = 0; i < KV_HEAD; i++) {
        y[i] = dsv4_ball_mul(dsv4_ball_of((double)x[i]), r);
        if (!end) y[i] = dsv4_ball_bf16(y[i]);
    }
    if (dsv4_int(call, "rope", 1) != 0)
        kv_rope_balls(
            y + KV_NOPE,
            norm_angle(&call->tensors[ROPE_TABLE], &call->tensors[POSITIONS], t, NORM_RIGHT),
            false);
    dsv4_admit(a, &row, y, NULL);
}

static void bound(const dsv4_call *call, struct dsv4_admission *a) {
    const dsv4_tensor *const q = &call->tensors[Q];
#pragma omp parallel for schedule(static) collapse(2)
    for (int64_t t = 0; t < q->shape[0]; t++)
        for (int64_t h = 0; h < q->shape[1]; h++) bound_head(a, call, t, h);
}

static void trace(const struct dsv4_case *c, size_t slot, int64_t offset, char *line, size_t size) {
    norm_trace(c, Q, slot, offset, line, size);
}

static void work(const struct dsv4_case *c, struct dsv4_work *work) {
    const dsv4_tensor *const q = &c->tensors[Q].t;
    const double heads = (double)(q->shape[0] * q->shape[1]);
    work->bytes_written = heads * KV_HEAD * 2;
    work->bytes_read = heads * KV_HEAD * 2;
    if (dsv4_case_int(c, "rope") != 0)
        work->bytes_read += (double)q->shape[0] * (KV_ROPE_TABLE_ROW * 4 + 8);
}

const struct dsv4_op dsv4_op_norm_q_head = {
    .name = "norm_q_head",
    .summary = "RMSNorm of every q head without a weight, and RoPE",
    .source = "DeepSeek inference/model.py; vllm qnorm_rope kernels",
    .bound = bound,
    .latitude = "norm-in-order partials-of-32",
    DSV4_OP_PARTS,
};
