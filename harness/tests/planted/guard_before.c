/* SPDX-License-Identifier: Apache-2.0 */
/* Writes one byte before the cache. */
#include "insert.h"

static int run(const dsv4_call *call, char *why, size_t why_size) {
    const int status = planted_run(call, why, why_size);
    ((char *)dsv4_find(call, "cache")->data)[-1] ^= 1;
    return status;
}

PLANTED(planted_supports, run, .canary = NULL)
