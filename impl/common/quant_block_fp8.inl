/* SPDX-License-Identifier: Apache-2.0 */
/*
 * quant_block_fp8: a block of threads per two neighbouring blocks of the weight, so that a team has 256 columns of a row, eight
 * in a lane: rows in longer pieces are what memory is faster at. Values stay in registers between amax and codes.
 */
#include "quant_lane.inl"

enum {
    BLOCK_THREADS = 512,
    BLOCK_SIDE = 128,
    BLOCK_PAIR = 2 * BLOCK_SIDE,
    BLOCK_TEAMS = BLOCK_THREADS / TEAM,
    BLOCK_EACH = BLOCK_SIDE / BLOCK_TEAMS,
    /* Of bf16, as many blocks of threads share a multiprocessor: loads of one hide behind the codes of others. */
    BLOCK_RESIDENT = 2
};

struct quant_block_args {
    const char *w;
    char *q;
    int64_t w_stride, q_stride, rows;
    struct gpu_divisor across; /* pairs per row of blocks */
    int columns;
    struct quant_rule rule;
    struct quant_scales scales;
};

/* Greatest of the values of a half of the team's lanes, and of that half of all teams. */
GPU_DEVICE float quant_block_amax(float amax) {
    __shared__ uint32_t of_team[2][BLOCK_TEAMS];
    const int half = gpu_lane() / 16;
    amax = quant_amax_group(amax, 16);
    if (gpu_lane() % 16 == 0) of_team[half][gpu_team()] = gpu_bits(amax);
    gpu_barrier();
    uint32_t all = 0;
    GPU_UNROLL for (int i = 0; i < BLOCK_TEAMS; i++) all = quant_max_u32(all, of_team[half][i]);
    return gpu_float(all);
}

template <bool F32, int FORMAT, bool WIDE>
__global__ void __launch_bounds__(BLOCK_THREADS, !F32 && WIDE ? BLOCK_RESIDENT : 1)
    quant_block_kernel(const struct quant_block_args a) {
    const int64_t i = gpu_quotient(gpu_block(), a.across), j = gpu_block() - i * a.across.value;
    const int column = (int)j * BLOCK_PAIR + gpu_lane() * 8;
    const int64_t first = i * BLOCK_SIDE + gpu_team();
    const int left = a.rows - first < BLOCK_SIDE ? (int)(a.rows - first) : (int)BLOCK_SIDE;
    const char *from = a.w + first * a.w_stride;
    struct quant_raw raw[BLOCK_EACH];
    GPU_UNROLL for (int r = 0; r < BLOCK_EACH; r++, from += BLOCK_TEAMS * a.w_stride) {
        raw[r] = quant_load<F32, WIDE>(from, column, r * BLOCK_TEAMS < left ? a.columns : 0);
    }
    float amax = 0.0f, x[8];
    GPU_UNROLL for (int r = 0; r < BLOCK_EACH; r++) {
        quant_floats<F32>(x, raw[r]);
        amax = gpu_max(amax, F32 ? quant_amax_floats(x) : quant_amax_codes(raw[r].a));
    }
    const uint32_t byte = quant_byte(a.rule, quant_block_amax(amax));
    const float factor = quant_factor(a.rule, byte);
    char *to = a.q + first * a.q_stride;
    GPU_UNROLL for (int r = 0; r < BLOCK_EACH; r++, to += BLOCK_TEAMS * a.q_stride) {
        quant_floats<F32>(x, raw[r]);
        if (r * BLOCK_TEAMS < left)
            quant_store<FORMAT, WIDE>(to, column, a.columns,
                                      quant_encode<F32, FORMAT>(a.rule, raw[r], x, factor));
    }
    if (gpu_team() == 0 && gpu_lane() % 16 == 0 && column < a.columns)
        quant_put_scale(a.scales, i, column / BLOCK_SIDE, byte);
}

static int supports(const dsv4_call *call, struct call_why why) {
    if (!call_has(dsv4_find(call, "w"), DSV4_F32, 2)) CALL_NEED(call, "w", DSV4_BF16, 2, why);
    CALL_NEED(call, "q", quant_fp8_dtype(call), 2, why);
    if (dsv4_find(call, "w")->shape[1] > INT32_MAX / 8)
        return call_unsupported(why, "w: rows of %lld", (long long)dsv4_find(call, "w")->shape[1]);
    return quant_supports_scales(call, why);
}

template <bool F32, int FORMAT>
static void quant_block_launch(const struct quant_block_args a, dim3 grid, bool wide,
                               gpu_stream stream) {
    if (wide)
        GPU_LAUNCH((quant_block_kernel<F32, FORMAT, true>), grid, BLOCK_THREADS, stream, a);
    else
        GPU_LAUNCH((quant_block_kernel<F32, FORMAT, false>), grid, BLOCK_THREADS, stream, a);
}

static int run(const dsv4_call *call, struct call_why why) {
    const dsv4_tensor *const w = dsv4_find(call, "w"), *const q = dsv4_find(call, "q");
    const gpu_stream stream = (gpu_stream)call->stream;
    struct quant_block_args a = {};
    dim3 grid;
    a.w = (const char *)w->data;
    a.w_stride = w->stride[0];
    a.q = (char *)q->data;
    a.q_stride = q->stride[0];
    a.rows = w->shape[0];
    a.columns = (int)w->shape[1];
    a.rule = quant_rule_of(call);
    a.across = call_divisor(call_ceil(a.columns, BLOCK_PAIR));
    a.scales = quant_scales_of(call, call_ceil(a.columns, BLOCK_SIDE));
    if (a.rows == 0) return DSV4_OK;
    const int status = call_grid(&grid, call_ceil(a.rows, BLOCK_SIDE) * a.across.value, why);
    if (status != DSV4_OK) return status;
    const bool wide = call_aligned(w, 16) && call_aligned(q, 8) && a.columns % 8 == 0;
    const bool f32 = w->dtype == DSV4_F32, ocp = a.rule.fp8 == NUM_OCP;
    if (f32 && ocp)
        quant_block_launch<true, QUANT_OCP>(a, grid, wide, stream);
    else if (f32)
        quant_block_launch<true, QUANT_FNUZ>(a, grid, wide, stream);
    else if (ocp)
        quant_block_launch<false, QUANT_OCP>(a, grid, wide, stream);
    else
        quant_block_launch<false, QUANT_FNUZ>(a, grid, wide, stream);
    return call_launched(why);
}

CALL_ENTRY_POINTS(quant_block_fp8)
