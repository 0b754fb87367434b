/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Sparse attention in the canon's order, on the fp32 units: what decode, split decode and prefill share. A block takes one
 * list of one token (or one split of it) and some heads; attn_form says how its lanes share the work.
 *
 * Positions. The main list, rounded up to blocks of 128, then the extra one; dropped entries and the rest of a block are
 * rows of zeros with weight 0, which the canon's sums do not notice.
 * Scores. Tiles of 256 positions (the last of 128): a slice of D channels of all rows goes to shared memory as fp32,
 * channel by channel, and one of q; a lane keeps R heads x 4 positions (or 2) in registers, one chain per block of 128
 * channels.
 * Weights. exp in place; then a lane per head and block of 128 positions for the chain of the sum and the rounding.
 * Values. D / 2 rows go to shared memory as fp32; a lane keeps R heads x 8 channels, one chain per block of 128 positions.
 *
 * Where a list's scores fit into shared memory they stay there; of a longer one they are computed twice: for the maximum,
 * and again tile by tile. Loads of the next slice are under way while one is computed; with two buffers it may be stored
 * as well.
 */
#ifndef DSV4_ATTN_TOKEN_INL
#define DSV4_ATTN_TOKEN_INL

#include "call.h"
#include "num.inl"

enum { ATTN_BLOCK = 128, ATTN_TILE = 256 };

/* One cache and its lists. */
struct attn_rows {
    const char *data; /* NULL: not there */
    const char *indices, *splits;
    const int32_t *lens, *indptr;
    int64_t row_stride; /* of pages, or of bf16 rows */
    int64_t index_stride, splits_stride, n_rows;
    struct gpu_divisor block;
    int width, fp8, interleaved;
};

struct attn_args {
    struct attn_rows main, extra;
    const char *q;
    const float *sink;
    char *o, *lse, *max_logits;                  /* whole lists; NULL: not wanted */
    char *part_m, *part_l, *part_lse, *part_acc; /* splits; NULL: not wanted */
    int64_t q_token, q_head, o_token, o_head, lse_token, max_token;
    int64_t part_token, part_split, acc_token, acc_split, acc_head;
    struct gpu_divisor head_tiles, splits;
    int heads, scrub, log2_sink, kept; /* kept: positions whose scores have room */
    int empty_untouched;               /* part_acc of an empty split */
    float scale;
};

/* The entries that a block attends. */
struct attn_list {
    const int32_t *entries;
    int n;
};

struct attn_lists {
    struct attn_list main, extra;
    int extra_at, positions; /* where the extra list begins, and the end, in blocks of 128 */
};

/* A row: data NULL for none. */
struct attn_place {
    const char *data, *scales;
    int fp8;
};

/* What a block keeps in shared memory besides scores and slices. */
template <typename F> struct attn_shared {
    float m[F::HEADS], l[F::HEADS], a[F::HEADS], den[F::HEADS];
    float most[F::TEAMS][F::HEADS];
    float sums[F::TEAMS][F::HEADS];
    uint8_t valid[ATTN_TILE];
};

#define ATTN_SLICE_BYTES(D, F) ((D)*ATTN_TILE * 4 + (D)*F::HEADS * 4)
#define ATTN_FIXED_BYTES(F, D, BUFFERS)                                                            \
    ((int64_t)sizeof(struct attn_shared<F>) + (BUFFERS)*ATTN_SLICE_BYTES(D, F))
#define ATTN_SCORE_BYTES(F) (4 * F::HEADS)

/*
 * THREADS_ lanes of which each computes R_ heads: a team has G_ (4 or 8) groups of heads and TEAM / G_ columns. Few heads
 * per lane leave registers for more teams, many need fewer reads of shared memory for each fma.
 */
template <int R_, int G_, int THREADS_> struct attn_form {
    enum {
        R = R_,
        HEADS = R_ * G_,
        COLUMNS = TEAM / G_,
        THREADS = THREADS_,
        TEAMS = THREADS_ / TEAM
    };
};

/* Neighbours differ in their group and lanes two apart in their column: then 16-byte reads of shared memory that many
 * lanes share take half of the turns. */
template <typename F> GPU_DEVICE int attn_lane_group(void) {
    const int high = gpu_lane() >> 3;
    return (gpu_lane() & 1) | (F::COLUMNS == 8 ? high & 2 : (high & 3) << 1);
}
template <typename F> GPU_DEVICE int attn_lane_column(void) {
    return gpu_lane() >> 1 & (F::COLUMNS - 1);
}

/* ---- lists ---- */

GPU_DEVICE struct attn_list attn_list_of(const struct attn_rows &rows, int64_t token,
                                         int64_t split) {
    struct attn_list list = {NULL, 0};
    if (rows.data == NULL) return list;
    if (rows.indptr != NULL) {
        list.entries = (const int32_t *)rows.indices + rows.indptr[token];
        list.n = rows.indptr[token + 1] - rows.indptr[token];
    } else {
        const int n = rows.lens == NULL ? rows.width : rows.lens[token];
        list.entries = (const int32_t *)(rows.indices + token * rows.index_stride);
        list.n = n < rows.width ? n : rows.width;
    }
    if (rows.splits != NULL) {
        const int32_t *const at =
            (const int32_t *)(rows.splits + token * rows.splits_stride) + split;
        const int begin = at[0], end = at[1] < list.n ? at[1] : list.n;
        list.entries += begin;
        list.n = end - begin;
    }
    if (list.n < 0) list.n = 0;
    return list;
}

GPU_DEVICE struct attn_lists attn_lists_of(const struct attn_args &a, int64_t token,
                                           int64_t split) {
    struct attn_lists lists;
    lists.main = attn_list_of(a.main, token, split);
    lists.extra = attn_list_of(a.extra, token, split);
    lists.extra_at = (lists.main.n + ATTN_BLOCK - 1) / ATTN_BLOCK * ATTN_BLOCK;
    lists.positions = lists.extra_at + (lists.extra.n + ATTN_BLOCK - 1) / ATTN_BLOCK * ATTN_BLOCK;
    return lists;
}

