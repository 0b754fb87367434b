/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Pooling: a softmax per channel over the rows of a window.
 *
 * Ratio 4 (8 rows): a team pools a whole row, 64 channels at a time, all 16 loads of a step in flight. Nothing is
 * shared, so any number of teams run independently.
 * Ratio 128: a block of eight teams pools 64 channels; each team holds the scores of one of the canon's blocks of 16
 * rows in registers, so that every byte is read once. Maxima and block sums meet in shared memory.
 *
 * Most tokens end no window. Blocks take groups of tokens; each team finds the live ones of 32 with one ballot.
 */
#ifndef DSV4_KV_POOL_INL
#define DSV4_KV_POOL_INL

#include "kv_row.inl"

struct kv_pool {
    const char *state, *ape, *table;
    const int32_t *requests;
    const int64_t *positions, *slots;
    int64_t page_stride, row_stride, ape_stride, table_stride, rows;
    struct gpu_divisor block;
    int ratio, head, bf16;
    int group; /* tokens per block */
};

/* Rows t of a chunk of 32 that write: lane l judges row `first + l`. */
GPU_DEVICE uint32_t pool_live(int64_t position, int64_t slot, int ratio) {
    return team_ballot(slot >= 0 && ((position + 1) & (ratio - 1)) == 0);
}

/* Byte offset of the state row of position q >= 0; garbage beyond a table's use is not looked at. */
GPU_DEVICE int64_t pool_row_offset(const struct kv_pool &p, int64_t request, int64_t q) {
    const int64_t entry = gpu_quotient(q, p.block);
    const int64_t page = *(const int32_t *)(p.table + request * p.table_stride + entry * 4);
    return page * p.page_stride + (q - entry * p.block.value) * p.row_stride;
}

/* Scores and kv values of this lane's two channels. */
struct __attribute__((aligned(8))) pool_pair {
    float a, b;
};

template <bool BF16> GPU_DEVICE struct pool_pair pool_load(const char *row, int64_t column) {
    struct pool_pair x;
    if (BF16) {
        const uint32_t codes = *(const uint32_t *)(row + column * 2);
        x.a = num_bf16_low(codes);
        x.b = num_bf16_high(codes);
    } else {
        const gpu_f2 pair = *(const gpu_f2 *)(row + column * 4);
        x.a = pair.x;
        x.b = pair.y;
    }
    return x;
}

/* The score as pooling sees it: bf16 state gets its APE here. */
template <bool BF16>
GPU_DEVICE struct pool_pair pool_load_score(const struct kv_pool &p, const char *row, int64_t width,
                                            int64_t column, int ape_row) {
    struct pool_pair s = pool_load<BF16>(row, width + column);
    if (BF16) {
        const gpu_f2 ape = *(const gpu_f2 *)(p.ape + ape_row * p.ape_stride + column * 4);
        s.a += ape.x;
        s.b += ape.y;
    }
    return s;
}

struct __attribute__((aligned(16))) pool_sums {
    float den_a, den_b, num_a, num_b;
};

GPU_DEVICE struct pool_sums pool_end(struct pool_sums sums, const bool *nan) {
    sums.den_a = nan[0] ? ELEMENTARY_NAN : sums.den_a;
    sums.den_b = nan[1] ? ELEMENTARY_NAN : sums.den_b;
    return sums;
}

GPU_DEVICE struct pool_pair pool_divide(struct pool_sums sums) {
    struct pool_pair values;
    values.a = gpu_divide_float(sums.num_a, sums.den_a);
    values.b = gpu_divide_float(sums.num_b, sums.den_b);
    return values;
}

/* `nan` remembers NaN for the sums' end, cheaper than exp can. */
GPU_DEVICE void pool_add(struct pool_sums *sums, bool *nan, struct pool_pair s,
                         struct pool_pair max, struct pool_pair x) {
    const float below_a = s.a - max.a, below_b = s.b - max.b;
    const float a = elementary_exp_below(below_a), b = elementary_exp_below(below_b);
    nan[0] |= below_a != below_a;
    nan[1] |= below_b != below_b;
    sums->den_a += a;
    sums->den_b += b;
    sums->num_a = gpu_fma(a, x.a, sums->num_a);
    sums->num_b = gpu_fma(b, x.b, sums->num_b);
}

