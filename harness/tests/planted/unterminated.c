/* SPDX-License-Identifier: Apache-2.0 */
/* Fills every text buffer to its last byte and forgets the end. */
#include "insert.h"

static int canary(char *line, size_t line_size) {
    memset(line, 'c', line_size);
    return DSV4_OK;
}

static int run(const dsv4_call *call, char *why, size_t why_size) {
    (void)call;
    memset(why, 'w', why_size);
    return DSV4_ERROR;
}

PLANTED(planted_supports, run, .canary = canary)
