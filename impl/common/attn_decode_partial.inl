/* SPDX-License-Identifier: Apache-2.0 */
/* attn_decode_partial: a block per split of a token and 16 or 32 heads; see attn_token.inl. */
#include "attn_token.inl"

static int supports(const dsv4_call *call, struct call_why why) {
    CALL_NEED(call, "splits", DSV4_I32, 2, why);
    if (!call_absent(dsv4_find(call, "extra_splits")))
        CALL_NEED(call, "extra_splits", DSV4_I32, 2, why);
    CALL_NEED(call, "part_acc", DSV4_F32, 4, why);
    CALL_NEED_ALIGNED(call, "part_acc", 16, why);
    if (dsv4_is(call, "parts", "lse_log2")) {
        CALL_NEED(call, "part_lse", DSV4_F32, 3, why);
        return attn_supports(call, true, why);
    }
    CALL_NEED(call, "part_m", DSV4_F32, 3, why);
    CALL_NEED(call, "part_l", DSV4_F32, 3, why);
    const dsv4_tensor *const m = dsv4_find(call, "part_m"), *const l = dsv4_find(call, "part_l");
    if (m->stride[0] != l->stride[0] || m->stride[1] != l->stride[1])
        return call_unsupported(why, "part_l: its strides differ from those of part_m");
    return attn_supports(call, true, why);
}

static int run(const dsv4_call *call, struct call_why why) {
    const dsv4_tensor *const splits = dsv4_find(call, "splits");
    const dsv4_tensor *const acc = dsv4_find(call, "part_acc");
    struct attn_args a = attn_args_of(call, true);
    attn_output(&a.part_m, &a.part_token, &a.part_split, dsv4_find(call, "part_m"));
    attn_output(&a.part_l, &a.part_token, &a.part_split, dsv4_find(call, "part_l"));
    attn_output(&a.part_lse, &a.part_token, &a.part_split, dsv4_find(call, "part_lse"));
    attn_output(&a.part_acc, &a.acc_token, &a.acc_split, acc);
    a.acc_head = acc->stride[2];
    a.empty_untouched = dsv4_is(call, "empty", "untouched");
    a.splits = call_divisor(splits->shape[1] - 1);
    return attn_launch<true, true>(call, a, splits->shape[0] * a.splits.value, why);
}

CALL_ENTRY_POINTS(attn_decode_partial)
