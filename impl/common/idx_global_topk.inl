/* SPDX-License-Identifier: Apache-2.0 */
/*
 * idx_global_topk: row numbers to slots. A team maps and counts a row, 512 columns at a time; with few rows a block does,
 * a team 128 columns. The ragged form counts first and then writes rows end to end. Where rows fit into registers, CUDA does
 * both in one pass: blocks pass on in indptr how many entries they have, and then where they end.
 */
#include "idx_ragged.inl"

struct global_topk_args {
    const char *local;
    char *out; /* NULL: only counts */
    const int32_t *token_to_req;
    const uint8_t *is_valid;
    int32_t *lens;
    struct idx_pages pages;
    int64_t local_stride, out_stride, tokens;
    int64_t limit; /* numbers from here on count as -1 */
    int topk;
};

GPU_DEVICE int32_t topk_slot(const struct global_topk_args &a, const int32_t *table, int32_t x) {
    return x < 0 || x >= a.limit ? -1 : idx_slot_low(a.pages, table, (uint32_t)x);
}

/* Maps DEEP times 128 columns of a row; returns how many entries this lane counts. */
template <int DEEP, bool WIDE>
GPU_DEVICE int topk_columns(const struct global_topk_args &a, const int32_t *table,
                            const int32_t *from, int32_t *to, int first) {
    struct idx_four x[DEEP];
    const int column = first + 4 * gpu_lane();
    int n = 0;
    GPU_UNROLL
    for (int d = 0; d < DEEP; d++) x[d] = idx_load<WIDE>(from, column + d * IDX_CHUNK, a.topk);
    GPU_UNROLL
    for (int d = 0; d < DEEP; d++) {
        GPU_UNROLL
        for (int i = 0; i < 4; i++) {
            n += x[d].x[i] >= 0 && x[d].x[i] < a.limit;
            if (to != NULL) x[d].x[i] = topk_slot(a, table, x[d].x[i]);
        }
        if (to != NULL) idx_store<WIDE>(to, column + d * IDX_CHUNK, a.topk, x[d]);
    }
    return n;
}

template <int TEAMS, bool WIDE>
__global__ void __launch_bounds__(CALL_THREADS)
    global_topk_kernel(const struct global_topk_args a) {
    __shared__ int sums[CALL_TEAMS];
    enum { DEEP = TEAMS == 1 ? 4 : 1, COLUMNS = DEEP * IDX_CHUNK };
    const int team = gpu_team();
    const int64_t t = gpu_block() * (CALL_TEAMS / TEAMS) + team / TEAMS;
    int n = 0;
    if (t < a.tokens) {
        const int32_t *const table = idx_pages_row(a.pages, a.token_to_req[t]);
        const int32_t *const from = (const int32_t *)(a.local + t * a.local_stride);
        int32_t *const to = a.out == NULL ? NULL : (int32_t *)(a.out + t * a.out_stride);
        for (int c = team % TEAMS * COLUMNS; c < a.topk; c += TEAMS * COLUMNS)
            n += topk_columns<DEEP, WIDE>(a, table, from, to, c);
    }
    if (TEAMS == 1)
        n = team_sum(n);
    else
        n = idx_block_sum(n, sums);
    if (t < a.tokens && team % TEAMS == 0 && gpu_lane() == 0)
        a.lens[t] = a.is_valid[t] != 0 ? n : 0;
}

struct global_topk_ragged {
    struct idx_ragged ragged;
    struct global_topk_args a;
    bool wide;

    struct row {
        const int32_t *table, *from;
    };

    IDX_METHOD int length(int64_t t) const { return a.lens[t]; }
    IDX_METHOD void note(int64_t, int) const {}
    IDX_METHOD void open(row &row, int64_t t) const {
        row.table = idx_pages_row(a.pages, a.token_to_req[t]);
        row.from = (const int32_t *)(a.local + t * a.local_stride);
    }
    IDX_METHOD const int32_t *from(const row &row) const { return row.from; }
    IDX_METHOD int read(const row &) const { return a.topk; }
    IDX_METHOD int32_t raw(const row &row, int o) const { return row.from[o]; }
    IDX_METHOD int32_t made(const row &row, int, int32_t x) const {
        return topk_slot(a, row.table, x);
    }
    IDX_METHOD bool holds(const row &, int) const { return true; }
};

#if !GPU_HIP
/* ---- the ragged form in one pass ---- */

/*
 * Block g has rows 8g .. 8g + 7. indptr is filled with -1 first. A block leaves -2 - (its entries) in its first row's place as
 * soon as it has counted, and the end of its last row in that one's place, which is what belongs there, as soon as it knows;
 * only then its first row's place gets what belongs there. A block adds up entries of those before it until it meets an end.
 * Blocks start in order, so that those waited for are under way.
 */
