/* SPDX-License-Identifier: Apache-2.0 */
/*
 * mhc_fused_post_pre: mhc_post of the sublayer before, then mhc_prenorm_gemm and mhc_pre of the next, in one:
 *   new = mhc_post in fp32    residual_out = bf16(new)
 *   mixes and squares over `splits` parts of k, of residual_out (residual = bf16) or of new (residual = unrounded)
 *   post, comb from them as in mhc_mix.c; layer_input = collapse of residual_out, perhaps with the norm of mhc_pre
 *
 * Rounding points: those of the three ops. The collapse sees the rounded streams in both dialects.
 * Source: vllm kernels/mhc: mhc_fused_tilelang takes the unrounded streams up to 16 tokens, the large path the bf16 ones.
 * Latitude: as in the three ops; upstream's splits depend on the number of tokens and on the GPU.
 */
#include <math.h>

#include "mhc_bound.h"

enum {
    X,
    RESIDUAL,
    POST_IN,
    COMB_IN,
    FN,
    SCALE,
    BASE,
    WEIGHT,
    RESIDUAL_OUT,
    POST,
    COMB,
    LAYER_INPUT
};

static const struct dsv4_param_def params[] = {

    DSV4_PARAM_NAME("residual", DIALECT, "bf16", "bf16 unrounded",
                    "the new streams that the dots see"),
    MHC_NORM_PARAMS,
    MHC_FN_PARAMS,
    MHC_MIX_PARAMS,
    MHC_SPLITS_PARAM(CALL, 1),
    MHC_ROW_PARAMS(3, 40),
};

static const struct dsv4_slot slots[] = {

    {"x",            DSV4_IN,  "[rows, hidden] bf16, rows strided",  "the sublayer's output"          },
    {"residual",     DSV4_IN,  "[rows, 4, hidden] bf16, strided",    "old residual streams"           },
    {"post_in",      DSV4_IN,  "[rows, 4, 1] f32, rows strided",     "weights of x"                   },
    {"comb_in",      DSV4_IN,  "[rows, 4, 4] f32, rows strided",     "[j, k]: of stream j in stream k"},
    {"fn",           DSV4_IN,  "[24, 4 * hidden] f32, rows strided", "rows for pre, post and comb"    },
    {"scale",        DSV4_IN,  "[3] f32",                            "of pre, post and comb"          },
    {"base",         DSV4_IN,  "[24] f32",                           "added after the scale"          },
    {"weight",       DSV4_IN,  "[hidden] bf16, or absent",           "of the norm"                    },
    {"residual_out", DSV4_OUT, "[rows, 4, hidden] bf16, strided",    "new residual streams"           },
    {"post",         DSV4_OUT, "[rows, 4, 1] f32, rows strided",     "the next sublayer's"            },
    {"comb",         DSV4_OUT, "[rows, 4, 4] f32, rows strided",     "the next sublayer's"            },
    {"layer_input",  DSV4_OUT, "[rows, hidden] bf16, rows strided",  "what it reads"                  },
};

static const struct dsv4_mutant mutants[] = {

    MHC_MUTANTS_OF_ROWS,
    MHC_MUTANTS_OF_STREAMS,
    MHC_MUTANTS_OF_POST,
    MHC_MUTANTS_OF_DOTS,
    {"scale-first",        "x scaled by its rsqrt before the dot; the scale comes after",      MHC_SCALE_FIRST    },
    MHC_MUTANTS_OF_SPLITS,
    MHC_MUTANTS_OF_RMS,
    {"iteration-short",    "one iteration less",                                               MHC_ITERATION_SHORT},
    {"ends-on-rows",       "columns, then rows; an iteration ends on columns",                 MHC_ENDS_ON_ROWS   },
    {"residual-mixed",     "dots of unrounded streams where they are rounded, or the reverse",
      MHC_RESIDUAL_MIXED                                                                                           },
    {"collapse-unrounded", "the collapse of unrounded streams; it reads bf16",
      MHC_COLLAPSE_UNROUNDED                                                                                       },
    {"norm-mixed",         "squares of the other values: rounded ones or unrounded ones",      MHC_NORM_MIXED     },
    {"norm-eps-lost",      "norm_eps not added",                                               MHC_NORM_EPS_LOST  },
    {"weight-lost",        "the norm's weight not applied",                                    MHC_WEIGHT_LOST    },
};

const struct dsv4_op dsv4_op_mhc_fused_post_pre;

