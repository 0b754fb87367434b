/* SPDX-License-Identifier: Apache-2.0 */
/* idx_mqa_logits: rows with ranges of contiguous keys; see idx_logits.inl. */
#include "idx_logits.inl"

static int supports(const dsv4_call *call, struct call_why why) {
    CALL_NEED(call, "k", dsv4_is(call, "fp8", "ocp") ? DSV4_E4M3FN : DSV4_E4M3FNUZ, 2, why);
    CALL_NEED_ALIGNED(call, "k", 4, why);
    CALL_NEED(call, "k_scale", DSV4_F32, 1, why);
    CALL_NEED(call, "ks", DSV4_I32, 1, why);
    CALL_NEED(call, "ke", DSV4_I32, 1, why);
    return logits_supports(call, why);
}

static int run(const dsv4_call *call, struct call_why why) {
    const dsv4_tensor *const k = dsv4_find(call, "k");
    struct logits_args a = logits_open(call);
    a.k = (const char *)k->data;
    a.k_row = k->stride[0];
    a.keys = k->shape[0];
    a.wide_k = call_aligned(k, 16);
    a.k_scale = (const float *)dsv4_find(call, "k_scale")->data;
    a.starts = (const int32_t *)dsv4_find(call, "ks")->data;
    a.ends = (const int32_t *)dsv4_find(call, "ke")->data;
    a.compressed = dsv4_int(call, "compressed", 0) != 0;
    a.rows_per_block = call_group(a.rows, call_ceil(k->shape[0], LOGITS_KEYS), 1, LOGITS_ROWS);
    return logits_launch<false>(call, a, k->shape[0], why);
}

CALL_ENTRY_POINTS(idx_mqa_logits)
