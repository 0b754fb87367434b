/* SPDX-License-Identifier: Apache-2.0 */
/* Right, and talkative: more than any pipe holds. */
#include "insert.h"

static int run(const dsv4_call *call, char *why, size_t why_size) {
    for (int i = 0; i < 40000; i++) printf("tile %d of %s is done\n", i, call->op);
    return planted_run(call, why, why_size);
}

PLANTED(planted_supports, run, .canary = NULL)
