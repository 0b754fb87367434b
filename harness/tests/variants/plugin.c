/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The reference in other arithmetic, right by a class that it declares: what a judge by bounds must let pass. Its ops are
 * compiled with one of the headers beside this file in front. Ops without a bound are declined, their outputs being exact,
 * and those where the variant is no other than the reference.
 */
#include <fnmatch.h>
#include <stdio.h>

#include "../../../reference/bound/arithmetic.h"

static bool differs(const char *op) {
    char globs[] = VARIANT_OPS, *rest = NULL;
    for (char *glob = strtok_r(globs, " ", &rest); glob != NULL; glob = strtok_r(NULL, " ", &rest))
        if (fnmatch(glob, op, 0) == 0) return true;
    return false;
}

static int supports(const dsv4_call *call, char *why, size_t why_size) {
    const struct dsv4_op *const op = dsv4_op_find(call->op);
    if (op != NULL && op->bound != NULL && differs(call->op)) return DSV4_OK;
    snprintf(why, why_size, "'%s' has no bound, or no other arithmetic here", call->op);
    return DSV4_UNSUPPORTED;
}

static int run(const dsv4_call *call, char *why, size_t why_size) {
    struct dsv4_err err = {0};
    const int status = dsv4_op_find(call->op)->run(call, 0, &err);
    if (status != DSV4_OK) snprintf(why, why_size, "%s", err.text);
    return status;
}

static int declare(const dsv4_call *call, dsv4_arithmetic *arithmetic) {
    struct dsv4_err err;
    (void)call;
    return dsv4_arithmetic_parse(arithmetic, VARIANT_CLASS, &err) == 0 ? DSV4_OK : DSV4_ERROR;
}

const dsv4_plugin *dsv4_plugin_v1(void) {
    static const dsv4_plugin plugin = {
        .size = sizeof plugin,
        .abi = DSV4_ABI_VERSION,
        .name = "variant of the reference",
        .version = "1",
        .device = "cpu",
        .supports = supports,
        .run = run,
        .declare = declare,
    };
    return &plugin;
}
