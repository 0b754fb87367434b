/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Rows quantised in groups: a team takes ROWS rows of QUANT_SPAN columns, eight neighbouring columns per lane and step,
 * all loads of which are under way at once. A span holds whole packed words of any group size. Rows go up to the padded
 * count where padding is written.
 */
#ifndef DSV4_QUANT_ROWS_INL
#define DSV4_QUANT_ROWS_INL

#include "quant_lane.inl"

enum { QUANT_STEP = 8 * TEAM, QUANT_STEPS = 2, QUANT_SPAN = QUANT_STEP * QUANT_STEPS };

struct quant_rows_args {
    const char *x;
    char *q;
    int64_t x_stride, q_stride, rows, padded, units;
    struct gpu_divisor spans; /* per row */
    int columns, lanes;       /* lanes of a group */
    struct quant_rule rule;
    struct quant_scales scales;
};

/* Whether a row has data, or is padding that is stored. */
struct quant_row_is {
    bool data, stored;
};

/* Packed words of one row of a span; a word's four groups are 4 * lanes lanes, or both steps. */
GPU_DEVICE void quant_put_words(const struct quant_rows_args &a, int64_t row,
                                struct quant_row_is is, int span_group, int shift,
                                const uint32_t *byte) {
    const int lane = gpu_lane(), step_groups = TEAM >> shift;
    uint32_t words[QUANT_STEPS];
    GPU_UNROLL for (int i = 0; i < QUANT_STEPS; i++) {
        const int group = i * step_groups + (lane >> shift);
        const bool there = is.data && span_group + group < a.scales.groups;
        words[i] = there ? byte[i] << 8 * (group & 3) : 0;
        if (a.lanes == 4) words[i] |= team_xor_u32(words[i], 4);
        if (a.lanes <= 8) words[i] |= team_xor_u32(words[i], 8);
        if (a.lanes >= 8) words[i] |= team_xor_u32(words[i], 16);
    }
    if (a.lanes == 16) words[0] |= words[1];
    GPU_UNROLL for (int i = 0; i < QUANT_STEPS; i++) {
        const int group = span_group + i * step_groups + (lane >> shift);
        const bool one = a.lanes == 16 ? i == 0 && lane == 0 : (lane & (4 * a.lanes - 1)) == 0;
        if (one && is.stored && group < a.scales.groups)
            *(uint32_t *)(a.scales.data + (group >> 2) * a.scales.stride + 4 * row) = words[i];
    }
}

/* Scales of one row of a span: byte[i] is this lane's group of step i. */
GPU_DEVICE void quant_put_scales(const struct quant_rows_args &a, int64_t row,
                                 struct quant_row_is is, int first, const uint32_t *byte) {
    const int lane = gpu_lane(), shift = a.lanes == 16 ? 4 : a.lanes == 8 ? 3 : 2;
    const int span_group = first >> (shift + 3);
    if (a.scales.layout == QUANT_PACKED) {
        quant_put_words(a, row, is, span_group, shift, byte);
        return;
    }
    GPU_UNROLL for (int i = 0; i < QUANT_STEPS; i++) {
        const int group = span_group + i * (TEAM >> shift) + (lane >> shift);
        if ((lane & (a.lanes - 1)) == 0 && is.stored && group < a.scales.groups)
            quant_put_scale(a.scales, row, group, is.data ? byte[i] : 0);
    }
}

