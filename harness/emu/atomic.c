/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Floating-point atomics round to nearest even and keep denormals, whatever MODE says (gfx942's L2 does; its LDS obeys
 * MODE's denormal bits, hence lds.c refuses other settings). A NaN operand comes out quieted, memory's first. Minimum
 * and maximum take the other operand where one is a NaN (of either kind), the quieted data where both are, and -0 lies
 * below +0: the rule that LLVM expects and that later generations document.
 */
#include "atomic.h"

#include <stdatomic.h>

static float as_float(uint32_t bits) {
    float value;
    memcpy(&value, &bits, sizeof value);
    return value;
}

static uint32_t float_bits(float value) {
    uint32_t bits;
    memcpy(&bits, &value, sizeof bits);
    return bits;
}

static double as_double(uint64_t bits) {
    double value;
    memcpy(&value, &bits, sizeof value);
    return value;
}

static uint64_t double_bits(double value) {
    uint64_t bits;
    memcpy(&bits, &value, sizeof bits);
    return bits;
}

static bool is_nan32(uint32_t bits) { return (bits & 0x7FFFFFFF) > 0x7F800000; }

static bool is_nan64(uint64_t bits) {
    return (bits & ~(UINT64_C(1) << 63)) > UINT64_C(0x7FF) << 52;
}

static uint32_t add_f32(uint32_t a, uint32_t b) {
    if (is_nan32(a)) return a | 0x00400000;
    if (is_nan32(b)) return b | 0x00400000;
    const uint32_t sum = float_bits(as_float(a) + as_float(b));
    return is_nan32(sum) ? 0x7FC00000 : sum;
}

static uint64_t add_f64(uint64_t a, uint64_t b) {
    const uint64_t quiet = UINT64_C(1) << 51;
    if (is_nan64(a)) return a | quiet;
    if (is_nan64(b)) return b | quiet;
    const uint64_t sum = double_bits(as_double(a) + as_double(b));
    return is_nan64(sum) ? UINT64_C(0x7FF8) << 48 : sum;
}

/* Whether a orders before b; -0 before +0. Neither is a NaN. */
static bool less32(uint32_t a, uint32_t b) {
    const int32_t x = (int32_t)(a >> 31 ? 0x80000000 - a : a);
    const int32_t y = (int32_t)(b >> 31 ? 0x80000000 - b : b);
    return x < y || (x == y && a > b);
}

static bool less64(uint64_t a, uint64_t b) {
    const uint64_t sign = UINT64_C(1) << 63;
    const int64_t x = (int64_t)(a & sign ? sign - a : a), y = (int64_t)(b & sign ? sign - b : b);
    return x < y || (x == y && a > b);
}

static uint32_t min_f32(uint32_t old, uint32_t data) {
    if (is_nan32(old)) return is_nan32(data) ? data | 0x00400000 : data;
    return !is_nan32(data) && less32(data, old) ? data : old;
}

static uint32_t max_f32(uint32_t old, uint32_t data) {
    if (is_nan32(old)) return is_nan32(data) ? data | 0x00400000 : data;
    return !is_nan32(data) && less32(old, data) ? data : old;
}

static uint64_t min_f64(uint64_t old, uint64_t data) {
    if (is_nan64(old)) return is_nan64(data) ? data | UINT64_C(1) << 51 : data;
    return !is_nan64(data) && less64(data, old) ? data : old;
}

static uint64_t max_f64(uint64_t old, uint64_t data) {
    if (is_nan64(old)) return is_nan64(data) ? data | UINT64_C(1) << 51 : data;
    return !is_nan64(data) && less64(old, data) ? data : old;
}

/* A half's value, exactly; not a NaN. */
static double half_value(uint32_t bits) {
    const uint32_t exponent = bits >> 10 & 31, fraction = bits & 0x3FF;
    double value = exponent == 0 ? fraction * 0x1p-24
                   : exponent == 31
                       ? as_double(UINT64_C(0x7FF) << 52)
                       : as_double((uint64_t)(exponent + 1008) << 52 | (uint64_t)fraction << 42);
    return bits >> 15 & 1 ? -value : value;
}

/* An exact sum of two halves, rounded to nearest even; 0.5 units are exact in a double. */
static uint32_t half_bits(double value) {
    const uint64_t bits = double_bits(value);
    const uint32_t sign = (uint32_t)(bits >> 48) & 0x8000;
    const double magnitude = as_double(bits & ~(UINT64_C(1) << 63));
    if (magnitude >= 65520.0) return sign | 0x7C00;
    /* Adding 2^(e + 42) leaves the bits from the half's last place on, rounded by the host. */
    int exponent = (int)(double_bits(magnitude) >> 52) - 1023;
    if (exponent < -14) exponent = -14;
    const double unit = as_double((uint64_t)(exponent - 10 + 52 + 1023) << 52);
    const double rounded = (magnitude + unit) - unit;
    const uint64_t r = double_bits(rounded);
    const uint32_t e = (uint32_t)(r >> 52);
    if (e < 1009) return sign | (uint32_t)(rounded * 0x1p24);
    return sign | ((e - 1008) << 10 | (uint32_t)(r >> 42 & 0x3FF));
}

static uint32_t add_f16(uint32_t a, uint32_t b) {
    a &= 0xFFFF;
    b &= 0xFFFF;
    if ((a & 0x7FFF) > 0x7C00) return a | 0x200;
    if ((b & 0x7FFF) > 0x7C00) return b | 0x200;
    if ((a & 0x7FFF) == 0x7C00 && (b & 0x7FFF) == 0x7C00 && a != b) return 0x7E00;
    return half_bits(half_value(a) + half_value(b));
}

static uint32_t add_2f16(uint32_t a, uint32_t b) {
    return add_f16(a, b) | add_f16(a >> 16, b >> 16) << 16;
}

/* A sum in f32 has more than twice a bf16's bits and two: rounding it again rounds the exact sum. */
static uint32_t add_bf16(uint32_t a, uint32_t b) {
    const uint32_t sum = add_f32(a << 16, b << 16);
    if (is_nan32(sum)) return sum >> 16;
    return (sum + 0x7FFF + (sum >> 16 & 1)) >> 16;
}

static uint32_t add_2bf16(uint32_t a, uint32_t b) {
    return add_bf16(a & 0xFFFF, b & 0xFFFF) | add_bf16(a >> 16, b >> 16) << 16;
}

#define ATOMIC(name, bits, result)                                                                 \
    uint##bits##_t emu_atomic_##name(uint##bits##_t old, uint##bits##_t data,                      \
                                     uint##bits##_t compare) {                                     \
        (void)old;                                                                                 \
        (void)data;                                                                                \
        (void)compare;                                                                             \
        return result;                                                                             \
    }
