/* SPDX-License-Identifier: Apache-2.0 */
/* What instructions are fed: edges crossed with each other, then random values that favour trouble. */
#include "isa.h"
#include "number.h"

#include <string.h>

uint64_t isa_random(uint64_t seed, uint64_t i) {
    uint64_t x = seed * UINT64_C(0x9e3779b97f4a7c15) + i * UINT64_C(0xd1b54a32d192ed03) + 1;
    x = (x ^ x >> 30) * UINT64_C(0xbf58476d1ce4e5b9);
    x = (x ^ x >> 27) * UINT64_C(0x94d049bb133111eb);
    return x ^ x >> 31;
}

static const uint64_t edges16[] = {0,    1,     2,      15,     16,     31,     0x7f,   0x80,
                                   0xff, 0x100, 0x7ffe, 0x7fff, 0x8000, 0x8001, 0xfffe, 0xffff};
static const uint64_t edges32[] = {
    0,          1,          2,          5,          31,         32,         63,         0x7f,
    0x80,       0xff,       0x7fff,     0x8000,     0xffff,     0x10000,    0x7fffff,   0x800000,
    0xffffff,   0x1000000,  0x00100004, 0x00200000, 0x7ffffffe, 0x7fffffff, 0x80000000, 0x80000001,
    0xfffffffe, 0xffffffff, 0x55555555, 0x0c0d0e0f, 0x8003ffff};
static const uint64_t edges64[] = {0,
                                   1,
                                   31,
                                   63,
                                   0x7fffffff,
                                   0x80000000,
                                   0xffffffff,
                                   0x100000000,
                                   0x7fffffffffffffff,
                                   0x8000000000000000,
                                   0x8000000000000001,
                                   0xffffffff00000000,
                                   0xfffffffffffffffe,
                                   0xffffffffffffffff,
                                   0x5555555555555555};
static const uint64_t half_edges[] = {0x0000, 0x8000, 0x0001, 0x8001, 0x03ff, 0x0400, 0x8400,
                                      0x3bff, 0x3c00, 0xbc00, 0x3c01, 0x3800, 0x3e00, 0x4100,
                                      0x6400, 0x6bff, 0x77ff, 0x7800, 0x7bff, 0xfbff, 0x7c00,
                                      0xfc00, 0x7e00, 0x7d01, 0xfe12, 0x5bf8, 0x5c00};
static const uint64_t single_edges[] = {
    0x00000000, 0x80000000, 0x00000001, 0x80000001, 0x007fffff, 0x00800000, 0x80800000, 0x3f7fffff,
    0x3f800000, 0xbf800000, 0x3f800001, 0x3f000000, 0x3fc00000, 0x40200000, 0x4b000000, 0x4b7fffff,
    0x4effffff, 0x4f000000, 0xcf000000, 0x4f7fffff, 0x4f800000, 0x477fefff, 0x477ff000, 0x387fc000,
    0x33000001, 0x43700000, 0x43780000, 0x7e800000, 0x7f7fffff, 0xff7fffff, 0x7f800000, 0xff800000,
    0x7fc00000, 0x7f800001, 0xffc01234, 0x3e22f983};
static const uint64_t wide_edges[] = {
    0x0000000000000000, 0x8000000000000000, 0x0000000000000001, 0x800fffffffffffff,
    0x0010000000000000, 0x3fefffffffffffff, 0x3ff0000000000000, 0xbff0000000000000,
    0x3ff0000000000001, 0x3fe0000000000000, 0x3ff8000000000000, 0x4004000000000000,
    0x41dfffffffffffff, 0x41e0000000000000, 0xc1e0000000000000, 0x41efffffffe00000,
    0x41f0000000000000, 0x4330000000000000, 0x47efffffefffffff, 0x47effffff0000000,
    0x36a0000000000000, 0x7fe0000000000000, 0x7fefffffffffffff, 0xffefffffffffffff,
    0x7ff0000000000000, 0xfff0000000000000, 0x7ff8000000000000, 0x7ff0000000000001,
    0xfff8000000001234};

#define EDGES(table) (*n = sizeof(table) / sizeof *(table), table)

static const uint64_t *edges_of(enum isa_type type, size_t *n) {
    switch (type) {
    case I16: return EDGES(edges16);
    case F16: return EDGES(half_edges);
    case F32: return EDGES(single_edges);
    case F64: return EDGES(wide_edges);
    case I64:
    case MASK: return EDGES(edges64);
    case H2:
    case S2:
    case F2:
    case NONE:
    case I32: break;
    }
    return EDGES(edges32);
}

size_t isa_n_edges(enum isa_type type) {
    size_t n;
    edges_of(type, &n);
    return n;
}

uint64_t isa_edge(enum isa_type type, size_t i) {
    size_t n;
    const uint64_t *const edges = edges_of(type, &n);
    /* The upper half of a register that holds 16 bits is never part of the value. */
    const uint64_t above = type == I16 || type == F16 ? isa_random(77, i) & 0xffff0000 : 0;
    return edges[i % n] | above;
}

