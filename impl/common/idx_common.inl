/* SPDX-License-Identifier: Apache-2.0 */
/* What the index kernels share: pages, rows of int32 written four columns at a time, sums over a block. */
#ifndef DSV4_IDX_COMMON_INL
#define DSV4_IDX_COMMON_INL

#include "call.h"

/* A member function on the device. */
#if GPU_EMULATED
#define IDX_METHOD inline
#else
#define IDX_METHOD __device__ inline
#endif

/* Four columns of a row of indices. */
struct idx_four {
    int32_t x[4];
};

GPU_DEVICE void idx_set(struct idx_four &four, int32_t value) {
    GPU_UNROLL
    for (int i = 0; i < 4; i++) four.x[i] = value;
}

/* At column `column` of a row of `width`; WIDE: 16 bytes at once, which the caller has seen to be allowed. */
template <bool WIDE>
GPU_DEVICE struct idx_four idx_load(const int32_t *row, int column, int width) {
    struct idx_four four;
    if (WIDE && column + 4 <= width) {
        const gpu_u4 words = *(const gpu_u4 *)(row + column);
        four.x[0] = (int32_t)words.x;
        four.x[1] = (int32_t)words.y;
        four.x[2] = (int32_t)words.z;
        four.x[3] = (int32_t)words.w;
        return four;
    }
    GPU_UNROLL
    for (int i = 0; i < 4; i++) four.x[i] = column + i < width ? row[column + i] : -1;
    return four;
}

template <bool WIDE>
GPU_DEVICE void idx_store(int32_t *row, int column, int width, const struct idx_four &four) {
    if (WIDE && column + 4 <= width) {
        gpu_u4 words;
        words.x = (uint32_t)four.x[0];
        words.y = (uint32_t)four.x[1];
        words.z = (uint32_t)four.x[2];
        words.w = (uint32_t)four.x[3];
        *(gpu_u4 *)(row + column) = words;
        return;
    }
    GPU_UNROLL
    for (int i = 0; i < 4; i++)
        if (column + i < width) row[column + i] = four.x[i];
}

/* A block table. */
struct idx_pages {
    const char *table;
    int64_t stride;
    struct gpu_divisor block;
    int64_t span; /* slots from page to page */
    int columns;
};

static inline struct idx_pages idx_pages_of(const dsv4_tensor *table, int64_t block_size) {
    struct idx_pages pages;
    pages.table = (const char *)table->data;
    pages.stride = table->stride[0];
    pages.block = call_divisor(block_size);
    pages.span = block_size;
    pages.columns = (int)table->shape[1];
    return pages;
}

GPU_DEVICE const int32_t *idx_pages_row(const struct idx_pages &pages, int64_t request) {
    return (const int32_t *)(pages.table + request * pages.stride);
}

/* The slot of cache row `row` >= 0, given a request's row of the table. */
GPU_DEVICE int64_t idx_slot(const struct idx_pages &pages, const int32_t *table, int64_t row) {
    const int64_t page = gpu_quotient(row, pages.block);
    return (int64_t)table[page] * pages.span + (row - page * pages.block.value);
}

/* Its low 32 bits. */
GPU_DEVICE int32_t idx_slot_low(const struct idx_pages &pages, const int32_t *table, uint32_t row) {
    const uint32_t block = (uint32_t)pages.block.value;
    const uint32_t page = pages.block.shift >= 0 ? row >> pages.block.shift : row / block;
    return (int32_t)((uint32_t)table[page] * (uint32_t)pages.span + (row - page * block));
}

/* Slots of cache rows row .. row + 3, those from `n` on -1: the table is read once for each page. */
GPU_DEVICE struct idx_four idx_slots(const struct idx_pages &pages, const int32_t *table,
                                     int64_t row, int n) {
    struct idx_four four;
    idx_set(four, -1);
    if (n <= 0) return four;
    int64_t page = gpu_quotient(row, pages.block), place = row - page * pages.block.value;
    int64_t first = (int64_t)table[page] * pages.span;
    GPU_UNROLL
    for (int i = 0; i < 4; i++) {
        if (i < n && place == pages.block.value) {
            place = 0;
            first = (int64_t)table[++page] * pages.span;
        }
        if (i < n) four.x[i] = (int32_t)(first + place++);
    }
    return four;
}

