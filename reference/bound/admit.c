/* SPDX-License-Identifier: Apache-2.0 */
#include "admit.h"

#include <string.h>

#include "../num/bf16.h"
#include "../num/e2m1.h"
#include "../num/e8m0.h"
#include "../num/fp8.h"

static int64_t bytes_of(enum dsv4_form form) {
    return form == DSV4_AS_F32 || form == DSV4_AS_POWER ? 4 : form == DSV4_AS_BF16 ? 2 : 1;
}

enum dsv4_form dsv4_form_of(const struct dsv4_admission *a, size_t slot) {
    switch (a->c->tensors[slot].t.dtype) {
    case DSV4_F32: return DSV4_AS_F32;
    case DSV4_BF16: return DSV4_AS_BF16;
    case DSV4_E8M0: return DSV4_AS_E8M0;
    case DSV4_E4M3FNUZ: return DSV4_AS_FNUZ240;
    default: return DSV4_AS_OCP;
    }
}

/* The bits of an element; of FP4 codes the `odd` one is the high nibble. */
static uint32_t code_at(enum dsv4_form form, const unsigned char *bytes, bool odd) {
    uint32_t code;
    uint16_t half;
    switch (form) {
    case DSV4_AS_F32:
    case DSV4_AS_POWER: memcpy(&code, bytes, sizeof code); return code;
    case DSV4_AS_BF16: memcpy(&half, bytes, sizeof half); return half;
    case DSV4_AS_E2M1: return bytes[0] >> (odd ? 4 : 0) & 15u;
    default: return bytes[0];
    }
}

/* Puts the element at `from` in the place of that at `to`. */
static void accept(enum dsv4_form form, unsigned char *to, const unsigned char *from, bool odd) {
    const unsigned kept = odd ? 0x0F : 0xF0;
    if (form == DSV4_AS_E2M1)
        to[0] = (unsigned char)((to[0] & kept) | (from[0] & ~kept));
    else
        memcpy(to, from, (size_t)bytes_of(form));
}

static double decode(enum dsv4_form form, uint32_t code) {
    switch (form) {
    case DSV4_AS_F32:
    case DSV4_AS_POWER: return (double)dsv4_from_bits(code);
    case DSV4_AS_BF16: return (double)dsv4_bf16_to_f32((uint16_t)code);
    case DSV4_AS_E8M0: return (double)dsv4_e8m0_to_f32((uint8_t)code);
    case DSV4_AS_E2M1: return (double)dsv4_e2m1_to_f32((uint8_t)code);
    default: return (double)dsv4_fp8_to_f32((uint8_t)code, (enum dsv4_fp8)(form - DSV4_AS_OCP));
    }
}

/* What a real number is rounded to. By way of binary32, which is where kernels come from: both roundings keep order. */
static double rounded(enum dsv4_form form, double real) {
    const float x = (float)real;
    switch (form) {
    case DSV4_AS_F32: return (double)x;
    case DSV4_AS_BF16: return (double)dsv4_bf16_to_f32(dsv4_bf16_from_f32(x));
    case DSV4_AS_E8M0:
    case DSV4_AS_POWER: return (double)dsv4_e8m0_to_f32(dsv4_e8m0_ceil(x));
    case DSV4_AS_E2M1: return isnan(x) ? NAN : (double)dsv4_e2m1_to_f32(dsv4_e2m1_from_f32(x));
    default: break;
    }
    const enum dsv4_fp8 fp8 = (enum dsv4_fp8)(form - DSV4_AS_OCP);
    return (double)dsv4_fp8_to_f32(dsv4_fp8_from_f32(x, fp8), fp8);
}

/* Whether the op's contract has these bytes written. */
static bool is_written(const struct dsv4_admission *a, size_t slot, int64_t offset) {
    const unsigned char *const keep = a->golden[slot].keep;
    if (a->golden[slot].out == NULL) return false;
    if (keep == NULL) return true;
    const int64_t packed = dsv4_packed_offset(&a->c->tensors[slot], offset);
    return packed >= 0 && keep[packed] == 0;
}

