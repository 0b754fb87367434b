/* SPDX-License-Identifier: Apache-2.0 */
/* Dies while it is loaded. */
#include <signal.h>

#include "insert.h"

__attribute__((constructor)) static void die(void) { raise(SIGSEGV); }

PLANTED(planted_supports, planted_run, .canary = NULL)