/* The offset of window row lane % 8; a row before the sequence's start gives that of the last row. */
GPU_DEVICE int64_t pool4_offset(const struct kv_pool &p, int64_t request, int64_t position) {
    const int64_t q = position - 7 + gpu_lane() % 8;
    return pool_row_offset(p, request, q < 0 ? position : q);
}

/* Channels 64j + 2 lane, + 1 of the window whose row offsets lie in the lanes. H: channels of a row. */
template <int H, bool BF16>
GPU_DEVICE struct pool_pair pool4_channels(const struct kv_pool &p, int64_t offset,
                                           bool first_window, int j) {
    struct pool_pair s[8], x[8], max;
    GPU_UNROLL for (int k = 0; k < 8; k++) {
        const char *const row = p.state + team_read_i64(offset, k);
        const int64_t column = (k < 4 ? 0 : H) + ROW_STEP * j + 2 * gpu_lane();
        s[k] = pool_load_score<BF16>(p, row, 2 * H, column, k % 4);
        x[k] = pool_load<BF16>(row, column);
    }
    /* Rows that are not there add e = 0 to sums that are still 0. */
    GPU_UNROLL for (int k = 0; k < 4; k++) {
        s[k].a = first_window ? gpu_float(0xFF800000u) : s[k].a;
        s[k].b = first_window ? gpu_float(0xFF800000u) : s[k].b;
        x[k].a = first_window ? 0.0f : x[k].a;
        x[k].b = first_window ? 0.0f : x[k].b;
    }
    max = s[0];
    GPU_UNROLL for (int k = 1; k < 8; k++) {
        max.a = gpu_max(max.a, s[k].a);
        max.b = gpu_max(max.b, s[k].b);
    }
    struct pool_sums sums = {0.0f, 0.0f, 0.0f, 0.0f};
    bool nan[2] = {false, false};
    GPU_UNROLL for (int k = 0; k < 8; k++) pool_add(&sums, nan, s[k], max, x[k]);
    return pool_divide(pool_end(sums, nan));
}

/* ---- ratio 128 ---- */

enum {
    POOL_BLOCK_ROWS = 16,
    POOL_CHUNK = 4, /* rows of kv loaded ahead */
    POOL_SLICE = ROW_STEP,
    POOL_SLICES = KV_HEAD / POOL_SLICE,
    POOL_MAX_GROUP = 128,
};

struct pool_shared {
    struct pool_pair max[CALL_TEAMS][TEAM];
    struct pool_sums sums[CALL_TEAMS][TEAM];
};

/* The team's 16 rows of the window that ends at `position`: lane l has the offset of row l % 16. */
GPU_DEVICE int64_t pool128_offset(const struct kv_pool &p, int64_t request, int64_t position) {
    return pool_row_offset(p, request,
                           position - 127 + gpu_team() * POOL_BLOCK_ROWS + gpu_lane() % 16);
}

/* The team's kv values of rows of one chunk of its 16. */
template <bool BF16>
GPU_DEVICE void pool128_load_chunk(const struct kv_pool &p, int64_t offset, int64_t column,
                                   int chunk, struct pool_pair *x) {
    GPU_UNROLL for (int k = 0; k < POOL_CHUNK; k++) x[k] =
        pool_load<BF16>(p.state + team_read_i64(offset, POOL_CHUNK * chunk + k), column);
}