static void merge(struct dsv4_admitted *into, const struct dsv4_admitted *from) {
    if (from->refused > 0 && (into->refused == 0 || from->first < into->first)) {
        into->first = from->first;
        into->low = from->low;
        into->high = from->high;
    }
    into->elements += from->elements;
    into->differ += from->differ;
    into->refused += from->refused;
    into->contradicted += from->contradicted;
    into->squares += from->squares;
    into->n_squares += from->n_squares;
    if (from->slack > into->slack) into->slack = from->slack;
    for (int b = 0; b < DSV4_ADMIT_BINS; b++) into->bins[b] += from->bins[b];
}

/* The float, or bf16, next to x on the side of `own`. */
static double neighbour(enum dsv4_form form, double x, double own) {
    const uint32_t unit = form == DSV4_AS_BF16 ? 1U << 16 : 1, bits = dsv4_bits((float)x);
    if (x == 0) return own > 0 ? (double)dsv4_from_bits(unit) : -(double)dsv4_from_bits(unit);
    return (double)dsv4_from_bits((x > own) == (x > 0) ? bits - unit : bits + unit);
}

/* How far the value must at least have been from the centre, before it was rounded to `x`. */
static double least_error(enum dsv4_form form, struct dsv4_ball ball, double x) {
    const double own = rounded(form, ball.v);
    if (x == own) return 0;
    if (form == DSV4_AS_F32 || form == DSV4_AS_BF16) {
        const double tie = (x + neighbour(form, x, own)) / 2;
        return isfinite(tie) ? fmin(fabs(tie - ball.v), ball.r) : 0;
    }
    double near = 0, far = ball.r; /* the first point of the ball, towards x, that rounds to x */
    for (int i = 0; i < 24; i++) {
        const double middle = (near + far) / 2;
        const double there = rounded(form, x > own ? ball.v + middle : ball.v - middle);
        if (x > own ? there >= x : there <= x)
            far = middle;
        else
            near = middle;
    }
    return near;
}

static void note_error(struct dsv4_admitted *tally, double error, double radius) {
    const double ratio = radius > 0 ? error / radius : 0;
    int exponent, last = DSV4_ADMIT_BINS - 1;
    if (ratio > tally->slack) tally->slack = ratio;
    const double half =
        frexp(ratio, &exponent); /* ratio is in (2^-(b+1), 2^-b] where b is its bin */
    const int bin = half == 0.5 ? 1 - exponent : -exponent;
    tally->bins[ratio == 0 || bin > last ? last : bin < 0 ? 0 : bin]++;
}

struct element {
    const struct dsv4_row *row;
    int64_t offset;
    bool odd, rescaled; /* the canon has another scale here, and its code is no measure */
    struct dsv4_ball ball;
    double variance;
};

/* -0 lies below +0. */
static bool is_within(double low, double x, double high) {
    if (!(low <= x && x <= high)) return false;
    if (x != 0) return true;
    return signbit(x) ? low < 0 || signbit(low) : high > 0 || !signbit(high);
}

static void refuse(struct dsv4_admitted *tally, int64_t offset, double low, double high) {
    if (tally->refused++ > 0) return;
    tally->first = offset;
    tally->low = low;
    tally->high = high;
}

/* The ball of a wrong reference's value: both it and the kernel may be off by the radius, and it was rounded. */
static struct dsv4_ball ball_about(enum dsv4_form form, uint32_t code, double radius) {
    const double value = decode(form, code), unit = fabs(decode(form, code ^ 1u) - value);
    return (struct dsv4_ball){value, 2 * radius + (isnan(unit) ? 0 : unit)};
}

