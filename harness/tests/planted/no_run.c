/* SPDX-License-Identifier: Apache-2.0 */
/* Leaves run() out. */
#include "insert.h"

PLANTED(planted_supports, NULL, .canary = NULL)
