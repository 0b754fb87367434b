/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Rows of various lengths written end to end, and their prefix sums.
 *
 * Few rows: one launch, in which every block adds up the lengths before its own rows. Many rows: a launch for the
 * blocks' totals, one for the rows, one for the head of indptr. The totals need no memory of their own: block g leaves
 * its total in indptr[g + 1], which only the last launch overwrites.
 *
 * An op derives its arguments from idx_ragged and gives
 *   int length(t); bool takes the row's length elsewhere: void note(t, length)
 *   struct row; void open(row &, t); bool holds(row, o): whether entry o of a row is written
 *   int32_t raw(row, o): what is read for it; int32_t made(row, o, raw): what is written
 *   bool wide: rows of what is read lie on 16 bytes; int read(row): how many of them there are from `from(row)` on
 */
#ifndef DSV4_IDX_RAGGED_INL
#define DSV4_IDX_RAGGED_INL

#include "idx_common.inl"

enum { IDX_DIRECT_ROWS = 4 * GPU_BUSY_BLOCKS, IDX_SEGMENTS = 1024 };

struct idx_ragged {
    int32_t *flat, *indptr;
    int64_t rows, per_block;
    int blocks;
};

/* Sum of the lengths of rows begin .. end - 1, in every lane. */
template <typename Op>
GPU_DEVICE int idx_sum_lengths(const Op &op, int64_t begin, int64_t end, int *sums) {
    int sum = 0;
    for (int64_t t = begin + gpu_thread(); t < end; t += CALL_THREADS) sum += op.length(t);
    return idx_block_sum(sum, sums);
}

/* Entries by `lanes` lanes, one at a time. */
template <typename Op>
GPU_DEVICE void idx_write_entries(const Op &op, const typename Op::row &row, int32_t *to, int n,
                                  int lane, int lanes) {
    for (int o = lane; o < n; o += lanes)
        if (op.holds(row, o)) to[o] = op.made(row, o, op.raw(row, o));
}

/* Entries 4 * piece .. + 3 as they are read; 0 where there is nothing to read. */
template <typename Op>
GPU_DEVICE struct idx_four idx_piece(const Op &op, const typename Op::row &row, int piece) {
    if (4 * piece + 4 <= op.read(row))
        return idx_load<true>(op.from(row), 4 * piece, 4 * piece + 4);
    struct idx_four four;
    GPU_UNROLL
    for (int i = 0; i < 4; i++)
        four.x[i] = 4 * piece + i < op.read(row) ? op.from(row)[4 * piece + i] : 0;
    return four;
}

/* Entries o .. o + 3 of a row of n, those that it has. */
template <typename Op>
GPU_DEVICE void idx_write_piece(const Op &op, const typename Op::row &row, int32_t *to, int o,
                                int n, struct idx_four four) {
    bool whole = o >= 0 && o + 4 <= n;
    GPU_UNROLL
    for (int k = 0; k < 4; k++) {
        const bool there = o + k >= 0 && o + k < n;
        four.x[k] = there ? op.made(row, o + k, four.x[k]) : 0;
        whole = whole && op.holds(row, o + k);
    }
    if (whole) {
        idx_store<true>(to + o, 0, 4, four);
        return;
    }
    GPU_UNROLL
    for (int k = 0; k < 4; k++)
        if (o + k >= 0 && o + k < n && op.holds(row, o + k)) to[o + k] = four.x[k];
}

/*
 * A row by a team, in pieces of 16 bytes wherever it begins: `before` entries of the first piece belong to the row before.
 * A piece that is written holds the end of one that is read and the start of the next; the neighbour lane has the former.
 * q: piece `piece`, of 32 neighbours, as it is read; end: of the last lane's piece before, in the first lane.
 */
template <typename Op>
GPU_DEVICE void idx_write_shifted(const Op &op, const typename Op::row &row, int32_t *to, int n,
                                  int piece, const struct idx_four &q, int32_t *end) {
    const int before = (int)((uintptr_t)to / 4 % 4), lane = gpu_lane();
    struct idx_four raw = q;
    int32_t p[4];
    GPU_UNROLL
    for (int k = 1; k < 4; k++) {
        const int32_t other = (int32_t)team_read_u32((uint32_t)q.x[k], (lane + TEAM - 1) % TEAM);
        p[k] = lane == 0 ? end[k] : other;
        end[k] = other;
    }
    if (before == 1)
        raw = {
            {p[3], q.x[0], q.x[1], q.x[2]}
        };
    if (before == 2)
        raw = {
            {p[2], p[3], q.x[0], q.x[1]}
        };
    if (before == 3)
        raw = {
            {p[1], p[2], p[3], q.x[0]}
        };
    idx_write_piece(op, row, to, 4 * piece - before, n, raw);
}

template <typename Op>
GPU_DEVICE void idx_write_pieces(const Op &op, const typename Op::row &row, int32_t *to, int n) {
    enum { EACH = 4 };
    const int before = (int)((uintptr_t)to / 4 % 4), lane = gpu_lane();
    int32_t end[4] = {0, 0, 0, 0};
    for (int base = 0; 4 * base < n + before; base += EACH * TEAM) {
        struct idx_four x[EACH];
        GPU_UNROLL
        for (int i = 0; i < EACH; i++) x[i] = idx_piece(op, row, base + i * TEAM + lane);
        GPU_UNROLL
        for (int i = 0; i < EACH; i++)
            idx_write_shifted(op, row, to, n, base + i * TEAM + lane, x[i], end);
    }
}

