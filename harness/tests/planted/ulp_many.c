/* SPDX-License-Identifier: Apache-2.0 */
/* Errors that no single element shows, for a sum of so many terms may err by more, but a whole tensor does. */
#include "bounds.h"

static int run(const dsv4_call *call, char *why, size_t why_size) {
    return planted_move(call, 24, why, why_size);
}

PLANTED(planted_supports, run)
