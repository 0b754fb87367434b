/* SPDX-License-Identifier: Apache-2.0 */
/* Wants a device that nobody has. */
#include "insert.h"

const dsv4_plugin *dsv4_plugin_v1(void) {
    static const dsv4_plugin plugin = {.size = sizeof plugin,
                                       .abi = DSV4_ABI_VERSION,
                                       .name = "planted",
                                       .version = "1",
                                       .device = "abacus",
                                       .supports = planted_supports,
                                       .run = planted_run};
    return &plugin;
}
