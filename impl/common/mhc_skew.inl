/* SPDX-License-Identifier: Apache-2.0 */
/*
 * All 24 dots of many rows, and their squares, from one read of the rows. What canon leaves: the blocks of 128 along k
 * are summed on their own, so SLOTS of them at once; the squares of a row are 64 chains along all of k, so in its order.
 * Both are met by slots that start one after the other: a unit, the block of 128 of all rows of a tile and of fn, arrives
 * per step; in that step its squares are summed, and then slot unit % SLOTS takes SLOTS steps for its dots, a chunk of
 * 128 / SLOTS of k a step. Slots end one after the other too, so that each adds its sums to the totals in order. Chunk c
 * of a unit lives for c + 1 steps, and the steps that loads are ahead: each c has a ring of its own. Eight teams have
 * dots, 64 rows each, 8 rows x 6 outputs a lane; four teams load and sum squares. One barrier a step.
 * A thread block goes on from tile to tile, so that slots are empty at its first and last units only.
 */
#ifndef DSV4_MHC_SKEW_INL
#define DSV4_MHC_SKEW_INL

#include "mhc_copy.inl"

/* Two pieces of 8 along k in the body of a team's loop, so that the loads of one go ahead of the other's fma: the fastest as
 * measured on an H100. */
#if GPU_EMULATED
#define SKEW_UNROLL
#else
#define SKEW_UNROLL _Pragma("unroll 2")
#endif

enum {
    SKEW_DOTS = 256, /* threads that have dots */
    SKEW_LOADS = 128,
    SKEW_THREADS = SKEW_DOTS + SKEW_LOADS,
    SKEW_AHEAD = 2, /* steps that loads are ahead */
    SKEW_TEAM_ROWS = 64
};

template <int SLOTS, int OUTPUTS> struct mhc_skew_sizes {
    enum {
        ON = OUTPUTS / 4,
        CHUNK = DOTS_BLOCK / SLOTS,
        PIECES = CHUNK / MHC_UNIT, /* of 16 bytes in a chunk of a row */
        BESIDE = 8 / PIECES,       /* rows in 128 bytes; chunks in 64 elements */
        ROWS = SKEW_DOTS / TEAM / SLOTS * SKEW_TEAM_ROWS,
        PITCH = 2 * CHUNK,
        FN_PITCH = 4 * CHUNK + 16, /* four lanes, ON rows apart, meet other banks */
        X = ROWS * PITCH,
        ENTRY = X + OUTPUTS * FN_PITCH,
        TOTALS = (SLOTS * (SLOTS + 1) / 2 + SLOTS * SKEW_AHEAD) * ENTRY,
        BYTES = TOTALS + ROWS * OUTPUTS * 4,
        SQUARES = ROWS / 16 /* rows of a thread */
    };
};

struct mhc_skew_args {
    struct mhc_dots a;
    int tiles, stride; /* of rows, times splits; thread blocks */
    int blocks;        /* of 128 in a part */
};

/* Where a unit lies: its first k, and where the part ends. */
struct mhc_skew_place {
    int64_t row;
    int rows, part, block, begin, end;
};

template <int SLOTS, int OUTPUTS>
GPU_DEVICE struct mhc_skew_place mhc_skew_at(const struct mhc_skew_args &f, int unit) {
    const int turn = unit / f.blocks, tile = (int)gpu_block() + turn * f.stride;
    const int rows = tile / f.a.splits;
    struct mhc_skew_place p;
    p.row = (int64_t)rows * mhc_skew_sizes<SLOTS, OUTPUTS>::ROWS;
    p.rows = f.a.tokens - p.row < mhc_skew_sizes<SLOTS, OUTPUTS>::ROWS
                 ? (int)(f.a.tokens - p.row)
                 : (int)mhc_skew_sizes<SLOTS, OUTPUTS>::ROWS;
    p.part = tile - rows * f.a.splits;
    p.block = unit - turn * f.blocks;
    p.begin = p.part * f.a.part + p.block * DOTS_BLOCK;
    p.end = (p.part + 1) * f.a.part;
    return p;
}

template <int SLOTS, int OUTPUTS>
GPU_DEVICE char *mhc_skew_entry(char *shared, int unit, int chunk) {
    const int ring = chunk + 1 + SKEW_AHEAD, before = chunk * (chunk + 1 + 2 * SKEW_AHEAD) / 2;
    return shared + (before + unit % ring) * mhc_skew_sizes<SLOTS, OUTPUTS>::ENTRY;
}

