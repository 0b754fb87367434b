/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Dots of many rows. A team has 64 rows, 8 rows x OUTPUTS / 4 outputs a lane: 8 lanes along rows, 4 along outputs. Steps
 * of 32 along k come into a ring of shared memory while those before are summed. SLOTS 1: the teams of a block have
 * rows of their own and one fn. SLOTS 4: they have the same rows and four neighbouring blocks of 128 along k, whose sums
 * are added in order through shared memory. The other half of a block's teams sum squares meanwhile: 64 partials a row
 * are too much for what all rows of a tile could keep in registers, so they read the rows once more, one by one.
 */
#ifndef DSV4_MHC_TILE_INL
#define DSV4_MHC_TILE_INL

#include "mhc_copy.inl"

enum {
    TILE_THREADS = 128, /* that have dots; as many have squares */
    TILE_TEAMS = TILE_THREADS / TEAM,
    TILE_ROWS = 64, /* of a team */
    TILE_STEP = 32,
    TILE_CHUNKS = TILE_STEP / MHC_UNIT, /* of 16 bytes in a step of a row */
    TILE_PITCH = 2 * TILE_STEP + 16,    /* an odd number of chunks: 8 lanes meet all banks */
    TILE_X = TILE_TEAMS * TILE_ROWS * TILE_PITCH,
    TILE_FN_PITCH = TILE_STEP + 4, /* floats */
    TILE_EACH =
        TILE_TEAMS * TILE_ROWS * TILE_CHUNKS / TILE_THREADS /* chunks that a thread copies */
};

template <int SLOTS, int OUTPUTS> struct mhc_tile_sizes {
    enum {
        ON = OUTPUTS / 4,
        FN = SLOTS * OUTPUTS * TILE_FN_PITCH * 4,
        SUMS = SLOTS * OUTPUTS * TILE_ROWS * 4,
        STAGE = TILE_X + FN > SUMS ? TILE_X + FN : SUMS,
        RING = 3,
        OWNED = SLOTS == 1 ? 8 * ON : OUTPUTS * TILE_ROWS / TILE_THREADS, /* of a thread */
        BYTES = RING * STAGE + OWNED * TILE_THREADS * 4,
        FN_CHUNKS = SLOTS * OUTPUTS * (TILE_STEP / 4),
        FN_EACH = (FN_CHUNKS + TILE_THREADS - 1) / TILE_THREADS
    };
};

/* Where this block works: first row, rows that there are, range of k. */
struct mhc_tile_place {
    int64_t row;
    int rows, begin, end;
};

/* Step `at` (of 32, counted over the blocks of one slot) of the team of row r of the stage. */
template <int SLOTS>
GPU_DEVICE int mhc_tile_k(const struct mhc_tile_place &place, int step, int slot) {
    const int block = step / (DOTS_BLOCK / TILE_STEP) * SLOTS + slot;
    return place.begin + block * DOTS_BLOCK + step % (DOTS_BLOCK / TILE_STEP) * TILE_STEP;
}

template <int SLOTS, int OUTPUTS>
GPU_DEVICE void mhc_tile_load(char *stage, const struct mhc_dots &a,
                              const struct mhc_tile_place &place, int step) {
    typedef struct mhc_tile_sizes<SLOTS, OUTPUTS> SIZES;
    const int thread = (int)gpu_thread(), chunk = thread % TILE_CHUNKS;
    GPU_NO_UNROLL for (int i = 0; i < TILE_EACH; i++) {
        const int r = thread / TILE_CHUNKS + i * (TILE_THREADS / TILE_CHUNKS);
        const int slot = SLOTS == 1 ? 0 : r / TILE_ROWS, row = SLOTS == 1 ? r : r % TILE_ROWS;
        const int k = mhc_tile_k<SLOTS>(place, step, slot) + chunk * MHC_UNIT;
        const int j = mhc_stream_of(a, k);
        if (row >= place.rows || k >= place.end) continue;
        mhc_copy16(stage + r * TILE_PITCH + chunk * 16,
                   a.rows.data + (place.row + row) * a.rows.row + j * a.rows.stream +
                       (int64_t)(k - j * a.hidden) * 2);
    }
    GPU_NO_UNROLL for (int i = 0; i < SIZES::FN_EACH; i++) {
        const int c = thread + i * TILE_THREADS, line = c / (TILE_STEP / 4);
        const int k = mhc_tile_k<SLOTS>(place, step, line / OUTPUTS) + c % (TILE_STEP / 4) * 4;
        if (c >= SIZES::FN_CHUNKS || k >= place.end) continue;
        mhc_copy16(stage + TILE_X + (line * TILE_FN_PITCH + c % (TILE_STEP / 4) * 4) * 4,
                   a.fn + line % OUTPUTS * a.fn_row + 4 * (int64_t)k);
    }
}

