/* SPDX-License-Identifier: Apache-2.0 */
/* idx_paged_mqa_logits: the rows of a request share its keys; see idx_logits.inl. */
#include "idx_logits.inl"

static int supports(const dsv4_call *call, struct call_why why) {
    const bool exact = dsv4_is(call, "form", "lens_exact");
    CALL_NEED(call, "cache", DSV4_U8, 2, why);
    CALL_NEED_ALIGNED(call, "cache", 4, why);
    CALL_NEED(call, "lens", DSV4_I32, exact ? 2 : 1, why);
    if (exact && dsv4_find(call, "lens")->stride[0] != 4 * dsv4_find(call, "lens")->shape[1])
        return call_unsupported(why, "lens: rows are not contiguous");
    CALL_NEED(call, "block_table", DSV4_I32, 2, why);
    CALL_NEED_ALIGNED(call, "block_table", 4, why);
    return logits_supports(call, why);
}

static int run(const dsv4_call *call, struct call_why why) {
    const dsv4_tensor *const cache = dsv4_find(call, "cache");
    const dsv4_tensor *const table = dsv4_find(call, "block_table");
    struct logits_args a = logits_open(call);
    a.k = (const char *)cache->data;
    a.k_row = cache->stride[0];
    a.wide_k = call_aligned(cache, 16);
    a.table = (const char *)table->data;
    a.table_row = table->stride[0];
    a.lens = (const int32_t *)dsv4_find(call, "lens")->data;
    a.lens_exact = dsv4_is(call, "form", "lens_exact");
    a.next_n = call_divisor(dsv4_int(call, "next_n", 1));
    a.block = call_divisor(dsv4_int(call, "block_size", 64));
    a.shuffled = dsv4_is(call, "layout", "shuffled");
    a.rows_per_block = (int)a.next_n.value;
    if (a.shuffled && a.block.value % INDEXER_TILE != 0) return DSV4_REFUSED;
    return logits_launch<true>(call, a, a.columns, why);
}

CALL_ENTRY_POINTS(idx_paged_mqa_logits)
