/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Bounds of the hyper-connections.
 *   dots, squares, collapse, post   exact products are terms of a sum in the declared class; rows are summed in binary32
 *   gates     the steps of mhc_mix.c, each with its error
 *   sinkhorn  in logarithms. Every step adds to the logarithm of an entry at most
 *               exp        the radius of its logit, u |l - max| of the difference, the error of exp
 *               + eps      u
 *               division   4 u of the sum of four and eps, 2 divide_ulp u of the quotient
 *             and what that does to a result is the derivative from there to the end, found backwards from it: of
 *             log c - log S it is the entry's own less its share c / S of the row's. All of these are added up, and 1 %
 *             for what is not of first order: all perturbations together are below 1e-3, else there is no ball.
 */
#include "mhc_bound.h"

#include <math.h>

#include "../memory.h"
#include "../num/bf16.h"
#include "norm_bound.h"

enum { ENTRIES = MHC_STREAMS * MHC_STREAMS };

void mhc_row_balls(struct dsv4_ball *x, const dsv4_tensor *residual, int64_t t) {
    mhc_row_part(x, residual, t, 0, residual->shape[2]);
}

void mhc_row_part(struct dsv4_ball *x, const dsv4_tensor *residual, int64_t t, int64_t first,
                  int64_t n) {
    for (int64_t j = 0; j < MHC_STREAMS; j++) {
        const uint16_t *const row = (const void *)mhc_at(residual, t, j, MHC_RIGHT);
        for (int64_t h = 0; h < n; h++)
            x[j * n + h] = dsv4_ball_of((double)dsv4_bf16_to_f32(row[first + h]));
    }
}

void mhc_dot_balls(const dsv4_arithmetic *a, const struct mhc_dots *dots, const struct dsv4_ball *x,
                   int64_t begin, int64_t end, struct dsv4_ball *mixes, struct dsv4_ball *square) {
    struct dsv4_terms squares = {0};
    for (int64_t k = begin; k < end; k++)
        dsv4_terms_add(&squares, x[k].v * x[k].v, (2 * fabs(x[k].v) + x[k].r) * x[k].r);
    *square = dsv4_ball_sum(a, DSV4_SUM_ROW, &squares);
    for (int64_t o = 0; o < dots->outputs; o++) {
        const float *const fn = (const void *)((const char *)dots->fn + o * dots->fn_stride);
        struct dsv4_terms terms = {0};
        for (int64_t k = begin; k < end; k++) {
            const double w = (double)mhc_fn_value(fn[k], dots->fn_kind);
            dsv4_terms_add(&terms, w * x[k].v, fabs(w) * x[k].r);
        }
        mixes[o] = dsv4_ball_sum(a, DSV4_SUM_DOT, &terms);
    }
}

void mhc_raw_balls(const dsv4_arithmetic *a, const dsv4_tensor *mixes, const dsv4_tensor *squares,
                   int64_t t, struct dsv4_ball *sums, struct dsv4_ball *square) {
    for (int64_t o = 0; o <= MHC_MIXES; o++) {
        const dsv4_tensor *const from = o < MHC_MIXES ? mixes : squares;
        struct dsv4_terms terms = {0};
        for (int64_t s = 0; s < from->shape[0]; s++) {
            const float *const row = (const void *)((const char *)from->data + s * from->stride[0] +
                                                    t * from->stride[1]);
            dsv4_terms_add(&terms, (double)row[o < MHC_MIXES ? o : 0], 0);
        }
        *(o < MHC_MIXES ? &sums[o] : square) = dsv4_ball_sum(a, DSV4_SUM_ROW, &terms);
    }
}

/* ---- gates ---- */

struct dsv4_ball mhc_rms_ball(const dsv4_arithmetic *a, const struct mhc_mix *mix,
                              struct dsv4_ball square) {
    const struct dsv4_ball mean = dsv4_ball_div(a, square, dsv4_ball_of((double)mix->width));
    return dsv4_ball_rsqrt(a, dsv4_ball_add(mean, dsv4_ball_of((double)mix->rms_eps)));
}

static struct dsv4_ball logit(struct dsv4_ball m, float scale, float base) {
    return dsv4_ball_add(dsv4_ball_mul(m, dsv4_ball_of((double)scale)), dsv4_ball_of((double)base));
}

struct dsv4_ball mhc_gate_ball(const dsv4_arithmetic *a, struct dsv4_ball m, float scale,
                               float base) {
    return dsv4_ball_sigmoid(a, logit(m, scale, base));
}

/* ---- sinkhorn ---- */

/* One division: what it divided, the shares of the sums, and what it may do to a logarithm. */
struct step {
    double share[ENTRIES];
    bool rows;
};

