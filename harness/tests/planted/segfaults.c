/* SPDX-License-Identifier: Apache-2.0 */
#include "insert.h"

static int run(const dsv4_call *call, char *why, size_t why_size) {
    int *volatile nowhere = NULL;
    (void)why;
    (void)why_size;
    return *nowhere + (int)call->size;
}

PLANTED(planted_supports, run, .canary = NULL)
