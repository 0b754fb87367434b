/* SPDX-License-Identifier: Apache-2.0 */
/* Planted faults, one per run: the program's argument says which. The error must come, stay, and be explained. */
#include <cstring>

#include "expect.h"

__global__ void store(int *to, long offset) { to[offset + threadIdx.x] = 1; }

__global__ void count(int *to) { atomicAdd(to, 1); }

__global__ void hang(volatile int *flag) {
    while (*flag == 0) {
    }
}

__global__ void trap(const int *value) {
    if (*value != 42) __builtin_trap();
}

static int faults(const char *which) {
    int *memory, *freed;
    hipError_t wanted = hipErrorIllegalAddress;
    OK(hipMalloc(&memory, 256));
    OK(hipMalloc(&freed, 256));
    OK(hipMemset(memory, 0, 256));
    OK(hipFree(freed));
    if (std::strcmp(which, "beyond") == 0) store<<<1, 64>>>(memory, 1);
    if (std::strcmp(which, "before") == 0) store<<<1, 64>>>(memory, -1);
    if (std::strcmp(which, "freed") == 0) store<<<1, 64>>>(freed, 0);
    if (std::strcmp(which, "null") == 0) store<<<1, 64>>>((int *)0x10, 0);
    if (std::strcmp(which, "misaligned") == 0) count<<<1, 32>>>((int *)((char *)memory + 2));
    if (std::strcmp(which, "hang") == 0) {
        wanted = (hipError_t)702;
        hang<<<1, 64>>>(memory);
    }
    if (std::strcmp(which, "trap") == 0) {
        wanted = hipErrorLaunchFailure;
        trap<<<1, 64>>>(memory);
    }
    EXPECT_ERROR(hipDeviceSynchronize(), wanted);
    EXPECT_ERROR(hipGetLastError(), wanted);
    EXPECT_ERROR(hipGetLastError(), wanted); /* it stays */
    EXPECT_ERROR(hipMemset(memory, 0, 4), wanted);
    return done();
}

int main(int argc, char **argv) { return argc == 2 ? faults(argv[1]) : 2; }
