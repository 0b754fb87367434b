/* SPDX-License-Identifier: Apache-2.0 */
/* How a table of formulations is written: a list ROWS(ROW) of ROW(name, form, flags, types..., statement). */
#ifndef DSV4_ISA_ROWS_H
#define DSV4_ISA_ROWS_H

#include "number.h"

/* A lane's sources under their usual types, and its destination. */
#define A ((uint32_t)x->a)
#define B ((uint32_t)x->b)
#define C ((uint32_t)x->c)
#define SA ((int32_t)(uint32_t)x->a)
#define SB ((int32_t)(uint32_t)x->b)
#define SC ((int32_t)(uint32_t)x->c)
#define LA (x->a)
#define LB (x->b)
#define LC (x->c)
#define HA ((uint16_t)x->a)
#define HB ((uint16_t)x->b)
#define HC ((uint16_t)x->c)
#define GA ((int16_t)(uint16_t)x->a)
#define GB ((int16_t)(uint16_t)x->b)
#define GC ((int16_t)(uint16_t)x->c)
#define D x->d
#define MIN(p, q) ((p) < (q) ? (p) : (q))
#define MAX(p, q) ((p) > (q) ? (p) : (q))

/* clang-format off */
#define DEFINE_ROWS(table) ROWS(ROW_FUNCTION) const struct isa_row table[] = {ROWS(ROW_ENTRY){0}};
#define ROW_FUNCTION(name, form, flags, d, s0, s1, s2, statement)                                  \
    static void run_##name(struct isa_lane *x) { statement; }
#define ROW_ENTRY(name, form, flags, d, s0, s1, s2, statement)                                     \
    {#name, form, flags, d, {s0, s1, s2}, run_##name},
/* clang-format on */

#endif