/* The last r below n with starts[r] <= x, given starts[0] <= x. */
GPU_DEVICE int idx_find(const int32_t *starts, int n, int64_t x) {
    int low = 0, high = n;
    while (high - low > 1) {
        const int middle = (low + high) / 2;
        const bool before = starts[middle] <= x;
        low = before ? middle : low;
        high = before ? high : middle;
    }
    return low;
}

/* The same by a team, all lanes of which look for the same x. */
GPU_DEVICE int team_find(const int32_t *starts, int n, int64_t x) {
    int low = 0, high = n;
    while (high - low > 1) {
        const int step = (high - low + TEAM - 1) / TEAM, probe = low + gpu_lane() * step;
        const uint32_t before = team_ballot(probe < high && starts[probe] <= x);
        low += (__builtin_popcount(before) - 1) * step;
        high = low + step < high ? low + step : high;
    }
    return low;
}

/* Copies n starts to shared memory, if there is room for them, for all lanes of the block. */
enum { IDX_KEPT = 2048 };
GPU_DEVICE const int32_t *idx_keep(int32_t *kept, const int32_t *starts, int n) {
    if (n <= IDX_KEPT)
        for (int i = (int)gpu_thread(); i < n; i += CALL_THREADS) kept[i] = starts[i];
    gpu_barrier();
    return n <= IDX_KEPT ? kept : starts;
}

/* The sum of a team's values, in every lane. */
GPU_DEVICE int team_sum(int x) {
    x += (int)team_xor_u32(x, 16);
    x += (int)team_xor_u32(x, 8);
    x += (int)team_xor_u32(x, 4);
    x += (int)team_xor_u32(x, 2);
    return x + (int)team_xor_u32(x, 1);
}

/* The sum of a block's values, in every lane. `sums` holds CALL_TEAMS ints of shared memory. */
GPU_DEVICE int idx_block_sum(int x, int *sums) {
    x = team_sum(x);
    gpu_barrier();
    if (gpu_lane() == 0) sums[gpu_team()] = x;
    gpu_barrier();
    int total = 0;
    GPU_UNROLL
    for (int i = 0; i < CALL_TEAMS; i++) total += sums[i];
    return total;
}

/* The sum of the values of all lanes before this one, and the block's total. */
GPU_DEVICE int idx_block_scan(int x, int *total, int *sums) {
    const int lane = gpu_lane(), team = gpu_team();
    int scan = x;
    GPU_UNROLL
    for (int d = 1; d < TEAM; d *= 2) {
        const int other = (int)team_read_u32((uint32_t)scan, lane < d ? lane : lane - d);
        scan += lane < d ? 0 : other;
    }
    gpu_barrier();
    if (lane == TEAM - 1) sums[team] = scan;
    gpu_barrier();
    int before = 0;
    *total = 0;
    GPU_UNROLL
    for (int i = 0; i < CALL_TEAMS; i++) {
        before += i < team ? sums[i] : 0;
        *total += sums[i];
    }
    return before + scan - x;
}

/* ---- rows written by teams ---- */

/*
 * Rows of int32. An op derives its arguments from these; a team takes one row's next IDX_CHUNK * `deep` columns. The op
 * gives
 *   struct row: what it works out once for a row
 *   bool open(row &, int64_t i, bool first): false if nothing is written; `first` for one lane of all the row's teams
 *   idx_four four(row, column): four columns
 */
enum { IDX_CHUNK = 4 * TEAM };

struct idx_rows {
    char *out;
    int64_t stride, rows;
    struct gpu_divisor chunks;
    int width;
};

/* The row of a team's task, and which of its chunks. */
GPU_DEVICE int64_t idx_row_of(const struct idx_rows &rows, int64_t task, int *chunk) {
    const int64_t i = gpu_quotient(task, rows.chunks);
    *chunk = (int)(task - i * rows.chunks.value);
    return i;
}

static inline struct idx_rows idx_rows_of(const dsv4_tensor *out, int deep) {
    struct idx_rows rows;
    rows.out = (char *)out->data;
    rows.stride = out->stride[0];
    rows.rows = out->shape[0];
    rows.width = (int)out->shape[1];
    rows.chunks = call_divisor(call_ceil(out->shape[1] > 0 ? out->shape[1] : 1, IDX_CHUNK * deep));
    return rows;
}

