/* SPDX-License-Identifier: Apache-2.0 */
/*
 * mhc_post: out[t, k, h] = bf16(post[t, k] * x[t, h] + sum over j of comb[t, j, k] * residual[t, j, h]).
 * The sum contracts over the first index of comb: comb transposed times the streams.
 *
 * Rounding points: acc = fl(post[k] * x), then fma(comb[j, k], R[j], acc) for j ascending, then to bf16.
 * Source: TileKernels mhc, vllm kernels/mhc tilelang_kernels.py.
 * Latitude: torch and aiter sum comb's part first and add post's last, in other orders.
 */
#include "mhc_bound.h"

enum { X, RESIDUAL, POST, COMB, OUT };

static const struct dsv4_param_def params[] = {

    MHC_ROW_PARAMS(3, 64),
};

static const struct dsv4_slot slots[] = {

    {"x",        DSV4_IN,  "[rows, hidden] bf16, rows strided", "the sublayer's output"          },
    {"residual", DSV4_IN,  "[rows, 4, hidden] bf16, strided",   "residual streams"               },
    {"post",     DSV4_IN,  "[rows, 4, 1] f32, rows strided",    "weights of x"                   },
    {"comb",     DSV4_IN,  "[rows, 4, 4] f32, rows strided",    "[j, k]: of stream j in stream k"},
    {"out",      DSV4_OUT, "[rows, 4, hidden] bf16, strided",   "the new residual streams"       },
};

static const struct dsv4_mutant mutants[] = {

    MHC_MUTANTS_OF_ROWS,
    MHC_MUTANTS_OF_STREAMS,
    MHC_MUTANTS_OF_POST,
};

const struct dsv4_op dsv4_op_mhc_post;

static int shape(struct dsv4_case *c, struct dsv4_err *err) {
    mhc_shape_rows(c, X);
    mhc_shape_streams(c, RESIDUAL);
    mhc_shape_mixes(c, POST, COMB);
    mhc_shape_streams(c, OUT);
    return mhc_check(c, 0, err);
}

static void fill(struct dsv4_case *c) {
    mhc_fill_bf16(c, X, MHC_STREAM_X);
    mhc_fill_bf16(c, RESIDUAL, MHC_STREAM_R);
    mhc_fill_mixes(c, MHC_NO_SLOT, POST, COMB);
}

static int run(const dsv4_call *call, int mutant, struct dsv4_err *err) {
    const enum mhc_wrong wrong = mhc_wrong_of(&dsv4_op_mhc_post, mutant);
    const dsv4_tensor *const tensors = call->tensors;
    const int64_t tokens = mhc_tokens(call, &tensors[X], wrong), hidden = tensors[X].shape[1];
    (void)err;
#pragma omp parallel for schedule(static)
    for (int64_t t = 0; t < tokens; t++) {
        float out[MHC_STREAMS * MHC_HIDDEN];
        mhc_post(out, (const void *)mhc_at(&tensors[X], t, 0, wrong), &tensors[RESIDUAL], t,
                 (const void *)mhc_at(&tensors[POST], t, 0, MHC_RIGHT),
                 (const void *)mhc_at(&tensors[COMB], t, 0, MHC_RIGHT), wrong);
        for (int64_t k = 0; k < MHC_STREAMS; k++)
            mhc_round((void *)mhc_at(&tensors[OUT], t, k, MHC_RIGHT), out + k * hidden, hidden);
    }
    return DSV4_OK;
}

static void bound(const dsv4_call *call, struct dsv4_admission *a) {
    const dsv4_tensor *const tensors = call->tensors;
    const int64_t hidden = tensors[X].shape[1], tokens = mhc_tokens(call, &tensors[X], MHC_RIGHT);
#pragma omp parallel for schedule(static) collapse(2)
    for (int64_t t = 0; t < tokens; t++)
        for (int64_t k = 0; k < MHC_STREAMS; k++)
            for (int64_t first = 0; first < hidden; first += MHC_BLOCK) {
                const int64_t left = hidden - first, n = left < MHC_BLOCK ? left : MHC_BLOCK;
                struct dsv4_row row = mhc_stream(OUT, call, t, k, n);
                struct dsv4_ball out[MHC_BLOCK];
                row.offset += 2 * first;
                if (dsv4_admit_settled(a, &row, 1)) continue;
                mhc_post_part(
                    &a->arithmetic, out, (const void *)mhc_at(&tensors[X], t, 0, MHC_RIGHT),
                    &tensors[RESIDUAL], t, (const void *)mhc_at(&tensors[POST], t, 0, MHC_RIGHT),
                    (const void *)mhc_at(&tensors[COMB], t, 0, MHC_RIGHT), k, first, n);
                dsv4_admit(a, &row, out, NULL);
            }
}

static void trace(const struct dsv4_case *c, size_t slot, int64_t offset, char *line, size_t size) {
    mhc_trace(c, slot, offset, line, size);
}

static void work(const struct dsv4_case *c, struct dsv4_work *work) {

    const double tokens = (double)dsv4_case_int(c, "tokens");
    work->bytes_read = (1 + MHC_STREAMS) * mhc_row_bytes(c) + 80 * tokens;
    work->bytes_written = (double)MHC_STREAMS * mhc_row_bytes(c);
}

const struct dsv4_op dsv4_op_mhc_post = {
    .name = "mhc_post",
    .summary = "the new residual streams from a sublayer's output and the old ones",
    .source = "TileKernels mhc; vllm kernels/mhc",
    .bound = bound,
    .latitude = "post-last",
    DSV4_OP_PARTS,
};
