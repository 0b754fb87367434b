/* SPDX-License-Identifier: Apache-2.0 */
/* quant_group_fp8: FP8 by any recipe; see quant_rows.inl. */
#define QUANT_ROWS_KERNEL quant_group_fp8_kernel
#include "quant_rows.inl"

static int supports(const dsv4_call *call, struct call_why why) {
    CALL_NEED(call, "q", quant_fp8_dtype(call), 2, why);
    return quant_rows_supports(call, why);
}

static int run(const dsv4_call *call, struct call_why why) {
    const struct quant_rows_args a = quant_rows_of(call, quant_rule_of(call));
    const bool f32 = dsv4_find(call, "x")->dtype == DSV4_F32;
    if (a.rows == 0) return DSV4_OK;
    if (a.rule.fp8 == NUM_OCP)
        return f32 ? quant_rows_launch<true, QUANT_OCP>(call, a, why)
                   : quant_rows_launch<false, QUANT_OCP>(call, a, why);
    return f32 ? quant_rows_launch<true, QUANT_FNUZ>(call, a, why)
               : quant_rows_launch<false, QUANT_FNUZ>(call, a, why);
}

CALL_ENTRY_POINTS(quant_group_fp8)