/* What pieces of a row are exchanged by, so that eight rows meet all banks; the same for rows 8 apart. */
template <int SLOTS, int OUTPUTS> GPU_DEVICE int mhc_skew_swizzle(int row) {
    typedef struct mhc_skew_sizes<SLOTS, OUTPUTS> SIZES;
    return row / SIZES::BESIDE % SIZES::PIECES;
}

/* ---- the dots ---- */

/* The lane's sums of one block of 128, added to the totals. */
template <int SLOTS, int OUTPUTS>
GPU_DEVICE void mhc_skew_add(float *total, const struct mhc_skew_args &f,
                             const struct mhc_skew_place &p,
                             const float (*acc)[mhc_skew_sizes<SLOTS, OUTPUTS>::ON]) {
    enum { ON = mhc_skew_sizes<SLOTS, OUTPUTS>::ON };
    const int group = gpu_team() / SLOTS, lane = gpu_lane();
    float *const mine = total + group * SKEW_TEAM_ROWS * OUTPUTS + lane;
    GPU_UNROLL for (int t = 0; t < 8; t++) GPU_UNROLL for (int o = 0; o < ON; o++) {
        float *const at = mine + (t * ON + o) * TEAM;
        *at = p.block == 0 ? acc[t][o] : *at + acc[t][o];
    }
    if (p.block != f.blocks - 1) return;
    GPU_UNROLL for (int t = 0; t < 8; t++) {
        const int row = group * SKEW_TEAM_ROWS + lane % 8 + 8 * t;
        float *const to =
            (float *)(f.a.mixes + p.part * f.a.mixes_split + (p.row + row) * f.a.mixes_row) +
            lane / 8 * ON;
        if (row >= p.rows) continue;
        GPU_UNROLL for (int o = 0; o < ON; o++) to[o] = mine[(t * ON + o) * TEAM];
    }
}

template <int SLOTS, int OUTPUTS>
GPU_DEVICE void mhc_skew_dots(char *shared, const struct mhc_skew_args &f, int units) {
    typedef struct mhc_skew_sizes<SLOTS, OUTPUTS> SIZES;
    const int slot = gpu_team() % SLOTS, lane = gpu_lane();
    const int row = gpu_team() / SLOTS * SKEW_TEAM_ROWS + lane % 8;
    const int swizzle = mhc_skew_swizzle<SLOTS, OUTPUTS>(row);
    float acc[8][SIZES::ON];
    GPU_NO_UNROLL for (int step = 0; step < units + SLOTS - 1; step++) {
        const int chunk = (step - slot) & (SLOTS - 1), unit = step - chunk;
        gpu_barrier_of<SKEW_THREADS>();
        if (unit < 0 || unit >= units) continue;
        const struct mhc_skew_place p = mhc_skew_at<SLOTS, OUTPUTS>(f, unit);
        const char *const entry = mhc_skew_entry<SLOTS, OUTPUTS>(shared, unit, chunk);
        const char *const x = entry + row * SIZES::PITCH;
        const char *const fn = entry + SIZES::X + lane / 8 * SIZES::ON * SIZES::FN_PITCH;
        const int left = (p.end - p.begin - chunk * SIZES::CHUNK) / MHC_UNIT;
        const int pieces = left < SIZES::PIECES ? left : (int)SIZES::PIECES;
        if (chunk == 0)
            GPU_UNROLL for (int t = 0; t < 8; t++) GPU_UNROLL for (int o = 0; o < SIZES::ON; o++)
                acc[t][o] = 0.0f;
        SKEW_UNROLL for (int i = 0; i < pieces; i++)
            mhc_tile_eight<SIZES::ON, SIZES::PITCH, SIZES::FN_PITCH / 4>(
                acc, x + (i ^ swizzle) * 16, (const float *)(fn + i * MHC_UNIT * 4));
        if (chunk == SLOTS - 1)
            mhc_skew_add<SLOTS, OUTPUTS>((float *)(shared + SIZES::TOTALS), f, p, acc);
    }
}

/* ---- loads and squares ---- */

template <int SLOTS, int OUTPUTS>
GPU_DEVICE char *mhc_skew_piece(char *shared, int unit, int row, int piece) {
    typedef struct mhc_skew_sizes<SLOTS, OUTPUTS> SIZES;
    return mhc_skew_entry<SLOTS, OUTPUTS>(shared, unit, piece / SIZES::PIECES) +
           row * SIZES::PITCH +
           ((piece % SIZES::PIECES) ^ mhc_skew_swizzle<SLOTS, OUTPUTS>(row)) * 16;
}

