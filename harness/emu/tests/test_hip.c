/* SPDX-License-Identifier: Apache-2.0 */
/* The HIP runtime API without kernels: what it says of itself, memory, streams, graphs, and what it refuses. */
#include <criterion/criterion.h>
#include <stddef.h>
#include <string.h>

#include "../hip/hip.h"
#include "../hip/properties.h"

#define DECLARE(name, ...) int name(__VA_ARGS__)

DECLARE(hipGetDeviceCount, int *);
DECLARE(hipSetDevice, int);
DECLARE(hipGetDevicePropertiesR0600, struct emu_properties_6 *, int);
DECLARE(hipGetDeviceProperties, struct emu_properties_5 *, int);
DECLARE(hipDeviceGetAttribute, int *, int, int);
DECLARE(hipGetLastError, void);
DECLARE(hipPeekAtLastError, void);
const char *hipGetErrorName(int);
const char *hipGetErrorString(int);
DECLARE(hipMalloc, void **, size_t);
DECLARE(hipFree, void *);
DECLARE(hipHostMalloc, void **, size_t, unsigned);
DECLARE(hipHostFree, void *);
DECLARE(hipHostRegister, void *, size_t, unsigned);
DECLARE(hipHostUnregister, void *);
DECLARE(hipHostGetDevicePointer, void **, void *, unsigned);
DECLARE(hipMallocManaged, void **, size_t, unsigned);
DECLARE(hipMallocPitch, void **, size_t *, size_t, size_t);
DECLARE(hipMemGetInfo, size_t *, size_t *);
DECLARE(hipMemGetAddressRange, void **, size_t *, void *);
DECLARE(hipMemcpy, void *, const void *, size_t, int);
DECLARE(hipMemcpy2D, void *, size_t, const void *, size_t, size_t, size_t, int);
DECLARE(hipMemset, void *, int, size_t);
DECLARE(hipMemset2D, void *, size_t, int, size_t, size_t);
DECLARE(hipMemsetD16, void *, unsigned short, size_t);
DECLARE(hipMemsetD32, void *, int, size_t);
DECLARE(hipStreamCreate, void **);
DECLARE(hipStreamCreateWithPriority, void **, unsigned, int);
DECLARE(hipStreamGetPriority, void *, int *);
DECLARE(hipStreamDestroy, void *);
DECLARE(hipStreamQuery, void *);
DECLARE(hipStreamSynchronize, void *);
DECLARE(hipEventCreateWithFlags, struct emu_event **, unsigned);
DECLARE(hipEventRecord, struct emu_event *, void *);
DECLARE(hipEventElapsedTime, float *, struct emu_event *, struct emu_event *);
DECLARE(hipEventDestroy, struct emu_event *);
DECLARE(hipLaunchHostFunc, void *, emu_host_function *, void *);
DECLARE(hipLaunchKernel, const void *, struct emu_dim3, struct emu_dim3, void **, size_t, void *);
DECLARE(hipModuleLoadData, struct emu_module **, const void *);
DECLARE(hipCreateTextureObject, void);
DECLARE(hipMemPoolCreate, void);
DECLARE(hipPointerGetAttributes, void *, const void *);

Test(hip, properties_lie_where_both_releases_read_them) {
    static struct emu_properties_6 new_ones;
    static struct emu_properties_5 old_ones;
    int count = 0, value = 0;
    cr_assert_eq(hipGetDeviceCount(&count), hipSuccess);
    cr_assert_eq(count, 1);
    cr_assert_eq(hipGetDevicePropertiesR0600(&new_ones, 0), hipSuccess);
    cr_assert_eq(hipGetDeviceProperties(&old_ones, 0), hipSuccess);
    /* sizeof and offsets as AMD's headers give them. */
    cr_assert_eq(sizeof new_ones, 1472);
    cr_assert_eq(offsetof(struct emu_properties_6, gcn_arch_name), 1160);
    cr_assert_eq(sizeof old_ones, 792);
    cr_assert_eq(offsetof(struct emu_properties_5, gcn_arch_name), 396);
    cr_assert_str_eq(new_ones.gcn_arch_name, "gfx942:sramecc+:xnack-");
    cr_assert_str_eq(old_ones.gcn_arch_name, "gfx942:sramecc+:xnack-");
    cr_assert_eq(new_ones.warp, 64);
    cr_assert_eq(old_ones.compute_units, 304);
    cr_assert_eq(new_ones.lds_bytes, 65536);
    cr_assert_eq(hipDeviceGetAttribute(&value, 87, 0), hipSuccess); /* warp size */
    cr_assert_eq(value, 64);
    cr_assert_eq(hipDeviceGetAttribute(&value, 63, 0), hipSuccess); /* multiprocessors */
    cr_assert_eq(value, 304);
    cr_assert_eq(hipDeviceGetAttribute(&value, 10002, 0), hipSuccess);
    cr_assert_eq(value, 65536);
    cr_assert_eq(hipDeviceGetAttribute(&value, 9000, 0), hipErrorInvalidValue);
    cr_assert_eq(hipDeviceGetAttribute(NULL, 0, 0), hipErrorInvalidValue);
    cr_assert_eq(hipDeviceGetAttribute(&value, 0, 1), hipErrorInvalidDevice);
    cr_assert_eq(hipGetDevicePropertiesR0600(&new_ones, 1), hipErrorInvalidDevice);
    cr_assert_eq(hipSetDevice(1), hipErrorInvalidDevice);
}

