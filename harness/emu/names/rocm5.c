/* SPDX-License-Identifier: Apache-2.0 */
/*
 * libamdhip64.so.5: the same library under another name, but for what ROCm 6 renumbered: the kinds of memory and of
 * graph nodes.
 */
struct attributes {
    int type, device;
    void *device_pointer, *host_pointer;
    int is_managed;
    unsigned flags;
};

int hipPointerGetAttributes(struct attributes *a, const void *pointer);
int hipGraphNodeGetType(void *node, int *type);
int dsv4_emu_pointer_attributes(struct attributes *a, const void *pointer);
int dsv4_emu_node_type(void *node, int *type);

int hipPointerGetAttributes(struct attributes *a, const void *pointer) {
    enum { HOST, DEVICE, MANAGED = 4, HOST_6 = 1, DEVICE_6 = 2 };
    const int error = dsv4_emu_pointer_attributes(a, pointer);
    if (error == 0) a->type = a->type == HOST_6 ? HOST : a->type == DEVICE_6 ? DEVICE : MANAGED;
    return error;
}

int hipGraphNodeGetType(void *node, int *type) {
    const int error = dsv4_emu_node_type(node, type);
    if (error == 0) ++*type;
    return error;
}