static void admit_one(struct dsv4_admission *a, struct dsv4_admitted *tally,
                      const struct element *e) {
    const enum dsv4_form form = e->row->form;
    const int64_t at = a->c->tensors[e->row->slot].offset + e->offset;
    const uint32_t code = code_at(form, a->got + at, e->odd);
    const uint32_t canon = code_at(form, a->want + at, e->odd);
    tally->elements++;
    tally->n_squares += e->variance > 0;
    if (code == canon && !e->rescaled) return; /* mostly: nothing here may cost more than it must */
    const struct dsv4_ball ball = a->of_mistake ? ball_about(form, canon, e->ball.r) : e->ball;
    const double low = rounded(form, ball.r == 0 ? ball.v : ball.v - ball.r);
    const double high = rounded(form, ball.r == 0 ? ball.v : ball.v + ball.r);
    const double got = decode(form, code), want = decode(form, canon);
    const bool nan = isnan(got) && isnan(want); /* whatever its payload */
    if (!(nan || low <= high)) return; /* where there is no ball the canon's bits must do */
    tally->differ += code != canon;
    if (nan) accept(form, a->got + at, a->want + at, e->odd);
    if (nan) return;
    tally->contradicted += !e->rescaled && !is_within(low, want, high);
    if (!is_within(low, got, high)) {
        refuse(tally, e->offset, low, high);
        if (e->variance > 0)
            tally->squares += isnan(got) ? INFINITY : pow(got - ball.v, 2) / e->variance;
        return;
    }
    const double error = isfinite(got) ? least_error(form, ball, got) : 0;
    note_error(tally, error, ball.r);
    if (e->variance > 0) tally->squares += error * error / e->variance;
    accept(form, a->got + at, a->want + at, e->odd);
}

static void cede(const struct dsv4_admission *a, const struct dsv4_row *row) {
    const int64_t units = row->form == DSV4_AS_E2M1 ? (row->n + 1) / 2 : row->n;
    dsv4_ceded_add(a->ceded, a->got, a->c->tensors[row->slot].offset + row->offset, row->stride,
                   bytes_of(row->form), units);
}

static void tell(struct dsv4_admission *a, size_t slot, const struct dsv4_admitted *tally) {
#pragma omp critical
    merge(&a->at[slot], tally);
}

static int64_t offset_of(const struct dsv4_row *row, int64_t i) {
    return row->offset + (row->form == DSV4_AS_E2M1 ? i / 2 : i) * row->stride;
}

/* Whether element i has other bits than the canon's. */
static bool is_other(const struct dsv4_admission *a, const struct dsv4_row *row, int64_t i) {
    const int64_t at = a->c->tensors[row->slot].offset + offset_of(row, i);
    return code_at(row->form, a->got + at, i % 2 != 0) !=
           code_at(row->form, a->want + at, i % 2 != 0);
}

/* The first such element in [i, end); `end`: none. Mostly there are long stretches without. */
static int64_t next_other(const struct dsv4_admission *a, const struct dsv4_row *row, int64_t i,
                          int64_t end) {
    enum { STRETCH = 128 };
    const int64_t unit = bytes_of(row->form);
    const bool together = row->form != DSV4_AS_E2M1 && row->stride == unit;
    for (int64_t n; i < end; i += n) {
        const int64_t at = a->c->tensors[row->slot].offset + offset_of(row, i);
        n = end - i < STRETCH ? end - i : STRETCH;
        if (together && memcmp(a->got + at, a->want + at, (size_t)(n * unit)) == 0) continue;
        for (int64_t one = i; one < i + n; one++)
            if (is_other(a, row, one)) return one;
    }
    return end;
}

static bool is_same(const struct dsv4_admission *a, const struct dsv4_row *row) {
    const int64_t unit = bytes_of(row->form);
    const int64_t at = a->c->tensors[row->slot].offset + row->offset;
    const int64_t units = row->form == DSV4_AS_E2M1 ? (row->n + 1) / 2 : row->n;
    if (row->stride == unit) return memcmp(a->got + at, a->want + at, (size_t)(units * unit)) == 0;
    return next_other(a, row, 0, row->n) == row->n;
}