/* Blocks below the end hold at least one entry: how many positions of block `at` lists fill. */
GPU_DEVICE int attn_filled(const struct attn_lists &lists, int at) {
    const int left =
        at < lists.extra_at ? lists.main.n - at : lists.extra.n - (at - lists.extra_at);
    return left < ATTN_BLOCK ? left : ATTN_BLOCK;
}

GPU_DEVICE int attn_entry(const struct attn_lists &lists, int position) {
    const int extra = position - lists.extra_at;
    if (position < lists.extra_at)
        return position < lists.main.n ? lists.main.entries[position] : -1;
    return extra < lists.extra.n ? lists.extra.entries[extra] : -1;
}

template <bool PAGED>
GPU_DEVICE struct attn_place attn_find(const struct attn_rows &rows, int entry) {
    struct attn_place place = {NULL, NULL, rows.fp8};
    if (entry < 0 || entry >= rows.n_rows) return place;
    if (!PAGED) {
        place.data = rows.data + entry * rows.row_stride;
        return place;
    }
    const int64_t block = gpu_quotient(entry, rows.block);
    const int64_t at = entry - block * rows.block.value;
    const char *const page = rows.data + block * rows.row_stride;
    place.data = page + kv_data_offset(rows.interleaved, at);
    place.scales = page + kv_scale_offset(rows.interleaved, rows.block.value, at);
    return place;
}

template <bool PAGED>
GPU_DEVICE struct attn_place
attn_place_of(const struct attn_args &a, const struct attn_lists &lists, int position, int entry) {
    return position < lists.extra_at ? attn_find<PAGED>(a.main, entry)
                                     : attn_find<PAGED>(a.extra, entry);
}

/* ---- eight channels ---- */

/* As loaded: 8 codes in x and y, or 8 bf16. */
template <bool PAGED> GPU_DEVICE gpu_u4 attn_load(const char *data, int channel) {
    gpu_u4 raw;
    raw.x = raw.y = raw.z = raw.w = 0;
    if (data == NULL) return raw;
    const bool codes = PAGED && channel < KV_NOPE;
    const int at = codes ? channel : PAGED ? KV_NOPE + 2 * (channel - KV_NOPE) : 2 * channel;
    const gpu_u2 low = *(const gpu_u2 *)(data + at);
    raw.x = low.x;
    raw.y = low.y;
    if (!codes) {
        const gpu_u2 high = *(const gpu_u2 *)(data + at + 8);
        raw.z = high.x;
        raw.w = high.y;
    }
    return raw;
}

template <bool PAGED> GPU_DEVICE gpu_u2 attn_load_scales(struct attn_place place) {
    gpu_u2 scales;
    scales.x = scales.y = 0;
    if (PAGED && place.data != NULL) scales = *(const gpu_u2 *)place.scales;
    return scales;
}

GPU_DEVICE void attn_decode(float *x, gpu_u4 raw, float scale, int fp8) {
    const uint32_t codes[4] = {raw.x & 0xFFFFu, raw.x >> 16, raw.y & 0xFFFFu, raw.y >> 16};
    GPU_UNROLL for (int i = 0; i < 4; i++) {
        const gpu_f2 pair = num_fp8_x2_decode(codes[i], fp8);
        x[2 * i] = pair.x * scale;
        x[2 * i + 1] = pair.y * scale;
    }
}

/* Four significant bits times a power of two need no rounding to bf16. A row that is not there has codes of zero. */
template <bool PAGED>
GPU_DEVICE void attn_values(float *x, gpu_u4 raw, uint32_t byte, int channel, int fp8, int scrub) {
    if (PAGED && channel < KV_NOPE) {
        const float scale = num_e8m0_value(byte);
        if (fp8 == NUM_OCP)
            attn_decode(x, raw, scale, NUM_OCP);
        else
            attn_decode(x, raw, scale, NUM_FNUZ240);
    } else {
        const uint32_t words[4] = {raw.x, raw.y, raw.z, raw.w};
        GPU_UNROLL for (int i = 0; i < 4; i++) {
            x[2 * i] = num_bf16_low(words[i]);
            x[2 * i + 1] = num_bf16_high(words[i]);
        }
    }
    if (scrub) {
        GPU_UNROLL for (int i = 0; i < 8; i++) x[i] = x[i] != x[i] ? 0.0f : x[i];
    }
}

GPU_DEVICE void attn_put4(void *to, const float *x) {
    gpu_f4 v;
    v.x = x[0];
    v.y = x[1];
    v.z = x[2];
    v.w = x[3];
    *(gpu_f4 *)to = v;
}

/* N floats of shared memory, N 2, 4 or 8. */
template <int N> GPU_DEVICE void attn_read(float *x, const float *from) {
    if constexpr (N == 2) {
        const gpu_f2 v = *(const gpu_f2 *)from;
        x[0] = v.x;
        x[1] = v.y;
    } else {
        GPU_UNROLL for (int i = 0; i < N; i += 4) {
            const gpu_f4 v = *(const gpu_f4 *)(from + i);
            x[i] = v.x;
            x[i + 1] = v.y;
            x[i + 2] = v.z;
            x[i + 3] = v.w;
        }
    }
}

/* ---- scores ---- */

struct attn_query {
    const char *data;
    int64_t head_stride;
    int first, heads; /* of this block, and of the token */
};

/* Four channels of one head. */
GPU_DEVICE gpu_u2 attn_load_query(const struct attn_query &q, int head, int channel) {
    gpu_u2 raw;
    raw.x = raw.y = 0;
    if (q.first + head < q.heads)
        raw = *(const gpu_u2 *)(q.data + (q.first + head) * q.head_stride + 2 * channel);
    return raw;
}

/*
 * What a lane loads of a slice of D channels for W * 64 positions. A team loads the COLUMNS * W rows that it computes
 * with, D / 8 lanes to a row, P rows to a lane; and the block loads four channels of q per lane.
 *
 * In shared memory a slice lies channel by channel. Positions are swizzled by the piece of 8 channels, so that lanes with
 * different pieces of one row store to different banks.
 */
