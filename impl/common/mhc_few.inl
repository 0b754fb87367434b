/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Dots of few rows. Eight rows, some outputs and one part of k make a task; its blocks of 128 along k are dealt to the
 * thread blocks of a cluster (FEW_RANKS; where there are none, one does all). What a rank needs comes into shared memory
 * at once, eight threads sum a block of 128, and the block sums of row r go to the shared memory of rank r, which adds
 * them in order. Behind the tasks, a thread block per row and part sums squares, and stores the row where it is a new one.
 */
#ifndef DSV4_MHC_FEW_INL
#define DSV4_MHC_FEW_INL

#include "mhc_copy.inl"

#if defined(GPU_CLUSTERS) && GPU_CUDA
#include <cooperative_groups.h>
#define FEW_CLUSTER __cluster_dims__(8)
#define FEW_BARRIER() cooperative_groups::this_cluster().sync()
#define FEW_SHARED_OF(at, rank) cooperative_groups::this_cluster().map_shared_rank(at, rank)
enum { FEW_RANKS = 8 };
#else
#define FEW_CLUSTER
#define FEW_BARRIER() gpu_barrier()
#define FEW_SHARED_OF(at, rank) (at)
enum { FEW_RANKS = 1 };
#endif

enum {
    FEW_THREADS = 128,
    FEW_ROWS = 8,
    FEW_SLOTS = FEW_THREADS / 8,
    FEW_AHEAD = 4, /* loads of a thread under way together */
    FEW_SUMS_ROWS = FEW_ROWS / FEW_RANKS
};

struct mhc_few_args {
    struct mhc_dots a;
    int64_t tasks; /* blocks of the grid that have dots */
    int blocks, each, slots,
        pitch; /* blocks of 128 of a part, of a rank, summed at once; floats of a row */
};

/* First block of 128, how many; where they lie along k. */
struct mhc_few_place {
    int64_t row;
    int output, begin, end, first, last;
};

template <int SOURCE>
GPU_DEVICE void mhc_few_load_rows(float *x, const struct mhc_few_args &f,
                                  const struct mhc_few_place &place, int k0, int length) {
    const int units = length / MHC_UNIT, all = units * FEW_ROWS;
    for (int first = (int)gpu_thread(); first < all; first += FEW_AHEAD * FEW_THREADS) {
        struct mhc_eight<SOURCE> eight[FEW_AHEAD];
        GPU_UNROLL for (int i = 0; i < FEW_AHEAD; i++) {
            const int u = first + i * FEW_THREADS, t = u / units;
            mhc_eight_zero(eight[i]);
            if (u < all && place.row + t < f.a.tokens)
                mhc_eight_load(eight[i], f.a, place.row + t, k0 + (u - t * units) * MHC_UNIT);
        }
        GPU_UNROLL for (int i = 0; i < FEW_AHEAD; i++) {
            const int u = first + i * FEW_THREADS, t = u / units;
            float v[MHC_UNIT];
            if (u >= all) continue;
            mhc_eight_values(v, eight[i]);
            gpu_f4 low = {v[0], v[1], v[2], v[3]}, high = {v[4], v[5], v[6], v[7]};
            float *const to = x + t * f.pitch + (u - t * units) * MHC_UNIT;
            *(gpu_f4 *)to = low;
            *(gpu_f4 *)(to + 4) = high;
        }
    }
}

template <int OUTPUTS>
GPU_DEVICE void mhc_few_load_fn(float *fn, const struct mhc_few_args &f, int output, int k0,
                                int length) {
    GPU_UNROLL for (int o = 0; o < OUTPUTS; o++) {
        const char *const from = f.a.fn + (output + o) * f.a.fn_row + 4 * (int64_t)k0;
        for (int k = 4 * (int)gpu_thread(); k < length; k += 4 * FEW_THREADS)
            mhc_copy16(fn + o * f.pitch + k, from + 4 * (int64_t)k);
    }
    mhc_copy_close();
}

template <int OUTPUTS>
GPU_DEVICE void mhc_few_make_fn(float *fn, const struct mhc_few_args &f, int length) {
    if (f.a.fn_kind == MHC_FN_WHOLE) return;
    for (int o = 0; o < OUTPUTS; o++)
        for (int k = 4 * (int)gpu_thread(); k < length; k += 4 * FEW_THREADS)
            for (int i = 0; i < 4; i++)
                fn[o * f.pitch + k + i] = mhc_fn_value(fn[o * f.pitch + k + i], f.a.fn_kind);
}

