/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Sums of FP8 products on the FP64 matrix units. A product of two e4m3 values has 8 bits and lies between 2^-18 (fnuz
 * 2^-20) and 2^18, so that 53 bits hold every sum over a block, in any order.
 *
 * The fields of e4m3 in those of a double's upper word, exponent below exponent, are the value times 2^-1016 (fnuz
 * 2^-1015), subnormals included: a code takes a shift and a mask. The activations are then multiplied once, and a sum once
 * at the end.
 *
 * A unit (a warp, a wave of 64) multiplies 16 rows of the weight by tiles of activations. Each of four parts of its lanes
 * holds 32 of a block's 128 k, contiguous, straight from global memory: the k of a fragment are dealt so that a lane's
 * four (one on HIP) are those of a word, for both operands alike.
 */
#ifndef DSV4_GEMM_EXACT_INL
#define DSV4_GEMM_EXACT_INL

#include "call.h"
#include "num.inl"

#if GPU_HIP
enum { EXACT_UNIT = 2 * TEAM, EXACT_TOKENS = 16, EXACT_LANE_ROWS = 1, EXACT_WAVES = 1 };
#else
enum { EXACT_UNIT = TEAM, EXACT_TOKENS = 8, EXACT_LANE_ROWS = 2, EXACT_WAVES = 0 };
#endif
enum {
    EXACT_ROWS = 16,
    EXACT_BLOCK = 128,
    EXACT_WORDS = 8, /* of a lane's 32 codes */
    EXACT_UNITS = CALL_THREADS / EXACT_UNIT
};

GPU_DEVICE int exact_lane(void) { return (int)(gpu_thread() % EXACT_UNIT); }
GPU_DEVICE int exact_unit(void) { return (int)(gpu_thread() / EXACT_UNIT); }
/* The row of the weight (and, with EXACT_LANE_ROWS, the one 8 further), or the activation, whose codes a lane holds. */
GPU_DEVICE int exact_own(void) {
    return EXACT_WAVES ? exact_lane() % EXACT_ROWS : exact_lane() / 4;
}
GPU_DEVICE int exact_part(void) {
    return EXACT_WAVES ? exact_lane() / EXACT_ROWS : exact_lane() % 4;
}
/* Row and activation of sum i of a lane. */
GPU_DEVICE int exact_row(int i) {
    return EXACT_WAVES ? exact_lane() / EXACT_ROWS + 4 * i : exact_lane() / 4 + 8 * (i / 2);
}
GPU_DEVICE int exact_token(int i) {
    return EXACT_WAVES ? exact_lane() % EXACT_ROWS : exact_lane() % 4 * 2 + i % 2;
}

/* ---- codes ---- */

GPU_DEVICE double exact_double(uint32_t high) {
#if GPU_CUDA
    return __hiloint2double((int)high, 0);
#else
    return __builtin_bit_cast(double, (uint64_t)high << 32);
#endif
}

/* Byte i of a word, times 2^-1016. */
GPU_DEVICE double exact_raw(uint32_t word, int i) {
    return exact_double((uint32_t)((int32_t)(word << (24 - 8 * i)) >> 7) & 0x80FE0000u);
}

/* On HIP nothing is subnormal. On CUDA, where FP64 units are those of IEEE 754, the weight's factors of 0 exponent are, and
 * products below 2^-13: exactly so, they are multiples of 2^-1027. */
GPU_DEVICE double exact_weight(uint32_t word, int i) {
    return EXACT_WAVES ? exact_raw(word, i) * 0x1p1016 : exact_raw(word, i);
}
GPU_DEVICE double exact_activation(uint32_t word, int i) {
    return exact_raw(word, i) * (EXACT_WAVES ? 0x1p1016 : 0x1p1023);
}
/* Undoes both; fnuz codes mean half. */
GPU_DEVICE float exact_partial(double sum, int fnuz) {
    const double unit = EXACT_WAVES ? 1.0 : 0x1p1009;
    return (float)(sum * (fnuz ? 0.25 * unit : unit));
}

/* ---- c += a b ---- */

#if GPU_EMULATED
static double exact_a[2][EMULATED_LANES][8], exact_b[2][EMULATED_LANES][4];

