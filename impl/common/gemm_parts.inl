/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Products in fp32, in the canon's order, for some rows of A. The teams of a block take blocks of 128 k by turns, each for all
 * outputs of the block: a team brings STEP k of both sides to shared memory of its own as fp32, row by row, and a lane
 * multiplies R rows by C columns, four k at a time. When all teams have a block's sums, lanes add them in order.
 */
#ifndef DSV4_GEMM_PARTS_INL
#define DSV4_GEMM_PARTS_INL

#include "gemm_chain.inl"

/* GR x GC lanes (fewer than a team where there are few columns) of R x C outputs. */
template <int R_, int GR_, int C_, int GC_> struct parts_shape {
    enum {
        R = R_,
        GR = GR_,
        C = C_,
        GC = GC_,
        TM = R_ * GR_,
        TN = C_ * GC_,
        OUTPUTS = TM * TN,
        STEP = TM > 8       ? 32
               : TM *TN > 8 ? 64
                            : (int)CHAIN_BLOCK, /* few outputs wait least often */
        ROW = STEP + 4,                         /* padded: neighbouring rows begin in other banks */
        LANES = STEP / 8,
        AT_ONCE = TEAM / LANES, /* rows that a team loads at once */
        PA = (TM + AT_ONCE - 1) / AT_ONCE,
        PB = (TN + AT_ONCE - 1) / AT_ONCE,
        TILE = (PA + PB) * AT_ONCE * ROW,
        OWN = (OUTPUTS + CALL_THREADS - 1) / CALL_THREADS,
        SUMS = OUTPUTS > 1024 ? 1 : 2, /* buffers */
        BYTES = 4 * CALL_TEAMS * (TILE + SUMS * OUTPUTS)
    };
};

/* Neighbouring lanes differ in their rows, lanes two apart in their columns: then 16-byte reads of shared
 * memory that many lanes share take half of the turns. */
template <typename S> GPU_DEVICE int parts_row(void) {
    return S::GR == 1 ? 0 : ((gpu_lane() & 1) | gpu_lane() / (2 * S::GC) * 2) % S::GR;
}
template <typename S> GPU_DEVICE int parts_column(void) {
    return (S::GR == 1 ? gpu_lane() : gpu_lane() / 2) % S::GC;
}

/* A lane's eight k of PA rows of A and PB of the weight. */
template <typename S, bool A_F32, bool B_F32> struct parts_loads {
    struct chain_eight<A_F32> a[S::PA];
    struct chain_eight<B_F32> b[S::PB];
};

template <typename S, bool A_F32, bool B_F32>
GPU_DEVICE void parts_load(struct parts_loads<S, A_F32, B_F32> &x, const struct chain_args &a,
                           const struct chain_place &at, int k, bool there) {
    const int row = gpu_lane() / S::LANES, own = k + 8 * (gpu_lane() % S::LANES);
    const char *const from = a.a + at.group * a.a_group + (at.m + row) * a.a_row;
    const char *const with = a.b + at.group * a.b_group + (at.n + row) * a.b_row;
    GPU_UNROLL for (int p = 0; p < S::PA; p++) {
        const int i = p * S::AT_ONCE;
        chain_read(x.a[p], from + i * a.a_row, there && row + i < S::TM && at.m + row + i < a.m,
                   own, a.k);
    }
    GPU_UNROLL for (int p = 0; p < S::PB; p++) {
        const int i = p * S::AT_ONCE;
        chain_read(x.b[p], with + i * a.b_row, there && row + i < S::TN && at.n + row + i < a.n,
                   own, a.k);
    }
}

template <bool F32> GPU_DEVICE void parts_put_eight(float *to, const struct chain_eight<F32> &x) {
    float values[8];
    chain_eight_values(values, x);
    GPU_UNROLL for (int h = 0; h < 8; h += 4) {
        gpu_f4 v;
        v.x = values[h];
        v.y = values[h + 1];
        v.z = values[h + 2];
        v.w = values[h + 3];
        *(gpu_f4 *)(to + h) = v;
    }
}

template <typename S, bool A_F32, bool B_F32>
GPU_DEVICE void parts_put(float *tile, const struct parts_loads<S, A_F32, B_F32> &x) {
    float *const own = tile + gpu_lane() / S::LANES * S::ROW + 8 * (gpu_lane() % S::LANES);
    GPU_UNROLL for (int p = 0; p < S::PA; p++)
        parts_put_eight(own + p * S::AT_ONCE * S::ROW, x.a[p]);
    GPU_UNROLL for (int p = 0; p < S::PB; p++)
        parts_put_eight(own + (S::PA + p) * S::AT_ONCE * S::ROW, x.b[p]);
}

