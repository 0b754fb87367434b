/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Products in fp32, in the canon's order: chains of fma over 128 k, block sums added ascending.
 *
 * Few rows of A by MXFP4: a lane has a row of the weight and goes through a block of k for some rows of A, whose values lie
 * in shared memory; teams take blocks of k by turns, and a thread per output adds the block sums in order.
 *
 * Many rows: 128 x 128 tiles, 8 x 8 a thread, 16 k at a time in two buffers; at the end of 128 k a thread adds its sums to
 * its totals.
 */
#ifndef DSV4_GEMM_CHAIN_INL
#define DSV4_GEMM_CHAIN_INL

#include "call.h"
#include "num.inl"

enum { CHAIN_BLOCK = 128, CHAIN_STEP = 32, CHAIN_TILE = 128, CHAIN_DEPTH = 16 };

struct chain_args {
    const char *a, *b, *b_scale; /* b_scale: of MXFP4, a byte per 32 k */
    char *out;
    const int32_t *offsets, *ids; /* rows of experts; NULL: groups */
    int64_t a_row, a_group, b_row, b_group, scale_row, scale_group, out_row, out_group, m, n;
    struct gpu_divisor m_tiles, n_tiles;
    int k, blocks, a_f32, out_f32, rounded, experts;
};

/* Rows m .. end - 1 of A by rows of the weight from n on, in a group or expert. */
struct chain_place {
    int64_t m, end, n, group;
};

GPU_DEVICE struct chain_place chain_place_of(const struct chain_args &a, int tokens, int rows) {
    struct chain_place at;
    const int64_t rest = gpu_quotient(gpu_block(), a.m_tiles);
    at.group = gpu_quotient(rest, a.n_tiles);
    at.m = (gpu_block() - rest * a.m_tiles.value) * tokens;
    at.end = a.m;
    at.n = (rest - at.group * a.n_tiles.value) * rows;
    return at;
}

GPU_DEVICE void chain_values(float *x, const gpu_u4 &v) {
    const uint32_t words[4] = {v.x, v.y, v.z, v.w};
    GPU_UNROLL for (int i = 0; i < 4; i++) {
        x[2 * i] = num_bf16_low(words[i]);
        x[2 * i + 1] = num_bf16_high(words[i]);
    }
}

/* Eight values of a row as they lie in memory. */
template <bool F32> struct chain_eight { gpu_u4 v[F32 ? 2 : 1]; };

template <bool F32>
GPU_DEVICE void chain_read(struct chain_eight<F32> &x, const char *row, bool there, int first,
                           int k) {
    GPU_UNROLL for (int i = 0; i < (F32 ? 2 : 1); i++) {
        x.v[i].x = x.v[i].y = x.v[i].z = x.v[i].w = 0;
        if (there && first < k)
            x.v[i] = *(const gpu_u4 *)(row + (int64_t)first * (F32 ? 4 : 2) + 16 * i);
    }
}

template <bool F32> GPU_DEVICE void chain_eight_values(float *x, const struct chain_eight<F32> &e) {
    if constexpr (F32) {
        GPU_UNROLL for (int i = 0; i < 2; i++) {
            x[4 * i] = gpu_float(e.v[i].x);
            x[4 * i + 1] = gpu_float(e.v[i].y);
            x[4 * i + 2] = gpu_float(e.v[i].z);
            x[4 * i + 3] = gpu_float(e.v[i].w);
        }
    } else {
        chain_values(x, e.v[0]);
    }
}

/* Eight values of a row of bf16 or fp32, from k = first on; 0 past the end. */
GPU_DEVICE void chain_load(float *x, const char *row, bool there, int first, int k, int f32) {
    gpu_u4 v, w;
    v.x = v.y = v.z = v.w = 0;
    w = v;
    there = there && first < k;
    if (!f32) {
        if (there) v = *(const gpu_u4 *)(row + 2 * (int64_t)first);
        chain_values(x, v);
        return;
    }
    if (there) v = *(const gpu_u4 *)(row + 4 * (int64_t)first);
    if (there) w = *(const gpu_u4 *)(row + 4 * (int64_t)first + 16);
    x[0] = gpu_float(v.x);
    x[1] = gpu_float(v.y);
    x[2] = gpu_float(v.z);
    x[3] = gpu_float(v.w);
    x[4] = gpu_float(w.x);
    x[5] = gpu_float(w.y);
    x[6] = gpu_float(w.z);
    x[7] = gpu_float(w.w);
}

GPU_DEVICE void chain_store(const struct chain_args &a, const struct chain_place &at, int64_t m,
                            int64_t n, float x) {
    if (m >= at.end || n >= a.n || (a.ids != NULL && a.ids[m] < 0)) return;
    char *const row = a.out + m * a.out_row + (a.offsets == NULL ? at.group * a.out_group : 0);
    const uint32_t code = num_bf16x2(x, x) & 0xFFFFu;
    if (!a.out_f32)
        *(uint16_t *)(row + 2 * n) = (uint16_t)code;
    else if (a.rounded)
        *(uint32_t *)(row + 4 * n) = code << 16;
    else
        *(float *)(row + 4 * n) = x != x ? gpu_float(0x7FC00000u) : x;
}

