/* SPDX-License-Identifier: Apache-2.0 */
/* SwiGLU with a clamp, for the op that stores bf16 and for the one that quantises. */
#ifndef DSV4_MOE_ACTIVATION_H
#define DSV4_MOE_ACTIVATION_H

#include "../bound/admit.h"
#include "../input/input.h"

enum { MOE_GATE_UP, MOE_ROW_WEIGHTS, MOE_N_ROWS, MOE_ACTIVATION_OUT };

enum moe_activation_wrong {
    MOE_ACT_RIGHT,
    MOE_ACT_GATE_BELOW,
    MOE_ACT_UP_ONE_SIDED,
    MOE_ACT_CLAMP_LOST,
    MOE_ACT_CLAMP_AFTER,
    MOE_ACT_ZERO_CLAMPS,
    MOE_ACT_LIMIT_UNROUNDED,
    MOE_ACT_HALVES_SWAPPED,
    MOE_ACT_INTERLEAVED,
    MOE_ACT_ROUNDED_TWICE,
    MOE_ACT_ROUNDED_ONCE,
    MOE_ACT_WEIGHT_LOST,
    MOE_ACT_WEIGHT_LATE,
    MOE_ACT_ALL_ROWS,
    MOE_ACT_ROW_DENSE,
    MOE_ACT_ROUNDING_MIXED,
    MOE_ACT_SCALE_FLOOR,
    MOE_ACT_FLOOR_MIXED,
    MOE_ACT_GROUP_START,
    MOE_ACT_GROUP_WHOLE,
    MOE_ACT_FNUZ_MAX,
    MOE_ACT_SCALE_POW2,
};

#define MOE_ACTIVATION_PARAMS                                                                      \
    DSV4_PARAM_FLOAT("limit", CALL, 10, 0, 1e30, "clamp of gate (above) and up (both); 0: none"),  \
        DSV4_PARAM_INT("rows", INPUT, 3, 0, 1 << 24, "rows"),                                      \
        DSV4_PARAM_INT("width", INPUT, 128, 1, 1 << 16, "columns of either half"),                 \
        DSV4_PARAM_INT("weighted", INPUT, 0, 0, 1, "1: there are routing weights"),                \
        DSV4_PARAM_INT("in_use", INPUT, -1, -1, 1 << 24, "rows in use, in n_rows; -1: absent"),    \
        DSV4_PARAM_NAME("values", INPUT, "normal", "normal coarse zero limits huge tiny",          \
                        "about N(0, 36); multiples of 1/4 to 16; 0; around +-10; "                 \
                        "extremes of bf16; small ones"),                                           \
        DSV4_PARAM_NAME("view", INPUT, "dense", "dense wide", "wide: rows lie apart")

#define MOE_MUTANTS_OF_ACTIVATION                                                                  \
    {"gate-clamped-below", "gate clamped from below too", MOE_ACT_GATE_BELOW},                     \
        {"up-one-sided", "up clamped from above only", MOE_ACT_UP_ONE_SIDED},                      \
        {"clamp-lost", "nothing clamped", MOE_ACT_CLAMP_LOST},                                     \
        {"clamp-after", "silu(gate) clamped; the gate is", MOE_ACT_CLAMP_AFTER},                   \
        {"zero-clamps", "a limit of 0 clamps to 0; it means none", MOE_ACT_ZERO_CLAMPS},           \
        {"halves-swapped", "the second half taken for the gate", MOE_ACT_HALVES_SWAPPED},          \
        {"interleaved", "gate and up taken to alternate", MOE_ACT_INTERLEAVED},                    \
        {"weight-lost", "routing weight not applied", MOE_ACT_WEIGHT_LOST},                        \
        {"all-rows", "rows beyond n_rows written", MOE_ACT_ALL_ROWS}, {                            \
        "row-dense", "rows taken as contiguous; they have a stride", MOE_ACT_ROW_DENSE             \
    }

struct moe_activation {
    const dsv4_tensor *x;
    const float *weights; /* or NULL */
    int64_t width, rows;
    float limit, silu_of_limit;
    bool limited, silu_rounded;
    enum moe_activation_wrong wrong;
};

void moe_activation_shape(struct dsv4_case *c);
void moe_activation_fill(struct dsv4_case *c);
enum moe_activation_wrong moe_activation_wrong_of(const struct dsv4_op *op, int mutant);

/* silu_rounded: silu is rounded to bf16; limit_rounded: so is the limit. */
void moe_activation_open(struct moe_activation *activation, const dsv4_call *call,
                         bool silu_rounded, bool limit_rounded, enum moe_activation_wrong wrong);

/* Columns first .. first + n - 1 of a row. */
void moe_activate(const struct moe_activation *activation, float *out, int64_t row, int64_t first,
                  int n);
/* What other arithmetic may make of them. */
void moe_activate_ball(const struct moe_activation *activation, const dsv4_arithmetic *a,
                       struct dsv4_ball *out, int64_t row, int64_t first, int n);
void moe_activation_trace(const struct dsv4_case *c, size_t slot, int64_t offset, char *line,
                          size_t size);

/* Reads only. */
void moe_activation_work(const struct dsv4_case *c, struct dsv4_work *work);

#endif