GPU_DEVICE int topk_look(const int32_t *place) { return *(const volatile int32_t *)place; }
GPU_DEVICE void topk_tell(int32_t *place, int x) { *(volatile int32_t *)place = x; }

/* Where the rows before block g end; for a team. */
GPU_DEVICE int topk_look_back(const int32_t *indptr, int64_t g) {
    int sum = 0;
    for (int64_t last = g - 1; last >= 0; last -= TEAM) {
        const int64_t other = last - gpu_lane();
        int ends = 0, holds = 0;
        do { /* until all down to the first end have told */
            ends = other < 0 ? 0 : topk_look(indptr + CALL_TEAMS * (other + 1));
            holds = other < 0 ? 0 : topk_look(indptr + CALL_TEAMS * other + 1);
            const int end = gpu_lowest_bit(team_ballot(ends >= 0));
            const int untold = gpu_lowest_bit(team_ballot(ends < 0 && holds > -2));
            if (untold >= 0 && (end < 0 || untold < end)) continue;
            const int lanes = end < 0 ? (int)TEAM : end;
            const int own = gpu_lane() < lanes ? -2 - holds : gpu_lane() == lanes ? ends : 0;
            sum += team_sum(own);
            if (end >= 0) return sum;
            break;
        } while (true);
    }
    return sum;
}

/* The end of this block's rows is told; returns where they begin, in all lanes. */
GPU_DEVICE int topk_begin(int32_t *indptr, int64_t rows, int64_t g, int total, int *shared) {
    if (gpu_team() == 0) {
        if (g > 0 && gpu_lane() == 0) topk_tell(indptr + CALL_TEAMS * g + 1, -2 - total);
        const int begin = topk_look_back(indptr, g);
        if (gpu_lane() == 0) {
            if (CALL_TEAMS * (g + 1) <= rows)
                topk_tell(indptr + CALL_TEAMS * (g + 1), begin + total);
            *shared = begin;
        }
    }
    gpu_barrier();
    return *shared;
}

__global__ void __launch_bounds__(CALL_THREADS)
    topk_untold_kernel(const struct global_topk_ragged op) {
    const int64_t i = gpu_block() * CALL_THREADS + gpu_thread();
    if (i <= op.ragged.rows) op.ragged.indptr[i] = i == 0 ? 0 : -1;
}

template <int DEEP>
__global__ void __launch_bounds__(CALL_THREADS)
    topk_pass_kernel(const struct global_topk_ragged op) {
    __shared__ int sums[CALL_TEAMS], shared;
    const struct global_topk_args &a = op.a;
    const int64_t g = gpu_block(), t = g * CALL_TEAMS + gpu_team();
    struct idx_four x[DEEP];
    struct global_topk_ragged::row row;
    int n = 0, begin = 0, total = 0;
    if (t < a.tokens) {
        op.open(row, t);
        GPU_UNROLL
        for (int d = 0; d < DEEP; d++)
            x[d] = idx_load<true>(row.from, d * IDX_CHUNK + 4 * gpu_lane(), a.topk);
        GPU_UNROLL
        for (int d = 0; d < DEEP; d++) GPU_UNROLL
        for (int i = 0; i < 4; i++) n += x[d].x[i] >= 0 && x[d].x[i] < a.limit;
        n = team_sum(n);
        n = a.is_valid[t] != 0 ? n : 0;
        if (gpu_lane() == 0) a.lens[t] = n;
    }
    if (gpu_lane() == 0) sums[gpu_team()] = n;
    gpu_barrier();
    GPU_UNROLL
    for (int i = 0; i < CALL_TEAMS; i++) {
        begin += i < gpu_team() ? sums[i] : 0;
        total += sums[i];
    }
    begin += topk_begin(op.ragged.indptr, op.ragged.rows, g, total, &shared);
    if (t >= a.tokens) return;
    if (gpu_lane() == 0) op.ragged.indptr[t + 1] = begin + n;
    int32_t *const to = op.ragged.flat + begin;
    const int before = (int)((uintptr_t)to / 4 % 4);
    int32_t end[4] = {0, 0, 0, 0};
    GPU_UNROLL
    for (int d = 0; d < DEEP; d++)
        if (d * IDX_CHUNK < n + before)
            idx_write_shifted(op, row, to, n, d * TEAM + gpu_lane(), x[d], end);
    struct idx_four none;
    idx_set(none, 0);
    if (DEEP * IDX_CHUNK < n + before)
        idx_write_shifted(op, row, to, n, DEEP * TEAM + gpu_lane(), none, end);
}

