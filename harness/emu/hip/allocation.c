/* SPDX-License-Identifier: Apache-2.0 */
/* Allocations, and what is known about pointers. */
#include <string.h>

#include "../../../reference/memory.h"
#include "../space.h"
#include "hip.h"

enum { PITCH = 256 };

static struct emu_list managed; /* base addresses */

/* The whole allocation around an address: tensors declared inside it do not count. */
static bool find(const void *memory, struct emu_region *region) {
    return emu_space_find((uintptr_t)memory, region);
}

static int allocate(void **memory, size_t bytes, enum emu_region_kind kind) {
    if (memory == NULL) return hipErrorInvalidValue;
    const int error = emu_capture_forbids();
    if (error != hipSuccess) return error;
    *memory = NULL;
    if (bytes == 0) return hipSuccess;
    *memory = emu_space_alloc(bytes, kind);
    return *memory != NULL ? hipSuccess
                           : emu_explain(hipErrorOutOfMemory, "no room for %zu bytes", bytes);
}

static int allocate_managed(void **memory, size_t bytes, unsigned flags) {
    if (flags != 1 && flags != 2 && flags != 4) return hipErrorInvalidValue;
    if (bytes == 0) return hipErrorInvalidValue;
    const int error = allocate(memory, bytes, EMU_REGION_HOST);
    if (error == hipSuccess) emu_list_add(&managed, *memory);
    return error;
}

static int release(void *memory, enum emu_region_kind kind, const char *function) {
    struct emu_region region;
    if (memory == NULL) return hipSuccess;
    const int error = emu_capture_forbids();
    if (error != hipSuccess) return error;
    const bool known = find(memory, &region);
    if (known && region.freed)
        return emu_explain(hipErrorInvalidValue, "%s: %s was freed before", function, region.name);
    const bool is_managed = emu_list_has(&managed, memory);
    if (known && !is_managed && region.kind != kind && region.kind != EMU_REGION_TENSOR)
        return emu_explain(hipErrorInvalidValue, "%s: %s is of another kind", function,
                           region.name);
    if (!known || emu_space_free(memory) != 0)
        return emu_explain(hipErrorInvalidValue, "%s: %p is no allocation", function, memory);
    emu_list_remove(&managed, memory);
    return hipSuccess;
}

/* A free waits for the device: what was wrong there before is seen here at the latest, but it still frees. */
static int free_device(void *memory) {
    const int error = release(memory, EMU_REGION_DEVICE, "hipFree");
    return error != hipSuccess ? error : emu_sticky();
}

static int free_host(void *memory) {
    const int error = release(memory, EMU_REGION_HOST, "hipHostFree");
    return error != hipSuccess ? error : emu_sticky();
}

HIP(hipMalloc, void **memory, size_t bytes) {
    RETURN_WORK(allocate(memory, bytes, EMU_REGION_DEVICE));
}
HIP(hipExtMallocWithFlags, void **memory, size_t bytes, unsigned flags) {
    RETURN_WORK((flags & ~7u) != 0 ? hipErrorInvalidValue
                                   : allocate(memory, bytes, EMU_REGION_DEVICE));
}
HIP(hipMallocManaged, void **memory, size_t bytes, unsigned flags) {
    RETURN_WORK(allocate_managed(memory, bytes, flags));
}
HIP(hipFree, void *memory) { RETURN(free_device(memory)); }

static int allocate_host(void **memory, size_t bytes, unsigned flags) {
    const unsigned known = 0x1 | 0x2 | 0x4 | 0x8 | 0x10 | 0x20000000 | 0x40000000 | 0x80000000;
    const unsigned both = 0x40000000 | 0x80000000;
    if ((flags & ~known) != 0 || (flags & both) == both) return hipErrorInvalidValue;
    return allocate(memory, bytes, EMU_REGION_HOST);
}

HIP(hipHostMalloc, void **memory, size_t bytes, unsigned flags) {
    RETURN_WORK(allocate_host(memory, bytes, flags));
}
HIP(hipHostAlloc, void **memory, size_t bytes, unsigned flags) {
    RETURN_WORK(allocate_host(memory, bytes, flags));
}
HIP(hipMallocHost, void **memory, size_t bytes) { RETURN_WORK(allocate_host(memory, bytes, 0)); }
HIP(hipMemAllocHost, void **memory, size_t bytes) { RETURN_WORK(allocate_host(memory, bytes, 0)); }
HIP(hipHostFree, void *memory) { RETURN(free_host(memory)); }
HIP(hipFreeHost, void *memory) { RETURN(free_host(memory)); }

