/* SPDX-License-Identifier: Apache-2.0 */
/* Closes every file descriptor, as a daemon would. */
#include <unistd.h>

#include "insert.h"

static int run(const dsv4_call *call, char *why, size_t why_size) {
    for (int fd = 3; fd < 256; fd++) close(fd);
    return planted_run(call, why, why_size);
}

PLANTED(planted_supports, run, .canary = NULL)