bool dsv4_admit_needs(const struct dsv4_admission *a, const struct dsv4_row *row, bool *each) {
    bool any = false;
    if (each != NULL) memset(each, 0, (size_t)row->n * sizeof *each);
    if (is_same(a, row)) return false;
    const struct dsv4_kept_row *const kept =
        dsv4_kept_find(a->kept, row->slot, row->offset, row->n);
    if (kept != NULL && kept->complete) return false;
    for (int64_t i = next_other(a, row, 0, row->n); i < row->n && (each != NULL || !any);
         i = next_other(a, row, i + 1, row->n)) {
        const bool needs = kept == NULL || !dsv4_ball_known(kept->balls[i]);
        if (each != NULL) each[i] = needs;
        any |= needs;
    }
    return any;
}

bool dsv4_admit_settled(struct dsv4_admission *a, const struct dsv4_row *rows, int64_t n) {
    for (int64_t i = 0; i < n; i++)
        if (dsv4_admit_needs(a, &rows[i], NULL)) return false;
    for (int64_t i = 0; i < n; i++) dsv4_admit(a, &rows[i], NULL, NULL);
    return true;
}

/* Adds what was given to what is kept. NULL: nothing is. */
static struct dsv4_kept_row *keep(const struct dsv4_admission *a, const struct dsv4_row *row,
                                  const struct dsv4_ball *balls, const double *variances) {
    struct dsv4_kept_row *kept = dsv4_kept_find(a->kept, row->slot, row->offset, row->n);
    if (balls == NULL) return kept;
    if (kept == NULL)
        kept = dsv4_kept_add(a->kept, row->slot, row->offset, row->n, variances != NULL);
    if (kept == NULL) return NULL;
    bool complete = true;
    for (int64_t i = 0; i < row->n; i++) {
        const bool known = dsv4_ball_known(balls[i]);
        if (variances != NULL && (known || !dsv4_ball_known(kept->balls[i])))
            kept->variances[i] = variances[i];
        if (known) kept->balls[i] = balls[i];
        complete &= dsv4_ball_known(kept->balls[i]);
    }
    kept->complete = complete;
    return kept;
}

/* Whether that is so of all bytes of a row, as far as it is quickly told. */
static bool is_all_written(const struct dsv4_admission *a, const struct dsv4_row *row) {
    const unsigned char *const keep = a->golden[row->slot].keep;
    const struct dsv4_case_tensor *const t = &a->c->tensors[row->slot];
    if (a->golden[row->slot].out == NULL || row->n == 0) return false;
    if (keep == NULL) return true;
    const int64_t bytes = offset_of(row, row->n - 1) - row->offset;
    const int64_t first = dsv4_packed_offset(t, row->offset);
    const int64_t last = dsv4_packed_offset(t, row->offset + bytes);
    return first >= 0 && last == first + bytes && keep[first] == 0 &&
           memcmp(keep + first, keep + first + 1, (size_t)bytes) == 0;
}

/* A row with the canon's bits. */
static void admit_same_row(struct dsv4_admission *a, const struct dsv4_row *row,
                           const double *variances) {
    struct dsv4_admitted tally = {0};
    const bool all = is_all_written(a, row);
    if (all && variances == NULL) tally.elements = row->n;
    for (int64_t i = 0; i < row->n && tally.elements < row->n; i++) {
        if (!all && !is_written(a, row->slot, offset_of(row, i))) continue;
        tally.elements++;
        tally.n_squares += variances != NULL && variances[i] > 0;
    }
    tell(a, row->slot, &tally);
}

/* Elements of fp32 that are judged together, in loops that compilers make vectors of. */
enum { TOGETHER = 256 };
struct fp32s {
    float *got;
    const float *want;
    const struct dsv4_ball *balls;
    const double *variances; /* or NULL */
    int64_t n;
};

/* The errors of those that differ, and these over their radii; of others 0 and -1. false: one that differs is a zero or a
 * NaN, or outside. As admit_one() has it, least_error() and all, in lanes of 64 bits. */
