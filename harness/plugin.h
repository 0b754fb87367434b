/* SPDX-License-Identifier: Apache-2.0 */
/* Opening a plug-in. Only a worker process does this: what a shared object does on loading is its own affair. */
#ifndef DSV4_PLUGIN_LOAD_H
#define DSV4_PLUGIN_LOAD_H

#include "../reference/op.h"

/* NULL with err set: not found, not a shared object, no such symbol, another ABI, a missing function. */
const dsv4_plugin *dsv4_plugin_open(const char *path, struct dsv4_err *err);

/* The directory of the running executable; back ends and our own plug-ins lie below it. */
void dsv4_build_directory(char *directory, size_t size);

/* Turns --impl ref|cuda|hip|PATH into a path; `directory` as from dsv4_build_directory(). -1 with err set. */
int dsv4_plugin_path(char *path, size_t size, const char *impl, const char *directory,
                     struct dsv4_err *err);

#endif