template <typename F, int D, int W> struct attn_slice {
    enum { OWN = F::COLUMNS * W, LANES = D / 8, AT_ONCE = TEAM / LANES, P = OWN / AT_ONCE };
    static_assert(P > 0, "a team loads whole rows at once");
    int q_head, q_channel, fp8;
    const char *data[P];
    gpu_u2 scales, q; /* scales: of this lane's own row */
    gpu_u4 raw[P];
    uint32_t bytes[P];
};

template <int D> GPU_DEVICE int attn_swizzle(int channel) {
    return TEAM / (D / 8) * (channel / 8 % (D / 8));
}

/* Lane i has looked up row i of the team. */
template <typename F, int D, int W, bool PAGED>
GPU_DEVICE void attn_slice_start(struct attn_slice<F, D, W> &slice, struct attn_place own) {
    typedef struct attn_slice<F, D, W> S;
    const int thread = (int)gpu_thread();
    GPU_UNROLL for (int p = 0; p < S::P; p++) {
        const int row = p * S::AT_ONCE + gpu_lane() / S::LANES;
        slice.data[p] = (const char *)(uintptr_t)team_read_i64((int64_t)(uintptr_t)own.data, row);
        slice.bytes[p] = 0;
    }
    slice.q_head = thread % F::HEADS;
    slice.q_channel = thread / F::HEADS * 4;
    slice.fp8 = own.fp8;
    slice.scales = attn_load_scales<PAGED>(own);
    slice.q.x = slice.q.y = 0;
}

template <typename F, int D, int W, bool PAGED>
GPU_DEVICE void attn_slice_load(struct attn_slice<F, D, W> &slice, const struct attn_query &q,
                                int channel) {
    typedef struct attn_slice<F, D, W> S;
    const int group = channel / KV_GROUP;
    const uint32_t byte = (group < 4 ? slice.scales.x : slice.scales.y) >> 8 * (group % 4) & 0xFFu;
    GPU_UNROLL for (int p = 0; p < S::P; p++) {
        slice.raw[p] = attn_load<PAGED>(slice.data[p], channel + 8 * (gpu_lane() % S::LANES));
        if (PAGED) slice.bytes[p] = team_read_u32(byte, p * S::AT_ONCE + gpu_lane() / S::LANES);
    }
    if (slice.q_channel < D) slice.q = attn_load_query(q, slice.q_head, channel + slice.q_channel);
}

template <typename F, int D, int W, bool PAGED>
GPU_DEVICE void attn_slice_put(const struct attn_slice<F, D, W> &slice, float *rows, int channel,
                               int scrub) {
    typedef struct attn_slice<F, D, W> S;
    const int first = 8 * (gpu_lane() % S::LANES);
    GPU_UNROLL for (int p = 0; p < S::P; p++) {
        const int row = gpu_team() * S::OWN + p * S::AT_ONCE + gpu_lane() / S::LANES;
        float *const to = rows + first * 64 * W + (row ^ attn_swizzle<D>(first));
        float x[8];
        attn_values<PAGED>(x, slice.raw[p], slice.bytes[p], channel + first, slice.fp8, scrub);
        GPU_UNROLL for (int i = 0; i < 8; i++) { to[i * 64 * W] = x[i]; }
    }
    if (slice.q_channel < D) {
        float *const queries = rows + D * ATTN_TILE + slice.q_channel * F::HEADS + slice.q_head;
        queries[0] = num_bf16_low(slice.q.x);
        queries[F::HEADS] = num_bf16_high(slice.q.x);
        queries[2 * F::HEADS] = num_bf16_low(slice.q.y);
        queries[3 * F::HEADS] = num_bf16_high(slice.q.y);
    }
}

/* The chains of R heads and W positions over a slice. */
template <typename F, int D, int W>
GPU_DEVICE void attn_slice_dot(float (*chain)[W], const float *rows, int head, int column) {
    enum { R = F::R };
    const float *const queries = rows + D * ATTN_TILE + head;
    GPU_UNROLL for (int d = 0; d < D; d++) {
        float x[R], k[W];
        attn_read<R>(x, queries + d * F::HEADS);
        attn_read<W>(k, rows + d * 64 * W + (column ^ attn_swizzle<D>(d)));
        GPU_UNROLL for (int h = 0; h < R; h++) {
            GPU_UNROLL for (int i = 0; i < W; i++) {
                chain[h][i] = gpu_fma(x[h], k[i], chain[h][i]);
            }
        }
    }
}

/* total += chain; chain = 0. */
template <int R, int W> GPU_DEVICE void attn_end_block(float (*total)[W], float (*chain)[W]) {
    GPU_UNROLL for (int h = 0; h < R; h++) {
        GPU_UNROLL for (int i = 0; i < W; i++) {
            total[h][i] += chain[h][i];
            chain[h][i] = 0.0f;
        }
    }
}

template <int R, int W> GPU_DEVICE void attn_clear(float (*x)[W]) {
    GPU_UNROLL for (int h = 0; h < R; h++) {
        GPU_UNROLL for (int i = 0; i < W; i++) { x[h][i] = 0.0f; }
    }
}

template <typename F, int W>
GPU_DEVICE void attn_put_scores(float *s, const float (*total)[W], float scale,
                                const uint8_t *valid) {
    enum { R = F::R };
    const float none = -gpu_float(0x7F800000u);
    GPU_UNROLL for (int i = 0; i < W; i++) {
        float made[R];
        GPU_UNROLL for (int h = 0; h < R; h++) { made[h] = valid[i] ? total[h][i] * scale : none; }
        GPU_UNROLL for (int h = 0; h < R; h += 4) { attn_put4(s + i * F::HEADS + h, made + h); }
    }
}

