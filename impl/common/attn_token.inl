/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Sparse attention in the canon's order, on the fp32 units: what decode, split decode and prefill share. A block takes one
 * list of one token (or one split of it) and some heads; attn_form says how its lanes share the work.
 *
 * Positions. The main list, rounded up to blocks of 128, then the extra one; dropped entries and the rest of a block are
 * rows of zeros with weight 0, which the canon's sums do not notice.
 * Scores. Tiles of 512 positions (256 where shared memory is small; the last ones of 256 or 128): a slice of D channels (or
 * D / 2) of all rows goes to shared memory as fp32, channel by channel, and one of q; a lane keeps R heads x 8 positions (4,
 * 2) in registers, one chain per block of 128 channels.
 * Weights. exp in place; then a lane per head and block of 128 positions for the chain of the sum and the rounding.
 * Values. D / 2 rows go to shared memory as fp32; a lane keeps R heads x 8 channels, one chain per block of 128 positions.
 *
 * Where a list's scores fit into shared memory they stay there; of a longer one they are computed twice: for the maximum,
 * and again tile by tile. Loads of the next slice are under way while one is computed. With two buffers it is stored
 * meanwhile as well, a little after each step of the second half: then one barrier a slice is enough, and no team waits for
 * another to store before it has fmas to issue.
 */
#ifndef DSV4_ATTN_TOKEN_INL
#define DSV4_ATTN_TOKEN_INL

#include "call.h"
#include "num.inl"

/* ATTN_TILE: positions whose scores are computed together, and most of a slice. */
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
    const bool codes = PAGED && channel < KV_NOPE;
    const int at = codes ? channel : PAGED ? KV_NOPE + 2 * (channel - KV_NOPE) : 2 * channel;
    const gpu_u2 low = gpu_load_u2(data + at);
    gpu_u4 raw;
    raw.x = low.x;
    raw.y = low.y;
    raw.z = raw.w = 0;
    if (!codes) {
        const gpu_u2 high = gpu_load_u2(data + at + 8);
        raw.z = high.x;
        raw.w = high.y;
    }
    return raw;
}

GPU_DEVICE void attn_decode(float *x, gpu_u4 raw, float scale, int fp8) {
    const uint32_t codes[4] = {raw.x & 0xFFFFu, raw.x >> 16, raw.y & 0xFFFFu, raw.y >> 16};
    GPU_UNROLL for (int i = 0; i < 4; i++) {
        const gpu_f2 pair = num_fp8_x2_decode(codes[i], fp8);
        x[2 * i] = pair.x * scale;
        x[2 * i + 1] = pair.y * scale;
    }
}

template <int P>
GPU_DEVICE void attn_decode_pieces(float (*x)[8], const gpu_u4 *raw, const uint32_t *bytes,
                                   int fp8) {
    GPU_UNROLL for (int p = 0; p < P; p++) {
        attn_decode(x[p], raw[p], num_e8m0_value(bytes[p]), fp8);
    }
}

/* P pieces of 8 channels: the p-th at `channel` + p * STEP, and those lanes that have bf16 there decode in vain. Four
 * significant bits times a power of two need no rounding to bf16. A row that is not there has codes of zero. */
template <bool PAGED, int P, int STEP>
GPU_DEVICE void attn_values(float (*x)[8], const gpu_u4 *raw, const uint32_t *bytes, int channel,
                            int fp8, int scrub) {
    if (PAGED && channel < KV_NOPE) {
        if (fp8 == NUM_OCP)
            attn_decode_pieces<P>(x, raw, bytes, NUM_OCP);
        else
            attn_decode_pieces<P>(x, raw, bytes, NUM_FNUZ240);
    }
    GPU_UNROLL for (int p = 0; p < P; p++) {
        const uint32_t words[4] = {raw[p].x, raw[p].y, raw[p].z, raw[p].w};
        if (PAGED && channel + p * STEP < KV_NOPE) continue;
        GPU_UNROLL for (int i = 0; i < 4; i++) {
            x[p][2 * i] = num_bf16_low(words[i]);
            x[p][2 * i + 1] = num_bf16_high(words[i]);
        }
    }
    if (scrub == 0) return;
    GPU_UNROLL for (int p = 0; p < P; p++) {
        GPU_UNROLL for (int i = 0; i < 8; i++) x[p][i] = x[p][i] != x[p][i] ? 0.0f : x[p][i];
    }
}