/* Factors of the rows of which this thread copies chunks. */
template <int SOURCE, int SLOTS>
GPU_DEVICE void mhc_tile_factors(float *factors, const struct mhc_dots &a,
                                 const struct mhc_tile_place &place) {
    GPU_UNROLL for (int i = 0; i < (SOURCE == MHC_NORMED ? (int)TILE_EACH : 0); i++) {
        const int r = (int)gpu_thread() / TILE_CHUNKS + i * (TILE_THREADS / TILE_CHUNKS);
        const int row = SLOTS == 1 ? r : r % TILE_ROWS;
        factors[i] = row < place.rows
                         ? *(const float *)(a.squares + (place.row + row) * a.squares_row)
                         : 0.0f;
    }
}

/* What this thread has copied, made what is multiplied: fn in its dialect, rows normed. */
template <int SOURCE, int SLOTS, int OUTPUTS>
GPU_DEVICE void mhc_tile_make(char *stage, const struct mhc_dots &a, const float *factors) {
    typedef struct mhc_tile_sizes<SLOTS, OUTPUTS> SIZES;
    const int thread = (int)gpu_thread(), chunk = thread % TILE_CHUNKS;
    GPU_UNROLL for (int i = 0; i < (SOURCE == MHC_NORMED ? (int)TILE_EACH : 0); i++) {
        const int r = thread / TILE_CHUNKS + i * (TILE_THREADS / TILE_CHUNKS);
        gpu_u4 *const at = (gpu_u4 *)(stage + r * TILE_PITCH + chunk * 16);
        float x[MHC_UNIT];
        mhc_unpack(x, *at);
        GPU_UNROLL for (int n = 0; n < MHC_UNIT; n++) x[n] *= factors[i];
        *at = mhc_pack(x);
    }
    if (a.fn_kind == MHC_FN_WHOLE) return;
    GPU_NO_UNROLL for (int i = 0; i < SIZES::FN_EACH; i++) {
        const int c = thread + i * TILE_THREADS, line = c / (TILE_STEP / 4);
        if (c >= SIZES::FN_CHUNKS) continue;
        gpu_f4 *const at =
            (gpu_f4 *)(stage + TILE_X) + line * (TILE_FN_PITCH / 4) + c % (TILE_STEP / 4);
        gpu_f4 v = *at;
        v.x = mhc_fn_value(v.x, a.fn_kind);
        v.y = mhc_fn_value(v.y, a.fn_kind);
        v.z = mhc_fn_value(v.z, a.fn_kind);
        v.w = mhc_fn_value(v.w, a.fn_kind);
        *at = v;
    }
}

/* Eight k of this lane's tile: rows 8 apart, PITCH bytes each, and outputs, FN_PITCH floats each. */
template <int ON, int PITCH, int FN_PITCH>
GPU_DEVICE void mhc_tile_eight(float (*acc)[ON], const char *x, const float *fn) {
    GPU_UNROLL for (int half = 0; half < 2; half++) {
        gpu_u2 codes[8];
        float w[ON][4];
        GPU_UNROLL for (int t = 0; t < 8; t++) codes[t] =
            *(const gpu_u2 *)(x + t * 8 * PITCH + half * 8);
        GPU_UNROLL for (int o = 0; o < ON; o++)
            mhc_load4(w[o], (const char *)(fn + o * FN_PITCH + half * 4));
        GPU_UNROLL for (int k = 0; k < 4; k++) GPU_UNROLL for (int t = 0; t < 8; t++) {
            const uint32_t pair = k < 2 ? codes[t].x : codes[t].y;
            const float value = k % 2 == 0 ? num_bf16_low(pair) : num_bf16_high(pair);
            GPU_UNROLL for (int o = 0; o < ON; o++) acc[t][o] = gpu_fma(value, w[o][k], acc[t][o]);
        }
    }
}

/* Sums of blocks of 128, added in order to the totals, which threads own and which lie in shared memory. SLOTS 1: each its
 * own. SLOTS 4: those of the teams, by way of a stage that is not needed any more. */