/* m16n8k16: fragments as PTX has them. */
GPU_DEVICE void exact_mma(double *c, const double *a, const double *b) {
    const uint32_t me = gpu_thread();
    const int turn = (int)(emulated.team_meetings[me] & 1), row = gpu_lane() / 4;
    const uint32_t begin = me - (uint32_t)gpu_lane();
    for (int i = 0; i < 8; i++) exact_a[turn][me][i] = a[i];
    for (int i = 0; i < 4; i++) exact_b[turn][me][i] = b[i];
    team_read_u32(0, 0);
    for (int s = 0; s < 4; s++)
        for (int i = 0; i < 4; i++) {
            const double *const from = exact_a[turn][begin + 4 * row + s];
            const double *const with =
                exact_b[turn][begin + 4 * (2 * (gpu_lane() % 4) + i % 2) + s];
            for (int k = 0; k < 4; k++) c[i] = __builtin_fma(from[2 * k + i / 2], with[k], c[i]);
        }
}
#elif GPU_CUDA
GPU_DEVICE void exact_mma(double *c, const double *a, const double *b) {
#if __CUDA_ARCH__ >= 900
    asm("mma.sync.aligned.m16n8k16.row.col.f64.f64.f64.f64 {%0, %1, %2, %3}, {%4, %5, %6, %7, %8, "
        "%9, %10, %11}, {%12, %13, %14, %15}, {%0, %1, %2, %3};"
        : "+d"(c[0]), "+d"(c[1]), "+d"(c[2]), "+d"(c[3])
        : "d"(a[0]), "d"(a[1]), "d"(a[2]), "d"(a[3]), "d"(a[4]), "d"(a[5]), "d"(a[6]), "d"(a[7]),
          "d"(b[0]), "d"(b[1]), "d"(b[2]), "d"(b[3]));
#else
    GPU_UNROLL for (int k = 0; k < 4; k++) {
        asm("mma.sync.aligned.m8n8k4.row.col.f64.f64.f64.f64 {%0, %1}, {%2}, {%3}, {%0, %1};"
            : "+d"(c[0]), "+d"(c[1])
            : "d"(a[2 * k]), "d"(b[k]));
        asm("mma.sync.aligned.m8n8k4.row.col.f64.f64.f64.f64 {%0, %1}, {%2}, {%3}, {%0, %1};"
            : "+d"(c[2]), "+d"(c[3])
            : "d"(a[2 * k + 1]), "d"(b[k]));
    }
#endif
}
#endif

/* Word i of this lane's codes of 16 rows, by that of NT tiles of activations. */
template <int NT>
GPU_DEVICE void exact_step(double (*sums)[4], const uint32_t (*weights)[EXACT_WORDS],
                           const uint32_t (*tokens)[EXACT_WORDS / 2], int i) {
#if GPU_HIP
    typedef double sums_of_4 __attribute__((ext_vector_type(4)));
    GPU_UNROLL for (int k = 0; k < 4; k++) {
        const double a = exact_weight(weights[0][i], k);
        GPU_UNROLL for (int j = 0; j < NT; j++) {
            sums_of_4 c = {sums[j][0], sums[j][1], sums[j][2], sums[j][3]};
            const double b = exact_activation(tokens[j][i % 4], k);
            c = __builtin_amdgcn_mfma_f64_16x16x4f64(a, b, c, 0, 0, 0);
            GPU_UNROLL for (int s = 0; s < 4; s++) sums[j][s] = c[s];
        }
    }
#else
    double a[8];
    GPU_UNROLL for (int k = 0; k < 4; k++) {
        a[2 * k] = exact_weight(weights[0][i], k);
        a[2 * k + 1] = exact_weight(weights[EXACT_LANE_ROWS - 1][i], k);
    }
    GPU_UNROLL for (int j = 0; j < NT; j++) {
        double b[4];
        GPU_UNROLL for (int k = 0; k < 4; k++) b[k] = exact_activation(tokens[j][i % 4], k);
        exact_mma(sums[j], a, b);
    }
#endif
}

/* Sixteen of this lane's codes of a row, from k = first on; what lies past k, or in no row, is 0. */
GPU_DEVICE void exact_load(uint32_t *words, const char *row, bool there, int first, int k) {
    gpu_u4 v;
    v.x = v.y = v.z = v.w = 0;
    if (there && first < k) v = *(const gpu_u4 *)(row + first);
    words[0] = v.x;
    words[1] = v.y;
    words[2] = v.z;
    words[3] = v.w;
}

/* ---- scales ---- */

/* One per row and block, as floats or exponent bytes; four bytes of a row lie together. */
struct exact_scales {
    const char *data;
    int64_t group, row, block; /* strides; block: of a float, or of four bytes */
    int bytes;
};

GPU_DEVICE float exact_scale(const struct exact_scales &s, int64_t group, int64_t row, int block) {
    const char *const at = s.data + group * s.group + row * s.row;
    if (!s.bytes) return *(const float *)(at + block * s.block);
    return num_e8m0_value(((const uint8_t *)at)[(block >> 2) * s.block + (block & 3)]);
}

/* form: the word of the call's parameter. A weight has its groups before its rows. */
static inline struct exact_scales exact_scales_of(const dsv4_tensor *t, const char *form,
                                                  bool weight) {
    struct exact_scales s;
    const int last = t->ndim - 1;
    const bool packed = strcmp(form, "packed") == 0, e8m0 = strcmp(form, "e8m0") == 0;
    s.data = (const char *)t->data;
    s.bytes = packed || e8m0;
    if (packed || strcmp(form, "f32_mn") == 0) {
        s.row = 4;
        s.block = t->stride[last - 1];
        s.group = last == 2 ? t->stride[0] : 0;
    } else {
        s.block = 4;
        s.row = t->stride[weight && last == 2 ? 1 : 0];
        s.group = last == 2 ? t->stride[weight ? 0 : 1] : 0;
    }
    return s;
}

static inline int exact_supports_scales(const dsv4_call *call, const char *name, const char *form,
                                        int ndim, struct call_why why) {
    const uint32_t dtype = strcmp(form, "packed") == 0 ? DSV4_I32
                           : strcmp(form, "e8m0") == 0 ? DSV4_E8M0
                                                       : DSV4_F32;
    CALL_NEED(call, name, dtype, ndim, why);
    if (dtype != DSV4_E8M0) CALL_NEED_ALIGNED(call, name, 4, why);
    return DSV4_OK;
}

#endif
