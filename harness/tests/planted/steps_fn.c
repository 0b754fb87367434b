/* SPDX-License-Identifier: Apache-2.0 */
/* Has the matrix of its first call, and sums in an order of its own. */
#include "nudge.h"

static int run(const dsv4_call *call, char *why, size_t why_size) {
    static unsigned char *first;
    dsv4_tensor tensors[16];
    dsv4_call other = *call;
    if (call->n_tensors > 16) return DSV4_ERROR;
    if (first == NULL) first = planted_copy(dsv4_find(call, "fn"));
    memcpy(tensors, call->tensors, call->n_tensors * sizeof *tensors);
    other.tensors = tensors;
    for (uint32_t t = 0; t < call->n_tensors; t++)
        if (strcmp(tensors[t].name, "fn") == 0) tensors[t].data = first;
    return planted_nudged(&other, dsv4_find(call, "mixes_raw"), why, why_size);
}

PLANTED(planted_supports, run)
