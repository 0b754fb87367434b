/* SPDX-License-Identifier: Apache-2.0 */
/* Variables on the device: constant, global, managed; attributes and occupancy of kernels. */
#include "expect.h"

__constant__ float weights[16];
__constant__ int preset[4] = {2, 3, 5, 7};
__device__ int counter = 40;
__device__ int *pointer_to_counter = &counter;

__global__ void weigh(float *out) {
    float sum = 0;
    for (int i = 0; i < 16; i++) sum += weights[i] * (float)(threadIdx.x + i);
    out[threadIdx.x] = sum + (float)preset[threadIdx.x % 4];
    if (threadIdx.x == 0) atomicAdd(pointer_to_counter, 2);
}

__global__ __launch_bounds__(128) void with_lds(int *out) {
    __shared__ int tile[2048];
    tile[threadIdx.x] = (int)threadIdx.x;
    __syncthreads();
    out[threadIdx.x] = tile[127 - threadIdx.x];
}

int main() {
    float host[16], out[64], *device;
    int count = 0, blocks = 0;
    for (int i = 0; i < 16; i++) host[i] = (float)(i * i);
    OK(hipMemcpyToSymbol(weights, host, sizeof host));
    OK(hipMalloc(&device, sizeof out));
    weigh<<<1, 64>>>(device);
    OK(hipMemcpy(out, device, sizeof out, hipMemcpyDeviceToHost));
    int wrong = 0;
    const int primes[] = {2, 3, 5, 7};
    for (int t = 0; t < 64; t++) {
        float sum = 0;
        for (int i = 0; i < 16; i++) sum += (float)(i * i) * (float)(t + i);
        wrong += out[t] != sum + (float)primes[t % 4];
    }
    EXPECT(wrong == 0);
    OK(hipMemcpyFromSymbol(&count, counter, sizeof count));
    EXPECT(count == 42);
    count = 7;
    OK(hipMemcpyToSymbol(counter, &count, sizeof count));
    weigh<<<1, 64>>>(device);
    OK(hipMemcpyFromSymbol(&count, counter, sizeof count));
    EXPECT(count == 9);
    EXPECT_ERROR(hipMemcpyToSymbol(weights, host, sizeof host, 4), hipErrorInvalidValue);
    EXPECT_ERROR(hipMemcpyToSymbol((const void *)&wrong, host, 4, 0, hipMemcpyHostToDevice),
                 hipErrorInvalidSymbol);

    hipFuncAttributes attributes;
    OK(hipFuncGetAttributes(&attributes, (const void *)with_lds));
    EXPECT(attributes.sharedSizeBytes == 2048 * sizeof(int));
    EXPECT(attributes.maxThreadsPerBlock == 128);
    EXPECT(attributes.numRegs > 0);
    OK(hipOccupancyMaxActiveBlocksPerMultiprocessor(&blocks, with_lds, 128, 0));
    EXPECT(blocks == 8); /* 64 KiB / 8 KiB */
    OK(hipOccupancyMaxActiveBlocksPerMultiprocessor(&blocks, with_lds, 128, 24576));
    EXPECT(blocks == 2);
    int grid = 0, block = 0;
    OK(hipOccupancyMaxPotentialBlockSize(&grid, &block, (const void *)weigh, 0, 0));
    EXPECT(block > 0 && block <= 1024 && grid >= 304);

    with_lds<<<1, 256>>>((int *)device);
    EXPECT_ERROR(hipGetLastError(), hipErrorLaunchFailure);
    with_lds<<<0, 64>>>((int *)device);
    EXPECT_ERROR(hipGetLastError(), hipErrorInvalidConfiguration);
    weigh<<<1, 1025>>>(device);
    EXPECT_ERROR(hipGetLastError(), hipErrorInvalidConfiguration);
    weigh<<<1, 64, 65537>>>(device);
    EXPECT_ERROR(hipGetLastError(), hipErrorInvalidValue);
    OK(hipDeviceSynchronize());
    OK(hipFree(device));
    return done();
}