static int shape(struct dsv4_case *c, struct dsv4_err *err) {
    const int64_t width = MHC_STREAMS * dsv4_case_int(c, "hidden");
    mhc_shape_rows(c, X);
    mhc_shape_streams(c, RESIDUAL);
    mhc_shape_mixes(c, POST_IN, COMB_IN);
    mhc_shape_fn(c, FN, MHC_MIXES, width);
    mhc_shape_weights(c, SCALE, BASE, MHC_MIXES);
    mhc_shape_norm(c, WEIGHT);
    mhc_shape_streams(c, RESIDUAL_OUT);
    mhc_shape_mixes(c, POST, COMB);
    mhc_shape_rows(c, LAYER_INPUT);
    return mhc_check(c, width, err);
}

static void fill(struct dsv4_case *c) {
    mhc_fill_bf16(c, X, MHC_STREAM_X);
    mhc_fill_bf16(c, RESIDUAL, MHC_STREAM_R);
    mhc_fill_mixes(c, MHC_NO_SLOT, POST_IN, COMB_IN);
    mhc_fill_fn(c, FN);
    mhc_fill_weights(c, SCALE, BASE);
    mhc_fill_norm(c, WEIGHT);
}

struct source {
    const dsv4_tensor *tensors;
    bool unrounded;
    enum mhc_wrong wrong;
};

static void make_new(const struct source *source, int64_t t, float *x) {
    const dsv4_tensor *const tensors = source->tensors;
    mhc_post(x, (const void *)mhc_at(&tensors[X], t, 0, source->wrong), &tensors[RESIDUAL], t,
             (const void *)mhc_at(&tensors[POST_IN], t, 0, MHC_RIGHT),
             (const void *)mhc_at(&tensors[COMB_IN], t, 0, MHC_RIGHT), source->wrong);
}

/* Makes the new streams of a token, stores them, and gives the dots what they see of them. */
static void row_of(const void *from, int64_t t, float *x) {
    const struct source *const source = from;
    const dsv4_tensor *const out = &source->tensors[RESIDUAL_OUT];
    make_new(source, t, x);
    for (int64_t k = 0; k < MHC_STREAMS; k++) {
        uint16_t *const to = (void *)mhc_at(out, t, k, MHC_RIGHT);
        float *const stream = x + k * out->shape[2];
        mhc_round(to, stream, out->shape[2]);
        if (!source->unrounded) mhc_load(stream, to, out->shape[2]);
    }
}

static void collapse(const struct source *source, float *o, int64_t t, const float *pre) {
    const dsv4_tensor *const out = &source->tensors[RESIDUAL_OUT];
    float x[MHC_STREAMS * MHC_HIDDEN];
    if (source->wrong != MHC_COLLAPSE_UNROUNDED) {
        mhc_collapse(o, out, t, pre, false, source->wrong);
        return;
    }
    make_new(source, t, x);
    for (int64_t h = 0; h < out->shape[2]; h++) {
        o[h] = 0.0f;
        for (int64_t j = 0; j < MHC_STREAMS; j++)
            o[h] = fmaf(pre[j], x[j * out->shape[2] + h], o[h]);
    }
}

static void finish(const dsv4_call *call, const struct source *source, const struct mhc_mix *mix,
                   int64_t t, const float *pre) {
    const dsv4_tensor *const tensors = call->tensors;
    float o[MHC_HIDDEN];
    collapse(source, o, t, pre);
    mhc_finish((void *)mhc_at(&tensors[LAYER_INPUT], t, 0, MHC_RIGHT), o, tensors[X].shape[1],
               mhc_norm_of(call, mix->wrong), tensors[WEIGHT].data,
               dsv4_float(call, "norm_eps", 1e-6f), mix->wrong);
}

