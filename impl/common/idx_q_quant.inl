/* SPDX-License-Identifier: Apache-2.0 */
/* idx_q_quant: rotate, quantise, fold the scale into the weights; see idx_query.inl. */
#include "idx_query.inl"

static bool is_narrow(const dsv4_call *call) {
    return call_has(dsv4_find(call, "rope_table"), DSV4_BF16, 2);
}

static int supports(const dsv4_call *call, struct call_why why) {
    const dsv4_tensor *const weights = dsv4_find(call, "weights");
    if (!call_has(weights, DSV4_F32, 2)) CALL_NEED(call, "weights", DSV4_BF16, 2, why);
    CALL_NEED(call, "weights_out", DSV4_F32, 2, why);
    if (dsv4_is(call, "format", "mxfp4")) CALL_NEED(call, "scales", DSV4_U8, 3, why);
    return query_supports(call, is_narrow(call) ? DSV4_BF16 : DSV4_F32, why);
}

static int run(const dsv4_call *call, struct call_why why) {
    const dsv4_tensor *const weights = dsv4_find(call, "weights");
    const dsv4_tensor *const weights_out = dsv4_find(call, "weights_out");
    struct query_args a;
    if (!query_open(call, a)) return DSV4_OK;
    a.weights = (const char *)weights->data;
    a.weights_token = weights->stride[0];
    a.weights_bf16 = weights->dtype == DSV4_BF16;
    a.weights_out = (char *)weights_out->data;
    a.weights_out_token = weights_out->stride[0];
    a.softmax_scale = dsv4_float(call, "softmax_scale", 0.088388346f);
    a.head_scale = dsv4_float(call, "head_scale", 0.125f);
    return is_narrow(call) ? query_launch<false, true>(call, a, why)
                           : query_launch<false, false>(call, a, why);
}

CALL_ENTRY_POINTS(idx_q_quant)
