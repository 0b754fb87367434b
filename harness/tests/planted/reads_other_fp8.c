/* SPDX-License-Identifier: Apache-2.0 */
/* Reads FP8 codes of one kind as those of the other, and attends in an order of its own. */
#include "nudge.h"

static int run(const dsv4_call *call, char *why, size_t why_size) {
    dsv4_param params[32];
    dsv4_call other = *call;
    if (call->n_params > 32) return DSV4_ERROR;
    memcpy(params, call->params, call->n_params * sizeof *params);
    other.params = params;
    for (uint32_t p = 0; p < call->n_params; p++)
        if (strcmp(params[p].name, "fp8") == 0)
            params[p].s = dsv4_is(call, "fp8", "ocp") ? "fnuz240" : "ocp";
    return planted_nudged(&other, dsv4_find(call, "o"), why, why_size);
}

PLANTED(planted_supports, run)
