/* SPDX-License-Identifier: Apache-2.0 */
/*
 * mhc_pre: mhc_split_sinkhorn and mhc_collapse in one, bit for bit, then perhaps the sublayer's RMSNorm:
 *   o = the collapse in fp32    q = bf16(o)    norm = none: layer_input = q
 *   else layer_input = bf16(fl(fl(q * r) * weight)), r = rsqrt(fl(sum / hidden) + norm_eps)
 *   unrounded: the sum is that of o^2; rounded: of q^2. 64 strided partials by fma, halving tree.
 *
 * Rounding points: as in mhc_mix.c and mhc_collapse (sum = fma), then as above.
 * Source: TileKernels and vllm mhc_pre_big_fuse (none), mhc_pre_big_fuse_with_norm (unrounded); DeepSeek-V4
 * inference/model.py applies RMSNorm to the bf16 row (rounded).
 * Latitude: as in those two ops, and the order of the norm's sum. TileKernels wants its fused kernel bitwise equal to its
 * own chain.
 */
#include "mhc_bound.h"

enum { MIXES, SQUARES, SCALE, BASE, RESIDUAL, WEIGHT, POST, COMB, LAYER_INPUT };

static const struct dsv4_param_def params[] = {

    MHC_NORM_PARAMS,
    MHC_MIX_PARAMS,
    MHC_SPLITS_PARAM(INPUT, 1),
    MHC_ROW_PARAMS(3, 72),
};

static const struct dsv4_slot slots[] = {

    {"mixes_raw",   DSV4_IN,  "[splits, rows, 24] f32, strided",   "dots"                            },
    {"sqrsum",      DSV4_IN,  "[splits, rows] f32, strided",       "sums of squares"                 },
    {"scale",       DSV4_IN,  "[3] f32",                           "of pre, post and comb"           },
    {"base",        DSV4_IN,  "[24] f32",                          "added after the scale"           },
    {"residual",    DSV4_IN,  "[rows, 4, hidden] bf16, strided",   "residual streams"                },
    {"weight",      DSV4_IN,  "[hidden] bf16, or absent",          "of the norm"                     },
    {"post",        DSV4_OUT, "[rows, 4, 1] f32, rows strided",    "weights of the sublayer's output"},
    {"comb",        DSV4_OUT, "[rows, 4, 4] f32, rows strided",    "[j, k]: of stream j in stream k" },
    {"layer_input", DSV4_OUT, "[rows, hidden] bf16, rows strided", "what the sublayer reads"         },
};

static const struct dsv4_mutant mutants[] = {

    MHC_MUTANTS_OF_ROWS,
    MHC_MUTANTS_OF_STREAMS,
    MHC_MUTANTS_OF_SPLITS,
    MHC_MUTANTS_OF_MIXES,
    MHC_MUTANTS_OF_COLLAPSE,
    {"products-rounded", "products of the collapse rounded; it is a chain of fma", MHC_SUM_MIXED},
    MHC_MUTANTS_OF_NORM,
};

const struct dsv4_op dsv4_op_mhc_pre;

static int shape(struct dsv4_case *c, struct dsv4_err *err) {
    mhc_shape_raw(c, MIXES, SQUARES);
    mhc_shape_weights(c, SCALE, BASE, MHC_MIXES);
    mhc_shape_streams(c, RESIDUAL);
    mhc_shape_norm(c, WEIGHT);
    mhc_shape_mixes(c, POST, COMB);
    mhc_shape_rows(c, LAYER_INPUT);
    return mhc_check(c, 0, err);
}

static void fill(struct dsv4_case *c) {
    mhc_fill_raw(c, MIXES, SQUARES);
    mhc_fill_weights(c, SCALE, BASE);
    mhc_fill_bf16(c, RESIDUAL, MHC_STREAM_R);
    mhc_fill_norm(c, WEIGHT);
}

static int run(const dsv4_call *call, int mutant, struct dsv4_err *err) {
    const enum mhc_wrong wrong = mhc_wrong_of(&dsv4_op_mhc_pre, mutant);
    const dsv4_tensor *const tensors = call->tensors, *const mixes = &tensors[MIXES];
    const dsv4_tensor *const squares = &tensors[SQUARES], *const residual = &tensors[RESIDUAL];
    const int64_t tokens = mhc_tokens(call, residual, wrong), hidden = residual->shape[2];
    const enum mhc_norm norm = mhc_norm_of(call, wrong);
    const struct mhc_mix mix = mhc_mix_of(call, &tensors[SCALE], &tensors[BASE], mixes->shape[0],
                                          MHC_STREAMS * hidden, wrong);
    (void)err;
#pragma omp parallel for schedule(static)
    for (int64_t first = 0; first < tokens; first += MHC_LANES) {
        const int64_t n = tokens - first < MHC_LANES ? tokens - first : MHC_LANES;
        float pre[MHC_LANES * MHC_STREAMS], o[MHC_HIDDEN];
        const struct mhc_mix_rows rows =
            mhc_rows_of_raw(mixes, squares, first, pre, &tensors[POST], &tensors[COMB]);
        mhc_mix(&mix, &rows, n);
        for (int64_t t = 0; t < n; t++) {
            mhc_collapse(o, residual, first + t, pre + t * MHC_STREAMS, false, wrong);
            mhc_finish((void *)mhc_at(&tensors[LAYER_INPUT], first + t, 0, MHC_RIGHT), o, hidden,
                       norm, tensors[WEIGHT].data, dsv4_float(call, "norm_eps", 1e-6f), wrong);
        }
    }
    return DSV4_OK;
}

