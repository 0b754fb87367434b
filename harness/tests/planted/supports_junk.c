/* SPDX-License-Identifier: Apache-2.0 */
/* supports() returns a count, as if it were a bool. */
#include "insert.h"

static int supports(const dsv4_call *call, char *why, size_t why_size) {
    (void)why;
    (void)why_size;
    return 40 + (int)call->n_tensors;
}

PLANTED(supports, planted_run, .canary = NULL)