static bool find_errors(const struct fp32s *x, double *restrict error, double *restrict ratio) {
    const struct dsv4_ball *restrict const balls = x->balls;
    const float *restrict const gots = x->got, *restrict const wants = x->want;
    uint64_t strange = 0;
    for (int64_t i = 0; i < x->n; i++) {
        const double v = balls[i].v, r = balls[i].r;
        const double got = (double)gots[i], want = (double)wants[i], own = (double)(float)v;
        const double low = (double)(float)(v - r), high = (double)(float)(v + r);
        const uint64_t bits = dsv4_bits(gots[i]), differs = bits ^ dsv4_bits(wants[i]);
        const uint64_t inwards = (got > own) == (got > 0) ? bits - 1 : bits + 1;
        const double tie = (got + (double)dsv4_from_bits((uint32_t)inwards)) / 2;
        const double from_tie = fabs(tie - v), least = from_tie < r ? from_tie : r;
        const double found = got == own ? 0 : least;
        const bool inside = (low <= got) & (got <= high) & (low <= want) & (want <= high);
        const bool usual = inside & (got != 0) & (r > 0);
        strange |= usual ? 0 : differs;
        error[i] = differs != 0 ? found : 0;
        ratio[i] = differs != 0 ? found / r : -1;
    }
    return strange == 0;
}

/* note_error() of many. How many ratios are at most 2^-b, less those at most 2^-(b+1), are in bin b. */
static void note_ratios(struct dsv4_admitted *tally, const double *ratio, int64_t n) {
    int64_t at_most[DSV4_ADMIT_BINS + 1] = {0}, differ = 0;
    double slack = tally->slack;
#pragma omp simd reduction(max : slack)
    for (int64_t i = 0; i < n; i++) slack = ratio[i] > slack ? ratio[i] : slack;
    for (int64_t i = 0; i < n; i++) differ += ratio[i] != -1;
    at_most[0] = differ;
    for (int b = 1; b < DSV4_ADMIT_BINS; b++) {
        const double edge = ldexp(1.0, -b);
        int64_t count = differ - n; /* the others' -1 are at most that, too */
        for (int64_t i = 0; i < n; i++) count += ratio[i] <= edge;
        at_most[b] = count;
    }
    for (int b = 0; b < DSV4_ADMIT_BINS; b++) tally->bins[b] += at_most[b] - at_most[b + 1];
    tally->slack = slack;
    tally->elements += n;
    tally->differ += differ;
}

static void note_squares(struct dsv4_admitted *tally, const struct fp32s *x, const double *error) {
    double share[TOGETHER];
    int64_t n_squares = 0;
    for (int64_t i = 0; i < x->n; i++) {
        const bool varies = x->variances[i] > 0;
        share[i] = varies ? error[i] * error[i] / x->variances[i] : 0;
        n_squares += varies;
    }
    for (int64_t i = 0; i < x->n; i++) tally->squares += share[i];
    tally->n_squares += n_squares;
}

/* false: nothing was done, for one of them is not as they mostly are. */
static bool admit_together(struct dsv4_admitted *tally, const struct fp32s *x) {
    double error[TOGETHER], ratio[TOGETHER];
    if (!find_errors(x, error, ratio)) return false;
    note_ratios(tally, ratio, x->n);
    if (x->variances != NULL) note_squares(tally, x, error);
    memcpy(x->got, x->want, (size_t)x->n * sizeof *x->got);
    return true;
}

/* A row that is judged, and how. */
struct judged {
    struct dsv4_admission *a;
    struct dsv4_admitted *tally;
    const struct dsv4_row *row;
    const struct dsv4_ball *balls;
    const double *variances; /* or NULL */
    bool rescaled, all;      /* all: of its elements are written */
};

static bool admit_fp32s(const struct judged *j, int64_t first, int64_t n) {
    const int64_t at = j->a->c->tensors[j->row->slot].offset + j->row->offset + 4 * first;
    const struct fp32s x = {(float *)(void *)(j->a->got + at),
                            (const float *)(const void *)(j->a->want + at), j->balls + first,
                            j->variances != NULL ? j->variances + first : NULL, n};
    return admit_together(j->tally, &x);
}

