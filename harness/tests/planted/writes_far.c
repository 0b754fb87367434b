/* SPDX-License-Identifier: Apache-2.0 */
/* Right in every row, and writes a byte of a page far from all of them. */
#include "wrap.h"

static int run(const dsv4_call *call, char *why, size_t why_size) {
    const dsv4_tensor *const cache = dsv4_find(call, "cache");
    ((unsigned char *)cache->data)[cache->shape[0] / 3 * cache->stride[0] + 8] = 1;
    return planted_run(call, why, why_size);
}

PLANTED(planted_supports, run)
