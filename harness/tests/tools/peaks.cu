/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What the arithmetic units of an NVIDIA GPU reach, so that a figure of `bench` can be read as a share of its ceiling:
 * chains of independent instructions in registers, no memory. A multiply and an add count as two operations. Prints one
 * line per unit: the median of 9 runs of about 5 ms. Compiles for sm_80 and up.
 */
#include <cuda_runtime.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>

enum { THREADS = 256, RUNS = 9, TURNS = 4096 };

#define CHECK(call)                                                                                \
    do {                                                                                           \
        const cudaError_t error = (call);                                                          \
        if (error != cudaSuccess) {                                                                \
            fprintf(stderr, "peaks: %s: %s\n", #call, cudaGetErrorString(error));                  \
            exit(2);                                                                               \
        }                                                                                          \
    } while (0)

/* A lane's operations are counted by the host; the store never happens, but the compiler cannot know. */
__global__ void __launch_bounds__(THREADS) fma_f32(float *out, float a, float b) {
    float x[16];
    for (int i = 0; i < 16; i++) x[i] = (float)(threadIdx.x + (uint32_t)i);
    for (int turn = 0; turn < TURNS; turn++) {
#pragma unroll
        for (int i = 0; i < 16; i++) x[i] = __fmaf_rn(x[i], a, b);
    }
    float sum = 0;
    for (int i = 0; i < 16; i++) sum += x[i];
    if (sum == 12345.678f) out[threadIdx.x] = sum;
}

__global__ void __launch_bounds__(THREADS) fma_f64(float *out, double a, double b) {
    double x[8];
    for (int i = 0; i < 8; i++) x[i] = (double)(threadIdx.x + (uint32_t)i);
    for (int turn = 0; turn < TURNS; turn++) {
#pragma unroll
        for (int i = 0; i < 8; i++) x[i] = __fma_rn(x[i], a, b);
    }
    double sum = 0;
    for (int i = 0; i < 8; i++) sum += x[i];
    if (sum == 12345.678) out[threadIdx.x] = (float)sum;
}

#if __CUDA_ARCH__ >= 900
#define MMA_F64_K 16
#else
#define MMA_F64_K 4
#endif
enum { CHAINS = 4 };

/* m16n8k16 on sm_90 and up, m8n8k4 before; operations per warp and instruction are told to the host by `per`. */
__global__ void __launch_bounds__(THREADS) mma_f64(float *out, double a, double b, int *per) {
    double c[CHAINS][4] = {{0}};
    for (int turn = 0; turn < TURNS / 8; turn++) {
#pragma unroll
        for (int i = 0; i < CHAINS; i++) {
#if __CUDA_ARCH__ >= 900
            asm volatile("mma.sync.aligned.m16n8k16.row.col.f64.f64.f64.f64 {%0,%1,%2,%3}, "
                         "{%4,%4,%4,%4,%4,%4,%4,%4}, {%5,%5,%5,%5}, {%0,%1,%2,%3};"
                         : "+d"(c[i][0]), "+d"(c[i][1]), "+d"(c[i][2]), "+d"(c[i][3])
                         : "d"(a), "d"(b));
#else
            asm volatile(
                "mma.sync.aligned.m8n8k4.row.col.f64.f64.f64.f64 {%0,%1}, {%2}, {%3}, {%0,%1};"
                : "+d"(c[i][0]), "+d"(c[i][1])
                : "d"(a), "d"(b));
#endif
        }
    }
    double sum = 0;
    for (int i = 0; i < CHAINS; i++) sum += c[i][0] + c[i][1] + c[i][2] + c[i][3];
    if (sum == 12345.678) out[threadIdx.x] = (float)sum;
    if (blockIdx.x == 0 && threadIdx.x == 0) *per = MMA_F64_K == 16 ? 16 * 8 * 16 : 8 * 8 * 4;
}

__global__ void __launch_bounds__(THREADS) mma_s8(float *out, uint32_t a, uint32_t b) {
    int32_t c[CHAINS * 2][4] = {{0}};
    for (int turn = 0; turn < TURNS; turn++) {
#pragma unroll
        for (int i = 0; i < CHAINS * 2; i++)
            asm volatile(
                "mma.sync.aligned.m16n8k32.row.col.s32.s8.s8.s32 {%0,%1,%2,%3}, {%4,%4,%4,%4}, "
                "{%5,%5}, {%0,%1,%2,%3};"
                : "+r"(c[i][0]), "+r"(c[i][1]), "+r"(c[i][2]), "+r"(c[i][3])
                : "r"(a), "r"(b));
    }
    int32_t sum = 0;
    for (int i = 0; i < CHAINS * 2; i++) sum += c[i][0] + c[i][1] + c[i][2] + c[i][3];
    if (sum == 0x12345678) out[threadIdx.x] = (float)sum;
}

static int by_value(const void *a, const void *b) {
    const float x = *(const float *)a, y = *(const float *)b;
    return (x > y) - (x < y);
}

#define MEASURE(name, operations, launch)                                                          \
    do {                                                                                           \
        float ms[RUNS];                                                                            \
        launch;                                                                                    \
        CHECK(cudaDeviceSynchronize());                                                            \
        for (int run = 0; run < RUNS; run++) {                                                     \
            CHECK(cudaEventRecord(start));                                                         \
            launch;                                                                                \
            CHECK(cudaGetLastError());                                                             \
            CHECK(cudaEventRecord(stop));                                                          \
            CHECK(cudaEventSynchronize(stop));                                                     \
            CHECK(cudaEventElapsedTime(&ms[run], start, stop));                                    \
        }                                                                                          \
        qsort(ms, RUNS, sizeof *ms, by_value);                                                     \
        printf("%-40s %8.1f T/s   (%.2f ms)\n", name, (operations) / (1e9 * (double)ms[RUNS / 2]), \
               (double)ms[RUNS / 2]);                                                              \
    } while (0)

int main(void) {
    cudaDeviceProp device;
    cudaEvent_t start, stop;
    float *out;
    int *per, each = 0;
    CHECK(cudaGetDeviceProperties(&device, 0));
    CHECK(cudaMalloc(&out, THREADS * sizeof *out));
    CHECK(cudaMalloc(&per, sizeof *per));
    CHECK(cudaEventCreate(&start));
    CHECK(cudaEventCreate(&stop));
    const unsigned blocks = 8 * 8 * (unsigned)device.multiProcessorCount;
    const double lanes = (double)blocks * THREADS, warps = lanes / 32;
    printf("%s, %d multiprocessors\n", device.name, device.multiProcessorCount);
    MEASURE("fp32 fma", 2.0 * 16 * TURNS * lanes,
            (fma_f32<<<blocks, THREADS>>>(out, 1.0001f, 0.5f)));
    MEASURE("fp64 fma", 2.0 * 8 * TURNS * lanes, (fma_f64<<<blocks, THREADS>>>(out, 1.0001, 0.5)));
    mma_f64<<<1, THREADS>>>(out, 1.0001, 0.5, per);
    CHECK(cudaMemcpy(&each, per, sizeof each, cudaMemcpyDeviceToHost));
    MEASURE("fp64 matrix units (mma.sync)", 2.0 * each * CHAINS * (TURNS / 8) * warps,
            (mma_f64<<<blocks, THREADS>>>(out, 1.0001, 0.5, per)));
    MEASURE("int8 matrix units (mma.sync m16n8k32)", 2.0 * 16 * 8 * 32 * CHAINS * 2 * TURNS * warps,
            (mma_s8<<<blocks, THREADS>>>(out, 0x01020304u, 0x05060708u)));
    return 0;
}