static int register_host(void *memory, size_t bytes, unsigned flags) {
    struct emu_region region;
    if (memory == NULL || bytes == 0 || flags > 15) return hipErrorInvalidValue;
    if (find(memory, &region) && !region.freed) return hipErrorHostMemoryAlreadyRegistered;
    emu_space_add(memory, bytes, EMU_REGION_HOST, true, "registered host memory");
    return hipSuccess;
}

static int unregister_host(void *memory) {
    if (memory == NULL) return hipErrorInvalidValue;
    return emu_space_remove(memory) == 0 ? hipSuccess : hipErrorHostMemoryNotRegistered;
}

HIP(hipHostRegister, void *memory, size_t bytes, unsigned flags) {
    RETURN(register_host(memory, bytes, flags));
}
HIP(hipHostUnregister, void *memory) { RETURN(unregister_host(memory)); }

static bool is_host(const void *memory) {
    struct emu_region region;
    return memory != NULL && find(memory, &region) && !region.freed &&
           region.kind == EMU_REGION_HOST;
}

static int device_pointer(void **device, void *host, unsigned flags) {
    if (device == NULL || flags != 0 || !is_host(host)) return hipErrorInvalidValue;
    *device = host;
    return hipSuccess;
}

HIP(hipHostGetDevicePointer, void **device, void *host, unsigned flags) {
    RETURN(device_pointer(device, host, flags));
}

static int host_flags(unsigned *flags, void *host) {
    if (flags == NULL || !is_host(host)) return hipErrorInvalidValue;
    *flags = 0;
    return hipSuccess;
}

HIP(hipHostGetFlags, unsigned *flags, void *host) { RETURN(host_flags(flags, host)); }

/* ---- with a pitch ---- */

static int allocate_pitched(struct emu_pitched *memory, size_t width, size_t height, size_t depth) {
    const size_t pitch = (width + PITCH - 1) / PITCH * PITCH;
    if (width > SIZE_MAX / 2 || (height > 0 && pitch > SIZE_MAX / 2 / height) ||
        (depth > 0 && pitch * height > SIZE_MAX / 2 / depth))
        return hipErrorInvalidValue;
    const int error = allocate(&memory->memory, pitch * height * depth, EMU_REGION_DEVICE);
    memory->pitch = pitch;
    memory->width = width;
    memory->height = height;
    return error;
}

static int allocate_2d(void **memory, size_t *pitch, size_t width, size_t height) {
    struct emu_pitched pitched = {0};
    if (memory == NULL || pitch == NULL) return hipErrorInvalidValue;
    const int error = allocate_pitched(&pitched, width, height, 1);
    *memory = pitched.memory;
    *pitch = pitched.pitch;
    return error;
}

HIP(hipMallocPitch, void **memory, size_t *pitch, size_t width, size_t height) {
    RETURN_WORK(allocate_2d(memory, pitch, width, height));
}
HIP(hipMemAllocPitch, void **memory, size_t *pitch, size_t width, size_t height, unsigned element) {
    RETURN_WORK(element != 4 && element != 8 && element != 16
                    ? hipErrorInvalidValue
                    : allocate_2d(memory, pitch, width, height));
}
HIP(hipMalloc3D, struct emu_pitched *memory, struct emu_extent extent) {
    RETURN_WORK(memory == NULL
                    ? hipErrorInvalidValue
                    : allocate_pitched(memory, extent.width, extent.height, extent.depth));
}

/* ---- what is known ---- */

static int info(size_t *available, size_t *total) {
    size_t used, all;
    emu_space_usage(&used, &all);
    if (available == NULL || total == NULL) return hipErrorInvalidValue;
    *available = all - used;
    *total = all;
    return hipSuccess;
}

HIP(hipMemGetInfo, size_t *available, size_t *total) { RETURN_WORK(info(available, total)); }

