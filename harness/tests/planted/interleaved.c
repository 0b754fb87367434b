/* SPDX-License-Identifier: Apache-2.0 */
/* Lays tokens out one after the other, scales and all, as a page of another layout has them. */
#include "insert.h"

static int run(const dsv4_call *call, char *why, size_t why_size) {
    const dsv4_tensor *const cache = dsv4_find(call, "cache");
    const int64_t block_size = dsv4_int(call, "block_size", 64);
    (void)why;
    (void)why_size;
    for (int64_t t = 0; t < dsv4_find(call, "slot_mapping")->shape[0]; t++) {
        const int64_t slot = planted_slot(call, t);
        uint8_t *const data = (uint8_t *)cache->data + slot / block_size * cache->stride[0] +
                              slot % block_size * (DATA + SCALES);
        if (slot >= 0) planted_row_to(call, t, data, data + DATA);
    }
    return DSV4_OK;
}

PLANTED(planted_supports, run, .canary = NULL)
