/* SPDX-License-Identifier: Apache-2.0 */
/* idx_combine_topk_swa: a token's list follows from its position; dense rows are written by teams, ragged ones end to
 * end. */
#include "idx_ragged.inl"

struct combine_topk_args {
    const char *topk;
    const int32_t *query_start, *seq_lens, *gather_lens, *left, *right; /* left, right: or NULL */
    int32_t *lens;
    int64_t topk_stride, m, n;
    struct gpu_divisor ratio;
    int requests, topk_width, most, window;
    bool wide;
};

struct combine_list {
    const int32_t *topk;
    int compressed, window;
    int32_t request_base, window_base;
};

/* The list of token t, counted from the chunk's first. TOGETHER: all lanes of a team ask for the same one. */
template <bool TOGETHER>
GPU_DEVICE void combine_open(const struct combine_topk_args &a, struct combine_list &list,
                             int64_t t) {
    const int64_t at = t + a.query_start[0];
    list.compressed = list.window = list.request_base = list.window_base = 0;
    list.topk = NULL;
    if (at >= a.query_start[a.requests]) return;
    const int low = TOGETHER ? team_find(a.query_start, a.requests, at)
                             : idx_find(a.query_start, a.requests, at);
    const int first = a.query_start[low], end = a.query_start[low + 1];
    const int64_t length = a.seq_lens[low], pos = length - (end - first) + at - first;
    if (pos < 0) return;
    const int64_t rows = gpu_quotient(pos + 1, a.ratio);
    list.compressed = rows < a.most ? (int)rows : a.most;
    const int64_t gathered = length - a.gather_lens[low];
    int64_t from = pos + 1 < a.window ? 0 : pos + 1 - a.window, past = pos + 1;
    if (a.left != NULL) {
        const int beyond = a.left[t] - (a.window - 1);
        from -= beyond > 0 ? beyond : 0;
        from = from > gathered ? from : gathered;
        from = from > 0 ? from : 0;
        past += a.right[t];
        past = past < length ? past : length;
    }
    list.window = (int)(past - from);
    list.request_base = (int32_t)(a.m * low);
    list.window_base = (int32_t)(a.m * low + a.n + from - gathered);
    list.topk = (const int32_t *)(a.topk + t * a.topk_stride);
}

GPU_DEVICE int32_t combine_value(const struct combine_list &list, int column) {
    if (column < list.compressed)
        return (int32_t)((uint32_t)list.topk[column] + (uint32_t)list.request_base);
    column -= list.compressed;
    return column < list.window ? list.window_base + column : -1;
}

struct combine_dense {
    struct idx_rows rows;
    struct combine_topk_args a;
    typedef struct combine_list row;

    IDX_METHOD bool open(row &row, int64_t i, bool first) const {
        combine_open<true>(a, row, i);
        if (first) a.lens[i] = row.compressed + row.window;
        return true;
    }
    IDX_METHOD struct idx_four four(const row &row, int column) const {
        struct idx_four four;
        if (a.wide && column + 4 <= row.compressed) {
            four = idx_load<true>(row.topk, column, row.compressed);
            GPU_UNROLL
            for (int i = 0; i < 4; i++)
                four.x[i] = (int32_t)((uint32_t)four.x[i] + (uint32_t)row.request_base);
            return four;
        }
        GPU_UNROLL
        for (int i = 0; i < 4; i++) four.x[i] = combine_value(row, column + i);
        return four;
    }
};

struct combine_ragged {
    struct idx_ragged ragged;
    struct combine_topk_args a;
    bool wide;
    typedef struct combine_list row;

