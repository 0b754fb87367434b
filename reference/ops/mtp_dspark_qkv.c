/* SPDX-License-Identifier: Apache-2.0 */
/*
 * mtp_dspark_qkv: what the draft layers' attention reads: heads of q, normalised and rotated, and rows of kv, rotated.
 *
 *   q_out[t, h] = bf16(RoPE(bf16(q[t, h] * r))), r = rsqrt(sum_d q[t, h, d]^2 / 512 + eps), no weight
 *   kv_out[t]   = bf16(RoPE(kv[t])): kv is normalised already (norm_q_kv), and a dense row, not one of a paged cache
 * RoPE turns the last 64 channels at positions[t]; the others of kv are copied.
 * Rounding points: norm_head.c's NORM_ROUND_BETWEEN; for kv each product of RoPE, its sum, bf16. Every row is written.
 * Source: vllm dspark_qkv_postprocess (nvidia/dspark_triton.py).
 * Latitude: norm_row.c; contraction of RoPE moves the last bits.
 */
#include "kv_bound.h"
#include "norm_bound.h"

enum { Q, KV, POSITIONS, ROPE_TABLE, Q_OUT, KV_OUT };

static const struct dsv4_param_def params[] = {
    DSV4_PARAM_FLOAT("eps", CALL, 1e-6, 0, 1, "added to the mean of squares"),
    DSV4_PARAM_INT("heads", INPUT, 64, 1, 128, "q heads"),
    KV_STEP_PARAMS("3@5"),
    KV_MAX_POSITION_PARAM,
    NORM_VALUES_PARAM,
};

static const struct dsv4_slot slots[] = {
    {"q",          DSV4_IN,  "[T, heads, 512] bf16, strided",        "queries"            },
    {"kv",         DSV4_IN,  "[T, 512] bf16, rows strided",          "normalised rows"    },
    {"positions",  DSV4_IN,  "[T] i64",                              "token positions"    },
    {"rope_table", DSV4_IN,  "[max_position, 64] f32, rows strided", "32 cos, then 32 sin"},
    {"q_out",      DSV4_OUT, "[T, heads, 512] bf16, strided",        "normalised, rotated"},
    {"kv_out",     DSV4_OUT, "[T, 512] bf16, rows strided",          "rotated"            },
};

static const struct dsv4_mutant mutants[] = {
    NORM_MUTANTS_OF_ROWS,
    NORM_MUTANTS_OF_ROPE,
    {"rounding-other", "q not rounded to bf16 between norm and RoPE; it is",        NORM_ROUNDING_OTHER},
    {"heads-together", "one mean over all heads of a token; each head has its own",
      NORM_HEADS_TOGETHER                                                                               },
    {"kv-normed",      "kv normalised once more",                                   NORM_KV_NORMED     },
    {"kv-skipped",     "kv left out",                                               NORM_KV_SKIPPED    },
    {"row-dense",      "rows of kv taken as contiguous; they have a stride",        NORM_ROW_DENSE     },
};

static int shape(struct dsv4_case *c, struct dsv4_err *err) {
    const struct kv_step *const step = kv_step_make(c, err);
    if (step == NULL) return -1;
    const int64_t rows = step->batch.n_rows, heads = dsv4_case_int(c, "heads");
    DSV4_SHAPE(c, Q, DSV4_BF16, rows, heads, KV_HEAD);
    DSV4_SHAPE(c, Q_OUT, DSV4_BF16, rows, heads, KV_HEAD);
    DSV4_SHAPE(c, KV, DSV4_BF16, rows, KV_HEAD);
    DSV4_SHAPE(c, KV_OUT, DSV4_BF16, rows, KV_HEAD);
    kv_widen(c, Q, 1, 64);
    kv_widen(c, Q_OUT, 0, 96);
    kv_widen(c, KV, 0, 2048);
    kv_widen(c, KV_OUT, 0, 32);
    kv_shape_rows(c, POSITIONS, DSV4_I64, rows);
    return kv_shape_rope(c, ROPE_TABLE, DSV4_F32, 1, err);
}

static void fill(struct dsv4_case *c) {
    norm_fill(c, Q, dsv4_case_word(c, "values"), 1);
    norm_fill(c, KV, dsv4_case_word(c, "values"), 2);
    kv_fill_positions(c, POSITIONS);
    dsv4_rope_fill(c, ROPE_TABLE, DSV4_ROPE_SWA);
}

const struct dsv4_op dsv4_op_mtp_dspark_qkv;

/* Wrong on purpose: the first head's factor for all heads of a token. */
static void heads_together(uint16_t *out, const uint16_t *x, const uint16_t *first, float eps) {
    float y[KV_HEAD], z[KV_HEAD];
    kv_load_bf16(y, x, KV_HEAD);
    kv_load_bf16(z, first, KV_HEAD);
    const float r = norm_factor(z, KV_HEAD, eps, NORM_RIGHT);
    for (int i = 0; i < KV_HEAD; i++) y[i] *= r;
    kv_store_bf16(out, y, KV_HEAD);
}