template <typename Op, int DEEP, bool WIDE>
__global__ void __launch_bounds__(CALL_THREADS) idx_rows_kernel(const Op op) {
    const int64_t task = gpu_block() * CALL_TEAMS + gpu_team();
    int chunk;
    const int64_t i = idx_row_of(op.rows, task, &chunk);
    if (i >= op.rows.rows) return;
    typename Op::row row;
    if (!op.open(row, i, chunk == 0 && gpu_lane() == 0)) return;
    int32_t *const out = (int32_t *)(op.rows.out + i * op.rows.stride);
    int column = chunk * IDX_CHUNK * DEEP + 4 * gpu_lane();
    GPU_UNROLL
    for (int d = 0; d < DEEP; d++, column += IDX_CHUNK)
        if (column < op.rows.width)
            idx_store<WIDE>(out, column, op.rows.width, op.four(row, column));
}

/*
 * Narrow rows, many of them: a lane opens each row of a tile, so that what rows are looked up by is loaded side by side,
 * and then teams write them, four at once.
 */
enum { IDX_TILE = 64, IDX_TILE_EACH = 4 };

template <typename Op, bool WIDE>
__global__ void __launch_bounds__(CALL_THREADS) idx_tile_kernel(const Op op) {
    __shared__ typename Op::row rows[IDX_TILE];
    __shared__ uint8_t opened[IDX_TILE];
    const int64_t first = gpu_block() * IDX_TILE;
    const int thread = (int)gpu_thread(), column = 4 * gpu_lane();
    if (thread < IDX_TILE)
        opened[thread] =
            first + thread < op.rows.rows && op.open(rows[thread], first + thread, true);
    gpu_barrier();
    GPU_NO_UNROLL
    for (int r = IDX_TILE_EACH * gpu_team(); r < IDX_TILE; r += IDX_TILE_EACH * CALL_TEAMS) {
        struct idx_four four[IDX_TILE_EACH];
        GPU_UNROLL
        for (int i = 0; i < IDX_TILE_EACH; i++)
            if (opened[r + i]) four[i] = op.four(rows[r + i], column);
        GPU_UNROLL
        for (int i = 0; i < IDX_TILE_EACH; i++)
            if (opened[r + i] && column < op.rows.width)
                idx_store<WIDE>((int32_t *)(op.rows.out + (first + r + i) * op.rows.stride), column,
                                op.rows.width, four[i]);
    }
}

template <typename Op, int DEEP>
static int idx_launch_rows(Op &op, const dsv4_tensor *out, const dsv4_call *call,
                           struct call_why why) {
    dim3 grid;
    op.rows = idx_rows_of(out, DEEP);
    if (op.rows.rows == 0) return DSV4_OK;
    const bool tiles = DEEP == 1 && op.rows.chunks.value == 1 &&
                       op.rows.rows >= 4 * IDX_TILE * (int64_t)GPU_BUSY_BLOCKS;
    const int64_t blocks = tiles ? call_ceil(op.rows.rows, IDX_TILE)
                                 : call_ceil(op.rows.rows * op.rows.chunks.value, CALL_TEAMS);
    const int status = call_grid(&grid, blocks, why);
    if (status != DSV4_OK) return status;
    const gpu_stream stream = (gpu_stream)call->stream;
    const bool wide = call_aligned(out, 16);
    if (tiles && wide)
        GPU_LAUNCH((idx_tile_kernel<Op, true>), grid, CALL_THREADS, stream, op);
    else if (tiles)
        GPU_LAUNCH((idx_tile_kernel<Op, false>), grid, CALL_THREADS, stream, op);
    else if (wide)
        GPU_LAUNCH((idx_rows_kernel<Op, DEEP, true>), grid, CALL_THREADS, stream, op);
    else
        GPU_LAUNCH((idx_rows_kernel<Op, DEEP, false>), grid, CALL_THREADS, stream, op);
    return call_launched(why);
}

static inline const int32_t *idx_i32(const dsv4_call *call, const char *name) {
    const dsv4_tensor *const t = dsv4_find(call, name);
    return call_absent(t) ? NULL : (const int32_t *)t->data;
}

static inline int idx_refused(struct call_why why, const char *sentence) {
    if (why.size > 0) snprintf(why.text, why.size, "%s", sentence);
    return DSV4_REFUSED;
}

#endif
