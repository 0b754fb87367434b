/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A thin shim over CUDA and HIP: what the kernels need, under one name.
 *
 * Teams. A wave has GPU_WAVE lanes: 32 on NVIDIA, 64 on gfx9. Kernels never mention that number. They are written
 * for teams of TEAM = 32 lanes; a wave of 64 holds two teams that may take different branches. Shuffles by an xor
 * below 32 stay inside a team on both, and block sizes are multiples of 64, so that no wave is cut.
 *
 * Without ROCm (clang alone, -nogpulib -nogpuinc) the few host functions that are needed are declared here; they are
 * resolved from libamdhip64 when the plug-in is loaded. With ROCm, <hip/hip_runtime.h> is used.
 */
#ifndef DSV4_GPU_H
#define DSV4_GPU_H

#include <stddef.h>
#include <stdint.h>

#if defined(__CUDACC__)
#include <cuda_runtime.h>

#define GPU_CUDA 1
#define GPU_DEVICE_NAME "cuda"
#define GPU_DEVICE static __device__ __forceinline__
#define GPU_HOST_DEVICE static __host__ __device__ __forceinline__
#define GPU_UNROLL _Pragma("unroll")
#define GPU_NO_UNROLL _Pragma("unroll 1")

typedef uint2 gpu_u2;
typedef uint4 gpu_u4;
typedef float2 gpu_f2;
typedef float4 gpu_f4;
typedef cudaStream_t gpu_stream;
typedef cudaError_t gpu_error;
#define gpu_last_error cudaGetLastError
#define gpu_error_text cudaGetErrorString
#define gpu_malloc cudaMalloc
#define gpu_free cudaFree
#define gpu_copy_back(to, from, bytes) cudaMemcpy(to, from, bytes, cudaMemcpyDeviceToHost)

#elif defined(__HIP__)

#if !defined(GPU_NO_ROCM) && __has_include(<hip/hip_runtime.h>)
#include <hip/hip_runtime.h>
#else
#define __global__ __attribute__((global))
#define __device__ __attribute__((device))
#define __host__ __attribute__((host))
#define __shared__ __attribute__((shared))
#define __launch_bounds__(threads, ...) __attribute__((amdgpu_flat_work_group_size(1, threads)))

typedef int hipError_t;
typedef struct ihipStream_t *hipStream_t;
struct dim3 {
    uint32_t x, y, z;
    __host__ __device__ dim3(uint32_t x_ = 1, uint32_t y_ = 1, uint32_t z_ = 1)
        : x(x_), y(y_), z(z_) {}
};
enum { hipSuccess = 0, hipMemcpyDeviceToHost = 2 };
extern "C" {
hipError_t hipGetLastError(void);
const char *hipGetErrorString(hipError_t error);
hipError_t hipMalloc(void **pointer, size_t bytes);
hipError_t hipFree(void *pointer);
hipError_t hipMemcpy(void *to, const void *from, size_t bytes, int kind);
hipError_t hipLaunchKernel(const void *kernel, dim3 grid, dim3 block, void **args, size_t shared,
                           hipStream_t stream);
hipError_t __hipPushCallConfiguration(dim3 grid, dim3 block, size_t shared, hipStream_t stream);
hipError_t __hipPopCallConfiguration(dim3 *grid, dim3 *block, size_t *shared, hipStream_t *stream);
}
#define GPU_BARE 1
#endif

#define GPU_HIP 1
#define GPU_DEVICE_NAME "hip"
#define GPU_DEVICE static __device__ __attribute__((always_inline)) inline
#define GPU_HOST_DEVICE static __host__ __device__ __attribute__((always_inline)) inline
#define GPU_UNROLL _Pragma("unroll")
#define GPU_NO_UNROLL _Pragma("nounroll")

typedef uint32_t gpu_u2 __attribute__((ext_vector_type(2)));
typedef uint32_t gpu_u4 __attribute__((ext_vector_type(4)));
typedef float gpu_f2 __attribute__((ext_vector_type(2)));
typedef float gpu_f4 __attribute__((ext_vector_type(4)));
typedef hipStream_t gpu_stream;
typedef hipError_t gpu_error;
#define gpu_last_error hipGetLastError
#define gpu_error_text hipGetErrorString
#define gpu_malloc(pointer, bytes) hipMalloc((void **)(pointer), bytes)
#define gpu_free hipFree
#define gpu_copy_back(to, from, bytes) hipMemcpy(to, from, bytes, hipMemcpyDeviceToHost)
#elif defined(GPU_EMULATED)
#include "gpu_emulated.h"
#else
#error "gpu.h: compile with nvcc, with clang -x hip, or with -DGPU_EMULATED"
#endif

