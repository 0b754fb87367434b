/* SPDX-License-Identifier: Apache-2.0 */
/* rope_inverse: a thread moves vectors of eight channels; in place only those that rotate. */
#include "rope_back.inl"

enum { INVERSE_EACH = 4 /* vectors of a thread, under way together */ };

struct inverse_args {
    const char *o, *table;
    char *out;
    struct rope_positions positions;
    int64_t o_token, o_head, out_token, out_head, table_row, vectors;
    struct gpu_divisor heads;
    int fused;
};

template <bool IN_PLACE, bool WIDE>
__global__ void __launch_bounds__(CALL_THREADS) inverse_kernel(const struct inverse_args a) {
    const int per_row = IN_PLACE ? ROPE_VECTORS - ROPE_TURNED : ROPE_VECTORS;
    const int64_t first = gpu_block() * (CALL_THREADS * INVERSE_EACH) + gpu_thread();
    gpu_u4 v[INVERSE_EACH];
    char *to[INVERSE_EACH];
    int64_t token[INVERSE_EACH];
    /* The same place in every row that this thread meets, since per_row divides the block. */
    const int at = (int)(first % per_row) + (IN_PLACE ? ROPE_TURNED : 0);
    GPU_UNROLL for (int i = 0; i < INVERSE_EACH; i++) {
        const int64_t id = first + i * CALL_THREADS;
        token[i] = -1;
        if (id >= a.vectors) continue;
        const int64_t row = id / per_row, t = gpu_quotient(row, a.heads);
        const int64_t h = row - t * a.heads.value;
        token[i] = t;
        v[i] = rope_load<WIDE>(a.o + t * a.o_token + h * a.o_head + at * 16);
        to[i] = a.out + t * a.out_token + h * a.out_head + at * 16;
    }
    GPU_UNROLL for (int i = 0; i < INVERSE_EACH; i++) {
        if (token[i] < 0) continue;
        if (at >= ROPE_TURNED) {
            const int64_t position = rope_position(a.positions, token[i]);
            const struct rope_angles angle =
                rope_load_angles(a.table + position * a.table_row, (at - ROPE_TURNED) * 4);
            float x[8];
            rope_values(x, v[i]);
            rope_turn_back(x, angle, a.fused);
            v[i] = rope_codes(x);
        }
        rope_store<WIDE>(to[i], v[i]);
    }
}

static int supports(const dsv4_call *call, struct call_why why) {
    const int status = rope_supports(call, why);
    if (status != DSV4_OK || dsv4_int(call, "in_place", 0) != 0) return status;
    CALL_NEED(call, "out", DSV4_BF16, 3, why);
    CALL_NEED_ALIGNED(call, "out", 4, why);
    return DSV4_OK;
}

static int run(const dsv4_call *call, struct call_why why) {
    const bool in_place = dsv4_int(call, "in_place", 0) != 0;
    const dsv4_tensor *const o = dsv4_find(call, "o");
    const dsv4_tensor *const out = in_place ? o : dsv4_find(call, "out");
    const dsv4_tensor *const table = dsv4_find(call, "rope_table");
    const gpu_stream stream = (gpu_stream)call->stream;
    struct inverse_args a;
    dim3 grid;
    a.o = (const char *)o->data;
    a.o_token = o->stride[0];
    a.o_head = o->stride[1];
    a.out = (char *)out->data;
    a.out_token = out->stride[0];
    a.out_head = out->stride[1];
    a.table = (const char *)table->data;
    a.table_row = table->stride[0];
    a.positions = rope_positions_of(dsv4_find(call, "positions"));
    a.heads = call_divisor(o->shape[1]);
    a.vectors = o->shape[0] * o->shape[1] * (in_place ? ROPE_VECTORS - ROPE_TURNED : ROPE_VECTORS);
    a.fused = dsv4_is(call, "rope", "fma");
    if (a.vectors == 0) return DSV4_OK;
    const int status = call_grid(&grid, call_ceil(a.vectors, CALL_THREADS * INVERSE_EACH), why);
    if (status != DSV4_OK) return status;
    const bool wide = call_aligned(o, 16) && call_aligned(out, 16);
    if (in_place && wide)
        GPU_LAUNCH((inverse_kernel<true, true>), grid, CALL_THREADS, stream, a);
    else if (in_place)
        GPU_LAUNCH((inverse_kernel<true, false>), grid, CALL_THREADS, stream, a);
    else if (wide)
        GPU_LAUNCH((inverse_kernel<false, true>), grid, CALL_THREADS, stream, a);
    else
        GPU_LAUNCH((inverse_kernel<false, false>), grid, CALL_THREADS, stream, a);
    return call_launched(why);
}

CALL_ENTRY_POINTS(rope_inverse)