template <int SLOTS, int OUTPUTS, int ON>
GPU_DEVICE void mhc_tile_gather(float *total, float *sums, const float (*acc)[ON], int blocks) {
    const int lane = gpu_lane(), thread = (int)gpu_thread();
    if (SLOTS == 1) {
        GPU_UNROLL for (int t = 0; t < 8; t++) GPU_UNROLL for (int o = 0; o < ON; o++)
            total[(t * ON + o) * TILE_THREADS + thread] += acc[t][o];
        return;
    }
    gpu_barrier_of<TILE_THREADS>();
    GPU_UNROLL for (int t = 0; t < 8; t++) GPU_UNROLL for (int o = 0; o < ON; o++)
        sums[(gpu_team() * OUTPUTS + lane / 8 * ON + o) * TILE_ROWS + lane % 8 + 8 * t] = acc[t][o];
    gpu_barrier_of<TILE_THREADS>();
    GPU_UNROLL for (int i = 0; i < mhc_tile_sizes<SLOTS, OUTPUTS>::OWNED; i++) {
        float sum = total[i * TILE_THREADS + thread];
        GPU_UNROLL for (int s = 0; s < SLOTS; s++) if (s < blocks) sum +=
            sums[s * OUTPUTS * TILE_ROWS + thread + i * TILE_THREADS];
        total[i * TILE_THREADS + thread] = sum;
    }
    gpu_barrier_of<TILE_THREADS>();
}

GPU_DEVICE void mhc_tile_store(const struct mhc_dots &a, const struct mhc_tile_place &place,
                               int part, int row, int o, float sum) {
    if (row < place.rows)
        *(float *)(a.mixes + part * a.mixes_split + (place.row + row) * a.mixes_row + 4 * o) = sum;
}

/* Sums of one step into acc. */
template <int SLOTS, int OUTPUTS, int ON>
GPU_DEVICE void mhc_tile_step(float (*acc)[ON], const char *stage,
                              const struct mhc_tile_place &place, int step) {
    const int lane = gpu_lane(), slot = SLOTS == 1 ? 0 : gpu_team();
    const int left = place.end - mhc_tile_k<SLOTS>(place, step, slot);
    const char *const x = stage + (gpu_team() * TILE_ROWS + lane % 8) * TILE_PITCH;
    const float *const fn =
        (const float *)(stage + TILE_X) + (slot * OUTPUTS + lane / 8 * ON) * TILE_FN_PITCH;
    GPU_NO_UNROLL for (int k = 0; k < TILE_STEP && k < left; k += MHC_UNIT)
        mhc_tile_eight<ON, TILE_PITCH, TILE_FN_PITCH>(acc, x + 2 * k, fn + k);
}

template <int SOURCE, int SLOTS, int OUTPUTS>
GPU_DEVICE void mhc_tile_dots(float *total, char *ring, const struct mhc_dots &a,
                              const struct mhc_tile_place &place) {
    typedef struct mhc_tile_sizes<SLOTS, OUTPUTS> SIZES;
    enum { ON = SIZES::ON, RING = SIZES::RING, STEPS = DOTS_BLOCK / TILE_STEP };
    const int blocks = (place.end - place.begin + DOTS_BLOCK - 1) / DOTS_BLOCK;
    const int steps = (blocks + SLOTS - 1) / SLOTS * STEPS;
    float acc[8][ON], factors[TILE_EACH];
    mhc_tile_factors<SOURCE, SLOTS>(factors, a, place);
    GPU_UNROLL for (int t = 0; t < 8; t++) GPU_UNROLL for (int o = 0; o < ON; o++) acc[t][o] = 0.0f;
    GPU_UNROLL for (int i = 0; i < RING - 1; i++) {
        if (i < steps) mhc_tile_load<SLOTS, OUTPUTS>(ring + i * SIZES::STAGE, a, place, i);
        mhc_copy_close();
    }
    int at = 0;
    GPU_NO_UNROLL for (int step = 0; step < steps; step++) {
        char *const stage = ring + at * SIZES::STAGE;
        at = at == RING - 1 ? 0 : at + 1;
        mhc_copy_wait<RING - 2>();
        mhc_tile_make<SOURCE, SLOTS, OUTPUTS>(stage, a, factors);
        gpu_barrier_of<TILE_THREADS>();
        const int ahead = at + RING - 2;
        if (step + RING - 1 < steps)
            mhc_tile_load<SLOTS, OUTPUTS>(ring +
                                              (ahead >= RING ? ahead - RING : ahead) * SIZES::STAGE,
                                          a, place, step + RING - 1);
        mhc_copy_close();
        mhc_tile_step<SLOTS, OUTPUTS, ON>(acc, stage, place, step);
        if (step % STEPS != STEPS - 1) continue;
        mhc_tile_gather<SLOTS, OUTPUTS, ON>(total, (float *)stage, acc,
                                            blocks - step / STEPS * SLOTS);
        GPU_UNROLL for (int t = 0; t < 8; t++) GPU_UNROLL for (int o = 0; o < ON; o++) acc[t][o] =
            0.0f;
    }
}

