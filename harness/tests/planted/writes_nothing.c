/* SPDX-License-Identifier: Apache-2.0 */
#include "insert.h"

static int run(const dsv4_call *call, char *why, size_t why_size) {
    (void)call;
    (void)why;
    (void)why_size;
    return DSV4_OK;
}

PLANTED(planted_supports, run, .canary = NULL)