/* The thread's tile of one block of 128: four rows, ON outputs. */
template <int ON>
GPU_DEVICE void mhc_few_block(float (*acc)[ON], const float *x, const float *fn, int pitch,
                              int length) {
    GPU_UNROLL for (int t = 0; t < 4; t++) GPU_UNROLL for (int o = 0; o < ON; o++) acc[t][o] = 0.0f;
    DOTS_FEW_UNROLL for (int k = 0; k < length; k += 4) {
        float v[4][4], w[ON][4];
        GPU_UNROLL for (int t = 0; t < 4; t++) mhc_load4(v[t], (const char *)(x + t * pitch + k));
        GPU_UNROLL for (int o = 0; o < ON; o++) mhc_load4(w[o], (const char *)(fn + o * pitch + k));
        GPU_UNROLL for (int i = 0; i < 4; i++) GPU_UNROLL for (int t = 0; t < 4; t++)
            GPU_UNROLL for (int o = 0; o < ON; o++) acc[t][o] =
                gpu_fma(v[t][i], w[o][i], acc[t][o]);
    }
}

/* Block sums of this rank to the ranks that own their rows. */
template <int SOURCE, int ON>
GPU_DEVICE void mhc_few_sums(float *sums, float *x, float *fn, const struct mhc_few_args &f,
                             const struct mhc_few_place &place) {
    const int slot = (int)gpu_thread() / 8, sub = (int)gpu_thread() % 2;
    const int out = (int)gpu_thread() / 2 % 4;
    bool entered = false;
    for (int at = place.first; at < place.last; at += f.slots) {
        const int k0 = place.begin + at * DOTS_BLOCK, to = at + f.slots;
        const int stop = place.begin + (to < place.last ? to : place.last) * DOTS_BLOCK;
        const int length = (stop < place.end ? stop : place.end) - k0;
        const int mine = length - slot * DOTS_BLOCK;
        float acc[4][ON];
        gpu_barrier(); /* what was there is summed */
        mhc_few_load_fn<4 * ON>(fn, f, place.output, k0, length);
        mhc_few_load_rows<SOURCE>(x, f, place, k0, length);
        mhc_copy_wait<0>();
        mhc_few_make_fn<4 * ON>(fn, f, length);
        gpu_barrier();
        if (slot < f.slots && mine > 0)
            mhc_few_block<ON>(acc, x + 4 * sub * f.pitch + slot * DOTS_BLOCK,
                              fn + out * ON * f.pitch + slot * DOTS_BLOCK, f.pitch,
                              mine < DOTS_BLOCK ? mine : DOTS_BLOCK);
        if (!entered) FEW_BARRIER(); /* the others' shared memory is there */
        entered = true;
        if (slot >= f.slots || mine <= 0) continue;
        GPU_UNROLL for (int t = 0; t < 4; t++) {
            const int row = 4 * sub + t;
            float *const there = FEW_SHARED_OF(sums, row / FEW_SUMS_ROWS);
            GPU_UNROLL for (int o = 0; o < ON; o++)
                there[(row % FEW_SUMS_ROWS * f.blocks + at + slot) * 4 * ON + out * ON + o] =
                    acc[t][o];
        }
    }
    if (!entered) FEW_BARRIER();
    FEW_BARRIER();
}

/* The squares of one row's part, by way of shared memory: 64 chains. */
template <int SOURCE>
GPU_DEVICE void mhc_few_squares(float *x, const struct mhc_dots &a, int64_t row, int part) {
    const int begin = part * a.part, units = a.part / MHC_UNIT, thread = (int)gpu_thread();
    for (int first = thread; first < units; first += FEW_AHEAD * FEW_THREADS) {
        struct mhc_eight<SOURCE> eight[FEW_AHEAD];
        GPU_UNROLL for (int i = 0; i < FEW_AHEAD; i++) {
            const int u = first + i * FEW_THREADS;
            if (u < units) mhc_eight_load(eight[i], a, row, begin + u * MHC_UNIT);
        }
        GPU_UNROLL for (int i = 0; i < FEW_AHEAD; i++) {
            const int u = first + i * FEW_THREADS, k = begin + u * MHC_UNIT;
            float v[MHC_UNIT];
            if (u >= units) continue;
            mhc_eight_values(v, eight[i]);
            GPU_UNROLL for (int n = 0; n < MHC_UNIT; n++) x[u * MHC_UNIT + n] = v[n];
            const int j = mhc_stream_of(a, k);
            if (SOURCE >= MHC_POSTED)
                mhc_store(a.out, row, j, (k - j * a.hidden) / MHC_UNIT, mhc_pack(v));
        }
    }
    gpu_barrier();
    float sum = 0.0f;
    if (thread < DOTS_PARTIALS) {
        DOTS_UNROLL for (int k = thread; k < a.part; k += DOTS_PARTIALS) sum =
            gpu_fma(x[k], x[k], sum);
    }
    gpu_barrier();
    if (thread < DOTS_PARTIALS) x[thread] = sum;
    gpu_barrier();
    if (gpu_team() != 0) return;
    sum = x[thread] + x[thread + DOTS_PARTIALS / 2];
    sum += team_xor_float(sum, 16);
    sum += team_xor_float(sum, 8);
    sum += team_xor_float(sum, 4);
    sum += team_xor_float(sum, 2);
    sum += team_xor_float(sum, 1);
    if (thread != 0) return;
    if (a.eps >= 0.0f) sum = elementary_rsqrt(gpu_divide_float(sum, (float)a.width) + a.eps);
    *(float *)(a.squares + part * a.squares_split + row * a.squares_row) = sum;
}

