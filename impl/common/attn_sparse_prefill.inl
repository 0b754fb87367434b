/* SPDX-License-Identifier: Apache-2.0 */
/* attn_sparse_prefill: a block per token and 16 or 32 heads; see attn_token.inl. */
#include "attn_token.inl"

static int supports(const dsv4_call *call, struct call_why why) {
    CALL_NEED(call, "o", DSV4_BF16, 3, why);
    CALL_NEED_ALIGNED(call, "o", 16, why);
    CALL_NEED(call, "lse", DSV4_F32, 2, why);
    CALL_NEED(call, "max_logits", DSV4_F32, 2, why);
    return attn_supports(call, false, why);
}

static int run(const dsv4_call *call, struct call_why why) {
    struct attn_args a = attn_args_of(call, false);
    attn_output(&a.o, &a.o_token, &a.o_head, dsv4_find(call, "o"));
    attn_output(&a.lse, &a.lse_token, NULL, dsv4_find(call, "lse"));
    attn_output(&a.max_logits, &a.max_token, NULL, dsv4_find(call, "max_logits"));
    return attn_launch<false, false>(call, a, dsv4_find(call, "q")->shape[0], why);
}

CALL_ENTRY_POINTS(attn_sparse_prefill)
