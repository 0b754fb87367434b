/* SPDX-License-Identifier: Apache-2.0 */
/* mhc_pre: a block per token. */
#include "mhc_apply.inl"

static int supports(const dsv4_call *call, struct call_why why) {
    CALL_NEED(call, "mixes_raw", DSV4_F32, 3, why);
    CALL_NEED(call, "sqrsum", DSV4_F32, 2, why);
    MHC_NEED(call, "residual", DSV4_BF16, 3, why);
    return mhc_apply_supports(call, why);
}

static int run(const dsv4_call *call, struct call_why why) {
    struct mhc_apply a;
    if (dsv4_int(call, "tokens", 0) == 0) return DSV4_OK;
    mhc_apply_of(&a, call, MHC_STREAMS * dsv4_int(call, "hidden", 0));
    mhc_raw_of(&a.mix, call);
    a.residual = mhc_tensor_of(dsv4_find(call, "residual"));
    return mhc_apply_run(a, call, why);
}

CALL_ENTRY_POINTS(mhc_pre)
