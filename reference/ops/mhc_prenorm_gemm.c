/* SPDX-License-Identifier: Apache-2.0 */
/*
 * mhc_prenorm_gemm: with x = residual[t], flattened to 4 * hidden elements,
 *   mixes_raw[s, t, o] = sum over part s of k of x[k] * fn[o, k]    sqrsum[s, t] = sum over it of x[k]^2
 * Part s of `splits` equal ones is k from s * 4 * hidden / splits on. The scale by rsqrt comes after this op.
 * fn: f32 as it is; tf32_truncate: its low 13 bits cut off; tf32_half_up: 0x1000 added to its bits first;
 * bf16_hi_lo: hi + lo, hi = bf16(fn), lo = bf16(fl(fn - hi)), a sum that is exact.
 *
 * Rounding points, per part: blocks of 128 along k (the last may be shorter), in a block one accumulator from 0, fma, k
 * ascending; block sums added ascending, beginning with the first block's. sqrsum: 64 strided partials over the part by
 * fma(x, x, partial), then the halving tree.
 *
 * Source: vllm model_executor/kernels/mhc/tilelang_kernels.py (f32), DeepGEMM tf32_hc_prenorm_gemm (tf32_truncate),
 * TileKernels mhc (tf32_half_up), aiter csrc/kernels/mhc_kernels.cu (bf16_hi_lo).
 * Latitude: any order of either sum; matrix units keep fewer bits of sums, and the splits of upstream depend on the
 * number of tokens and on the GPU. TileKernels may multiply fn by a norm's weight beforehand; this model has none.
 */
#include "mhc_bound.h"

enum { RESIDUAL, FN, MIXES, SQUARES };

static const struct dsv4_param_def params[] = {

    MHC_FN_PARAMS,
    MHC_SPLITS_PARAM(CALL, 1),
    MHC_ROW_PARAMS(3, 40),
};

static const struct dsv4_slot slots[] = {

    {"residual",  DSV4_IN,  "[rows, 4, hidden] bf16, strided",    "residual streams"           },
    {"fn",        DSV4_IN,  "[24, 4 * hidden] f32, rows strided", "rows for pre, post and comb"},
    {"mixes_raw", DSV4_OUT, "[splits, rows, 24] f32, strided",    "dots"                       },
    {"sqrsum",    DSV4_OUT, "[splits, rows] f32, strided",        "sums of squares"            },
};

static const struct dsv4_mutant mutants[] = {

    MHC_MUTANTS_OF_ROWS,
    MHC_MUTANTS_OF_STREAMS,
    MHC_MUTANTS_OF_DOTS,
    {"fn-nearest-even", "ties of TF32 to even; half up adds 0x1000",                   MHC_FN_NEAREST_EVEN},
    {"fn-low-lost",     "the low bf16 of fn left out",                                 MHC_FN_LOW_LOST    },
    {"squares-of-all",  "every split has the squares of the whole row",                MHC_SQUARES_OF_ALL },
    {"scale-first",     "x scaled by its rsqrt before the dot; the scale comes after", MHC_SCALE_FIRST    },
};

const struct dsv4_op dsv4_op_mhc_prenorm_gemm;

static int shape(struct dsv4_case *c, struct dsv4_err *err) {
    const int64_t width = MHC_STREAMS * dsv4_case_int(c, "hidden");
    mhc_shape_streams(c, RESIDUAL);
    mhc_shape_fn(c, FN, MHC_MIXES, width);
    mhc_shape_raw(c, MIXES, SQUARES);
    return mhc_check(c, width, err);
}

static void fill(struct dsv4_case *c) {
    mhc_fill_bf16(c, RESIDUAL, MHC_STREAM_R);
    mhc_fill_fn(c, FN);
}

struct source {
    const dsv4_tensor *residual;
    enum mhc_wrong wrong;
};

static void row_of(const void *from, int64_t t, float *x) {
    const struct source *const source = from;
    mhc_load_streams(x, source->residual, t, source->wrong);
}

