/* SPDX-License-Identifier: Apache-2.0 */
/* idx_flashinfer_mixed: teams write the columns of a token's row; the row's first team also counts what a decode token
 * selected. */
#include "idx_common.inl"

enum { MIXED_LOCAL, MIXED_GLOBAL, MIXED_NONE };

struct mixed_args {
    struct idx_rows rows;
    struct idx_pages swa, compressed;
    const char *decode_swa, *decode_indices, *prefill_indices;
    const int32_t *decode_lens, *token_to_req;
    const int64_t *positions;
    const uint8_t *is_valid;
    int32_t *lens;
    int64_t swa_stride, decode_stride, prefill_stride, decodes;
    struct gpu_divisor ratio;
    int window, topk, decode_topk, form;
};

struct mixed_row {
    const int32_t *swa, *entries; /* swa: copied, or the block table of the window's cache */
    const int32_t *table;         /* NULL: entries are copied */
    int64_t start;                /* of a prefill token's window */
    int seen, n;
    bool decode;
};

GPU_DEVICE void mixed_open(const struct mixed_args &a, struct mixed_row &row, int64_t t) {
    const int64_t request = a.token_to_req[t];
    row.decode = t < a.decodes;
    row.table = idx_pages_row(a.compressed, request);
    row.start = 0;
    if (row.decode) {
        row.swa = (const int32_t *)(a.decode_swa + t * a.swa_stride);
        row.entries = (const int32_t *)(a.decode_indices + t * a.decode_stride);
        row.seen = a.window;
        row.n = a.form == MIXED_NONE ? 0 : a.decode_topk;
        if (a.form != MIXED_LOCAL) row.table = NULL;
        return;
    }
    const int64_t end = a.positions[t] + 1, rows = gpu_quotient(end, a.ratio);
    row.swa = idx_pages_row(a.swa, request);
    row.entries = (const int32_t *)(a.prefill_indices + (t - a.decodes) * a.prefill_stride);
    row.seen = end < a.window ? (int)end : a.window;
    row.start = end - row.seen;
    row.n = rows < a.topk ? (int)rows : a.topk;
}

GPU_DEVICE int32_t mixed_column(const struct mixed_args &a, const struct mixed_row &row,
                                int column) {
    if (column < a.window) {
        if (row.decode) return row.swa[column];
        return column < row.seen ? (int32_t)idx_slot(a.swa, row.swa, row.start + column) : -1;
    }
    column -= a.window;
    if (column >= row.n) return -1;
    const int32_t x = row.entries[column];
    if (row.table == NULL) return x;
    return x < 0 ? -1 : idx_slot_low(a.compressed, row.table, (uint32_t)x);
}

/* Four columns as they are read: of what is copied, or entries that are still to be mapped. FOURS: the window ends with
 * four whole columns, and what is read lies as `out` does. */
template <bool FOURS>
GPU_DEVICE struct idx_four mixed_read(const struct mixed_args &a, const struct mixed_row &row,
                                      int column) {
    struct idx_four four;
    idx_set(four, -1);
    if (!FOURS) {
        GPU_UNROLL
        for (int i = 0; i < 4; i++)
            if (column + i < a.rows.width) four.x[i] = mixed_column(a, row, column + i);
    } else if (column >= a.window) {
        if (column - a.window < row.n) four = idx_load<true>(row.entries, column - a.window, row.n);
    } else if (row.decode) {
        four = idx_load<true>(row.swa, column, a.window);
    }
    return four;
}

template <bool FOURS>
GPU_DEVICE void mixed_map(const struct mixed_args &a, const struct mixed_row &row, int column,
                          struct idx_four &four) {
    if (!FOURS) return;
    if (column < a.window) {
        if (!row.decode) four = idx_slots(a.swa, row.swa, row.start + column, row.seen - column);
        return;
    }
    if (row.table == NULL) return;
    GPU_UNROLL
    for (int i = 0; i < 4; i++)
        four.x[i] = four.x[i] < 0 ? -1 : idx_slot_low(a.compressed, row.table, (uint32_t)four.x[i]);
}

/* How many entries the row counts beside the window, in every lane of a team. */
GPU_DEVICE int mixed_count(const struct mixed_args &a, const struct mixed_row &row, int64_t t) {
    if (!row.decode || a.form == MIXED_NONE) return row.n;
    if (a.form == MIXED_GLOBAL) return a.decode_lens == NULL ? row.n : a.decode_lens[t];
    int n = 0;
    for (int k = gpu_lane(); k < row.n; k += TEAM) n += row.entries[k] >= 0;
    n = team_sum(n);
    return a.is_valid[t] != 0 ? n : 0;
}

template <int DEEP, bool WIDE>
__global__ void __launch_bounds__(CALL_THREADS) mixed_kernel(const struct mixed_args a) {
    const int64_t task = gpu_block() * CALL_TEAMS + gpu_team();
    int chunk;
    const int64_t t = idx_row_of(a.rows, task, &chunk);
    if (t >= a.rows.rows) return;
    struct mixed_row row;
    struct idx_four four[DEEP];
    mixed_open(a, row, t);
    int32_t *const out = (int32_t *)(a.rows.out + t * a.rows.stride);
    const int first = chunk * IDX_CHUNK * DEEP + 4 * gpu_lane();
    GPU_UNROLL
    for (int d = 0; d < DEEP; d++) four[d] = mixed_read<WIDE>(a, row, first + d * IDX_CHUNK);
    GPU_UNROLL
    for (int d = 0; d < DEEP; d++) {
        const int column = first + d * IDX_CHUNK;
        if (column >= a.rows.width) continue;
        mixed_map<WIDE>(a, row, column, four[d]);
        idx_store<WIDE>(out, column, a.rows.width, four[d]);
    }
    if (chunk != 0) return;
    const int n = mixed_count(a, row, t);
    if (gpu_lane() == 0) a.lens[t] = a.window + n;
}

