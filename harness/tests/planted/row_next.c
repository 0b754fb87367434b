/* SPDX-License-Identifier: Apache-2.0 */
/* Every row goes where the next one belongs. */
#include "wrap.h"

static int run(const dsv4_call *call, char *why, size_t why_size) {
    const dsv4_tensor *const out = dsv4_find(call, "out");
    if (out == NULL || out->shape[0] < 2) return planted_run(call, why, why_size);
    const size_t row = (size_t)out->stride[0];
    char *const first = out->data, *const kept = malloc(row);
    if (kept == NULL) return DSV4_ERROR;
    memcpy(kept, first, row);
    const int status = planted_run(call, why, why_size);
    memmove(first + row, first, row * (size_t)(out->shape[0] - 1));
    memcpy(first, kept, row);
    free(kept);
    return status;
}

PLANTED(planted_supports, run)