static uint64_t float_value(enum isa_type type, uint64_t r) {
    const unsigned kind = r & 7;
    const uint64_t bits = isa_random(r, 1);
    if (kind == 0) return isa_edge(type, r >> 8);
    if (kind == 1) return bits;
    /* Exponents near each other: sums that cancel, products in range. */
    const struct isa_format *const f = isa_format(type);
    const uint64_t mantissa_mask = (UINT64_C(1) << (f->precision - 1)) - 1;
    const uint64_t bias = (UINT64_C(1) << (f->exponent_bits - 1)) - 1;
    const uint64_t exponent = bias - 6 + (r >> 8) % 13;
    uint64_t mantissa = bits & mantissa_mask;
    if (kind == 2) mantissa &= mantissa << 3 & mantissa << 7; /* few bits: ties */
    if (kind == 3) mantissa |= mantissa << 1 | mantissa << 2;
    const uint64_t value = exponent << (f->precision - 1) | (mantissa & mantissa_mask);
    return value | (r >> 40 & 1) << (f->precision + f->exponent_bits - 1);
}

static uint64_t integer_value(enum isa_type type, uint64_t r) {
    const uint64_t bits = isa_random(r, 2);
    switch (r & 7) {
    case 0:
    case 1: return isa_edge(type, r >> 8);
    case 2: return bits & 63;
    case 3: return bits & isa_random(r, 3) & isa_random(r, 4);
    case 4: return ~(bits & isa_random(r, 3) & isa_random(r, 4));
    case 5: return (uint64_t)((int64_t)bits >> (r >> 8 & 63));
    default: return bits;
    }
}

static uint64_t half_pair(enum isa_type type, uint64_t r) {
    const uint64_t low = type == H2 ? float_value(F16, r) : integer_value(I16, r);
    const uint64_t high =
        type == H2 ? float_value(F16, isa_random(r, 9)) : integer_value(I16, isa_random(r, 9));
    return (low & 0xffff) | (high & 0xffff) << 16;
}

uint64_t isa_value(enum isa_type type, uint64_t seed, uint64_t i) {
    const uint64_t r = isa_random(seed, i);
    if (type == H2 || type == S2) return half_pair(type, r);
    if (type == F2) return (uint32_t)float_value(F32, r) | float_value(F32, isa_random(r, 9)) << 32;
    if (isa_is_float(type)) return float_value(type, r) | (type == F16 ? r & 0xffff0000 : 0);
    return integer_value(type, r);
}

/* MODE: the default, then each rounding and denormal mode, IEEE, DX10_CLAMP and FP16_OVFL. */
static uint32_t mode_of(unsigned wave) {
    if (wave % 3 == 0) return 0x3f0;
    const uint32_t r = (uint32_t)isa_random(5, wave);
    const uint32_t rounding = r & 3, wide = r >> 2 & 3;
    return rounding | wide << 2 | (r >> 4 & 0xf) << 4 | (r >> 8 & 3) << 8 | (r >> 10 & 1) << 23;
}

static uint64_t exec_mask(unsigned wave) {
    switch (wave % 5) {
    case 1: return isa_random(6, wave);
    case 2: return isa_random(6, wave) & isa_random(7, wave);
    case 3: return wave % 4 == 3 ? UINT64_C(1) << wave % 64 : isa_random(6, wave);
    default: return UINT64_MAX;
    }
}

/* Registers 2 + 2n hold source n of the program's first instruction, as do s16 + 2n; the rest is random. */
void isa_fill(struct isa_state *state, const struct isa_program *program, unsigned wave) {
    const struct isa_row *const row = program->list[0].row;
    memset(state, 0, sizeof *state);
    for (unsigned reg = ISA_FIRST_V; reg < ISA_V_END; reg++)
        for (unsigned lane = 0; lane < ISA_LANES; lane++)
            state->v[reg][lane] = (uint32_t)isa_random(1000 + reg, wave * ISA_LANES + lane);
    for (unsigned reg = ISA_FIRST_S; reg < ISA_S_END; reg++)
        state->s[reg] = (uint32_t)isa_value(I32, 2000 + reg, wave);
    for (unsigned n = 0; n < 3; n++) {
        const enum isa_type type = row->s[n];
        if (type == NONE) continue;
        const size_t first = isa_n_edges(row->s[0]);
        const size_t crossed = first * (n > 0 || row->s[1] != NONE ? isa_n_edges(row->s[1]) : 1);
        for (unsigned lane = 0; lane < ISA_LANES; lane++) {
            const size_t i = (size_t)wave * ISA_LANES + lane;
            uint64_t value = isa_value(type, 31 + n, i);
            if (i < crossed && n == 0) value = isa_edge(type, i % first);
            if (i < crossed && n == 1) value = isa_edge(type, i / first);
            state->v[ISA_FIRST_V + 2 * n][lane] = (uint32_t)value;
            state->v[ISA_FIRST_V + 2 * n + 1][lane] = (uint32_t)(value >> 32);
        }
        uint64_t value = isa_value(type, 61 + n, wave);
        if (wave < crossed && n == 0) value = isa_edge(type, wave % first);
        if (wave < crossed && n == 1) value = isa_edge(type, wave / first);
        state->s[ISA_FIRST_S + 2 * n] = (uint32_t)value;
        state->s[ISA_FIRST_S + 2 * n + 1] = (uint32_t)(value >> 32);
    }
    const uint64_t vcc = isa_random(8, wave), exec = exec_mask(wave);
    state->s[ISA_VCC] = (uint32_t)vcc;
    state->s[ISA_VCC + 1] = (uint32_t)(vcc >> 32);
    state->s[ISA_EXEC] = (uint32_t)exec;
    state->s[ISA_EXEC + 1] = (uint32_t)(exec >> 32);
    state->scc = isa_random(9, wave) & 1;
    state->m0 = (uint32_t)isa_random(10, wave);
    state->mode = program->default_mode ? 0x3f0 : mode_of(wave) | (program->ieee ? 0x200 : 0);
}
