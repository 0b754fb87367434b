/* SPDX-License-Identifier: Apache-2.0 */
/* Right the first time; then it writes nothing any more. */
#include "insert.h"

static int run(const dsv4_call *call, char *why, size_t why_size) {
    static int calls;
    return calls++ > 0 ? DSV4_OK : planted_run(call, why, why_size);
}

PLANTED(planted_supports, run, .canary = NULL)
