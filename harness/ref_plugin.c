/* SPDX-License-Identifier: Apache-2.0 */
/* The reference as a plug-in, opened through the same door as everybody's. */
#include <stdio.h>

#include "../reference/num/bf16.h"
#include "../reference/op.h"

static int supports(const dsv4_call *call, char *why, size_t why_size) {
    if (dsv4_op_find(call->op) != NULL) return DSV4_OK;
    snprintf(why, why_size, "the reference has no op '%s'", call->op);
    return DSV4_UNSUPPORTED;
}

static int run(const dsv4_call *call, char *why, size_t why_size) {
    struct dsv4_err err = {0};
    const int status = dsv4_op_find(call->op)->run(call, 0, &err);
    if (status != DSV4_OK) snprintf(why, why_size, "%s", err.text);
    return status;
}

/* What the canon asks of a compiler, asked at run time: volatile keeps the answers from being worked out beforehand. */
static int canary(char *line, size_t line_size) {
    volatile float one_up = 1.0f + 0x1p-12f, minus = -(1.0f + 0x1p-11f);
    volatile float tiny = 0x1p-126f, half = 0.5f, tie = 1.0f + 0x1p-8f;
    const float contracted = one_up * one_up + minus; /* 2^-24 when contracted to an fma, else 0 */
    const float subnormal = tiny * half;
    const bool contraction = contracted != 0.0f, flushed = subnormal != 0x1p-127f;
    const bool ties = dsv4_bf16_from_f32(tie) != 0x3F80 || 0x1p24f + one_up * 1.0f < 0x1p24f;
    snprintf(line, line_size, "contraction %s, subnormals %s, ties %s", contraction ? "ON" : "off",
             flushed ? "FLUSHED" : "kept", ties ? "NOT TO EVEN" : "to even");
    return contraction || flushed || ties ? DSV4_ERROR : DSV4_OK;
}

const dsv4_plugin *dsv4_plugin_v1(void) {
    static const dsv4_plugin plugin = {
        .size = sizeof plugin,
        .abi = DSV4_ABI_VERSION,
        .name = "dsv4-cts reference",
        .version = "0.1.0",
        .device = "cpu",
        .supports = supports,
        .run = run,
        .canary = canary,
    };
    return &plugin;
}