/* ---- few rows of A by MXFP4 ---- */

/* 32 values of a row of the weight as they lie in memory. */
struct chain_raw {
    gpu_u4 v;
    float scale;
};

GPU_DEVICE void chain_fetch(struct chain_raw &raw, const char *row, const char *scales, bool there,
                            int first, int k) {
    raw.v.x = raw.v.y = raw.v.z = raw.v.w = 0;
    raw.scale = 0.0f;
    if (!there || first >= k) return;
    raw.v = *(const gpu_u4 *)(row + first / 2);
    raw.scale = num_e8m0_value(((const uint8_t *)scales)[first / CHAIN_STEP]);
}

/* Values 4i .. 4i + 3 of them. */
GPU_DEVICE void chain_four(float *w, const struct chain_raw &raw, int i) {
    const gpu_u4 v = raw.v;
    const uint32_t word = i / 2 == 0 ? v.x : i / 2 == 1 ? v.y : i / 2 == 2 ? v.z : v.w;
    GPU_UNROLL for (int j = 0; j < 4; j++) {
        /* The fields of e2m1 in those of f16 mean 2^-14 of the value. */
        const uint32_t code = word >> (16 * (i % 2) + 4 * j);
        w[j] = num_f16_to_float((code & 8u) << 12 | (code & 7u) << 9) * 0x1p14f * raw.scale;
    }
}

/* Block sums of this lane's row of the weight and TM rows of A, which x holds. */
template <int TM>
GPU_DEVICE void chain_sums(float *sums, const float *x, const char *row, const char *scales,
                           bool there, int first, int k) {
    struct chain_raw raw, next;
    GPU_UNROLL for (int t = 0; t < TM; t++) sums[t] = 0.0f;
    chain_fetch(raw, row, scales, there, first, k);
    GPU_NO_UNROLL for (int q = 0; q < CHAIN_BLOCK; q += CHAIN_STEP) {
        const bool more = q + CHAIN_STEP < CHAIN_BLOCK;
        chain_fetch(next, row, scales, there && more, first + q + CHAIN_STEP, k);
        GPU_UNROLL for (int i = 0; i < CHAIN_STEP / 4; i++) {
            float w[4];
            chain_four(w, raw, i);
            GPU_UNROLL for (int t = 0; t < TM; t++) {
                const gpu_f4 v = *(const gpu_f4 *)(x + t * CHAIN_BLOCK + q + 4 * i);
                sums[t] = gpu_fma(v.x, w[0], sums[t]);
                sums[t] = gpu_fma(v.y, w[1], sums[t]);
                sums[t] = gpu_fma(v.z, w[2], sums[t]);
                sums[t] = gpu_fma(v.w, w[3], sums[t]);
            }
        }
        raw = next;
    }
}

/* A block of TM rows of A, which are bf16, to shared memory as fp32, by a team. */
template <int TM>
GPU_DEVICE void chain_fill(float *x, const struct chain_args &a, const struct chain_place &at,
                           int first) {
    for (int i = gpu_lane() * 8; i < TM * CHAIN_BLOCK; i += TEAM * 8) {
        const int64_t m = at.m + i / CHAIN_BLOCK;
        float values[8];
        struct chain_eight<false> eight;
        chain_read(eight, a.a + m * a.a_row, m < at.end, first + i % CHAIN_BLOCK, a.k);
        chain_eight_values(values, eight);
        GPU_UNROLL for (int j = 0; j < 8; j++) x[i + j] = values[j];
    }
}

template <int TM> struct chain_shared {
    /* Read 16 bytes at a time. */
    alignas(16) float x[CALL_TEAMS][TM * CHAIN_BLOCK], sums[CALL_TEAMS][TM][TEAM];
};

template <int TM>
GPU_DEVICE void chain_multiply(struct chain_shared<TM> &s, const struct chain_args &a,
                               const struct chain_place &at) {
    const int part = gpu_team(), row = gpu_lane();
    const int64_t n = at.n + row;
    const char *const weight = a.b + at.group * a.b_group + n * a.b_row;
    const char *const scales = a.b_scale + at.group * a.scale_group + n * a.scale_row;
    float total = 0.0f;
    GPU_NO_UNROLL for (int first = 0; first < a.blocks; first += CALL_TEAMS) {
        const int block = first + part, left = a.blocks - first;
        if (block < a.blocks) chain_fill<TM>(s.x[part], a, at, block * CHAIN_BLOCK);
        gpu_barrier();
        if (block < a.blocks) {
            float sums[TM];
            chain_sums<TM>(sums, s.x[part], weight, scales, n < a.n, block * CHAIN_BLOCK, a.k);
            GPU_UNROLL for (int t = 0; t < TM; t++) s.sums[part][t][row] = sums[t];
        }
        gpu_barrier();
        if (part < TM)
            for (int p = 0; p < CALL_TEAMS && p < left; p++) total += s.sums[p][part][row];
    }
    if (part < TM) chain_store(a, at, at.m + part, n, total);
}

