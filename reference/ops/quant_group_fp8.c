/* SPDX-License-Identifier: Apache-2.0 */
/*
 * quant_group_fp8: rows to FP8 with one power-of-two scale per group of columns.
 *
 * Per group of `group` columns (the last one may be shorter):
 * 1. amax = max(|x|, floor)
 * 2. s = amax * fl(1/M), or amax / M; s = max(s, scale floor); M = 448, 224 or 240
 * 3. byte = exponent of s, plus one unless its mantissa is zero; the scale is 2^(byte - 127)
 * 4. code = e4m3(x * 2^(127 - byte)), saturating at M
 *
 *   recipe       floor  scale floor  s             byte of a group of zeros
 *   ref          1e-4   none         amax*fl(1/M)  105
 *   deepgemm     1e-4   none         amax/M        105
 *   tilekernels  1e-4   none         amax/M        105
 *   vllm         1e-10  1e-10        amax/M        94
 *   vllm_packed  1e-10  1e-10        amax/M        94
 *   inv_rope     1e-10  none         amax*fl(1/M)  85
 *   mega         none   none         amax*fl(1/M)  0, codes by 2^127
 *   aiter        none   none         amax/M        0, codes by 0
 *
 * Scales as bytes, as fp32 (byte 0 is 0.0 there) or packed: see scale_layout. Rows that pad an MN-major array up to 4
 * are zero when packed, and with inv_rope; elsewhere they are not written. Bytes of groups behind the last are zero.
 * Rounding points: s, the code; each once. x * 2^(127 - byte) is exact unless it is subnormal.
 * Domain: finite x.
 *
 * Source: the recipes' kernels: DeepSeek inference/kernel.py act_quant; DeepGEMM per_token_cast_to_fp8 and the mega_moe
 * epilogue; TileKernels quant; vllm per_token_group_quant_8bit (also _packed), fused_inv_rope_fp8_quant; aiter
 * fused_clamp_act_mul.
 * Latitude: x / 2^e and x * 2^-e are the same number. The recipes that write exp2(ceil(log2(s))) get a scale of half the
 * size where log2f rounds down to an integer: s a few ulp above a power of two, which no bf16 amax gives; the bits decide
 * here. A quotient an ulp too high at amax = M * 2^k, as of a division that is not correctly rounded, doubles the scale and
 * fails in every class, by intent: there the quotient is a power of two, which every recipe has exactly.
 * Clamps beyond saturation change nothing: after step 3 no |x| is above M.
 */
#include <stdio.h>

#include "quant_family.h"

enum { X, Q, SCALES };

static const struct dsv4_param_def params[] = {
    DSV4_PARAM_NAME("recipe", DIALECT, "ref", QUANT_RECIPE_WORDS, "whose floors and quotients"),
    QUANT_FP8_PARAM,
    QUANT_LAYOUT_PARAM,
    DSV4_PARAM_INT("group", CALL, 128, 32, 128, "columns of a group: 32, 64 or 128"),
    QUANT_ROWS_PARAMS(5, 512, 1),
};

static const struct dsv4_slot slots[] = {
    {"x",      DSV4_IN,  "[M, K] bf16 or f32, rows strided", "what is quantised"               },
    {"q",      DSV4_OUT, "[M, K] e4m3, rows strided",        "codes"                           },
    {"scales", DSV4_OUT, "by scale_layout, rows strided",    "one per row and group of columns"},
};