template <int SLOTS, int OUTPUTS>
GPU_DEVICE char *mhc_skew_fn(char *shared, int unit, int output, int k) {
    typedef struct mhc_skew_sizes<SLOTS, OUTPUTS> SIZES;
    return mhc_skew_entry<SLOTS, OUTPUTS>(shared, unit, k / SIZES::CHUNK) + SIZES::X +
           output * SIZES::FN_PITCH + k % SIZES::CHUNK * 4;
}

template <int SLOTS, int OUTPUTS>
GPU_DEVICE void mhc_skew_load(char *shared, const struct mhc_skew_args &f, int unit) {
    typedef struct mhc_skew_sizes<SLOTS, OUTPUTS> SIZES;
    const struct mhc_skew_place p = mhc_skew_at<SLOTS, OUTPUTS>(f, unit);
    const int q = (int)gpu_thread() - SKEW_DOTS, row = q / 16, piece = q % 16;
    const int k = p.begin + piece * MHC_UNIT, j = mhc_stream_of(f.a, k);
    const int fn_k = q % 32 * 4;
    char *const to = mhc_skew_piece<SLOTS, OUTPUTS>(shared, unit, row, piece);
    const char *const from = f.a.rows.data + (p.row + row) * f.a.rows.row + j * f.a.rows.stream +
                             (int64_t)(k - j * f.a.hidden) * 2;
    if (k < p.end)
        GPU_UNROLL for (int i = 0; i < SIZES::ROWS / 8; i++) if (row + 8 * i < p.rows)
            mhc_copy16(to + i * 8 * SIZES::PITCH, from + i * 8 * f.a.rows.row);
    if (p.begin + fn_k >= p.end) return;
    char *const fn = mhc_skew_fn<SLOTS, OUTPUTS>(shared, unit, q / 32, fn_k);
    const char *const fn_from = f.a.fn + q / 32 * f.a.fn_row + 4 * (int64_t)(p.begin + fn_k);
    GPU_UNROLL for (int i = 0; i < SIZES::ON; i++)
        mhc_copy16(fn + i * 4 * SIZES::FN_PITCH, fn_from + i * 4 * f.a.fn_row);
}

/* What this thread has copied of fn, in its dialect. */
template <int SLOTS, int OUTPUTS>
GPU_DEVICE void mhc_skew_make(char *shared, const struct mhc_skew_args &f, int unit) {
    typedef struct mhc_skew_sizes<SLOTS, OUTPUTS> SIZES;
    const int q = (int)gpu_thread() - SKEW_DOTS;
    char *const fn = mhc_skew_fn<SLOTS, OUTPUTS>(shared, unit, q / 32, q % 32 * 4);
    GPU_UNROLL for (int i = 0; i < SIZES::ON; i++) {
        gpu_f4 *const at = (gpu_f4 *)(fn + i * 4 * SIZES::FN_PITCH);
        gpu_f4 v = *at;
        v.x = mhc_fn_value(v.x, f.a.fn_kind);
        v.y = mhc_fn_value(v.y, f.a.fn_kind);
        v.z = mhc_fn_value(v.z, f.a.fn_kind);
        v.w = mhc_fn_value(v.w, f.a.fn_kind);
        *at = v;
    }
}

/* Rows that this thread has copied, times their factors, rounded. */
template <int SLOTS, int OUTPUTS>
GPU_DEVICE void mhc_skew_norm(char *shared, const struct mhc_skew_args &f,
                              const struct mhc_skew_place &p, int unit) {
    typedef struct mhc_skew_sizes<SLOTS, OUTPUTS> SIZES;
    const int q = (int)gpu_thread() - SKEW_DOTS, row = q / 16;
    char *const at = mhc_skew_piece<SLOTS, OUTPUTS>(shared, unit, row, q % 16);
    GPU_UNROLL for (int i = 0; i < SIZES::ROWS / 8; i++) {
        gpu_u4 *const codes = (gpu_u4 *)(at + i * 8 * SIZES::PITCH);
        float x[MHC_UNIT];
        if (row + 8 * i >= p.rows) continue;
        const float r = *(const float *)(f.a.squares + (p.row + row + 8 * i) * f.a.squares_row);
        mhc_unpack(x, *codes);
        GPU_UNROLL for (int n = 0; n < MHC_UNIT; n++) x[n] *= r;
        *codes = mhc_pack(x);
    }
}

/* Which squares a thread sums: of rows 16 apart, eight elements of each 64. Eight lanes read 128 bytes in a row. */
struct mhc_skew_mine {
    int row, piece, chunk;
};