static void find_mixes(const dsv4_call *call, const struct dsv4_admission *a,
                       const struct mhc_mix *mix, int64_t t, struct mhc_balls *balls) {
    struct dsv4_ball sums[MHC_MIXES], square;
    mhc_raw_balls(&a->arithmetic, &call->tensors[MIXES], &call->tensors[SQUARES], t, sums, &square);
    mhc_mix_balls(&a->arithmetic, mix, sums, square, balls);
}

/* Without a norm channels depend on their own streams alone: of most blocks of them none needs a ball. */
static void bound_channels(const dsv4_call *call, struct dsv4_admission *a,
                           const struct mhc_mix *mix, int64_t t) {
    const dsv4_tensor *const residual = &call->tensors[RESIDUAL];
    const struct dsv4_row rows[] = {mhc_mixed(POST, call, t, MHC_STREAMS),
                                    mhc_mixed(COMB, call, t, MHC_STREAMS * MHC_STREAMS)};
    struct mhc_balls balls;
    bool found = !dsv4_admit_settled(a, rows, 2);
    if (found) find_mixes(call, a, mix, t, &balls);
    if (found) mhc_admit_mixes(a, POST, COMB, call, t, &balls);
    for (int64_t first = 0; first < residual->shape[2]; first += MHC_BLOCK) {
        const int64_t left = residual->shape[2] - first, n = left < MHC_BLOCK ? left : MHC_BLOCK;
        struct dsv4_row row = mhc_stream(LAYER_INPUT, call, t, 0, n);
        struct dsv4_ball x[MHC_STREAMS * MHC_BLOCK], o[MHC_BLOCK];
        row.offset += 2 * first;
        if (dsv4_admit_settled(a, &row, 1)) continue;
        if (!found) find_mixes(call, a, mix, t, &balls);
        found = true;
        mhc_row_part(x, residual, t, first, n);
        mhc_collapse_balls(&a->arithmetic, o, x, n, balls.pre);
        dsv4_admit(a, &row, o, NULL);
    }
}

static void bound_row(const dsv4_call *call, struct dsv4_admission *a, const struct mhc_mix *mix,
                      int64_t t) {
    const dsv4_tensor *const tensors = call->tensors, *const residual = &tensors[RESIDUAL];
    struct dsv4_ball x[MHC_STREAMS * MHC_HIDDEN], o[MHC_HIDDEN];
    struct mhc_balls balls;
    const struct dsv4_row rows[] = {mhc_mixed(POST, call, t, MHC_STREAMS),
                                    mhc_mixed(COMB, call, t, MHC_STREAMS * MHC_STREAMS),
                                    mhc_stream(LAYER_INPUT, call, t, 0, residual->shape[2])};
    if (dsv4_admit_settled(a, rows, 3)) return;
    find_mixes(call, a, mix, t, &balls);
    mhc_admit_mixes(a, POST, COMB, call, t, &balls);
    mhc_row_balls(x, residual, t);
    mhc_collapse_balls(&a->arithmetic, o, x, residual->shape[2], balls.pre);
    mhc_finish_bound(a, LAYER_INPUT, call, t, o, mhc_norm_of(call, MHC_RIGHT),
                     tensors[WEIGHT].data);
}

static void bound(const dsv4_call *call, struct dsv4_admission *a) {
    const dsv4_tensor *const tensors = call->tensors, *const residual = &tensors[RESIDUAL];
    const struct mhc_mix mix =
        mhc_mix_of(call, &tensors[SCALE], &tensors[BASE], tensors[MIXES].shape[0],
                   MHC_STREAMS * residual->shape[2], MHC_RIGHT);
#pragma omp parallel for schedule(static)
    for (int64_t t = 0; t < mhc_tokens(call, residual, MHC_RIGHT); t++)
        (mhc_norm_of(call, MHC_RIGHT) == MHC_NORM_NONE ? bound_channels : bound_row)(call, a, &mix,
                                                                                     t);
}

static void trace(const struct dsv4_case *c, size_t slot, int64_t offset, char *line, size_t size) {
    mhc_trace(c, slot, offset, line, size);
}

static void work(const struct dsv4_case *c, struct dsv4_work *work) {

    const double tokens = (double)dsv4_case_int(c, "tokens");
    work->bytes_read = (double)MHC_STREAMS * mhc_row_bytes(c) +
                       4 * (MHC_MIXES + 1) * tokens * (double)dsv4_case_int(c, "splits");
    work->bytes_written = mhc_row_bytes(c) + 80 * tokens;
}

const struct dsv4_op dsv4_op_mhc_pre = {
    .name = "mhc_pre",
    .summary = "pre, post, comb and the collapse in one, perhaps with the sublayer's norm",
    .source = "TileKernels and vllm mhc_pre_big_fuse, mhc_pre_big_fuse_with_norm",
    .bound = bound,
    .latitude =
        MHC_MIX_LATITUDE " splits-reversed descending weight-first norm-in-order products-rounded",
    DSV4_OP_PARTS,
};
