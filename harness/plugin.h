/* SPDX-License-Identifier: Apache-2.0 */
/* Opening a plug-in. Only a worker process does this: what a shared object does on loading is its own affair. */
#ifndef DSV4_PLUGIN_LOAD_H
#define DSV4_PLUGIN_LOAD_H

#include "../reference/op.h"
#include "home.h"

/* NULL with err set: not found, not a shared object, no such symbol, another ABI, a missing function. */
const dsv4_plugin *dsv4_plugin_open(const char *path, struct dsv4_err *err);

/* Whether `path` is to be opened by Python rather than by dlopen(): its name ends in .py. */
bool dsv4_plugin_is_python(const char *path);

/* Turns --impl ref|cuda|hip|PATH into a path; `directory` as from dsv4_build_directory(). -1 with err set. */
int dsv4_plugin_path(char *path, size_t size, const char *impl, const char *directory,
                     struct dsv4_err *err);

#endif
