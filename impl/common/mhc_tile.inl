/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Dots of many rows. A team has 64 rows, 8 rows x OUTPUTS / 4 outputs a lane: 8 lanes along rows, 4 along outputs. Steps
 * of 32 along k come into a ring of shared memory while those before are summed. SLOTS 1: the teams of a block have
 * rows of their own and one fn. SLOTS 4: they have the same rows and four neighbouring blocks of 128 along k, whose sums
 * are added in order through shared memory. More blocks of the grid, behind the tiles, sum squares.
 */
#ifndef DSV4_MHC_TILE_INL
#define DSV4_MHC_TILE_INL

#include "mhc_copy.inl"

enum {
    TILE_THREADS = 128,
    TILE_TEAMS = TILE_THREADS / TEAM,
    TILE_ROWS = 64, /* of a team */
    TILE_STEP = 32,
    TILE_CHUNKS = TILE_STEP / MHC_UNIT, /* of 16 bytes in a step of a row */
    TILE_PITCH = 2 * TILE_STEP + 16,    /* an odd number of chunks: 8 lanes meet all banks */
    TILE_X = TILE_TEAMS * TILE_ROWS * TILE_PITCH,
    TILE_FN_PITCH = TILE_STEP + 4 /* floats */
};

struct mhc_tile_args {
    struct mhc_dots a;
    int64_t tiles; /* blocks of the grid that have dots */
};