static int run(const dsv4_call *call, int mutant, struct dsv4_err *err) {
    const enum mhc_wrong wrong = mhc_wrong_of(&dsv4_op_mhc_fused_post_pre, mutant);
    const dsv4_tensor *const tensors = call->tensors;
    const int64_t tokens = mhc_tokens(call, &tensors[X], wrong),
                  splits = dsv4_int(call, "splits", 1);
    const bool unrounded = dsv4_is(call, "residual", "unrounded") != (wrong == MHC_RESIDUAL_MIXED);
    const struct source source = {tensors, unrounded, wrong};
    struct mhc_dots dots;
    float *const raw = mhc_dots_open(&dots, call, &tensors[FN], tokens, splits, wrong);
    const struct mhc_mix mix =
        mhc_mix_of(call, &tensors[SCALE], &tensors[BASE], splits, dots.width, wrong);
    (void)err;
    dots.row = row_of;
    dots.source = &source;
    mhc_dots(&dots);
#pragma omp parallel for schedule(static)
    for (int64_t first = 0; first < tokens; first += MHC_LANES) {
        const int64_t n = tokens - first < MHC_LANES ? tokens - first : MHC_LANES;
        float pre[MHC_LANES * MHC_STREAMS];
        const struct mhc_mix_rows rows =
            mhc_rows_of_dots(&dots, first, pre, &tensors[POST], &tensors[COMB]);
        mhc_mix(&mix, &rows, n);
        for (int64_t t = 0; t < n; t++)
            finish(call, &source, &mix, first + t, pre + t * MHC_STREAMS);
    }
    mhc_dots_close(raw);
    return DSV4_OK;
}

/* The collapse reads the new streams in bf16; the dots those, or what was rounded to them. */
static void bound_row(const dsv4_call *call, struct dsv4_admission *a, const struct mhc_dots *dots,
                      const struct mhc_mix *mix, int64_t t) {
    const dsv4_tensor *const tensors = call->tensors;
    const int64_t hidden = tensors[X].shape[1];
    const bool unrounded = dsv4_is(call, "residual", "unrounded");
    struct dsv4_ball x[MHC_STREAMS * MHC_HIDDEN], o[MHC_HIDDEN], sums[MHC_MIXES], square;
    struct mhc_balls balls;
    struct dsv4_row rows[3 + MHC_STREAMS] = {mhc_mixed(POST, call, t, MHC_STREAMS),
                                             mhc_mixed(COMB, call, t, MHC_STREAMS * MHC_STREAMS),
                                             mhc_stream(LAYER_INPUT, call, t, 0, hidden)};
    for (int64_t k = 0; k < MHC_STREAMS; k++)
        rows[3 + k] = mhc_stream(RESIDUAL_OUT, call, t, k, hidden);
    if (dsv4_admit_settled(a, rows, 3 + MHC_STREAMS)) return;
    mhc_post_balls(&a->arithmetic, x, (const void *)mhc_at(&tensors[X], t, 0, MHC_RIGHT),
                   &tensors[RESIDUAL], t, (const void *)mhc_at(&tensors[POST_IN], t, 0, MHC_RIGHT),
                   (const void *)mhc_at(&tensors[COMB_IN], t, 0, MHC_RIGHT));
    for (int64_t k = 0; k < MHC_STREAMS; k++)
        mhc_admit_row(a, RESIDUAL_OUT, call, t, k, x + k * hidden, hidden);
    if (unrounded) mhc_dot_balls(&a->arithmetic, dots, x, 0, dots->width, sums, &square);
    for (int64_t k = 0; k < dots->width; k++) x[k] = dsv4_ball_bf16(x[k]);
    if (!unrounded) mhc_dot_balls(&a->arithmetic, dots, x, 0, dots->width, sums, &square);
    mhc_mix_balls(&a->arithmetic, mix, sums, square, &balls);
    mhc_admit_mixes(a, POST, COMB, call, t, &balls);
    mhc_collapse_balls(&a->arithmetic, o, x, hidden, balls.pre);
    mhc_finish_bound(a, LAYER_INPUT, call, t, o, mhc_norm_of(call, MHC_RIGHT),
                     tensors[WEIGHT].data);
}

static void bound(const dsv4_call *call, struct dsv4_admission *a) {
    const dsv4_tensor *const tensors = call->tensors;
    const int64_t tokens = mhc_tokens(call, &tensors[X], MHC_RIGHT);
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
    work->bytes_read = (1 + MHC_STREAMS) * mhc_row_bytes(c) + 4 * MHC_MIXES * width;
    work->bytes_written = (1 + MHC_STREAMS) * mhc_row_bytes(c) + 80 * tokens;
    work->fmas = (MHC_MIXES + 1 + MHC_STREAMS + 2) * tokens * width;
}

const struct dsv4_op dsv4_op_mhc_fused_post_pre = {
    .name = "mhc_fused_post_pre",
    .summary = "mhc_post of one sublayer, then mhc_prenorm_gemm and mhc_pre of the next",
    .source = "vllm kernels/mhc mhc_fused_post_pre",
    .bound = bound,
    .latitude = MHC_DOTS_LATITUDE " splits-interleaved splits-reversed base-fused post-last",
    DSV4_OP_PARTS,
};
