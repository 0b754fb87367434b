/* SPDX-License-Identifier: Apache-2.0 */
/* Writes three bytes past the end of the cache. */
#include "insert.h"

static int run(const dsv4_call *call, char *why, size_t why_size) {
    const int status = planted_run(call, why, why_size);
    const dsv4_tensor *const cache = dsv4_find(call, "cache");
    memset((char *)cache->data + (cache->shape[0] - 1) * cache->stride[0] + cache->shape[1], 0, 3);
    return status;
}

PLANTED(planted_supports, run, .canary = NULL)
