/* SPDX-License-Identifier: Apache-2.0 */
/* One device, its one context, and settings that have no meaning here but are kept. */
#include <stdio.h>
#include <string.h>
#include <strings.h>

#include "hip.h"

static int set_int(int *to, int value) {
    if (to == NULL) return hipErrorInvalidValue;
    *to = value;
    return hipSuccess;
}

static int set_unsigned(unsigned *to, unsigned value) {
    if (to == NULL) return hipErrorInvalidValue;
    *to = value;
    return hipSuccess;
}

static int only_device(int device) { return device == 0 ? hipSuccess : hipErrorInvalidDevice; }

HIP(hipInit, unsigned flags) { RETURN(flags == 0 ? hipSuccess : hipErrorInvalidValue); }
HIP(hipDriverGetVersion, int *version) { RETURN(set_int(version, EMU_HIP_VERSION)); }
HIP(hipRuntimeGetVersion, int *version) { RETURN(set_int(version, EMU_HIP_VERSION)); }
HIP(hipGetDeviceCount, int *count) { RETURN(set_int(count, 1)); }
HIP(hipSetDevice, int device) { RETURN(only_device(device)); }
HIP(hipGetDevice, int *device) { RETURN(set_int(device, 0)); }

HIP(hipDeviceGet, int *device, int ordinal) {
    RETURN(ordinal != 0 ? hipErrorInvalidDevice : set_int(device, 0));
}

HIP(hipSetValidDevices, const int *devices, int n) {
    RETURN(n == 0 || (devices != NULL && n == 1 && devices[0] == 0) ? hipSuccess
                                                                    : hipErrorInvalidValue);
}

static int capability(int *major, int *minor, int device) {
    if (major == NULL || minor == NULL) return hipErrorInvalidValue;
    if (device != 0) return hipErrorInvalidDevice;
    *major = 9;
    *minor = 4;
    return hipSuccess;
}

HIP(hipDeviceComputeCapability, int *major, int *minor, int device) {
    RETURN(capability(major, minor, device));
}

#define BUS_ID "0000:00:00.0"

static int bus_id(char *id, int bytes, int device) {
    if (id == NULL || bytes <= 0) return hipErrorInvalidValue;
    if (device != 0) return hipErrorInvalidDevice;
    snprintf(id, (size_t)bytes, "%s", BUS_ID);
    return hipSuccess;
}

HIP(hipDeviceGetPCIBusId, char *id, int bytes, int device) { RETURN(bus_id(id, bytes, device)); }

HIP(hipDeviceGetByPCIBusId, int *device, const char *id) {
    RETURN(device == NULL || id == NULL  ? hipErrorInvalidValue
           : strcasecmp(id, BUS_ID) != 0 ? hipErrorInvalidDevice
                                         : set_int(device, 0));
}

static int synchronize(void) {
    const int error = emu_capture_forbids_all();
    return error != hipSuccess ? error : emu_sticky();
}

HIP(hipDeviceSynchronize, void) { RETURN(synchronize()); }
HIP(hipCtxSynchronize, void) { RETURN(synchronize()); }

static int reset(void) {
    const int error = emu_capture_forbids_all();
    if (error == hipSuccess) emu_forget_fault();
    return error;
}

HIP(hipDeviceReset, void) { RETURN(reset()); }

static unsigned device_flags;

static int set_flags(unsigned flags) {
    enum { SCHEDULE = 7, MAP_HOST = 8, RESIZE_LOCAL = 16 };
    if ((flags & ~(unsigned)(SCHEDULE | MAP_HOST | RESIZE_LOCAL)) != 0) return hipErrorInvalidValue;
    device_flags = flags;
    return hipSuccess;
}

HIP(hipSetDeviceFlags, unsigned flags) { RETURN(set_flags(flags)); }
HIP(hipGetDeviceFlags, unsigned *flags) { RETURN(set_unsigned(flags, device_flags)); }

/* Caches and LDS banks are not modelled. */
HIP(hipDeviceSetCacheConfig, int config) {
    RETURN(config < 0 || config > 3 ? hipErrorInvalidValue : hipSuccess);
}
HIP(hipDeviceGetCacheConfig, int *config) { RETURN(set_int(config, 0)); }
HIP(hipDeviceSetSharedMemConfig, int config) {
    RETURN(config < 0 || config > 2 ? hipErrorInvalidValue : hipSuccess);
}
HIP(hipDeviceGetSharedMemConfig, int *config) { RETURN(set_int(config, 1)); }
HIP(hipCtxSetCacheConfig, int config) {
    RETURN(config < 0 || config > 3 ? hipErrorInvalidValue : hipSuccess);
}
HIP(hipCtxGetCacheConfig, int *config) { RETURN(set_int(config, 0)); }
HIP(hipCtxSetSharedMemConfig, int config) {
    RETURN(config < 0 || config > 2 ? hipErrorInvalidValue : hipSuccess);
}
HIP(hipCtxGetSharedMemConfig, int *config) { RETURN(set_int(config, 1)); }

