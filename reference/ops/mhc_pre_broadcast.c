/* SPDX-License-Identifier: Apache-2.0 */
/*
 * mhc_pre_broadcast: mhc_pre of layer 0, whose four streams are all the embedding. With x = embed[t]:
 *   mixes and squares over `splits` parts of hidden, of x and fn_bc; the mean square is over hidden elements
 *   residual[t, j] = x; post, comb as in mhc_mix.c; layer_input = the collapse of four streams x, perhaps with the norm
 * fn_bc[o, h] is the sum of fn[o, j, h] over j, made when weights are loaded: mhc_fn_broadcast.
 *
 * Rounding points: those of mhc_prenorm_gemm over hidden elements, mhc_mix.c and mhc_pre.
 * Source: vllm kernels/mhc mhc_pre_broadcast.
 * Latitude: as there. Equal to mhc_expand, mhc_prenorm_gemm and mhc_pre in algebra, not in bits.
 */
#include "mhc_bound.h"

enum { EMBED, FN, SCALE, BASE, WEIGHT, RESIDUAL, POST, COMB, LAYER_INPUT };

static const struct dsv4_param_def params[] = {

    MHC_NORM_PARAMS,           MHC_FN_PARAMS,          MHC_MIX_PARAMS,
    MHC_SPLITS_PARAM(CALL, 1), MHC_ROW_PARAMS(3, 136),
};

static const struct dsv4_slot slots[] = {

    {"embed",       DSV4_IN,  "[rows, hidden] bf16, rows strided", "embeddings"                      },
    {"fn_bc",       DSV4_IN,  "[24, hidden] f32, rows strided",    "fn, summed over streams"         },
    {"scale",       DSV4_IN,  "[3] f32",                           "of pre, post and comb"           },
    {"base",        DSV4_IN,  "[24] f32",                          "added after the scale"           },
    {"weight",      DSV4_IN,  "[hidden] bf16, or absent",          "of the norm"                     },
    {"residual",    DSV4_OUT, "[rows, 4, hidden] bf16, strided",   "four streams of it"              },
    {"post",        DSV4_OUT, "[rows, 4, 1] f32, rows strided",    "weights of the sublayer's output"},
    {"comb",        DSV4_OUT, "[rows, 4, 4] f32, rows strided",    "[j, k]: of stream j in stream k" },
    {"layer_input", DSV4_OUT, "[rows, hidden] bf16, rows strided", "what the sublayer reads"         },
};

static const struct dsv4_mutant mutants[] = {

    MHC_MUTANTS_OF_ROWS,
    MHC_MUTANTS_OF_DOTS,
    MHC_MUTANTS_OF_SPLITS,
    MHC_MUTANTS_OF_RMS,
    {"mean-of-streams", "the mean square over 4 * hidden elements; x has hidden ones",
      MHC_MEAN_OF_HIDDEN                                                                                   },
    {"iteration-short", "one iteration less",                                          MHC_ITERATION_SHORT},
    {"comb-transposed", "comb[k, j] taken for comb[j, k]",                             MHC_COMB_TRANSPOSED},
    {"stream-lost",     "the last stream not written",                                 MHC_STREAM_LOST    },
    {"norm-mixed",      "squares of the other values: rounded ones or unrounded ones", MHC_NORM_MIXED     },
    {"norm-eps-lost",   "norm_eps not added",                                          MHC_NORM_EPS_LOST  },
    {"weight-lost",     "the norm's weight not applied",                               MHC_WEIGHT_LOST    },
};

const struct dsv4_op dsv4_op_mhc_pre_broadcast;

static int shape(struct dsv4_case *c, struct dsv4_err *err) {
    const int64_t hidden = dsv4_case_int(c, "hidden");
    mhc_shape_rows(c, EMBED);
    mhc_shape_fn(c, FN, MHC_MIXES, hidden);
    mhc_shape_weights(c, SCALE, BASE, MHC_MIXES);
    mhc_shape_norm(c, WEIGHT);
    mhc_shape_streams(c, RESIDUAL);
    mhc_shape_mixes(c, POST, COMB);
    mhc_shape_rows(c, LAYER_INPUT);
    return mhc_check(c, hidden, err);
}

static void fill(struct dsv4_case *c) {
    mhc_fill_bf16(c, EMBED, MHC_STREAM_X);
    mhc_fill_fn(c, FN);
    mhc_fill_weights(c, SCALE, BASE);
    mhc_fill_norm(c, WEIGHT);
}

struct source {
    const dsv4_tensor *tensors;
    enum mhc_wrong wrong;
};

static void row_of(const void *from, int64_t t, float *x) {
    const struct source *const source = from;
    const dsv4_tensor *const embed = &source->tensors[EMBED];
    const int64_t streams = source->wrong == MHC_STREAM_LOST ? MHC_STREAMS - 1 : MHC_STREAMS;
    const uint16_t *const row = (const void *)mhc_at(embed, t, 0, source->wrong);
    for (int64_t j = 0; j < streams; j++)
        memcpy(mhc_at(&source->tensors[RESIDUAL], t, j, MHC_RIGHT), row,
               (size_t)embed->shape[1] * sizeof *row);
    mhc_load(x, row, embed->shape[1]);
}

/* The mean of hidden elements is this op's own; a wrong one takes four times as many. */
static struct mhc_mix open_mix(const dsv4_call *call, int64_t splits, int64_t hidden,
                               enum mhc_wrong wrong) {
    const int64_t width = wrong == MHC_MEAN_OF_HIDDEN ? 16 * hidden : hidden;
    return mhc_mix_of(call, &call->tensors[SCALE], &call->tensors[BASE], splits, width, wrong);
}

