/* SPDX-License-Identifier: Apache-2.0 */
/* Nothing is wrong: the control. */
#include "insert.h"

PLANTED(planted_supports, planted_run, .canary = NULL)
