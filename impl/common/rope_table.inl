/* SPDX-License-Identifier: Apache-2.0 */
/*
 * rope_table: four entries of one row per thread, sixteen bytes of cos and of sin each, eight in bf16. The host computes the 32
 * frequencies; the angle's reduction and the polynomials are binary64, with a second word where one is not enough for
 * the correctly rounded result.
 */
#include <math.h>

#include "call.h"
#include "num.inl"

enum { TABLE_PAIRS = 32, TABLE_ENTRIES = 4, TABLE_THREADS_PER_ROW = TABLE_PAIRS / TABLE_ENTRIES };

struct table_args {
    char *out;
    int64_t stride, rows, first;
    float frequency[TABLE_PAIRS];
};

/* What rounds to the same float as the exact sum of a large and a small number: the last bit says "not exact". */
GPU_DEVICE float table_round(double large, double small) {
    const double sum = large + small, rest = small - (sum - large);
    uint64_t bits = __builtin_bit_cast(uint64_t, sum);
    if (rest != 0.0 && (bits & 1) == 0) bits = (rest > 0.0) == (sum > 0.0) ? bits + 1 : bits - 1;
    return (float)__builtin_bit_cast(double, bits);
}

GPU_DEVICE float table_sin(double r, double t, double q) {
    double p = 0x1.5d93a5acfd57cp-33;
    p = ELEMENTARY_FMA(p, q, -0x1.ae5e68a2b9cebp-26);
    p = ELEMENTARY_FMA(p, q, 0x1.71de357b1fe7dp-19);
    p = ELEMENTARY_FMA(p, q, -0x1.a01a019c161d5p-13);
    p = ELEMENTARY_FMA(p, q, 0x1.111111110f8a6p-7);
    p = ELEMENTARY_FMA(p, q, -0x1.5555555555549p-3);
    return table_round(r, ELEMENTARY_FMA(q * r, p, ELEMENTARY_FMA(-0.5 * q, t, t)));
}

GPU_DEVICE float table_cos(double r, double t, double q) {
    double p = -0x1.8fae9be8838d4p-37;
    p = ELEMENTARY_FMA(p, q, 0x1.1ee9ebdb4b1c4p-29);
    p = ELEMENTARY_FMA(p, q, -0x1.27e4f809c52adp-22);
    p = ELEMENTARY_FMA(p, q, 0x1.a01a019cb1590p-16);
    p = ELEMENTARY_FMA(p, q, -0x1.6c16c16c15177p-10);
    p = ELEMENTARY_FMA(p, q, 0x1.555555555554cp-5);
    /* 1 - q/2 in two parts; q itself is r * r less q_rest. */
    const double q_rest = ELEMENTARY_FMA(r, r, -q), half = 0.5 * q, large = 1.0 - half;
    const double lost = (1.0 - large) - half;
    return table_round(large,
                       lost + ELEMENTARY_FMA(q * q, p, ELEMENTARY_FMA(-0.5, q_rest, -r * t)));
}

GPU_DEVICE void table_entry(float angle, float *cos, float *sin) {
    const double x = (double)angle;
    const double shifted = ELEMENTARY_FMA(x, 0x1.45f306dc9c883p-1, 0x1.8p52);
    const double n = shifted - 0x1.8p52;
    const uint32_t quarter = (uint32_t) __builtin_bit_cast(uint64_t, shifted);
    /* Both products are exact, and the first difference: pi/2 is cut after 33 and after 66 bits. */
    const double a = ELEMENTARY_FMA(n, -0x1.921fb544p+0, x), b = n * -0x1.0b4611a6p-34;
    const double sum = a + b, part = sum - a;
    const double small = ELEMENTARY_FMA(n, -0x1.3198a2e037073p-69, (a - (sum - part)) + (b - part));
    const double r = sum + small, t = (sum - r) + small, q = r * r;
    const float s = table_sin(r, t, q), c = table_cos(r, t, q);
    const float y = (quarter & 1u) != 0 ? c : s, z = (quarter & 1u) != 0 ? s : c;
    *sin = (quarter & 2u) != 0 ? -y : y;
    *cos = ((quarter + 1u) & 2u) != 0 ? -z : z;
}

