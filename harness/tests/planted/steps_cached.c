/* SPDX-License-Identifier: Apache-2.0 */
/* Keeps the slots of its first call, as a captured graph does that was given host values. */
#include "insert.h"

static int64_t kept[64];
static int64_t n_kept = -1;

static int run(const dsv4_call *call, char *why, size_t why_size) {
    const dsv4_tensor *const slots = dsv4_find(call, "slot_mapping");
    (void)why;
    (void)why_size;
    if (n_kept < 0)
        for (n_kept = 0; n_kept < slots->shape[0] && n_kept < 64; n_kept++)
            kept[n_kept] = planted_slot(call, n_kept);
    for (int64_t t = 0; t < n_kept; t++)
        if (kept[t] >= 0) planted_row(call, t, kept[t]);
    return DSV4_OK;
}

PLANTED(planted_supports, run, .canary = NULL)
