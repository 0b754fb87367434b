/* SPDX-License-Identifier: Apache-2.0 */
/*
 * mhc_fused_post_pre: the dots make the new streams while they load; then a block per token as in mhc_pre. Many rows whose
 * dots are of the rounded streams get these beforehand: made while loading, they would cost more than one more pass.
 */
#include "mhc_apply.inl"
#include "mhc_dots.inl"
#include "mhc_post_row.inl"

static int supports(const dsv4_call *call, struct call_why why) {
    MHC_NEED(call, "x", DSV4_BF16, 2, why);
    MHC_NEED(call, "residual", DSV4_BF16, 3, why);
    CALL_NEED(call, "post_in", DSV4_F32, 3, why);
    CALL_NEED(call, "comb_in", DSV4_F32, 3, why);
    MHC_NEED(call, "fn", DSV4_F32, 2, why);
    MHC_NEED(call, "residual_out", DSV4_BF16, 3, why);
    const int status =
        mhc_supports_scratch(call, "layer_input", MHC_MIXES, dsv4_int(call, "splits", 1), why);
    return status == DSV4_OK ? mhc_apply_supports(call, why) : status;
}

static int run_dots(struct mhc_dots dots, const dsv4_call *call, struct call_why why) {
    if (dsv4_is(call, "residual", "unrounded"))
        return mhc_dots_run<MHC_POSTED_UNROUNDED, MHC_MIXES>(dots, call, why);
#if !GPU_HIP
    if (mhc_dots_wide(dots)) {
        const struct mhc_post_args post = {dots.x, dots.rows, dots.post, dots.comb, dots.out, {}};
        const int status = mhc_post_run<false>(post, dots.tokens, call, why);
        dots.rows = dots.out;
        return status == DSV4_OK ? mhc_dots_run<MHC_ROWS, MHC_MIXES>(dots, call, why) : status;
    }
#endif
    return mhc_dots_run<MHC_POSTED, MHC_MIXES>(dots, call, why);
}

static int run(const dsv4_call *call, struct call_why why) {
    struct mhc_dots dots;
    struct mhc_apply apply;
    mhc_dots_of(&dots, call, dsv4_find(call, "fn"));
    mhc_dots_scratch(&dots, dsv4_find(call, "layer_input"), MHC_MIXES,
                     (int)dsv4_int(call, "splits", 1));
    dots.rows = mhc_tensor_of(dsv4_find(call, "residual"));
    dots.x = mhc_tensor_of(dsv4_find(call, "x"));
    dots.post = mhc_tensor_of(dsv4_find(call, "post_in"));
    dots.comb = mhc_tensor_of(dsv4_find(call, "comb_in"));
    dots.out = mhc_tensor_of(dsv4_find(call, "residual_out"));
    if (dots.tokens == 0) return DSV4_OK;
    const int status = run_dots(dots, call, why);
    if (status != DSV4_OK) return status;
    mhc_apply_of(&apply, call, dots.width);
    mhc_raw_in(&apply.mix, dots.mixes, dots.mixes_split, dots.mixes_row, dots.splits);
    apply.residual = dots.out;
    return mhc_apply_run(apply, call, why);
}

CALL_ENTRY_POINTS(mhc_fused_post_pre)