template <int SLOTS, int OUTPUTS> GPU_DEVICE struct mhc_skew_mine mhc_skew_mine_of(void) {
    enum {
        BESIDE = mhc_skew_sizes<SLOTS, OUTPUTS>::BESIDE,
        PIECES = mhc_skew_sizes<SLOTS, OUTPUTS>::PIECES
    };
    const int q = (int)gpu_thread() - SKEW_DOTS;
    const struct mhc_skew_mine mine = {q / PIECES % BESIDE + q / (8 * BESIDE) * BESIDE, q % PIECES,
                                       q / 8 % BESIDE};
    return mine;
}

template <int SLOTS, int OUTPUTS>
GPU_DEVICE void mhc_skew_squares(float (*sums)[MHC_UNIT], const struct mhc_skew_mine &mine,
                                 char *shared, const struct mhc_skew_place &p, int unit) {
    typedef struct mhc_skew_sizes<SLOTS, OUTPUTS> SIZES;
    GPU_UNROLL for (int half = 0; half < 2; half++) {
        const int chunk = mine.chunk + half * SLOTS / 2;
        const char *const from = mhc_skew_piece<SLOTS, OUTPUTS>(shared, unit, mine.row,
                                                                chunk * SIZES::PIECES + mine.piece);
        if (p.begin + chunk * SIZES::CHUNK + mine.piece * MHC_UNIT >= p.end) continue;
        GPU_UNROLL for (int i = 0; i < SIZES::SQUARES; i++) {
            float x[MHC_UNIT];
            mhc_unpack(x, *(const gpu_u4 *)(from + i * 16 * SIZES::PITCH));
            GPU_UNROLL for (int n = 0; n < MHC_UNIT; n++) sums[i][n] =
                gpu_fma(x[n], x[n], sums[i][n]);
        }
    }
}

/* The halving tree over 64 partials: by lanes, then by the eight of a lane. */
template <int SLOTS> GPU_DEVICE float mhc_skew_tree(float *sums) {
    GPU_UNROLL for (int n = 0; n < MHC_UNIT; n++) {
        float sum = sums[n];
        sum += SLOTS == 4 ? team_xor_float(sum, 8) : team_xor_float(sum, 16);
        sum += SLOTS == 4 ? team_xor_float(sum, 2) : team_xor_float(sum, 8);
        sum += team_xor_float(sum, 1);
        sums[n] = sum;
    }
    GPU_UNROLL for (int n = 0; n < 4; n++) sums[n] += sums[n + 4];
    return (sums[0] + sums[2]) + (sums[1] + sums[3]);
}

template <int SLOTS, int OUTPUTS>
GPU_DEVICE void mhc_skew_squared(float (*sums)[MHC_UNIT], const struct mhc_skew_mine &mine,
                                 const struct mhc_dots &a, const struct mhc_skew_place &p) {
    GPU_UNROLL for (int i = 0; i < mhc_skew_sizes<SLOTS, OUTPUTS>::SQUARES; i++) {
        const int row = mine.row + 16 * i;
        float sum = mhc_skew_tree<SLOTS>(sums[i]);
        if (a.eps >= 0.0f) sum = elementary_rsqrt(gpu_divide_float(sum, (float)a.width) + a.eps);
        if (mine.piece == 0 && mine.chunk == 0 && row < p.rows)
            *(float *)(a.squares + p.part * a.squares_split + (p.row + row) * a.squares_row) = sum;
        GPU_UNROLL for (int n = 0; n < MHC_UNIT; n++) sums[i][n] = 0.0f;
    }
}

/* What arrived for a step, made what is multiplied. */
template <int SOURCE, int SLOTS, int OUTPUTS>
GPU_DEVICE void mhc_skew_arrived(char *shared, const struct mhc_skew_args &f, int unit) {
    if (f.a.fn_kind != MHC_FN_WHOLE) mhc_skew_make<SLOTS, OUTPUTS>(shared, f, unit);
    if (SOURCE != MHC_NORMED) return;
    mhc_skew_norm<SLOTS, OUTPUTS>(shared, f, mhc_skew_at<SLOTS, OUTPUTS>(f, unit), unit);
}