static void admit_element(const struct judged *j, int64_t i) {
    const double factor = j->row->factor;
    const int64_t offset = offset_of(j->row, i);
    const bool odd = j->row->form == DSV4_AS_E2M1 && i % 2 != 0;
    const double variance = j->variances != NULL ? j->variances[i] * factor * factor : 0;
    const struct element e = {
        j->row,  offset, odd, j->rescaled, {j->balls[i].v * factor, j->balls[i].r * factor},
        variance
    };
    if (j->all || is_written(j->a, j->row->slot, offset)) admit_one(j->a, j->tally, &e);
}

/* Elements in [i, end), one by one but for stretches that have the canon's bits. */
static void admit_elements(const struct judged *j, int64_t i, int64_t end, bool plain) {
    for (; i < end; i++) {
        const int64_t other = j->all && !j->rescaled ? next_other(j->a, j->row, i, end) : i;
        j->tally->elements += other - i;
        for (; i < other; i++) j->tally->n_squares += j->variances != NULL && j->variances[i] > 0;
        if (i < end && (!plain || !admit_fp32s(j, i, 1))) admit_element(j, i);
    }
}

/* How many are refused. */
static int64_t admit_row(struct dsv4_admission *a, const struct dsv4_row *row,
                         const struct dsv4_ball *balls, const double *variances, bool rescaled) {
    struct dsv4_admitted tally = {0};
    const struct judged j = {a, &tally, row, balls, variances, rescaled, is_all_written(a, row)};
    const bool plain = row->form == DSV4_AS_F32 && row->stride == 4 && row->factor == 1 &&
                       !rescaled && !a->of_mistake && j.all;
    cede(a, row);
    for (int64_t i = 0, n; i < row->n; i += n) {
        n = row->n - i < TOGETHER ? row->n - i : TOGETHER;
        if (plain && admit_fp32s(&j, i, n)) continue;
        admit_elements(&j, i, i + n, plain);
    }
    tell(a, row->slot, &tally);
    return tally.refused;
}

void dsv4_admit(struct dsv4_admission *a, const struct dsv4_row *row, const struct dsv4_ball *balls,
                const double *variances) {
    if (is_same(a, row)) {
        admit_same_row(a, row, variances);
        return;
    }
    const struct dsv4_kept_row *const kept = keep(a, row, balls, variances);
    if (kept != NULL)
        admit_row(a, row, kept->balls, kept->variances, false);
    else
        admit_row(a, row, balls, variances, false);
}

void dsv4_admit_other(struct dsv4_admission *a, const struct dsv4_row *row,
                      const struct dsv4_ball *balls) {
    admit_row(a, row, balls, NULL, true);
}

/* ---- quantised groups ---- */

struct dsv4_ball dsv4_ball_amax(const struct dsv4_ball *balls, int64_t n) {
    struct dsv4_ball amax = dsv4_ball_abs(balls[0]);
    for (int64_t i = 1; i < n && !isnan(amax.v); i++) {
        const struct dsv4_ball next = dsv4_ball_abs(balls[i]);
        amax = isnan(next.v) ? next : dsv4_ball_max(amax, next);
    }
    return amax;
}

static int byte_of(const struct dsv4_scale *scale, float s) {
    if (scale->zero_byte && s <= 0x1p-127f) return 0;
    return dsv4_e8m0_ceil(s);
}

void dsv4_scale_bytes(const struct dsv4_admission *a, const struct dsv4_scale *scale,
                      struct dsv4_ball amax, int *low, int *high) {
    const float most = (float)scale->most, inverse = 1.0f / most, least = (float)scale->least;
    const float under = (float)fmax(amax.v - amax.r, scale->floor);
    const float over = (float)fmax(amax.v + amax.r, scale->floor);
    float first = fmaxf(fminf(under / most, under * inverse), least);
    const float last = fmaxf(fmaxf(over / most, over * inverse), least);
    *low = 255;
    *high = -1;
    if (isnan(amax.v - amax.r) || isnan(amax.v + amax.r)) return;
    if (scale->log2 && first > 0) {
        const double exponent = fabs(log2((double)first)), ulp = (double)a->arithmetic.log_ulp;
        const double unit = exponent > 0 ? ldexp(1.0, ilogb(exponent) - 23) : 0;
        const double near_1 = ulp > 0.5 ? 4 * DSV4_BALL_U : 0; /* as dsv4_ball_log */
        first = (float)((double)first * exp2(-(ulp * unit + near_1)));
    }
    *low = byte_of(scale, first);
    *high = byte_of(scale, last);
    if (*high == 255 && *low < 255) *high = 254;
}

