/* SPDX-License-Identifier: Apache-2.0 */
/* mhc_post: see mhc_post_row.inl. */
#include "mhc_post_row.inl"

static int supports(const dsv4_call *call, struct call_why why) {
    MHC_NEED(call, "x", DSV4_BF16, 2, why);
    MHC_NEED(call, "residual", DSV4_BF16, 3, why);
    MHC_NEED(call, "out", DSV4_BF16, 3, why);
    int status = mhc_supports_weights(call, "post", why);
    if (status == DSV4_OK) status = mhc_supports_weights(call, "comb", why);
    return status == DSV4_OK ? mhc_supports_hidden(call, why) : status;
}

static int run(const dsv4_call *call, struct call_why why) {
    const int64_t tokens = dsv4_int(call, "tokens", 0);
    struct mhc_post_args a;
    if (tokens == 0) return DSV4_OK;
    a.x = mhc_tensor_of(dsv4_find(call, "x"));
    a.residual = mhc_tensor_of(dsv4_find(call, "residual"));
    a.post = mhc_tensor_of(dsv4_find(call, "post"));
    a.comb = mhc_tensor_of(dsv4_find(call, "comb"));
    a.out = mhc_tensor_of(dsv4_find(call, "out"));
    return mhc_post_run<true>(a, tokens, call, why);
}

CALL_ENTRY_POINTS(mhc_post)
