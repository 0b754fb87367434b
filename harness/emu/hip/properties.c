/* SPDX-License-Identifier: Apache-2.0 */
/* What an MI300X says of itself. */
#include "properties.h"

#include <stdio.h>
#include <string.h>

#include "../space.h"
#include "hip.h"

/* All of hipDeviceArch_t except surfaces and dynamic parallelism. */
enum { FEATURES = 0xffff & ~0x4000 };

static size_t global_bytes(void) {
    size_t used, total;
    emu_space_usage(&used, &total);
    return total;
}

#define NAME "AMD Instinct MI300X, emulated"
#define ARCHITECTURE "gfx942:sramecc+:xnack-"

#define COMMON(p)                                                                                  \
    memset(p, 0, sizeof *p);                                                                       \
    snprintf(p->name, sizeof p->name, "%s", NAME);                                                 \
    snprintf(p->gcn_arch_name, sizeof p->gcn_arch_name, "%s", ARCHITECTURE);                       \
    p->global_bytes = global_bytes();                                                              \
    p->lds_bytes = p->lds_per_cu = EMU_LDS_BYTES;                                                  \
    p->registers = EMU_CU_REGISTERS;                                                               \
    p->warp = EMU_LANES;                                                                           \
    p->block = p->block_dims[0] = p->block_dims[1] = p->block_dims[2] = EMU_MAX_BLOCK;             \
    p->grid_dims[0] = EMU_MAX_GRID_X;                                                              \
    p->grid_dims[1] = p->grid_dims[2] = EMU_MAX_GRID_YZ;                                           \
    p->clock_khz = EMU_CLOCK_KHZ;                                                                  \
    p->memory_clock_khz = EMU_MEMORY_KHZ;                                                          \
    p->bus_bits = EMU_BUS_BITS;                                                                    \
    p->constant_bytes = INT32_MAX;                                                                 \
    p->major = 9;                                                                                  \
    p->minor = 4;                                                                                  \
    p->compute_units = EMU_COMPUTE_UNITS;                                                          \
    p->l2_bytes = EMU_L2_BYTES;                                                                    \
    p->threads_per_cu = EMU_SIMDS * EMU_WAVES_PER_SIMD * EMU_LANES;                                \
    p->timer_khz = EMU_TIMER_KHZ;                                                                  \
    p->arch = FEATURES;                                                                            \
    p->concurrent_kernels = p->cooperative = p->map_host = p->ecc = p->large_bar = p->revision =   \
        1;                                                                                         \
    p->managed = p->direct_managed = p->concurrent_managed = 1;                                    \
    p->pitch = INT32_MAX;                                                                          \
    p->texture_alignment = p->texture_pitch_alignment = 256;

static int properties_5(struct emu_properties_5 *p, int device) {
    if (p == NULL) return hipErrorInvalidValue;
    if (device != 0) return hipErrorInvalidDevice;
    COMMON(p)
    p->gcn_arch = 910;
    return hipSuccess;
}

static int properties_6(struct emu_properties_6 *p, int device) {
    if (p == NULL) return hipErrorInvalidValue;
    if (device != 0) return hipErrorInvalidDevice;
    COMMON(p)
    p->registers_per_cu = EMU_CU_REGISTERS;
    p->lds_optin = p->lds_per_cu_amd = EMU_LDS_BYTES;
    p->async_engines = 8;
    p->unified_addressing = p->priorities = p->global_l1 = p->local_l1 = 1;
    p->host_atomics = p->host_pointer_for_registered = p->host_register = p->memory_pools = 1;
    p->blocks_per_cu = EMU_SIMDS * EMU_WAVES_PER_SIMD;
    memcpy(p->uuid, "GPU-emulated-942", sizeof p->uuid);
    return hipSuccess;
}

HIP(hipGetDeviceProperties, struct emu_properties_5 *p, int device) {
    RETURN(properties_5(p, device));
}
HIP(hipGetDevicePropertiesR0000, struct emu_properties_5 *p, int device) {
    RETURN(properties_5(p, device));
}
HIP(hipGetDevicePropertiesR0600, struct emu_properties_6 *p, int device) {
    RETURN(properties_6(p, device));
}

static int choose(int *device, const void *wanted) {
    if (device == NULL || wanted == NULL) return hipErrorInvalidValue;
    *device = 0;
    return hipSuccess;
}

HIP(hipChooseDevice, int *device, const void *wanted) { RETURN(choose(device, wanted)); }
HIP(hipChooseDeviceR0000, int *device, const void *wanted) { RETURN(choose(device, wanted)); }
HIP(hipChooseDeviceR0600, int *device, const void *wanted) { RETURN(choose(device, wanted)); }

static const struct {
    bool known;
    int value;
} attributes[] = {
#define ATTRIBUTE(name, value) {true, value},
#define UNKNOWN(name) {false, 0},
#define AMD_FROM_HERE {false, 0},
#include "attributes.def"
#undef ATTRIBUTE
#undef UNKNOWN
#undef AMD_FROM_HERE
};

enum {
#define ATTRIBUTE(name, value) INDEX_##name,
#define UNKNOWN(name) INDEX_##name,
#define AMD_FROM_HERE INDEX_AMD,
#include "attributes.def"
#undef ATTRIBUTE
#undef UNKNOWN
#undef AMD_FROM_HERE
    N_ATTRIBUTES
};

static int attribute(int *value, int number, int device) {
    enum { FIRST_OF_AMD = 10000 };
    if (value == NULL) return hipErrorInvalidValue;
    if (device != 0) return hipErrorInvalidDevice;
    int i = number;
    if (number >= FIRST_OF_AMD)
        i = number - FIRST_OF_AMD + INDEX_AMD + 1;
    else if (number >= INDEX_AMD)
        i = -1;
    if (i < 0 || i >= N_ATTRIBUTES || !attributes[i].known)
        return emu_explain(hipErrorInvalidValue,
                           "hipDeviceGetAttribute: attribute %d has no value here", number);
    *value = attributes[i].value;
    return hipSuccess;
}

HIP(hipDeviceGetAttribute, int *value, int number, int device) {
    RETURN(attribute(value, number, device));
}

static int name_of(char *name, int bytes, int device) {
    if (name == NULL || bytes <= 0) return hipErrorInvalidValue;
    if (device != 0) return hipErrorInvalidDevice;
    snprintf(name, (size_t)bytes, "%s", NAME);
    return hipSuccess;
}

HIP(hipDeviceGetName, char *name, int bytes, int device) { RETURN(name_of(name, bytes, device)); }

static int total_of(size_t *bytes, int device) {
    if (bytes == NULL) return hipErrorInvalidValue;
    if (device != 0) return hipErrorInvalidDevice;
    *bytes = global_bytes();
    return hipSuccess;
}

HIP(hipDeviceTotalMem, size_t *bytes, int device) { RETURN(total_of(bytes, device)); }

static int uuid_of(char *uuid, int device) {
    if (uuid == NULL) return hipErrorInvalidValue;
    if (device != 0) return hipErrorInvalidDevice;
    memcpy(uuid, "GPU-emulated-942", 16);
    return hipSuccess;
}

HIP(hipDeviceGetUuid, char *uuid, int device) { RETURN(uuid_of(uuid, device)); }