static int limit_of(size_t *value, int limit) {
    enum { STACK = 0, PRINTF = 1, HEAP = 2 };
    if (value == NULL) return hipErrorInvalidValue;
    if (limit != STACK) return hipErrorUnsupportedLimit; /* no printf and no malloc on the device */
    *value = 1024;
    return hipSuccess;
}

HIP(hipDeviceGetLimit, size_t *value, int limit) { RETURN(limit_of(value, limit)); }

/* ---- peers: there are none ---- */

HIP(hipDeviceCanAccessPeer, int *can, int device, int peer) {
    RETURN(device != 0 || peer != 0 ? hipErrorInvalidDevice : set_int(can, 0));
}
HIP(hipDeviceEnablePeerAccess, int peer, unsigned flags) {
    RETURN(flags != 0  ? hipErrorInvalidValue
           : peer == 0 ? hipErrorInvalidDevice
                       : only_device(peer));
}
HIP(hipDeviceDisablePeerAccess, int peer) {
    RETURN(peer == 0 ? hipErrorPeerAccessNotEnabled : hipErrorInvalidDevice);
}

/* ---- contexts: the device's own, whatever is asked for ---- */

static char the_context;
static _Thread_local bool popped;

static int give_context(void **context) {
    if (context == NULL) return hipErrorInvalidValue;
    *context = popped ? NULL : &the_context;
    return hipSuccess;
}

static int take_context(void **context, int device) {
    if (context == NULL) return hipErrorInvalidValue;
    if (device != 0) return hipErrorInvalidDevice;
    popped = false;
    return give_context(context);
}

static int set_context(const void *context) {
    if (context != NULL && context != &the_context) return hipErrorInvalidContext;
    popped = context == NULL;
    return hipSuccess;
}

static int pop_context(void **context) {
    if (popped) return hipErrorInvalidContext;
    if (context != NULL) *context = &the_context;
    popped = true;
    return hipSuccess;
}

HIP(hipCtxCreate, void **context, unsigned flags, int device) {
    (void)flags;
    RETURN(take_context(context, device));
}
HIP(hipCtxDestroy, void *context) {
    RETURN(context == &the_context ? hipSuccess : hipErrorInvalidValue);
}
HIP(hipCtxGetCurrent, void **context) { RETURN(give_context(context)); }
HIP(hipCtxSetCurrent, void *context) { RETURN(set_context(context)); }
HIP(hipCtxPushCurrent, void *context) {
    RETURN(context == NULL ? hipErrorInvalidContext : set_context(context));
}
HIP(hipCtxPopCurrent, void **context) { RETURN(pop_context(context)); }
HIP(hipCtxGetDevice, int *device) { RETURN(set_int(device, 0)); }
HIP(hipCtxGetFlags, unsigned *flags) { RETURN(set_unsigned(flags, device_flags)); }
HIP(hipCtxGetApiVersion, void *context, int *version) {
    (void)context;
    RETURN(set_int(version, 4));
}

static int primary_state(int device, unsigned *flags, int *active) {
    if (device != 0) return hipErrorInvalidDevice;
    if (flags == NULL || active == NULL) return hipErrorInvalidValue;
    *flags = 0;
    *active = 1;
    return hipSuccess;
}

HIP(hipDevicePrimaryCtxGetState, int device, unsigned *flags, int *active) {
    RETURN(primary_state(device, flags, active));
}
HIP(hipDevicePrimaryCtxRetain, void **context, int device) {
    RETURN(take_context(context, device));
}
HIP(hipDevicePrimaryCtxRelease, int device) { RETURN(only_device(device)); }
HIP(hipDevicePrimaryCtxReset, int device) { RETURN(only_device(device)); }
HIP(hipDevicePrimaryCtxSetFlags, int device, unsigned flags) {
    (void)flags;
    RETURN(device != 0 ? hipErrorInvalidDevice : hipErrorContextAlreadyInUse);
}

HIP(hipProfilerStart, void) { RETURN(hipSuccess); }
HIP(hipProfilerStop, void) { RETURN(hipSuccess); }
