/* SPDX-License-Identifier: Apache-2.0 */
/* A module that the program loads itself: the code object is the program's first argument. */
#include <fstream>
#include <iterator>
#include <vector>

#include "expect.h"

#if defined(__HIP_DEVICE_COMPILE__)
#define KERNEL extern "C" __global__
#else
#define KERNEL extern "C" __attribute__((unused)) __global__
#endif

extern "C" {
__device__ int bias = 5;
}

struct pair {
    char tag;
    double value;
};

KERNEL void affine(double *out, pair factor, short shift, int n) {
    const int i = (int)(blockIdx.x * blockDim.x + threadIdx.x);
    if (i < n) out[i] = factor.value * i + shift + bias + factor.tag;
}

static void launches(hipFunction_t function, double *device) {
    enum { N = 100 };
    double out[N];
    pair factor = {'\1', 2.5};
    short shift = -7;
    int n = N, wrong = 0;
    void *arguments[] = {&device, &factor, &shift, &n};
    OK(hipMemset(device, 0, sizeof out));
    OK(hipModuleLaunchKernel(function, 2, 1, 1, 64, 1, 1, 0, nullptr, arguments, nullptr));
    OK(hipMemcpy(out, device, sizeof out, hipMemcpyDeviceToHost));
    for (int i = 0; i < N; i++) wrong += out[i] != 2.5 * i - 7 + 5 + 1;
    EXPECT(wrong == 0);

    struct {
        double *out;
        pair factor;
        short shift;
        int n;
    } packed = {
        device, {'\2', 0.5},
         3, N
    };
    size_t size = sizeof packed;
    void *extra[] = {HIP_LAUNCH_PARAM_BUFFER_POINTER, &packed, HIP_LAUNCH_PARAM_BUFFER_SIZE, &size,
                     HIP_LAUNCH_PARAM_END};
    OK(hipModuleLaunchKernel(function, 2, 1, 1, 64, 1, 1, 0, nullptr, nullptr, extra));
    OK(hipMemcpy(out, device, sizeof out, hipMemcpyDeviceToHost));
    for (int i = 0; i < N; i++) wrong += out[i] != 0.5 * i + 3 + 5 + 2;
    EXPECT(wrong == 0);
    size = 8;
    EXPECT_ERROR(hipModuleLaunchKernel(function, 2, 1, 1, 64, 1, 1, 0, nullptr, nullptr, extra),
                 hipErrorInvalidValue);
    EXPECT_ERROR(hipModuleLaunchKernel(function, 2, 0, 1, 64, 1, 1, 0, nullptr, arguments, nullptr),
                 hipErrorInvalidConfiguration);
    EXPECT_ERROR(
        hipModuleLaunchKernel(function, 2, 1, 1, 64, 64, 1, 0, nullptr, arguments, nullptr),
        hipErrorInvalidConfiguration);
    EXPECT_ERROR(hipModuleLaunchKernel(nullptr, 2, 1, 1, 64, 1, 1, 0, nullptr, arguments, nullptr),
                 hipErrorInvalidHandle);
}

int main(int argc, char **argv) {
    hipModule_t module;
    hipFunction_t function;
    hipDeviceptr_t address;
    size_t bytes = 0;
    double *device;
    int value = 0;
    if (argc != 2) return 2;
    OK(hipMalloc(&device, 100 * sizeof *device));
    OK(hipModuleLoad(&module, argv[1]));
    OK(hipModuleGetFunction(&function, module, "affine"));
    OK(hipModuleGetGlobal(&address, &bytes, module, "bias"));
    EXPECT(bytes == sizeof value);
    OK(hipMemcpy(&value, address, sizeof value, hipMemcpyDeviceToHost));
    EXPECT(value == 5);
    launches(function, device);
    EXPECT_ERROR(hipModuleGetFunction(&function, module, "no_such_kernel"), hipErrorNotFound);
    EXPECT_ERROR(hipModuleGetGlobal(&address, &bytes, module, "no_such_variable"),
                 hipErrorNotFound);
    OK(hipModuleUnload(module));

    std::ifstream file(argv[1], std::ios::binary);
    const std::vector<char> image((std::istreambuf_iterator<char>(file)),
                                  std::istreambuf_iterator<char>());
    OK(hipModuleLoadData(&module, image.data()));
    OK(hipModuleGetFunction(&function, module, "affine"));
    launches(function, device);
    OK(hipModuleUnload(module));
    EXPECT_ERROR(hipModuleLoad(&module, "/no/such/file"), hipErrorFileNotFound);
    EXPECT_ERROR(hipModuleLoadData(&module, "no code object, but a text of some length that is "
                                            "long enough to be read as a header"),
                 hipErrorInvalidImage);
    EXPECT_ERROR(hipModuleUnload(module), hipErrorInvalidHandle);
    OK(hipFree(device));
    return done();
}
