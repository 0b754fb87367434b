/* SPDX-License-Identifier: Apache-2.0 */
/* Every float one unit in the last place too large, and the arithmetic declared by which that is right, in every step. */
#include "bounds.h"

static int run(const dsv4_call *call, char *why, size_t why_size) {
    return planted_move(call, 1, why, why_size);
}

static int declare(const dsv4_call *call, dsv4_arithmetic *arithmetic) {
    (void)call;
    arithmetic->accumulation = DSV4_F32_ANY;
    return DSV4_OK;
}

const dsv4_plugin *dsv4_plugin_v1(void) {
    static const dsv4_plugin plugin = {.size = sizeof plugin,
                                       .abi = DSV4_ABI_VERSION,
                                       .name = "planted",
                                       .version = "1",
                                       .device = "cpu",
                                       .supports = planted_supports,
                                       .run = run,
                                       .declare = declare};
    return &plugin;
}