template <int SOURCE, int SLOTS, int OUTPUTS>
GPU_DEVICE void mhc_skew_loads(char *shared, const struct mhc_skew_args &f, int units) {
    const struct mhc_skew_mine mine = mhc_skew_mine_of<SLOTS, OUTPUTS>();
    float sums[mhc_skew_sizes<SLOTS, OUTPUTS>::SQUARES][MHC_UNIT];
    GPU_UNROLL for (int i = 0; i < mhc_skew_sizes<SLOTS, OUTPUTS>::SQUARES; i++)
        GPU_UNROLL for (int n = 0; n < MHC_UNIT; n++) sums[i][n] = 0.0f;
    GPU_NO_UNROLL for (int unit = 0; unit < SKEW_AHEAD; unit++) {
        if (unit < units) mhc_skew_load<SLOTS, OUTPUTS>(shared, f, unit);
        mhc_copy_close();
    }
    GPU_NO_UNROLL for (int step = 0; step < units + SLOTS - 1; step++) {
        mhc_copy_wait<SKEW_AHEAD - 1>();
        if (step < units) mhc_skew_arrived<SOURCE, SLOTS, OUTPUTS>(shared, f, step);
        gpu_barrier_of<SKEW_THREADS>();
        if (step + SKEW_AHEAD < units) mhc_skew_load<SLOTS, OUTPUTS>(shared, f, step + SKEW_AHEAD);
        mhc_copy_close();
        if (step >= units || SOURCE == MHC_NORMED || !f.a.with_squares) continue;
        const struct mhc_skew_place p = mhc_skew_at<SLOTS, OUTPUTS>(f, step);
        mhc_skew_squares<SLOTS, OUTPUTS>(sums, mine, shared, p, step);
        if (p.block == f.blocks - 1) mhc_skew_squared<SLOTS, OUTPUTS>(sums, mine, f.a, p);
    }
}

template <int SOURCE, int SLOTS, int OUTPUTS>
__global__ void __launch_bounds__(SKEW_THREADS, 1) mhc_skew_kernel(const struct mhc_skew_args f) {
    GPU_SHARED(shared);
    const int tiles = (f.tiles - (int)gpu_block() + f.stride - 1) / f.stride;
    if (gpu_thread() < SKEW_DOTS)
        mhc_skew_dots<SLOTS, OUTPUTS>(shared, f, tiles * f.blocks);
    else
        mhc_skew_loads<SOURCE, SLOTS, OUTPUTS>(shared, f, tiles * f.blocks);
}

/* ---- host ---- */

/* Rows that the busiest multiprocessor has. */
static inline int64_t mhc_skew_load_of(const struct mhc_dots &a, int rows) {
    return call_ceil(call_ceil(a.tokens, rows) * a.splits, gpu_multiprocessors()) * rows;
}

template <int SOURCE, int SLOTS, int OUTPUTS>
static bool mhc_skew_launch(int *status, const struct mhc_dots &a, gpu_stream stream,
                            struct call_why why) {
    const int64_t tiles = call_ceil(a.tokens, mhc_skew_sizes<SLOTS, OUTPUTS>::ROWS) * a.splits;
    const int64_t blocks = call_ceil(a.part, DOTS_BLOCK),
                  stride = call_min(tiles, gpu_multiprocessors());
    dim3 grid;
    /* Units of a thread block, counted in 32 bits. */
    if ((call_ceil(tiles, stride) + 1) * blocks > INT32_MAX || tiles > INT32_MAX / 2) return false;
    const struct mhc_skew_args f = {a, (int)tiles, (int)stride, (int)blocks};
    *status = call_grid(&grid, stride, why);
    if (*status != DSV4_OK) return true;
    GPU_LAUNCH_SHARED((mhc_skew_kernel<SOURCE, SLOTS, OUTPUTS>), grid, SKEW_THREADS,
                      (mhc_skew_sizes<SLOTS, OUTPUTS>::BYTES), stream, f);
    *status = call_launched(why);
    return true;
}

/* False: does not fit. Tiles of 128 rows, if they do not leave multiprocessors idle. */
template <int SOURCE, int OUTPUTS>
static bool mhc_skew_run(int *status, const struct mhc_dots &a, gpu_stream stream,
                         struct call_why why) {
    typedef struct mhc_skew_sizes<4, OUTPUTS> LARGE;
    typedef struct mhc_skew_sizes<8, OUTPUTS> SMALL;
    if (gpu_shared_limit() < (int64_t)LARGE::BYTES || gpu_shared_limit() < (int64_t)SMALL::BYTES)
        return false;
    return mhc_skew_load_of(a, LARGE::ROWS) <= mhc_skew_load_of(a, SMALL::ROWS)
               ? mhc_skew_launch<SOURCE, 4, OUTPUTS>(status, a, stream, why)
               : mhc_skew_launch<SOURCE, 8, OUTPUTS>(status, a, stream, why);
}

#endif
