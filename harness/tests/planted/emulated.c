/* SPDX-License-Identifier: Apache-2.0 */
/* Right, but no real device ran: every line must say so. */
#include "insert.h"

const dsv4_plugin *dsv4_plugin_v1(void) {
    static const dsv4_plugin plugin = {.size = sizeof plugin,
                                       .abi = DSV4_ABI_VERSION,
                                       .name = "planted-emulated",
                                       .version = "1",
                                       .device = "cpu",
                                       .supports = planted_supports,
                                       .run = planted_run};
    return &plugin;
}
