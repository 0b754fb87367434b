/* SPDX-License-Identifier: Apache-2.0 */
/* mhc_head: the dots, by way of the output's rows, then a block per token that collapses its streams. */
#include "mhc_dots.inl"
#include "mhc_mix.inl"

enum { HEAD_UNITS = 2 };

struct head_args {
    struct mhc_tensor residual, y;
    const float *scale, *base;
    float hc_eps;
    int units, scale_after;
};

/* Weight of stream `lane`; y's row holds four dots and the factor. */
GPU_DEVICE float head_weight(const struct head_args &a, int64_t row) {
    const float *const raw = (const float *)(a.y.data + row * a.y.row);
    const int j = gpu_lane() % MHC_STREAMS;
    const float m = a.scale_after ? raw[j] * raw[MHC_STREAMS] : raw[j];
    return mhc_sigmoid(m * a.scale[0] + a.base[j]) + a.hc_eps;
}

GPU_DEVICE void head_load(gpu_u4 (*streams)[MHC_STREAMS], const struct head_args &a, int64_t row,
                          int first) {
    GPU_UNROLL for (int i = 0; i < HEAD_UNITS; i++) {
        const int unit = first + i * CALL_THREADS;
        if (unit >= a.units) continue;
        GPU_UNROLL for (int j = 0; j < MHC_STREAMS; j++) streams[i][j] =
            mhc_load(a.residual, row, j, unit);
    }
}

__global__ void __launch_bounds__(CALL_THREADS) mhc_head_kernel(const struct head_args a) {
    const int64_t row = gpu_block();
    gpu_u4 streams[HEAD_UNITS][MHC_STREAMS];
    float pre[MHC_STREAMS];
    head_load(streams, a, row, (int)gpu_thread());
    const float weight = head_weight(a, row);
    GPU_UNROLL for (int j = 0; j < MHC_STREAMS; j++) pre[j] = mhc_lane(weight, j);
    gpu_barrier(); /* from here on the row of y may be written */
    for (int first = (int)gpu_thread(); first < a.units; first += HEAD_UNITS * CALL_THREADS) {
        if (first >= HEAD_UNITS * CALL_THREADS) head_load(streams, a, row, first);
        GPU_UNROLL for (int i = 0; i < HEAD_UNITS; i++) {
            const int unit = first + i * CALL_THREADS;
            float o[MHC_UNIT];
            if (unit >= a.units) continue;
            mhc_collapse_unit<false>(o, streams[i], pre);
            mhc_store(a.y, row, 0, unit, mhc_pack(o));
        }
    }
}

static int supports(const dsv4_call *call, struct call_why why) {
    MHC_NEED(call, "residual", DSV4_BF16, 3, why);
    MHC_NEED(call, "fn", DSV4_F32, 2, why);
    CALL_NEED(call, "scale", DSV4_F32, 1, why);
    CALL_NEED(call, "base", DSV4_F32, 1, why);
    MHC_NEED(call, "y", DSV4_BF16, 2, why);
    const int status = mhc_supports_scratch(call, "y", MHC_STREAMS, 1, why);
    return status == DSV4_OK ? mhc_supports_hidden(call, why) : status;
}

/* The factor has to be there before dots of normed rows. */
static int run_dots(struct mhc_dots dots, const dsv4_call *call, bool scale_after,
                    struct call_why why) {
    if (scale_after) return mhc_dots_run<MHC_ROWS, MHC_STREAMS>(dots, call, why);
    dots.groups = 0;
    const int status = mhc_dots_run<MHC_ROWS, MHC_STREAMS>(dots, call, why);
    dots.groups = 1;
    dots.with_squares = 0;
    return status == DSV4_OK ? mhc_dots_run<MHC_NORMED, MHC_STREAMS>(dots, call, why) : status;
}

static int run(const dsv4_call *call, struct call_why why) {
    struct mhc_dots dots;
    struct head_args a;
    dim3 grid;
    mhc_dots_of(&dots, call, dsv4_find(call, "fn"));
    mhc_dots_scratch(&dots, dsv4_find(call, "y"), MHC_STREAMS, 1);
    dots.rows = mhc_tensor_of(dsv4_find(call, "residual"));
    dots.eps = dsv4_float(call, "rms_eps", 1e-6f);
    a.residual = dots.rows;
    a.y = mhc_tensor_of(dsv4_find(call, "y"));
    a.scale = (const float *)dsv4_find(call, "scale")->data;
    a.base = (const float *)dsv4_find(call, "base")->data;
    a.hc_eps = dsv4_float(call, "hc_eps", 1e-6f);
    a.units = dots.hidden / MHC_UNIT;
    a.scale_after = dsv4_is(call, "rounding", "scale_after");
    if (dots.tokens == 0) return DSV4_OK;
    int status = run_dots(dots, call, a.scale_after != 0, why);
    if (status == DSV4_OK) status = call_grid(&grid, dots.tokens, why);
    if (status != DSV4_OK) return status;
    GPU_LAUNCH(mhc_head_kernel, grid, CALL_THREADS, (gpu_stream)call->stream, a);
    return call_launched(why);
}

CALL_ENTRY_POINTS(mhc_head)
