/* SPDX-License-Identifier: Apache-2.0 */
/*
 * mhc_split_sinkhorn: pre, post and comb of a token from mixes_raw and sqrsum; formula and rounding points in mhc_mix.c.
 * The mean square is over 4 * hidden elements; the splits are added ascending. comb is normalised `iterations` times over
 * rows and columns, the first time over rows by a softmax without eps in its denominator; it ends on columns.
 *
 * Source: DeepSeek-V4 inference/kernel.py hc_split_sinkhorn, TileKernels mhc, vllm kernels/mhc.
 * Latitude: the order of sums of four, approximate exp and reciprocals (aiter multiplies by v_rcp_f32 in iterations).
 * aiter's log-domain sinkhorn is another function. This model has 20 iterations and factor 2; TileKernels' tests take 10
 * and 1.
 */
#include "mhc_bound.h"

enum { MIXES, SQUARES, SCALE, BASE, PRE, POST, COMB };

static const struct dsv4_param_def params[] = {

    MHC_MIX_PARAMS,
    MHC_SPLITS_PARAM(INPUT, 1),
    MHC_ROW_PARAMS(3, 64),
};

static const struct dsv4_slot slots[] = {

    {"mixes_raw", DSV4_IN,  "[splits, rows, 24] f32, strided", "dots"                            },
    {"sqrsum",    DSV4_IN,  "[splits, rows] f32, strided",     "sums of squares"                 },
    {"scale",     DSV4_IN,  "[3] f32",                         "of pre, post and comb"           },
    {"base",      DSV4_IN,  "[24] f32",                        "added after the scale"           },
    {"pre",       DSV4_OUT, "[rows, 4] f32, rows strided",     "weights of the collapse"         },
    {"post",      DSV4_OUT, "[rows, 4, 1] f32, rows strided",  "weights of the sublayer's output"},
    {"comb",      DSV4_OUT, "[rows, 4, 4] f32, rows strided",  "[j, k]: of stream j in stream k" },
};

static const struct dsv4_mutant mutants[] = {

    MHC_MUTANTS_OF_ROWS,
    MHC_MUTANTS_OF_SPLITS,
    MHC_MUTANTS_OF_MIXES,
};

const struct dsv4_op dsv4_op_mhc_split_sinkhorn;

static int shape(struct dsv4_case *c, struct dsv4_err *err) {
    mhc_shape_raw(c, MIXES, SQUARES);
    mhc_shape_weights(c, SCALE, BASE, MHC_MIXES);
    mhc_shape_mixes(c, POST, COMB);
    mhc_shape_pre(c, PRE);
    return mhc_check(c, 0, err);
}

static void fill(struct dsv4_case *c) {
    mhc_fill_raw(c, MIXES, SQUARES);
    mhc_fill_weights(c, SCALE, BASE);
}

static int run(const dsv4_call *call, int mutant, struct dsv4_err *err) {
    const enum mhc_wrong wrong = mhc_wrong_of(&dsv4_op_mhc_split_sinkhorn, mutant);
    const dsv4_tensor *const tensors = call->tensors, *const mixes = &tensors[MIXES];
    const dsv4_tensor *const squares = &tensors[SQUARES], *const pre = &tensors[PRE];
    const int64_t tokens =
        wrong == MHC_PADDING_WRITTEN ? mixes->shape[1] : dsv4_int(call, "tokens", 0);
    const struct mhc_mix mix = mhc_mix_of(call, &tensors[SCALE], &tensors[BASE], mixes->shape[0],
                                          MHC_STREAMS * dsv4_int(call, "hidden", 0), wrong);
    (void)err;
#pragma omp parallel for schedule(static)
    for (int64_t first = 0; first < tokens; first += MHC_LANES) {
        const int64_t n = tokens - first < MHC_LANES ? tokens - first : MHC_LANES;
        struct mhc_mix_rows rows =
            mhc_rows_of_raw(mixes, squares, first, (void *)mhc_at(pre, first, 0, MHC_RIGHT),
                            &tensors[POST], &tensors[COMB]);
        rows.pre_token = pre->stride[0];
        if (wrong == MHC_ROWS_DENSE) {
            rows.mixes_token = 4 * MHC_MIXES;
            rows.mixes = (const char *)mixes->data + first * rows.mixes_token;
        }
        mhc_mix(&mix, &rows, n);
    }
    return DSV4_OK;
}

static void bound(const dsv4_call *call, struct dsv4_admission *a) {
    const dsv4_tensor *const tensors = call->tensors, *const mixes = &tensors[MIXES];
    const struct mhc_mix mix = mhc_mix_of(call, &tensors[SCALE], &tensors[BASE], mixes->shape[0],
                                          MHC_STREAMS * dsv4_int(call, "hidden", 0), MHC_RIGHT);
#pragma omp parallel for schedule(static)
    for (int64_t t = 0; t < dsv4_int(call, "tokens", 0); t++) {
        const struct dsv4_row rows[] = {mhc_mixed(PRE, call, t, MHC_STREAMS),
                                        mhc_mixed(POST, call, t, MHC_STREAMS),
                                        mhc_mixed(COMB, call, t, MHC_STREAMS * MHC_STREAMS)};
        struct dsv4_ball sums[MHC_MIXES], square;
        struct mhc_balls balls;
        if (dsv4_admit_settled(a, rows, 3)) continue;
        mhc_raw_balls(&a->arithmetic, mixes, &tensors[SQUARES], t, sums, &square);
        mhc_mix_balls(&a->arithmetic, &mix, sums, square, &balls);
        mhc_admit_mixes(a, POST, COMB, call, t, &balls);
        dsv4_admit(a, &rows[0], balls.pre, NULL);
    }
}

static void trace(const struct dsv4_case *c, size_t slot, int64_t offset, char *line, size_t size) {
    mhc_trace(c, slot, offset, line, size);
}

static void work(const struct dsv4_case *c, struct dsv4_work *work) {

    const double tokens = (double)dsv4_case_int(c, "tokens");
    work->bytes_read = 4 * (MHC_MIXES + 1) * tokens * (double)dsv4_case_int(c, "splits");
    work->bytes_written = 4 * MHC_MIXES * tokens;
    work->exponentials = (double)MHC_MIXES * tokens;
}

const struct dsv4_op dsv4_op_mhc_split_sinkhorn = {
    .name = "mhc_split_sinkhorn",
    .summary = "pre, post and the doubly normalised comb of each token",
    .source = "DeepSeek-V4 inference/kernel.py hc_split_sinkhorn; TileKernels; vllm kernels/mhc",
    .bound = bound,
    .latitude = MHC_MIX_LATITUDE " splits-reversed",
    DSV4_OP_PARTS,
};
