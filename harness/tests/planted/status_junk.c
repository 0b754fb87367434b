/* SPDX-License-Identifier: Apache-2.0 */
/* run() returns a CUDA error code. */
#include "insert.h"

static int run(const dsv4_call *call, char *why, size_t why_size) {
    planted_run(call, why, why_size);
    return 700;
}

PLANTED(planted_supports, run, .canary = NULL)