static const struct dsv4_mutant mutants[] = {
    QUANT_MUTANTS_OF_SCALE,
    QUANT_MUTANTS_OF_FP8,
    QUANT_MUTANTS_OF_GROUPS,
    QUANT_MUTANTS_OF_FP8_SCALE,
    QUANT_MUTANTS_OF_LAYOUT,
    {"floor-raised",    "1e-4 is the floor of some recipes, not of all",            QUANT_FLOOR_RAISED   },
    {"amax-of-row",     "one amax for the whole row; each group has its own",       QUANT_AMAX_OF_ROW    },
    {"amax-of-column",  "amax over rows of one column's group; it is over columns",
      QUANT_AMAX_OF_COLUMN                                                                                },
    {"group-of-128",    "groups of 128 whatever the call says",                     QUANT_GROUP_OF_128   },
    {"tail-lost",       "a last group that is not whole takes no part in amax",     QUANT_TAIL_LOST      },
    {"scales-unpadded", "MN-major arrays M apart; they are M up to 4 apart",        QUANT_SCALES_UNPADDED},
};

static int shape(struct dsv4_case *c, struct dsv4_err *err) {
    const int64_t rows = dsv4_case_int(c, "rows"), columns = dsv4_case_int(c, "columns");
    const int64_t group = dsv4_case_int(c, "group");
    if (group != 32 && group != 64 && group != 128)
        return dsv4_fail(err, "group: %lld; there are groups of 32, 64 and 128", (long long)group);
    quant_shape_input(c, X, rows, columns);
    DSV4_SHAPE(c, Q, dsv4_case_is(c, "fp8", "ocp") ? DSV4_E4M3FN : DSV4_E4M3FNUZ, rows, columns);
    quant_widen(c, Q);
    quant_shape_scales(c, SCALES, rows, quant_ceil(columns, group));
    return 0;
}

static void fill(struct dsv4_case *c) {
    quant_fill(c, X, dsv4_case_int(c, "group"), quant_case_most(c));
}

/* amax by a wrong rule, of up to `group` columns from `first` on; `own` if the rule does not say otherwise. */
static float wrong_amax(const dsv4_tensor *x, int64_t row, int64_t first, float own, int64_t group,
                        enum quant_wrong wrong) {
    float room[QUANT_MAX_GROUP], most = 0.0f;
    const int64_t columns = x->shape[1];
    if (wrong == QUANT_TAIL_LOST && columns - first < group) return 0.0f;
    if (wrong == QUANT_AMAX_OF_ROW || wrong == QUANT_GROUP_OF_128) {
        const int64_t whole = wrong == QUANT_AMAX_OF_ROW ? columns : QUANT_MAX_GROUP;
        const int64_t start = first / whole * whole, end = quant_min(start + whole, columns);
        for (int64_t i = start; i < end; i++) {
            const float *const value = quant_load(room, x, row, i, 1, QUANT_RIGHT);
            const float one = quant_amax(value, 1, QUANT_RIGHT);
            most = one > most ? one : most;
        }
        return most;
    }
    if (wrong == QUANT_AMAX_OF_COLUMN) {
        for (int64_t i = row / group * group; i < quant_min((row / group + 1) * group, x->shape[0]);
             i++) {
            const float *const value = quant_load(room, x, i, first, 1, QUANT_RIGHT);
            const float one = quant_amax(value, 1, QUANT_RIGHT);
            most = one > most ? one : most;
        }
        return most;
    }
    if (wrong == QUANT_AMAX_OF_NEIGHBOUR && first > 0) {
        const float *const before = quant_load(room, x, row, first - group, group, QUANT_RIGHT);
        return quant_amax(before, group, QUANT_RIGHT);
    }
    return own;
}

static void make_row(const struct quant_rule *rule, const dsv4_call *call, struct quant_scale *of,
                     int64_t row) {
    const dsv4_tensor *const x = &call->tensors[X], *const q = &call->tensors[Q];
    const int64_t columns = x->shape[1], group = dsv4_int(call, "group", QUANT_MAX_GROUP);
    uint8_t *const codes = (uint8_t *)q->data + row * q->stride[0];
    for (int64_t first = 0; first < columns; first += QUANT_SPAN) {
        const int64_t n = quant_min(QUANT_SPAN, columns - first), groups = quant_ceil(n, group);
        _Alignas(64) float room[QUANT_SPAN]; /* no vector of it in two cache lines */
        float amaxes[QUANT_SPAN_GROUPS];
        const float *const values = quant_load(room, x, row, first, n, rule->wrong);
        quant_amaxes(amaxes, values, n, group, rule->wrong);
        for (int64_t g = 0; rule->wrong != QUANT_RIGHT && g < groups; g++)
            amaxes[g] = wrong_amax(x, row, first + g * group, amaxes[g], group, rule->wrong);
        quant_scales_of(rule, of, amaxes, groups);
        quant_apply(room, values, n, group, of);
        quant_codes(rule, codes + first, room, n);
        of += groups;
    }
}

