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

template <typename Op>
GPU_DEVICE void idx_write_entry(const Op &op, const typename Op::row &row, int32_t *to, int o) {
    if (op.holds(row, o)) to[o] = op.made(row, o, op.raw(row, o));
}

/* Entries 4 * piece .. + 3 as they are read; beyond what can be read in one piece, 0. */
template <typename Op>
GPU_DEVICE struct idx_four idx_piece(const Op &op, const typename Op::row &row, int piece) {
    if (piece >= 0 && 4 * piece + 4 <= op.read(row))
        return idx_load<true>(op.from(row), 4 * piece, 4 * piece + 4);
    struct idx_four four;
    GPU_UNROLL
    for (int i = 0; i < 4; i++) {
        const int o = 4 * piece + i;
        four.x[i] = o >= 0 && o < op.read(row) ? op.from(row)[o] : 0;
    }
    return four;
}

/* x[i] and the entries after it, four in a row, `shift` of them (0 to 3) from y. */
GPU_DEVICE struct idx_four idx_shifted(const struct idx_four &x, const struct idx_four &y,
                                       int shift) {
    struct idx_four four;
    four.x[0] = shift == 0 ? x.x[0] : shift == 1 ? x.x[1] : shift == 2 ? x.x[2] : x.x[3];
    four.x[1] = shift == 0 ? x.x[1] : shift == 1 ? x.x[2] : shift == 2 ? x.x[3] : y.x[0];
    four.x[2] = shift == 0 ? x.x[2] : shift == 1 ? x.x[3] : shift == 2 ? y.x[0] : y.x[1];
    four.x[3] = shift == 0 ? x.x[3] : shift == 1 ? y.x[0] : shift == 2 ? y.x[1] : y.x[2];
    return four;
}

/*
 * A row whose entries are written in pieces of 16 bytes, wherever it begins. Piece g holds the entries 4 * g - before on,
 * which lie in two pieces of what is read; both are loaded, one of them a second time by a neighbour.
 */
template <typename Op>
GPU_DEVICE void idx_write_pieces(const Op &op, const typename Op::row &row, int32_t *to, int n,
                                 int lane, int lanes) {
    enum { EACH = 2 };
    const int before = (int)((uintptr_t)to / 4 % 4), shift = (4 - before) % 4;
    const int pieces = (n + before + 3) / 4;
    for (int first = lane; first < pieces; first += EACH * lanes) {
        struct idx_four x[EACH], y[EACH];
        GPU_UNROLL
        for (int i = 0; i < EACH; i++) {
            const int piece = first + i * lanes - (before != 0);
            x[i] = idx_piece(op, row, piece);
            y[i] = idx_piece(op, row, before == 0 ? piece : piece + 1);
        }
        GPU_UNROLL
        for (int i = 0; i < EACH; i++) {
            const int o = 4 * (first + i * lanes) - before;
            const struct idx_four raw = idx_shifted(x[i], y[i], shift);
            struct idx_four made;
            bool whole = o >= 0 && o + 4 <= n;
            GPU_UNROLL
            for (int k = 0; k < 4; k++) {
                made.x[k] = o + k >= 0 && o + k < n ? op.made(row, o + k, raw.x[k]) : 0;
                whole = whole && op.holds(row, o + k);
            }
            if (whole) {
                idx_store<true>(to + o, 0, 4, made);
                continue;
            }
            GPU_UNROLL
            for (int k = 0; k < 4; k++)
                if (o + k >= 0 && o + k < n && op.holds(row, o + k)) to[o + k] = made.x[k];
        }
    }
}

template <typename Op>
GPU_DEVICE void idx_write_row(const Op &op, int64_t t, int32_t *to, int n, int lane, int lanes) {
    typename Op::row row;
    if (n == 0) return;
    op.open(row, t);
    if (op.wide) {
        idx_write_pieces(op, row, to, n, lane, lanes);
        return;
    }
    for (int o = lane; o < n; o += lanes) idx_write_entry(op, row, to, o);
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
    int base = 0;
    if (gpu_thread() == 0) op.ragged.indptr[0] = 0;
    for (int first = 0; first < op.ragged.blocks; first += CALL_THREADS) {
        const int t = first + (int)gpu_thread();
        const int x = t < op.ragged.blocks ? op.length(t) : 0;
        int total;
        const int before = idx_block_scan(x, &total, sums);
        if (t < op.ragged.blocks) op.ragged.indptr[t + 1] = base + before + x;
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
        if (n < CALL_TEAMS)
            for (int i = 0; i < n; i++)
                idx_write_row(op, first + i, op.ragged.flat + starts[i], lengths[i], thread,
                              CALL_THREADS);
        else
            for (int i = gpu_team(); i < n; i += CALL_TEAMS)
                idx_write_row(op, first + i, op.ragged.flat + starts[i], lengths[i], gpu_lane(),
                              TEAM);
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