template <int SOURCE, int ON>
__global__ void FEW_CLUSTER __launch_bounds__(FEW_THREADS)
    mhc_few_kernel(const struct mhc_few_args f) {
    GPU_SHARED(shared);
    const struct mhc_dots &a = f.a;
    float *const sums = (float *)shared, *const x = sums + FEW_SUMS_ROWS * f.blocks * 4 * ON;
    if (gpu_block() >= f.tasks) {
        const int64_t unit = gpu_block() - f.tasks, row = unit / a.splits;
        if (row < a.tokens)
            mhc_few_squares<SOURCE>((float *)shared, a, row, (int)(unit - row * a.splits));
        return;
    }
    const int rank = (int)(gpu_block() % FEW_RANKS), per_tile = a.groups * a.splits;
    const int64_t task = gpu_block() / FEW_RANKS, tile = task / per_tile;
    const int rest = (int)(task - tile * per_tile), part = rest / a.groups;
    struct mhc_few_place place = {tile * FEW_ROWS, rest % a.groups * 4 * ON,
                                  part * a.part,   (part + 1) * a.part,
                                  rank * f.each,   (rank + 1) * f.each};
    if (place.last > f.blocks) place.last = f.blocks;
    mhc_few_sums<SOURCE, ON>(sums, x, x + FEW_ROWS * f.pitch, f, place);
    for (int i = (int)gpu_thread(); i < FEW_SUMS_ROWS * 4 * ON; i += FEW_THREADS) {
        const int r = i / (4 * ON), o = i % (4 * ON);
        const int64_t row = place.row + rank * FEW_SUMS_ROWS + r;
        const float *const from = sums + r * f.blocks * 4 * ON + o;
        float sum = from[0];
        DOTS_UNROLL for (int b = 1; b < f.blocks; b++) sum += from[b * 4 * ON];
        if (row < a.tokens)
            *(float *)(a.mixes + part * a.mixes_split + row * a.mixes_row +
                       4 * (place.output + o)) = sum;
    }
}

/* ---- host ---- */

template <int SOURCE, int OUTPUTS, int ON>
static bool mhc_few_launch(int *status, struct mhc_few_args f, gpu_stream stream,
                           struct call_why why) {
    dim3 grid;
    f.blocks = (int)call_ceil(f.a.part, DOTS_BLOCK);
    f.each = (int)call_ceil(f.blocks, FEW_RANKS);
    f.slots = f.each < FEW_SLOTS ? f.each : FEW_SLOTS;
    f.pitch = f.slots * DOTS_BLOCK + 4;
    if (f.a.groups != 0) f.a.groups = OUTPUTS / (4 * ON);
    f.tasks = call_ceil(f.a.tokens, FEW_ROWS) * f.a.splits * f.a.groups * FEW_RANKS;
    const int64_t squares =
        f.a.with_squares ? call_ceil(f.a.tokens * f.a.splits, FEW_RANKS) * FEW_RANKS : 0;
    const int64_t dots =
        4 * ((int64_t)FEW_SUMS_ROWS * f.blocks * 4 * ON + (int64_t)(FEW_ROWS + 4 * ON) * f.pitch);
    const int64_t bytes = f.a.with_squares && 4 * f.a.part > dots ? 4 * f.a.part : dots;
    if (bytes > gpu_shared_limit()) return false;
    *status = call_grid(&grid, f.tasks + squares, why);
    if (*status != DSV4_OK) return true;
    GPU_LAUNCH_SHARED((mhc_few_kernel<SOURCE, ON>), grid, FEW_THREADS, bytes, stream, f);
    *status = call_launched(why);
    return true;
}

/* False: does not fit. Up to eight rows, more thread blocks have fewer outputs each. */
template <int SOURCE, int OUTPUTS>
static bool mhc_few_run(int *status, const struct mhc_dots &a, gpu_stream stream,
                        struct call_why why) {
    const struct mhc_few_args f = {a, 0, 0, 0, 0, 0};
    if (OUTPUTS == 4 || a.tokens <= FEW_ROWS)
        return mhc_few_launch<SOURCE, OUTPUTS, 1>(status, f, stream, why);
    return mhc_few_launch<SOURCE, OUTPUTS, (OUTPUTS == 4 ? 1 : 3)>(status, f, stream, why);
}

#endif
