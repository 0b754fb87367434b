/* SPDX-License-Identifier: Apache-2.0 */
/*
 * pre, post, comb, the collapse and the norm of a token in one block. Its first loads are on their way while a team
 * finds the weights. The norm's 64 partials are chains over the row in shared memory.
 */
#ifndef DSV4_MHC_APPLY_INL
#define DSV4_MHC_APPLY_INL

#include "mhc_mix.inl"

/* The norm's chains wait for their fma, not for each load. */
#if GPU_CUDA
#define APPLY_UNROLL _Pragma("unroll 16")
#else
#define APPLY_UNROLL
#endif

enum mhc_norm { MHC_NORM_NONE, MHC_NORM_UNROUNDED, MHC_NORM_ROUNDED };
enum { APPLY_UNITS = 2, APPLY_STEP = APPLY_UNITS * CALL_THREADS, APPLY_PARTIALS = 64 };

/* raw may lie in `out`: a row's is read before that row is written. expanded: NULL, or what gets the streams. */
struct mhc_apply {
    struct mhc_mix mix;
    struct mhc_tensor residual, post, comb, out, expanded;
    const char *weight;
    int units;
    float hidden, norm_eps;
};

template <int NORM> struct mhc_apply_shared {
    float o[NORM == MHC_NORM_NONE ? 4 : MHC_MOST_HIDDEN];
    float pre[MHC_STREAMS], partial[APPLY_PARTIALS], factor;
};

GPU_DEVICE void mhc_apply_load(gpu_u4 (*streams)[MHC_STREAMS], const struct mhc_apply &a,
                               int64_t row, int first) {
    GPU_UNROLL for (int i = 0; i < APPLY_UNITS; i++) {
        const int unit = first + i * CALL_THREADS;
        if (unit >= a.units) continue;
        GPU_UNROLL for (int j = 0; j < MHC_STREAMS; j++) streams[i][j] =
            mhc_load(a.residual, row, j, unit);
    }
}

/* The first team: weights, of which post and comb are outputs. */
GPU_DEVICE void mhc_apply_mix(float *pre, const struct mhc_apply &a, int64_t row) {
    const int i = gpu_lane();
    float weight;
    const float comb = mhc_mix_token(&weight, a.mix, row);
    if (i < 16)
        *(float *)(a.comb.data + row * a.comb.row + i / 4 * a.comb.stream + 4 * (i % 4)) = comb;
    if (i < 4)
        pre[i] = weight;
    else if (i < 8)
        *(float *)(a.post.data + row * a.post.row + (i - 4) * a.post.stream) = weight;
}

/* The factor of the row that lies in shared memory. */
template <int NORM>
GPU_DEVICE void mhc_apply_factor(struct mhc_apply_shared<NORM> &shared, const struct mhc_apply &a) {
    const int thread = (int)gpu_thread(), hidden = a.units * MHC_UNIT;
    if (thread < APPLY_PARTIALS) {
        float sum = 0.0f;
        APPLY_UNROLL for (int h = thread; h < hidden; h += APPLY_PARTIALS) sum =
            gpu_fma(shared.o[h], shared.o[h], sum);
        shared.partial[thread] = sum;
    }
    gpu_barrier();
    if (gpu_team() == 0) {
        float sum = shared.partial[thread] + shared.partial[thread + APPLY_PARTIALS / 2];
        sum += team_xor_float(sum, 16);
        sum += team_xor_float(sum, 8);
        sum += team_xor_float(sum, 4);
        sum += team_xor_float(sum, 2);
        sum += team_xor_float(sum, 1);
        if (thread == 0)
            shared.factor = elementary_rsqrt(gpu_divide_float(sum, a.hidden) + a.norm_eps);
    }
    gpu_barrier();
}

template <int NORM>
GPU_DEVICE void mhc_apply_norm(struct mhc_apply_shared<NORM> &shared, const struct mhc_apply &a,
                               int64_t row) {
    mhc_apply_factor<NORM>(shared, a);
    const float r = shared.factor;
    for (int unit = (int)gpu_thread(); unit < a.units; unit += CALL_THREADS) {
        float x[MHC_UNIT], w[MHC_UNIT];
        mhc_unpack(w, *(const gpu_u4 *)(a.weight + (int64_t)unit * 16));
        mhc_load4(x, (const char *)(shared.o + unit * MHC_UNIT));
        mhc_load4(x + 4, (const char *)(shared.o + unit * MHC_UNIT + 4));
        if (NORM == MHC_NORM_UNROUNDED) mhc_unpack(x, mhc_pack(x));
        GPU_UNROLL for (int i = 0; i < MHC_UNIT; i++) x[i] = x[i] * r * w[i];
        mhc_store(a.out, row, 0, unit, mhc_pack(x));
    }
}