/* Pools channels 64 slice .. + 63; all of a block of 8 teams calls it, team 0 gets the values. */
template <bool BF16>
GPU_DEVICE struct pool_pair pool128_slice(const struct kv_pool &p, struct pool_shared *shared,
                                          int64_t offset, int slice) {
    const int team = gpu_team(), lane = gpu_lane();
    const int64_t column = POOL_SLICE * slice + 2 * lane;
    struct pool_pair s[POOL_BLOCK_ROWS], x[2][POOL_CHUNK], max;
    GPU_UNROLL for (int k = 0; k < POOL_BLOCK_ROWS; k++) s[k] = pool_load_score<BF16>(
        p, p.state + team_read_i64(offset, k), KV_HEAD, column, team * POOL_BLOCK_ROWS + k);
    pool128_load_chunk<BF16>(p, offset, column, 0, x[0]);
    max = s[0];
    GPU_UNROLL for (int k = 1; k < POOL_BLOCK_ROWS; k++) {
        max.a = gpu_max(max.a, s[k].a);
        max.b = gpu_max(max.b, s[k].b);
    }
    shared->max[team][lane] = max;
    gpu_barrier();
    GPU_UNROLL for (int i = 0; i < CALL_TEAMS; i++) {
        const struct pool_pair other = shared->max[i][lane];
        max.a = gpu_max(max.a, other.a);
        max.b = gpu_max(max.b, other.b);
    }
    struct pool_sums sums = {0.0f, 0.0f, 0.0f, 0.0f};
    bool nan[2] = {false, false};
    GPU_UNROLL for (int c = 0; c < POOL_BLOCK_ROWS / POOL_CHUNK; c++) {
        if (c + 1 < POOL_BLOCK_ROWS / POOL_CHUNK)
            pool128_load_chunk<BF16>(p, offset, column, c + 1, x[(c + 1) % 2]);
        GPU_UNROLL for (int k = 0; k < POOL_CHUNK; k++)
            pool_add(&sums, nan, s[POOL_CHUNK * c + k], max, x[c % 2][k]);
    }
    sums = pool_end(sums, nan);
    shared->sums[team][lane] = sums;
    gpu_barrier();
    /* The next call writes max before its first barrier and the sums after it: no third barrier. */
    if (team != 0) return max;
    GPU_UNROLL for (int i = 1; i < CALL_TEAMS; i++) {
        const struct pool_sums other = shared->sums[i][lane];
        sums.den_a += other.den_a;
        sums.den_b += other.den_b;
        sums.num_a += other.num_a;
        sums.num_b += other.num_b;
    }
    return pool_divide(sums);
}

/* The live tokens of a group of up to 128: masks of four chunks of 32, all loads in flight at once. */
struct pool_group {
    int64_t first;
    uint32_t live[POOL_MAX_GROUP / TEAM];
};

GPU_DEVICE struct pool_group pool128_group(const struct kv_pool &p, int64_t group) {
    struct pool_group g;
    int64_t slots[POOL_MAX_GROUP / TEAM], positions[POOL_MAX_GROUP / TEAM];
    g.first = group * p.group;
    GPU_UNROLL for (int c = 0; c < POOL_MAX_GROUP / TEAM; c++) {
        const int i = TEAM * c + gpu_lane();
        const bool mine = i < p.group && g.first + i < p.rows;
        slots[c] = mine ? p.slots[g.first + i] : -1;
        positions[c] = mine ? p.positions[g.first + i] : 0;
    }
    GPU_UNROLL for (int c = 0; c < POOL_MAX_GROUP / TEAM; c++) g.live[c] =
        pool_live(positions[c], slots[c], 128);
    return g;
}

/* Takes the next live token out of the group; -1 when there is none. */
GPU_DEVICE int64_t pool_take(struct pool_group *g) {
    /* Moves the masks along: indexed by a variable, they would live in memory. */
    for (int c = 1; g->live[0] == 0 && c < POOL_MAX_GROUP / TEAM; c++) {
        g->live[0] = g->live[1];
        g->live[1] = g->live[2];
        g->live[2] = g->live[3];
        g->live[3] = 0;
        g->first += TEAM;
    }
    if (g->live[0] == 0) return -1;
    const int i = gpu_lowest_bit(g->live[0]);
    g->live[0] &= g->live[0] - 1;
    return g->first + i;
}

/* ---- host ---- */

