/* SPDX-License-Identifier: Apache-2.0 */
/*
 * quant_mxfp4: rows to e2m1 with one scale byte per group of columns.
 *
 * Per group of `group` columns (the last one may be shorter):
 * 1. amax = max(|x|, floor): 6 * 2^-126 with recipes ref and tilekernels, 1e-4 with deepgemm
 * 2. s = amax * fl(1/6) (ref), or amax / 6
 * 3. byte = exponent of s, plus one unless its mantissa is zero; the scale is 2^(byte - 127)
 * 4. y = x * 2^(127 - byte); code by `rounding`
 *      even     to nearest, ties to the even code; -0 and what rounds to it keep their sign: 8
 *      strict   one more than the halfway points that |y| is above: ties go down; zero is +0
 * The even column is the low nibble. A group of zeros has byte 1, or 103 with recipe deepgemm. Layouts of the scales and
 * their padding are those of quant_group_fp8.
 * Rounding points: s, the code; each once. Domain: finite x.
 *
 * Source: DeepSeek inference/kernel.py fp4_quant; TileKernels; DeepGEMM per_token_cast_to_fp4 (strict).
 * Latitude: none on finite input; after step 3 no |y| is above 6. The two rules differ at 0.75, 1.75 and 3.5 and in the
 * sign of zero.
 */
#include <stdio.h>

#include "quant_four.h"

enum { X, Q, SCALES };

static const struct dsv4_param_def params[] = {
    DSV4_PARAM_NAME("recipe", DIALECT, "ref", "ref tilekernels deepgemm",
                    "whose floor and quotient"),
    DSV4_PARAM_NAME("rounding", DIALECT, "even", "even strict",
                    "of halfway points: to the even code, or down"),
    QUANT_LAYOUT_PARAM,
    DSV4_PARAM_INT("group", CALL, 32, 32, 128, "columns of a group: 32, 64 or 128"),
    QUANT_ROWS_PARAMS(3, 256, 2),
};

static const struct dsv4_slot slots[] = {
    {"x",      DSV4_IN,  "[M, K] bf16 or f32, rows strided", "what is quantised"               },
    {"q",      DSV4_OUT, "[M, K / 2] u8, rows strided",      "codes, two to a byte"            },
    {"scales", DSV4_OUT, "by scale_layout, rows strided",    "one per row and group of columns"},
};

static const struct dsv4_mutant mutants[] = {
    QUANT_MUTANTS_OF_SCALE,
    QUANT_MUTANTS_OF_GROUPS,
    QUANT_MUTANTS_OF_LAYOUT,
    {"scale-of-fp8",       "amax scaled to 448; FP4 goes up to 6",                QUANT_SCALE_OF_FP8      },
    {"floor-other",        "the floor of the other recipes",                      QUANT_FLOOR_RAISED      },
    {"ties-other",         "halfway points and zeros by the other rounding rule", QUANT_TIES_OTHER        },
    {"ties-away",          "halfway points rounded up",                           QUANT_TIES_AWAY         },
    {"truncated",          "codes rounded down; they are rounded to nearest",     QUANT_TRUNCATED         },
    {"saturates-early",    "everything from 4 on becomes 6",                      QUANT_SATURATES_EARLY   },
    {"subnormals-flushed", "0.5 flushed to zero",                                 QUANT_SUBNORMALS_FLUSHED},
    {"zero-unsigned",      "zeros lose their sign; rounding even keeps it",       QUANT_ZERO_UNSIGNED     },
    {"zero-signed",        "zeros keep their sign; rounding strict drops it",     QUANT_ZERO_SIGNED       },
    {"nibbles-swapped",    "even column in the high nibble; it is the low one",   QUANT_NIBBLES_SWAPPED   },
};

static int shape(struct dsv4_case *c, struct dsv4_err *err) {
    const int64_t rows = dsv4_case_int(c, "rows"), columns = dsv4_case_int(c, "columns");
    const int64_t group = dsv4_case_int(c, "group");
    if ((group != 32 && group != 64 && group != 128) || columns % 2 != 0)
        return dsv4_fail(err,
                         "group %lld, %lld columns: groups have 32, 64 or 128, rows an even number",
                         (long long)group, (long long)columns);
    quant_shape_input(c, X, rows, columns);
    DSV4_SHAPE(c, Q, DSV4_U8, rows, columns / 2);
    quant_widen(c, Q);
    quant_shape_scales(c, SCALES, rows, quant_ceil(columns, group));
    return 0;
}

static void fill(struct dsv4_case *c) { quant_fill(c, X, dsv4_case_int(c, "group"), 6.0f); }