/* Divides, and keeps the shares for the way back. */
static void divide(double *c, struct step *step, bool rows, double eps) {
    const int along = rows ? 1 : 4, next = rows ? 4 : 1;
    step->rows = rows;
    for (int i = 0; i < 4; i++) {
        double *const x = c + i * next, *const share = step->share + i * next;
        const double sum = x[0] + x[along] + x[2 * along] + x[3 * along] + eps;
        for (int n = 0; n < 4; n++) share[n * along] = x[n * along] = x[n * along] / sum;
    }
}

/* g[e]: derivative of a result's logarithm by that of entry e after the step; then before it. */
static void back(double *g, const struct step *step) {
    const int along = step->rows ? 1 : 4, next = step->rows ? 4 : 1;
    for (int i = 0; i < 4; i++) {
        double *const x = g + i * next;
        const double all = x[0] + x[along] + x[2 * along] + x[3 * along];
        for (int n = 0; n < 4; n++) x[n * along] -= step->share[i * next + n * along] * all;
    }
}

static double magnitude(const double *g) {
    double sum = 0;
    for (int e = 0; e < ENTRIES; e++) sum += fabs(g[e]);
    return sum;
}

/* What the first exponentials may be off by, in logarithms, and the exponentials. */
static void exponentials(const dsv4_arithmetic *a, const struct dsv4_ball *l, double *c,
                         double *off) {
    for (int j = 0; j < 4; j++) {
        double most = -INFINITY;
        for (int k = 0; k < 4; k++) most = fmax(most, l[4 * j + k].v);
        for (int k = 0; k < 4; k++) {
            const int e = 4 * j + k;
            const double x = l[e].v - most;
            const double folded = a->exp_ulp > 0.5f ? 2 * DSV4_BALL_U * fabs(x) : 0;
            c[e] = exp(x);
            off[e] = l[e].r + DSV4_BALL_U * fabs(x) + folded +
                     2 * (double)a->exp_ulp * DSV4_BALL_U + 0x1p-126 / c[e];
        }
    }
}

static void sinkhorn(const dsv4_arithmetic *a, const struct mhc_mix *mix, const struct dsv4_ball *l,
                     struct dsv4_ball *comb) {
    const int64_t n = 2 * mix->iterations;
    const double eps = (double)mix->hc_eps;
    const double each = (4 + 2 * (double)a->divide_ulp) * DSV4_BALL_U;
    struct step *const steps = dsv4_alloc((size_t)n * sizeof *steps);
    double c[ENTRIES], off[ENTRIES], kept[ENTRIES];
    exponentials(a, l, c, off);
    divide(c, &steps[0], true, 0);
    for (int e = 0; e < ENTRIES; e++) {
        kept[e] = c[e] / (c[e] + eps);
        c[e] += eps;
    }
    for (int64_t s = 1; s < n; s++) divide(c, &steps[s], s % 2 == 0, eps);
    for (int o = 0; o < ENTRIES; o++) {
        double g[ENTRIES] = {0}, error = 0, all = 0;
        g[o] = 1;
        for (int64_t s = n - 1; s > 0; s--) {
            error += magnitude(g) * each;
            back(g, &steps[s]);
        }
        error += magnitude(g) * DSV4_BALL_U;
        for (int e = 0; e < ENTRIES; e++) g[e] *= kept[e];
        error += magnitude(g) * each;
        back(g, &steps[0]);
        for (int e = 0; e < ENTRIES; e++) {
            error += fabs(g[e]) * off[e];
            all += kept[e] * off[e];
        }
        comb[o].v = c[o];
        comb[o].r =
            all + (double)n * each < 1e-3 ? c[o] * error * 1.01 + DSV4_BALL_LEAST : INFINITY;
        if (isnan(l[o].v) || isnan(error)) comb[o].v = NAN;
    }
    dsv4_free(steps);
}

void mhc_mix_balls(const dsv4_arithmetic *a, const struct mhc_mix *mix,
                   const struct dsv4_ball *mixes, struct dsv4_ball square, struct mhc_balls *out) {
    const struct dsv4_ball r = mhc_rms_ball(a, mix, square);
    struct dsv4_ball l[ENTRIES];
    for (int j = 0; j < MHC_STREAMS; j++) {
        const struct dsv4_ball pre = dsv4_ball_mul(mixes[j], r),
                               post = dsv4_ball_mul(mixes[4 + j], r);
        out->pre[j] = dsv4_ball_add(mhc_gate_ball(a, pre, mix->scale[0], mix->base[j]),
                                    dsv4_ball_of((double)mix->hc_eps));
        out->post[j] = dsv4_ball_mul(mhc_gate_ball(a, post, mix->scale[1], mix->base[4 + j]),
                                     dsv4_ball_of((double)mix->post_factor));
    }
    for (int e = 0; e < ENTRIES; e++)
        l[e] = logit(dsv4_ball_mul(mixes[8 + e], r), mix->scale[2], mix->base[8 + e]);
    sinkhorn(a, mix, l, out->comb);
}