static inline int pool_head_of(const dsv4_call *call) {
    const int form = kv_form_of(call);
    return (int)dsv4_int(
        call, "head", form == KV_INDEXER_FP8 || form == KV_INDEXER_MXFP4 ? INDEXER_HEAD : KV_HEAD);
}

static inline struct kv_pool kv_pool_of(const dsv4_call *call) {
    const dsv4_tensor *const state = dsv4_find(call, "state"), *const ape = dsv4_find(call, "ape");
    const dsv4_tensor *const table = dsv4_find(call, "block_table");
    const dsv4_tensor *const positions = dsv4_find(call, "positions");
    struct kv_pool p;
    p.bf16 = state->dtype == DSV4_BF16;
    p.state = (const char *)state->data;
    p.ape = p.bf16 ? (const char *)ape->data : NULL;
    p.table = (const char *)table->data;
    p.requests = (const int32_t *)dsv4_find(call, "token_to_req")->data;
    p.positions = (const int64_t *)positions->data;
    p.slots = (const int64_t *)dsv4_find(call, "slot_mapping")->data;
    p.page_stride = state->stride[0];
    p.row_stride = state->stride[1];
    p.ape_stride = p.bf16 ? ape->stride[0] : 0;
    p.table_stride = table->stride[0];
    p.rows = call_covered(call, positions->shape[0]);
    p.block = call_divisor(state->shape[1]);
    p.ratio = (int)dsv4_int(call, "ratio", 4);
    p.head = pool_head_of(call);
    p.group = 1;
    return p;
}

static inline int kv_supports_pool(const dsv4_call *call, struct call_why why) {
    const dsv4_tensor *const state = dsv4_find(call, "state");
    const int64_t ratio = dsv4_int(call, "ratio", 4), head = pool_head_of(call);
    const bool bf16 = !call_absent(state) && state->dtype == DSV4_BF16;
    if (!((ratio == 4 && (head == KV_HEAD || head == INDEXER_HEAD)) ||
          (ratio == 128 && head == KV_HEAD)))
        return call_unsupported(why, "ratio %lld with head %lld: DSv4 has no such compressor",
                                (long long)ratio, (long long)head);
    const int64_t width = (ratio == 4 ? 2 : 1) * head;
    CALL_NEED(call, "state", bf16 ? DSV4_BF16 : DSV4_F32, 3, why);
    if (state->shape[2] != 2 * width)
        return call_unsupported(why, "state: rows of %lld; ratio %lld with head %lld has %lld",
                                (long long)state->shape[2], (long long)ratio, (long long)head,
                                (long long)(2 * width));
    CALL_NEED_ALIGNED(call, "state", bf16 ? 4 : 8, why);
    if (bf16) {
        CALL_NEED(call, "ape", DSV4_F32, 2, why);
        CALL_NEED_ALIGNED(call, "ape", 8, why);
    }
    CALL_NEED(call, "token_to_req", DSV4_I32, 1, why);
    CALL_NEED(call, "positions", DSV4_I64, 1, why);
    CALL_NEED(call, "slot_mapping", DSV4_I64, 1, why);
    CALL_NEED(call, "block_table", DSV4_I32, 2, why);
    CALL_NEED_ALIGNED(call, "block_table", 4, why);
    return DSV4_OK;
}

/* The page sizes that upstream's kernels demand; the contract refuses others. */
static inline int kv_pool_refused(const dsv4_call *call, struct call_why why) {
    const dsv4_tensor *const state = dsv4_find(call, "state");
    const bool bf16 = state->dtype == DSV4_BF16, floor = dsv4_is(call, "scale_floor", "scale");
    const int64_t ratio = dsv4_int(call, "ratio", 4), demanded = ratio == 128 ? 8 : 4;
    const bool fixed = bf16 || (floor && ratio == 128);
    if (!fixed || state->shape[1] == demanded) return DSV4_OK;
    if (why.size > 0)
        snprintf(why.text, why.size, "state pages of %lld rows; ratio %lld here has %lld",
                 (long long)state->shape[1], (long long)ratio, (long long)demanded);
    return DSV4_REFUSED;
}

#endif
