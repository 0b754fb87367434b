/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Sparse attention in the canon's order, on the fp32 units: what decode, split decode and prefill share. A block of 256
 * lanes takes one list of one token (or one split of it) and 4 * R heads.
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
    char *o, *lse, *max_logits;       /* whole lists; NULL: not wanted */
    char *part_m, *part_l, *part_acc; /* splits */
    int64_t q_token, q_head, o_token, o_head, lse_token, max_token;
    int64_t part_token, part_split, acc_token, acc_split, acc_head;
    struct gpu_divisor head_tiles, splits;
    int heads, scrub, kept; /* kept: positions whose scores have room */
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
template <int R> struct attn_shared {
    float m[4 * R], l[4 * R], a[4 * R], den[4 * R];
    float most[CALL_TEAMS][4 * R];
    float sums[CALL_TEAMS][4 * R];
    uint8_t valid[ATTN_TILE];
};

#define ATTN_Q_BYTES(D, R) ((D)*4 * (R)*4)
#define ATTN_SLICE_BYTES(D, R) ((D)*ATTN_TILE * 4 + ATTN_Q_BYTES(D, R))
#define ATTN_FIXED_BYTES(R, D, BUFFERS)                                                            \
    ((int64_t)sizeof(struct attn_shared<R>) + (BUFFERS)*ATTN_SLICE_BYTES(D, R))
#define ATTN_SCORE_BYTES(R) (4 * (R)*4)

/* A lane computes one of 4 groups of heads and one of 8 columns. Neighbours differ in their group and lanes two apart in
 * their column: then 16-byte reads of shared memory that many lanes share take half of the turns. */
GPU_DEVICE int attn_lane_group(void) { return (gpu_lane() & 1) | (gpu_lane() >> 3 & 2); }
GPU_DEVICE int attn_lane_column(void) { return gpu_lane() >> 1 & 7; }

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
 * What a lane loads of a slice of D channels for W * 64 positions. A team loads the 8 * W rows that it computes with,
 * D / 8 lanes to a row, P rows to a lane; and the block loads four channels of q per lane.
 *
 * In shared memory a slice lies channel by channel. Positions are swizzled by the piece of 8 channels, so that lanes with
 * different pieces of one row store to different banks.
 */