/* N floats to memory, N 1, 2 or 4. */
template <int N> GPU_DEVICE void attn_put(void *to, const float *x) {
    if constexpr (N == 4) {
        gpu_f4 v;
        v.x = x[0];
        v.y = x[1];
        v.z = x[2];
        v.w = x[3];
        *(gpu_f4 *)to = v;
    } else if constexpr (N == 2) {
        gpu_f2 v;
        v.x = x[0];
        v.y = x[1];
        *(gpu_f2 *)to = v;
    } else {
        *(float *)to = x[0];
    }
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

/* What a block works on. */
template <typename F> struct attn_work {
    struct attn_lists lists;
    struct attn_query q;
    char *slices;
    float *scores;
    struct attn_shared<F> *shared;
};

/*
 * What a lane loads of a slice of D channels for W * 64 positions. A team loads the COLUMNS * W rows that it computes
 * with: LANES lanes share P neighbouring rows, a piece of 8 channels each; and the block loads four channels of q per
 * lane. Lanes look up the rows that they share.
 *
 * In shared memory a slice lies channel by channel, the P positions of a lane side by side. Positions are swizzled by the
 * piece of 8 channels, so that lanes with different pieces of one row store to different banks.
 */
template <typename F, int D, int W> struct attn_slice {
    enum { OWN = F::COLUMNS * W, LANES = D / 8, P = OWN * LANES / TEAM };
    static_assert(P > 0, "a team loads whole rows at once");
    static_assert(P <= LANES, "a lane has one row to look up");
    int q_channel, fp8;
    const char *q_data;
    const char *data[P];
    gpu_u2 scales, q;
    gpu_u4 raw[P];
    uint32_t bytes[P];
};

template <int D> GPU_DEVICE int attn_swizzle(int channel) {
    return TEAM / (D / 8) * (channel / 8 % (D / 8));
}

/* The first of this lane's rows, and the one it looks up, among the team's. */
template <typename S> GPU_DEVICE int attn_first_row(void) { return gpu_lane() / S::LANES * S::P; }
template <typename S> GPU_DEVICE int attn_lookup_row(void) {
    return attn_first_row<S>() + gpu_lane() % S::LANES % S::P;
}

/* Of a lane's p-th row: which lane has looked it up. */
template <typename S> GPU_DEVICE int attn_looker(int p) {
    return gpu_lane() / S::LANES * S::LANES + p;
}

/* A row that is not there reads q's, which is as long: its scores are masked. The same goes for heads beyond the last. */
template <typename F, int D, int W, bool PAGED>
GPU_DEVICE void attn_slice_start(struct attn_slice<F, D, W> &slice, const struct attn_args &a,
                                 const struct attn_lists &lists, const struct attn_query &q,
                                 int tile, int entry, uint8_t *valid) {
    typedef struct attn_slice<F, D, W> S;
    const int own = gpu_team() * S::OWN, thread = (int)gpu_thread();
    const int head = q.first + thread % F::HEADS;
    struct attn_place place = attn_place_of<PAGED>(a, lists, tile + own, entry);
    valid[own + attn_lookup_row<S>()] = place.data != NULL;
    if (place.data == NULL) place.data = place.scales = q.data;
    if (PAGED) slice.scales = gpu_load_u2(place.scales);
    slice.fp8 = place.fp8;
    GPU_UNROLL for (int p = 0; p < S::P; p++) {
        slice.data[p] = (const char *)(uintptr_t)team_read_i64((int64_t)(uintptr_t)place.data,
                                                               attn_looker<S>(p));
        slice.bytes[p] = 0;
    }
    slice.q_channel = thread / F::HEADS * 4;
    slice.q_data = q.data + (head < q.heads ? head : q.heads - 1) * q.head_stride;
}

template <typename F, int D, int W, bool PAGED>
GPU_DEVICE void attn_slice_load(struct attn_slice<F, D, W> &slice, int channel) {
    typedef struct attn_slice<F, D, W> S;
    const int group = channel / KV_GROUP;
    GPU_UNROLL for (int p = 0; p < S::P; p++) {
        slice.raw[p] = attn_load<PAGED>(slice.data[p], channel + 8 * (gpu_lane() % S::LANES));
        if (PAGED) {
            const uint32_t scales = group < 4 ? slice.scales.x : slice.scales.y;
            const uint32_t byte = scales >> 8 * (group % 4) & 0xFFu;
            slice.bytes[p] = team_read_u32(byte, attn_looker<S>(p));
        }
    }
    if (slice.q_channel < D) slice.q = gpu_load_u2(slice.q_data + 2 * (channel + slice.q_channel));
}

/* Values of the rows of a slice at `channel` are made; q goes to shared memory. */
template <typename F, int D, int W, bool PAGED>
GPU_DEVICE void attn_slice_open(float (*x)[8], const struct attn_slice<F, D, W> &slice, float *rows,
                                int channel, int scrub) {
    attn_values<PAGED, attn_slice<F, D, W>::P, 0>(x, slice.raw, slice.bytes, channel, slice.fp8,
                                                  scrub);
    if (slice.q_channel < D) {
        float *const queries =
            rows + D * 64 * W + slice.q_channel * F::HEADS + (int)gpu_thread() % F::HEADS;
        queries[0] = num_bf16_low(slice.q.x);
        queries[F::HEADS] = num_bf16_high(slice.q.x);
        queries[2 * F::HEADS] = num_bf16_low(slice.q.y);
        queries[3 * F::HEADS] = num_bf16_high(slice.q.y);
    }
}

/* Stores the i-th of the 8 channels of a lane's rows. */
template <typename F, int D, int W>
GPU_DEVICE void attn_slice_store(const float (*x)[8], float *rows, int i) {
    typedef struct attn_slice<F, D, W> S;
    const int first = 8 * (gpu_lane() % S::LANES);
    const int row = gpu_team() * S::OWN + attn_first_row<S>();
    float side[S::P];
    GPU_UNROLL for (int p = 0; p < S::P; p++) { side[p] = x[p][i]; }
    attn_put<S::P>(rows + (first + i) * 64 * W + (row ^ attn_swizzle<D>(first)), side);
}

/* Where the i-th of a lane's W positions lies: lanes have 4 (or 2) side by side, and the next ones after those of all
 * columns, so that a team reads whole lines. */
template <typename F, int W> GPU_DEVICE int attn_position(int i) {
    enum { SIDE = W < 4 ? W : 4 };
    return gpu_team() * F::COLUMNS * W + i / SIDE * SIDE * F::COLUMNS +
           attn_lane_column<F>() * SIDE + i % SIDE;
}

/* What a lane multiplies of channel d. */
template <typename F, int D, int W>
GPU_DEVICE void attn_slice_read(float *x, float *k, const float *rows, int d) {
    enum { R = F::R, SIDE = W < 4 ? W : 4 };
    attn_read<R>(x, rows + D * 64 * W + d * F::HEADS + attn_lane_group<F>() * R);
    GPU_UNROLL for (int i = 0; i < W; i += SIDE) {
        const int position = attn_position<F, W>(i) ^ attn_swizzle<D>(d);
        attn_read<SIDE>(k + i, rows + d * 64 * W + position);
    }
}

/* The chains of R heads and W positions over the channels FIRST .. END - 1 of a slice, each read while the one before is
 * computed. STORES: meanwhile the next slice is stored, a channel at a time, so that no read waits for many stores. */
template <typename F, int D, int W, int FIRST, int END, bool STORES>
GPU_DEVICE void attn_slice_dot(float (*chain)[W], const float *rows, const float (*next)[8],
                               float *other) {
    enum { R = F::R, EACH = (END - FIRST) / 8 > 0 ? (END - FIRST) / 8 : 1 };
    static_assert(!STORES || END - FIRST == 8 * EACH, "8 channels are stored");
    float x[2][R], k[2][W];
    attn_slice_read<F, D, W>(x[0], k[0], rows, FIRST);
    GPU_UNROLL for (int d = FIRST; d < END; d++) {
        const int now = (d - FIRST) % 2;
        if (d + 1 < END) attn_slice_read<F, D, W>(x[1 - now], k[1 - now], rows, d + 1);
        if (STORES && (d - FIRST) % EACH == 0)
            attn_slice_store<F, D, W>(next, other, (d - FIRST) / EACH);
        GPU_UNROLL for (int h = 0; h < R; h++) {
            GPU_UNROLL for (int i = 0; i < W; i++) {
                chain[h][i] = gpu_fma(x[now][h], k[now][i], chain[h][i]);
            }
        }
    }
}

template <typename F, int D, int W>
GPU_DEVICE void attn_slice_store_all(const float (*x)[8], float *rows) {
    GPU_UNROLL for (int i = 0; i < 8; i++) { attn_slice_store<F, D, W>(x, rows, i); }
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
        const int position = attn_position<F, W>(i);
        float made[R];
        GPU_UNROLL for (int h = 0; h < R; h++) {
            made[h] = valid[position] ? total[h][i] * scale : none;
        }
        GPU_UNROLL for (int h = 0; h < R; h += 4) {
            attn_put<4>(s + position * F::HEADS + attn_lane_group<F>() * R + h, made + h);
        }
    }
}