enum { TEAM = 32 };
#define GPU_SUCCESS ((gpu_error)0)

#ifndef GPU_EMULATED
#define GPU_PLUGIN_NAME GPU_DEVICE_NAME
#define GPU_LAUNCH(kernel, grid, threads, stream, args) (kernel)<<<grid, threads, 0, stream>>>(args)
#endif

/* Shared memory beyond what may be declared: GPU_SHARED(name) in the kernel, the bytes at the launch. gfx9 has 64 KiB in
 * all, which may be declared. */
#if GPU_EMULATED
#elif GPU_CUDA
enum { GPU_SHARED_BYTES = 232448 /* of sm_90 and sm_100; others have less */ };
#define GPU_SHARED(name) extern __shared__ __align__(16) char name[]
#define GPU_LAUNCH_SHARED(kernel, grid, threads, bytes, stream, args)                              \
    do {                                                                                           \
        cudaFuncSetAttribute(kernel, cudaFuncAttributeMaxDynamicSharedMemorySize, (int)(bytes));   \
        (kernel)<<<grid, threads, bytes, stream>>>(args);                                          \
    } while (0)
#else
enum { GPU_SHARED_BYTES = 65536 };
#define GPU_SHARED(name) __shared__ __attribute__((aligned(16))) char name[GPU_SHARED_BYTES]
#define GPU_LAUNCH_SHARED(kernel, grid, threads, bytes, stream, args)                              \
    GPU_LAUNCH(kernel, grid, threads, stream, args)
#endif

/* The most that a block of this device can have. */
#if GPU_EMULATED
#elif GPU_CUDA
static inline int64_t gpu_shared_limit(void) {
    int device = 0, bytes = 0;
    if (cudaGetDevice(&device) != cudaSuccess) return 0;
    cudaDeviceGetAttribute(&bytes, cudaDevAttrMaxSharedMemoryPerBlockOptin, device);
    return bytes;
}
static inline int64_t gpu_multiprocessors(void) {
    int device = 0, n = 0;
    if (cudaGetDevice(&device) != cudaSuccess) return 1;
    cudaDeviceGetAttribute(&n, cudaDevAttrMultiProcessorCount, device);
    return n > 0 ? n : 1;
}
#else
static inline int64_t gpu_shared_limit(void) { return GPU_SHARED_BYTES; }
#endif

/* ---- ids and barriers ---- */

#if GPU_EMULATED
#elif GPU_CUDA
GPU_DEVICE uint32_t gpu_thread(void) { return threadIdx.x; }
GPU_DEVICE int64_t gpu_block(void) { return blockIdx.x; }
GPU_DEVICE void gpu_barrier(void) { __syncthreads(); }
/* Of the first N threads of the block, a multiple of 32. Not on AMD. */
template <int N> GPU_DEVICE void gpu_barrier_of(void) {
    asm volatile("bar.sync 1, %0;" ::"n"(N) : "memory");
}
#else
GPU_DEVICE uint32_t gpu_thread(void) { return __builtin_amdgcn_workitem_id_x(); }
GPU_DEVICE int64_t gpu_block(void) { return __builtin_amdgcn_workgroup_id_x(); }
GPU_DEVICE void gpu_barrier(void) {
    __builtin_amdgcn_fence(__ATOMIC_RELEASE, "workgroup");
    __builtin_amdgcn_s_barrier();
    __builtin_amdgcn_fence(__ATOMIC_ACQUIRE, "workgroup");
}
#endif

GPU_DEVICE int gpu_lane(void) { return (int)(gpu_thread() % TEAM); }
GPU_DEVICE int gpu_team(void) { return (int)(gpu_thread() / TEAM); }

/* ---- bits and arithmetic ---- */

GPU_HOST_DEVICE uint32_t gpu_bits(float x) { return __builtin_bit_cast(uint32_t, x); }
GPU_HOST_DEVICE float gpu_float(uint32_t bits) { return __builtin_bit_cast(float, bits); }