/* The position that this lane looks up for a tile: 256 positions, or the last 128. */
template <typename F> GPU_DEVICE int attn_tile_row(const struct attn_lists &lists, int tile) {
    const int own = lists.positions - tile > ATTN_BLOCK ? 4 * F::COLUMNS : 2 * F::COLUMNS;
    return tile + gpu_team() * own + gpu_lane() % own;
}

/* Scores of W * 64 positions (W 2 or 4) from `tile` on; a team computes COLUMNS * W of them. `entry` is this lane's of the tile,
 * and then of the next one. */
template <typename F, int D, int BUFFERS, bool PAGED, int W>
GPU_DEVICE void attn_scores(const struct attn_args &a, const struct attn_lists &lists,
                            const struct attn_query &q, int tile, int *entry, float *s,
                            char *slices, uint8_t *valid) {
    enum { R = F::R, SLICES = KV_HEAD / D, OWN = F::COLUMNS * W };
    struct attn_slice<F, D, W> slice;
    float chain[R][W], total[R][W];
    const int head = attn_lane_group<F>() * R, own = gpu_team() * OWN,
              column = own + attn_lane_column<F>() * W;
    /* Teams beyond the list, and heads beyond the last, have nothing to compute. */
    const int block = own / ATTN_BLOCK * ATTN_BLOCK;
    const bool computes =
        own - block < attn_filled(lists, tile + block) && q.first + head < q.heads;
    const struct attn_place place = attn_place_of<PAGED>(a, lists, tile + own, *entry);
    if (gpu_lane() < OWN) valid[own + gpu_lane()] = place.data != NULL;
    attn_slice_start<F, D, W, PAGED>(slice, place);
    attn_slice_load<F, D, W, PAGED>(slice, q, 0);
    *entry = attn_entry(lists, attn_tile_row<F>(lists, tile + ATTN_TILE));
    attn_clear<R, W>(chain);
    attn_clear<R, W>(total);
    GPU_NO_UNROLL for (int i = 0; i < SLICES; i++) {
        float *const rows = (float *)(slices + i % BUFFERS * ATTN_SLICE_BYTES(D, F));
        if (BUFFERS == 1) gpu_barrier();
        attn_slice_put<F, D, W, PAGED>(slice, rows, i * D, a.scrub);
        gpu_barrier();
        if (i + 1 < SLICES) attn_slice_load<F, D, W, PAGED>(slice, q, (i + 1) * D);
        if (!computes) continue;
        attn_slice_dot<F, D, W>(chain, rows, head, column);
        if ((i + 1) * D % ATTN_BLOCK == 0) attn_end_block<R, W>(total, chain);
    }
    attn_put_scores<F, W>(s + column * F::HEADS + head, total, a.scale, valid + column);
    gpu_barrier();
}

/* The maximum of n rows of scores, taken into shared.m. */
template <typename F>
GPU_DEVICE void attn_max(struct attn_shared<F> &shared, const float *s, int n) {
    enum { HEADS = F::HEADS, STEP = F::THREADS / HEADS };
    const int head = (int)gpu_thread() % HEADS;
    float most = shared.m[head];
    for (int i = (int)gpu_thread() / HEADS; i < n; i += STEP)
        most = gpu_max(most, s[i * HEADS + head]);
    if (HEADS == 16) most = gpu_max(most, team_xor_float(most, 16));
    if (gpu_lane() < HEADS) shared.most[gpu_team()][head] = most;
    gpu_barrier();
    if (gpu_thread() < HEADS) {
        for (int team = 0; team < F::TEAMS; team++) most = gpu_max(most, shared.most[team][head]);
        shared.m[head] = most + 0.0f; /* -0 becomes +0 */
    }
    gpu_barrier();
}

/* Sums of n / 128 blocks of weights into shared.l, block after block; the weights are rounded in place. */
template <typename F>
GPU_DEVICE void attn_sum_weights(struct attn_shared<F> &shared, float *s, int n) {
    enum { HEADS = F::HEADS, TEAMS = F::TEAMS, AHEAD = 8 };
    const int head = (int)gpu_thread() % HEADS, mine = (int)gpu_thread() / HEADS;
    for (int first = 0; first < n; first += TEAMS * ATTN_BLOCK) {
        const int block = first + mine * ATTN_BLOCK;
        if (mine < TEAMS && block < n) {
            float *const at = s + block * HEADS + head;
            float sum = 0.0f;
            GPU_NO_UNROLL for (int i = 0; i < ATTN_BLOCK; i += AHEAD) {
                float p[AHEAD];
                GPU_UNROLL for (int j = 0; j < AHEAD; j++) { p[j] = at[(i + j) * HEADS]; }
                GPU_UNROLL for (int j = 0; j < AHEAD; j++) {
                    sum += p[j];
                    at[(i + j) * HEADS] = num_bf16_low(num_bf16x2_of_numbers(p[j], 0.0f));
                }
            }
            shared.sums[mine][head] = sum;
        }
        gpu_barrier();
        if (gpu_thread() < HEADS) {
            float l = shared.l[head];
            for (int i = 0; i < TEAMS && first + i * ATTN_BLOCK < n; i++) l += shared.sums[i][head];
            shared.l[head] = l;
        }
        gpu_barrier();
    }
}

/* Scores of n positions, whole blocks, become weights. */
template <typename F> GPU_DEVICE void attn_weights(struct attn_shared<F> &shared, float *s, int n) {
    enum {
        HEADS = F::HEADS,
        AHEAD = 128 * HEADS / F::THREADS < 8 ? 128 * HEADS / F::THREADS : 8,
        STEP = AHEAD * F::THREADS
    };
    const float none = -gpu_float(0x7F800000u);
    const float most = shared.m[gpu_thread() % HEADS], m = most == none ? 0.0f : most;
    /* 128 positions are whole STEPs. */
    GPU_NO_UNROLL for (int first = 0; first < n * HEADS; first += STEP) {
        float *const at = s + first + gpu_thread();
        float p[AHEAD];
        GPU_UNROLL for (int i = 0; i < AHEAD; i++) {
            p[i] = elementary_exp_below(at[i * F::THREADS] - m);
        }
        GPU_UNROLL for (int i = 0; i < AHEAD; i++) { at[i * F::THREADS] = p[i]; }
    }
    gpu_barrier();
    attn_sum_weights<F>(shared, s, n);
}

