/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The dots of rows with fn. A block has TOKENS rows, OUTPUTS rows of fn and one part of k; SLOTS blocks of 128 along k
 * are summed at a time, each by the threads of a slot, TN rows x ON outputs a thread, from shared memory. Then their
 * sums are added in order. While a step is summed, the next one is loaded. Per tile of rows there is one block more: a
 * team per row sums squares, partials 2l and 2l + 1 in lane l, and stores the row where it is a new one.
 */
#ifndef DSV4_MHC_DOTS_INL
#define DSV4_MHC_DOTS_INL

#include "mhc_row.inl"

/* Of a loop whose length is not known: several loads on their way. */
#if GPU_EMULATED
#define DOTS_UNROLL
#define DOTS_DEEP_UNROLL
#define DOTS_FEW_UNROLL
#define DOTS_SQUARES_UNROLL
#else
#define DOTS_UNROLL _Pragma("unroll 8")
#define DOTS_DEEP_UNROLL _Pragma("unroll 32")
#define DOTS_FEW_UNROLL _Pragma("unroll 4")
#define DOTS_SQUARES_UNROLL _Pragma("unroll 16")
#endif
/* clang would hold the operands of a whole step in registers. */
#if GPU_HIP
#define DOTS_STEP_UNROLL _Pragma("unroll 2")
#else
#define DOTS_STEP_UNROLL GPU_UNROLL
#endif

enum mhc_source { MHC_ROWS, MHC_NORMED, MHC_POSTED, MHC_POSTED_UNROUNDED };
enum mhc_fn { MHC_FN_WHOLE, MHC_FN_TRUNCATE, MHC_FN_HALF_UP, MHC_FN_HI_LO };
enum { DOTS_BLOCK = 128, DOTS_STEP = 16, DOTS_PARTIALS = 64 };

struct mhc_dots {
    struct mhc_tensor rows; /* the old residual where the source is posted */
    struct mhc_tensor x, post, comb, out;
    const char *fn;
    char *mixes, *squares;
    int64_t fn_row, mixes_split, mixes_row, squares_split, squares_row;
    int64_t tokens;
    int width, hidden, part, splits, fn_kind;
    int groups, with_squares; /* blocks of a part and a tile of rows: of outputs, and of squares */
    /* squares holds rsqrt(mean square + eps) in their place where eps is not negative */
    float eps;
};

GPU_DEVICE float mhc_fn_value(float x, int kind) {
    if (kind == MHC_FN_WHOLE) return x;
    if (kind == MHC_FN_HI_LO) {
        const float high = num_bf16_low(num_bf16x2(x, 0.0f));
        return high + num_bf16_low(num_bf16x2(x - high, 0.0f));
    }
    return gpu_float((gpu_bits(x) + (kind == MHC_FN_HALF_UP ? 0x1000u : 0u)) & ~0x1FFFu);
}

GPU_DEVICE int mhc_stream_of(const struct mhc_dots &a, int k) {
    return (k >= a.hidden) + (k >= 2 * a.hidden) + (k >= 3 * a.hidden);
}

GPU_DEVICE void mhc_weights_of(float *post, float *column, const struct mhc_dots &a, int64_t row,
                               int k) {
    const char *const comb = a.comb.data + row * a.comb.row + 4 * k;
    *post = *(const float *)(a.post.data + row * a.post.row + k * a.post.stream);
    GPU_UNROLL for (int j = 0; j < MHC_STREAMS; j++) column[j] =
        *(const float *)(comb + j * a.comb.stream);
}

/* Eight elements of a row: codes, or values where they are made here. */
template <int SOURCE> struct mhc_eight { float x[MHC_UNIT]; };
template <> struct mhc_eight<MHC_ROWS> { gpu_u4 codes; };

GPU_DEVICE void mhc_eight_load(struct mhc_eight<MHC_ROWS> &to, const struct mhc_dots &a,
                               int64_t row, int k) {
    const int j = mhc_stream_of(a, k);
    to.codes = mhc_load(a.rows, row, j, (k - j * a.hidden) / MHC_UNIT);
}