#if GPU_EMULATED
#elif GPU_CUDA
GPU_DEVICE float gpu_fma(float a, float b, float c) { return __fmaf_rn(a, b, c); }
GPU_DEVICE float gpu_max(float a, float b) { return fmaxf(a, b); }
GPU_DEVICE float gpu_min(float a, float b) { return fminf(a, b); }
GPU_DEVICE float gpu_abs(float x) { return fabsf(x); }
GPU_DEVICE float gpu_divide_float(float a, float b) { return __fdiv_rn(a, b); }
#else
GPU_DEVICE float gpu_fma(float a, float b, float c) { return __builtin_fmaf(a, b, c); }
GPU_DEVICE float gpu_max(float a, float b) { return __builtin_fmaxf(a, b); }
GPU_DEVICE float gpu_min(float a, float b) { return __builtin_fminf(a, b); }
GPU_DEVICE float gpu_abs(float x) { return __builtin_fabsf(x); }
GPU_DEVICE float gpu_divide_float(float a, float b) { return a / b; }
#endif

/* Four of the bytes of two words, by the digits of `which`; halves by halves: least and greatest. */
#if GPU_CUDA
GPU_DEVICE uint32_t gpu_bytes(uint32_t a, uint32_t b, uint32_t which) {
    return __byte_perm(a, b, which);
}
GPU_DEVICE uint32_t gpu_min_u16x2(uint32_t a, uint32_t b) { return __vminu2(a, b); }
GPU_DEVICE uint32_t gpu_max_u16x2(uint32_t a, uint32_t b) { return __vmaxu2(a, b); }
#else
GPU_DEVICE uint32_t gpu_bytes(uint32_t a, uint32_t b, uint32_t which) {
    const uint64_t both = (uint64_t)b << 32 | a;
    uint32_t bytes = 0;
    for (int i = 0; i < 4; i++)
        bytes |= (uint32_t)(both >> 8 * (which >> 4 * i & 7u) & 0xFFu) << 8 * i;
    return bytes;
}
GPU_DEVICE uint32_t gpu_min_u16x2(uint32_t a, uint32_t b) {
    const uint32_t low = (a & 0xFFFFu) < (b & 0xFFFFu) ? a : b, high = a >> 16 < b >> 16 ? a : b;
    return (low & 0xFFFFu) | (high & 0xFFFF0000u);
}
GPU_DEVICE uint32_t gpu_max_u16x2(uint32_t a, uint32_t b) {
    const uint32_t low = (a & 0xFFFFu) > (b & 0xFFFFu) ? a : b, high = a >> 16 > b >> 16 ? a : b;
    return (low & 0xFFFFu) | (high & 0xFFFF0000u);
}
#endif

/* x, of which clang shall know nothing: it would work out early what follows from x, keep it in registers over loops that
 * have no use for it, and spill. */
GPU_DEVICE int gpu_hidden(int x) {
#if GPU_HIP && defined(__AMDGCN__)
    asm volatile("" : "+v"(x));
#endif
    return x;
}

/* ---- inside a team ---- */

#if GPU_EMULATED
#elif GPU_CUDA
#define team_xor_u32(x, mask) __shfl_xor_sync(0xFFFFFFFFu, (uint32_t)(x), mask)
GPU_DEVICE uint32_t team_read_u32(uint32_t x, int lane) {
    return __shfl_sync(0xFFFFFFFFu, x, lane);
}
/* Stores to shared memory before it are seen by the team's loads after it. */
GPU_DEVICE void team_barrier(void) { __syncwarp(); }
GPU_DEVICE uint32_t team_ballot(bool yes) { return __ballot_sync(0xFFFFFFFFu, yes); }
/* Greatest of the team's values. */
GPU_DEVICE uint32_t team_max_u32(uint32_t x) { return __reduce_max_sync(0xFFFFFFFFu, x); }
#else
/* ds_swizzle in its bit mask mode exchanges inside groups of 32 lanes. */
#define team_xor_u32(x, mask) ((uint32_t)__builtin_amdgcn_ds_swizzle((int)(x), (mask) << 10 | 0x1F))
GPU_DEVICE uint32_t team_read_u32(uint32_t x, int lane) {
    const int base = (int)(gpu_thread() & 32u);
    return (uint32_t)__builtin_amdgcn_ds_bpermute((base | lane) << 2, (int)x);
}
GPU_DEVICE uint32_t team_ballot(bool yes) {
#if defined(__GFX10__) || defined(__GFX11__) || defined(__GFX12__)
    return __builtin_amdgcn_ballot_w32(yes);
#else
    return (uint32_t)(__builtin_amdgcn_ballot_w64(yes) >> (gpu_thread() & 32u));
#endif
}
/* A wave runs in step and its accesses to shared memory stay in order: only the compiler must keep them so. */
GPU_DEVICE void team_barrier(void) {
    __builtin_amdgcn_fence(__ATOMIC_RELEASE, "wavefront");
    __builtin_amdgcn_wave_barrier();
    __builtin_amdgcn_fence(__ATOMIC_ACQUIRE, "wavefront");
}
GPU_DEVICE uint32_t gpu_max_u32(uint32_t a, uint32_t b) { return a > b ? a : b; }
GPU_DEVICE uint32_t team_max_u32(uint32_t x) {
    x = gpu_max_u32(x, team_xor_u32(x, 16));
    x = gpu_max_u32(x, team_xor_u32(x, 8));
    x = gpu_max_u32(x, team_xor_u32(x, 4));
    x = gpu_max_u32(x, team_xor_u32(x, 2));
    return gpu_max_u32(x, team_xor_u32(x, 1));
}
#endif

