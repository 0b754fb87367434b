/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Kernels for the levels test: compiled at -O0 to -O3, all must give the bits that levels.h's plain C gives on the
 * host. Each work item calls one function of levels.h with its index.
 */
#define LEVELS_DEVICE __attribute__((device))
#include "levels.h"

#define KERNEL                                                                                     \
    extern "C" __attribute__((global)) __attribute__((amdgpu_flat_work_group_size(1, 256)))

static __attribute__((device)) unsigned item() {
    return __builtin_amdgcn_workgroup_id_x() * 256 + __builtin_amdgcn_workitem_id_x();
}

#define ITEMWISE(name)                                                                             \
    KERNEL void kernel_##name(const unsigned *in, unsigned *out) { levels_##name(in, out, item()); }
LEVELS(ITEMWISE)

/* Sums in LDS over a workgroup, halving: the same tree as levels_reduction's. */
KERNEL void kernel_reduction(const unsigned *in, unsigned *out) {
    __attribute__((shared)) static float sums[256];
    const unsigned t = __builtin_amdgcn_workitem_id_x();
    sums[t] = levels_value(in[item()]);
    for (unsigned stride = 128; stride > 0; stride /= 2) {
        __builtin_amdgcn_fence(__ATOMIC_RELEASE, "workgroup");
        __builtin_amdgcn_s_barrier();
        __builtin_amdgcn_fence(__ATOMIC_ACQUIRE, "workgroup");
        if (t < stride) sums[t] = sums[t] + sums[t + stride];
    }
    if (t == 0) out[item()] = levels_bits(sums[0]);
}