/* bf16(x * r), r from `squares`. */
GPU_DEVICE void mhc_eight_load(struct mhc_eight<MHC_NORMED> &to, const struct mhc_dots &a,
                               int64_t row, int k) {
    const int j = mhc_stream_of(a, k);
    const float r = *(const float *)(a.squares + row * a.squares_row);
    mhc_unpack(to.x, mhc_load(a.rows, row, j, (k - j * a.hidden) / MHC_UNIT));
    GPU_UNROLL for (int i = 0; i < MHC_UNIT; i++) to.x[i] *= r;
    mhc_unpack(to.x, mhc_pack(to.x));
}

/* What eight elements of a new stream are made of. */
struct mhc_made_of {
    gpu_u4 x, streams[MHC_STREAMS];
    float post, column[MHC_STREAMS];
};

GPU_DEVICE void mhc_made_load(struct mhc_made_of &of, const struct mhc_dots &a, int64_t row,
                              int k) {
    const int stream = mhc_stream_of(a, k), unit = (k - stream * a.hidden) / MHC_UNIT;
    of.x = mhc_load(a.x, row, 0, unit);
    GPU_UNROLL for (int j = 0; j < MHC_STREAMS; j++) of.streams[j] = mhc_load(a.rows, row, j, unit);
    mhc_weights_of(&of.post, of.column, a, row, stream);
}

template <int SOURCE> GPU_DEVICE void mhc_make(float *to, const struct mhc_made_of &of) {
    float x[MHC_UNIT], r[MHC_STREAMS * MHC_UNIT];
    mhc_unpack(x, of.x);
    GPU_UNROLL for (int j = 0; j < MHC_STREAMS; j++) mhc_unpack(r + j * MHC_UNIT, of.streams[j]);
    mhc_post_values<MHC_UNIT>(to, x, r, of.post, of.column);
    if (SOURCE == MHC_POSTED) mhc_unpack(to, mhc_pack(to));
}

template <int SOURCE>
GPU_DEVICE void mhc_eight_load(struct mhc_eight<SOURCE> &to, const struct mhc_dots &a, int64_t row,
                               int k) {
    struct mhc_made_of of;
    mhc_made_load(of, a, row, k);
    mhc_make<SOURCE>(to.x, of);
}

GPU_DEVICE void mhc_eight_zero(struct mhc_eight<MHC_ROWS> &to) {
    to.codes.x = to.codes.y = to.codes.z = to.codes.w = 0;
}
template <int SOURCE> GPU_DEVICE void mhc_eight_zero(struct mhc_eight<SOURCE> &to) {
    GPU_UNROLL for (int i = 0; i < MHC_UNIT; i++) to.x[i] = 0.0f;
}
GPU_DEVICE void mhc_eight_values(float *x, const struct mhc_eight<MHC_ROWS> &from) {
    mhc_unpack(x, from.codes);
}
template <int SOURCE>
GPU_DEVICE void mhc_eight_values(float *x, const struct mhc_eight<SOURCE> &from) {
    GPU_UNROLL for (int i = 0; i < MHC_UNIT; i++) x[i] = from.x[i];
}

/* ---- squares ---- */

/* Elements k and k + 1, k even; a new row is stored. */
template <int SOURCE>
GPU_DEVICE gpu_f2 mhc_pair(const struct mhc_dots &a, int64_t row, int k, const float *post,
                           const float *comb) {
    const int stream = mhc_stream_of(a, k);
    const int64_t at = 2 * (int64_t)(k - stream * a.hidden);
    gpu_f2 pair;
    if (SOURCE < MHC_POSTED) {
        const uint32_t codes =
            *(const uint32_t *)(a.rows.data + row * a.rows.row + stream * a.rows.stream + at);
        pair.x = num_bf16_low(codes);
        pair.y = num_bf16_high(codes);
        return pair;
    }
    const uint32_t codes = *(const uint32_t *)(a.x.data + row * a.x.row + at);
    const float x[2] = {num_bf16_low(codes), num_bf16_high(codes)};
    float r[2 * MHC_STREAMS], o[2], column[MHC_STREAMS], weight = post[0];
    GPU_UNROLL for (int j = 0; j < MHC_STREAMS; j++) {
        const uint32_t old =
            *(const uint32_t *)(a.rows.data + row * a.rows.row + j * a.rows.stream + at);
        r[2 * j] = num_bf16_low(old);
        r[2 * j + 1] = num_bf16_high(old);
        column[j] = comb[4 * j];
        GPU_UNROLL for (int k2 = 1; k2 < MHC_STREAMS; k2++) if (stream == k2) column[j] =
            comb[4 * j + k2];
    }
    GPU_UNROLL for (int k2 = 1; k2 < MHC_STREAMS; k2++) if (stream == k2) weight = post[k2];
    mhc_post_values<2>(o, x, r, weight, column);
    const uint32_t made = num_bf16x2(o[0], o[1]);
    *(uint32_t *)(a.out.data + row * a.out.row + stream * a.out.stream + at) = made;
    pair.x = SOURCE == MHC_POSTED ? num_bf16_low(made) : o[0];
    pair.y = SOURCE == MHC_POSTED ? num_bf16_high(made) : o[1];
    return pair;
}

