/* SPDX-License-Identifier: Apache-2.0 */
#include "admit.h"

#include <string.h>

#include "../num/bf16.h"
#include "../num/e8m0.h"
#include "../num/fp8.h"

static int64_t bytes_of(enum dsv4_form form) {
    return form == DSV4_AS_F32 ? 4 : form == DSV4_AS_BF16 ? 2 : 1;
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

static double decode(enum dsv4_form form, const unsigned char *bytes) {
    float x;
    uint16_t half;
    if (form == DSV4_AS_F32) {
        memcpy(&x, bytes, sizeof x);
    } else if (form == DSV4_AS_BF16) {
        memcpy(&half, bytes, sizeof half);
        x = dsv4_bf16_to_f32(half);
    } else if (form == DSV4_AS_E8M0) {
        x = dsv4_e8m0_to_f32(bytes[0]);
    } else {
        x = dsv4_fp8_to_f32(bytes[0], (enum dsv4_fp8)(form - DSV4_AS_OCP));
    }
    return (double)x;
}

/* What a real number is rounded to. By way of binary32, which is where kernels come from: both roundings keep order. */
static double rounded(enum dsv4_form form, double real) {
    const float x = (float)real;
    if (form == DSV4_AS_F32) return (double)x;
    if (form == DSV4_AS_BF16) return (double)dsv4_bf16_to_f32(dsv4_bf16_from_f32(x));
    if (form == DSV4_AS_E8M0) return (double)dsv4_e8m0_to_f32(dsv4_e8m0_ceil(x));
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
    struct dsv4_ball ball;
    double variance;
};

static void admit_one(struct dsv4_admission *a, struct dsv4_admitted *tally,
                      const struct element *e) {
    const enum dsv4_form form = e->row->form;
    const int64_t at = a->c->tensors[e->row->slot].offset + e->offset, bytes = bytes_of(form);
    const double low = rounded(form, e->ball.v - e->ball.r);
    const double high = rounded(form, e->ball.v + e->ball.r);
    const double got = decode(form, a->got + at), want = decode(form, a->want + at);
    const bool same = memcmp(a->got + at, a->want + at, (size_t)bytes) == 0;
    tally->elements++;
    tally->n_squares += e->variance > 0;
    const bool nan = isnan(got) && isnan(want); /* whatever its payload */
    if (same || !(nan || low <= high)) return; /* where there is no ball the canon's bits must do */
    tally->contradicted += !(nan || (low <= want && want <= high));
    tally->differ++;
    if (nan) memcpy(a->got + at, a->want + at, (size_t)bytes);
    if (nan) return;
    if (!(low <= got && got <= high)) {
        if (tally->refused++ == 0) {
            tally->first = e->offset;
            tally->low = low;
            tally->high = high;
        }
        return;
    }
    const double error = isfinite(got) ? least_error(form, e->ball, got) : 0;
    note_error(tally, error, e->ball.r);
    if (e->variance > 0) tally->squares += error * error / e->variance;
    memcpy(a->got + at, a->want + at, (size_t)bytes);
}

void dsv4_admit(struct dsv4_admission *a, const struct dsv4_row *row, const struct dsv4_ball *balls,
                const double *variances) {
    struct dsv4_admitted tally = {0};
    for (int64_t i = 0; i < row->n; i++) {
        const double factor = row->factor;
        const struct element e = {
            row,
            row->offset + i * row->stride,
            {balls[i].v * factor, balls[i].r * factor},
            variances != NULL ? variances[i] * factor * factor : 0
        };
        if (is_written(a, row->slot, e.offset)) admit_one(a, &tally, &e);
    }
#pragma omp critical
    merge(&a->at[row->slot], &tally);
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
    if (memcmp(a->want + at, a->got + at, (size_t)bytes) != 0) tally.differ = tally.bins[0] = 1;
    for (int64_t i = 0; i < bytes; i++)
        if (is_written(a, slot, offset + i)) a->got[at + i] = a->want[at + i];
#pragma omp critical
    merge(&a->at[slot], &tally);
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
