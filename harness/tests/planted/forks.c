/* SPDX-License-Identifier: Apache-2.0 */
/* Right, but two processes come back from the call, and a third one stays and writes later. */
#include <unistd.h>

#include "insert.h"

static int run(const dsv4_call *call, char *why, size_t why_size) {
    if (fork() == 0) {
        if (fork() == 0) {
            uint8_t *scales;
            usleep(200000);
            *planted_data(call, planted_slot(call, 0), &scales) ^= 1;
            for (;;) pause();
        }
        return DSV4_ERROR;
    }
    return planted_run(call, why, why_size);
}

PLANTED(planted_supports, run, .canary = NULL)
