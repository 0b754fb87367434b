/* SPDX-License-Identifier: Apache-2.0 */
/* Copies into shared memory that are under way while a block computes: cp.async where it exists. */
#ifndef DSV4_MHC_COPY_INL
#define DSV4_MHC_COPY_INL

#include "gpu.h"

#if GPU_CUDA
GPU_DEVICE void mhc_copy16(void *to, const void *from) {
    const uint32_t at = (uint32_t)__cvta_generic_to_shared(to);
    asm volatile("cp.async.cg.shared.global [%0], [%1], 16;" ::"r"(at), "l"(from) : "memory");
}
GPU_DEVICE void mhc_copy_close(void) { asm volatile("cp.async.commit_group;" ::: "memory"); }
/* Waits until all but the last N groups of this thread are there. */
template <int N> GPU_DEVICE void mhc_copy_wait(void) {
    asm volatile("cp.async.wait_group %0;" ::"n"(N) : "memory");
}
#else
GPU_DEVICE void mhc_copy16(void *to, const void *from) { *(gpu_u4 *)to = *(const gpu_u4 *)from; }
GPU_DEVICE void mhc_copy_close(void) {}
template <int N> GPU_DEVICE void mhc_copy_wait(void) {}
#endif

#endif
