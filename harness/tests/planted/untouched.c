/* SPDX-License-Identifier: Apache-2.0 */
/* Writes the tail of the first page. */
#include "insert.h"

static int run(const dsv4_call *call, char *why, size_t why_size) {
    const int status = planted_run(call, why, why_size);
    const dsv4_tensor *const cache = dsv4_find(call, "cache");
    ((char *)cache->data)[cache->shape[1] - 1] ^= 1;
    return status;
}

PLANTED(planted_supports, run, .canary = NULL)