/* The entry of the list that a lane looks up of W * 64 positions. */
template <typename F, int D, int W>
GPU_DEVICE int attn_look(const struct attn_lists &lists, int tile) {
    typedef struct attn_slice<F, D, W> S;
    return attn_entry(lists, tile + gpu_team() * S::OWN + attn_lookup_row<S>());
}

template <typename F, int D> GPU_DEVICE int attn_look_up(const struct attn_lists &lists, int tile) {
    if (lists.positions - tile > ATTN_BLOCK) return attn_look<F, D, 4>(lists, tile);
    return attn_look<F, D, 2>(lists, tile);
}

/* Scores of W * 64 positions from `tile` on; a team computes COLUMNS * W of them. `entry` has this lane's of the tile, and
 * then of the next one. */
template <typename F, int D, int BUFFERS, bool PAGED, int W>
GPU_DEVICE void attn_scores(const struct attn_args &a, const struct attn_work<F> &w, int tile,
                            int &entry, float *s) {
    enum { R = F::R, SLICES = KV_HEAD / D, OWN = F::COLUMNS * W };
    struct attn_slice<F, D, W> slice;
    float chain[R][W], total[R][W], next[attn_slice<F, D, W>::P][8];
    const int own = gpu_team() * OWN, block = own / ATTN_BLOCK * ATTN_BLOCK;
    /* Teams beyond the list have nothing to compute. */
    const bool computes = own - block < attn_filled(w.lists, tile + block);
    attn_slice_start<F, D, W, PAGED>(slice, a, w.lists, w.q, tile, entry, w.shared->valid);
    attn_slice_load<F, D, W, PAGED>(slice, 0);
    entry = attn_look_up<F, D>(w.lists, tile + 64 * W);
    attn_clear<R, W>(chain);
    attn_clear<R, W>(total);
    if (BUFFERS == 2) {
        attn_slice_open<F, D, W, PAGED>(next, slice, (float *)w.slices, 0, a.scrub);
        attn_slice_store_all<F, D, W>(next, (float *)w.slices);
    }
    GPU_NO_UNROLL for (int i = 0; i < SLICES; i++) {
        float *const rows = (float *)(w.slices + i % BUFFERS * ATTN_SLICE_BYTES(D, F));
        float *const other = (float *)(w.slices + (i + 1) % BUFFERS * ATTN_SLICE_BYTES(D, F));
        if (BUFFERS == 1) {
            gpu_barrier();
            attn_slice_open<F, D, W, PAGED>(next, slice, rows, i * D, a.scrub);
            attn_slice_store_all<F, D, W>(next, rows);
        }
        gpu_barrier();
        if (i + 1 < SLICES) attn_slice_load<F, D, W, PAGED>(slice, (i + 1) * D);
        if (computes) attn_slice_dot<F, D, W, 0, D / BUFFERS, false>(chain, rows, NULL, NULL);
        if (BUFFERS == 2) {
            /* After the last slice this stores what nobody reads. */
            attn_slice_open<F, D, W, PAGED>(next, slice, other, (i + 1) * D, a.scrub);
            if (computes)
                attn_slice_dot<F, D, W, D / 2, D, true>(chain, rows, next, other);
            else
                attn_slice_store_all<F, D, W>(next, other);
        }
        if ((i + 1) * D % ATTN_BLOCK == 0) attn_end_block<R, W>(total, chain);
    }
    attn_put_scores<F, W>(s, total, a.scale, w.shared->valid);
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
    static_assert(P > 0, "lanes share rows");
    int row, lane;
    struct attn_place place;
    gpu_u2 scales;
    gpu_u4 raw[P];
};

