/* SPDX-License-Identifier: Apache-2.0 */
/* Narrow floats as kernels use them on gfx942: half, bfloat16, FNUZ FP8 and the matrix unit. */
#include <cmath>
#include <vector>

#include "expect.h"

typedef float float4_ __attribute__((ext_vector_type(4)));
typedef _Float16 half2_ __attribute__((ext_vector_type(2)));
typedef _Float16 half4_ __attribute__((ext_vector_type(4)));

__global__ void narrow(float *half, float *bf16, int *fp8, float *back, const float *in, int n) {
    const int i = (int)(blockIdx.x * blockDim.x + threadIdx.x);
    if (i >= n) return;
    const half2_ h = {(_Float16)in[i], (_Float16)2.0f};
    const half2_ squared = h * h + h;
    half[i] = (float)squared.x;
    bf16[i] = (float)(__bf16)in[i];
#if defined(__gfx942__)
    fp8[i] = __builtin_amdgcn_cvt_pk_fp8_f32(in[i], -in[i], 0, false) & 0xffff;
    back[i] = __builtin_amdgcn_cvt_f32_fp8(fp8[i], 0);
#endif
}

/* One wave multiplies 16 x 16 x 16. */
__global__ __launch_bounds__(64) void product(float *d, const _Float16 *a, const _Float16 *b) {
    const int row = (int)threadIdx.x % 16, k = (int)threadIdx.x / 16 * 4;
    half4_ x, y;
    for (int i = 0; i < 4; i++) {
        x[i] = a[row * 16 + k + i];
        y[i] = b[(k + i) * 16 + row];
    }
    float4_ sum = {0, 0, 0, 0};
#if defined(__gfx942__)
    sum = __builtin_amdgcn_mfma_f32_16x16x16f16(x, y, sum, 0, 0, 0);
#endif
    for (int i = 0; i < 4; i++) d[((int)threadIdx.x / 16 * 4 + i) * 16 + row] = sum[i];
}

/* e4m3 FNUZ: exponent bias 8, one zero, NaN at 0x80. */
static float fnuz(int code) {
    if (code == 0x80) return NAN;
    const int exponent = code >> 3 & 15, mantissa = code & 7;
    const float value = exponent == 0 ? std::ldexp((float)mantissa, -10)
                                      : std::ldexp((float)(8 + mantissa), exponent - 11);
    return (code & 0x80) != 0 ? -value : value;
}

static void conversions() {
    enum { N = 200 };
    float in[N], half[N], bf16[N], back[N], *device[4];
    int fp8[N], *codes, wrong = 0;
    for (int i = 0; i < N; i++) in[i] = std::ldexp((float)(1 + i % 16) / 16, i / 16 - 6);
    for (auto &pointer : device) OK(hipMalloc(&pointer, sizeof in));
    OK(hipMalloc(&codes, sizeof fp8));
    OK(hipMemcpy(device[3], in, sizeof in, hipMemcpyHostToDevice));
    narrow<<<4, 64>>>(device[0], device[1], codes, device[2], device[3], N);
    OK(hipMemcpy(half, device[0], sizeof half, hipMemcpyDeviceToHost));
    OK(hipMemcpy(bf16, device[1], sizeof bf16, hipMemcpyDeviceToHost));
    OK(hipMemcpy(back, device[2], sizeof back, hipMemcpyDeviceToHost));
    OK(hipMemcpy(fp8, codes, sizeof fp8, hipMemcpyDeviceToHost));
    for (int i = 0; i < N; i++) {
        const bool fits = in[i] * in[i] + in[i] < 2048 && in[i] >= 0.0625f;
        if (fits) wrong += std::fabs(half[i] - (in[i] * in[i] + in[i])) > half[i] / 1024;
        wrong += bf16[i] != in[i]; /* five bits fit */
        wrong += !(back[i] == fnuz(fp8[i] & 0xff)) && back[i] == back[i];
        wrong += (fp8[i] & 0xff) != 0x80 && (fp8[i] & 0xff) != 0 &&
                 (fp8[i] >> 8) != (fp8[i] & 0xff) + 0x80;
        for (int code = 0; code < 0x80 && in[i] <= 240; code++) /* the nearest there is */
            wrong += std::fabs(fnuz(code) - in[i]) < std::fabs(back[i] - in[i]);
    }
    EXPECT(wrong == 0);
    for (auto pointer : device) OK(hipFree(pointer));
    OK(hipFree(codes));
}

static void matrices() {
    std::vector<_Float16> a(256), b(256);
    float got[256], *d;
    _Float16 *da, *db;
    int wrong = 0;
    for (int i = 0; i < 256; i++) {
        a[(size_t)i] = (_Float16)(float)(i % 7 - 3);
        b[(size_t)i] = (_Float16)(float)(i % 11 - 5);
    }
    OK(hipMalloc(&da, 512));
    OK(hipMalloc(&db, 512));
    OK(hipMalloc(&d, sizeof got));
    OK(hipMemcpy(da, a.data(), 512, hipMemcpyHostToDevice));
    OK(hipMemcpy(db, b.data(), 512, hipMemcpyHostToDevice));
    product<<<1, 64>>>(d, da, db);
    OK(hipMemcpy(got, d, sizeof got, hipMemcpyDeviceToHost));
    for (int row = 0; row < 16; row++)
        for (int column = 0; column < 16; column++) {
            float sum = 0;
            for (int k = 0; k < 16; k++)
                sum += (float)a[(size_t)(row * 16 + k)] * (float)b[(size_t)(k * 16 + column)];
            wrong += got[row * 16 + column] != sum;
        }
    EXPECT(wrong == 0);
    OK(hipFree(da));
    OK(hipFree(db));
    OK(hipFree(d));
}

int main() {
    conversions();
    matrices();
    return done();
}
