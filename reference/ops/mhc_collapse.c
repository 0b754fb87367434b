/* SPDX-License-Identifier: Apache-2.0 */
/*
 * mhc_collapse: layer_input[t, h] = bf16(sum over j of pre[t, j] * residual[t, j, h]).
 * sum = fma: chain of fma(pre[j], R[j], acc) from +0, j ascending; sum = products: each product rounded, then added to
 * the first one, j ascending.
 *
 * Rounding points: each fma, or each product and addition; then to bf16.
 * Source: vllm kernels/mhc tilelang_kernels.py (fma), torch.py and TileKernels torch/mhc.py (products).
 * Latitude: aiter sums over four lanes as a tree.
 */
#include "mhc_bound.h"

enum { PRE, RESIDUAL, LAYER_INPUT };

static const struct dsv4_param_def params[] = {

    DSV4_PARAM_NAME("sum", DIALECT, "fma", "fma products",
                    "a chain of fma; or rounded products, added"),
    MHC_ROW_PARAMS(3, 64),
};

static const struct dsv4_slot slots[] = {

    {"pre",         DSV4_IN,  "[rows, 4] f32, rows strided",       "weights of the streams" },
    {"residual",    DSV4_IN,  "[rows, 4, hidden] bf16, strided",   "residual streams"       },
    {"layer_input", DSV4_OUT, "[rows, hidden] bf16, rows strided", "what the sublayer reads"},
};

static const struct dsv4_mutant mutants[] = {

    MHC_MUTANTS_OF_ROWS,
    MHC_MUTANTS_OF_STREAMS,
    MHC_MUTANTS_OF_COLLAPSE,
    {"sum-mixed", "products rounded where they are not, or the reverse", MHC_SUM_MIXED},
};

const struct dsv4_op dsv4_op_mhc_collapse;

static int shape(struct dsv4_case *c, struct dsv4_err *err) {
    mhc_shape_pre(c, PRE);
    mhc_shape_streams(c, RESIDUAL);
    mhc_shape_rows(c, LAYER_INPUT);
    return mhc_check(c, 0, err);
}

static void fill(struct dsv4_case *c) {
    mhc_fill_bf16(c, RESIDUAL, MHC_STREAM_R);
    mhc_fill_mixes(c, PRE, MHC_NO_SLOT, MHC_NO_SLOT);
}

static int run(const dsv4_call *call, int mutant, struct dsv4_err *err) {
    const enum mhc_wrong wrong = mhc_wrong_of(&dsv4_op_mhc_collapse, mutant);
    const dsv4_tensor *const tensors = call->tensors;
    const int64_t tokens = mhc_tokens(call, &tensors[RESIDUAL], wrong);
    const bool products = dsv4_is(call, "sum", "products");
    (void)err;
#pragma omp parallel for schedule(static)
    for (int64_t t = 0; t < tokens; t++) {
        float o[MHC_HIDDEN];
        mhc_collapse(o, &tensors[RESIDUAL], t, (const void *)mhc_at(&tensors[PRE], t, 0, MHC_RIGHT),
                     products, wrong);
        mhc_round((void *)mhc_at(&tensors[LAYER_INPUT], t, 0, MHC_RIGHT), o,
                  tensors[RESIDUAL].shape[2]);
    }
    return DSV4_OK;
}

static void bound(const dsv4_call *call, struct dsv4_admission *a) {
    const dsv4_tensor *const residual = &call->tensors[RESIDUAL];
    const int64_t hidden = residual->shape[2];
#pragma omp parallel for schedule(static)
    for (int64_t t = 0; t < mhc_tokens(call, residual, MHC_RIGHT); t++) {
        struct dsv4_ball x[MHC_STREAMS * MHC_HIDDEN], o[MHC_HIDDEN], weights[MHC_STREAMS];
        const struct dsv4_row row = mhc_stream(LAYER_INPUT, call, t, 0, hidden);
        const float *const pre = (const void *)mhc_at(&call->tensors[PRE], t, 0, MHC_RIGHT);
        if (dsv4_admit_settled(a, &row, 1)) continue;
        for (int j = 0; j < MHC_STREAMS; j++) weights[j] = dsv4_ball_of((double)pre[j]);
        mhc_row_balls(x, residual, t);
        mhc_collapse_balls(&a->arithmetic, o, x, hidden, weights);
        dsv4_admit(a, &row, o, NULL);
    }
}

static void trace(const struct dsv4_case *c, size_t slot, int64_t offset, char *line, size_t size) {
    mhc_trace(c, slot, offset, line, size);
}

static void work(const struct dsv4_case *c, struct dsv4_work *work) {

    work->bytes_read =
        (double)MHC_STREAMS * (mhc_row_bytes(c) + 4.0 * (double)dsv4_case_int(c, "tokens"));
    work->bytes_written = mhc_row_bytes(c);
}

const struct dsv4_op dsv4_op_mhc_collapse = {
    .name = "mhc_collapse",
    .summary = "the weighted sum of the residual streams, a sublayer's input",
    .source = "TileKernels torch/mhc.py; vllm kernels/mhc",
    .bound = bound,
    .latitude = "descending sum-mixed",
    DSV4_OP_PARTS,
};
