/* SPDX-License-Identifier: Apache-2.0 */
/* Supports nothing at all. */
#include "insert.h"

static int supports(const dsv4_call *call, char *why, size_t why_size) {
    snprintf(why, why_size, "no kernel for %s yet", call->op);
    return DSV4_UNSUPPORTED;
}

PLANTED(supports, planted_run, .canary = NULL)