static void token(const dsv4_call *call, int64_t t, float eps, enum norm_wrong wrong) {
    const dsv4_tensor *const q = &call->tensors[Q], *const q_out = &call->tensors[Q_OUT];
    const dsv4_tensor *const kv = &call->tensors[KV], *const kv_out = &call->tensors[KV_OUT];
    const float *const angle =
        norm_angle(&call->tensors[ROPE_TABLE], &call->tensors[POSITIONS], t, wrong);
    const char *const first = (const char *)q->data + t * q->stride[0];
    const int64_t stride = wrong == NORM_ROW_DENSE ? 2 * KV_HEAD : kv->stride[0];
    const void *const row = (const char *)kv->data + t * stride;
    void *const to = (char *)kv_out->data + t * kv_out->stride[0];
    for (int64_t h = 0; h < q->shape[1]; h++) {
        const void *const x = first + h * q->stride[1];
        void *const y = (char *)q_out->data + t * q_out->stride[0] + h * q_out->stride[1];
        if (wrong == NORM_HEADS_TOGETHER && h > 0)
            heads_together(y, x, (const void *)first, eps);
        else
            norm_head(y, x, eps, NORM_ROUND_BETWEEN, angle, wrong);
    }
    if (wrong == NORM_KV_SKIPPED) return;
    if (wrong == NORM_KV_NORMED)
        norm_head(to, row, eps, NORM_ROUND_BETWEEN, angle, NORM_RIGHT);
    else
        norm_head_rope(to, row, angle, wrong);
}

static int run(const dsv4_call *call, int mutant, struct dsv4_err *err) {
    const enum norm_wrong wrong = norm_wrong_of(&dsv4_op_mtp_dspark_qkv, mutant);
    const float eps = dsv4_float(call, "eps", 1e-6f);
    (void)err;
#pragma omp parallel for schedule(static)
    for (int64_t t = 0; t < call->tensors[Q].shape[0]; t++) token(call, t, eps, wrong);
    return DSV4_OK;
}

/* Norm as norm_bound.c and RoPE as kv_bound.c have them; q is rounded to bf16 between. */
static void bound_row(struct dsv4_admission *a, const dsv4_call *call, int64_t t, int64_t h) {
    const bool is_kv = h == call->tensors[Q].shape[1];
    const dsv4_tensor *const in = &call->tensors[is_kv ? KV : Q];
    const size_t slot = is_kv ? KV_OUT : Q_OUT;
    const dsv4_tensor *const out = &call->tensors[slot];
    const int64_t from = t * in->stride[0] + (is_kv ? 0 : h * in->stride[1]);
    const struct dsv4_row row = {
        slot, t * out->stride[0] + (is_kv ? 0 : h * out->stride[1]), 2, DSV4_AS_BF16, KV_HEAD, 1};
    struct dsv4_ball y[KV_HEAD];
    float x[KV_HEAD];
    if (dsv4_admit_settled(a, &row, 1)) return;
    kv_load_bf16(x, (const char *)in->data + from, KV_HEAD);
    kv_balls_of(y, x, KV_HEAD);
    if (!is_kv) {
        const struct dsv4_ball r =
            norm_factor_ball(&a->arithmetic, x, KV_HEAD, dsv4_float(call, "eps", 1e-6f));
        for (int i = 0; i < KV_HEAD; i++) y[i] = dsv4_ball_bf16(dsv4_ball_mul(y[i], r));
    }
    kv_rope_balls(y + KV_NOPE,
                  norm_angle(&call->tensors[ROPE_TABLE], &call->tensors[POSITIONS], t, NORM_RIGHT),
                  false);
    dsv4_admit(a, &row, y, NULL);
}

static void bound(const dsv4_call *call, struct dsv4_admission *a) {
    const dsv4_tensor *const q = &call->tensors[Q];
#pragma omp parallel for schedule(static) collapse(2)
    for (int64_t t = 0; t < q->shape[0]; t++)
        for (int64_t h = 0; h <= q->shape[1]; h++) bound_row(a, call, t, h);
}

static void trace(const struct dsv4_case *c, size_t slot, int64_t offset, char *line, size_t size) {
    norm_trace(c, slot == KV_OUT ? KV : Q, slot, offset, line, size);
}

static void work(const struct dsv4_case *c, struct dsv4_work *work) {
    const dsv4_tensor *const q = &c->tensors[Q].t;
    const double tokens = (double)q->shape[0], rows = tokens * (double)(q->shape[1] + 1);
    work->bytes_written = rows * KV_HEAD * 2;
    work->bytes_read = rows * KV_HEAD * 2 + tokens * (KV_ROPE_TABLE_ROW * 4 + 8);
}

const struct dsv4_op dsv4_op_mtp_dspark_qkv = {
    .name = "mtp_dspark_qkv",
    .summary = "the draft layers' q heads, normalised and rotated, and their dense kv, rotated",
    .source = "vllm dspark_qkv_postprocess",
    .bound = bound,
    .latitude = "norm-in-order partials-of-32",
    DSV4_OP_PARTS,
};
