/* SPDX-License-Identifier: Apache-2.0 */
/* Does the work and reports a failure. */
#include "insert.h"

static int run(const dsv4_call *call, char *why, size_t why_size) {
    planted_run(call, why, why_size);
    snprintf(why, why_size, "launch failed: out of registers");
    return DSV4_ERROR;
}

PLANTED(planted_supports, run, .canary = NULL)
