/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Dots of few rows. Eight rows, some outputs and one part of k make a task; the blocks of 128 along k of a long part are
 * dealt to the eight thread blocks of a cluster (RANKS; where there are none, one does all). What a rank needs comes into
 * shared memory at once, eight threads sum a block of 128, and the block sums of row r go to the shared memory of rank r,
 * which adds them in order. Behind the tasks, a thread block per row and part sums squares, and stores the row where it is a new one.
 */
#ifndef DSV4_MHC_FEW_INL
#define DSV4_MHC_FEW_INL

#include "mhc_copy.inl"
#include "row.inl"

#if defined(GPU_CLUSTERS) && GPU_CUDA
#include <cooperative_groups.h>
#define FEW_CLUSTER __cluster_dims__(FEW_MOST_RANKS)
enum { FEW_MOST_RANKS = 8 };
template <int RANKS> GPU_DEVICE void mhc_few_barrier(void) {
    if (RANKS == 1)
        gpu_barrier();
    else
        cooperative_groups::this_cluster().sync();
}
template <int RANKS> GPU_DEVICE float *mhc_few_of(float *at, int rank) {
    return RANKS == 1 ? at : cooperative_groups::this_cluster().map_shared_rank(at, rank);
}
#else
#define FEW_CLUSTER
enum { FEW_MOST_RANKS = 1 };
template <int RANKS> GPU_DEVICE void mhc_few_barrier(void) { gpu_barrier(); }
template <int RANKS> GPU_DEVICE float *mhc_few_of(float *at, int) { return at; }
#endif

enum { FEW_THREADS = 128, FEW_ROWS = 8, FEW_SLOTS = FEW_THREADS / 8 };

/* Rows in shared memory: as codes, or as values that are no codes. */
template <int SOURCE> struct mhc_few_element { typedef uint16_t type; };
template <> struct mhc_few_element<MHC_POSTED_UNROUNDED> { typedef float type; };

GPU_DEVICE void mhc_few_put(uint16_t *to, const float *v) { *(gpu_u4 *)to = mhc_pack(v); }
GPU_DEVICE void mhc_few_put(float *to, const float *v) {
    gpu_f4 low = {v[0], v[1], v[2], v[3]}, high = {v[4], v[5], v[6], v[7]};
    *(gpu_f4 *)to = low;
    *(gpu_f4 *)(to + 4) = high;
}
GPU_DEVICE void mhc_few_get4(float *v, const float *from) { mhc_load4(v, (const char *)from); }
GPU_DEVICE void mhc_few_get4(float *v, const uint16_t *from) {
    const gpu_u2 codes = *(const gpu_u2 *)from;
    v[0] = num_bf16_low(codes.x);
    v[1] = num_bf16_high(codes.x);
    v[2] = num_bf16_low(codes.y);
    v[3] = num_bf16_high(codes.y);
}

/* Eight elements of a row on their way to shared memory: for rows as they are, without a detour. */
template <int SOURCE, typename T>
GPU_DEVICE void mhc_few_row(T *to, const struct mhc_dots &a, int64_t row, int k, bool stored) {
    struct mhc_eight<SOURCE> eight;
    float v[MHC_UNIT];
    const int j = mhc_stream_of(a, k), unit = (k - j * a.hidden) / MHC_UNIT;
    if (SOURCE == MHC_ROWS) {
        mhc_copy16(to, a.rows.data + row * a.rows.row + j * a.rows.stream + (int64_t)unit * 16);
        return;
    }
    mhc_eight_load(eight, a, row, k);
    mhc_eight_values(v, eight);
    mhc_few_put(to, v);
    if (stored) mhc_store(a.out, row, j, unit, mhc_pack(v));
}

struct mhc_few_args {
    struct mhc_dots a;
    int64_t tasks;           /* blocks of the grid that have dots */
    int blocks, each, slots; /* blocks of 128 of a part, of a rank, summed at once */
    int pitch, fn_pitch;     /* elements from row to row in shared memory */
};

/* First block of 128, how many; where they lie along k. */
struct mhc_few_place {
    int64_t row;
    int output, begin, end, first, last;
};