template <typename Op>
__global__ void __launch_bounds__(CALL_THREADS) idx_totals_kernel(const Op op) {
    __shared__ int sums[CALL_TEAMS];
    const int64_t begin = gpu_block() * op.ragged.per_block;
    const int64_t last = begin + op.ragged.per_block;
    const int total =
        idx_sum_lengths(op, begin, last < op.ragged.rows ? last : op.ragged.rows, sums);
    if (gpu_thread() == 0) op.ragged.indptr[gpu_block() + 1] = total;
}

/* indptr up to entry `blocks`, which no other launch writes. */
template <typename Op>
__global__ void __launch_bounds__(CALL_THREADS) idx_head_kernel(const Op op) {
    __shared__ int sums[CALL_TEAMS];
    enum { EACH = 8 };
    int base = 0;
    if (gpu_thread() == 0) op.ragged.indptr[0] = 0;
    for (int first = 0; first < op.ragged.blocks; first += EACH * CALL_THREADS) {
        const int t = first + EACH * (int)gpu_thread();
        int x[EACH], sum = 0, total;
        GPU_UNROLL
        for (int i = 0; i < EACH; i++) x[i] = t + i < op.ragged.blocks ? op.length(t + i) : 0;
        GPU_UNROLL
        for (int i = 0; i < EACH; i++) sum += x[i];
        int before = base + idx_block_scan(sum, &total, sums);
        GPU_UNROLL
        for (int i = 0; i < EACH; i++) {
            before += x[i];
            if (t + i < op.ragged.blocks) op.ragged.indptr[t + i + 1] = before;
        }
        base += total;
    }
}

template <typename Op, bool DIRECT>
__global__ void __launch_bounds__(CALL_THREADS) idx_ragged_kernel(const Op op) {
    __shared__ int sums[CALL_TEAMS], starts[CALL_THREADS], lengths[CALL_THREADS];
    const int64_t begin = gpu_block() * op.ragged.per_block;
    const int64_t last = begin + op.ragged.per_block;
    const int64_t end = last < op.ragged.rows ? last : op.ragged.rows;
    const int thread = (int)gpu_thread();
    int base = 0;
    if (DIRECT) {
        base = idx_sum_lengths(op, 0, begin, sums);
        if (begin == 0 && thread == 0) op.ragged.indptr[0] = 0;
    } else {
        for (int g = thread; g < gpu_block(); g += CALL_THREADS) base += op.ragged.indptr[g + 1];
        base = idx_block_sum(base, sums);
    }
    for (int64_t first = begin; first < end; first += CALL_THREADS) {
        const int64_t t = first + thread;
        const int n = end - first < CALL_THREADS ? (int)(end - first) : CALL_THREADS;
        const int x = thread < n ? op.length(t) : 0;
        int total;
        const int before = base + idx_block_scan(x, &total, sums);
        starts[thread] = before;
        lengths[thread] = x;
        if (thread < n) {
            op.note(t, x);
            if (DIRECT || t >= op.ragged.blocks) op.ragged.indptr[t + 1] = before + x;
        }
        gpu_barrier();
        const bool few = n < CALL_TEAMS;
        for (int i = few ? 0 : gpu_team(); i < n; i += few ? 1 : CALL_TEAMS) {
            typename Op::row row;
            if (lengths[i] == 0) continue;
            op.open(row, first + i);
            int32_t *const to = op.ragged.flat + starts[i];
            if (few)
                idx_write_entries(op, row, to, lengths[i], thread, CALL_THREADS);
            else if (op.wide)
                idx_write_pieces(op, row, to, lengths[i]);
            else
                idx_write_entries(op, row, to, lengths[i], gpu_lane(), TEAM);
        }
        gpu_barrier();
        base += total;
    }
}

/* With no row at all, indptr[0] is still 0. */
template <typename Op>
static int idx_launch_ragged(Op &op, const dsv4_call *call, struct call_why why) {
    const gpu_stream stream = (gpu_stream)call->stream;
    const bool direct = op.ragged.rows <= IDX_DIRECT_ROWS;
    const int64_t rows = op.ragged.rows;
    op.ragged.per_block = rows <= GPU_BUSY_BLOCKS ? 1 : CALL_TEAMS;
    if (!direct && call_ceil(rows, IDX_SEGMENTS) > op.ragged.per_block)
        op.ragged.per_block = call_ceil(rows, IDX_SEGMENTS);
    op.ragged.blocks = (int)call_ceil(rows, op.ragged.per_block);
    if (rows == 0 && !direct) {
        GPU_LAUNCH((idx_head_kernel<Op>), dim3(1), CALL_THREADS, stream, op);
        return call_launched(why);
    }
    const dim3 grid((uint32_t)(op.ragged.blocks > 0 ? op.ragged.blocks : 1));
    if (direct) {
        GPU_LAUNCH((idx_ragged_kernel<Op, true>), grid, CALL_THREADS, stream, op);
        return call_launched(why);
    }
    GPU_LAUNCH((idx_totals_kernel<Op>), grid, CALL_THREADS, stream, op);
    GPU_LAUNCH((idx_ragged_kernel<Op, false>), grid, CALL_THREADS, stream, op);
    GPU_LAUNCH((idx_head_kernel<Op>), dim3(1), CALL_THREADS, stream, op);
    return call_launched(why);
}

#endif