template <int DEEP>
static int topk_launch_pass(const struct global_topk_ragged &op, const dsv4_call *call,
                            struct call_why why) {
    const gpu_stream stream = (gpu_stream)call->stream;
    dim3 grid, filled;
    int status = call_grid(&grid, call_ceil(op.ragged.rows, CALL_TEAMS), why);
    if (status == DSV4_OK)
        status = call_grid(&filled, call_ceil(op.ragged.rows + 1, CALL_THREADS), why);
    if (status != DSV4_OK) return status;
    GPU_LAUNCH(topk_untold_kernel, filled, CALL_THREADS, stream, op);
    GPU_LAUNCH(topk_pass_kernel<DEEP>, grid, CALL_THREADS, stream, op);
    return call_launched(why);
}
#endif

static int supports(const dsv4_call *call, struct call_why why) {
    const bool ragged = dsv4_is(call, "form", "ragged");
    CALL_NEED(call, "local", DSV4_I32, 2, why);
    CALL_NEED(call, "token_to_req", DSV4_I32, 1, why);
    CALL_NEED(call, "is_valid", DSV4_U8, 1, why);
    CALL_NEED(call, "block_table", DSV4_I32, 2, why);
    CALL_NEED(call, "indices", DSV4_I32, ragged ? 1 : 2, why);
    CALL_NEED(call, "lens", DSV4_I32, 1, why);
    if (ragged) CALL_NEED(call, "indptr", DSV4_I32, 1, why);
    return DSV4_OK;
}

static int launch_rows(const struct global_topk_args &a, bool wide, const dsv4_call *call,
                       struct call_why why) {
    const gpu_stream stream = (gpu_stream)call->stream;
    const bool few = a.tokens < GPU_BUSY_BLOCKS;
    dim3 grid;
    if (a.tokens == 0) return DSV4_OK;
    const int status = call_grid(&grid, few ? a.tokens : call_ceil(a.tokens, CALL_TEAMS), why);
    if (status != DSV4_OK) return status;
    if (few && wide)
        GPU_LAUNCH((global_topk_kernel<CALL_TEAMS, true>), grid, CALL_THREADS, stream, a);
    else if (few)
        GPU_LAUNCH((global_topk_kernel<CALL_TEAMS, false>), grid, CALL_THREADS, stream, a);
    else if (wide)
        GPU_LAUNCH((global_topk_kernel<1, true>), grid, CALL_THREADS, stream, a);
    else
        GPU_LAUNCH((global_topk_kernel<1, false>), grid, CALL_THREADS, stream, a);
    return call_launched(why);
}

static int launch_ragged(struct global_topk_ragged &op, const dsv4_call *call,
                         struct call_why why) {
#if !GPU_HIP
    if (op.wide && op.ragged.rows > IDX_DIRECT_ROWS) {
        if (op.a.topk <= 4 * IDX_CHUNK) return topk_launch_pass<4>(op, call, why);
        if (op.a.topk <= 8 * IDX_CHUNK) return topk_launch_pass<8>(op, call, why);
        if (op.a.topk <= 16 * IDX_CHUNK) return topk_launch_pass<16>(op, call, why);
    }
#endif
    const int status = launch_rows(op.a, op.wide, call, why);
    return status == DSV4_OK ? idx_launch_ragged(op, call, why) : status;
}

static int run(const dsv4_call *call, struct call_why why) {
    const dsv4_tensor *const local = dsv4_find(call, "local");
    const dsv4_tensor *const indices = dsv4_find(call, "indices");
    const dsv4_tensor *const table = dsv4_find(call, "block_table");
    const bool ragged = dsv4_is(call, "form", "ragged");
    const int64_t block_size = dsv4_int(call, "block_size", 64);
    struct global_topk_args a;
    a.local = (const char *)local->data;
    a.local_stride = local->stride[0];
    a.out = ragged ? NULL : (char *)indices->data;
    a.out_stride = indices->stride[0];
    a.token_to_req = idx_i32(call, "token_to_req");
    a.is_valid = (const uint8_t *)dsv4_find(call, "is_valid")->data;
    a.lens = (int32_t *)dsv4_find(call, "lens")->data;
    a.pages = idx_pages_of(table, block_size);
    a.tokens = local->shape[0];
    a.topk = (int)local->shape[1];
    a.limit = dsv4_is(call, "bounds", "check") ? table->shape[1] * block_size : INT64_C(1) << 32;
    const bool wide = call_aligned(local, 16) && (ragged || call_aligned(indices, 16));
    if (!ragged) return launch_rows(a, wide, call, why);
    struct global_topk_ragged op;
    op.a = a;
    op.wide = wide;
    op.ragged.rows = a.tokens;
    op.ragged.flat = (int32_t *)indices->data;
    op.ragged.indptr = (int32_t *)dsv4_find(call, "indptr")->data;
    return launch_ragged(op, call, why);
}

CALL_ENTRY_POINTS(idx_global_topk)