/* Eight elements of new streams, of all rows: the loads of four rows are under way together. */
template <int SOURCE, typename T>
GPU_DEVICE void mhc_few_make_rows(T *x, const struct mhc_few_args &f,
                                  const struct mhc_few_place &place, int k) {
    enum { TOGETHER = 4 };
    GPU_NO_UNROLL for (int first = 0; first < FEW_ROWS; first += TOGETHER) {
        const int64_t row = place.row + first, rows = f.a.tokens - row;
        struct mhc_made_of of[TOGETHER];
        GPU_UNROLL for (int t = 0; t < TOGETHER; t++) if (t < rows)
            mhc_made_load(of[t], f.a, row + t, k);
        GPU_UNROLL for (int t = 0; t < TOGETHER; t++) {
            float v[MHC_UNIT];
            if (t >= rows) continue;
            mhc_make<SOURCE>(v, of[t]);
            mhc_few_put(x + (first + t) * f.pitch, v);
        }
    }
}

template <int SOURCE, typename T>
GPU_DEVICE void mhc_few_load_rows(T *x, const struct mhc_few_args &f,
                                  const struct mhc_few_place &place, int k0, int length) {
    const int units = length / MHC_UNIT;
    if (SOURCE >= MHC_POSTED) {
        for (int u = (int)gpu_thread(); u < units; u += FEW_THREADS)
            mhc_few_make_rows<SOURCE>(x + u * MHC_UNIT, f, place, k0 + u * MHC_UNIT);
    } else {
        GPU_UNROLL for (int t = 0; t < FEW_ROWS; t++) {
            if (place.row + t >= f.a.tokens) continue;
            DOTS_FEW_UNROLL for (int u = (int)gpu_thread(); u < units; u += FEW_THREADS)
                mhc_few_row<SOURCE>(x + t * f.pitch + u * MHC_UNIT, f.a, place.row + t,
                                    k0 + u * MHC_UNIT, false);
        }
    }
}

template <int OUTPUTS>
GPU_DEVICE void mhc_few_load_fn(float *fn, const struct mhc_few_args &f, int output, int k0,
                                int length) {
    GPU_UNROLL for (int o = 0; o < OUTPUTS; o++) {
        const char *const from = f.a.fn + (output + o) * f.a.fn_row + 4 * (int64_t)k0;
        for (int k = 4 * (int)gpu_thread(); k < length; k += 4 * FEW_THREADS)
            mhc_copy16(fn + o * f.fn_pitch + k, from + 4 * (int64_t)k);
    }
}

template <int OUTPUTS>
GPU_DEVICE void mhc_few_make_fn(float *fn, const struct mhc_few_args &f, int length) {
    if (f.a.fn_kind == MHC_FN_WHOLE) return;
    for (int o = 0; o < OUTPUTS; o++)
        for (int k = 4 * (int)gpu_thread(); k < length; k += 4 * FEW_THREADS)
            for (int i = 0; i < 4; i++)
                fn[o * f.fn_pitch + k + i] = mhc_fn_value(fn[o * f.fn_pitch + k + i], f.a.fn_kind);
}

/* The thread's tile of one block of 128: four rows, ON outputs. */
template <int ON, typename T>
GPU_DEVICE void mhc_few_block(float (*acc)[ON], const T *x, const float *fn, int pitch,
                              int fn_pitch, int length) {
    GPU_UNROLL for (int t = 0; t < 4; t++) GPU_UNROLL for (int o = 0; o < ON; o++) acc[t][o] = 0.0f;
    DOTS_FEW_UNROLL for (int k = 0; k < length; k += 4) {
        float v[4][4], w[ON][4];
        GPU_UNROLL for (int t = 0; t < 4; t++) mhc_few_get4(v[t], x + t * pitch + k);
        GPU_UNROLL for (int o = 0; o < ON; o++)
            mhc_load4(w[o], (const char *)(fn + o * fn_pitch + k));
        GPU_UNROLL for (int i = 0; i < 4; i++) GPU_UNROLL for (int t = 0; t < 4; t++)
            GPU_UNROLL for (int o = 0; o < ON; o++) acc[t][o] =
                gpu_fma(v[t][i], w[o][i], acc[t][o]);
    }
}

