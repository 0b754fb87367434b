/* SPDX-License-Identifier: Apache-2.0 */
/* mhc_pre_broadcast: the dots of the embedding, then a block per token as in mhc_pre, which stores the streams too. */
#include "mhc_apply.inl"
#include "mhc_dots.inl"

static int supports(const dsv4_call *call, struct call_why why) {
    MHC_NEED(call, "embed", DSV4_BF16, 2, why);
    MHC_NEED(call, "fn_bc", DSV4_F32, 2, why);
    MHC_NEED(call, "residual", DSV4_BF16, 3, why);
    const int status =
        mhc_supports_scratch(call, "layer_input", MHC_MIXES, dsv4_int(call, "splits", 1), why);
    return status == DSV4_OK ? mhc_apply_supports(call, why) : status;
}

static int run(const dsv4_call *call, struct call_why why) {
    struct mhc_dots dots;
    struct mhc_apply apply;
    mhc_dots_of(&dots, call, dsv4_find(call, "fn_bc"));
    mhc_dots_scratch(&dots, dsv4_find(call, "layer_input"), MHC_MIXES,
                     (int)dsv4_int(call, "splits", 1));
    dots.rows = mhc_tensor_of(dsv4_find(call, "embed"));
    if (dots.tokens == 0) return DSV4_OK;
    const int status = mhc_dots_run<MHC_ROWS, MHC_MIXES>(dots, call, why);
    if (status != DSV4_OK) return status;
    mhc_apply_of(&apply, call, dots.width);
    mhc_raw_in(&apply.mix, dots.mixes, dots.mixes_split, dots.mixes_row, dots.splits);
    apply.residual = dots.rows; /* four times the same stream */
    apply.expanded = mhc_tensor_of(dsv4_find(call, "residual"));
    return mhc_apply_run(apply, call, why);
}

CALL_ENTRY_POINTS(mhc_pre_broadcast)
