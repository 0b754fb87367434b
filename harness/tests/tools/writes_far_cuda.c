/* SPDX-License-Identifier: Apache-2.0 */
/* The CUDA plug-in beside this one, right in every row, and a byte more: of a page far from all of them. The harness must
 * see it, though it does not bring pages to the host that nobody wrote. */
#include <cuda_runtime_api.h>
#include <dlfcn.h>
#include <stdio.h>
#include <stdlib.h>

#include "../../include/dsv4_plugin.h"

const dsv4_plugin *dsv4_plugin_v1(void);

static const dsv4_plugin *right(void) {
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
    snprintf(path, sizeof path, "%.*s/cuda.so", (int)(slash - self.dli_fname), self.dli_fname);
    void *const library = dlopen(path, RTLD_NOW | RTLD_LOCAL);
    if (library != NULL) *(void **)(&entry) = dlsym(library, "dsv4_plugin_v1");
    if (entry == NULL) abort();
    return plugin = entry();
}

static int supports(const dsv4_call *call, char *why, size_t why_size) {
    return right()->supports(call, why, why_size);
}

static int run(const dsv4_call *call, char *why, size_t why_size) {
    const dsv4_tensor *const cache = dsv4_find(call, "cache");
    const int status = right()->run(call, why, why_size);
    char *const page = (char *)cache->data + cache->shape[0] / 3 * cache->stride[0];
    if (status == DSV4_OK && cudaMemsetAsync(page + 8, 1, 1, call->stream) != cudaSuccess)
        return DSV4_ERROR;
    return status;
}

const dsv4_plugin *dsv4_plugin_v1(void) {
    static const dsv4_plugin plugin = {.size = sizeof plugin,
                                       .abi = DSV4_ABI_VERSION,
                                       .name = "writes-far",
                                       .version = "1",
                                       .device = "cuda",
                                       .supports = supports,
                                       .run = run};
    return &plugin;
}