static int run(const dsv4_call *call, int mutant, struct dsv4_err *err) {
    const enum mhc_wrong wrong = mhc_wrong_of(&dsv4_op_mhc_pre_broadcast, mutant);
    const dsv4_tensor *const tensors = call->tensors;
    const int64_t tokens = mhc_tokens(call, &tensors[EMBED], wrong);
    const int64_t splits = dsv4_int(call, "splits", 1), hidden = tensors[EMBED].shape[1];
    const struct source source = {tensors, wrong};
    struct mhc_dots dots;
    float *const raw = mhc_dots_open(&dots, call, &tensors[FN], tokens, splits, wrong);
    const struct mhc_mix mix = open_mix(call, splits, hidden, wrong);
    (void)err;
    dots.row = row_of;
    dots.source = &source;
    mhc_dots(&dots);
#pragma omp parallel for schedule(static)
    for (int64_t first = 0; first < tokens; first += MHC_LANES) {
        const int64_t n = tokens - first < MHC_LANES ? tokens - first : MHC_LANES;
        float pre[MHC_LANES * MHC_STREAMS], o[MHC_HIDDEN];
        const struct mhc_mix_rows rows =
            mhc_rows_of_dots(&dots, first, pre, &tensors[POST], &tensors[COMB]);
        mhc_mix(&mix, &rows, n);
        for (int64_t t = 0; t < n; t++) {
            mhc_collapse(o, &tensors[RESIDUAL], first + t, pre + t * MHC_STREAMS, false, MHC_RIGHT);
            mhc_finish((void *)mhc_at(&tensors[LAYER_INPUT], first + t, 0, MHC_RIGHT), o, hidden,
                       mhc_norm_of(call, wrong), tensors[WEIGHT].data,
                       dsv4_float(call, "norm_eps", 1e-6f), wrong);
        }
    }
    mhc_dots_close(raw);
    return DSV4_OK;
}

static void bound_row(const dsv4_call *call, struct dsv4_admission *a, const struct mhc_dots *dots,
                      const struct mhc_mix *mix, int64_t t) {
    const dsv4_tensor *const tensors = call->tensors;
    const int64_t hidden = tensors[EMBED].shape[1];
    const uint16_t *const row = (const void *)mhc_at(&tensors[EMBED], t, 0, MHC_RIGHT);
    struct dsv4_ball x[MHC_STREAMS * MHC_HIDDEN], o[MHC_HIDDEN], sums[MHC_MIXES], square;
    struct mhc_balls balls;
    const struct dsv4_row rows[] = {mhc_mixed(POST, call, t, MHC_STREAMS),
                                    mhc_mixed(COMB, call, t, MHC_STREAMS * MHC_STREAMS),
                                    mhc_stream(LAYER_INPUT, call, t, 0, hidden)};
    if (dsv4_admit_settled(a, rows, 3)) return;
    for (int64_t k = 0; k < MHC_STREAMS * hidden; k++)
        x[k] = dsv4_ball_of((double)dsv4_bf16_to_f32(row[k % hidden]));
    mhc_dot_balls(&a->arithmetic, dots, x, 0, hidden, sums, &square);
    mhc_mix_balls(&a->arithmetic, mix, sums, square, &balls);
    mhc_admit_mixes(a, POST, COMB, call, t, &balls);
    mhc_collapse_balls(&a->arithmetic, o, x, hidden, balls.pre);
    mhc_finish_bound(a, LAYER_INPUT, call, t, o, mhc_norm_of(call, MHC_RIGHT),
                     tensors[WEIGHT].data);
}

static void bound(const dsv4_call *call, struct dsv4_admission *a) {
    const dsv4_tensor *const tensors = call->tensors;
    const int64_t tokens = mhc_tokens(call, &tensors[EMBED], MHC_RIGHT);
    struct mhc_dots dots;
    float *const raw = mhc_dots_open(&dots, call, &tensors[FN], tokens, 1, MHC_RIGHT);
    const struct mhc_mix mix = open_mix(call, 1, tensors[EMBED].shape[1], MHC_RIGHT);
#pragma omp parallel for schedule(dynamic)
    for (int64_t t = 0; t < tokens; t++) bound_row(call, a, &dots, &mix, t);
    mhc_dots_close(raw);
}

static void trace(const struct dsv4_case *c, size_t slot, int64_t offset, char *line, size_t size) {
    mhc_trace(c, slot, offset, line, size);
}

static void work(const struct dsv4_case *c, struct dsv4_work *work) {

    const double tokens = (double)dsv4_case_int(c, "tokens");
    const double hidden = (double)dsv4_case_int(c, "hidden");
    work->bytes_read = mhc_row_bytes(c) + 4 * MHC_MIXES * hidden;
    work->bytes_written = (1 + MHC_STREAMS) * mhc_row_bytes(c) + 80 * tokens;
    work->fmas = (MHC_MIXES + 1 + MHC_STREAMS) * tokens * hidden;
}

const struct dsv4_op dsv4_op_mhc_pre_broadcast = {
    .name = "mhc_pre_broadcast",
    .summary =
        "layer 0: the embedding into four streams, and mhc_pre of them with fn summed over streams",
    .source = "vllm kernels/mhc mhc_pre_broadcast",
    .bound = bound,
    .latitude = MHC_DOTS_LATITUDE " splits-interleaved splits-reversed base-fused",
    DSV4_OP_PARTS,
};
