/* SPDX-License-Identifier: Apache-2.0 */
/* Waves of 64: shuffles, ballots, LDS of both kinds, barriers, atomics, divergence. */
#include <cmath>
#include <vector>

#include "expect.h"

__device__ float wave_sum(float value) {
    for (int mask = 32; mask > 0; mask /= 2) value += __shfl_xor(value, mask, 64);
    return value;
}

__global__ __launch_bounds__(256) void block_sums(float *out, const float *in, int n) {
    __shared__ float partial[4];
    float sum = 0;
    for (int i = (int)(blockIdx.x * 256 + threadIdx.x); i < n; i += (int)(gridDim.x * 256))
        sum += in[i];
    sum = wave_sum(sum);
    if (threadIdx.x % 64 == 0) partial[threadIdx.x / 64] = sum;
    __syncthreads();
    if (threadIdx.x == 0) atomicAdd(out, partial[0] + partial[1] + partial[2] + partial[3]);
}

/* Keeps what is positive, each wave a run of slots of its own: a plan by atomicAdd. */
__global__ void compact(int *out, unsigned *count, const int *in, int n) {
    const int i = (int)(blockIdx.x * blockDim.x + threadIdx.x);
    const bool keep = i < n && in[i] > 0;
    const unsigned long long votes = __ballot(keep);
    const unsigned lane = threadIdx.x % 64;
    unsigned base = 0;
    if (lane == 0) base = atomicAdd(count, (unsigned)__popcll(votes));
    base = (unsigned)__shfl_xor((int)base, (int)lane); /* lane ^ lane is lane 0 */
    if (keep) out[base + (unsigned)__popcll(votes & ((1ull << lane) - 1))] = in[i];
}

template <typename T> __global__ void reverse(T *data, int n) {
    extern __shared__ char dynamic[];
    T *const copy = (T *)dynamic;
    for (int i = (int)threadIdx.x; i < n; i += (int)blockDim.x) copy[i] = data[i];
    __syncthreads();
    for (int i = (int)threadIdx.x; i < n; i += (int)blockDim.x) data[i] = copy[n - 1 - i];
}

__global__ void collatz(int *steps, int n) {
    const int i = (int)(blockIdx.x * blockDim.x + threadIdx.x);
    if (i >= n) return;
    unsigned x = (unsigned)i + 1;
    int count = 0;
    while (x != 1) {
        if (x % 2 == 0)
            x /= 2;
        else
            x = 3 * x + 1;
        count++;
    }
    steps[i] = count;
}

/* A barrier of the whole grid: every block must be resident. */
__global__ void meet(unsigned *arrived, unsigned *sum) {
    if (threadIdx.x == 0) {
        atomicAdd(arrived, 1u);
        while (__hip_atomic_load(arrived, __ATOMIC_ACQUIRE, __HIP_MEMORY_SCOPE_AGENT) < gridDim.x) {
        }
        atomicAdd(sum, *arrived);
    }
}

static void grid() {
    unsigned *device, *sum, host[2] = {0, 0};
    OK(hipMalloc(&device, sizeof host));
    OK(hipMemset(device, 0, sizeof host));
    sum = device + 1;
    void *arguments[] = {&device, &sum};
    OK(hipLaunchCooperativeKernel((const void *)meet, dim3(100), dim3(128), arguments, 0, nullptr));
    OK(hipMemcpy(host, device, sizeof host, hipMemcpyDeviceToHost));
    EXPECT(host[0] == 100 && host[1] == 100 * 100);
    EXPECT_ERROR(hipLaunchCooperativeKernel((const void *)meet, dim3(1000000), dim3(128), arguments,
                                            0, nullptr),
                 hipErrorCooperativeLaunchTooLarge);
    (void)hipGetLastError();
    OK(hipFree(device));
}

static void sums() {
    std::vector<float> in(3001);
    double want = 0;
    for (size_t i = 0; i < in.size(); i++) want += in[i] = (float)(i % 17) - 4;
    float *device, *out, got = 0;
    OK(hipMalloc(&device, in.size() * sizeof(float)));
    OK(hipMalloc(&out, sizeof *out));
    OK(hipMemset(out, 0, sizeof *out));
    OK(hipMemcpy(device, in.data(), in.size() * sizeof(float), hipMemcpyHostToDevice));
    block_sums<<<5, 256>>>(out, device, (int)in.size());
    OK(hipMemcpy(&got, out, sizeof got, hipMemcpyDeviceToHost));
    EXPECT((double)got == want); /* whole numbers: exact in any order */
    OK(hipFree(device));
    OK(hipFree(out));
}

static void plan() {
    std::vector<int> in(1000);
    long long want = 0, sum = 0;
    unsigned positive = 0, count = 0;
    for (size_t i = 0; i < in.size(); i++) {
        in[i] = (int)(i * 7919 % 1009) - 500;
        if (in[i] > 0) want += (long long)in[i] * in[i], positive++;
    }
    int *device, *out;
    unsigned *n;
    OK(hipMalloc(&device, in.size() * sizeof(int)));
    OK(hipMalloc(&out, in.size() * sizeof(int)));
    OK(hipMalloc(&n, sizeof *n));
    OK(hipMemset(n, 0, sizeof *n));
    OK(hipMemcpy(device, in.data(), in.size() * sizeof(int), hipMemcpyHostToDevice));
    compact<<<4, 256>>>(out, n, device, (int)in.size());
    OK(hipMemcpy(&count, n, sizeof count, hipMemcpyDeviceToHost));
    EXPECT(count == positive);
    std::vector<int> kept(count);
    OK(hipMemcpy(kept.data(), out, count * sizeof(int), hipMemcpyDeviceToHost));
    for (int value : kept) {
        EXPECT(value > 0);
        sum += (long long)value * value;
    }
    EXPECT(sum == want);
    OK(hipFree(device));
    OK(hipFree(out));
    OK(hipFree(n));
}

template <typename T> static void reversal(int n) {
    std::vector<T> host((size_t)n);
    for (int i = 0; i < n; i++) host[(size_t)i] = (T)i;
    T *device;
    OK(hipMalloc(&device, host.size() * sizeof(T)));
    OK(hipMemcpy(device, host.data(), host.size() * sizeof(T), hipMemcpyHostToDevice));
    reverse<T><<<1, 128, host.size() * sizeof(T)>>>(device, n);
    OK(hipMemcpy(host.data(), device, host.size() * sizeof(T), hipMemcpyDeviceToHost));
    int wrong = 0;
    for (int i = 0; i < n; i++) wrong += host[(size_t)i] != (T)(n - 1 - i);
    EXPECT(wrong == 0);
    OK(hipFree(device));
}

static void divergence() {
    int steps[300], *device, wrong = 0;
    OK(hipMalloc(&device, sizeof steps));
    collatz<<<5, 64>>>(device, 300);
    OK(hipMemcpy(steps, device, sizeof steps, hipMemcpyDeviceToHost));
    for (int i = 0; i < 300; i++) {
        int count = 0;
        for (unsigned x = (unsigned)i + 1; x != 1; count++) x = x % 2 == 0 ? x / 2 : 3 * x + 1;
        wrong += steps[i] != count;
    }
    EXPECT(wrong == 0);
    OK(hipFree(device));
}

int main() {
    sums();
    plan();
    reversal<int>(1000);
    reversal<double>(333);
    reversal<unsigned char>(4095);
    divergence();
    grid();
    return done();
}
