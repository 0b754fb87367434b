/* SPDX-License-Identifier: Apache-2.0 */
/* A HIP plug-in as it is built without ROCm: its hip symbol is undefined until the back end has loaded the runtime. */
#include "../planted/insert.h"

int hipStreamSynchronize(void *stream);

static int run(const dsv4_call *call, char *why, size_t why_size) {
    const int status = planted_run(call, why, why_size);
    if (call->stream == NULL) {
        snprintf(why, why_size, "no stream");
        return DSV4_ERROR;
    }
    (void)hipStreamSynchronize; /* the symbol is what matters */
    if (dsv4_find(call, "k")->stride[0] == 1) hipStreamSynchronize(call->stream);
    return status;
}

const dsv4_plugin *dsv4_plugin_v1(void) {
    static const dsv4_plugin plugin = {.size = sizeof plugin,
                                       .abi = DSV4_ABI_VERSION,
                                       .name = "fake-hip",
                                       .version = "1",
                                       .device = "hip",
                                       .supports = planted_supports,
                                       .run = run};
    return &plugin;
}
