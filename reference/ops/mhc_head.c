/* SPDX-License-Identifier: Apache-2.0 */
/*
 * mhc_head: the collapse before the last norm. With x = residual[t], flattened, r = rsqrt(sum of x^2 / (4 * hidden) +
 * rms_eps), the sum over the row as in mhc_prenorm_gemm with one split:
 *   rounding = scale_after: m[j] = fl(dot(x, fn[j]) * r); normed_bf16: m[j] = dot(bf16(fl(x * r)), fn[j])
 *   pre[j] = sigmoid(fl(fl(m[j] * scale) + base[j])) + hc_eps    y = bf16(chain of fma(pre[j], R[j], y) from +0)
 * Dots: blocks of 128 along k as in mhc_prenorm_gemm. No post, no comb, no sinkhorn.
 *
 * Rounding points: every operation above, once.
 * Source: vllm kernels/mhc tilelang_kernels.py hc_head (scale_after), triton.py hc_head_triton (normed_bf16).
 * Latitude: the order of sums; vllm's test normalises in fp32 before the dot.
 */
#include "mhc_bound.h"

enum { RESIDUAL, FN, SCALE, BASE, Y };

static const struct dsv4_param_def params[] = {

    DSV4_PARAM_NAME("rounding", DIALECT, "scale_after", "scale_after normed_bf16",
                    "where rsqrt is applied: to the dot; to the row, rounded to bf16"),
    MHC_EPS_PARAMS,
    MHC_BASE_PARAM,
    DSV4_PARAM_NAME(
        "fn_values", INPUT, "few", "few normal",
        "8 different values, again after 37, for the sake of the vectors' size; about N(0, 1)"),
    MHC_ROW_PARAMS(3, 72),
};

static const struct dsv4_slot slots[] = {

    {"residual", DSV4_IN,  "[rows, 4, hidden] bf16, strided",   "residual streams"        },
    {"fn",       DSV4_IN,  "[4, 4 * hidden] f32, rows strided", "a row for each stream"   },
    {"scale",    DSV4_IN,  "[1] f32",                           "of the dots"             },
    {"base",     DSV4_IN,  "[4] f32",                           "added after the scale"   },
    {"y",        DSV4_OUT, "[rows, hidden] bf16, rows strided", "what the last norm reads"},
};

static const struct dsv4_mutant mutants[] = {

    MHC_MUTANTS_OF_ROWS,
    MHC_MUTANTS_OF_STREAMS,
    {"rms-eps-lost",   "rms_eps not added to the mean square",                       MHC_RMS_EPS_LOST    },
    {"eps-swapped",    "rms_eps and hc_eps taken for each other",                    MHC_EPS_SWAPPED     },
    {"mean-of-hidden", "mean over hidden elements; a row has 4 * hidden",            MHC_MEAN_OF_HIDDEN  },
    {"pre-eps-lost",   "hc_eps not added to pre",                                    MHC_PRE_EPS_LOST    },
    {"base-lost",      "base not added",                                             MHC_COMB_BASE_LOST  },
    {"sinkhorn",       "pre normalised over the streams; the head has no sinkhorn",  MHC_HEAD_SINKHORN   },
    {"post-factor",    "pre doubled as post is",                                     MHC_POST_FACTOR_LOST},
    {"weights-bf16",   "pre rounded to bf16; it is fp32",                            MHC_WEIGHTS_BF16    },
    {"rounding-mixed", "the row normalised where the dot is scaled, or the reverse",
      MHC_ROUNDING_MIXED                                                                                  },
    {"fn-rotated",     "the next stream's row of fn",                                MHC_FN_PERMUTED     },
};

const struct dsv4_op dsv4_op_mhc_head;

static int shape(struct dsv4_case *c, struct dsv4_err *err) {
    mhc_shape_streams(c, RESIDUAL);
    mhc_shape_fn(c, FN, MHC_STREAMS, MHC_STREAMS * dsv4_case_int(c, "hidden"));
    mhc_shape_weights(c, SCALE, BASE, MHC_STREAMS);
    mhc_shape_rows(c, Y);
    if (dsv4_case_int(c, "hidden") < 16)
        return dsv4_fail(err, "hidden: %lld; at least 16", (long long)dsv4_case_int(c, "hidden"));
    return mhc_check(c, 0, err);
}

static void fill(struct dsv4_case *c) {
    mhc_fill_bf16(c, RESIDUAL, MHC_STREAM_R);
    mhc_fill_fn(c, FN);
    mhc_fill_weights(c, SCALE, BASE);
}

struct source {
    const dsv4_tensor *residual;
    enum mhc_wrong wrong;
};

static void row_of(const void *from, int64_t t, float *x) {
    const struct source *const source = from;
    mhc_load_streams(x, source->residual, t, source->wrong);
}

/* pre of a token from its dots and its sum of squares. */
static void weights_of(const struct mhc_mix *mix, const float *raw, bool scale_after, float *pre) {
    const enum mhc_wrong wrong = mix->wrong;
    const float r = scale_after ? mhc_rms(mix, raw + MHC_STREAMS, 1) : 1.0f;
    float sum = 0.0f;
    for (int j = 0; j < MHC_STREAMS; j++) {
        const float m = raw[wrong == MHC_FN_PERMUTED ? (j + 1) % MHC_STREAMS : j] * r;
        const float base = wrong == MHC_COMB_BASE_LOST ? 0.0f : mix->base[j];
        pre[j] = mhc_sigmoid(m * mix->scale[0] + base);
        pre[j] += wrong == MHC_PRE_EPS_LOST ? 0.0f : mix->hc_eps;
        if (wrong == MHC_POST_FACTOR_LOST) pre[j] *= 2.0f;
        sum += pre[j];
    }
    for (int j = 0; j < MHC_STREAMS && wrong == MHC_HEAD_SINKHORN; j++) pre[j] /= sum;
}

