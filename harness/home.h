/* SPDX-License-Identifier: Apache-2.0 */
/* Where things are. What belongs to the executable lies beside it: `share` (once installed), python, back ends. */
#ifndef DSV4_HOME_H
#define DSV4_HOME_H

#include <stddef.h>

/* The directory of the running executable, or of libdsv4cts.so; back ends and our own plug-ins lie below it. */
void dsv4_build_directory(char *directory, size_t size);

/* The suites and vectors that --suites and --vectors mean by default: an installed executable's own, else those of the
 * working directory. */
const char *dsv4_suites_home(void);
const char *dsv4_vectors_home(void);

#endif
