/* SPDX-License-Identifier: Apache-2.0 */
/* Kernels whose speed on the emulator `make bench-emu` measures. */
#define KERNEL                                                                                     \
    extern "C" __attribute__((global)) __attribute__((amdgpu_flat_work_group_size(1, 256)))

static __attribute__((device)) unsigned item() {
    return __builtin_amdgcn_workgroup_id_x() * 256 + __builtin_amdgcn_workitem_id_x();
}

/* Float and integer work in equal parts on a few registers. */
KERNEL void speed_alu(float *x, int loops) {
    float a = x[item()], b = a * 0.5f, c = 1.0f;
    unsigned k = item(), m = 12345;
    for (int i = 0; i < loops; i++) {
#pragma unroll
        for (int j = 0; j < 8; j++) {
            a = a * 0.999f + b;
            b = __builtin_fmaf(b, 0.5f, c);
            c = c > a ? c - b : c + 0.25f;
            k = ((k << 5) ^ (k >> 3)) + m;
            m = (m & 0xffff) | (k << 7);
            k = k > m ? k - 17 : k + 3;
        }
    }
    x[item()] = a + b + c + (float)(k ^ m);
}

KERNEL void speed_add(const float *a, const float *b, float *c) {
    c[item()] = a[item()] + b[item()];
}

typedef float floats16 __attribute__((ext_vector_type(16)));

KERNEL void speed_matrix(float *x, int loops) {
    const long a = 0x3841424344454647 + item(), b = 0x3a3b3c3d3e3f4041 - item();
    floats16 d = {0};
    for (int i = 0; i < loops; i++)
#pragma unroll
        for (int j = 0; j < 8; j++)
            d = __builtin_amdgcn_mfma_f32_32x32x16_fp8_fp8(a, b, d, 0, 0, 0);
    x[item()] = d[0] + d[7] + d[15];
}
