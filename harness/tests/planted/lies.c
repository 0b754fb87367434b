/* SPDX-License-Identifier: Apache-2.0 */
/* supports() says yes, run() says no. */
#include "insert.h"

static int run(const dsv4_call *call, char *why, size_t why_size) {
    snprintf(why, why_size, "no kernel for %s after all", call->op);
    return DSV4_UNSUPPORTED;
}

PLANTED(planted_supports, run, .canary = NULL)
