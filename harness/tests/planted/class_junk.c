/* SPDX-License-Identifier: Apache-2.0 */
/* Declares arithmetic that there is none of. */
#include "wrap.h"

static int declare(const dsv4_call *call, dsv4_arithmetic *arithmetic) {
    (void)call;
    arithmetic->accumulation = 77;
    return DSV4_OK;
}

const dsv4_plugin *dsv4_plugin_v1(void) {
    static const dsv4_plugin plugin = {.size = sizeof plugin,
                                       .abi = DSV4_ABI_VERSION,
                                       .name = "planted",
                                       .version = "1",
                                       .device = "cpu",
                                       .supports = planted_supports,
                                       .run = planted_run,
                                       .declare = declare};
    return &plugin;
}