/* Totals begin at -0, which is neutral: the first block's sum stays as it is. */
template <int SOURCE, int SLOTS, int OUTPUTS>
GPU_DEVICE void mhc_tile_sums(char *ring, const struct mhc_dots &a,
                              const struct mhc_tile_place &place, int part) {
    typedef struct mhc_tile_sizes<SLOTS, OUTPUTS> SIZES;
    enum { ON = SIZES::ON };
    const int lane = gpu_lane(), thread = (int)gpu_thread();
    float *const total = (float *)(ring + SIZES::RING * SIZES::STAGE);
    GPU_UNROLL for (int i = 0; i < SIZES::OWNED; i++) total[i * TILE_THREADS + thread] = -0.0f;
    mhc_tile_dots<SOURCE, SLOTS, OUTPUTS>(total, ring, a, place);
    GPU_UNROLL for (int i = 0; i < SIZES::OWNED; i++) {
        const int which = thread + i * TILE_THREADS;
        const float sum = total[which];
        if (SLOTS == 1)
            mhc_tile_store(a, place, part, gpu_team() * TILE_ROWS + lane % 8 + 8 * (i / ON),
                           lane / 8 * ON + i % ON, sum);
        else
            mhc_tile_store(a, place, part, which % TILE_ROWS, which / TILE_ROWS, sum);
    }
}

template <int SOURCE, int SLOTS, int OUTPUTS>
__global__ void __launch_bounds__(2 * TILE_THREADS, 2) mhc_tile_kernel(const struct mhc_dots a) {
    GPU_SHARED(ring);
    const int rows = SLOTS == 1 ? TILE_TEAMS * TILE_ROWS : TILE_ROWS;
    const int64_t tile = gpu_block() / a.splits, left = a.tokens - tile * rows;
    const int part = (int)(gpu_block() - tile * a.splits);
    const struct mhc_tile_place place = {tile * rows, left < rows ? (int)left : rows, part * a.part,
                                         (part + 1) * a.part};
    if (gpu_thread() < TILE_THREADS)
        mhc_tile_sums<SOURCE, SLOTS, OUTPUTS>(ring, a, place, part);
    else if (a.with_squares)
        for (int r = gpu_team() - TILE_TEAMS; r < place.rows; r += TILE_TEAMS)
            mhc_squares<MHC_ROWS>(a, place.row + r, part);
}

/* Squares alone. */
template <int TEAMS>
__global__ void __launch_bounds__(TEAMS *TEAM) mhc_squares_kernel(const struct mhc_dots a) {
    const int64_t unit = gpu_block() * TEAMS + gpu_team(), row = unit / a.splits;
    if (row < a.tokens) mhc_squares<MHC_ROWS>(a, row, (int)(unit - row * a.splits));
}

/* ---- host ---- */

template <int SOURCE, int SLOTS, int OUTPUTS>
static int mhc_tile_run(const struct mhc_dots &a, gpu_stream stream, struct call_why why) {
    const int rows = SLOTS == 1 ? TILE_TEAMS * TILE_ROWS : TILE_ROWS;
    const int64_t blocks = a.groups == 0 ? call_ceil(a.tokens * a.splits, CALL_TEAMS)
                                         : call_ceil(a.tokens, rows) * a.splits;
    dim3 grid;
    const int status = call_grid(&grid, blocks, why);
    if (status != DSV4_OK) return status;
    if (a.groups == 0)
        GPU_LAUNCH(mhc_squares_kernel<CALL_TEAMS>, grid, CALL_THREADS, stream, a);
    else
        GPU_LAUNCH_SHARED((mhc_tile_kernel<SOURCE, SLOTS, OUTPUTS>), grid, 2 * TILE_THREADS,
                          (mhc_tile_sizes<SLOTS, OUTPUTS>::BYTES), stream, a);
    return call_launched(why);
}

#endif
