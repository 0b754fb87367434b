/* SPDX-License-Identifier: Apache-2.0 */
/*
 * quant_mega_weights: rows of codes and words of scales in one launch. The first blocks copy rows, a team per row and
 * QUANT_MEGA_SPAN bytes; the others move scales, a lane per word. Neighbouring lanes of a scale block read four runs of
 * eight words, which are whole sectors.
 */
#include "call.h"

enum { QUANT_MEGA_STEPS = 4, QUANT_MEGA_SPAN = 16 * TEAM * QUANT_MEGA_STEPS };

struct quant_mega_args {
    const char *w, *scales;
    char *w_out, *scales_out;
    int64_t w_expert, w_row, out_expert, out_row;
    int64_t s_expert, s_word, so_expert, so_word;
    int64_t row_blocks, units, strips;
    struct gpu_divisor spans, rows, turn, twice, words, tiles;
    int bytes;
    bool wide;
};

/* Row that comes to be row r. */
GPU_DEVICE int64_t quant_mega_row(const struct quant_mega_args &a, int64_t r) {
    if (a.turn.value == 0) return r;
    const int64_t p = gpu_quotient(r, a.twice), i = r - p * a.twice.value;
    const bool up = i >= a.turn.value;
    return (up ? a.rows.value / 2 - a.turn.value : 0) + p * a.turn.value + i;
}

GPU_DEVICE void quant_mega_copy(const struct quant_mega_args &a) {
    const int64_t unit = gpu_block() * CALL_TEAMS + gpu_team();
    if (unit >= a.units) return;
    const int64_t rest = gpu_quotient(unit, a.spans), e = gpu_quotient(rest, a.rows);
    const int64_t r = rest - e * a.rows.value;
    const int first = (int)(unit - rest * a.spans.value) * QUANT_MEGA_SPAN;
    const char *const from = a.w + e * a.w_expert + quant_mega_row(a, r) * a.w_row;
    char *const to = a.w_out + e * a.out_expert + r * a.out_row;
    const int last = first + QUANT_MEGA_SPAN < a.bytes ? first + QUANT_MEGA_SPAN : a.bytes;
    if (!a.wide) {
        for (int k = first + gpu_lane(); k < last; k += TEAM) to[k] = from[k];
        return;
    }
    gpu_u4 x[QUANT_MEGA_STEPS];
    GPU_UNROLL for (int i = 0; i < QUANT_MEGA_STEPS; i++) {
        const int k = first + 16 * (gpu_lane() + i * TEAM);
        if (k < last) x[i] = *(const gpu_u4 *)(from + k);
    }
    GPU_UNROLL for (int i = 0; i < QUANT_MEGA_STEPS; i++) {
        const int k = first + 16 * (gpu_lane() + i * TEAM);
        if (k < last) *(gpu_u4 *)(to + k) = x[i];
    }
}

/* A team per 128 words, four to a lane. */
GPU_DEVICE void quant_mega_scales(const struct quant_mega_args &a) {
    const int64_t strip = (gpu_block() - a.row_blocks) * CALL_TEAMS + gpu_team();
    if (strip >= a.strips) return;
    const int64_t rest = gpu_quotient(strip, a.tiles), e = gpu_quotient(rest, a.words);
    const int64_t word = rest - e * a.words.value, base = (strip - rest * a.tiles.value) * 128;
    const int32_t *const from = (const int32_t *)(a.scales + e * a.s_expert + word * a.s_word);
    int32_t *const to = (int32_t *)(a.scales_out + e * a.so_expert + word * a.so_word);
    int32_t x[4];
    GPU_UNROLL for (int i = 0; i < 4; i++) {
        const int p = i * TEAM + gpu_lane();
        x[i] = from[quant_mega_row(a, base + p % 4 * 32 + p / 4)];
    }
    GPU_UNROLL for (int i = 0; i < 4; i++) to[base + i * TEAM + gpu_lane()] = x[i];
}

__global__ void __launch_bounds__(CALL_THREADS) quant_mega_kernel(const struct quant_mega_args a) {
    if (gpu_block() < a.row_blocks)
        quant_mega_copy(a);
    else
        quant_mega_scales(a);
}

static int supports(const dsv4_call *call, struct call_why why) {
    const int64_t turn = dsv4_int(call, "interleave", 8);
    CALL_NEED(call, "scales", DSV4_I32, 3, why);
    CALL_NEED(call, "scales_out", DSV4_I32, 3, why);
    const int64_t rows = dsv4_find(call, "scales")->shape[2];
    if (rows % 128 != 0 || (turn > 0 && rows / 2 % turn != 0))
        return call_unsupported(why, "%lld rows, interleaved by %lld", (long long)rows,
                                (long long)turn);
    if (turn == 0) return DSV4_OK;
    CALL_NEED(call, "w", DSV4_U8, 3, why);
    CALL_NEED(call, "w_out", DSV4_U8, 3, why);
    return DSV4_OK;
}

static void quant_mega_open(const dsv4_call *call, struct quant_mega_args &a) {
    const dsv4_tensor *const s = dsv4_find(call, "scales"), *const to =
                                                                dsv4_find(call, "scales_out");
    const int64_t turn = dsv4_int(call, "interleave", 8), rows = s->shape[2];
    a.scales = (const char *)s->data;
    a.s_expert = s->stride[0];
    a.s_word = s->stride[1];
    a.scales_out = (char *)to->data;
    a.so_expert = to->stride[0];
    a.so_word = to->stride[1];
    a.rows = call_divisor(rows);
    a.turn = call_divisor(turn);
    a.twice = call_divisor(2 * turn);
    a.words = call_divisor(s->shape[1]);
    a.tiles = call_divisor(rows / 128);
    a.strips = s->shape[0] * s->shape[1] * a.tiles.value;
    if (turn == 0) return;
    const dsv4_tensor *const w = dsv4_find(call, "w"), *const out = dsv4_find(call, "w_out");
    a.w = (const char *)w->data;
    a.w_expert = w->stride[0];
    a.w_row = w->stride[1];
    a.w_out = (char *)out->data;
    a.out_expert = out->stride[0];
    a.out_row = out->stride[1];
    a.bytes = (int)w->shape[2];
    a.wide = call_aligned(w, 16) && call_aligned(out, 16) && a.bytes % 16 == 0;
    a.spans = call_divisor(call_ceil(a.bytes, QUANT_MEGA_SPAN));
    a.units = w->shape[0] * rows * a.spans.value;
    a.row_blocks = call_ceil(a.units, CALL_TEAMS);
}

static int run(const dsv4_call *call, struct call_why why) {
    struct quant_mega_args a = {};
    dim3 grid;
    quant_mega_open(call, a);
    if (a.rows.value == 0) return DSV4_OK;
    const int status = call_grid(&grid, a.row_blocks + call_ceil(a.strips, CALL_TEAMS), why);
    if (status != DSV4_OK) return status;
    GPU_LAUNCH(quant_mega_kernel, grid, CALL_THREADS, (gpu_stream)call->stream, a);
    return call_launched(why);
}

CALL_ENTRY_POINTS(quant_mega_weights)
