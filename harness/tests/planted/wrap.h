/* SPDX-License-Identifier: Apache-2.0 */
/* The reference's plug-in, which lies in build/cpu, as the right part of a plug-in that has all ops and one thing wrong. */
#ifndef PLANTED_WRAP_H
#define PLANTED_WRAP_H

#include <dlfcn.h>
#include <stdio.h>
#include <stdlib.h>

#include "../../include/dsv4_plugin.h"

const dsv4_plugin *dsv4_plugin_v1(void);

/* From build/tests/planted/NAME.so to build/cpu/ref.so. */
static inline const dsv4_plugin *planted_reference(void) {
    static const dsv4_plugin *plugin;
    char path[4300];
    Dl_info self;
    const dsv4_plugin *(*entry)(void) = NULL;
    const dsv4_plugin *(*const here)(void) = dsv4_plugin_v1;
    void *address = NULL;
    if (plugin != NULL) return plugin;
    memcpy(&address, &here, sizeof address);
    if (dladdr(address, &self) == 0) abort();
    const char *const slash = strrchr(self.dli_fname, '/');
    snprintf(path, sizeof path, "%.*s/../../cpu/ref.so", (int)(slash - self.dli_fname),
             self.dli_fname);
    void *const library = dlopen(path, RTLD_NOW | RTLD_LOCAL);
    if (library != NULL) *(void **)(&entry) = dlsym(library, "dsv4_plugin_v1");
    if (entry == NULL) abort();
    return plugin = entry();
}

static inline int planted_supports(const dsv4_call *call, char *why, size_t why_size) {
    return planted_reference()->supports(call, why, why_size);
}

static inline int planted_run(const dsv4_call *call, char *why, size_t why_size) {
    return planted_reference()->run(call, why, why_size);
}

#define PLANTED(supports_function, run_function)                                                   \
    const dsv4_plugin *dsv4_plugin_v1(void) {                                                      \
        static const dsv4_plugin plugin = {.size = sizeof plugin,                                  \
                                           .abi = DSV4_ABI_VERSION,                                \
                                           .name = "planted",                                      \
                                           .version = "1",                                         \
                                           .device = "cpu",                                        \
                                           .supports = supports_function,                          \
                                           .run = run_function};                                   \
        return &plugin;                                                                            \
    }

#endif
