/* SPDX-License-Identifier: Apache-2.0 */
#include <stdlib.h>

#include "insert.h"

static int run(const dsv4_call *call, char *why, size_t why_size) {
    (void)why;
    (void)why_size;
    fprintf(stderr, "assertion failed: %s is not ready\n", call->op);
    abort();
}

PLANTED(planted_supports, run, .canary = NULL)
