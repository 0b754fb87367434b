/* SPDX-License-Identifier: Apache-2.0 */
/* RoPE tables from IEEE double operations alone, so that every machine makes the same bits. */
#include <stdlib.h>

#include "../num/bf16.h"
#include "values.h"

enum { PAIRS = 32 };

static int by_position(const void *a, const void *b) {
    const int64_t x = *(const int64_t *)a, y = *(const int64_t *)b;
    return (x > y) - (x < y);
}

void dsv4_rope_shape(struct dsv4_case *c, size_t slot, uint32_t dtype, const int64_t *positions,
                     int64_t n, int64_t max_position) {
    int64_t *rows = dsv4_case_alloc(c, (size_t)(n + 1) * sizeof *rows), n_rows = 0;
    memcpy(rows, positions, (size_t)n * sizeof *rows);
    qsort(rows, (size_t)n, sizeof *rows, by_position);
    for (int64_t i = 0; i < n; i++)
        if (n_rows == 0 || rows[i] != rows[n_rows - 1]) rows[n_rows++] = rows[i];
    DSV4_SHAPE(c, slot, dtype, max_position, 2 * PAIRS);
    dsv4_live_rows(c, slot, rows, n_rows);
}

/* sin(2 pi x) and cos(2 pi x) for x in [0, 1): reduced to an eighth of a turn, then Taylor series.
 */
static void sincos_turns(double x, double *sine, double *cosine) {
    const int quarter = (int)(x * 4.0 + 0.5);
    const double a = (x - 0.25 * quarter) * 6.283185307179586, q = a * a;
    const double s =
        a * (1.0 -
             q / 6.0 *
                 (1.0 -
                  q / 20.0 *
                      (1.0 - q / 42.0 * (1.0 - q / 72.0 * (1.0 - q / 110.0 * (1.0 - q / 156.0))))));
    const double c =
        1.0 -
        q / 2.0 *
            (1.0 -
             q / 12.0 * (1.0 - q / 30.0 * (1.0 - q / 56.0 * (1.0 - q / 90.0 * (1.0 - q / 132.0)))));
    switch (quarter & 3) {
    case 0: *sine = s, *cosine = c; break;
    case 1: *sine = c, *cosine = -s; break;
    case 2: *sine = -s, *cosine = -c; break;
    default: *sine = -c, *cosine = s; break;
    }
}

/* Turns per position of each pair. */
static void frequencies(enum dsv4_rope rope, double turns[PAIRS]) {
    const double step = rope == DSV4_ROPE_SWA ? 0x1.7ff2224115d9ap-1 : 0x1.6014733a346eep-1;
    double turn = 0.15915494309189535;
    for (int i = 0; i < PAIRS; i++, turn *= step) {
        /* YaRN: slow pairs are interpolated by the factor 16, fast ones are kept, a ramp lies
         * between. */
        const double rotations = 65536.0 * turn;
        const double ramp = rotations > 32.0  ? 1.0
                            : rotations < 1.0 ? 0.0
                                              : (rotations - 1.0) / 31.0;
        turns[i] = rope == DSV4_ROPE_SWA ? turn : turn * (ramp + (1.0 - ramp) / 16.0);
    }
}

static void put_entry(const dsv4_tensor *table, int64_t position, int i, float value) {
    char *const row = (char *)table->data + position * table->stride[0];
    if (table->dtype == DSV4_F32)
        ((float *)(void *)row)[i] = value;
    else
        ((uint16_t *)(void *)row)[i] = dsv4_bf16_from_f32(value);
}

void dsv4_rope_fill(const struct dsv4_case *c, size_t slot, enum dsv4_rope rope) {
    const struct dsv4_case_tensor *tensor = &c->tensors[slot];
    double turns[PAIRS];
    frequencies(rope, turns);
    for (int64_t r = 0; r < tensor->n_rows; r++) {
        const int64_t position = tensor->rows[r];
        for (int i = 0; i < PAIRS; i++) {
            double sine, cosine;
            const double x = (double)position * turns[i];
            sincos_turns(x - (double)(int64_t)x, &sine, &cosine);
            put_entry(&tensor->t, position, i, (float)cosine);
            put_entry(&tensor->t, position, PAIRS + i, (float)sine);
        }
    }
}
