/* SPDX-License-Identifier: Apache-2.0 */
/* Does the work and ends the process as if all were well. */
#include <stdlib.h>

#include "insert.h"

static int run(const dsv4_call *call, char *why, size_t why_size) {
    planted_run(call, why, why_size);
    exit(0);
}

PLANTED(planted_supports, run, .canary = NULL)
