/* SPDX-License-Identifier: Apache-2.0 */
#include <unistd.h>

#include "insert.h"

static int run(const dsv4_call *call, char *why, size_t why_size) {
    (void)call;
    (void)why;
    (void)why_size;
    printf("waiting for a barrier that nobody signals\n");
    fflush(stdout);
    while (pause() != 0) continue;
    return DSV4_OK;
}

PLANTED(planted_supports, run, .canary = NULL)