struct attributes {
    int type, device;
    void *device_pointer, *host_pointer;
    int is_managed;
    unsigned flags;
};

enum memory_type { UNREGISTERED, HOST, DEVICE, MANAGED };

/* libamdhip64.so.5 wraps hipPointerGetAttributes. */
static int attributes_of(struct attributes *a, const void *pointer) {
    struct emu_region region;
    if (a == NULL || pointer == NULL) return hipErrorInvalidValue;
    if (!find(pointer, &region) || region.freed)
        return emu_explain(hipErrorInvalidValue, "hipPointerGetAttributes: %p is not known",
                           pointer);
    memset(a, 0, sizeof *a);
    a->is_managed = emu_list_has(&managed, (const void *)region.base);
    a->type = a->is_managed ? MANAGED : region.kind == EMU_REGION_HOST ? HOST : DEVICE;
    /* One address space: the same pointer on both sides. */
    memcpy(&a->device_pointer, &pointer, sizeof pointer);
    if (a->type != DEVICE) memcpy(&a->host_pointer, &pointer, sizeof pointer);
    return hipSuccess;
}

HIP(hipPointerGetAttributes, struct attributes *a, const void *pointer) {
    RETURN(attributes_of(a, pointer));
}

static int attribute_of(void *data, int attribute, const void *pointer) {
    enum {
        TYPE = 2,
        DEVICE_POINTER,
        HOST_POINTER,
        IS_MANAGED = 8,
        ORDINAL,
        START = 11,
        SIZE,
        MAPPED
    };
    struct emu_region region;
    struct attributes a = {0};
    if (data == NULL) return hipErrorInvalidValue;
    const int error = attributes_of(&a, pointer);
    if (error != hipSuccess) return error;
    find(pointer, &region);
    const size_t bytes = region.end - region.base;
    const unsigned char one = 1, is_managed = a.is_managed != 0;
    switch (attribute) {
    case TYPE: memcpy(data, &a.type, sizeof a.type); break;
    case DEVICE_POINTER: memcpy(data, &a.device_pointer, sizeof(void *)); break;
    case HOST_POINTER: memcpy(data, &a.host_pointer, sizeof(void *)); break;
    case IS_MANAGED: memcpy(data, &is_managed, 1); break;
    case ORDINAL: memcpy(data, &a.device, sizeof a.device); break;
    case START: memcpy(data, &region.base, sizeof region.base); break;
    case SIZE: memcpy(data, &bytes, sizeof bytes); break;
    case MAPPED: memcpy(data, &one, 1); break;
    default: return hipErrorNotSupported;
    }
    return hipSuccess;
}

HIP(hipPointerGetAttribute, void *data, int attribute, void *pointer) {
    RETURN(attribute_of(data, attribute, pointer));
}

static int range_of(void **base, size_t *bytes, void *pointer) {
    struct emu_region region;
    if (pointer == NULL || !find(pointer, &region) || region.freed) return hipErrorNotFound;
    if (base != NULL) memcpy(base, &region.base, sizeof *base);
    if (bytes != NULL) *bytes = region.end - region.base;
    return hipSuccess;
}

HIP(hipMemGetAddressRange, void **base, size_t *bytes, void *pointer) {
    RETURN(range_of(base, bytes, pointer));
}
HIP(hipMemPtrGetInfo, void *pointer, size_t *bytes) {
    RETURN(bytes == NULL || range_of(NULL, bytes, pointer) != hipSuccess ? hipErrorInvalidValue
                                                                         : hipSuccess);
}

/* Where managed memory lies is all the same here. */
static int advise(const void *pointer, size_t bytes) {
    struct emu_region region;
    if (pointer == NULL || bytes == 0) return hipErrorInvalidValue;
    return find(pointer, &region) && !region.freed && bytes <= region.end - (uintptr_t)pointer
               ? hipSuccess
               : hipErrorInvalidValue;
}

HIP(hipMemAdvise, const void *pointer, size_t bytes, int advice, int device) {
    (void)advice, (void)device;
    RETURN(advise(pointer, bytes));
}
HIP(hipMemPrefetchAsync, const void *pointer, size_t bytes, int device, void *stream) {
    (void)device;
    RETURN(emu_stream_find(stream) == NULL ? hipErrorInvalidHandle : advise(pointer, bytes));
}
HIP(hipStreamAttachMemAsync, void *stream, void *pointer, size_t bytes, unsigned flags) {
    (void)pointer, (void)bytes, (void)flags;
    RETURN(emu_stream_find(stream) == NULL ? hipErrorInvalidHandle : hipSuccess);
}

