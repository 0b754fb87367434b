/* SPDX-License-Identifier: Apache-2.0 */
/*
 * mhc_fn_broadcast: fn_bc[o, h] = ((fn[o, 0, h] + fn[o, 1, h]) + fn[o, 2, h]) + fn[o, 3, h], once at load: what
 * mhc_pre_broadcast multiplies the embedding by, whose four streams are equal.
 *
 * Rounding points: the three sums, j ascending.
 * Source: vllm models/deepseek_v4 (hc_attn_fn.view(-1, n, hidden).sum(dim=1)) for kernels/mhc mhc_pre_broadcast.
 * Latitude: the order of the sum.
 */
#include <stdio.h>

#include "../bound/admit.h"
#include "mhc_family.h"

enum { FN, OUT };
enum wrong {
    RIGHT,
    STREAM_LOST,
    MEAN,
    DESCENDING,
    BY_PAIRS,
    STREAMS_INNERMOST,
    ROUNDED,
    TRUNCATED,
    DENSE
};

static const struct dsv4_param_def params[] = {
    DSV4_PARAM_INT("hidden", CALL, 64, 8, MHC_HIDDEN, "channels, a multiple of 8"),
    DSV4_PARAM_INT("rows", INPUT, 24, 0, 64, "outputs of fn"),
    DSV4_PARAM_NAME("values", INPUT, "normal", "normal cancel zero",
                    "about N(0, 1); streams that nearly cancel; zeros of both signs"),
    DSV4_PARAM_NAME("view", INPUT, "dense", "dense wide",
                    "wide: rows lie apart, as slices of larger buffers do"),
};

static const struct dsv4_slot slots[] = {
    {"fn",    DSV4_IN,  "[rows, 4 * hidden] f32, rows strided", "of the first layer's streams"},
    {"fn_bc", DSV4_OUT, "[rows, hidden] f32, rows strided",     "its sum over streams"        },
};

static const struct dsv4_mutant mutants[] = {
    {"stream-lost",       "the last stream not added",                             STREAM_LOST},
    {"mean",              "the mean over streams; it is their sum",                MEAN       },
    {"descending",        "added from the last stream to the first",               DESCENDING },
    {"by-pairs",          "added as a tree",                                       BY_PAIRS   },
    {"streams-innermost", "fn read as [rows, hidden, 4]; it is [rows, 4, hidden]",
     STREAMS_INNERMOST                                                                        },
    {"rounded",           "rounded to bf16; it is fp32",                           ROUNDED    },
    {"truncated",         "fn cut to TF32 before the sum; it is fp32",             TRUNCATED  },
    {"rows-dense",        "rows taken as contiguous; they have a stride",          DENSE      },
};

static int shape(struct dsv4_case *c, struct dsv4_err *err) {
    const int64_t rows = dsv4_case_int(c, "rows"), hidden = dsv4_case_int(c, "hidden");
    if (hidden % 8 != 0) return dsv4_fail(err, "hidden: %lld; a multiple of 8", (long long)hidden);
    DSV4_SHAPE(c, FN, DSV4_F32, rows, MHC_STREAMS * hidden);
    DSV4_SHAPE(c, OUT, DSV4_F32, rows, hidden);
    if (!dsv4_case_is(c, "view", "wide")) return 0;
    dsv4_widen(c, FN, 0, 48);
    dsv4_widen(c, OUT, 0, 32);
    return 0;
}

/* cancel: a stream of odd number is the one before but for its low bits, negative. */
static float value_of(const struct dsv4_case *c, char recipe, int64_t o, int64_t j, int64_t h) {
    const int64_t from = recipe == 'c' ? j & ~INT64_C(1) : j;
    /* The factor makes a draw use all 24 bits, so that sums round. */
    const float x =
        0x1.0c1524p+0f * dsv4_normal(dsv4_random(c->seed, 1, (uint64_t)(o << 20 | from << 16 | h)));
    if (recipe == 'z') return x < 0.0f ? -0.0f : 0.0f;
    return recipe == 'c' && j % 2 != 0 ? dsv4_from_bits((dsv4_bits(x) ^ 0x80000000u) & ~0x3Fu) : x;
}

static void fill(struct dsv4_case *c) {
    const dsv4_tensor *const fn = &c->tensors[FN].t;
    const int64_t hidden = dsv4_case_int(c, "hidden");
    const char recipe = dsv4_case_word(c, "values")[0];
    for (int64_t o = 0; o < fn->shape[0]; o++)
        for (int64_t k = 0; k < fn->shape[1]; k++)
            ((float *)(void *)((char *)fn->data + o * fn->stride[0]))[k] =
                value_of(c, recipe, o, k / hidden, k % hidden);
}