/* 2^(127 - byte), or the other way round. */
static double power_of(int exponent) { return ldexp(1.0, exponent - 127); }

/* The byte of a stored power of two; -1: it is none. */
static int byte_at(enum dsv4_form form, const unsigned char *bytes) {
    const uint32_t code = code_at(form, bytes, false);
    if (form == DSV4_AS_E8M0) return (int)code;
    if (code == 0x00400000u) return 0;
    return (code & 0x807FFFFFu) == 0 && code != 0 ? (int)(code >> 23) : -1;
}

/* What a group's scale was found to be. */
struct verdict {
    size_t slot;
    int64_t offset;
    enum dsv4_form form;
    bool right, same;
    double low, high, factor; /* of the codes */
};

/* The codes first: a scale whose codes are wrong stays as it is, so that the group counts as wrong. */
static void admit_group(struct dsv4_admission *a, struct dsv4_admitted *tally,
                        const struct verdict *v, const struct dsv4_row *codes,
                        const struct dsv4_ball *balls) {
    const int64_t at = a->c->tensors[v->slot].offset + v->offset;
    struct dsv4_row row = *codes;
    row.factor *= v->factor;
    const bool other = v->right && !v->same;
    const int64_t wrong = admit_row(a, &row, balls, NULL, other);
    tally->elements = 1;
    tally->differ = !v->same;
    if (!v->right) refuse(tally, v->offset, v->low, v->high);
    if (v->right && !v->same) tally->bins[0] = 1;
    if (!v->same) dsv4_ceded_add(a->ceded, a->got, at, 1, bytes_of(v->form), 1);
    if (v->right && wrong == 0) accept(v->form, a->got + at, a->want + at, false);
    tell(a, v->slot, tally);
}

static struct dsv4_row scale_row(const struct dsv4_scale *scale) {
    return (struct dsv4_row){scale->slot, scale->offset, bytes_of(scale->form), scale->form, 1, 1};
}

static bool is_same_group(const struct dsv4_admission *a, const struct dsv4_scale *scale,
                          const struct dsv4_row *codes) {
    const struct dsv4_row one = scale_row(scale);
    return is_same(a, &one) && is_same(a, codes);
}

bool dsv4_admit_scale_needs(const struct dsv4_admission *a, const struct dsv4_scale *scale,
                            const struct dsv4_row *codes) {
    return !is_same_group(a, scale, codes) &&
           dsv4_kept_find(a->kept, codes->slot, codes->offset, codes->n) == NULL;
}

/* The group's balls, kept or given: from here on those that count. */
static const struct dsv4_ball *keep_group(const struct dsv4_admission *a,
                                          const struct dsv4_row *codes, struct dsv4_ball *from,
                                          const struct dsv4_ball *balls) {
    struct dsv4_kept_row *const kept = keep(a, codes, balls, NULL);
    if (kept == NULL) return balls;
    if (balls != NULL) kept->scale = *from;
    *from = kept->scale;
    return kept->balls;
}

/* A scale that follows from amax by bits. false: nothing is known of it. */
static bool judge_power(const struct dsv4_admission *a, const struct dsv4_scale *scale,
                        struct dsv4_ball amax, struct verdict *v, bool *contradicted) {
    const int64_t at = a->c->tensors[scale->slot].offset + scale->offset;
    const int got = byte_at(scale->form, a->got + at), want = byte_at(scale->form, a->want + at);
    int low, high;
    dsv4_scale_bytes(a, scale, amax, &low, &high);
    v->right = a->of_mistake ? got == want : low <= got && got <= high;
    v->same = got == want;
    v->low = power_of(low);
    v->high = power_of(high);
    v->factor = power_of(254 - (v->right ? got : want));
    *contradicted = !(low <= want && want <= high);
    return low <= high;
}

