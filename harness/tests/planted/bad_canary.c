/* SPDX-License-Identifier: Apache-2.0 */
/* Right bytes, but its own check says that the build contracts. */
#include "insert.h"

static int canary(char *line, size_t line_size) {
    snprintf(line, line_size, "contraction ON");
    return DSV4_ERROR;
}

PLANTED(planted_supports, planted_run, .canary = canary)
