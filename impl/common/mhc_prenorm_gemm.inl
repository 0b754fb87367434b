/* SPDX-License-Identifier: Apache-2.0 */
#include "mhc_dots.inl"

static int supports(const dsv4_call *call, struct call_why why) {
    MHC_NEED(call, "residual", DSV4_BF16, 3, why);
    MHC_NEED(call, "fn", DSV4_F32, 2, why);
    CALL_NEED(call, "mixes_raw", DSV4_F32, 3, why);
    CALL_NEED(call, "sqrsum", DSV4_F32, 2, why);
    return mhc_supports_hidden(call, why);
}

static int run(const dsv4_call *call, struct call_why why) {
    const dsv4_tensor *const fn = dsv4_find(call, "fn"), *const mixes =
                                                             dsv4_find(call, "mixes_raw");
    const dsv4_tensor *const squares = dsv4_find(call, "sqrsum");
    struct mhc_dots a;
    mhc_dots_of(&a, call, fn);
    a.rows = mhc_tensor_of(dsv4_find(call, "residual"));
    a.mixes = (char *)mixes->data;
    a.mixes_split = mixes->stride[0];
    a.mixes_row = mixes->stride[1];
    a.squares = (char *)squares->data;
    a.squares_split = squares->stride[0];
    a.squares_row = squares->stride[1];
    a.splits = (int)mixes->shape[0];
    if (a.tokens == 0) return DSV4_OK;
    return mhc_dots_run<MHC_ROWS, MHC_MIXES>(a, call, why);
}

CALL_ENTRY_POINTS(mhc_prenorm_gemm)
