/* SPDX-License-Identifier: Apache-2.0 */
/* idx_topk_buffer: teams write whole rows of the buffer, so that clearing and copying are one pass. */
#include "idx_common.inl"

struct topk_buffer_op {
    struct idx_rows rows;
    const char *decode, *prefill;
    const int32_t *chunks; /* start, end, compressed rows */
    int64_t decode_stride, prefill_stride, decodes;
    int n_chunks, topk;
    bool wide;

    struct row {
        const int32_t *from; /* NULL: the row is cleared */
    };

    IDX_METHOD bool open(row &row, int64_t t, bool) const {
        row.from = NULL;
        if (t < decodes) {
            row.from = (const int32_t *)(decode + t * decode_stride);
            return true;
        }
        int low = 0, high = n_chunks; /* the last chunk that starts at or before t */
        while (high - low > 1) {
            const int middle = (low + high) / 2;
            const int32_t *const chunk = chunks + 3 * middle;
            const bool before = chunk[1] > chunk[0] && chunk[0] <= t;
            low = before ? middle : low;
            high = before ? high : middle;
        }
        if (low >= n_chunks) return true;
        const int32_t *const chunk = chunks + 3 * low;
        if (chunk[0] <= t && t < chunk[1] && chunk[2] > 0)
            row.from = (const int32_t *)(prefill + (t - decodes) * prefill_stride);
        return true;
    }
    IDX_METHOD struct idx_four four(const row &row, int column) const {
        struct idx_four four;
        idx_set(four, -1);
        if (row.from == NULL) return four;
        return wide ? idx_load<true>(row.from, column, topk)
                    : idx_load<false>(row.from, column, topk);
    }
};

static int supports(const dsv4_call *call, struct call_why why) {
    static const char *const optional[] = {"decode_topk", "prefill_topk"};
    for (size_t i = 0; i < sizeof optional / sizeof *optional; i++)
        if (!call_absent(dsv4_find(call, optional[i])))
            CALL_NEED(call, optional[i], DSV4_I32, 2, why);
    CALL_NEED(call, "chunks", DSV4_I32, 2, why);
    CALL_NEED(call, "buffer", DSV4_I32, 2, why);
    return DSV4_OK;
}

static int run(const dsv4_call *call, struct call_why why) {
    const dsv4_tensor *const decode = dsv4_find(call, "decode_topk");
    const dsv4_tensor *const prefill = dsv4_find(call, "prefill_topk");
    const dsv4_tensor *const chunks = dsv4_find(call, "chunks");
    dsv4_tensor buffer = *dsv4_find(call, "buffer");
    const int64_t hidden = dsv4_int(call, "hidden_rows", 0);
    const bool decodes = !call_absent(decode), others = !call_absent(prefill);
    struct topk_buffer_op op;
    op.decode = decodes ? (const char *)decode->data : NULL;
    op.prefill = others ? (const char *)prefill->data : NULL;
    op.decode_stride = decodes ? decode->stride[0] : 0;
    op.prefill_stride = others ? prefill->stride[0] : 0;
    op.decodes = decodes ? decode->shape[0] : 0;
    op.topk = decodes ? (int)decode->shape[1] : others ? (int)prefill->shape[1] : 0;
    op.chunks = (const int32_t *)chunks->data;
    op.n_chunks = (int)chunks->shape[0];
    op.wide = (!decodes || call_aligned(decode, 16)) && (!others || call_aligned(prefill, 16));
    if (buffer.shape[1] < op.topk || buffer.shape[0] < hidden || op.decodes > hidden)
        return idx_refused(why, "buffer is too small for hidden_rows, decodes and top-k");
    buffer.shape[0] = hidden;
    if (buffer.shape[0] * buffer.shape[1] > IDX_CHUNK * CALL_TEAMS * (int64_t)GPU_BUSY_BLOCKS)
        return idx_launch_rows<topk_buffer_op, 4>(op, &buffer, call, why);
    return idx_launch_rows<topk_buffer_op, 1>(op, &buffer, call, why);
}

CALL_ENTRY_POINTS(idx_topk_buffer)