static bool judge_float(const struct dsv4_admission *a, const struct dsv4_scale *scale,
                        struct dsv4_ball s, struct verdict *v, bool *contradicted) {
    const int64_t at = a->c->tensors[scale->slot].offset + scale->offset;
    const uint32_t code = code_at(DSV4_AS_F32, a->want + at, false);
    const double got = decode(DSV4_AS_F32, code_at(DSV4_AS_F32, a->got + at, false));
    const double want = decode(DSV4_AS_F32, code);
    if (a->of_mistake) s = ball_about(DSV4_AS_F32, code, s.r);
    v->low = rounded(DSV4_AS_F32, s.v - s.r);
    v->high = rounded(DSV4_AS_F32, s.v + s.r);
    v->right = v->low <= got && got <= v->high;
    v->same = got == want;
    v->factor = 1 / (v->right ? got : want);
    *contradicted = !(v->low <= want && want <= v->high);
    return v->low <= v->high;
}

void dsv4_admit_scale(struct dsv4_admission *a, const struct dsv4_scale *scale,
                      struct dsv4_ball from, const struct dsv4_row *codes,
                      const struct dsv4_ball *balls) {
    const struct dsv4_row one = scale_row(scale);
    struct dsv4_admitted tally = {0};
    struct verdict v = {.slot = scale->slot, .offset = scale->offset, .form = scale->form};
    bool contradicted;
    if (!is_written(a, scale->slot, scale->offset)) return;
    if (is_same_group(a, scale, codes)) {
        admit_same_row(a, &one, NULL);
        admit_same_row(a, codes, NULL);
        return;
    }
    balls = keep_group(a, codes, &from, balls);
    if (!(scale->form == DSV4_AS_F32 ? judge_float : judge_power)(a, scale, from, &v,
                                                                  &contradicted))
        return;
    tally.contradicted = contradicted;
    admit_group(a, &tally, &v, codes, balls);
}

bool dsv4_admit_scale_settled(struct dsv4_admission *a, const struct dsv4_scale *scale,
                              const struct dsv4_row *codes) {
    const bool needs = dsv4_admit_scale_needs(a, scale, codes);
    if (!needs) dsv4_admit_scale(a, scale, DSV4_BALL_UNKNOWN, codes, NULL);
    return !needs;
}

const void *dsv4_admit_got(const struct dsv4_admission *a, size_t slot, int64_t offset) {
    return a->got + a->c->tensors[slot].offset + offset;
}

const void *dsv4_admit_want(const struct dsv4_admission *a, size_t slot, int64_t offset) {
    return a->want + a->c->tensors[slot].offset + offset;
}

void dsv4_admit_bytes(struct dsv4_admission *a, size_t slot, int64_t offset, int64_t bytes) {
    const int64_t at = a->c->tensors[slot].offset + offset;
    struct dsv4_admitted tally = {.elements = 1};
    if (a->of_mistake) return; /* they are the wrong reference's, or they are not */
    dsv4_ceded_add(a->ceded, a->got, at, 1, 1, bytes);
    if (memcmp(a->want + at, a->got + at, (size_t)bytes) != 0) tally.differ = tally.bins[0] = 1;
    for (int64_t i = 0; i < bytes; i++)
        if (is_written(a, slot, offset + i)) a->got[at + i] = a->want[at + i];
    tell(a, slot, &tally);
}

size_t dsv4_admit_excess(const struct dsv4_admission *a, double *limit) {
    static const double x = 20.7; /* e^-x = 1e-9 */
    size_t slot = 0;
    for (; slot < a->c->op->n_slots; slot++) {
        const double n = (double)a->at[slot].n_squares;
        *limit = n + 2 * sqrt(n * x) + 2 * x;
        if (n > 0 && a->at[slot].squares > *limit) break;
    }
    return slot;
}