/* ---- values ---- */

/* A lane's share of a slice of rows: which row, and which pieces of 8 channels. */
template <typename F, int D> struct attn_loader {
    enum { ROWS = D / 2, LANES = F::THREADS / ROWS, P = 64 / LANES };
    int row, lane;
    struct attn_place place;
    gpu_u2 scales;
    gpu_u4 raw[P];
};

template <typename F, int D, bool PAGED>
GPU_DEVICE void attn_start(struct attn_loader<F, D> &loader, const struct attn_args &a,
                           const struct attn_lists &lists, int position, int entry) {
    loader.place = attn_place_of<PAGED>(a, lists, position, entry);
    loader.scales = attn_load_scales<PAGED>(loader.place);
    GPU_UNROLL for (int p = 0; p < attn_loader<F, D>::P; p++) loader.raw[p] =
        attn_load<PAGED>(loader.place.data, 8 * (p * attn_loader<F, D>::LANES + loader.lane));
}

/* Rows lie in two halves, of the lower and the upper four of each eight channels: no bank conflicts either way. */
template <typename F, int D, bool PAGED>
GPU_DEVICE void attn_finish_load(const struct attn_loader<F, D> &loader, float *rows, int scrub) {
    GPU_UNROLL for (int p = 0; p < attn_loader<F, D>::P; p++) {
        const int eight = p * attn_loader<F, D>::LANES + loader.lane;
        float x[8];
        const int group = 8 * eight / KV_GROUP;
        const uint32_t word = group < 4 ? loader.scales.x : loader.scales.y;
        attn_values<PAGED>(x, loader.raw[p], word >> 8 * (group % 4) & 0xFFu, 8 * eight,
                           loader.place.fp8, scrub);
        attn_put4(rows + loader.row * KV_HEAD + 4 * eight, x);
        attn_put4(rows + loader.row * KV_HEAD + KV_HEAD / 2 + 4 * eight, x + 4);
    }
}

/* Where the slice of ROWS positions after the one at `at` begins: slices without an entry are left out. */
template <int ROWS> GPU_DEVICE int attn_next(const struct attn_lists &lists, int at) {
    const int block = at / ATTN_BLOCK * ATTN_BLOCK;
    return at + ROWS - block < attn_filled(lists, block) ? at + ROWS : block + ATTN_BLOCK;
}

/* The chains of R heads and 8 channels over ROWS positions. */
template <typename F, int ROWS>
GPU_DEVICE void attn_value_chains(float (*chain)[8], const float *weights, const float *rows) {
    enum { R = F::R };
    GPU_UNROLL for (int i = 0; i < ROWS; i++) {
        float w[R], v[8];
        attn_read<R>(w, weights + i * F::HEADS);
        attn_read<4>(v, rows + i * KV_HEAD);
        attn_read<4>(v + 4, rows + i * KV_HEAD + KV_HEAD / 2);
        GPU_UNROLL for (int h = 0; h < R; h++) {
            GPU_UNROLL for (int c = 0; c < 8; c++) {
                chain[h][c] = gpu_fma(w[h], v[c], chain[h][c]);
            }
        }
    }
}

/* total += weights times values of the positions first .. end - 1, which are whole blocks. The entries of a slice are
 * read two slices ahead, its rows one ahead. */
template <typename F, int D, int BUFFERS, bool PAGED>
GPU_DEVICE void attn_sum_values(float (*total)[8], const struct attn_args &a,
                                const struct attn_lists &lists, int first, int end, const float *s,
                                char *slices, bool computes) {
    enum { R = F::R, ROWS = attn_loader<F, D>::ROWS, LANES = attn_loader<F, D>::LANES };
    const int head = attn_lane_group<F>() * R,
              eight = gpu_team() * F::COLUMNS + attn_lane_column<F>();
    struct attn_loader<F, D> loader;
    float chain[R][8];
    loader.row = (int)gpu_thread() / LANES;
    loader.lane = (int)gpu_thread() % LANES;
    int at = first, next = attn_next<ROWS>(lists, at), entry = -1;
    attn_start<F, D, PAGED>(loader, a, lists, at + loader.row, attn_entry(lists, at + loader.row));
    if (next < end) entry = attn_entry(lists, next + loader.row);
    attn_clear<R, 8>(chain);
    GPU_NO_UNROLL for (int slice = 0; at < end; slice++) {
        float *const rows = (float *)(slices + slice % BUFFERS * ATTN_SLICE_BYTES(D, F));
        const int here = at;
        if (BUFFERS == 1) gpu_barrier();
        attn_finish_load<F, D, PAGED>(loader, rows, a.scrub);
        gpu_barrier();
        at = next;
        if (at < end) {
            attn_start<F, D, PAGED>(loader, a, lists, at + loader.row, entry);
            next = attn_next<ROWS>(lists, at);
            if (next < end) entry = attn_entry(lists, next + loader.row);
        }
        if (!computes) continue;
        attn_value_chains<F, ROWS>(chain, s + (here - first) * F::HEADS + head, rows + 4 * eight);
        if (at % ATTN_BLOCK == 0) attn_end_block<R, 8>(total, chain);
    }
    gpu_barrier();
}

/* ---- results ---- */

/* The logarithm of base 2 of the sum with the sink in it. */
GPU_DEVICE float attn_log2_of(float m, float l, float sink) {
    const float infinity = gpu_float(0x7F800000u), most = sink > m ? sink : m;
    if (most == infinity || most == -infinity) return most;
    const float keys = m == -infinity ? 0.0f : l * elementary_exp_below(m - most);
    return (most + elementary_log(keys + elementary_exp_below(sink - most))) * 1.44269504f;
}