template <int SLOTS, int OUTPUTS> struct mhc_tile_sizes {
    enum {
        ON = OUTPUTS / 4,
        FN = SLOTS * OUTPUTS * TILE_FN_PITCH * 4,
        SUMS = SLOTS * OUTPUTS * TILE_ROWS * 4,
        STAGE = TILE_X + FN > SUMS ? TILE_X + FN : SUMS,
        RING = SLOTS == 1 ? 3 : 2,
        BYTES = RING * STAGE,
        FN_CHUNKS = SLOTS * OUTPUTS * (TILE_STEP / 4),
        FN_EACH = (FN_CHUNKS + TILE_THREADS - 1) / TILE_THREADS,
        OWNED = SLOTS == 1 ? 8 * ON : OUTPUTS * TILE_ROWS / TILE_THREADS
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
    GPU_NO_UNROLL for (int i = 0; i < TILE_TEAMS * TILE_ROWS * TILE_CHUNKS / TILE_THREADS; i++) {
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

/* What this thread has copied, made what is multiplied: fn in its dialect, rows normed. */
template <int SOURCE, int SLOTS, int OUTPUTS>
GPU_DEVICE void mhc_tile_make(char *stage, const struct mhc_dots &a,
                              const struct mhc_tile_place &place) {
    typedef struct mhc_tile_sizes<SLOTS, OUTPUTS> SIZES;
    const int thread = (int)gpu_thread(), chunk = thread % TILE_CHUNKS;
    if (SOURCE == MHC_NORMED) {
        GPU_NO_UNROLL for (int i = 0; i < TILE_TEAMS * TILE_ROWS * TILE_CHUNKS / TILE_THREADS;
                           i++) {
            const int r = thread / TILE_CHUNKS + i * (TILE_THREADS / TILE_CHUNKS);
            const int row = SLOTS == 1 ? r : r % TILE_ROWS;
            gpu_u4 *const at = (gpu_u4 *)(stage + r * TILE_PITCH + chunk * 16);
            float x[MHC_UNIT];
            if (row >= place.rows) continue;
            const float factor = *(const float *)(a.squares + (place.row + row) * a.squares_row);
            mhc_unpack(x, *at);
            GPU_UNROLL for (int n = 0; n < MHC_UNIT; n++) x[n] *= factor;
            *at = mhc_pack(x);
        }
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

/* Eight k of this lane's tile. */
template <int ON> GPU_DEVICE void mhc_tile_eight(float (*acc)[ON], const char *x, const float *fn) {
    GPU_UNROLL for (int half = 0; half < 2; half++) {
        gpu_u2 codes[8];
        float w[ON][4];
        GPU_UNROLL for (int t = 0; t < 8; t++) codes[t] =
            *(const gpu_u2 *)(x + t * 8 * TILE_PITCH + half * 8);
        GPU_UNROLL for (int o = 0; o < ON; o++)
            mhc_load4(w[o], (const char *)(fn + o * TILE_FN_PITCH + half * 4));
        GPU_UNROLL for (int k = 0; k < 4; k++) GPU_UNROLL for (int t = 0; t < 8; t++) {
            const uint32_t pair = k < 2 ? codes[t].x : codes[t].y;
            const float value = k % 2 == 0 ? num_bf16_low(pair) : num_bf16_high(pair);
            GPU_UNROLL for (int o = 0; o < ON; o++) acc[t][o] = gpu_fma(value, w[o][k], acc[t][o]);
        }
    }
}

/* SLOTS 4: the teams' sums by way of a stage that is not needed any more, added in order to the owners' totals. */
template <int SLOTS, int OUTPUTS, int ON>
GPU_DEVICE void mhc_tile_gather(float *total, float *sums, const float (*acc)[ON], int blocks) {
    const int lane = gpu_lane(), thread = (int)gpu_thread();
    if (SLOTS == 1) return;
    gpu_barrier();
    GPU_UNROLL for (int t = 0; t < 8; t++) GPU_UNROLL for (int o = 0; o < ON; o++)
        sums[(gpu_team() * OUTPUTS + lane / 8 * ON + o) * TILE_ROWS + lane % 8 + 8 * t] = acc[t][o];
    gpu_barrier();
    GPU_UNROLL for (int i = 0; i < mhc_tile_sizes<SLOTS, OUTPUTS>::OWNED; i++) {
        GPU_UNROLL for (int s = 0; s < SLOTS; s++) if (s < blocks) total[i] +=
            sums[s * OUTPUTS * TILE_ROWS + thread + i * TILE_THREADS];
    }
    gpu_barrier();
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
        mhc_tile_eight<ON>(acc, x + 2 * k, fn + k);
}

template <int SOURCE, int SLOTS, int OUTPUTS>
GPU_DEVICE void mhc_tile_dots(char *ring, const struct mhc_dots &a,
                              const struct mhc_tile_place &place, int part) {
    typedef struct mhc_tile_sizes<SLOTS, OUTPUTS> SIZES;
    enum { ON = SIZES::ON, RING = SIZES::RING, STEPS = DOTS_BLOCK / TILE_STEP };
    const int lane = gpu_lane(), blocks = (place.end - place.begin + DOTS_BLOCK - 1) / DOTS_BLOCK;
    const int steps = (blocks + SLOTS - 1) / SLOTS * STEPS;
    float acc[8][ON], total[SIZES::OWNED];
    /* -0 is neutral: the first block's sum stays as it is. */
    GPU_UNROLL for (int i = 0; i < SIZES::OWNED; i++) total[i] = -0.0f;
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
        mhc_tile_make<SOURCE, SLOTS, OUTPUTS>(stage, a, place);
        gpu_barrier();
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
        GPU_UNROLL for (int t = 0; t < 8; t++) GPU_UNROLL for (int o = 0; o < ON; o++) {
            if (SLOTS == 1) total[t * ON + o] += acc[t][o];
            acc[t][o] = 0.0f;
        }
    }
    GPU_UNROLL for (int i = 0; i < SIZES::OWNED; i++) {
        /* A team's own tile, or what the threads own by turns. */
        const int which = (int)gpu_thread() + i * TILE_THREADS, t = i / ON, o = i % ON;
        if (SLOTS == 1)
            mhc_tile_store(a, place, part, gpu_team() * TILE_ROWS + lane % 8 + 8 * t,
                           lane / 8 * ON + o, total[i]);
        else
            mhc_tile_store(a, place, part, which % TILE_ROWS, which / TILE_ROWS, total[i]);
    }
}

template <int SOURCE, int SLOTS, int OUTPUTS>
__global__ void __launch_bounds__(TILE_THREADS, 3)
    mhc_tile_kernel(const struct mhc_tile_args args) {
    GPU_SHARED(ring);
    const struct mhc_dots &a = args.a;
    const int rows = SLOTS == 1 ? TILE_TEAMS * TILE_ROWS : TILE_ROWS;
    if (gpu_block() >= args.tiles) {
        const int64_t unit = (gpu_block() - args.tiles) * TILE_TEAMS + gpu_team();
        const int64_t row = unit / a.splits;
        if (row < a.tokens) mhc_squares<MHC_ROWS>(a, row, (int)(unit - row * a.splits));
        return;
    }
    const int64_t tile = gpu_block() / a.splits;
    const int part = (int)(gpu_block() - tile * a.splits);
    const int64_t left = a.tokens - tile * rows;
    const struct mhc_tile_place place = {tile * rows, left < rows ? (int)left : rows, part * a.part,
                                         (part + 1) * a.part};
    mhc_tile_dots<SOURCE, SLOTS, OUTPUTS>(ring, a, place, part);
}

/* ---- host ---- */

template <int SOURCE, int SLOTS, int OUTPUTS>
static int mhc_tile_run(const struct mhc_dots &a, gpu_stream stream, struct call_why why) {
    struct mhc_tile_args args = {a, 0};
    const int rows = SLOTS == 1 ? TILE_TEAMS * TILE_ROWS : TILE_ROWS;
    dim3 grid;
    args.tiles = a.groups == 0 ? 0 : call_ceil(a.tokens, rows) * a.splits;
    const int64_t squares = a.with_squares ? call_ceil(a.tokens * a.splits, TILE_TEAMS) : 0;
    const int status = call_grid(&grid, args.tiles + squares, why);
    if (status != DSV4_OK) return status;
    GPU_LAUNCH_SHARED((mhc_tile_kernel<SOURCE, SLOTS, OUTPUTS>), grid, TILE_THREADS,
                      (mhc_tile_sizes<SLOTS, OUTPUTS>::BYTES), stream, args);
    return call_launched(why);
}

#endif