template <typename F, int D, bool PAGED>
GPU_DEVICE void attn_start(struct attn_loader<F, D> &loader, const struct attn_args &a,
                           const struct attn_lists &lists, int position, int entry) {
    enum { LANES = attn_loader<F, D>::LANES, P = attn_loader<F, D>::P };
    loader.place = attn_place_of<PAGED>(a, lists, position, entry);
    loader.scales.x = loader.scales.y = 0;
    GPU_UNROLL for (int p = 0; p < P; p++) {
        loader.raw[p].x = loader.raw[p].y = loader.raw[p].z = loader.raw[p].w = 0;
    }
    if (loader.place.data == NULL) return;
    if (PAGED) loader.scales = gpu_load_u2(loader.place.scales);
    GPU_UNROLL for (int p = 0; p < P; p++) {
        loader.raw[p] = attn_load<PAGED>(loader.place.data, 8 * (p * LANES + loader.lane));
    }
}

template <typename F, int D, bool PAGED>
GPU_DEVICE void attn_open(float (*x)[8], const struct attn_loader<F, D> &loader, int scrub) {
    enum { P = attn_loader<F, D>::P, STEP = 8 * attn_loader<F, D>::LANES };
    uint32_t bytes[P];
    GPU_UNROLL for (int p = 0; p < P; p++) {
        const int group = (8 * loader.lane + p * STEP) / KV_GROUP;
        const uint32_t word = group < 4 ? loader.scales.x : loader.scales.y;
        bytes[p] = word >> 8 * (group % 4) & 0xFFu;
    }
    attn_values<PAGED, P, STEP>(x, loader.raw, bytes, 8 * loader.lane, loader.place.fp8, scrub);
}