Test(hip, the_last_error_stays_until_it_is_read) {
    cr_assert_eq(hipSetDevice(7), hipErrorInvalidDevice);
    cr_assert_eq(hipSetDevice(0), hipSuccess);
    cr_assert_eq(hipPeekAtLastError(), hipErrorInvalidDevice);
    cr_assert_eq(hipGetLastError(), hipErrorInvalidDevice);
    cr_assert_eq(hipGetLastError(), hipSuccess);
    cr_assert_str_eq(hipGetErrorName(hipErrorInvalidDevice), "hipErrorInvalidDevice");
    cr_assert_str_eq(hipGetErrorString(hipErrorInvalidDevice), "invalid device ordinal");
    cr_assert_str_eq(hipGetErrorName(12345), "hipErrorUnknown");
}

Test(hip, memory_is_allocated_filled_copied_and_freed) {
    unsigned char host[64] = {0};
    uint32_t words[4];
    void *memory = NULL, *again = NULL, *base = NULL;
    size_t before = 0, after = 0, total = 0, bytes = 0;
    cr_assert_eq(hipMemGetInfo(&before, &total), hipSuccess);
    cr_assert_eq(hipMalloc(&memory, 1000), hipSuccess);
    cr_assert_eq((uintptr_t)memory % 256, 0);
    cr_assert_eq(hipMemGetInfo(&after, &total), hipSuccess);
    cr_assert_geq(before - after, 1000);
    cr_assert_eq(hipMemset(memory, 0x1ff, 64), hipSuccess);
    cr_assert_eq(hipMemsetD16((char *)memory + 2, 0x1234, 1), hipSuccess);
    cr_assert_eq(hipMemsetD32((char *)memory + 4, (int)0x89abcdef, 2), hipSuccess);
    cr_assert_eq(hipMemcpy(words, memory, sizeof words, EMU_DEVICE_TO_HOST), hipSuccess);
    cr_assert_eq(words[0], 0x1234ffff);
    cr_assert_eq(words[2], 0x89abcdef);
    cr_assert_eq(words[3], 0xffffffff);
    /* Two lines of three bytes, pitch 8 there and 16 here. */
    cr_assert_eq(hipMemset2D(memory, 8, 7, 3, 2), hipSuccess);
    cr_assert_eq(hipMemcpy2D(host, 16, memory, 8, 3, 2, EMU_DEVICE_TO_HOST), hipSuccess);
    cr_assert(host[0] == 7 && host[2] == 7 && host[3] == 0 && host[16] == 7 && host[19] == 0);
    cr_assert_eq(hipMemGetAddressRange(&base, &bytes, (char *)memory + 500), hipSuccess);
    cr_assert(base == memory && bytes == 1000);
    cr_assert_eq(hipMallocPitch(&again, &bytes, 100, 3), hipSuccess);
    cr_assert_eq(bytes, 256);
    cr_assert_eq(hipFree(again), hipSuccess);
    cr_assert_eq(hipFree(memory), hipSuccess);
    cr_assert_eq(hipFree(NULL), hipSuccess);
    cr_assert_eq(hipMalloc(&memory, 0), hipSuccess);
    cr_assert_null(memory);
}