/* The chains of R x C outputs over STEP k. */
template <typename S> GPU_DEVICE void parts_dot(float (*sums)[S::C], const float *tile) {
    const float *const a = tile + parts_row<S>() * S::ROW;
    const float *const b = tile + (S::PA * S::AT_ONCE + parts_column<S>()) * S::ROW;
    GPU_UNROLL for (int k = 0; k < S::STEP; k += 4) {
        float x[S::R][4], y[S::C][4];
        GPU_UNROLL for (int i = 0; i < S::R; i++) chain_four_of(x[i], a + i * S::GR * S::ROW + k);
        GPU_UNROLL for (int j = 0; j < S::C; j++) chain_four_of(y[j], b + j * S::GC * S::ROW + k);
        GPU_UNROLL for (int d = 0; d < 4; d++) {
            GPU_UNROLL for (int i = 0; i < S::R; i++) {
                GPU_UNROLL for (int j = 0; j < S::C; j++) {
                    sums[i][j] = gpu_fma(x[i][d], y[j][d], sums[i][j]);
                }
            }
        }
    }
}

/* Leaves a lane's sums where all lanes of the block read them. */
template <typename S> GPU_DEVICE void parts_leave(float *to, const float (*sums)[S::C]) {
    if (gpu_lane() >= S::GR * S::GC) return;
    GPU_UNROLL for (int i = 0; i < S::R; i++) {
        GPU_UNROLL for (int j = 0; j < S::C; j++) {
            to[(parts_row<S>() + i * S::GR) * S::TN + parts_column<S>() + j * S::GC] = sums[i][j];
        }
    }
}

template <typename S> GPU_DEVICE void parts_add(float *totals, const float *sums, int n) {
    GPU_UNROLL for (int o = 0; o < S::OWN; o++) {
        const int output = (int)gpu_thread() + o * CALL_THREADS;
        if (output >= S::OUTPUTS) break;
        GPU_UNROLL for (int p = 0; p < CALL_TEAMS; p++) if (p < n) totals[o] +=
            sums[p * S::OUTPUTS + output];
    }
}

template <typename S, bool A_F32, bool B_F32>
__global__ void __launch_bounds__(CALL_THREADS, 1) parts_kernel(const struct chain_args a) {
    GPU_SHARED(memory);
    float *const tile = (float *)memory + gpu_team() * S::TILE;
    float *const left = (float *)memory + CALL_TEAMS * S::TILE;
    const struct chain_place at = chain_place_of(a, S::TM, S::TN);
    struct parts_loads<S, A_F32, B_F32> x;
    float totals[S::OWN];
    GPU_UNROLL for (int o = 0; o < S::OWN; o++) totals[o] = 0.0f;
    parts_load<S>(x, a, at, gpu_team() * CHAIN_BLOCK, gpu_team() < a.blocks);
    GPU_NO_UNROLL for (int first = 0, turn = 0; first < a.blocks; first += CALL_TEAMS, turn ^= 1) {
        const int block = first + gpu_team();
        float *const sums = left + turn % S::SUMS * CALL_TEAMS * S::OUTPUTS;
        float own[S::R][S::C];
        GPU_UNROLL for (int i = 0; i < S::R; i++) {
            GPU_UNROLL for (int j = 0; j < S::C; j++) { own[i][j] = 0.0f; }
        }
        GPU_NO_UNROLL for (int k = 0; k < CHAIN_BLOCK; k += S::STEP) {
            const bool last = k + S::STEP == CHAIN_BLOCK;
            const int next = last ? block + CALL_TEAMS : block;
            parts_put<S>(tile, x);
            team_barrier();
            parts_load<S>(x, a, at, next * CHAIN_BLOCK + (last ? 0 : k + S::STEP), next < a.blocks);
            if (block < a.blocks) parts_dot<S>(own, tile);
            team_barrier();
        }
        if (S::SUMS == 1) gpu_barrier();
        parts_leave<S>(sums + gpu_team() * S::OUTPUTS, own);
        gpu_barrier();
        parts_add<S>(totals, sums, a.blocks - first);
    }
    GPU_UNROLL for (int o = 0; o < S::OWN; o++) {
        const int output = (int)gpu_thread() + o * CALL_THREADS;
        if (output < S::OUTPUTS)
            chain_store(a, at, at.m + output / S::TN, at.n + output % S::TN, totals[o]);
    }
}

/* Where the shape does not fit, one that does. */
template <typename S, typename SMALL, bool A_F32, bool B_F32>
static int parts_launch(struct chain_args &a, int64_t groups, gpu_stream stream,
                        struct call_why why) {
    static_assert((int)SMALL::BYTES <= 65536, "fits wherever these kernels run");
    dim3 grid;
    if constexpr ((int64_t)S::BYTES <= GPU_SHARED_BYTES) {
        if (S::BYTES <= gpu_shared_limit()) {
            const int status = chain_grid(&grid, a, groups, S::TM, S::TN, why);
            if (status != DSV4_OK) return status;
            GPU_LAUNCH_SHARED((parts_kernel<S, A_F32, B_F32>), grid, CALL_THREADS, S::BYTES, stream,
                              a);
            return call_launched(why);
        }
    }
    const int status = chain_grid(&grid, a, groups, SMALL::TM, SMALL::TN, why);
    if (status != DSV4_OK) return status;
    GPU_LAUNCH_SHARED((parts_kernel<SMALL, A_F32, B_F32>), grid, CALL_THREADS, SMALL::BYTES, stream,
                      a);
    return call_launched(why);
}

#endif
