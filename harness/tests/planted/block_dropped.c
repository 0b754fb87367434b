/* SPDX-License-Identifier: Apache-2.0 */
/* Sums in an order of its own, which moves them a little, and leaves out the last block of 128 products. */
#include "bounds.h"

static void shorten(int64_t *k) { *k -= *k > 0 ? (*k - 1) % 128 + 1 : 0; }

static int run(const dsv4_call *call, char *why, size_t why_size) {
    dsv4_tensor tensors[3];
    dsv4_call shorter = *call;
    memcpy(tensors, call->tensors, sizeof tensors);
    shorter.tensors = tensors;
    for (int t = 0; t < 3; t++)
        if (strcmp(tensors[t].name, "out") != 0) shorten(&tensors[t].shape[tensors[t].ndim - 1]);
    return planted_move(&shorter, 1, why, why_size);
}

PLANTED(planted_supports, run)
