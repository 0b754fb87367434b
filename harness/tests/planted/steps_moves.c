/* SPDX-License-Identifier: Apache-2.0 */
/* Fails when its buffers move between the steps of a sequence: they must not. */
#include "insert.h"

static int run(const dsv4_call *call, char *why, size_t why_size) {
    static const void *place;
    const void *const now = dsv4_find(call, "cache")->data;
    if (place == NULL) place = now;
    if (place != now) {
        snprintf(why, why_size, "the cache has moved");
        return DSV4_ERROR;
    }
    return planted_run(call, why, why_size);
}

PLANTED(planted_supports, run, .canary = NULL)
