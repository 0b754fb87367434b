/* SPDX-License-Identifier: Apache-2.0 */
/* hipDeviceProp_t: as ROCm 5 laid it out, and as ROCm 6 and later do. */
#ifndef DSV4_EMU_PROPERTIES_H
#define DSV4_EMU_PROPERTIES_H

#include <stddef.h>

enum {
    EMU_CLOCK_KHZ = 2100000,
    EMU_MEMORY_KHZ = 1300000,
    EMU_TIMER_KHZ = 100000,
    EMU_BUS_BITS = 8192,
    EMU_L2_BYTES = 4 << 20,
    EMU_MAX_GRID_X = 0x7fffffff,
    EMU_MAX_GRID_YZ = 65536,
    EMU_CU_REGISTERS = 65536
};

struct emu_properties_5 {
    char name[256];
    size_t global_bytes, lds_bytes;
    int registers, warp, block, block_dims[3], grid_dims[3];
    int clock_khz, memory_clock_khz, bus_bits;
    size_t constant_bytes;
    int major, minor, compute_units, l2_bytes, threads_per_cu, compute_mode, timer_khz;
    unsigned arch;
    int concurrent_kernels, pci_domain, pci_bus, pci_device;
    size_t lds_per_cu;
    int multi_board, map_host, gcn_arch;
    char gcn_arch_name[256];
    int integrated, cooperative, cooperative_multi;
    int texture_1d_linear, texture_1d, texture_2d[2], texture_3d[3];
    unsigned *hdp_memory, *hdp_register;
    size_t pitch, texture_alignment, texture_pitch_alignment;
    int timeout, ecc, tcc, unmatched[4];
    int large_bar, revision, managed, direct_managed, concurrent_managed, pageable,
        pageable_host_tables;
};

struct emu_properties_6 {
    char name[256], uuid[16], luid[8];
    unsigned luid_mask;
    size_t global_bytes, lds_bytes;
    int registers, warp;
    size_t pitch;
    int block, block_dims[3], grid_dims[3], clock_khz;
    size_t constant_bytes;
    int major, minor;
    size_t texture_alignment, texture_pitch_alignment;
    int overlap, compute_units, timeout, integrated, map_host, compute_mode;
    int textures[26]; /* maxTexture1D to maxTextureCubemapLayered */
    int surfaces[14]; /* maxSurface1D to maxSurfaceCubemapLayered */
    size_t surface_alignment;
    int concurrent_kernels, ecc, pci_bus, pci_device, pci_domain, tcc, async_engines,
        unified_addressing, memory_clock_khz, bus_bits, l2_bytes, persisting_l2_bytes,
        threads_per_cu, priorities, global_l1, local_l1;
    size_t lds_per_cu;
    int registers_per_cu, managed, multi_board, multi_board_id, host_atomics, double_ratio,
        pageable, concurrent_managed, preemption, host_pointer_for_registered, cooperative,
        cooperative_multi;
    size_t lds_optin;
    int pageable_host_tables, direct_managed, blocks_per_cu, policy_window;
    size_t reserved_lds;
    int host_register, sparse_arrays, host_register_read_only, timeline_semaphores, memory_pools,
        rdma;
    unsigned rdma_flush;
    int rdma_ordering;
    unsigned pool_handle_types;
    int deferred_arrays, ipc_events, clusters, function_pointers, reserved[63], hip_reserved[32];
    char gcn_arch_name[256];
    size_t lds_per_cu_amd;
    int timer_khz;
    unsigned arch;
    unsigned *hdp_memory, *hdp_register;
    int unmatched[4], large_bar, revision;
};

#endif