/* Streams of whole steps of 64, one after the other, many loads ahead. */
GPU_DEVICE void mhc_squares_streams(float &first, float &second, const struct mhc_dots &a,
                                    int64_t row, int begin, int end) {
    while (begin < end) {
        const int j = mhc_stream_of(a, begin), stop = (j + 1) * a.hidden;
        const int steps = ((stop < end ? stop : end) - begin) / DOTS_PARTIALS;
        const uint32_t *at =
            (const uint32_t *)(a.rows.data + row * a.rows.row + j * a.rows.stream) +
            (begin - j * a.hidden) / 2 + gpu_lane();
        begin += steps * DOTS_PARTIALS;
        DOTS_DEEP_UNROLL for (int i = 0; i < steps; i++) {
            const uint32_t codes = at[i * TEAM];
            const float x = num_bf16_low(codes), y = num_bf16_high(codes);
            first = gpu_fma(x, x, first);
            second = gpu_fma(y, y, second);
        }
    }
}

template <int SOURCE> GPU_DEVICE void mhc_squares(const struct mhc_dots &a, int64_t row, int part) {
    const int begin = part * a.part, end = begin + a.part;
    float first = 0.0f, second = 0.0f, post[4], comb[16];
    if (SOURCE >= MHC_POSTED) {
        GPU_UNROLL for (int k = 0; k < MHC_STREAMS; k++) {
            float column[MHC_STREAMS];
            mhc_weights_of(&post[k], column, a, row, k);
            GPU_UNROLL for (int j = 0; j < MHC_STREAMS; j++) comb[4 * j + k] = column[j];
        }
    }
    if (SOURCE == MHC_ROWS && a.hidden % DOTS_PARTIALS == 0 && a.part % DOTS_PARTIALS == 0) {
        mhc_squares_streams(first, second, a, row, begin, end);
    } else {
        DOTS_UNROLL for (int k = begin + 2 * gpu_lane(); k < end; k += DOTS_PARTIALS) {
            const gpu_f2 x = mhc_pair<SOURCE>(a, row, k, post, comb);
            first = gpu_fma(x.x, x.x, first);
            second = gpu_fma(x.y, x.y, second);
        }
    }
    first += team_xor_float(first, 16);
    second += team_xor_float(second, 16);
    first += team_xor_float(first, 8);
    second += team_xor_float(second, 8);
    first += team_xor_float(first, 4);
    second += team_xor_float(second, 4);
    first += team_xor_float(first, 2);
    second += team_xor_float(second, 2);
    first += team_xor_float(first, 1);
    second += team_xor_float(second, 1);
    float sum = first + second;
    if (gpu_lane() != 0) return;
    if (a.eps >= 0.0f) sum = elementary_rsqrt(gpu_divide_float(sum, (float)a.width) + a.eps);
    *(float *)(a.squares + part * a.squares_split + row * a.squares_row) = sum;
}

/* ---- dots ---- */

template <int TOKENS, int OUTPUTS, int TN, int ON, int THREADS> struct mhc_shape {
    enum {
        SUBS = TOKENS / TN,
        OUTS = OUTPUTS / ON,
        SLOTS = THREADS / (SUBS * OUTS),
        ROW = TN == 4 ? TOKENS : TOKENS + 1, /* of x, in floats */
        X_SLOT = DOTS_STEP * ROW + (TN == 4 ? 8 : 0),
        F_SLOT = DOTS_STEP * OUTPUTS + (ON % 4 == 0 ? 0 : OUTPUTS),
        X_UNITS = SLOTS * TOKENS * (DOTS_STEP / MHC_UNIT) / THREADS,
        F_ALL = SLOTS * OUTPUTS * (DOTS_STEP / 4),
        F_UNITS = (F_ALL + THREADS - 1) / THREADS,
        ROUNDS = ON > 12 ? 2 : 1, /* in which sums change hands */
        OWN = OUTPUTS / ROUNDS * TOKENS,
        OWNED = (OWN + THREADS - 1) / THREADS,
        FLOATS = SLOTS * (X_SLOT + F_SLOT) > SLOTS *OWN ? SLOTS *(X_SLOT + F_SLOT) : SLOTS *OWN
    };
};

