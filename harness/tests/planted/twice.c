/* SPDX-License-Identifier: Apache-2.0 */
/* Sums in an order of its own, which moves them a little, and stores twice what is asked for. */
#include "bounds.h"

static int run(const dsv4_call *call, char *why, size_t why_size) {
    const int status = planted_move(call, 1, why, why_size);
    const dsv4_tensor *const out = dsv4_find(call, "out");
    for (int64_t r = 0; r < out->shape[0]; r++)
        for (int64_t i = 0; i < out->shape[1]; i++)
            *(float *)(void *)((char *)out->data + r * out->stride[0] + i * out->stride[1]) *= 2;
    return status;
}

PLANTED(planted_supports, run)
