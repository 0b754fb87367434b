/* SPDX-License-Identifier: Apache-2.0 */
/* Right the first time, and one bit off from then on. */
#include "insert.h"

static int calls;

static int run(const dsv4_call *call, char *why, size_t why_size) {
    uint8_t *scales;
    const int status = planted_run(call, why, why_size);
    if (calls++ > 0) *planted_data(call, planted_slot(call, 0), &scales) ^= 1;
    return status;
}

PLANTED(planted_supports, run, .canary = NULL)