template <bool F32, int FORMAT, bool WIDE, int ROWS>
__global__ void __launch_bounds__(CALL_THREADS) QUANT_ROWS_KERNEL(const struct quant_rows_args a) {
    const int64_t unit = gpu_block() * CALL_TEAMS + gpu_team();
    if (unit >= a.units) return;
    const int64_t several = gpu_quotient(unit, a.spans), row = several * ROWS;
    const int first = (int)(unit - several * a.spans.value) * QUANT_SPAN;
    const int column = first + 8 * gpu_lane();
    /* Rows here with data, and stored ones. The last one is loaded for those without. */
    const int left = a.rows - row < ROWS ? (int)(a.rows - row) : ROWS;
    const int stored = a.padded - row < ROWS ? (int)(a.padded - row) : ROWS;
    const char *from = a.x + (left > 0 ? row : a.rows - 1) * a.x_stride;
    char *to = a.q + row * a.q_stride;
    struct quant_raw raw[ROWS][QUANT_STEPS];
    GPU_UNROLL for (int r = 0; r < ROWS; r++) {
        GPU_UNROLL for (int i = 0; i < QUANT_STEPS; i++) raw[r][i] =
            quant_load<F32, WIDE>(from, column + i * QUANT_STEP, a.columns);
        if (r + 1 < left) from += a.x_stride;
    }
    GPU_UNROLL for (int r = 0; r < ROWS; r++) {
        uint32_t byte[QUANT_STEPS];
        GPU_UNROLL for (int i = 0; i < QUANT_STEPS; i++) {
            float x[8];
            quant_floats<F32>(x, raw[r][i]);
            const float amax = F32 ? quant_amax_floats(x) : quant_amax_codes(raw[r][i].a);
            const float most = quant_amax_group(amax, a.lanes);
            byte[i] = FORMAT == QUANT_FP4 ? quant_fp4_byte(a.rule, most) : quant_byte(a.rule, most);
            const gpu_u2 codes =
                quant_encode<F32, FORMAT>(a.rule, raw[r][i], x, quant_factor(a.rule, byte[i]));
            if (r < left) quant_store<FORMAT, WIDE>(to, column + i * QUANT_STEP, a.columns, codes);
        }
        to += a.q_stride;
        quant_put_scales(a, row + r, {r < left, r < stored}, first, byte);
    }
}

static inline int quant_rows_supports(const dsv4_call *call, struct call_why why) {
    const dsv4_tensor *const x = dsv4_find(call, "x");
    const int64_t group = dsv4_int(call, "group", 128);
    if (!call_has(x, DSV4_F32, 2)) CALL_NEED(call, "x", DSV4_BF16, 2, why);
    if (group != 32 && group != 64 && group != 128)
        return call_unsupported(why, "group: %lld; these kernels take 32, 64 and 128",
                                (long long)group);
    if (x->shape[1] > INT32_MAX / 8)
        return call_unsupported(why, "x: rows of %lld", (long long)x->shape[1]);
    return quant_supports_scales(call, why);
}

template <bool F32, int FORMAT>
static int quant_rows_launch(const dsv4_call *call, struct quant_rows_args a, struct call_why why) {
    enum { DEEP = F32 ? 2 : 4 };
    const bool wide = call_aligned(dsv4_find(call, "x"), 16) &&
                      call_aligned(dsv4_find(call, "q"), FORMAT == QUANT_FP4 ? 4 : 8) &&
                      a.columns % 8 == 0;
    const bool deep =
        wide && a.padded * a.spans.value > (int64_t)DEEP * CALL_TEAMS * GPU_BUSY_BLOCKS;
    const gpu_stream stream = (gpu_stream)call->stream;
    dim3 grid;
    a.units = call_ceil(a.padded, deep ? DEEP : 1) * a.spans.value;
    const int status = call_grid(&grid, call_ceil(a.units, CALL_TEAMS), why);
    if (status != DSV4_OK) return status;
    if (!wide)
        GPU_LAUNCH((QUANT_ROWS_KERNEL<F32, FORMAT, false, 1>), grid, CALL_THREADS, stream, a);
    else if (deep)
        GPU_LAUNCH((QUANT_ROWS_KERNEL<F32, FORMAT, true, DEEP>), grid, CALL_THREADS, stream, a);
    else
        GPU_LAUNCH((QUANT_ROWS_KERNEL<F32, FORMAT, true, 1>), grid, CALL_THREADS, stream, a);
    return call_launched(why);
}

/* What the ops share of a call; the rule is the op's. */
static inline struct quant_rows_args quant_rows_of(const dsv4_call *call, struct quant_rule rule) {
    const dsv4_tensor *const x = dsv4_find(call, "x"), *const q = dsv4_find(call, "q");
    const int64_t group = dsv4_int(call, "group", 128);
    struct quant_rows_args a = {};
    a.x = (const char *)x->data;
    a.x_stride = x->stride[0];
    a.q = (char *)q->data;
    a.q_stride = q->stride[0];
    a.rows = x->shape[0];
    a.columns = (int)x->shape[1];
    a.lanes = (int)group / 8;
    a.rule = rule;
    a.scales = quant_scales_of(call, call_ceil(a.columns, group));
    a.padded = a.scales.pads_rows ? call_ceil(a.rows, 4) * 4 : a.rows;
    a.spans = call_divisor(call_ceil(a.columns, QUANT_SPAN));
    return a;
}

#endif