Test(hip, wrong_memory_is_refused_and_named) {
    char host[64], other[64];
    void *memory = NULL, *pinned = NULL;
    cr_assert_eq(hipMalloc(NULL, 4), hipErrorInvalidValue);
    cr_assert_eq(hipMalloc(&memory, (size_t)1 << 50), hipErrorOutOfMemory);
    cr_assert_eq(hipMalloc(&memory, 64), hipSuccess);
    cr_assert_eq(hipHostMalloc(&pinned, 64, 0), hipSuccess);
    cr_assert_eq(hipMemcpy(memory, host, 65, EMU_HOST_TO_DEVICE), hipErrorInvalidValue);
    cr_assert_not_null(strstr(dsv4_emu_fault(), "64 bytes"), "%s", dsv4_emu_fault());
    cr_assert_eq(hipMemcpy((char *)memory + 60, host, 5, EMU_HOST_TO_DEVICE), hipErrorInvalidValue);
    cr_assert_eq(hipMemcpy(NULL, host, 4, EMU_HOST_TO_DEVICE), hipErrorInvalidValue);
    cr_assert_eq(hipMemcpy(memory, NULL, 4, EMU_HOST_TO_DEVICE), hipErrorInvalidValue);
    cr_assert_eq(hipMemcpy(NULL, NULL, 0, EMU_HOST_TO_DEVICE), hipSuccess);
    cr_assert_eq(hipMemcpy(memory, host, 4, 9), hipErrorInvalidMemcpyDirection);
    cr_assert_eq(hipMemcpy(host, other, 4, EMU_DEVICE_TO_DEVICE), hipErrorInvalidValue);
    cr_assert_eq(hipMemcpy(host, other, 4, EMU_HOST_TO_HOST), hipSuccess);
    cr_assert_eq(hipMemcpy2D(host, 2, memory, 8, 3, 2, EMU_DEVICE_TO_HOST),
                 hipErrorInvalidPitchValue);
    cr_assert_eq(hipMemset(host, 0, 4), hipErrorInvalidValue);
    cr_assert_eq(hipMemset(memory, 0, 65), hipErrorInvalidValue);
    cr_assert_eq(hipMemsetD32((char *)memory + 1, 0, 1), hipErrorInvalidValue);
    cr_assert_eq(hipFree((char *)memory + 1), hipErrorInvalidValue);
    cr_assert_eq(hipFree(pinned), hipErrorInvalidValue);
    cr_assert_eq(hipHostFree(memory), hipErrorInvalidValue);
    cr_assert_eq(hipFree(memory), hipSuccess);
    cr_assert_eq(hipFree(memory), hipErrorInvalidValue);
    cr_assert_not_null(strstr(dsv4_emu_fault(), "freed"), "%s", dsv4_emu_fault());
    cr_assert_eq(hipMemcpy(host, memory, 4, EMU_DEVICE_TO_HOST), hipErrorInvalidValue);
    cr_assert_eq(hipHostFree(pinned), hipSuccess);
    cr_assert_eq(hipHostMalloc(&pinned, 64, 0x100), hipErrorInvalidValue);
}

Test(hip, pointers_say_what_they_point_to) {
    struct {
        int type, device;
        void *device_pointer, *host_pointer;
        int is_managed;
        unsigned flags;
    } a;
    static char host[4096];
    void *memory = NULL, *managed = NULL, *same = NULL;
    cr_assert_eq(hipMalloc(&memory, 64), hipSuccess);
    cr_assert_eq(hipMallocManaged(&managed, 64, 1), hipSuccess);
    cr_assert_eq(hipPointerGetAttributes(&a, (char *)memory + 8), hipSuccess);
    cr_assert(a.type == 2 && a.device_pointer == (char *)memory + 8 && a.host_pointer == NULL);
    cr_assert_eq(hipPointerGetAttributes(&a, managed), hipSuccess);
    cr_assert(a.type == 3 && a.is_managed == 1 && a.host_pointer == managed);
    cr_assert_eq(hipPointerGetAttributes(&a, host), hipErrorInvalidValue);
    cr_assert_eq(hipHostRegister(host, sizeof host, 0), hipSuccess);
    cr_assert_eq(hipHostRegister(host, sizeof host, 0), hipErrorHostMemoryAlreadyRegistered);
    cr_assert_eq(hipHostGetDevicePointer(&same, host, 0), hipSuccess);
    cr_assert(same == host);
    cr_assert_eq(hipPointerGetAttributes(&a, host), hipSuccess);
    cr_assert_eq(a.type, 1);
    cr_assert_eq(hipHostUnregister(host), hipSuccess);
    cr_assert_eq(hipHostUnregister(host), hipErrorHostMemoryNotRegistered);
    cr_assert_eq(hipFree(managed), hipSuccess);
    cr_assert_eq(hipFree(memory), hipSuccess);
}