static int run(const dsv4_call *call, int mutant, struct dsv4_err *err) {
    const enum mhc_wrong wrong = mhc_wrong_of(&dsv4_op_mhc_head, mutant);
    const dsv4_tensor *const tensors = call->tensors, *const residual = &tensors[RESIDUAL];
    const int64_t tokens = mhc_tokens(call, residual, wrong), hidden = residual->shape[2];
    const bool after = dsv4_is(call, "rounding", "scale_after") != (wrong == MHC_ROUNDING_MIXED);
    const struct source source = {residual, wrong};
    struct mhc_dots dots;
    float *const raw = mhc_dots_open(&dots, call, &tensors[FN], tokens, 1, wrong);
    const struct mhc_mix mix =
        mhc_mix_of(call, &tensors[SCALE], &tensors[BASE], 1, dots.width, wrong);
    (void)err;
    dots.row = row_of;
    dots.source = &source;
    dots.wrong = MHC_RIGHT;
    dots.normed_bf16 = !after;
    dots.eps = mix.rms_eps;
    dots.mean_of = mix.width;
    mhc_dots(&dots);
#pragma omp parallel for schedule(static)
    for (int64_t t = 0; t < tokens; t++) {
        float pre[MHC_STREAMS], o[MHC_HIDDEN];
        weights_of(&mix, raw + t * (MHC_STREAMS + 1), after, pre);
        mhc_collapse(o, residual, t, pre, false, wrong);
        mhc_round((void *)mhc_at(&tensors[Y], t, 0, MHC_RIGHT), o, hidden);
    }
    mhc_dots_close(raw);
    return DSV4_OK;
}

/* normed_bf16: the row times r, rounded to bf16, is what the dots see. */
static void bound_row(const dsv4_call *call, struct dsv4_admission *a, const struct mhc_dots *dots,
                      const struct mhc_mix *mix, int64_t t) {
    const dsv4_tensor *const residual = &call->tensors[RESIDUAL];
    const int64_t hidden = residual->shape[2], width = MHC_STREAMS * hidden;
    const bool after = dsv4_is(call, "rounding", "scale_after");
    const struct dsv4_row row = mhc_stream(Y, call, t, 0, hidden);
    struct dsv4_ball x[MHC_STREAMS * MHC_HIDDEN], o[MHC_HIDDEN], pre[MHC_MIXES], square;
    if (dsv4_admit_settled(a, &row, 1)) return;
    mhc_row_balls(x, residual, t);
    mhc_dot_balls(&a->arithmetic, dots, x, 0, width, pre, &square);
    const struct dsv4_ball r = mhc_rms_ball(&a->arithmetic, mix, square);
    if (!after) {
        for (int64_t k = 0; k < width; k++) x[k] = dsv4_ball_bf16(dsv4_ball_mul(x[k], r));
        mhc_dot_balls(&a->arithmetic, dots, x, 0, width, pre, &square);
        mhc_row_balls(x, residual, t);
    }
    for (int j = 0; j < MHC_STREAMS; j++) {
        const struct dsv4_ball m = after ? dsv4_ball_mul(pre[j], r) : pre[j];
        pre[j] = dsv4_ball_add(mhc_gate_ball(&a->arithmetic, m, mix->scale[0], mix->base[j]),
                               dsv4_ball_of((double)mix->hc_eps));
    }
    mhc_collapse_balls(&a->arithmetic, o, x, hidden, pre);
    dsv4_admit(a, &row, o, NULL);
}

static void bound(const dsv4_call *call, struct dsv4_admission *a) {
    const dsv4_tensor *const tensors = call->tensors, *const residual = &tensors[RESIDUAL];
    const int64_t tokens = mhc_tokens(call, residual, MHC_RIGHT);
    struct mhc_dots dots;
    float *const raw = mhc_dots_open(&dots, call, &tensors[FN], tokens, 1, MHC_RIGHT);
    const struct mhc_mix mix =
        mhc_mix_of(call, &tensors[SCALE], &tensors[BASE], 1, dots.width, MHC_RIGHT);
#pragma omp parallel for schedule(dynamic)
    for (int64_t t = 0; t < tokens; t++) bound_row(call, a, &dots, &mix, t);
    mhc_dots_close(raw);
}

static void trace(const struct dsv4_case *c, size_t slot, int64_t offset, char *line, size_t size) {
    mhc_trace(c, slot, offset, line, size);
}

static void work(const struct dsv4_case *c, struct dsv4_work *work) {

    const double tokens = (double)dsv4_case_int(c, "tokens");
    const double width = (double)(MHC_STREAMS * dsv4_case_int(c, "hidden"));
    work->bytes_read = (double)MHC_STREAMS * mhc_row_bytes(c) + 4.0 * (double)MHC_STREAMS * width;
    work->bytes_written = mhc_row_bytes(c);
    work->fmas = (MHC_STREAMS + 2) * tokens * width;
}

const struct dsv4_op dsv4_op_mhc_head = {
    .name = "mhc_head",
    .summary = "the residual streams into one, before the last norm",
    .source = "vllm kernels/mhc hc_head, hc_head_triton",
    .bound = bound,
    DSV4_OP_PARTS,
};