/* One unit of the collapse: to the output, or to shared memory where a norm follows. */
template <int NORM>
GPU_DEVICE void mhc_apply_unit(struct mhc_apply_shared<NORM> &shared, const struct mhc_apply &a,
                               int64_t row, int unit, const gpu_u4 *streams, const float *pre) {
    float o[MHC_UNIT];
    mhc_collapse_unit<false>(o, streams, pre);
    if (NORM == MHC_NORM_NONE) {
        mhc_store(a.out, row, 0, unit, mhc_pack(o));
        return;
    }
    if (NORM == MHC_NORM_ROUNDED) mhc_unpack(o, mhc_pack(o));
    gpu_f4 low = {o[0], o[1], o[2], o[3]}, high = {o[4], o[5], o[6], o[7]};
    *(gpu_f4 *)(shared.o + unit * MHC_UNIT) = low;
    *(gpu_f4 *)(shared.o + unit * MHC_UNIT + 4) = high;
}

template <int NORM>
__global__ void __launch_bounds__(CALL_THREADS) mhc_apply_kernel(const struct mhc_apply a) {
    __shared__ __attribute__((aligned(16))) struct mhc_apply_shared<NORM> shared;
    const int64_t row = gpu_block();
    gpu_u4 streams[APPLY_UNITS][MHC_STREAMS];
    float pre[MHC_STREAMS];
    mhc_apply_load(streams, a, row, (int)gpu_thread());
    if (gpu_team() == 0) mhc_apply_mix(shared.pre, a, row);
    gpu_barrier();
    mhc_load4(pre, (const char *)shared.pre);
    for (int first = (int)gpu_thread(); first < a.units; first += APPLY_STEP) {
        if (first >= APPLY_STEP) mhc_apply_load(streams, a, row, first);
        GPU_UNROLL for (int i = 0; i < APPLY_UNITS; i++) {
            const int unit = first + i * CALL_THREADS;
            if (unit >= a.units) continue;
            mhc_apply_unit<NORM>(shared, a, row, unit, streams[i], pre);
            if (a.expanded.data == NULL) continue;
            GPU_UNROLL for (int j = 0; j < MHC_STREAMS; j++)
                mhc_store(a.expanded, row, j, unit, streams[i][j]);
        }
    }
    if (NORM == MHC_NORM_NONE) return;
    gpu_barrier();
    mhc_apply_norm<NORM>(shared, a, row);
}

/* ---- host ---- */

static inline int mhc_apply_supports(const dsv4_call *call, struct call_why why) {
    CALL_NEED(call, "scale", DSV4_F32, 1, why);
    CALL_NEED(call, "base", DSV4_F32, 1, why);
    if (!dsv4_is(call, "norm", "none")) MHC_NEED(call, "weight", DSV4_BF16, 1, why);
    CALL_NEED(call, "post", DSV4_F32, 3, why);
    CALL_NEED(call, "comb", DSV4_F32, 3, why);
    MHC_NEED(call, "layer_input", DSV4_BF16, 2, why);
    return mhc_supports_hidden(call, why);
}

/* All but mix.raw and residual. */
static inline void mhc_apply_of(struct mhc_apply *a, const dsv4_call *call, int64_t width) {
    const int64_t hidden = dsv4_int(call, "hidden", 0);
    memset(a, 0, sizeof *a);
    mhc_mix_of(&a->mix, call, width);
    a->post = mhc_tensor_of(dsv4_find(call, "post"));
    a->comb = mhc_tensor_of(dsv4_find(call, "comb"));
    a->out = mhc_tensor_of(dsv4_find(call, "layer_input"));
    a->weight = (const char *)dsv4_find(call, "weight")->data;
    a->units = (int)(hidden / MHC_UNIT);
    a->hidden = (float)hidden;
    a->norm_eps = dsv4_float(call, "norm_eps", 1e-6f);
}

static inline int mhc_apply_run(const struct mhc_apply &a, const dsv4_call *call,
                                struct call_why why) {
    const gpu_stream stream = (gpu_stream)call->stream;
    dim3 grid;
    const int status = call_grid(&grid, dsv4_int(call, "tokens", 0), why);
    if (status != DSV4_OK) return status;
    if (dsv4_is(call, "norm", "none"))
        GPU_LAUNCH(mhc_apply_kernel<MHC_NORM_NONE>, grid, CALL_THREADS, stream, a);
    else if (dsv4_is(call, "norm", "unrounded"))
        GPU_LAUNCH(mhc_apply_kernel<MHC_NORM_UNROUNDED>, grid, CALL_THREADS, stream, a);
    else
        GPU_LAUNCH(mhc_apply_kernel<MHC_NORM_ROUNDED>, grid, CALL_THREADS, stream, a);
    return call_launched(why);
}

#endif