static void count(void *data) { ++*(int *)data; }

Test(hip, streams_and_events_are_checked) {
    void *stream = NULL, *other = NULL;
    struct emu_event *start = NULL, *stop = NULL, *untimed = NULL;
    int calls = 0, priority = 0;
    float milliseconds = -1;
    cr_assert_eq(hipStreamCreate(NULL), hipErrorInvalidValue);
    cr_assert_eq(hipStreamCreate(&stream), hipSuccess);
    cr_assert_eq(hipStreamCreateWithPriority(&other, 1, -99), hipSuccess);
    cr_assert_eq(hipStreamGetPriority(other, &priority), hipSuccess);
    cr_assert_eq(priority, -1);
    cr_assert_eq(hipLaunchHostFunc(stream, count, &calls), hipSuccess);
    cr_assert_eq(hipLaunchHostFunc((void *)2, count, &calls), hipSuccess); /* the thread's own */
    cr_assert_eq(calls, 2);
    cr_assert_eq(hipEventCreateWithFlags(&start, 0), hipSuccess);
    cr_assert_eq(hipEventCreateWithFlags(&stop, 0), hipSuccess);
    cr_assert_eq(hipEventCreateWithFlags(&untimed, 2), hipSuccess);
    cr_assert_eq(hipEventCreateWithFlags(&untimed, 0x100), hipErrorInvalidValue);
    cr_assert_eq(hipEventElapsedTime(&milliseconds, start, stop), hipErrorInvalidHandle);
    cr_assert_eq(hipEventRecord(start, stream), hipSuccess);
    cr_assert_eq(hipEventRecord(stop, other), hipSuccess);
    cr_assert_eq(hipEventRecord(untimed, other), hipSuccess);
    cr_assert_eq(hipEventElapsedTime(&milliseconds, start, stop), hipSuccess);
    cr_assert(milliseconds >= 0 && milliseconds < 60000);
    cr_assert_eq(hipEventElapsedTime(&milliseconds, start, untimed), hipErrorInvalidHandle);
    cr_assert_eq(hipEventDestroy(start), hipSuccess);
    cr_assert_eq(hipEventRecord(start, stream), hipErrorInvalidHandle);
    cr_assert_eq(hipStreamDestroy(stream), hipSuccess);
    cr_assert_eq(hipStreamDestroy(stream), hipErrorContextIsDestroyed);
    cr_assert_eq(hipStreamSynchronize(stream), hipErrorContextIsDestroyed);
    cr_assert_eq(hipStreamDestroy(NULL), hipErrorInvalidHandle);
    cr_assert_eq(hipStreamQuery(other), hipSuccess);
}

Test(hip, what_is_not_emulated_fails_by_name) {
    cr_assert_eq(hipCreateTextureObject(), hipErrorNotSupported);
    cr_assert_not_null(strstr(dsv4_emu_fault(), "hipCreateTextureObject"));
    cr_assert_eq(hipMemPoolCreate(), hipErrorNotSupported);
    cr_assert_eq(hipGetLastError(), hipErrorNotSupported);
}

Test(hip, kernels_and_modules_that_are_none_are_refused) {
    static const struct emu_dim3 one = {1, 1, 1};
    static const char text[512] = "no code object";
    static const unsigned char elf[512] = {0x7f, 'E', 'L', 'F', 2, 1, 1};
    struct emu_module *module = NULL;
    int nothing = 0;
    cr_assert_eq(hipLaunchKernel(&nothing, one, one, NULL, 0, NULL), hipErrorInvalidDeviceFunction);
    cr_assert_eq(hipLaunchKernel(NULL, one, one, NULL, 0, NULL), hipErrorInvalidDeviceFunction);
    cr_assert_eq(hipModuleLoadData(&module, text), hipErrorInvalidImage);
    cr_assert_eq(hipModuleLoadData(&module, elf), hipErrorNoBinaryForGpu);
    cr_assert_eq(hipModuleLoadData(&module, NULL), hipErrorInvalidValue);
    cr_assert_null(module);
}
