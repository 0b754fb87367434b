/* SPDX-License-Identifier: Apache-2.0 */
#include "device.h"

#include <dlfcn.h>
#include <stdio.h>
#include <sys/utsname.h>
#include <unistd.h>

#include "../reference/memory.h"

static int done(void) { return DSV4_OK; }
static int host_open(int index) { return index == 0 ? DSV4_OK : DSV4_UNSUPPORTED; }
static const char *host_error(void) { return "the CPU is device 0; there is no other"; }

static void host_describe(char *text, size_t size) {
    char line[256], model[200] = "CPU";
    struct utsname system;
    FILE *file = fopen("/proc/cpuinfo", "r");
    while (file != NULL && fgets(line, sizeof line, file) != NULL)
        if (sscanf(line, "model name : %199[^\n]", model) == 1) break;
    if (file != NULL) fclose(file);
    if (uname(&system) != 0) snprintf(system.release, sizeof system.release, "unknown");
    snprintf(text, size, "%s, %ld threads, Linux %s", model, sysconf(_SC_NPROCESSORS_ONLN),
             system.release);
}

static int host_alloc(void **memory, size_t bytes) {
    *memory = dsv4_alloc(bytes);
    return DSV4_OK;
}

static int host_release(void *memory) {
    dsv4_free(memory);
    return DSV4_OK;
}

static int host_zero(void *memory, size_t bytes) {
    memset(memory, 0, bytes);
    return DSV4_OK;
}

static int host_copy(void *destination, const void *source, size_t bytes) {
    memcpy(destination, source, bytes);
    return DSV4_OK;
}

static int host_stream_create(void **stream) {
    *stream = NULL;
    return DSV4_OK;
}

static int host_stream(void *stream) {
    (void)stream;
    return done();
}

/* No graphs and no kernels on the host: `bench` times calls there. */
const struct dsv4_device dsv4_device_host = {
    .size = sizeof(struct dsv4_device),
    .name = "cpu",
    .open = host_open,
    .describe = host_describe,
    .error = host_error,
    .alloc = host_alloc,
    .release = host_release,
    .zero = host_zero,
    .upload = host_copy,
    .download = host_copy,
    .stream_create = host_stream_create,
    .stream_destroy = host_stream,
    .stream_sync = host_stream,
    .count = 1,
};

const struct dsv4_device *dsv4_device_find(const char *name, const char *directory,
                                           struct dsv4_err *err) {
    char path[4200];
    if (strcmp(name, "cpu") == 0) return &dsv4_device_host;
    if (strcmp(name, "cuda") != 0 && strcmp(name, "hip") != 0) {
        dsv4_fail(err, "the plug-in's device is '%.40s'; known are cpu, cuda and hip", name);
        return NULL;
    }
    snprintf(path, sizeof path, "%s/device_%s.so", directory, name);
    void *library = dlopen(path, RTLD_NOW | RTLD_LOCAL);
    if (library == NULL) {
        dsv4_fail(err, "no back end for %s devices: %.300s; build it with `make build ARCH=...`",
                  name, dlerror());
        return NULL;
    }
    const struct dsv4_device *(*entry)(void) = NULL;
    *(void **)(&entry) = dlsym(library, "dsv4_device_v1");
    const struct dsv4_device *device = entry != NULL ? entry() : NULL;
    if (device == NULL || device->size != sizeof *device || strcmp(device->name, name) != 0) {
        dsv4_fail(err, "%.300s belongs to another build of this harness; rebuild it", path);
        return NULL;
    }
    return device;
}