    IDX_METHOD int length(int64_t t) const {
        struct combine_list list;
        combine_open<false>(a, list, t);
        return list.compressed + list.window;
    }
    IDX_METHOD void note(int64_t t, int length) const { a.lens[t] = length; }
    IDX_METHOD void open(row &row, int64_t t) const { combine_open<false>(a, row, t); }
    IDX_METHOD const int32_t *from(const row &row) const { return row.topk; }
    IDX_METHOD int read(const row &row) const {
        return row.compressed < a.topk_width ? row.compressed : a.topk_width;
    }
    IDX_METHOD int32_t raw(const row &row, int o) const { return o < read(row) ? row.topk[o] : 0; }
    IDX_METHOD int32_t made(const row &row, int o, int32_t x) const {
        if (o < row.compressed) return (int32_t)((uint32_t)x + (uint32_t)row.request_base);
        return row.window_base + o - row.compressed;
    }
    IDX_METHOD bool holds(const row &row, int o) const {
        return o >= row.compressed || o < a.topk_width;
    }
};

static int supports(const dsv4_call *call, struct call_why why) {
    const bool ragged = dsv4_is(call, "form", "ragged");
    if (!call_absent(dsv4_find(call, "topk_indices")))
        CALL_NEED(call, "topk_indices", DSV4_I32, 2, why);
    CALL_NEED(call, "query_start_loc", DSV4_I32, 1, why);
    CALL_NEED(call, "seq_lens", DSV4_I32, 1, why);
    CALL_NEED(call, "gather_lens", DSV4_I32, 1, why);
    CALL_NEED(call, "indices", DSV4_I32, ragged ? 1 : 2, why);
    CALL_NEED(call, "lens", DSV4_I32, 1, why);
    if (ragged) CALL_NEED(call, "indptr", DSV4_I32, 1, why);
    if (!call_absent(dsv4_find(call, "left_visible"))) {
        CALL_NEED(call, "left_visible", DSV4_I32, 1, why);
        CALL_NEED(call, "right_visible", DSV4_I32, 1, why);
    }
    return DSV4_OK;
}

static int run(const dsv4_call *call, struct call_why why) {
    const dsv4_tensor *const topk = dsv4_find(call, "topk_indices");
    const dsv4_tensor *const indices = dsv4_find(call, "indices");
    const bool absent = call_absent(topk);
    const int64_t image = dsv4_int(call, "max_image_tokens", 0);
    struct combine_topk_args a;
    a.topk = absent ? NULL : (const char *)topk->data;
    a.topk_stride = absent ? 0 : topk->stride[0];
    a.topk_width = absent ? 0 : (int)topk->shape[1];
    a.wide = absent || call_aligned(topk, 16);
    a.query_start = idx_i32(call, "query_start_loc");
    a.seq_lens = idx_i32(call, "seq_lens");
    a.gather_lens = idx_i32(call, "gather_lens");
    a.left = idx_i32(call, "left_visible");
    a.right = idx_i32(call, "right_visible");
    a.lens = (int32_t *)dsv4_find(call, "lens")->data;
    a.requests = (int)dsv4_find(call, "seq_lens")->shape[0];
    a.ratio = call_divisor(dsv4_int(call, "ratio", 4));
    a.most = (int)dsv4_int(call, "topk", 0);
    a.window = (int)dsv4_int(call, "window", 128);
    a.m = dsv4_int(call, "m", 0);
    a.n = dsv4_int(call, "n", 0);
    if (dsv4_is(call, "form", "ragged")) {
        struct combine_ragged op;
        op.a = a;
        op.wide = a.wide;
        op.ragged.rows = dsv4_find(call, "lens")->shape[0];
        op.ragged.flat = (int32_t *)indices->data;
        op.ragged.indptr = (int32_t *)dsv4_find(call, "indptr")->data;
        return idx_launch_ragged(op, call, why);
    }
    if (a.topk_width < a.most || indices->shape[1] < a.most + a.window + image)
        return idx_refused(why, "topk_indices or indices has fewer columns than topk demands");
    struct combine_dense op;
    op.a = a;
    if (indices->shape[0] * indices->shape[1] > IDX_CHUNK * CALL_TEAMS * (int64_t)GPU_BUSY_BLOCKS)
        return idx_launch_rows<combine_dense, 4>(op, indices, call, why);
    /* Not 1: lanes of a tile open rows of their own. */
    return idx_launch_rows<combine_dense, 2>(op, indices, call, why);
}

CALL_ENTRY_POINTS(idx_combine_topk_swa)
