/* SPDX-License-Identifier: Apache-2.0 */
/* Templates, launch bounds, grid-stride loops, three dimensions, two streams with an event between, timing. */
#include <vector>

#include "expect.h"

template <typename T> struct axpy {
    T a;
    __device__ T operator()(T x, T y) const { return a * x + y; }
};

template <typename T, typename F, int BLOCK>
__global__ __launch_bounds__(BLOCK) void map(T *out, const T *x, const T *y, size_t n, F f) {
    for (size_t i = blockIdx.x * (size_t)BLOCK + threadIdx.x; i < n; i += (size_t)gridDim.x * BLOCK)
        out[i] = f(x[i], y[i]);
}

__global__ void where_am_i(unsigned *out, unsigned nx, unsigned ny) {
    const unsigned x = blockIdx.x * blockDim.x + threadIdx.x;
    const unsigned y = blockIdx.y * blockDim.y + threadIdx.y;
    const unsigned z = blockIdx.z * blockDim.z + threadIdx.z;
    out[(z * ny + y) * nx + x] = x | y << 8 | z << 16;
}

template <typename T> static void run(size_t n) {
    std::vector<T> x(n), y(n), out(n);
    for (size_t i = 0; i < n; i++) x[i] = (T)(i % 1000), y[i] = (T)(i % 77);
    T *dx, *dy, *dout;
    hipStream_t first, second;
    hipEvent_t ready, start, stop;
    OK(hipMalloc(&dx, n * sizeof(T)));
    OK(hipMalloc(&dy, n * sizeof(T)));
    OK(hipMalloc(&dout, n * sizeof(T)));
    OK(hipStreamCreate(&first));
    OK(hipStreamCreateWithFlags(&second, hipStreamNonBlocking));
    OK(hipEventCreate(&ready));
    OK(hipEventCreate(&start));
    OK(hipEventCreate(&stop));
    OK(hipMemcpyAsync(dx, x.data(), n * sizeof(T), hipMemcpyHostToDevice, first));
    OK(hipMemcpyAsync(dy, y.data(), n * sizeof(T), hipMemcpyHostToDevice, first));
    OK(hipEventRecord(ready, first));
    OK(hipStreamWaitEvent(second, ready, 0));
    OK(hipEventRecord(start, second));
    map<T, axpy<T>, 256><<<7, 256, 0, second>>>(dout, dx, dy, n, axpy<T>{(T)3});
    OK(hipGetLastError());
    OK(hipEventRecord(stop, second));
    OK(hipMemcpyAsync(out.data(), dout, n * sizeof(T), hipMemcpyDeviceToHost, second));
    OK(hipStreamSynchronize(second));
    float milliseconds = -1;
    OK(hipEventElapsedTime(&milliseconds, start, stop));
    EXPECT(milliseconds >= 0);
    size_t wrong = 0;
    for (size_t i = 0; i < n; i++) wrong += out[i] != (T)((T)3 * x[i] + y[i]);
    EXPECT(wrong == 0);
    OK(hipEventDestroy(ready));
    OK(hipEventDestroy(start));
    OK(hipEventDestroy(stop));
    OK(hipStreamDestroy(first));
    OK(hipStreamDestroy(second));
    OK(hipFree(dx));
    OK(hipFree(dy));
    OK(hipFree(dout));
}

int main() {
    run<float>(10007);
    run<double>(4099);
    run<int>(5000);
    run<unsigned char>(3001);
    run<long long>(1);

    unsigned out[8 * 6 * 10], *device;
    OK(hipMalloc(&device, sizeof out));
    where_am_i<<<dim3(2, 3, 5), dim3(4, 2, 2)>>>(device, 8, 6);
    OK(hipMemcpy(out, device, sizeof out, hipMemcpyDeviceToHost));
    unsigned wrong = 0;
    for (unsigned i = 0; i < 8 * 6 * 10; i++)
        wrong += out[i] != (i % 8 | i / 8 % 6 << 8 | i / 48 << 16);
    EXPECT(wrong == 0);
    OK(hipFree(device));
    return done();
}