/* What every channel of a head is multiplied with and divided by; logarithms. A denominator of 0 stands for a row of 0. */
template <typename F>
GPU_DEVICE void attn_finish_heads(struct attn_shared<F> &shared, const struct attn_args &a,
                                  int64_t token, int first_head) {
    const float infinity = gpu_float(0x7F800000u);
    const int lane = (int)gpu_thread(), head = first_head + lane;
    if (lane < F::HEADS && head < a.heads) {
        const float m = shared.m[lane], l = shared.l[lane];
        const float sink = a.sink == NULL ? -infinity : a.sink[head];
        const float most = sink > m ? sink : m;
        const bool none = m == -infinity || sink == infinity;
        const float factor = none ? 0.0f : elementary_exp_below(m - most);
        const float scaled = l * factor;
        shared.a[lane] = factor;
        shared.den[lane] = none ? 0.0f : scaled + elementary_exp_below(sink - most);
        float lse = m == -infinity ? infinity : m + elementary_log(l);
        if (a.log2_sink) lse = attn_log2_of(m, l, sink);
        if (a.lse != NULL) *(float *)(a.lse + token * a.lse_token + 4 * head) = lse;
        if (a.max_logits != NULL) *(float *)(a.max_logits + token * a.max_token + 4 * head) = m;
    }
    gpu_barrier();
}

template <typename F>
GPU_DEVICE void attn_store(const struct attn_shared<F> &shared, const struct attn_args &a,
                           int64_t token, int first_head, const float (*total)[8]) {
    const int eight = gpu_team() * F::COLUMNS + attn_lane_column<F>();
    GPU_UNROLL for (int h = 0; h < F::R; h++) {
        const int mine = attn_lane_group<F>() * F::R + h, head = first_head + mine;
        if (head >= a.heads) continue;
        const float factor = shared.a[mine], den = shared.den[mine];
        uint32_t made[4];
        GPU_UNROLL for (int i = 0; i < 4; i++) made[i] =
            den == 0.0f ? 0u
                        : num_bf16x2(gpu_divide_float(total[h][2 * i] * factor, den),
                                     gpu_divide_float(total[h][2 * i + 1] * factor, den));
        gpu_u4 v;
        v.x = made[0];
        v.y = made[1];
        v.z = made[2];
        v.w = made[3];
        *(gpu_u4 *)(a.o + token * a.o_token + head * a.o_head + 16 * eight) = v;
    }
}

template <typename F>
GPU_DEVICE void attn_store_part(const struct attn_shared<F> &shared, const struct attn_args &a,
                                int64_t token, int64_t split, int first_head,
                                const float (*total)[8]) {
    const int eight = gpu_team() * F::COLUMNS + attn_lane_column<F>(), own = (int)gpu_thread();
    const float infinity = gpu_float(0x7F800000u);
    GPU_UNROLL for (int h = 0; h < F::R; h++) {
        const int mine = attn_lane_group<F>() * F::R + h, head = first_head + mine;
        const bool none = shared.m[mine] == -infinity;
        if (head >= a.heads || (none && a.empty_untouched != 0)) continue;
        char *const acc =
            a.part_acc + token * a.acc_token + split * a.acc_split + head * a.acc_head + 32 * eight;
        float made[8];
        GPU_UNROLL for (int i = 0; i < 8; i++) made[i] =
            a.part_lse == NULL || none ? total[h][i]
                                       : gpu_divide_float(total[h][i], shared.l[mine]);
        attn_put4(acc, made);
        attn_put4(acc + 16, made + 4);
    }
    if (own < F::HEADS && first_head + own < a.heads) {
        const int64_t at = token * a.part_token + split * a.part_split + 4 * (first_head + own);
        const float m = shared.m[own], l = shared.l[own];
        if (a.part_lse != NULL) {
            *(float *)(a.part_lse + at) = attn_log2_of(m, l, -infinity);
        } else {
            *(float *)(a.part_m + at) = m == -infinity ? gpu_float(0xFF7FFFFFu) : m;
            *(float *)(a.part_l + at) = l;
        }
    }
}

/* ---- the kernel ---- */

/* What a block works on. */
template <typename F> struct attn_work {
    struct attn_lists lists;
    struct attn_query q;
    char *slices;
    float *scores;
    struct attn_shared<F> *shared;
    bool computes;
};

template <typename F, int D, int BUFFERS, bool PAGED>
GPU_DEVICE void attn_tile(const struct attn_args &a, const struct attn_work<F> &w, int tile,
                          int *entry, float *s) {
    if (w.lists.positions - tile > ATTN_BLOCK)
        attn_scores<F, D, BUFFERS, PAGED, 4>(a, w.lists, w.q, tile, entry, s, w.slices,
                                             w.shared->valid);
    else
        attn_scores<F, D, BUFFERS, PAGED, 2>(a, w.lists, w.q, tile, entry, s, w.slices,
                                             w.shared->valid);
}

/* All scores are kept. */
template <typename F, int D, int BUFFERS, bool PAGED>
GPU_DEVICE void attn_attend(float (*total)[8], const struct attn_args &a,
                            const struct attn_work<F> &w) {
    const int positions = w.lists.positions;
    int entry = attn_entry(w.lists, attn_tile_row<F>(w.lists, 0));
    GPU_NO_UNROLL for (int tile = 0; tile < positions; tile += ATTN_TILE)
        attn_tile<F, D, BUFFERS, PAGED>(a, w, tile, &entry, w.scores + tile * F::HEADS);
    attn_max<F>(*w.shared, w.scores, positions);
    attn_weights<F>(*w.shared, w.scores, positions);
    attn_sum_values<F, D, BUFFERS, PAGED>(total, a, w.lists, 0, positions, w.scores, w.slices,
                                          w.computes);
}