/* What a thread holds between the loads of a step and their way into shared memory. */
template <int SOURCE, class SHAPE> struct mhc_step {
    struct mhc_eight<SOURCE> x[SHAPE::X_UNITS];
    gpu_f4 fn[SHAPE::F_UNITS];
};

/* Where this block works. */
struct mhc_place {
    int64_t row;            /* first row */
    int output, begin, end; /* first output; of k */
};

template <int SOURCE, class SHAPE, int TOKENS, int OUTPUTS, int THREADS>
GPU_DEVICE void mhc_step_load(struct mhc_step<SOURCE, SHAPE> &step, const struct mhc_dots &a,
                              const struct mhc_place &place, int first) {
    GPU_UNROLL for (int i = 0; i < SHAPE::X_UNITS; i++) {
        const int u = (int)gpu_thread() + i * THREADS, token = u / 2 % TOKENS;
        const int k = first + u / 2 / TOKENS * DOTS_BLOCK + u % 2 * MHC_UNIT;
        const int64_t row = place.row + token;
        if (row < a.tokens && k < place.end)
            mhc_eight_load(step.x[i], a, row, k);
        else
            mhc_eight_zero(step.x[i]);
    }
    GPU_UNROLL for (int i = 0; i < SHAPE::F_UNITS; i++) {
        const int u = (int)gpu_thread() + i * THREADS, o = u / 4 % OUTPUTS;
        if (SHAPE::F_ALL % THREADS != 0 && u >= SHAPE::F_ALL) continue;
        const int k = first + u / 4 / OUTPUTS * DOTS_BLOCK + u % 4 * 4;
        if (k < place.end)
            step.fn[i] = *(const gpu_f4 *)(a.fn + (place.output + o) * a.fn_row + 4 * (int64_t)k);
    }
}

template <int SOURCE, class SHAPE, int TOKENS, int OUTPUTS, int THREADS>
GPU_DEVICE void mhc_step_store(float *shared, const struct mhc_step<SOURCE, SHAPE> &step,
                               int fn_kind) {
    float *const fn = shared + SHAPE::SLOTS * SHAPE::X_SLOT;
    GPU_UNROLL for (int i = 0; i < SHAPE::X_UNITS; i++) {
        const int u = (int)gpu_thread() + i * THREADS, token = u / 2 % TOKENS;
        float x[MHC_UNIT];
        float *const to = shared + u / 2 / TOKENS * SHAPE::X_SLOT + u % 2 * MHC_UNIT * SHAPE::ROW;
        mhc_eight_values(x, step.x[i]);
        GPU_UNROLL for (int n = 0; n < MHC_UNIT; n++) to[n * SHAPE::ROW + token] = x[n];
    }
    GPU_UNROLL for (int i = 0; i < SHAPE::F_UNITS; i++) {
        const int u = (int)gpu_thread() + i * THREADS;
        if (SHAPE::F_ALL % THREADS != 0 && u >= SHAPE::F_ALL) continue;
        float *const to =
            fn + u / 4 / OUTPUTS * SHAPE::F_SLOT + u % 4 * 4 * OUTPUTS + u / 4 % OUTPUTS;
        to[0] = mhc_fn_value(step.fn[i].x, fn_kind);
        to[OUTPUTS] = mhc_fn_value(step.fn[i].y, fn_kind);
        to[2 * OUTPUTS] = mhc_fn_value(step.fn[i].z, fn_kind);
        to[3 * OUTPUTS] = mhc_fn_value(step.fn[i].w, fn_kind);
    }
}

template <int N> GPU_DEVICE void mhc_read(float *to, const float *from) {
    if (N % 4 == 0) {
        GPU_UNROLL for (int i = 0; i < N; i += 4) mhc_load4(to + i, (const char *)(from + i));
    } else {
        GPU_UNROLL for (int i = 0; i < N; i++) to[i] = from[i];
    }
}

