/* SPDX-License-Identifier: Apache-2.0 */
/* Built against another ABI. */
#include "insert.h"

const dsv4_plugin *dsv4_plugin_v1(void) {
    static const dsv4_plugin plugin = {.size = sizeof plugin, .abi = 2};
    return &plugin;
}