/* ---- many rows ---- */

GPU_DEVICE void chain_four_of(float *x, const float *from) {
    const gpu_f4 v = *(const gpu_f4 *)from;
    x[0] = v.x;
    x[1] = v.y;
    x[2] = v.z;
    x[3] = v.w;
}

enum { CHAIN_ROW = CHAIN_TILE + 4 };

struct chain_tiles {
    alignas(16) float a[2][CHAIN_DEPTH][CHAIN_ROW];
    alignas(16) float b[2][CHAIN_DEPTH][CHAIN_ROW];
};

/* Eight values of one row, to a column of a tile. */
GPU_DEVICE void chain_put(float (*tile)[CHAIN_ROW], const float *values) {
    const int row = (int)gpu_thread() % CHAIN_TILE, k = (int)gpu_thread() / CHAIN_TILE * 8;
    GPU_UNROLL for (int j = 0; j < 8; j++) tile[k + j][row] = values[j];
}

GPU_DEVICE void chain_get(float *x, const float *row, int at) {
    GPU_UNROLL for (int h = 0; h < 2; h++) {
        const gpu_f4 v = *(const gpu_f4 *)(row + 4 * at + CHAIN_TILE / 2 * h);
        x[4 * h] = v.x;
        x[4 * h + 1] = v.y;
        x[4 * h + 2] = v.z;
        x[4 * h + 3] = v.w;
    }
}

/* Sums of 16 k: this thread's rows are 4 ty .. + 3 and 64 further, its columns those of tx. */
GPU_DEVICE void chain_step(float (*sums)[8], const struct chain_tiles &s, int turn, int ty,
                           int tx) {
    GPU_UNROLL for (int k = 0; k < CHAIN_DEPTH; k++) {
        float x[8], y[8];
        chain_get(x, s.a[turn][k], ty);
        chain_get(y, s.b[turn][k], tx);
        GPU_UNROLL for (int i = 0; i < 8; i++) GPU_UNROLL for (int j = 0; j < 8; j++) sums[i][j] =
            gpu_fma(x[i], y[j], sums[i][j]);
    }
}

template <int B_F32>
__global__ void __launch_bounds__(CALL_THREADS) chain_large_kernel(const struct chain_args a) {
    __shared__ struct chain_tiles s;
    const struct chain_place at = chain_place_of(a, CHAIN_TILE, CHAIN_TILE);
    const int tx = (int)gpu_thread() % 16, ty = (int)gpu_thread() / 16;
    const int64_t m = at.m + gpu_thread() % CHAIN_TILE, n = at.n + gpu_thread() % CHAIN_TILE;
    const char *const a_row = a.a + at.group * a.a_group + m * a.a_row;
    const char *const b_row = a.b + at.group * a.b_group + n * a.b_row;
    const int own = (int)gpu_thread() / CHAIN_TILE * 8;
    float sums[8][8], totals[8][8], x[8], y[8];
    GPU_UNROLL for (int i = 0; i < 8; i++) GPU_UNROLL for (int j = 0; j < 8; j++) sums[i][j] =
        totals[i][j] = 0.0f;
    chain_load(x, a_row, m < a.m, own, a.k, a.a_f32);
    chain_load(y, b_row, n < a.n, own, a.k, B_F32);
    chain_put(s.a[0], x);
    chain_put(s.b[0], y);
    gpu_barrier();
    GPU_NO_UNROLL for (int first = 0, turn = 0; first < a.k; first += CHAIN_DEPTH, turn ^= 1) {
        const int next = first + CHAIN_DEPTH;
        chain_load(x, a_row, m < a.m, next + own, a.k, a.a_f32);
        chain_load(y, b_row, n < a.n, next + own, a.k, B_F32);
        chain_step(sums, s, turn, ty, tx);
        if (next % CHAIN_BLOCK == 0 || next >= a.k)
            GPU_UNROLL for (int i = 0; i < 8; i++) GPU_UNROLL for (int j = 0; j < 8; j++) {
                totals[i][j] += sums[i][j];
                sums[i][j] = 0.0f;
            }
        chain_put(s.a[turn ^ 1], x);
        chain_put(s.b[turn ^ 1], y);
        gpu_barrier();
    }
    GPU_UNROLL for (int i = 0; i < 8; i++) GPU_UNROLL for (int j = 0; j < 8; j++)
        chain_store(a, at, at.m + 4 * ty + i % 4 + CHAIN_TILE / 2 * (i / 4),
                    at.n + 4 * tx + j % 4 + CHAIN_TILE / 2 * (j / 4), totals[i][j]);
}

/* ---- host ---- */

static inline int chain_grid(dim3 *grid, struct chain_args &a, int64_t groups, int tokens, int rows,
                             struct call_why why) {
    a.m_tiles = call_divisor(call_ceil(a.m, tokens));
    a.n_tiles = call_divisor(call_ceil(a.n, rows));
    return call_grid(grid, groups * a.m_tiles.value * a.n_tiles.value, why);
}

#endif