static struct quant_rule rule_of(const dsv4_call *call, enum quant_wrong wrong) {
    const bool deepgemm = dsv4_is(call, "recipe", "deepgemm") != (wrong == QUANT_FLOOR_RAISED);
    struct quant_rule rule = {.floor = deepgemm ? 1e-4f : 6.0f * 0x1p-126f,
                              .most = 6.0f,
                              .divides = !dsv4_is(call, "recipe", "ref"),
                              .wrong = wrong};
    if (wrong == QUANT_FLOOR_LOST) rule.floor = 0.0f;
    if (wrong == QUANT_SCALE_OF_FP8) rule.most = 448.0f;
    return rule;
}

/* Wrong on purpose: amax of the group before the one at `first`. */
static float amax_before(const dsv4_tensor *x, int64_t row, int64_t first, int64_t group) {
    float room[QUANT_MAX_GROUP];
    const float *const before = quant_load(room, x, row, first - group, group, QUANT_RIGHT);
    return quant_amax(before, group, QUANT_RIGHT);
}

static void make_row(const struct quant_rule *rule, const dsv4_call *call,
                     const struct quant_scales *scales, int64_t row) {
    const dsv4_tensor *const x = &call->tensors[X], *const q = &call->tensors[Q];
    const int64_t columns = x->shape[1], group = dsv4_int(call, "group", 32);
    const bool strict = dsv4_is(call, "rounding", "strict");
    uint8_t *const codes = (uint8_t *)q->data + row * q->stride[0];
    for (int64_t first = 0; first < columns; first += QUANT_SPAN) {
        const int64_t n = quant_min(QUANT_SPAN, columns - first), groups = quant_ceil(n, group);
        float room[QUANT_SPAN], amaxes[QUANT_SPAN_GROUPS];
        struct quant_scale of[QUANT_SPAN_GROUPS];
        const float *const values = quant_load(room, x, row, first, n, rule->wrong);
        quant_amaxes(amaxes, values, n, group, rule->wrong);
        for (int64_t g = 0; rule->wrong == QUANT_AMAX_OF_NEIGHBOUR && g < groups; g++)
            if (first + g > 0) amaxes[g] = amax_before(x, row, first + g * group, group);
        quant_scales_of(rule, of, amaxes, groups);
        quant_apply(room, values, n, group, of);
        quant_fours(codes + first / 2, room, n, strict, rule->wrong);
        quant_put_scales(scales, row, first / group, of, groups);
    }
}

const struct dsv4_op dsv4_op_quant_mxfp4;

static int run(const dsv4_call *call, int mutant, struct dsv4_err *err) {
    const enum quant_wrong wrong = quant_wrong_of(&dsv4_op_quant_mxfp4, mutant);
    const struct quant_rule rule = rule_of(call, wrong);
    const dsv4_tensor *const x = &call->tensors[X], *const to = &call->tensors[SCALES];
    struct quant_scales scales = {
        quant_layout_of(call), to->data, to->stride[0], x->shape[0], 0, false, wrong};
    (void)err;
    scales.groups = quant_ceil(x->shape[1], dsv4_int(call, "group", 32));
    scales.pads_rows = scales.layout == QUANT_PACKED;
#pragma omp parallel for schedule(static)
    for (int64_t row = 0; row < x->shape[0]; row++) make_row(&rule, call, &scales, row);
    quant_pad_scales(&scales);
    return DSV4_OK;
}

static void trace(const struct dsv4_case *c, size_t slot, int64_t offset, char *line, size_t size) {
    const dsv4_tensor *const out = &c->tensors[slot].t, *const x = &c->tensors[X].t;
    const int64_t group = dsv4_case_int(c, "group"), columns = x->shape[1];
    int64_t row = offset / out->stride[0], g = offset % out->stride[0] * 2 / group;
    if (slot == SCALES) quant_case_scale_at(c, slot, offset, &row, &g);
    if (row >= x->shape[0] || g * group >= columns)
        snprintf(line, size, "padding of row %lld, group %lld", (long long)row, (long long)g);
    else
        quant_trace_group(c, X, row, g * group, quant_min(group, columns - g * group), line, size);
}

static void work(const struct dsv4_case *c, struct dsv4_work *work) {
    const dsv4_tensor *const x = &c->tensors[X].t, *const scales = &c->tensors[SCALES].t;
    const double elements = (double)(x->shape[0] * x->shape[1]);
    work->bytes_read = elements * (double)dsv4_dtype_bytes(x->dtype);
    work->bytes_written = elements / 2 + (double)(scales->shape[0] * scales->shape[1]) *
                                             (double)dsv4_dtype_bytes(scales->dtype);
}

const struct dsv4_op dsv4_op_quant_mxfp4 = {
    .name = "quant_mxfp4",
    .summary = "rows to FP4 with a scale byte per group of columns",
    .source = "DeepSeek inference/kernel.py fp4_quant, TileKernels, DeepGEMM",
    .exact = "the greatest magnitude is an input, its scale a matter of bits, and a value over a "
             "power of two exact",
    DSV4_OP_PARTS,
};
