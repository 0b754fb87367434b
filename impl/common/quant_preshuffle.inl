/* SPDX-License-Identifier: Apache-2.0 */
/*
 * quant_preshuffle: lane l of a team takes piece 2s + l / 16 of row l % 16 of a tile, so that it reads whole sectors of 32
 * bytes and the team writes 512 bytes in a row; eight such steps are under way at once.
 */
#include "call.h"

enum { QUANT_PIECE = 16, QUANT_PIECE_STEPS = 8 };

struct quant_pieces_args {
    const char *w;
    char *out;
    int64_t expert, row, out_expert, units;
    struct gpu_divisor chunks, sixteens; /* per 16 rows; per expert */
    int pieces, tile;
};

template <bool WIDE> GPU_DEVICE gpu_u4 quant_piece(const char *from) {
    gpu_u4 v;
    if (WIDE) {
        v = *(const gpu_u4 *)from;
    } else {
        uint32_t words[4] = {0, 0, 0, 0};
        GPU_UNROLL for (int i = 0; i < 16; i++) words[i / 4] |= (uint32_t)(uint8_t)from[i]
                                                                << 8 * (i % 4);
        v.x = words[0];
        v.y = words[1];
        v.z = words[2];
        v.w = words[3];
    }
    return v;
}

template <bool WIDE>
__global__ void __launch_bounds__(CALL_THREADS)
    quant_preshuffle_kernel(const struct quant_pieces_args a) {
    const int64_t unit = gpu_block() * CALL_TEAMS + gpu_team();
    if (unit >= a.units) return;
    const int64_t rest = gpu_quotient(unit, a.chunks), e = gpu_quotient(rest, a.sixteens);
    const int first = (int)(unit - rest * a.chunks.value) * 2 * QUANT_PIECE_STEPS;
    const int64_t n = (rest - e * a.sixteens.value) * 16 + gpu_lane() % 16;
    const char *const from = a.w + e * a.expert + n * a.row;
    const int64_t tile = a.tile == 32 ? n >> 5 : n >> 4;
    const int within = (int)(n & (a.tile - 1));
    gpu_u4 *const to = (gpu_u4 *)(a.out + e * a.out_expert);
    gpu_u4 pieces[QUANT_PIECE_STEPS];
    const int mine = first + gpu_lane() / 16;
    GPU_UNROLL for (int i = 0; i < QUANT_PIECE_STEPS; i++) if (mine + 2 * i < a.pieces) pieces[i] =
        quant_piece<WIDE>(from + (int64_t)(mine + 2 * i) * QUANT_PIECE);
    GPU_UNROLL for (int i = 0; i < QUANT_PIECE_STEPS; i++) if (mine + 2 * i < a.pieces)
        to[(tile * a.pieces + mine + 2 * i) * a.tile + within] = pieces[i];
}

static int supports(const dsv4_call *call, struct call_why why) {
    const dsv4_tensor *const w = dsv4_find(call, "w");
    const int64_t tile = dsv4_int(call, "tile", 16);
    CALL_NEED(call, "w", DSV4_U8, 3, why);
    CALL_NEED(call, "out", DSV4_U8, 3, why);
    CALL_NEED_ALIGNED(call, "out", 16, why);
    if ((tile != 16 && tile != 32) || w->shape[1] % tile != 0 || w->shape[2] % QUANT_PIECE != 0)
        return call_unsupported(why, "%lld rows of %lld bytes in tiles of %lld",
                                (long long)w->shape[1], (long long)w->shape[2], (long long)tile);
    return DSV4_OK;
}

static int run(const dsv4_call *call, struct call_why why) {
    const dsv4_tensor *const w = dsv4_find(call, "w"), *const out = dsv4_find(call, "out");
    const gpu_stream stream = (gpu_stream)call->stream;
    struct quant_pieces_args a = {};
    dim3 grid;
    a.w = (const char *)w->data;
    a.expert = w->stride[0];
    a.row = w->stride[1];
    a.out = (char *)out->data;
    a.out_expert = out->stride[0];
    a.pieces = (int)(w->shape[2] / QUANT_PIECE);
    a.tile = (int)dsv4_int(call, "tile", 16);
    a.chunks = call_divisor(call_ceil(a.pieces, 2 * QUANT_PIECE_STEPS));
    a.sixteens = call_divisor(w->shape[1] / 16 > 0 ? w->shape[1] / 16 : 1);
    a.units = w->shape[0] * (w->shape[1] / 16) * a.chunks.value;
    if (a.units == 0) return DSV4_OK;
    const int status = call_grid(&grid, call_ceil(a.units, CALL_TEAMS), why);
    if (status != DSV4_OK) return status;
    if (call_aligned(w, 16))
        GPU_LAUNCH(quant_preshuffle_kernel<true>, grid, CALL_THREADS, stream, a);
    else
        GPU_LAUNCH(quant_preshuffle_kernel<false>, grid, CALL_THREADS, stream, a);
    return call_launched(why);
}

CALL_ENTRY_POINTS(quant_preshuffle)