/* ---- in stream order ---- */

static int allocate_async(void **memory, size_t bytes, void *handle) {
    struct emu_stream *const stream = emu_stream_find(handle);
    if (stream == NULL) return hipErrorInvalidHandle;
    if (memory == NULL) return hipErrorInvalidValue;
    if (stream->capture == NULL) return allocate(memory, bytes, EMU_REGION_DEVICE);
    /* The address of a graph's memory is fixed when it is captured; it lives as long as the process. */
    *memory = emu_space_alloc(bytes, EMU_REGION_DEVICE);
    if (*memory == NULL) return hipErrorOutOfMemory;
    return emu_submit(handle, &(struct emu_op){.kind = EMU_OP_ALLOC, .memory = *memory});
}

static int free_async(void *memory, void *handle) {
    struct emu_stream *const stream = emu_stream_find(handle);
    if (stream == NULL) return hipErrorInvalidHandle;
    if (memory == NULL) return hipErrorInvalidValue;
    if (stream->capture == NULL) return release(memory, EMU_REGION_DEVICE, "hipFreeAsync");
    return emu_submit(handle, &(struct emu_op){.kind = EMU_OP_FREE, .memory = memory});
}

HIP(hipMallocAsync, void **memory, size_t bytes, void *stream) {
    RETURN_WORK(allocate_async(memory, bytes, stream));
}
HIP(hipFreeAsync, void *memory, void *stream) { RETURN_WORK(free_async(memory, stream)); }

/* One pool, which keeps nothing. */
static char pool;
static uint64_t release_threshold;

static int give_pool(void **to, int device) {
    if (to == NULL) return hipErrorInvalidValue;
    if (device != 0) return hipErrorInvalidDevice;
    *to = &pool;
    return hipSuccess;
}

static int check_pool(const void *handle) {
    return handle == &pool ? hipSuccess : hipErrorInvalidValue;
}

static int pool_attribute(void *handle, int attribute, void *value, bool set) {
    enum { LAST_INT = 3, THRESHOLD, LAST = 8 };
    if (handle != &pool || value == NULL || attribute < 1 || attribute > LAST)
        return hipErrorInvalidValue;
    size_t used, total;
    emu_space_usage(&used, &total);
    uint64_t number = attribute == THRESHOLD ? release_threshold : used;
    const int one = 1;
    if (set && attribute == THRESHOLD) memcpy(&release_threshold, value, sizeof number);
    if (!set && attribute <= LAST_INT) memcpy(value, &one, sizeof one);
    if (!set && attribute > LAST_INT) memcpy(value, &number, sizeof number);
    return hipSuccess;
}

HIP(hipDeviceGetDefaultMemPool, void **to, int device) { RETURN(give_pool(to, device)); }
HIP(hipDeviceGetMemPool, void **to, int device) { RETURN(give_pool(to, device)); }
HIP(hipDeviceSetMemPool, int device, void *handle) {
    RETURN(device != 0 ? hipErrorInvalidDevice : check_pool(handle));
}
HIP(hipMemPoolTrimTo, void *handle, size_t bytes) {
    (void)bytes;
    RETURN(check_pool(handle));
}
HIP(hipMemPoolSetAttribute, void *handle, int attribute, void *value) {
    RETURN(pool_attribute(handle, attribute, value, true));
}
HIP(hipMemPoolGetAttribute, void *handle, int attribute, void *value) {
    RETURN(pool_attribute(handle, attribute, value, false));
}
HIP(hipMallocFromPoolAsync, void **memory, size_t bytes, void *handle, void *stream) {
    RETURN_WORK(handle != &pool ? hipErrorInvalidValue : allocate_async(memory, bytes, stream));
}

int dsv4_emu_pointer_attributes(struct attributes *a, const void *pointer);
int dsv4_emu_pointer_attributes(struct attributes *a, const void *pointer) {
    RETURN(attributes_of(a, pointer));
}