/* One k of this thread's tile. */
template <class SHAPE, int TN, int ON>
GPU_DEVICE void mhc_tile_add(float (*acc)[ON], const float *x_at, const float *fn_at) {
    float x[TN], fn[ON];
    if (TN == 4)
        mhc_read<TN>(x, x_at);
    else
        GPU_UNROLL for (int t = 0; t < TN; t++) x[t] = x_at[t * SHAPE::SUBS];
    mhc_read<ON>(fn, fn_at);
    GPU_UNROLL for (int t = 0; t < TN; t++) GPU_UNROLL for (int o = 0; o < ON; o++) acc[t][o] =
        gpu_fma(x[t], fn[o], acc[t][o]);
}

/* Sums of up to SLOTS blocks from `first` on into acc. */
template <int SOURCE, int TOKENS, int OUTPUTS, int TN, int ON, int THREADS>
GPU_DEVICE void mhc_blocks(float (*acc)[ON], float *shared, const struct mhc_dots &a,
                           const struct mhc_place &place, int first) {
    typedef struct mhc_shape<TOKENS, OUTPUTS, TN, ON, THREADS> SHAPE;
    const int thread = (int)gpu_thread(), slot = thread / (SHAPE::SUBS * SHAPE::OUTS);
    const int sub = thread % SHAPE::SUBS, out = thread / SHAPE::SUBS % SHAPE::OUTS;
    const float *const x = shared + slot * SHAPE::X_SLOT + sub * (TN == 4 ? TN : 1);
    const float *const fn = shared + SHAPE::SLOTS * SHAPE::X_SLOT + slot * SHAPE::F_SLOT + out * ON;
    struct mhc_step<SOURCE, SHAPE> step;
    mhc_step_load<SOURCE, SHAPE, TOKENS, OUTPUTS, THREADS>(step, a, place, first);
    GPU_UNROLL for (int t = 0; t < TN; t++) GPU_UNROLL for (int o = 0; o < ON; o++) acc[t][o] =
        0.0f;
    GPU_NO_UNROLL for (int at = 0; at < DOTS_BLOCK; at += DOTS_STEP) {
        gpu_barrier();
        mhc_step_store<SOURCE, SHAPE, TOKENS, OUTPUTS, THREADS>(shared, step, a.fn_kind);
        gpu_barrier();
        if (at + DOTS_STEP < DOTS_BLOCK)
            mhc_step_load<SOURCE, SHAPE, TOKENS, OUTPUTS, THREADS>(step, a, place,
                                                                   first + at + DOTS_STEP);
        const int left = place.end - (first + slot * DOTS_BLOCK + at);
        if (left >= DOTS_STEP) {
            DOTS_STEP_UNROLL for (int k = 0; k < DOTS_STEP; k++)
                mhc_tile_add<SHAPE, TN, ON>(acc, x + k * SHAPE::ROW, fn + k * OUTPUTS);
        } else {
            GPU_NO_UNROLL for (int k = 0; k < left; k++)
                mhc_tile_add<SHAPE, TN, ON>(acc, x + k * SHAPE::ROW, fn + k * OUTPUTS);
        }
    }
}

/* Adds the slots' sums in order to the totals, which threads own by turns. */
template <int TOKENS, int OUTPUTS, int TN, int ON, int THREADS, class SHAPE>
GPU_DEVICE void mhc_add_blocks(float (*total)[SHAPE::OWNED], float (*acc)[ON], float *shared,
                               int n_blocks, bool begins) {
    const int thread = (int)gpu_thread(), slot = thread / (SHAPE::SUBS * SHAPE::OUTS);
    const int sub = thread % SHAPE::SUBS, out = thread / SHAPE::SUBS % SHAPE::OUTS;
    enum { PART = ON / SHAPE::ROUNDS };
    GPU_UNROLL for (int round = 0; round < SHAPE::ROUNDS; round++) {
        gpu_barrier();
        GPU_UNROLL for (int t = 0; t < TN; t++) GPU_UNROLL for (int o = 0; o < PART; o++) {
            const int token = TN == 4 ? sub * TN + t : sub + t * SHAPE::SUBS;
            shared[slot * SHAPE::OWN + (out * PART + o) * TOKENS + token] =
                acc[t][round * PART + o];
        }
        gpu_barrier();
        GPU_UNROLL for (int i = 0; i < SHAPE::OWNED; i++) {
            const int which = thread + i * THREADS;
            if (which >= SHAPE::OWN) continue;
            float sum = begins ? shared[which] : total[round][i] + shared[which];
            for (int s = 1; s < SHAPE::SLOTS && s < n_blocks; s++)
                sum += shared[s * SHAPE::OWN + which];
            total[round][i] = sum;
        }
    }
}

