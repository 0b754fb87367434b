/* SPDX-License-Identifier: Apache-2.0 */
/* The plug-in: a table of the registry's ops. An op without kernels here is unsupported, not a link error. */
#include "canary.inl"

#define OP(name)                                                                                   \
    extern "C"                                                                                     \
        __attribute__((weak)) int dsv4_gpu_##name##_supports(const dsv4_call *, char *, size_t);   \
    extern "C" __attribute__((weak)) int dsv4_gpu_##name##_run(const dsv4_call *, char *, size_t);
#include "../../reference/ops.def"
#undef OP

struct plugin_op {
    const char *name;
    int (*supports)(const dsv4_call *call, char *why, size_t size);
    int (*run)(const dsv4_call *call, char *why, size_t size);
};

static const struct plugin_op plugin_ops[] = {
#define OP(name) {#name, dsv4_gpu_##name##_supports, dsv4_gpu_##name##_run},
#include "../../reference/ops.def"
#undef OP
};

static const struct plugin_op *plugin_find(const dsv4_call *call, char *why, size_t size) {
    for (size_t i = 0; i < sizeof plugin_ops / sizeof *plugin_ops; i++)
        if (plugin_ops[i].run != NULL && strcmp(plugin_ops[i].name, call->op) == 0)
            return &plugin_ops[i];
    if (size > 0) snprintf(why, size, "no kernel for %s", call->op);
    return NULL;
}

static int plugin_supports(const dsv4_call *call, char *why, size_t size) {
    const struct plugin_op *const op = plugin_find(call, why, size);
    return op == NULL ? DSV4_UNSUPPORTED : op->supports(call, why, size);
}

static int plugin_run(const dsv4_call *call, char *why, size_t size) {
    const struct plugin_op *const op = plugin_find(call, why, size);
    return op == NULL ? DSV4_UNSUPPORTED : op->run(call, why, size);
}

static const dsv4_plugin plugin = {
    sizeof(dsv4_plugin),
    DSV4_ABI_VERSION,
    "dsv4-" GPU_PLUGIN_NAME,
    "1.0.0",
    GPU_DEVICE_NAME,
    plugin_supports,
    plugin_run,
    canary,
    NULL,
};

extern "C" __attribute__((visibility("default"))) const dsv4_plugin *dsv4_plugin_v1(void) {
    return &plugin;
}
