/* SPDX-License-Identifier: Apache-2.0 */
/* Refuses what the contract computes. */
#include "insert.h"

static int run(const dsv4_call *call, char *why, size_t why_size) {
    snprintf(why, why_size, "%s wants at least 1024 tokens", call->op);
    return DSV4_REFUSED;
}

PLANTED(planted_supports, run, .canary = NULL)