/* Stores four of a lane's channels, the i-th of 2 P. Rows lie in two halves, of the lower and the upper four of each eight
 * channels: no bank conflicts either way. */
template <typename F, int D>
GPU_DEVICE void attn_store_four(const float (*x)[8], const struct attn_loader<F, D> &loader,
                                float *rows, int i) {
    const int eight = i / 2 * attn_loader<F, D>::LANES + loader.lane, high = i % 2;
    attn_put<4>(rows + loader.row * KV_HEAD + high * (KV_HEAD / 2) + 4 * eight,
                x[i / 2] + 4 * high);
}

template <typename F, int D>
GPU_DEVICE void attn_store_fours(const float (*x)[8], const struct attn_loader<F, D> &loader,
                                 float *rows) {
    GPU_UNROLL for (int i = 0; i < 2 * attn_loader<F, D>::P; i++) {
        attn_store_four<F, D>(x, loader, rows, i);
    }
}

/* Where the slice of ROWS positions after the one at `at` begins: slices without an entry are left out. */
template <int ROWS> GPU_DEVICE int attn_next(const struct attn_lists &lists, int at) {
    const int block = at / ATTN_BLOCK * ATTN_BLOCK;
    return at + ROWS - block < attn_filled(lists, block) ? at + ROWS : block + ATTN_BLOCK;
}