static int supports(const dsv4_call *call, struct call_why why) {
    static const char *const optional[] = {"decode_swa", "decode_indices", "prefill_indices"};
    for (size_t i = 0; i < sizeof optional / sizeof *optional; i++)
        if (!call_absent(dsv4_find(call, optional[i])))
            CALL_NEED(call, optional[i], DSV4_I32, 2, why);
    if (!call_absent(dsv4_find(call, "decode_lens")))
        CALL_NEED(call, "decode_lens", DSV4_I32, 1, why);
    CALL_NEED(call, "positions", DSV4_I64, 1, why);
    CALL_NEED(call, "token_to_req", DSV4_I32, 1, why);
    CALL_NEED(call, "is_valid", DSV4_U8, 1, why);
    CALL_NEED(call, "swa_table", DSV4_I32, 2, why);
    CALL_NEED(call, "block_table", DSV4_I32, 2, why);
    CALL_NEED(call, "indices", DSV4_I32, 2, why);
    CALL_NEED(call, "lens", DSV4_I32, 1, why);
    return DSV4_OK;
}

/* Rows, stride and columns of a tensor that may be absent. */
static const char *matrix(const dsv4_call *call, const char *name, int64_t *stride, int *columns) {
    const dsv4_tensor *const t = dsv4_find(call, name);
    *stride = call_absent(t) ? 0 : t->stride[0];
    *columns = call_absent(t) ? 0 : (int)t->shape[1];
    return call_absent(t) ? NULL : (const char *)t->data;
}

static bool aligned(const dsv4_tensor *t) { return call_absent(t) || call_aligned(t, 16); }

static int run(const dsv4_call *call, struct call_why why) {
    const dsv4_tensor *const indices = dsv4_find(call, "indices");
    const dsv4_tensor *const decode_swa = dsv4_find(call, "decode_swa");
    struct mixed_args a;
    int ignored;
    dim3 grid;
    a.decode_swa = matrix(call, "decode_swa", &a.swa_stride, &ignored);
    a.decode_indices = matrix(call, "decode_indices", &a.decode_stride, &a.decode_topk);
    a.prefill_indices = matrix(call, "prefill_indices", &a.prefill_stride, &a.topk);
    a.decodes = call_absent(decode_swa) ? 0 : decode_swa->shape[0];
    a.window = (int)dsv4_int(call, "window", 128);
    const int most = a.topk > a.decode_topk ? a.topk : a.decode_topk;
    if (indices->shape[1] != a.window + (most + 3) / 4 * 4 ||
        (a.window % 4 == 0 && indices->stride[0] % 16 != 0))
        return idx_refused(why,
                           "rows of indices are not window and top-k in multiples of 16 bytes");
    a.form = dsv4_is(call, "decode", "local")    ? MIXED_LOCAL
             : dsv4_is(call, "decode", "global") ? MIXED_GLOBAL
                                                 : MIXED_NONE;
    a.swa = idx_pages_of(dsv4_find(call, "swa_table"), dsv4_int(call, "swa_block_size", 64));
    a.compressed = idx_pages_of(dsv4_find(call, "block_table"), dsv4_int(call, "block_size", 64));
    const int64_t swa_span = dsv4_int(call, "swa_span", 0), span = dsv4_int(call, "span", 0);
    if (swa_span > 0) a.swa.span = swa_span;
    if (span > 0) a.compressed.span = span;
    a.decode_lens = idx_i32(call, "decode_lens");
    a.token_to_req = idx_i32(call, "token_to_req");
    a.positions = (const int64_t *)dsv4_find(call, "positions")->data;
    a.is_valid = (const uint8_t *)dsv4_find(call, "is_valid")->data;
    a.lens = (int32_t *)dsv4_find(call, "lens")->data;
    a.ratio = call_divisor(dsv4_int(call, "ratio", 4));
    const bool deep =
        indices->shape[0] * indices->shape[1] > IDX_CHUNK * CALL_TEAMS * (int64_t)GPU_BUSY_BLOCKS;
    const bool wide = call_aligned(indices, 16) && a.window % 4 == 0 && aligned(decode_swa) &&
                      aligned(dsv4_find(call, "decode_indices")) &&
                      aligned(dsv4_find(call, "prefill_indices"));
    a.rows = idx_rows_of(indices, deep ? 4 : 1);
    if (a.rows.rows == 0) return DSV4_OK;
    const int status =
        call_grid(&grid, call_ceil(a.rows.rows * a.rows.chunks.value, CALL_TEAMS), why);
    const gpu_stream stream = (gpu_stream)call->stream;
    if (status != DSV4_OK) return status;
    if (deep && wide)
        GPU_LAUNCH((mixed_kernel<4, true>), grid, CALL_THREADS, stream, a);
    else if (deep)
        GPU_LAUNCH((mixed_kernel<4, false>), grid, CALL_THREADS, stream, a);
    else if (wide)
        GPU_LAUNCH((mixed_kernel<1, true>), grid, CALL_THREADS, stream, a);
    else
        GPU_LAUNCH((mixed_kernel<1, false>), grid, CALL_THREADS, stream, a);
    return call_launched(why);
}

CALL_ENTRY_POINTS(idx_flashinfer_mixed)
