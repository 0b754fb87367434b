/* SPDX-License-Identifier: Apache-2.0 */
/* Uses its input as scratch. */
#include "insert.h"

static int run(const dsv4_call *call, char *why, size_t why_size) {
    const int status = planted_run(call, why, why_size);
    ((char *)dsv4_find(call, "k")->data)[2] ^= 1;
    return status;
}

PLANTED(planted_supports, run, .canary = NULL)