/* Scores of a tile are kept: all of them are computed twice. */
template <typename F, int D, int BUFFERS, bool PAGED>
GPU_DEVICE void attn_attend_long(float (*total)[8], const struct attn_args &a,
                                 const struct attn_work<F> &w) {
    const int positions = w.lists.positions;
    GPU_NO_UNROLL for (int turn = 0; turn < 2; turn++) {
        int entry = attn_entry(w.lists, attn_tile_row<F>(w.lists, 0));
        GPU_NO_UNROLL for (int tile = 0; tile < positions; tile += ATTN_TILE) {
            const int left = positions - tile, n = left < ATTN_TILE ? left : ATTN_TILE;
            attn_tile<F, D, BUFFERS, PAGED>(a, w, tile, &entry, w.scores);
            if (turn == 0) {
                attn_max<F>(*w.shared, w.scores, n);
            } else {
                attn_weights<F>(*w.shared, w.scores, n);
                attn_sum_values<F, D, BUFFERS, PAGED>(total, a, w.lists, tile, tile + n, w.scores,
                                                      w.slices, w.computes);
            }
        }
    }
}

/* LONG: lists may be longer than there is room for. Registers are dear: two kernels. */
template <typename F, int D, int BUFFERS, bool PAGED, bool PART, bool LONG>
__global__ void __launch_bounds__(F::THREADS, 1) attn_kernel(const struct attn_args a) {
    GPU_SHARED(memory);
    struct attn_shared<F> &shared =
        *(struct attn_shared<F> *)(memory + BUFFERS * ATTN_SLICE_BYTES(D, F));
    const int64_t part = gpu_quotient(gpu_block(), a.head_tiles);
    const int first_head = (int)(gpu_block() - part * a.head_tiles.value) * F::HEADS;
    const int64_t token = gpu_quotient(part, a.splits), split = part - token * a.splits.value;
    struct attn_work<F> w;
    float total[F::R][8];
    w.lists = attn_lists_of(a, token, split);
    w.q = {a.q + token * a.q_token, a.q_head, first_head, a.heads};
    w.slices = memory;
    w.shared = &shared;
    w.scores = (float *)(memory + ATTN_FIXED_BYTES(F, D, BUFFERS));
    w.computes = first_head + attn_lane_group<F>() * F::R < a.heads;
    attn_clear<F::R, 8>(total);
    if (gpu_thread() < F::HEADS) {
        shared.m[gpu_thread()] = -gpu_float(0x7F800000u);
        shared.l[gpu_thread()] = 0.0f;
    }
    gpu_barrier();
    if (LONG && w.lists.positions > a.kept)
        attn_attend_long<F, D, BUFFERS, PAGED>(total, a, w);
    else if (w.lists.positions > 0)
        attn_attend<F, D, BUFFERS, PAGED>(total, a, w);
    if (PART) {
        attn_store_part<F>(shared, a, token, split, first_head, total);
    } else {
        attn_finish_heads<F>(shared, a, token, first_head);
        attn_store<F>(shared, a, token, first_head, total);
    }
}

/* ---- the host's side ---- */

static inline int attn_supports_rows(const dsv4_call *call, bool extra, bool paged,
                                     struct call_why why) {
    const char *const rows = !paged ? "kv" : extra ? "extra_cache" : "cache";
    const char *const indices = extra ? "extra_indices" : "indices";
    const char *const lens = extra ? "extra_lens" : "lens";
    const char *const indptr = extra ? "extra_indptr" : "indptr";
    if (call_absent(dsv4_find(call, rows))) return DSV4_OK;
    CALL_NEED(call, rows, paged ? DSV4_U8 : DSV4_BF16, 2, why);
    CALL_NEED_ALIGNED(call, rows, 8, why);
    if (!call_absent(dsv4_find(call, indptr))) {
        CALL_NEED(call, indptr, DSV4_I32, 1, why);
        CALL_NEED(call, indices, DSV4_I32, 1, why);
        return DSV4_OK;
    }
    if (!call_absent(dsv4_find(call, lens))) CALL_NEED(call, lens, DSV4_I32, 1, why);
    CALL_NEED(call, indices, DSV4_I32, 2, why);
    CALL_NEED_ALIGNED(call, indices, 4, why);
    return DSV4_OK;
}

static inline int attn_supports(const dsv4_call *call, bool paged, struct call_why why) {
    CALL_NEED(call, "q", DSV4_BF16, 3, why);
    CALL_NEED_ALIGNED(call, "q", 8, why);
    if (dsv4_find(call, "q")->shape[2] != KV_HEAD)
        return call_unsupported(why, "q: heads of %lld channels; these kernels take 512",
                                (long long)dsv4_find(call, "q")->shape[2]);
    const int status = attn_supports_rows(call, false, paged, why);
    if (status != DSV4_OK || !paged) return status;
    return attn_supports_rows(call, true, paged, why);
}

static inline const int32_t *attn_i32(const dsv4_tensor *t) {
    return call_absent(t) ? NULL : (const int32_t *)t->data;
}

static inline int attn_fp8_of(const dsv4_call *call, const char *name) {
    return dsv4_is(call, name, "fnuz224")   ? NUM_FNUZ224
           : dsv4_is(call, name, "fnuz240") ? NUM_FNUZ240
                                            : NUM_OCP;
}

static inline struct attn_rows attn_rows_of(const dsv4_call *call, bool extra, bool paged) {
    const dsv4_tensor *const t = dsv4_find(call, !paged ? "kv" : extra ? "extra_cache" : "cache");
    const dsv4_tensor *const indices = dsv4_find(call, extra ? "extra_indices" : "indices");
    const dsv4_tensor *const splits = dsv4_find(call, extra ? "extra_splits" : "splits");
    struct attn_rows rows;
    memset(&rows, 0, sizeof rows);
    rows.block = call_divisor(1);
    if (call_absent(t)) return rows;
    rows.data = (const char *)t->data;
    rows.row_stride = t->stride[0];
    rows.indices = (const char *)indices->data;
    rows.lens = attn_i32(dsv4_find(call, extra ? "extra_lens" : "lens"));
    rows.indptr = attn_i32(dsv4_find(call, extra ? "extra_indptr" : "indptr"));
    rows.index_stride = indices->stride[0];
    rows.width = rows.indptr == NULL ? (int)indices->shape[1] : 0;
    rows.splits = (const char *)attn_i32(splits);
    rows.splits_stride = rows.splits == NULL ? 0 : splits->stride[0];
    const int64_t size = dsv4_int(call, extra ? "extra_block_size" : "block_size", 64);
    rows.block = call_divisor(paged ? size : 1);
    rows.n_rows = t->shape[0] * rows.block.value;
    rows.fp8 = attn_fp8_of(call, extra ? "extra_fp8" : "fp8");
    rows.interleaved = dsv4_is(call, extra ? "extra_layout" : "layout", "interleaved");
    return rows;
}