template <int SOURCE, int TOKENS, int OUTPUTS, int TN, int ON, int THREADS>
__global__ void __launch_bounds__(THREADS) mhc_dots_kernel(const struct mhc_dots a) {
    typedef struct mhc_shape<TOKENS, OUTPUTS, TN, ON, THREADS> SHAPE;
    __shared__ __attribute__((aligned(16))) float shared[SHAPE::FLOATS];
    const int blocks = a.groups + a.with_squares, per_tile = blocks * a.splits;
    const int tile = (int)gpu_block() / per_tile, rest = (int)gpu_block() % per_tile;
    const int part = rest / blocks, group = rest % blocks;
    struct mhc_place place = {(int64_t)tile * TOKENS, group * OUTPUTS, part * a.part,
                              (part + 1) * a.part};
    float acc[TN][ON], total[SHAPE::ROUNDS][SHAPE::OWNED] = {{0.0f}};
    if (group == a.groups) {
        for (int t = gpu_team(); t < TOKENS && place.row + t < a.tokens; t += THREADS / TEAM)
            mhc_squares<SOURCE>(a, place.row + t, part);
        return;
    }
    for (int first = place.begin; first < place.end; first += SHAPE::SLOTS * DOTS_BLOCK) {
        const int n_blocks = (place.end - first + DOTS_BLOCK - 1) / DOTS_BLOCK;
        mhc_blocks<SOURCE, TOKENS, OUTPUTS, TN, ON, THREADS>(acc, shared, a, place, first);
        mhc_add_blocks<TOKENS, OUTPUTS, TN, ON, THREADS, SHAPE>(total, acc, shared, n_blocks,
                                                                first == place.begin);
    }
    GPU_UNROLL for (int round = 0; round < SHAPE::ROUNDS; round++)
        GPU_UNROLL for (int i = 0; i < SHAPE::OWNED; i++) {
        const int which = (int)gpu_thread() + i * THREADS;
        const int64_t row = place.row + which % TOKENS;
        if (which >= SHAPE::OWN || row >= a.tokens) continue;
        /* Rounds have parts of each thread's outputs. */
        const int n = which / TOKENS, per = ON / SHAPE::ROUNDS;
        const int o = place.output + n / per * ON + round * per + n % per;
        *(float *)(a.mixes + part * a.mixes_split + row * a.mixes_row + 4 * o) = total[round][i];
    }
}

#if !GPU_HIP
#include "mhc_few.inl"
#include "mhc_tile.inl"
#include "mhc_skew.inl"
#endif

/* ---- host ---- */

static inline int mhc_fn_kind_of(const dsv4_call *call) {
    return dsv4_is(call, "fn", "tf32_truncate")  ? MHC_FN_TRUNCATE
           : dsv4_is(call, "fn", "tf32_half_up") ? MHC_FN_HALF_UP
           : dsv4_is(call, "fn", "bf16_hi_lo")   ? MHC_FN_HI_LO
                                                 : MHC_FN_WHOLE;
}

/* Whether tiles of 64 rows keep a GPU busy. */
static inline bool mhc_dots_wide(const struct mhc_dots &a) {
    return call_ceil(a.tokens, 64) * a.splits >= GPU_BUSY_BLOCKS / 32;
}