template <int R, int D, int W> struct attn_slice {
    enum { HEADS = 4 * R, LANES = D / 8, AT_ONCE = TEAM / LANES, P = 8 * W / AT_ONCE };
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
template <int R, int D, int W, bool PAGED>
GPU_DEVICE void attn_slice_start(struct attn_slice<R, D, W> &slice, struct attn_place own) {
    typedef struct attn_slice<R, D, W> S;
    const int thread = (int)gpu_thread();
    GPU_UNROLL for (int p = 0; p < S::P; p++) {
        const int row = p * S::AT_ONCE + gpu_lane() / S::LANES;
        slice.data[p] = (const char *)(uintptr_t)team_read_i64((int64_t)(uintptr_t)own.data, row);
        slice.bytes[p] = 0;
    }
    slice.q_head = thread % S::HEADS;
    slice.q_channel = thread / S::HEADS * 4;
    slice.fp8 = own.fp8;
    slice.scales = attn_load_scales<PAGED>(own);
    slice.q.x = slice.q.y = 0;
}

template <int R, int D, int W, bool PAGED>
GPU_DEVICE void attn_slice_load(struct attn_slice<R, D, W> &slice, const struct attn_query &q,
                                int channel) {
    typedef struct attn_slice<R, D, W> S;
    const int group = channel / KV_GROUP;
    const uint32_t byte = (group < 4 ? slice.scales.x : slice.scales.y) >> 8 * (group % 4) & 0xFFu;
    GPU_UNROLL for (int p = 0; p < S::P; p++) {
        slice.raw[p] = attn_load<PAGED>(slice.data[p], channel + 8 * (gpu_lane() % S::LANES));
        if (PAGED) slice.bytes[p] = team_read_u32(byte, p * S::AT_ONCE + gpu_lane() / S::LANES);
    }
    if (slice.q_channel < D) slice.q = attn_load_query(q, slice.q_head, channel + slice.q_channel);
}

template <int R, int D, int W, bool PAGED>
GPU_DEVICE void attn_slice_put(const struct attn_slice<R, D, W> &slice, float *rows, int channel,
                               int scrub) {
    typedef struct attn_slice<R, D, W> S;
    const int first = 8 * (gpu_lane() % S::LANES);
    GPU_UNROLL for (int p = 0; p < S::P; p++) {
        const int row = gpu_team() * 8 * W + p * S::AT_ONCE + gpu_lane() / S::LANES;
        float *const to = rows + first * 64 * W + (row ^ attn_swizzle<D>(first));
        float x[8];
        attn_values<PAGED>(x, slice.raw[p], slice.bytes[p], channel + first, slice.fp8, scrub);
        GPU_UNROLL for (int i = 0; i < 8; i++) { to[i * 64 * W] = x[i]; }
    }
    if (slice.q_channel < D) {
        float *const queries = rows + D * ATTN_TILE + slice.q_channel * S::HEADS + slice.q_head;
        queries[0] = num_bf16_low(slice.q.x);
        queries[S::HEADS] = num_bf16_high(slice.q.x);
        queries[2 * S::HEADS] = num_bf16_low(slice.q.y);
        queries[3 * S::HEADS] = num_bf16_high(slice.q.y);
    }
}

/* The chains of R heads and W positions over a slice. */
template <int R, int D, int W>
GPU_DEVICE void attn_slice_dot(float (*chain)[W], const float *rows, int head, int column) {
    const float *const queries = rows + D * ATTN_TILE + head;
    GPU_UNROLL for (int d = 0; d < D; d++) {
        float x[R], k[W];
        attn_read<R>(x, queries + d * 4 * R);
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

template <int R, int W>
GPU_DEVICE void attn_put_scores(float *s, const float (*total)[W], float scale,
                                const uint8_t *valid) {
    const float none = -gpu_float(0x7F800000u);
    GPU_UNROLL for (int i = 0; i < W; i++) {
        float made[R];
        GPU_UNROLL for (int h = 0; h < R; h++) { made[h] = valid[i] ? total[h][i] * scale : none; }
        GPU_UNROLL for (int h = 0; h < R; h += 4) { attn_put4(s + i * 4 * R + h, made + h); }
    }
}

/* The position that this lane looks up for a tile: 256 positions, or the last 128. */
GPU_DEVICE int attn_tile_row(const struct attn_lists &lists, int tile) {
    const int own = lists.positions - tile > ATTN_BLOCK ? 32 : 16;
    return tile + gpu_team() * own + gpu_lane() % own;
}

/* Scores of W * 64 positions (W 2 or 4) from `tile` on; a team computes 8 * W of them. `entry` is this lane's of the tile,
 * and then of the next one. */
template <int R, int D, int BUFFERS, bool PAGED, int W>
GPU_DEVICE void attn_scores(const struct attn_args &a, const struct attn_lists &lists,
                            const struct attn_query &q, int tile, int *entry, float *s,
                            char *slices, uint8_t *valid) {
    enum { SLICES = KV_HEAD / D };
    struct attn_slice<R, D, W> slice;
    float chain[R][W], total[R][W];
    const int head = attn_lane_group() * R, own = gpu_team() * 8 * W,
              column = own + attn_lane_column() * W;
    /* Teams beyond the list, and heads beyond the last, have nothing to compute. */
    const int block = own / ATTN_BLOCK * ATTN_BLOCK;
    const bool computes =
        own - block < attn_filled(lists, tile + block) && q.first + head < q.heads;
    const struct attn_place place = attn_place_of<PAGED>(a, lists, tile + own, *entry);
    if (gpu_lane() < 8 * W) valid[own + gpu_lane()] = place.data != NULL;
    attn_slice_start<R, D, W, PAGED>(slice, place);
    attn_slice_load<R, D, W, PAGED>(slice, q, 0);
    *entry = attn_entry(lists, attn_tile_row(lists, tile + ATTN_TILE));
    attn_clear<R, W>(chain);
    attn_clear<R, W>(total);
    GPU_NO_UNROLL for (int i = 0; i < SLICES; i++) {
        float *const rows = (float *)(slices + i % BUFFERS * ATTN_SLICE_BYTES(D, R));
        if (BUFFERS == 1) gpu_barrier();
        attn_slice_put<R, D, W, PAGED>(slice, rows, i * D, a.scrub);
        gpu_barrier();
        if (i + 1 < SLICES) attn_slice_load<R, D, W, PAGED>(slice, q, (i + 1) * D);
        if (!computes) continue;
        attn_slice_dot<R, D, W>(chain, rows, head, column);
        if ((i + 1) * D % ATTN_BLOCK == 0) attn_end_block<R, W>(total, chain);
    }
    attn_put_scores<R, W>(s + column * 4 * R + head, total, a.scale, valid + column);
    gpu_barrier();
}

/* The maximum of n rows of scores, taken into shared.m. */
template <int R> GPU_DEVICE void attn_max(struct attn_shared<R> &shared, const float *s, int n) {
    enum { HEADS = 4 * R, STEP = CALL_THREADS / HEADS };
    const int head = (int)gpu_thread() % HEADS;
    float most = shared.m[head];
    for (int i = (int)gpu_thread() / HEADS; i < n; i += STEP)
        most = gpu_max(most, s[i * HEADS + head]);
    if (HEADS == 16) most = gpu_max(most, team_xor_float(most, 16));
    if (gpu_lane() < HEADS) shared.most[gpu_team()][head] = most;
    gpu_barrier();
    if (gpu_thread() < HEADS) {
        for (int team = 0; team < CALL_TEAMS; team++) most = gpu_max(most, shared.most[team][head]);
        shared.m[head] = most + 0.0f; /* -0 becomes +0 */
    }
    gpu_barrier();
}

/* Sums of n / 128 blocks of weights into shared.l, block after block; the weights are rounded in place. */
template <int R> GPU_DEVICE void attn_sum_weights(struct attn_shared<R> &shared, float *s, int n) {
    enum { HEADS = 4 * R, AHEAD = 8 };
    const int head = (int)gpu_thread() % HEADS, mine = (int)gpu_thread() / HEADS;
    for (int first = 0; first < n; first += CALL_TEAMS * ATTN_BLOCK) {
        const int block = first + mine * ATTN_BLOCK;
        if (mine < CALL_TEAMS && block < n) {
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
            for (int i = 0; i < CALL_TEAMS && first + i * ATTN_BLOCK < n; i++)
                l += shared.sums[i][head];
            shared.l[head] = l;
        }
        gpu_barrier();
    }
}

/* Scores of n positions, whole blocks, become weights. */
template <int R> GPU_DEVICE void attn_weights(struct attn_shared<R> &shared, float *s, int n) {
    enum { HEADS = 4 * R, AHEAD = 8, STEP = AHEAD * CALL_THREADS };
    const float none = -gpu_float(0x7F800000u);
    const float most = shared.m[gpu_thread() % HEADS], m = most == none ? 0.0f : most;
    /* 128 positions of 16 heads are STEP scores. */
    GPU_NO_UNROLL for (int first = 0; first < n * HEADS; first += STEP) {
        float *const at = s + first + gpu_thread();
        float p[AHEAD];
        GPU_UNROLL for (int i = 0; i < AHEAD; i++) {
            p[i] = elementary_exp_below(at[i * CALL_THREADS] - m);
        }
        GPU_UNROLL for (int i = 0; i < AHEAD; i++) { at[i * CALL_THREADS] = p[i]; }
    }
    gpu_barrier();
    attn_sum_weights<R>(shared, s, n);
}

/* ---- values ---- */

/* A lane's share of a slice of rows: which row, and which pieces of 8 channels. */
template <int D> struct attn_loader {
    enum { ROWS = D / 2, LANES = CALL_THREADS / ROWS, P = 64 / LANES };
    int row, lane;
    struct attn_place place;
    gpu_u2 scales;
    gpu_u4 raw[P];
};

template <int D, bool PAGED>
GPU_DEVICE void attn_start(struct attn_loader<D> &loader, const struct attn_args &a,
                           const struct attn_lists &lists, int position, int entry) {
    loader.place = attn_place_of<PAGED>(a, lists, position, entry);
    loader.scales = attn_load_scales<PAGED>(loader.place);
    GPU_UNROLL for (int p = 0; p < attn_loader<D>::P; p++) loader.raw[p] =
        attn_load<PAGED>(loader.place.data, 8 * (p * attn_loader<D>::LANES + loader.lane));
}

/* Rows lie in two halves, of the lower and the upper four of each eight channels: no bank conflicts either way. */
template <int D, bool PAGED>
GPU_DEVICE void attn_finish_load(const struct attn_loader<D> &loader, float *rows, int scrub) {
    GPU_UNROLL for (int p = 0; p < attn_loader<D>::P; p++) {
        const int eight = p * attn_loader<D>::LANES + loader.lane;
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
template <int R, int ROWS>
GPU_DEVICE void attn_value_chains(float (*chain)[8], const float *weights, const float *rows) {
    GPU_UNROLL for (int i = 0; i < ROWS; i++) {
        float w[R], v[8];
        attn_read<R>(w, weights + i * 4 * R);
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
template <int R, int D, int BUFFERS, bool PAGED>
GPU_DEVICE void attn_sum_values(float (*total)[8], const struct attn_args &a,
                                const struct attn_lists &lists, int first, int end, const float *s,
                                char *slices, bool computes) {
    enum { ROWS = attn_loader<D>::ROWS, LANES = attn_loader<D>::LANES };
    const int head = attn_lane_group() * R, eight = gpu_team() * 8 + attn_lane_column();
    struct attn_loader<D> loader;
    float chain[R][8];
    loader.row = (int)gpu_thread() / LANES;
    loader.lane = (int)gpu_thread() % LANES;
    int at = first, next = attn_next<ROWS>(lists, at), entry = -1;
    attn_start<D, PAGED>(loader, a, lists, at + loader.row, attn_entry(lists, at + loader.row));
    if (next < end) entry = attn_entry(lists, next + loader.row);
    attn_clear<R, 8>(chain);
    GPU_NO_UNROLL for (int slice = 0; at < end; slice++) {
        float *const rows = (float *)(slices + slice % BUFFERS * ATTN_SLICE_BYTES(D, R));
        const int here = at;
        if (BUFFERS == 1) gpu_barrier();
        attn_finish_load<D, PAGED>(loader, rows, a.scrub);
        gpu_barrier();
        at = next;
        if (at < end) {
            attn_start<D, PAGED>(loader, a, lists, at + loader.row, entry);
            next = attn_next<ROWS>(lists, at);
            if (next < end) entry = attn_entry(lists, next + loader.row);
        }
        if (!computes) continue;
        attn_value_chains<R, ROWS>(chain, s + (here - first) * 4 * R + head, rows + 4 * eight);
        if (at % ATTN_BLOCK == 0) attn_end_block<R, 8>(total, chain);
    }
    gpu_barrier();
}

/* ---- results ---- */

/* What every channel of a head is multiplied with and divided by; logarithms. A denominator of 0 stands for a row of 0. */
template <int R>
GPU_DEVICE void attn_finish_heads(struct attn_shared<R> &shared, const struct attn_args &a,
                                  int64_t token, int first_head) {
    const float infinity = gpu_float(0x7F800000u);
    const int lane = (int)gpu_thread(), head = first_head + lane;
    if (lane < 4 * R && head < a.heads) {
        const float m = shared.m[lane], l = shared.l[lane];
        const float sink = a.sink == NULL ? -infinity : a.sink[head];
        const float most = sink > m ? sink : m;
        const bool none = m == -infinity || sink == infinity;
        const float factor = none ? 0.0f : elementary_exp_below(m - most);
        const float scaled = l * factor;
        shared.a[lane] = factor;
        shared.den[lane] = none ? 0.0f : scaled + elementary_exp_below(sink - most);
        const float lse = m == -infinity ? infinity : m + elementary_log(l);
        if (a.lse != NULL) *(float *)(a.lse + token * a.lse_token + 4 * head) = lse;
        if (a.max_logits != NULL) *(float *)(a.max_logits + token * a.max_token + 4 * head) = m;
    }
    gpu_barrier();
}

template <int R>
GPU_DEVICE void attn_store(const struct attn_shared<R> &shared, const struct attn_args &a,
                           int64_t token, int first_head, const float (*total)[8]) {
    const int eight = gpu_team() * 8 + attn_lane_column();
    GPU_UNROLL for (int h = 0; h < R; h++) {
        const int mine = attn_lane_group() * R + h, head = first_head + mine;
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

template <int R>
GPU_DEVICE void attn_store_part(const struct attn_shared<R> &shared, const struct attn_args &a,
                                int64_t token, int64_t split, int first_head,
                                const float (*total)[8]) {
    const int eight = gpu_team() * 8 + attn_lane_column(), own = (int)gpu_thread();
    GPU_UNROLL for (int h = 0; h < R; h++) {
        const int head = first_head + attn_lane_group() * R + h;
        if (head >= a.heads) continue;
        char *const acc =
            a.part_acc + token * a.acc_token + split * a.acc_split + head * a.acc_head + 32 * eight;
        attn_put4(acc, total[h]);
        attn_put4(acc + 16, total[h] + 4);
    }
    if (own < 4 * R && first_head + own < a.heads) {
        const int64_t at = token * a.part_token + split * a.part_split + 4 * (first_head + own);
        const bool none = shared.m[own] == -gpu_float(0x7F800000u);
        *(float *)(a.part_m + at) = none ? gpu_float(0xFF7FFFFFu) : shared.m[own];
        *(float *)(a.part_l + at) = shared.l[own];
    }
}

/* ---- the kernel ---- */

/* What a block works on. */
template <int R> struct attn_work {
    struct attn_lists lists;
    struct attn_query q;
    char *slices;
    float *scores;
    struct attn_shared<R> *shared;
    bool computes;
};

template <int R, int D, int BUFFERS, bool PAGED>
GPU_DEVICE void attn_tile(const struct attn_args &a, const struct attn_work<R> &w, int tile,
                          int *entry, float *s) {
    if (w.lists.positions - tile > ATTN_BLOCK)
        attn_scores<R, D, BUFFERS, PAGED, 4>(a, w.lists, w.q, tile, entry, s, w.slices,
                                             w.shared->valid);
    else
        attn_scores<R, D, BUFFERS, PAGED, 2>(a, w.lists, w.q, tile, entry, s, w.slices,
                                             w.shared->valid);
}

/* All scores are kept. */
template <int R, int D, int BUFFERS, bool PAGED>
GPU_DEVICE void attn_attend(float (*total)[8], const struct attn_args &a,
                            const struct attn_work<R> &w) {
    const int positions = w.lists.positions;
    int entry = attn_entry(w.lists, attn_tile_row(w.lists, 0));
    GPU_NO_UNROLL for (int tile = 0; tile < positions; tile += ATTN_TILE)
        attn_tile<R, D, BUFFERS, PAGED>(a, w, tile, &entry, w.scores + tile * 4 * R);
    attn_max<R>(*w.shared, w.scores, positions);
    attn_weights<R>(*w.shared, w.scores, positions);
    attn_sum_values<R, D, BUFFERS, PAGED>(total, a, w.lists, 0, positions, w.scores, w.slices,
                                          w.computes);
}

/* Scores of a tile are kept: all of them are computed twice. */
template <int R, int D, int BUFFERS, bool PAGED>
GPU_DEVICE void attn_attend_long(float (*total)[8], const struct attn_args &a,
                                 const struct attn_work<R> &w) {
    const int positions = w.lists.positions;
    GPU_NO_UNROLL for (int turn = 0; turn < 2; turn++) {
        int entry = attn_entry(w.lists, attn_tile_row(w.lists, 0));
        GPU_NO_UNROLL for (int tile = 0; tile < positions; tile += ATTN_TILE) {
            const int left = positions - tile, n = left < ATTN_TILE ? left : ATTN_TILE;
            attn_tile<R, D, BUFFERS, PAGED>(a, w, tile, &entry, w.scores);
            if (turn == 0) {
                attn_max<R>(*w.shared, w.scores, n);
            } else {
                attn_weights<R>(*w.shared, w.scores, n);
                attn_sum_values<R, D, BUFFERS, PAGED>(total, a, w.lists, tile, tile + n, w.scores,
                                                      w.slices, w.computes);
            }
        }
    }
}

/* LONG: lists may be longer than there is room for. Registers are dear: two kernels. */
template <int R, int D, int BUFFERS, bool PAGED, bool PART, bool LONG>
__global__ void __launch_bounds__(CALL_THREADS, 1) attn_kernel(const struct attn_args a) {
    GPU_SHARED(memory);
    struct attn_shared<R> &shared =
        *(struct attn_shared<R> *)(memory + BUFFERS * ATTN_SLICE_BYTES(D, R));
    const int64_t part = gpu_quotient(gpu_block(), a.head_tiles);
    const int first_head = (int)(gpu_block() - part * a.head_tiles.value) * 4 * R;
    const int64_t token = gpu_quotient(part, a.splits), split = part - token * a.splits.value;
    struct attn_work<R> w;
    float total[R][8];
    w.lists = attn_lists_of(a, token, split);
    w.q = {a.q + token * a.q_token, a.q_head, first_head, a.heads};
    w.slices = memory;
    w.shared = &shared;
    w.scores = (float *)(memory + ATTN_FIXED_BYTES(R, D, BUFFERS));
    w.computes = first_head + attn_lane_group() * R < a.heads;
    attn_clear<R, 8>(total);
    if (gpu_thread() < 4 * R) {
        shared.m[gpu_thread()] = -gpu_float(0x7F800000u);
        shared.l[gpu_thread()] = 0.0f;
    }
    gpu_barrier();
    if (LONG && w.lists.positions > a.kept)
        attn_attend_long<R, D, BUFFERS, PAGED>(total, a, w);
    else if (w.lists.positions > 0)
        attn_attend<R, D, BUFFERS, PAGED>(total, a, w);
    if (PART) {
        attn_store_part<R>(shared, a, token, split, first_head, total);
    } else {
        attn_finish_heads<R>(shared, a, token, first_head);
        attn_store<R>(shared, a, token, first_head, total);
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
template <int R, int D, int BUFFERS, bool PAGED, bool PART>
static int attn_launch_as(struct attn_args &a, dim3 grid, int64_t positions, gpu_stream stream,
                          struct call_why why) {
    const int64_t room = gpu_shared_limit() - ATTN_FIXED_BYTES(R, D, BUFFERS);
    const int64_t most = room / ATTN_SCORE_BYTES(R) / ATTN_BLOCK * ATTN_BLOCK;
    const int64_t kept = positions < ATTN_TILE ? (int64_t)ATTN_TILE : call_min(positions, most);
    [[maybe_unused]] const int64_t bytes =
        ATTN_FIXED_BYTES(R, D, BUFFERS) + kept * ATTN_SCORE_BYTES(R);
    a.kept = (int)kept;
    if (positions <= kept)
        GPU_LAUNCH_SHARED((attn_kernel<R, D, BUFFERS, PAGED, PART, false>), grid, CALL_THREADS,
                          bytes, stream, a);
    else
        GPU_LAUNCH_SHARED((attn_kernel<R, D, BUFFERS, PAGED, PART, true>), grid, CALL_THREADS,
                          bytes, stream, a);
    return call_launched(why);
}

#define ATTN_LEAST_BYTES(R, D, BUFFERS)                                                            \
    (ATTN_FIXED_BYTES(R, D, BUFFERS) + ATTN_TILE * ATTN_SCORE_BYTES(R))

template <int R, bool PAGED, bool PART>
static int attn_launch_heads(struct attn_args &a, int64_t parts, int64_t positions,
                             gpu_stream stream, struct call_why why) {
    dim3 grid;
    a.head_tiles = call_divisor(call_ceil(a.heads, 4 * R));
    const int status = call_grid(&grid, parts * a.head_tiles.value, why);
    if (status != DSV4_OK) return status;
    /* Where it can never fit, it is not compiled. */
    if constexpr (ATTN_LEAST_BYTES(R, 32, 2) <= GPU_SHARED_BYTES) {
        if (ATTN_LEAST_BYTES(R, 32, 2) <= gpu_shared_limit())
            return attn_launch_as<R, 32, 2, PAGED, PART>(a, grid, positions, stream, why);
    }
    return attn_launch_as<R, 16, 1, PAGED, PART>(a, grid, positions, stream, why);
}

/* `parts`: tokens times splits. */
template <bool PAGED, bool PART>
static int attn_launch(const dsv4_call *call, struct attn_args &a, int64_t parts,
                       struct call_why why) {
    const gpu_stream stream = (gpu_stream)call->stream;
    const int64_t positions = attn_longest(a.main, dsv4_find(call, "indices")) +
                              (PAGED ? attn_longest(a.extra, dsv4_find(call, "extra_indices")) : 0);
    if (parts == 0) return DSV4_OK;
    if (a.heads <= 16) return attn_launch_heads<4, PAGED, PART>(a, parts, positions, stream, why);
    return attn_launch_heads<8, PAGED, PART>(a, parts, positions, stream, why);
}

#endif