static float sum_of(const float *fn, int64_t hidden, int64_t h, enum wrong wrong) {
    const int64_t step = wrong == STREAMS_INNERMOST ? 1 : hidden;
    float x[MHC_STREAMS];
    for (int64_t j = 0; j < MHC_STREAMS; j++) {
        x[j] = fn[(wrong == STREAMS_INNERMOST ? MHC_STREAMS * h : h) + j * step];
        if (wrong == TRUNCATED) x[j] = dsv4_from_bits(dsv4_bits(x[j]) & ~0x1FFFu);
    }
    const float three = x[0] + x[1] + x[2];
    switch (wrong) {
    case STREAM_LOST: return three;
    case MEAN: return (three + x[3]) * 0.25f;
    case DESCENDING: return x[3] + x[2] + x[1] + x[0];
    case BY_PAIRS: return (x[0] + x[1]) + (x[2] + x[3]);
    case ROUNDED: return dsv4_bf16_to_f32(dsv4_bf16_from_f32(three + x[3]));
    default: return three + x[3];
    }
}

static int run(const dsv4_call *call, int mutant, struct dsv4_err *err) {
    const enum wrong wrong = mutant > 0 ? (enum wrong)mutants[mutant - 1].id : RIGHT;
    const dsv4_tensor *const fn = &call->tensors[FN], *const out = &call->tensors[OUT];
    const int64_t hidden = out->shape[1];
    (void)err;
#pragma omp parallel for schedule(static)
    for (int64_t o = 0; o < out->shape[0]; o++) {
        const int64_t stride = wrong == DENSE ? 4 * fn->shape[1] : fn->stride[0];
        const float *const from = (const void *)((const char *)fn->data + o * stride);
        float *const to = (void *)((char *)out->data + o * out->stride[0]);
        if (wrong == RIGHT)
#pragma omp simd
            for (int64_t h = 0; h < hidden; h++)
                to[h] = from[h] + from[hidden + h] + from[2 * hidden + h] + from[3 * hidden + h];
        else
            for (int64_t h = 0; h < hidden; h++) to[h] = sum_of(from, hidden, h, wrong);
    }
    return DSV4_OK;
}

/* Four terms in any order. */
static void bound(const dsv4_call *call, struct dsv4_admission *a) {
    const dsv4_tensor *const fn = &call->tensors[FN], *const out = &call->tensors[OUT];
    const int64_t hidden = out->shape[1];
#pragma omp parallel for schedule(static)
    for (int64_t o = 0; o < out->shape[0]; o++) {
        const float *const from = (const void *)((const char *)fn->data + o * fn->stride[0]);
        const struct dsv4_row row = {OUT, o * out->stride[0], 4, DSV4_AS_F32, hidden, 1};
        struct dsv4_ball sums[MHC_HIDDEN];
        for (int64_t h = 0; h < hidden; h++) {
            struct dsv4_terms terms = {0};
            for (int64_t j = 0; j < MHC_STREAMS; j++)
                dsv4_terms_add(&terms, (double)from[j * hidden + h], 0);
            sums[h] = dsv4_ball_sum(&a->arithmetic, DSV4_SUM_ROW, &terms);
        }
        dsv4_admit(a, &row, sums, NULL);
    }
}

static void trace(const struct dsv4_case *c, size_t slot, int64_t offset, char *line, size_t size) {
    const dsv4_tensor *const fn = &c->tensors[FN].t, *const out = &c->tensors[slot].t;
    const int64_t o = offset / out->stride[0], h = offset % out->stride[0] / 4, n = out->shape[1];
    const float *const x = (const void *)((const char *)fn->data + o * fn->stride[0]);
    snprintf(line, size, "fn[%lld, 0..3, %lld] = %.9g, %.9g, %.9g, %.9g", (long long)o,
             (long long)h, (double)x[h], (double)x[n + h], (double)x[2 * n + h],
             (double)x[3 * n + h]);
}

static void work(const struct dsv4_case *c, struct dsv4_work *work) {
    work->bytes_written = 4 * (double)(dsv4_case_int(c, "rows") * dsv4_case_int(c, "hidden"));
    work->bytes_read = MHC_STREAMS * work->bytes_written;
}

const struct dsv4_op dsv4_op_mhc_fn_broadcast = {
    .name = "mhc_fn_broadcast",
    .summary = "at load: fn of layer 0 summed over streams, for mhc_pre_broadcast",
    .source = "vllm models/deepseek_v4 hc_attn_fn_broadcast",
    .bound = bound,
    .latitude = "descending by-pairs",
    DSV4_OP_PARTS,
};
