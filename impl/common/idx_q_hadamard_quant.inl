/* SPDX-License-Identifier: Apache-2.0 */
/* idx_q_hadamard_quant: rotate twice, quantise; see idx_query.inl. */
#include "idx_query.inl"

static int supports(const dsv4_call *call, struct call_why why) {
    const bool mxfp4 = dsv4_is(call, "format", "mxfp4");
    const bool shuffled = mxfp4 && dsv4_is(call, "scale_layout", "shuffled");
    CALL_NEED(call, "scales", mxfp4 ? DSV4_U8 : DSV4_F32, shuffled ? 4 : 3, why);
    return query_supports(call, DSV4_F32, why);
}

static int run(const dsv4_call *call, struct call_why why) {
    struct query_args a;
    const bool any = query_open(call, a);
    if (a.shuffled && dsv4_is(call, "format", "mxfp4") && a.heads % INDEXER_TILE != 0)
        return DSV4_REFUSED;
    return any ? query_launch<true, false>(call, a, why) : DSV4_OK;
}

CALL_ENTRY_POINTS(idx_q_hadamard_quant)