/* Block sums of this rank to the ranks that own their rows. */
template <int SOURCE, int ON, int RANKS, typename T>
GPU_DEVICE void mhc_few_sums(float *sums, T *x, float *fn, const struct mhc_few_args &f,
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
        mhc_copy_close();
        mhc_copy_wait<0>();
        mhc_few_make_fn<4 * ON>(fn, f, length);
        gpu_barrier();
        if (slot < f.slots && mine > 0)
            mhc_few_block<ON>(acc, x + 4 * sub * f.pitch + slot * DOTS_BLOCK,
                              fn + out * ON * f.fn_pitch + slot * DOTS_BLOCK, f.pitch, f.fn_pitch,
                              mine < DOTS_BLOCK ? mine : DOTS_BLOCK);
        if (!entered) mhc_few_barrier<RANKS>(); /* the others' shared memory is there */
        entered = true;
        if (slot >= f.slots || mine <= 0) continue;
        GPU_UNROLL for (int t = 0; t < 4; t++) {
            const int row = 4 * sub + t;
            float *const there = mhc_few_of<RANKS>(sums, row % RANKS);
            GPU_UNROLL for (int o = 0; o < ON; o++)
                there[(row / RANKS * f.blocks + at + slot) * 4 * ON + out * ON + o] = acc[t][o];
        }
    }
    if (!entered) mhc_few_barrier<RANKS>();
    mhc_few_barrier<RANKS>();
}

/* Sums of squares of partials 2l and 2l + 1 in lane l. */
GPU_DEVICE gpu_f2 mhc_few_chains(const uint16_t *x, int n) {
    gpu_f2 sum = {0.0f, 0.0f};
    DOTS_SQUARES_UNROLL for (int k = 2 * gpu_lane(); k < n; k += DOTS_PARTIALS) {
        const uint32_t codes = *(const uint32_t *)(x + k);
        sum.x = gpu_fma(num_bf16_low(codes), num_bf16_low(codes), sum.x);
        sum.y = gpu_fma(num_bf16_high(codes), num_bf16_high(codes), sum.y);
    }
    return sum;
}
GPU_DEVICE gpu_f2 mhc_few_chains(const float *x, int n) {
    gpu_f2 sum = {0.0f, 0.0f};
    DOTS_SQUARES_UNROLL for (int k = 2 * gpu_lane(); k < n; k += DOTS_PARTIALS) {
        const gpu_f2 v = *(const gpu_f2 *)(x + k);
        sum.x = gpu_fma(v.x, v.x, sum.x);
        sum.y = gpu_fma(v.y, v.y, sum.y);
    }
    return sum;
}

/* The squares of one row's part, by way of shared memory. */
template <int SOURCE, typename T>
GPU_DEVICE void mhc_few_squares(T *x, const struct mhc_dots &a, int64_t row, int part) {
    const int begin = part * a.part, units = a.part / MHC_UNIT;
    DOTS_FEW_UNROLL for (int u = (int)gpu_thread(); u < units; u += FEW_THREADS)
        mhc_few_row<SOURCE>(x + u * MHC_UNIT, a, row, begin + u * MHC_UNIT, SOURCE >= MHC_POSTED);
    mhc_copy_close();
    mhc_copy_wait<0>();
    gpu_barrier();
    if (gpu_team() != 0) return;
    const gpu_f2 sums = mhc_few_chains(x, a.part);
    float sum = team_tree(sums.x, sums.y);
    if (gpu_lane() != 0) return;
    if (a.eps >= 0.0f) sum = elementary_rsqrt(gpu_divide_float(sum, (float)a.width) + a.eps);
    *(float *)(a.squares + part * a.squares_split + row * a.squares_row) = sum;
}

