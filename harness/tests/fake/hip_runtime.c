/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A HIP runtime whose device is the CPU's own memory: what the HIP back end and the device path of the worker are
 * tested against where there is no GPU. DSV4_FAKE_HIP names a function that fails ("hipMalloc"), "no-device" or
 * "sticky": every call fails once a stream was waited for.
 */
#include <stdlib.h>
#include <string.h>

static int sticky, launches;

static int fails(const char *function) {
    const char *const wanted = getenv("DSV4_FAKE_HIP");
    if (wanted == NULL) return 0;
    if (strcmp(wanted, "sticky") == 0 && strcmp(function, "hipStreamSynchronize") == 0) sticky = 1;
    return sticky || strcmp(wanted, function) == 0 ? 719 : 0;
}

#define FUNCTION(name, arguments)                                                                  \
    int name arguments;                                                                            \
    int name arguments

/* Host functions are the only work here: done at once, or recorded while the stream is captured. */
struct node {
    void (*work)(void *);
    void *data;
};
static struct graph {
    struct node nodes[16];
    size_t n;
} * capturing;
static int broken; /* the capture was invalidated */

enum { NOT_WHILE_CAPTURING = 900, INVALIDATED = 901 };

static int refuse_capture(void) {
    broken |= capturing != NULL;
    return capturing != NULL ? NOT_WHILE_CAPTURING : 0;
}

FUNCTION(hipGetDeviceCount, (int *count)) {
    const char *const wanted = getenv("DSV4_FAKE_HIP");
    *count = wanted != NULL && strcmp(wanted, "no-device") == 0 ? 0 : 2;
    return 0;
}
FUNCTION(hipSetDevice, (int device)) {
    return device >= 0 && device < 2 ? fails("hipSetDevice") : 101;
}
FUNCTION(hipGetLastError, (void)) { return fails("hipGetLastError"); }
FUNCTION(hipDriverGetVersion, (int *version)) {
    *version = 60342134;
    return 0;
}
FUNCTION(hipRuntimeGetVersion, (int *version)) {
    *version = 60342134;
    return 0;
}
FUNCTION(hipDeviceGetName, (char *name, int size, int device)) {
    (void)device;
    strncpy(name, "emulated device", (size_t)size);
    return 0;
}
FUNCTION(hipGetDevicePropertiesR0600, (void *properties, int device)) {
    (void)device;
    strcpy((char *)properties + 1160, "gfx942:sramecc+");
    return 0;
}
FUNCTION(hipMalloc, (void **memory, size_t bytes)) {
    if (refuse_capture() != 0) return NOT_WHILE_CAPTURING;
    if (fails("hipMalloc")) return 2;
    *memory = aligned_alloc(4096, (bytes + 4095) / 4096 * 4096);
    if (*memory != NULL) memset(*memory, 0xC3, bytes < 1 << 20 ? bytes : 1 << 20);
    return *memory != NULL ? 0 : 2;
}
FUNCTION(hipFree, (void *memory)) {
    free(memory);
    return fails("hipFree");
}
FUNCTION(hipMemset, (void *memory, int value, size_t bytes)) {
    memset(memory, value, bytes);
    return fails("hipMemset");
}
FUNCTION(hipMemsetAsync, (void *memory, int value, size_t bytes, void *stream)) {
    (void)stream;
    return hipMemset(memory, value, bytes);
}
FUNCTION(hipMemcpy, (void *to, const void *from, size_t bytes, int kind)) {
    if (kind < 1 || kind > 3) return 21;
    memcpy(to, from, bytes);
    return fails("hipMemcpy");
}
FUNCTION(hipMemcpyAsync, (void *to, const void *from, size_t bytes, int kind, void *stream)) {
    (void)stream;
    return hipMemcpy(to, from, bytes, kind);
}
FUNCTION(hipStreamCreate, (void **stream)) {
    *stream = malloc(1);
    return fails("hipStreamCreate");
}
FUNCTION(hipStreamDestroy, (void *stream)) {
    free(stream);
    return 0;
}

FUNCTION(hipLaunchHostFunc, (void *stream, void (*work)(void *), void *data)) {
    (void)stream;
    if (capturing == NULL)
        work(data);
    else if (capturing->n < 16)
        capturing->nodes[capturing->n++] = (struct node){work, data};
    return 0;
}
FUNCTION(hipDeviceSynchronize, (void)) {
    if (refuse_capture() != 0) return NOT_WHILE_CAPTURING;
    return fails("hipDeviceSynchronize");
}
FUNCTION(hipStreamSynchronize, (void *stream)) {
    if (refuse_capture() != 0) return NOT_WHILE_CAPTURING;
    return stream != NULL ? fails("hipStreamSynchronize") : 400;
}
FUNCTION(hipStreamBeginCapture, (void *stream, int mode)) {
    if (fails("hipStreamBeginCapture") != 0) return 719;
    if (stream == NULL) return 400;
    capturing = calloc(1, sizeof *capturing);
    broken = 0;
    return mode == 0 || mode == 2 ? 0 : 1;
}
FUNCTION(hipStreamEndCapture, (void *stream, void **graph)) {
    *graph = broken ? NULL : capturing;
    if (broken) free(capturing);
    capturing = NULL;
    if (broken) return INVALIDATED;
    return stream != NULL ? fails("hipStreamEndCapture") : 400;
}
FUNCTION(hipGraphInstantiateWithFlags, (void **exec, void *graph, unsigned long long flags)) {
    if (graph == NULL || flags != 0) return 400;
    *exec = malloc(sizeof(struct graph));
    memcpy(*exec, graph, sizeof(struct graph));
    return fails("hipGraphInstantiateWithFlags");
}
FUNCTION(hipGraphGetNodes, (void *graph, void *nodes, size_t *count)) {
    if (graph == NULL || nodes != NULL) return 400;
    *count = ((const struct graph *)graph)->n;
    return fails("hipGraphGetNodes");
}
FUNCTION(hipGraphDestroy, (void *graph)) {
    free(graph);
    return 0;
}
FUNCTION(hipGraphExecDestroy, (void *exec)) {
    free(exec);
    return 0;
}
FUNCTION(hipGraphLaunch, (void *exec, void *stream)) {
    launches++;
    for (size_t i = 0; exec != NULL && i < ((const struct graph *)exec)->n; i++)
        ((const struct graph *)exec)->nodes[i].work(((const struct graph *)exec)->nodes[i].data);
    return exec != NULL && stream != NULL ? fails("hipGraphLaunch") : 400;
}
FUNCTION(hipEventCreate, (void **event)) {
    *event = malloc(sizeof(int));
    return 0;
}
FUNCTION(hipEventDestroy, (void *event)) {
    free(event);
    return 0;
}
FUNCTION(hipEventRecord, (void *event, void *stream)) {
    (void)stream;
    *(int *)event = launches;
    return 0;
}
FUNCTION(hipEventSynchronize, (void *event)) { return event != NULL ? 0 : 400; }
FUNCTION(hipEventElapsedTime, (float *milliseconds, void *start, void *stop)) {
    *milliseconds =
        0.5f * (float)(*(int *)stop - *(int *)start); /* every replay takes half a millisecond */
    return 0;
}
const char *hipGetErrorString(int error);
const char *hipGetErrorString(int error) {
    return error == 2     ? "out of memory"
           : error == 719 ? "unspecified launch failure"
           : error == 900 ? "operation not permitted when stream is capturing"
           : error == 901 ? "operation failed due to a previous error during capture"
                          : "some error";
}
