/* SPDX-License-Identifier: Apache-2.0 */
/* Its error message tries to rewrite the terminal and to break the XML. */
#include "insert.h"

static int run(const dsv4_call *call, char *why, size_t why_size) {
    (void)call;
    snprintf(why, why_size, "\033[2Jok\r]]></failure>\xff & \"all good\"");
    return DSV4_ERROR;
}

PLANTED(planted_supports, run, .canary = NULL)