template <int SOURCE, int ON, int RANKS>
GPU_DEVICE void mhc_few_body(char *shared, const struct mhc_few_args &f) {
    typedef typename mhc_few_element<SOURCE>::type T;
    const struct mhc_dots &a = f.a;
    float *const sums = (float *)shared, *const fn = sums + FEW_ROWS / RANKS * f.blocks * 4 * ON;
    if (gpu_block() >= f.tasks) {
        const int64_t unit = gpu_block() - f.tasks, row = unit / a.splits;
        if (row < a.tokens)
            mhc_few_squares<SOURCE>((T *)shared, a, row, (int)(unit - row * a.splits));
        return;
    }
    const int rank = (int)(gpu_block() % RANKS), per_tile = a.groups * a.splits;
    const int64_t task = gpu_block() / RANKS, tile = task / per_tile;
    const int rest = (int)(task - tile * per_tile), part = rest / a.groups;
    struct mhc_few_place place = {tile * FEW_ROWS, rest % a.groups * 4 * ON,
                                  part * a.part,   (part + 1) * a.part,
                                  rank * f.each,   (rank + 1) * f.each};
    if (place.last > f.blocks) place.last = f.blocks;
    mhc_few_sums<SOURCE, ON, RANKS>(sums, (T *)(fn + 4 * ON * f.fn_pitch), fn, f, place);
    for (int i = (int)gpu_thread(); i < FEW_ROWS / RANKS * 4 * ON; i += FEW_THREADS) {
        const int r = i / (4 * ON), o = i % (4 * ON);
        const int64_t row = place.row + rank + r * RANKS;
        const float *const from = sums + r * f.blocks * 4 * ON + o;
        float sum = from[0];
        DOTS_SQUARES_UNROLL for (int b = 1; b < f.blocks; b++) sum += from[b * 4 * ON];
        if (row < a.tokens)
            *(float *)(a.mixes + part * a.mixes_split + row * a.mixes_row +
                       4 * (place.output + o)) = sum;
    }
}

template <int SOURCE, int ON>
__global__ void FEW_CLUSTER __launch_bounds__(FEW_THREADS, 2)
    mhc_few_long_kernel(const struct mhc_few_args f) {
    GPU_SHARED(shared);
    mhc_few_body<SOURCE, ON, FEW_MOST_RANKS>(shared, f);
}

template <int SOURCE, int ON>
__global__ void __launch_bounds__(FEW_THREADS, 2) mhc_few_kernel(const struct mhc_few_args f) {
    GPU_SHARED(shared);
    mhc_few_body<SOURCE, ON, 1>(shared, f);
}

/* ---- host ---- */

template <int SOURCE, int OUTPUTS, int ON>
static bool mhc_few_launch(int *status, struct mhc_few_args f, gpu_stream stream,
                           struct call_why why) {
    const int64_t element = sizeof(typename mhc_few_element<SOURCE>::type);
    dim3 grid;
    f.blocks = (int)call_ceil(f.a.part, DOTS_BLOCK);
    const int ranks = f.blocks > FEW_SLOTS ? (int)FEW_MOST_RANKS : 1;
    f.each = (int)call_ceil(f.blocks, ranks);
    f.slots = f.each < FEW_SLOTS ? f.each : FEW_SLOTS;
    f.pitch = f.slots * DOTS_BLOCK + MHC_UNIT;
    f.fn_pitch = f.slots * DOTS_BLOCK + 4;
    if (f.a.groups != 0) f.a.groups = OUTPUTS / (4 * ON);
    f.tasks = call_ceil(f.a.tokens, FEW_ROWS) * f.a.splits * f.a.groups * ranks;
    const int64_t squares =
        f.a.with_squares ? call_ceil(f.a.tokens * f.a.splits, ranks) * ranks : 0;
    const int64_t dots = 4 * ((int64_t)FEW_ROWS / ranks * f.blocks * 4 * ON + 4 * ON * f.fn_pitch) +
                         FEW_ROWS * element * f.pitch;
    const int64_t row = f.a.with_squares ? element * f.a.part : 0, bytes = row > dots ? row : dots;
    if (bytes > gpu_shared_limit()) return false;
    *status = call_grid(&grid, f.tasks + squares, why);
    if (*status != DSV4_OK) return true;
    if (ranks > 1)
        GPU_LAUNCH_SHARED((mhc_few_long_kernel<SOURCE, ON>), grid, FEW_THREADS, bytes, stream, f);
    else
        GPU_LAUNCH_SHARED((mhc_few_kernel<SOURCE, ON>), grid, FEW_THREADS, bytes, stream, f);
    *status = call_launched(why);
    return true;
}

/* False: does not fit. Up to eight rows, more thread blocks have fewer outputs each. */
template <int SOURCE, int OUTPUTS>
static bool mhc_few_run(int *status, const struct mhc_dots &a, gpu_stream stream,
                        struct call_why why) {
    const struct mhc_few_args f = {a, 0, 0, 0, 0, 0, 0};
    if (OUTPUTS == 4 || a.tokens <= FEW_ROWS)
        return mhc_few_launch<SOURCE, OUTPUTS, 1>(status, f, stream, why);
    return mhc_few_launch<SOURCE, OUTPUTS, (OUTPUTS == 4 ? 1 : 2)>(status, f, stream, why);
}

#endif
