/* SPDX-License-Identifier: Apache-2.0 */
/* Adds into its output, as if somebody had cleared it. */
#include "insert.h"

static int run(const dsv4_call *call, char *why, size_t why_size) {
    uint8_t *scales, before[DATA];
    const int64_t slot = planted_slot(call, 0);
    const uint8_t *const data = planted_data(call, slot, &scales);
    memcpy(before, data, sizeof before);
    const int status = planted_run(call, why, why_size);
    uint8_t *const after = planted_data(call, slot, &scales);
    for (int i = 0; i < QUANTISED; i++) after[i] = (uint8_t)(after[i] | before[i]);
    return status;
}

PLANTED(planted_supports, run, .canary = NULL)