#define team_read_float(x, lane) gpu_float(team_read_u32(gpu_bits(x), lane))
#define team_xor_float(x, mask) gpu_float(team_xor_u32(gpu_bits(x), mask))

GPU_DEVICE int64_t team_read_i64(int64_t x, int lane) {
    const uint64_t low = team_read_u32((uint32_t)x, lane);
    const uint64_t high = team_read_u32((uint32_t)((uint64_t)x >> 32), lane);
    return (int64_t)(high << 32 | low);
}

/* ---- memory ---- */

/* 8 bytes of global memory that nobody writes meanwhile. */
GPU_DEVICE gpu_u2 gpu_load_u2(const char *data) {
#if GPU_CUDA
    return __ldg((const gpu_u2 *)data);
#else
    return *(const gpu_u2 *)data;
#endif
}

/* Stores 16 bytes that no kernel reads soon: on CUDA they leave L2 first, which is 3 to 5 % of moe_permute's time on an H100
 * (and costs mhc_expand 2 %). */
GPU_DEVICE void gpu_stream_u4(char *to, gpu_u4 x) {
#if GPU_CUDA
    __stcs((gpu_u4 *)to, x);
#else
    *(gpu_u4 *)to = x;
#endif
}

/* 8 bytes at data + offset of global memory that nobody writes meanwhile; zeros where data is NULL. On CUDA no branch that
 * would part the loads of a loop. */
GPU_DEVICE gpu_u2 gpu_load_u2_of(const char *data, int offset) {
    gpu_u2 x;
#if GPU_CUDA
    asm volatile("{\n\t.reg .pred there;\n\tsetp.ne.u64 there, %2, 0;\n\tmov.u32 %0, 0;\n\tmov.u32 "
                 "%1, 0;\n\t"
                 "@there ld.global.nc.v2.u32 {%0, %1}, [%3];\n\t}"
                 : "=&r"(x.x), "=&r"(x.y)
                 : "l"(data), "l"(data + offset));
#else
    x.x = x.y = 0;
    if (data != NULL) x = *(const gpu_u2 *)(data + offset);
#endif
    return x;
}

/* ---- integers ---- */

/* A positive divisor; shift is -1 unless it is a power of two. */
struct gpu_divisor {
    int64_t value;
    int shift;
};

/* Quotient of n >= 0. Divides in 32 bits where it can: a 64-bit division takes some hundred instructions. */
GPU_DEVICE int64_t gpu_quotient(int64_t n, struct gpu_divisor d) {
    if (d.shift >= 0) return n >> d.shift;
    if (((uint64_t)n | (uint64_t)d.value) >> 32 == 0) return (uint32_t)n / (uint32_t)d.value;
    return n / d.value;
}

#if GPU_EMULATED
#elif GPU_CUDA
GPU_DEVICE int gpu_lowest_bit(uint32_t mask) { return __ffs((int)mask) - 1; }
#else
GPU_DEVICE int gpu_lowest_bit(uint32_t mask) { return mask == 0 ? -1 : __builtin_ctz(mask); }
#endif

/* Index of the n-th set bit (n from 0) of a mask, or -1. */
GPU_DEVICE int gpu_nth_bit(uint32_t mask, int n) {
    for (int i = 0; i < n; i++) mask &= mask - 1;
    return gpu_lowest_bit(mask);
}

#endif
