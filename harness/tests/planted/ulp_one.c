/* SPDX-License-Identifier: Apache-2.0 */
/* Every float one unit in the last place too large: wrong by bits, right by a bound in fp32, wrong by one in bf16. */
#include "bounds.h"

static int run(const dsv4_call *call, char *why, size_t why_size) {
    return planted_move(call, 1, why, why_size);
}

PLANTED(planted_supports, run)