static struct mhc_dots open_dots(const dsv4_call *call, const struct source *source) {
    const dsv4_tensor *const tensors = call->tensors, *const fn = &tensors[FN];
    const dsv4_tensor *const mixes = &tensors[MIXES], *const squares = &tensors[SQUARES];
    const struct mhc_dots dots = {
        .tokens = mhc_tokens(call, source->residual, source->wrong),
        .width = fn->shape[1],
        .outputs = MHC_MIXES,
        .splits = mixes->shape[0],
        .fn = fn->data,
        .fn_stride = fn->stride[0],
        .fn_kind = mhc_fn_kind(call),
        .row = row_of,
        .source = source,
        .mixes = mixes->data,
        .squares = squares->data,
        .mixes_split = mixes->stride[0],
        .mixes_token = mixes->stride[1],
        .squares_split = squares->stride[0],
        .squares_token = squares->stride[1],
        .eps = 1e-6f,
        .mean_of = (float)fn->shape[1],
        .wrong = source->wrong,
    };
    return dots;
}

static int run(const dsv4_call *call, int mutant, struct dsv4_err *err) {
    const enum mhc_wrong wrong = mhc_wrong_of(&dsv4_op_mhc_prenorm_gemm, mutant);
    const struct source source = {&call->tensors[RESIDUAL], wrong};
    const struct mhc_dots dots = open_dots(call, &source);
    (void)err;
    mhc_dots(&dots);
    return DSV4_OK;
}

/* Each part of a row. */
static void bound_row(struct dsv4_admission *a, const struct mhc_dots *d,
                      const struct source *source, int64_t t) {
    const int64_t part = d->width / d->splits;
    struct dsv4_ball x[MHC_STREAMS * MHC_HIDDEN], mixes[MHC_MIXES], square;
    bool loaded = false;
    for (int64_t s = 0; s < d->splits; s++) {
        const struct dsv4_row row = {
            MIXES, s * d->mixes_split + t * d->mixes_token, 4, DSV4_AS_F32, MHC_MIXES, 1};
        const struct dsv4_row one = {
            SQUARES, s * d->squares_split + t * d->squares_token, 4, DSV4_AS_F32, 1, 1};
        if (dsv4_admit_settled(a, (const struct dsv4_row[]){row, one}, 2)) continue;
        if (!loaded) mhc_row_balls(x, source->residual, t);
        loaded = true;
        mhc_dot_balls(&a->arithmetic, d, x, s * part, (s + 1) * part, mixes, &square);
        dsv4_admit(a, &row, mixes, NULL);
        dsv4_admit(a, &one, &square, NULL);
    }
}

static void bound(const dsv4_call *call, struct dsv4_admission *a) {
    const struct source source = {&call->tensors[RESIDUAL], MHC_RIGHT};
    const struct mhc_dots dots = open_dots(call, &source);
#pragma omp parallel for schedule(dynamic)
    for (int64_t t = 0; t < dots.tokens; t++) bound_row(a, &dots, &source, t);
}

static void trace(const struct dsv4_case *c, size_t slot, int64_t offset, char *line, size_t size) {
    mhc_trace(c, slot, offset, line, size);
}

static void work(const struct dsv4_case *c, struct dsv4_work *work) {

    const double tokens = (double)dsv4_case_int(c, "tokens");
    const double width = (double)(MHC_STREAMS * dsv4_case_int(c, "hidden"));
    work->bytes_read = (double)MHC_STREAMS * mhc_row_bytes(c) + 4 * (double)MHC_MIXES * width;
    work->bytes_written = 4 * (MHC_MIXES + 1) * tokens * (double)dsv4_case_int(c, "splits");
    work->fmas = (MHC_MIXES + 1) * tokens * width;
}

const struct dsv4_op dsv4_op_mhc_prenorm_gemm = {
    .name = "mhc_prenorm_gemm",
    .summary = "the dots of the residual streams with fn, and their squares, unscaled",
    .source = "vllm, TileKernels, DeepGEMM, aiter: hc_prenorm_gemm",
    .bound = bound,
    .latitude = MHC_DOTS_LATITUDE,
    DSV4_OP_PARTS,
};
