/* SPDX-License-Identifier: Apache-2.0 */
/* quant_mxfp4: FP4 by either rounding rule; see quant_rows.inl. */
#define QUANT_ROWS_KERNEL quant_mxfp4_kernel
#include "quant_rows.inl"

static int supports(const dsv4_call *call, struct call_why why) {
    CALL_NEED(call, "q", DSV4_U8, 2, why);
    return quant_rows_supports(call, why);
}

static int run(const dsv4_call *call, struct call_why why) {
    struct quant_rule rule = {};
    rule.most = 6.0f;
    rule.inverse_most = 1.0f / 6.0f;
    rule.floor = dsv4_is(call, "recipe", "deepgemm") ? 1e-4f : 6.0f * 0x1p-126f;
    rule.divides = !dsv4_is(call, "recipe", "ref");
    rule.strict = dsv4_is(call, "rounding", "strict");
    const struct quant_rows_args a = quant_rows_of(call, rule);
    if (a.rows == 0) return DSV4_OK;
    return dsv4_find(call, "x")->dtype == DSV4_F32
               ? quant_rows_launch<true, QUANT_FP4>(call, a, why)
               : quant_rows_launch<false, QUANT_FP4>(call, a, why);
}

CALL_ENTRY_POINTS(quant_mxfp4)
