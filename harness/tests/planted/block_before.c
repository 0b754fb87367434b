/* SPDX-License-Identifier: Apache-2.0 */
/* Every token goes a block before its own, where there is one. */
#include "insert.h"

static int run(const dsv4_call *call, char *why, size_t why_size) {
    const int64_t block_size = dsv4_int(call, "block_size", 64);
    (void)why;
    (void)why_size;
    for (int64_t t = 0; t < dsv4_find(call, "slot_mapping")->shape[0]; t++)
        if (planted_slot(call, t) >= block_size)
            planted_row(call, t, planted_slot(call, t) - block_size);
    return DSV4_OK;
}

PLANTED(planted_supports, run, .canary = NULL)