GPU_DEVICE void table_store(char *out, const float *x) {
    gpu_f4 v;
    v.x = x[0], v.y = x[1], v.z = x[2], v.w = x[3];
    *(gpu_f4 *)out = v;
}

GPU_DEVICE void table_store_bf16(char *out, const float *x) {
    gpu_u2 v;
    v.x = num_bf16x2_of_numbers(x[0], x[1]);
    v.y = num_bf16x2_of_numbers(x[2], x[3]);
    *(gpu_u2 *)out = v;
}

template <bool BF16>
__global__ void __launch_bounds__(CALL_THREADS) table_kernel(const struct table_args a) {
    const int64_t id = gpu_block() * CALL_THREADS + gpu_thread(), row = id / TABLE_THREADS_PER_ROW;
    const int at = (int)(id % TABLE_THREADS_PER_ROW) * TABLE_ENTRIES;
    if (row >= a.rows) return;
    const float position = (float)(a.first + row);
    float cos[TABLE_ENTRIES], sin[TABLE_ENTRIES];
    GPU_UNROLL for (int i = 0; i < TABLE_ENTRIES; i++)
        table_entry(position * a.frequency[at + i], &cos[i], &sin[i]);
    char *const out = a.out + row * a.stride + at * (BF16 ? 2 : 4);
    if (BF16) {
        table_store_bf16(out, cos);
        table_store_bf16(out + TABLE_PAIRS * 2, sin);
    } else {
        table_store(out, cos);
        table_store(out + TABLE_PAIRS * 4, sin);
    }
}

/* theta^(i / 32) to the nearest float. */
static float table_power(float theta, int i) { return (float)pow((double)theta, i / 32.0); }

static float table_frequency(const dsv4_call *call, int i) {
    const float factor = dsv4_float(call, "factor", 16.0f), one = 1.0f;
    const float low = (float)dsv4_int(call, "low", 15), high = (float)dsv4_int(call, "high", 25);
    const float p = table_power(dsv4_float(call, "theta", 1e4f), i), kept = one / p;
    if (dsv4_is(call, "yarn", "none")) return kept;
    float ramp = ((float)i - low) / (high - low);
    ramp = ramp < 0.0f ? 0.0f : ramp > one ? one : ramp;
    const float slow = dsv4_is(call, "yarn", "ref") ? kept / factor : one / (factor * p);
    const float share = one - ramp, rest = one - share;
    const float x = slow * rest, y = kept * share;
    return x + y;
}

static int supports(const dsv4_call *call, struct call_why why) {
    const bool bf16 = call_has(dsv4_find(call, "out"), DSV4_BF16, 2);
    if (!bf16) CALL_NEED(call, "out", DSV4_F32, 2, why);
    CALL_NEED_ALIGNED(call, "out", bf16 ? 8 : 16, why);
    if (dsv4_find(call, "out")->shape[1] != 2 * TABLE_PAIRS)
        return call_unsupported(why, "out: rows of %lld; these kernels write rows of 64",
                                (long long)dsv4_find(call, "out")->shape[1]);
    return DSV4_OK;
}

static int run(const dsv4_call *call, struct call_why why) {
    const dsv4_tensor *const out = dsv4_find(call, "out");
    struct table_args a;
    dim3 grid;
    a.out = (char *)out->data;
    a.stride = out->stride[0];
    a.rows = out->shape[0];
    a.first = dsv4_int(call, "first", 0);
    for (int i = 0; i < TABLE_PAIRS; i++) a.frequency[i] = table_frequency(call, i);
    if (a.rows == 0) return DSV4_OK;
    const int status =
        call_grid(&grid, call_ceil(a.rows * TABLE_THREADS_PER_ROW, CALL_THREADS), why);
    if (status != DSV4_OK) return status;
    if (out->dtype == DSV4_BF16)
        GPU_LAUNCH(table_kernel<true>, grid, CALL_THREADS, (gpu_stream)call->stream, a);
    else
        GPU_LAUNCH(table_kernel<false>, grid, CALL_THREADS, (gpu_stream)call->stream, a);
    return call_launched(why);
}

CALL_ENTRY_POINTS(rope_table)