/* ---- rows ---- */

void mhc_collapse_balls(const dsv4_arithmetic *a, struct dsv4_ball *o, const struct dsv4_ball *x,
                        int64_t n, const struct dsv4_ball *pre) {
    for (int64_t h = 0; h < n; h++) {
        struct dsv4_terms terms = {0};
        for (int j = 0; j < MHC_STREAMS; j++) {
            const struct dsv4_ball term = dsv4_ball_times(pre[j], x[j * n + h]);
            dsv4_terms_add(&terms, term.v, term.r);
        }
        o[h] = dsv4_ball_sum(a, DSV4_SUM_ROW, &terms);
    }
}

void mhc_post_part(const dsv4_arithmetic *a, struct dsv4_ball *out, const uint16_t *x,
                   const dsv4_tensor *residual, int64_t t, const float *post, const float *comb,
                   int64_t k, int64_t first, int64_t n) {
    const uint16_t *streams[MHC_STREAMS];
    for (int64_t j = 0; j < MHC_STREAMS; j++)
        streams[j] = (const void *)mhc_at(residual, t, j, MHC_RIGHT);
    for (int64_t h = first; h < first + n; h++) {
        struct dsv4_terms terms = {0};
        dsv4_terms_add(&terms, (double)post[k] * (double)dsv4_bf16_to_f32(x[h]), 0);
        for (int j = 0; j < MHC_STREAMS; j++)
            dsv4_terms_add(&terms,
                           (double)comb[4 * j + k] * (double)dsv4_bf16_to_f32(streams[j][h]), 0);
        out[h - first] = dsv4_ball_sum(a, DSV4_SUM_ROW, &terms);
    }
}

void mhc_post_balls(const dsv4_arithmetic *a, struct dsv4_ball *out, const uint16_t *x,
                    const dsv4_tensor *residual, int64_t t, const float *post, const float *comb) {
    const int64_t n = residual->shape[2];
    for (int64_t k = 0; k < MHC_STREAMS; k++)
        mhc_post_part(a, out + k * n, x, residual, t, post, comb, k, 0, n);
}

struct dsv4_row mhc_stream(size_t slot, const dsv4_call *call, int64_t t, int64_t j, int64_t n) {
    const dsv4_tensor *const out = &call->tensors[slot];
    return (struct dsv4_row){
        slot, mhc_at(out, t, j, MHC_RIGHT) - (char *)out->data, 2, DSV4_AS_BF16, n, 1};
}

struct dsv4_row mhc_mixed(size_t slot, const dsv4_call *call, int64_t t, int64_t n) {
    return (struct dsv4_row){slot, t * call->tensors[slot].stride[0], 4, DSV4_AS_F32, n, 1};
}

void mhc_admit_row(struct dsv4_admission *a, size_t slot, const dsv4_call *call, int64_t t,
                   int64_t j, const struct dsv4_ball *x, int64_t n) {
    const struct dsv4_row row = mhc_stream(slot, call, t, j, n);
    dsv4_admit(a, &row, x, NULL);
}

void mhc_admit_mixes(struct dsv4_admission *a, size_t post, size_t comb, const dsv4_call *call,
                     int64_t t, const struct mhc_balls *balls) {
    const struct dsv4_row four = mhc_mixed(post, call, t, MHC_STREAMS);
    const struct dsv4_row all = mhc_mixed(comb, call, t, ENTRIES);
    dsv4_admit(a, &four, balls->post, NULL);
    dsv4_admit(a, &all, balls->comb, NULL);
}

void mhc_finish_bound(struct dsv4_admission *a, size_t slot, const dsv4_call *call, int64_t t,
                      struct dsv4_ball *o, enum mhc_norm norm, const uint16_t *weight) {
    const int64_t n = call->tensors[slot].shape[1];
    const float eps = dsv4_float(call, "norm_eps", 1e-6f);
    struct dsv4_terms terms = {0};
    for (int64_t h = 0; h < n && norm != MHC_NORM_NONE; h++) {
        const struct dsv4_ball q = dsv4_ball_bf16(o[h]), x = norm == MHC_NORM_ROUNDED ? q : o[h];
        dsv4_terms_add(&terms, x.v * x.v, (2 * fabs(x.v) + x.r) * x.r);
        o[h] = q;
    }
    const struct dsv4_ball r = norm_factor_of(&a->arithmetic, &terms, n, eps);
    for (int64_t h = 0; h < n && norm != MHC_NORM_NONE; h++)
        o[h] = dsv4_ball_mul(dsv4_ball_mul(o[h], r),
                             dsv4_ball_of((double)dsv4_bf16_to_f32(weight[h])));
    mhc_admit_row(a, slot, call, t, 0, o, n);
}