/* The longest list that a block can meet, in positions; ragged lists tell no more than the size of their view. */
static inline int64_t attn_longest(const struct attn_rows &rows, const dsv4_tensor *indices) {
    if (rows.data == NULL) return 0;
    const int64_t n = rows.indptr != NULL ? indices->shape[0] : rows.width;
    return call_ceil(n, ATTN_BLOCK) * ATTN_BLOCK;
}

static inline struct attn_args attn_args_of(const dsv4_call *call, bool paged) {
    const dsv4_tensor *const q = dsv4_find(call, "q"), *const sink = dsv4_find(call, "sink");
    struct attn_args a;
    memset(&a, 0, sizeof a);
    a.main = attn_rows_of(call, false, paged);
    if (paged) a.extra = attn_rows_of(call, true, paged);
    a.extra.block = paged ? a.extra.block : call_divisor(1);
    a.q = (const char *)q->data;
    a.q_token = q->stride[0];
    a.q_head = q->stride[1];
    a.sink = call_absent(sink) ? NULL : (const float *)sink->data;
    a.heads = (int)dsv4_int(call, "heads", 1);
    a.scrub = (int)dsv4_int(call, "scrub", 0);
    a.log2_sink = dsv4_is(call, "lse_form", "log2_sink");
    a.scale = dsv4_float(call, "scale", 0.0f);
    a.splits = call_divisor(1);
    return a;
}

static inline void attn_output(char **data, int64_t *token, int64_t *head, const dsv4_tensor *t) {
    if (call_absent(t)) return;
    *data = (char *)t->data;
    *token = t->stride[0];
    if (head != NULL) *head = t->stride[1];
}

/* Launches with room for as many scores as lists may need, or as there is memory for. */
template <typename F, int D, int BUFFERS, bool PAGED, bool PART>
static int attn_launch_as(struct attn_args &a, dim3 grid, int64_t positions, gpu_stream stream,
                          struct call_why why) {
    const int64_t room = gpu_shared_limit() - ATTN_FIXED_BYTES(F, D, BUFFERS);
    const int64_t most = room / ATTN_SCORE_BYTES(F) / ATTN_BLOCK * ATTN_BLOCK;
    const int64_t kept = positions < ATTN_TILE ? (int64_t)ATTN_TILE : call_min(positions, most);
    [[maybe_unused]] const int64_t bytes =
        ATTN_FIXED_BYTES(F, D, BUFFERS) + kept * ATTN_SCORE_BYTES(F);
    a.kept = (int)kept;
    if (positions <= kept)
        GPU_LAUNCH_SHARED((attn_kernel<F, D, BUFFERS, PAGED, PART, false>), grid, F::THREADS, bytes,
                          stream, a);
    else
        GPU_LAUNCH_SHARED((attn_kernel<F, D, BUFFERS, PAGED, PART, true>), grid, F::THREADS, bytes,
                          stream, a);
    return call_launched(why);
}

#define ATTN_LEAST_BYTES(F, D, BUFFERS)                                                            \
    (ATTN_FIXED_BYTES(F, D, BUFFERS) + ATTN_TILE * ATTN_SCORE_BYTES(F))

/* SMALL: the form where shared memory is small; as many heads. */
template <typename F, typename SMALL, bool PAGED, bool PART>
static int attn_launch_heads(struct attn_args &a, int64_t parts, int64_t positions,
                             gpu_stream stream, struct call_why why) {
    dim3 grid;
    a.head_tiles = call_divisor(call_ceil(a.heads, F::HEADS));
    const int status = call_grid(&grid, parts * a.head_tiles.value, why);
    if (status != DSV4_OK) return status;
    /* Where it can never fit, it is not compiled. */
    if constexpr (ATTN_LEAST_BYTES(F, 32, 2) <= GPU_SHARED_BYTES) {
        if (ATTN_LEAST_BYTES(F, 32, 2) <= gpu_shared_limit())
            return attn_launch_as<F, 32, 2, PAGED, PART>(a, grid, positions, stream, why);
    }
    return attn_launch_as<SMALL, 16, 1, PAGED, PART>(a, grid, positions, stream, why);
}

/* Decoding FP8 leaves gaps that more teams fill; measured on an H100, rows of bf16 are faster with fewer. */
typedef struct attn_form<4, 4, 256> attn_form_few;
typedef struct attn_form<4, 8, 512> attn_form_paged;
typedef struct attn_form<8, 4, 256> attn_form_small;

/* `parts`: tokens times splits. */
template <bool PAGED, bool PART>
static int attn_launch(const dsv4_call *call, struct attn_args &a, int64_t parts,
                       struct call_why why) {
    const gpu_stream stream = (gpu_stream)call->stream;
    const int64_t positions = attn_longest(a.main, dsv4_find(call, "indices")) +
                              (PAGED ? attn_longest(a.extra, dsv4_find(call, "extra_indices")) : 0);
    if (parts == 0) return DSV4_OK;
    if (a.heads <= attn_form_few::HEADS)
        return attn_launch_heads<attn_form_few, attn_form_few, PAGED, PART>(a, parts, positions,
                                                                            stream, why);
    if constexpr (PAGED)
        return attn_launch_heads<attn_form_paged, attn_form_small, PAGED, PART>(a, parts, positions,
                                                                                stream, why);
    return attn_launch_heads<attn_form_small, attn_form_small, PAGED, PART>(a, parts, positions,
                                                                            stream, why);
}

#endif
