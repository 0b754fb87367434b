/* SPDX-License-Identifier: Apache-2.0 */
#include "insert.h"

const dsv4_plugin *dsv4_plugin_v1(void) { return NULL; }