#include "atomics.def"

void emu_atomic32(struct emu_wave *w, const struct emu_access *a, emu_atomic_function32 *function,
                  struct emu_atomic_registers registers) {
    for (unsigned lane = 0; lane < EMU_LANES; lane++) {
        if ((a->active >> lane & 1) == 0) continue;
        _Atomic uint32_t *const memory = emu_host(a->at[lane]);
        const uint32_t data = w->v[registers.data][lane];
        const uint32_t compare = registers.compare < 0 ? 0 : w->v[registers.compare][lane];
        uint32_t old = atomic_load(memory);
        while (!atomic_compare_exchange_weak(memory, &old, function(old, data, compare))) {
        }
        if (registers.to >= 0) w->v[registers.to][lane] = old;
    }
}

static uint64_t pair(const struct emu_wave *w, int reg, unsigned lane) {
    return (uint64_t)w->v[reg + 1][lane] << 32 | w->v[reg][lane];
}

void emu_atomic64(struct emu_wave *w, const struct emu_access *a, emu_atomic_function64 *function,
                  struct emu_atomic_registers registers) {
    for (unsigned lane = 0; lane < EMU_LANES; lane++) {
        if ((a->active >> lane & 1) == 0) continue;
        _Atomic uint64_t *const memory = emu_host(a->at[lane]);
        const uint64_t data = pair(w, registers.data, lane);
        const uint64_t compare = registers.compare < 0 ? 0 : pair(w, registers.compare, lane);
        uint64_t old = atomic_load(memory);
        while (!atomic_compare_exchange_weak(memory, &old, function(old, data, compare))) {
        }
        if (registers.to < 0) continue;
        w->v[registers.to][lane] = (uint32_t)old;
        w->v[registers.to + 1][lane] = (uint32_t)(old >> 32);
    }
}

void emu_lds_atomic32(struct emu_wave *w, const struct emu_access *a,
                      emu_atomic_function32 *function, struct emu_atomic_registers registers) {
    for (unsigned lane = 0; lane < EMU_LANES; lane++) {
        if ((a->active >> lane & 1) == 0) continue;
        uint8_t *const memory = emu_host(a->at[lane]);
        uint32_t old;
        const uint32_t compare = registers.compare < 0 ? 0 : w->v[registers.compare][lane];
        memcpy(&old, memory, sizeof old);
        const uint32_t now = function(old, w->v[registers.data][lane], compare);
        memcpy(memory, &now, sizeof now);
        if (registers.to >= 0) w->v[registers.to][lane] = old;
    }
}

void emu_lds_atomic64(struct emu_wave *w, const struct emu_access *a,
                      emu_atomic_function64 *function, struct emu_atomic_registers registers) {
    for (unsigned lane = 0; lane < EMU_LANES; lane++) {
        if ((a->active >> lane & 1) == 0) continue;
        uint8_t *const memory = emu_host(a->at[lane]);
        uint64_t old;
        const uint64_t compare = registers.compare < 0 ? 0 : pair(w, registers.compare, lane);
        memcpy(&old, memory, sizeof old);
        const uint64_t now = function(old, pair(w, registers.data, lane), compare);
        memcpy(memory, &now, sizeof now);
        if (registers.to < 0) continue;
        w->v[registers.to][lane] = (uint32_t)old;
        w->v[registers.to + 1][lane] = (uint32_t)(old >> 32);
    }
}
