/* SPDX-License-Identifier: Apache-2.0 */
/* One op in the middle of a layer, the indexer's top-k, loses its best row; all others are right. */
#include "wrap.h"

static int run(const dsv4_call *call, char *why, size_t why_size) {
    const int status = planted_run(call, why, why_size);
    if (strcmp(call->op, "idx_topk") != 0 || status != DSV4_OK) return status;
    const dsv4_tensor *const out = dsv4_find(call, "out");
    for (int64_t row = 0; row < out->shape[0]; row++) {
        int32_t *const first = (int32_t *)(void *)((char *)out->data + row * out->stride[0]);
        if (first[0] >= 0 && first[1] >= 0) first[0] = first[1];
    }
    return DSV4_OK;
}

PLANTED(planted_supports, run)
