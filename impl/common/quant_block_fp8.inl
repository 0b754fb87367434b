/* SPDX-License-Identifier: Apache-2.0 */
/*
 * quant_block_fp8: a block of threads per block of the weight; sixteen lanes take a row, eight columns each, and the
 * values stay in registers between amax and codes.
 */
#include "quant_lane.inl"

enum { BLOCK_SIDE = 128, BLOCK_STEP = CALL_THREADS / 16, BLOCK_EACH = BLOCK_SIDE / BLOCK_STEP };
/* Of bf16, as many blocks of threads share a multiprocessor: loads of one hide behind the codes of others. */
enum { BLOCK_RESIDENT = 4 };

struct quant_block_args {
    const char *w;
    char *q;
    int64_t w_stride, q_stride, rows;
    struct gpu_divisor across; /* blocks per row of blocks */
    int columns;
    struct quant_rule rule;
    struct quant_scales scales;
};

/* Greatest of the block's values, in every thread. */
GPU_DEVICE float quant_block_amax(float amax) {
    __shared__ uint32_t of_team[CALL_TEAMS];
    const uint32_t most = team_max_u32(gpu_bits(amax));
    if (gpu_lane() == 0) of_team[gpu_team()] = most;
    gpu_barrier();
    uint32_t all = 0;
    GPU_UNROLL for (int i = 0; i < CALL_TEAMS; i++) all = quant_max_u32(all, of_team[i]);
    return gpu_float(all);
}

template <bool F32, int FORMAT, bool WIDE>
__global__ void __launch_bounds__(CALL_THREADS, !F32 && WIDE ? BLOCK_RESIDENT : 1)
    quant_block_kernel(const struct quant_block_args a) {
    const int64_t i = gpu_quotient(gpu_block(), a.across), j = gpu_block() - i * a.across.value;
    const int column = (int)j * BLOCK_SIDE + (int)gpu_thread() % 16 * 8;
    const int64_t first = i * BLOCK_SIDE + gpu_thread() / (CALL_THREADS / BLOCK_STEP);
    const int left = a.rows - first < BLOCK_SIDE ? (int)(a.rows - first) : (int)BLOCK_SIDE;
    const char *from = a.w + first * a.w_stride;
    struct quant_raw raw[BLOCK_EACH];
    GPU_UNROLL for (int r = 0; r < BLOCK_EACH; r++, from += BLOCK_STEP * a.w_stride) {
        raw[r] = quant_load<F32, WIDE>(from, column, r * BLOCK_STEP < left ? a.columns : 0);
    }
    float amax = 0.0f, x[8];
    GPU_UNROLL for (int r = 0; r < BLOCK_EACH; r++) {
        quant_floats<F32>(x, raw[r]);
        amax = gpu_max(amax, F32 ? quant_amax_floats(x) : quant_amax_codes(raw[r].a));
    }
    const uint32_t byte = quant_byte(a.rule, quant_block_amax(amax));
    const float factor = quant_factor(a.rule, byte);
    char *to = a.q + first * a.q_stride;
    GPU_UNROLL for (int r = 0; r < BLOCK_EACH; r++, to += BLOCK_STEP * a.q_stride) {
        quant_floats<F32>(x, raw[r]);
        if (r * BLOCK_STEP < left)
            quant_store<FORMAT, WIDE>(to, column, a.columns,
                                      quant_encode<F32, FORMAT>(a.rule, raw[r], x, factor));
    }
    if (gpu_thread() == 0) quant_put_scale(a.scales, i, (int)j, byte);
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
        GPU_LAUNCH((quant_block_kernel<F32, FORMAT, true>), grid, CALL_THREADS, stream, a);
    else
        GPU_LAUNCH((quant_block_kernel<F32, FORMAT, false>), grid, CALL_THREADS, stream, a);
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
    a.across = call_divisor(call_ceil(a.columns, BLOCK_SIDE));
    a.scales = quant_scales_of(call, a.across.value);
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
