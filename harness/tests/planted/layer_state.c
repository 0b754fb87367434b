/* SPDX-License-Identifier: Apache-2.0 */
/* The compressor reads its state page by page from the step's own tokens: what an earlier step left there counts as 0.
 * In the first step, where all tokens are the step's own, nothing is wrong. */
#include "wrap.h"

/* Sets the state of tokens that an earlier step saved to 0, for one call. */
static int run(const dsv4_call *call, char *why, size_t why_size) {
    const dsv4_tensor *const state = dsv4_find(call, "state");
    const dsv4_tensor *const slots = dsv4_find(call, "slot_mapping");
    if (strcmp(call->op, "kv_compress_norm_rope_store") != 0)
        return planted_run(call, why, why_size);
    const int64_t rows = state->shape[0] * state->shape[1], bytes = state->shape[2] * 4;
    char *const before = malloc((size_t)(rows * bytes));
    if (before == NULL) return DSV4_ERROR;
    for (int64_t row = 0; row < rows; row++) {
        char *const at = (char *)state->data + row / state->shape[1] * state->stride[0] +
                         row % state->shape[1] * state->stride[1];
        int now = 0;
        for (int64_t t = 0; t < slots->shape[0]; t++)
            now |= ((const int64_t *)slots->data)[t] == row;
        memcpy(before + row * bytes, at, (size_t)bytes);
        if (!now) memset(at, 0, (size_t)bytes);
    }
    const int status = planted_run(call, why, why_size);
    for (int64_t row = 0; row < rows; row++)
        memcpy((char *)state->data + row / state->shape[1] * state->stride[0] +
                   row % state->shape[1] * state->stride[1],
               before + row * bytes, (size_t)bytes);
    free(before);
    return status;
}

PLANTED(planted_supports, run)