static void make_rows(const struct quant_rule *rule, const dsv4_call *call,
                      const struct quant_scales *scales, int64_t row) {
    const int64_t rows = quant_min(QUANT_ROWS, scales->rows - row);
    struct quant_scale of[QUANT_ROWS * QUANT_MOST_GROUPS];
    for (int64_t r = 0; r < rows; r++) make_row(rule, call, of + r * scales->groups, row + r);
    quant_put_rows(scales, row, rows, of);
}

const struct dsv4_op dsv4_op_quant_group_fp8;

static int run(const dsv4_call *call, int mutant, struct dsv4_err *err) {
    const enum quant_wrong wrong = quant_wrong_of(&dsv4_op_quant_group_fp8, mutant);
    const struct quant_rule rule = quant_rule_of(call, wrong);
    const dsv4_tensor *const x = &call->tensors[X], *const to = &call->tensors[SCALES];
    struct quant_scales scales = {quant_layout_of(call),
                                  to->data,
                                  to->stride[0],
                                  x->shape[0],
                                  0,
                                  dsv4_is(call, "recipe", "inv_rope"),
                                  wrong};
    (void)err;
    scales.groups = quant_ceil(x->shape[1], dsv4_int(call, "group", QUANT_MAX_GROUP));
    scales.pads_rows |= scales.layout == QUANT_PACKED;
#pragma omp parallel for schedule(static)
    for (int64_t row = 0; row < x->shape[0]; row += QUANT_ROWS)
        make_rows(&rule, call, &scales, row);
    quant_pad_scales(&scales);
    return DSV4_OK;
}

static void trace(const struct dsv4_case *c, size_t slot, int64_t offset, char *line, size_t size) {
    const dsv4_tensor *const out = &c->tensors[slot].t, *const x = &c->tensors[X].t;
    const int64_t group = dsv4_case_int(c, "group"), columns = x->shape[1];
    int64_t row = offset / out->stride[0], g = offset % out->stride[0] / group;
    if (slot == SCALES) quant_case_scale_at(c, slot, offset, &row, &g);
    if (row >= x->shape[0] || g * group >= columns) {
        snprintf(line, size, "padding of row %lld, group %lld", (long long)row, (long long)g);
        return;
    }
    quant_trace_group(c, X, row, g * group, quant_min(group, columns - g * group), line, size);
}

static void work(const struct dsv4_case *c, struct dsv4_work *work) {
    const dsv4_tensor *const x = &c->tensors[X].t, *const scales = &c->tensors[SCALES].t;
    const double elements = (double)(x->shape[0] * x->shape[1]);
    work->bytes_read = elements * (double)dsv4_dtype_bytes(x->dtype);
    work->bytes_written = elements + (double)(scales->shape[0] * scales->shape[1]) *
                                         (double)dsv4_dtype_bytes(scales->dtype);
}

const struct dsv4_op dsv4_op_quant_group_fp8 = {
    .name = "quant_group_fp8",
    .summary = "rows to FP8 with a power-of-two scale per group of columns",
    .source = "DeepSeek inference/kernel.py act_quant, and seven relatives",
    .exact = "the greatest magnitude is an input and the quotient the recipe's own; a value over "
             "its scale is rounded as the recipe says",
    DSV4_OP_PARTS,
};