/* What a lane multiplies of the i-th position of a slice. */
template <typename F>
GPU_DEVICE void attn_value_read(float *x, float *v, const float *weights, const float *rows,
                                int i) {
    attn_read<F::R>(x, weights + i * F::HEADS);
    attn_read<4>(v, rows + i * KV_HEAD);
    attn_read<4>(v + 4, rows + i * KV_HEAD + KV_HEAD / 2);
}

/* The chains of R heads and 8 channels over the positions FIRST .. END - 1 of a slice. STORES: meanwhile the next one is
 * stored, as by attn_slice_dot. */
template <typename F, int D, int FIRST, int END, bool STORES>
GPU_DEVICE void attn_value_chains(float (*chain)[8], const float *weights, const float *rows,
                                  const float (*next)[8], const struct attn_loader<F, D> &loader,
                                  float *other) {
    enum { R = F::R, FOURS = 2 * attn_loader<F, D>::P };
    float x[2][R], v[2][8];
    attn_value_read<F>(x[0], v[0], weights, rows, FIRST);
    GPU_UNROLL for (int i = FIRST; i < END; i++) {
        const int now = (i - FIRST) % 2;
        if (i + 1 < END) attn_value_read<F>(x[1 - now], v[1 - now], weights, rows, i + 1);
        if (STORES && i - FIRST < FOURS) attn_store_four<F, D>(next, loader, other, i - FIRST);
        GPU_UNROLL for (int h = 0; h < R; h++) {
            GPU_UNROLL for (int c = 0; c < 8; c++) {
                chain[h][c] = gpu_fma(x[now][h], v[now][c], chain[h][c]);
            }
        }
    }
    static_assert(!STORES || FOURS <= END - FIRST, "all are stored");
}

/* total += weights times values of the positions first .. end - 1, which are whole blocks. The entries of a slice are
 * read two slices ahead, its rows one ahead. */