#if !GPU_HIP
/* Rows as they are, or normed, in many; any in few: what has a kernel of its own. False: nothing has been launched. */
template <int SOURCE, int OUTPUTS>
static inline bool mhc_dots_fast(int *status, const struct mhc_dots &a, bool wide,
                                 gpu_stream stream, struct call_why why) {
    if (SOURCE >= MHC_POSTED && wide) return false;
    /* More rows, or unrounded streams, which every group of outputs makes again: the general kernel is faster. */
    const bool few = a.tokens * a.splits <= 2 * (int64_t)GPU_BUSY_BLOCKS &&
                     (SOURCE != MHC_POSTED_UNROUNDED || a.tokens <= FEW_ROWS);
    if (!wide) return few && mhc_few_run<SOURCE, OUTPUTS>(status, a, stream, why);
    enum { FROM = SOURCE == MHC_NORMED ? MHC_NORMED : MHC_ROWS };
    if (a.groups != 0 && mhc_skew_run<FROM, OUTPUTS>(status, a, stream, why)) return true;
    /* Tiles of 256 rows only if there are enough; four outputs are too few to wait for. */
    const bool four =
        OUTPUTS == 4 || call_ceil(a.tokens, 4 * TILE_ROWS) * a.splits < GPU_BUSY_BLOCKS / 4;
    if (gpu_shared_limit() < (four ? (int64_t)mhc_tile_sizes<4, OUTPUTS>::BYTES
                                   : (int64_t)mhc_tile_sizes<1, OUTPUTS>::BYTES))
        return false;
    *status = four ? mhc_tile_run<FROM, 4, OUTPUTS>(a, stream, why)
                   : mhc_tile_run<FROM, 1, OUTPUTS>(a, stream, why);
    return true;
}
#endif

/* The outputs are 24, or 4. From enough rows on, a block has all outputs of 64 rows; else many small blocks finish
 * sooner. */
template <int SOURCE, int OUTPUTS>
static inline int mhc_dots_run(struct mhc_dots a, const dsv4_call *call, struct call_why why) {
    enum { FEW = OUTPUTS == MHC_MIXES ? 12 : 4 }; /* outputs of a small block */
    const gpu_stream stream = (gpu_stream)call->stream;
    const bool wide = mhc_dots_wide(a);
    dim3 grid;
    a.part = a.width / a.splits;
#if !GPU_HIP
    int done = DSV4_OK;
    if (mhc_dots_fast<SOURCE, OUTPUTS>(&done, a, wide, stream, why)) return done;
#endif
    if (a.groups != 0) a.groups = wide ? 1 : OUTPUTS / FEW;
    const int status = call_grid(
        &grid, call_ceil(a.tokens, wide ? 64 : 8) * a.splits * (a.groups + a.with_squares), why);
    if (status != DSV4_OK) return status;
    if (wide)
        GPU_LAUNCH((mhc_dots_kernel<SOURCE, 64, OUTPUTS, 2, OUTPUTS, 256>), grid, 256, stream, a);
    else
        GPU_LAUNCH((mhc_dots_kernel<SOURCE, 8, FEW, 4, FEW / 4, 128>), grid, 128, stream, a);
    return call_launched(why);
}

/* All but the source and where results go: both parts of the work. */
static inline void mhc_dots_of(struct mhc_dots *a, const dsv4_call *call, const dsv4_tensor *fn) {
    memset(a, 0, sizeof *a);
    a->fn = (const char *)fn->data;
    a->fn_row = fn->stride[0];
    a->tokens = dsv4_int(call, "tokens", 0);
    a->width = (int)fn->shape[1];
    a->hidden = (int)dsv4_int(call, "hidden", 0);
    a->fn_kind = mhc_fn_kind_of(call);
    a->groups = a->with_squares = 1;
    a->eps = -1.0f;
}

/* Results of the ops that have no room for them lie in the rows of an output which is written later, the squares of a
 * split after its dots. Needs splits * (outputs + 1) * 4 bytes. */
static inline void mhc_dots_scratch(struct mhc_dots *a, const dsv4_tensor *out, int outputs,
                                    int splits) {
    a->mixes = (char *)out->data;
    a->squares = a->mixes + 4 * outputs;
    a->mixes_split = a->squares_split = 4 * (outputs + 1);
    a->mixes_row = a->squares_row = out->stride[0];
    a->splits = splits;
}

static inline int mhc_supports_scratch(const dsv4_call *call, const char *name, int outputs,
                                       int64_t splits, struct call_why why) {
    if (dsv4_int(call, "hidden", 0) * 2 >= splits * (outputs + 1) * 4) return DSV4_OK;
    return call_unsupported(why, "%s: rows have no room for the sums of %lld splits", name,
                            (long long)splits);
}

#endif
