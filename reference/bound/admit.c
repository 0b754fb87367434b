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

/* How far the value must at least have been from the centre, before it was rounded to `x`. */
static double least_error(enum dsv4_form form, struct dsv4_ball ball, double x) {
    const double own = rounded(form, ball.v);
    if (x == own) return 0;
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
    int bin = 0;
    if (ratio > tally->slack) tally->slack = ratio;
    for (double limit = 0.5; bin + 1 < DSV4_ADMIT_BINS && ratio <= limit; limit /= 2) bin++;
    tally->bins[bin]++;
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

static void tell(struct dsv4_admission *a, size_t slot, const struct dsv4_admitted *tally) {
#pragma omp critical
    merge(&a->at[slot], tally);
}

bool dsv4_admit_same(const struct dsv4_admission *a, const struct dsv4_row *row, int64_t first,
                     int64_t n) {
    const bool fours = row->form == DSV4_AS_E2M1;
    const int64_t unit = bytes_of(row->form), units = fours ? (first + n + 1) / 2 - first / 2 : n;
    const int64_t at =
        a->c->tensors[row->slot].offset + row->offset + (fours ? first / 2 : first) * row->stride;
    if (row->stride == unit) return memcmp(a->got + at, a->want + at, (size_t)(units * unit)) == 0;
    bool same = true;
    for (int64_t i = at; i < at + units * row->stride && same; i += row->stride)
        same = memcmp(a->got + i, a->want + i, (size_t)unit) == 0;
    return same;
}

/* A row with the canon's bits. */
static void admit_same_row(struct dsv4_admission *a, const struct dsv4_row *row,
                           const double *variances) {
    const bool fours = row->form == DSV4_AS_E2M1;
    struct dsv4_admitted tally = {0};
    const bool all = a->golden[row->slot].keep == NULL && variances == NULL;
    if (all) tally.elements = row->n;
    for (int64_t i = 0; i < row->n && !all; i++) {
        if (!is_written(a, row->slot, row->offset + (fours ? i / 2 : i) * row->stride)) continue;
        tally.elements++;
        tally.n_squares += variances != NULL && variances[i] > 0;
    }
    tell(a, row->slot, &tally);
}

/* How many are refused. */
static int64_t admit_row(struct dsv4_admission *a, const struct dsv4_row *row,
                         const struct dsv4_ball *balls, const double *variances, bool rescaled) {
    const bool fours = row->form == DSV4_AS_E2M1;
    struct dsv4_admitted tally = {0};
    if (!rescaled && dsv4_admit_same(a, row, 0, row->n)) {
        admit_same_row(a, row, variances);
        return 0;
    }
    for (int64_t i = 0; i < row->n; i++) {
        const double factor = row->factor;
        const struct element e = {
            row,
            row->offset + (fours ? i / 2 : i) * row->stride,
            fours && i % 2 != 0,
            rescaled,
            {balls[i].v * factor, balls[i].r * factor},
            variances != NULL ? variances[i] * factor * factor : 0
        };
        if (is_written(a, row->slot, e.offset)) admit_one(a, &tally, &e);
    }
    tell(a, row->slot, &tally);
    return tally.refused;
}

void dsv4_admit(struct dsv4_admission *a, const struct dsv4_row *row, const struct dsv4_ball *balls,
                const double *variances) {
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
    const int64_t wrong = admit_row(a, &row, balls, NULL, v->right && !v->same);
    tally->elements = 1;
    tally->differ = !v->same;
    if (!v->right) refuse(tally, v->offset, v->low, v->high);
    if (v->right && !v->same) tally->bins[0] = 1;
    if (v->right && wrong == 0) accept(v->form, a->got + at, a->want + at, false);
    tell(a, v->slot, tally);
}

void dsv4_admit_scale(struct dsv4_admission *a, const struct dsv4_scale *scale,
                      struct dsv4_ball amax, const struct dsv4_row *codes,
                      const struct dsv4_ball *balls) {
    const int64_t at = a->c->tensors[scale->slot].offset + scale->offset;
    const int got = byte_at(scale->form, a->got + at), want = byte_at(scale->form, a->want + at);
    struct dsv4_admitted tally = {0};
    int low, high;
    dsv4_scale_bytes(a, scale, amax, &low, &high);
    if (low > high || !is_written(a, scale->slot, scale->offset)) return;
    const bool right = a->of_mistake ? got == want : low <= got && got <= high;
    const struct verdict v = {
        scale->slot, scale->offset, scale->form,    right,
        got == want, power_of(low), power_of(high), power_of(254 - (right ? got : want)),
    };
    tally.contradicted = !(low <= want && want <= high);
    admit_group(a, &tally, &v, codes, balls);
}

void dsv4_admit_free_scale(struct dsv4_admission *a, size_t slot, int64_t offset,
                           struct dsv4_ball s, const struct dsv4_row *codes,
                           const struct dsv4_ball *balls) {
    const int64_t at = a->c->tensors[slot].offset + offset;
    if (a->of_mistake) s = ball_about(DSV4_AS_F32, code_at(DSV4_AS_F32, a->want + at, false), s.r);
    const double got = decode(DSV4_AS_F32, code_at(DSV4_AS_F32, a->got + at, false));
    const double want = decode(DSV4_AS_F32, code_at(DSV4_AS_F32, a->want + at, false));
    const double low = rounded(DSV4_AS_F32, s.v - s.r), high = rounded(DSV4_AS_F32, s.v + s.r);
    struct dsv4_admitted tally = {0};
    if (!(low <= high) || !is_written(a, slot, offset)) return;
    const bool right = low <= got && got <= high;
    const struct verdict v = {slot,        offset, DSV4_AS_F32, right,
                              got == want, low,    high,        1 / (right ? got : want)};
    tally.contradicted = !(low <= want && want <= high);
    admit_group(a, &tally, &v, codes, balls);
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