template <typename F, int D, int BUFFERS, bool PAGED>
GPU_DEVICE void attn_sum_values(float (*total)[8], const struct attn_args &a,
                                const struct attn_work<F> &w, int first, int end, const float *s) {
    typedef struct attn_loader<F, D> L;
    enum { R = F::R, ROWS = L::ROWS };
    const int four = 4 * (gpu_team() * F::COLUMNS + attn_lane_column<F>());
    L loader;
    float chain[R][8], opened[L::P][8];
    loader.row = gpu_hidden((int)gpu_thread() / L::LANES);
    loader.lane = (int)gpu_thread() % L::LANES;
    int at = first, next = attn_next<ROWS>(w.lists, at), entry = -1;
    attn_start<F, D, PAGED>(loader, a, w.lists, at + loader.row,
                            attn_entry(w.lists, at + loader.row));
    if (next < end) entry = attn_entry(w.lists, next + loader.row);
    attn_clear<R, 8>(chain);
    if (BUFFERS == 2) {
        attn_open<F, D, PAGED>(opened, loader, a.scrub);
        attn_store_fours<F, D>(opened, loader, (float *)w.slices);
    }
    GPU_NO_UNROLL for (int slice = 0; at < end; slice++) {
        float *const rows = (float *)(w.slices + slice % BUFFERS * ATTN_SLICE_BYTES(D, F));
        float *const other = (float *)(w.slices + (slice + 1) % BUFFERS * ATTN_SLICE_BYTES(D, F));
        const float *const weights = s + (at - first) * F::HEADS + attn_lane_group<F>() * R;
        if (BUFFERS == 1) {
            gpu_barrier();
            attn_open<F, D, PAGED>(opened, loader, a.scrub);
            attn_store_fours<F, D>(opened, loader, rows);
        }
        gpu_barrier();
        at = next;
        if (at < end) {
            attn_start<F, D, PAGED>(loader, a, w.lists, at + loader.row, entry);
            next = attn_next<ROWS>(w.lists, at);
            if (next < end) entry = attn_entry(w.lists, next + loader.row);
        }
        attn_value_chains<F, D, 0, ROWS / BUFFERS, false>(chain, weights, rows + four, NULL, loader,
                                                          NULL);
        if (BUFFERS == 2) {
            attn_open<F, D, PAGED>(opened, loader, a.scrub);
            attn_value_chains<F, D, ROWS / 2, ROWS, true>(chain, weights, rows + four, opened,
                                                          loader, other);
        }
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
        attn_put<4>(acc, made);
        attn_put<4>(acc + 16, made + 4);
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

template <typename F, int D, int BUFFERS, bool PAGED>
GPU_DEVICE void attn_tile(const struct attn_args &a, const struct attn_work<F> &w, int tile,
                          int &entry, float *s) {
    const int left = w.lists.positions - tile;
    if (left > ATTN_BLOCK)
        attn_scores<F, D, BUFFERS, PAGED, 4>(a, w, tile, entry, s);
    else
        attn_scores<F, D, BUFFERS, PAGED, 2>(a, w, tile, entry, s);
}

/* All scores are kept. */
template <typename F, int D, int BUFFERS, bool PAGED>
GPU_DEVICE void attn_attend(float (*total)[8], const struct attn_args &a,
                            const struct attn_work<F> &w) {
    const int positions = w.lists.positions;
    int entry = attn_look_up<F, D>(w.lists, 0);
    GPU_NO_UNROLL for (int tile = 0; tile < positions; tile += ATTN_TILE)
        attn_tile<F, D, BUFFERS, PAGED>(a, w, tile, entry, w.scores + tile * F::HEADS);
    attn_max<F>(*w.shared, w.scores, positions);
    attn_weights<F>(*w.shared, w.scores, positions);
    attn_sum_values<F, D, BUFFERS, PAGED>(total, a, w, 0, positions, w.scores);
}

/* Scores of a tile are kept: all of them are computed twice. */
template <typename F, int D, int BUFFERS, bool PAGED>
GPU_DEVICE void attn_attend_long(float (*total)[8], const struct attn_args &a,
                                 const struct attn_work<F> &w) {
    const int positions = w.lists.positions;
    GPU_NO_UNROLL for (int turn = 0; turn < 2; turn++) {
        int entry = attn_look_up<F, D>(w.lists, 0);
        GPU_NO_UNROLL for (int tile = 0; tile < positions; tile += ATTN_TILE) {
            const int left = positions - tile, n = left < ATTN_TILE ? left : (int)ATTN_TILE;
            attn_tile<F, D, BUFFERS, PAGED>(a, w, tile, entry, w.scores);
            if (turn == 0) {
                attn_max<F>(*w.shared, w.scores, n);
            } else {
                attn_weights<F>(*w.shared, w.scores, n);
                attn_sum_values<F, D, BUFFERS, PAGED>(total, a, w, tile, tile + n, w.scores);
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
    const int64_t kept = positions < ATTN_TILE ? ATTN_TILE : call_min(positions, most);
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

/* Measured on an H100: the parts of a split are fastest by many teams of few heads per lane; whole lists by half as many
 * teams, which read less of shared memory for each fma. */
typedef struct attn_form<4, 4, 256> attn_form_few;
typedef struct attn_form<4, 8, 512> attn_form_part;
typedef struct attn_form<8, 4, 256> attn_form_many;

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
    if constexpr (PART)
        return attn_launch_heads<attn_form_part, attn_form_many, PAGED, PART>(a, parts, positions,
                                                                              stream, why);
    return attn_launch_heads<attn_form_many, attn_form_many, PAGED, PART>(a, parts, positions,
                                                                          stream, why);
}

#endif
