/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Dot products of packed numbers in one lane. Integers are exact, then wrap around, or saturate with clamp. op_sel and
 * op_sel_hi choose halves of 16-bit factors; neg_lo and neg_hi negate f16 ones; on the accumulator, or on narrower
 * integers, they are an error.
 *
 * f32 += f16 * f16 + f16 * f16: denormals of the sources and of the result are flushed, MODE does not count. In which order
 * hardware adds, and with which roundings, is not documented: the value is the sum in double precision, rounded once to
 * nearest even; approx=low and high move its last bit.
 */
#include "dot.h"

#include "machine.h"
#include "number.h"
#include "output.h"

/* Factors and accumulator of one instruction; halves: op_sel for the low, op_sel_hi for the high element. */
struct dot {
    const uint32_t *a, *b, *c;
    unsigned low_a, low_b, high_a, high_b; /* shifts */
    bool clamp;
};

static const char *set_up(struct dot *d, struct emu_wave *w, const struct emu_insn *i,
                          uint32_t (*space)[EMU_LANES], bool accumulates) {
    const bool halves = i->operand[1].type == EMU_2F16 || i->operand[1].type == EMU_2B16;
    const unsigned low = accumulates ? 0 : i->op_sel, high = accumulates ? 7 : i->op_sel_hi;
    if ((low & 4) != 0 || ((i->neg_lo | i->neg_hi) & 4) != 0)
        return "modifiers of a dot product's accumulator are not documented";
    if (!halves && (low != 0 || high != 7)) return "op_sel of this dot product is not documented";
    if (i->operand[1].type != EMU_2F16 && (i->neg_lo | i->neg_hi) != 0)
        return "negation of integers is not documented";
    d->a = emu_source_word(w, &i->operand[1], 0, space[0]);
    d->b = emu_source_word(w, &i->operand[2], 0, space[1]);
    d->c = accumulates ? w->v[i->operand[0].reg] : emu_source_word(w, &i->operand[3], 0, space[2]);
    d->low_a = low & 1 ? 16 : 0;
    d->low_b = low & 2 ? 16 : 0;
    d->high_a = high & 1 ? 16 : 0;
    d->high_b = high & 2 ? 16 : 0;
    d->clamp = i->clamp;
    return NULL;
}

static inline uint32_t signed_result(int64_t sum, bool clamp) {
    const int64_t limited = sum > INT32_MAX ? INT32_MAX : sum < INT32_MIN ? INT32_MIN : sum;
    return (uint32_t)(clamp ? limited : sum);
}

static inline uint32_t unsigned_result(uint64_t sum, bool clamp) {
    return (uint32_t)(clamp && sum > UINT32_MAX ? UINT32_MAX : sum);
}

static inline int32_t field(uint32_t x, unsigned shift, unsigned bits) {
    return (int32_t)(x << (32 - bits - shift)) >> (32 - bits);
}

static inline uint32_t unsigned_field(uint32_t x, unsigned shift, unsigned bits) {
    return x >> shift & ((1u << bits) - 1);
}

static void i32_i16(uint32_t *result, const struct dot *d, const struct emu_insn *i) {
    (void)i;
    EMU_EACH_LANE {
        const uint32_t a = d->a[lane], b = d->b[lane];
        const int64_t low = (int64_t)(int16_t)(a >> d->low_a) * (int16_t)(b >> d->low_b);
        const int64_t high = (int64_t)(int16_t)(a >> d->high_a) * (int16_t)(b >> d->high_b);
        result[lane] = signed_result(low + high + (int32_t)d->c[lane], d->clamp);
    }
}

static void u32_u16(uint32_t *result, const struct dot *d, const struct emu_insn *i) {
    (void)i;
    EMU_EACH_LANE {
        const uint32_t a = d->a[lane], b = d->b[lane];
        const uint64_t low = (uint64_t)(a >> d->low_a & 0xffff) * (b >> d->low_b & 0xffff);
        const uint64_t high = (uint64_t)(a >> d->high_a & 0xffff) * (b >> d->high_b & 0xffff);
        result[lane] = unsigned_result(low + high + d->c[lane], d->clamp);
    }
}

#define NARROW(name, bits, get, number, finish, accumulator)                                       \
    static void name(uint32_t *result, const struct dot *d, const struct emu_insn *i) {            \
        (void)i;                                                                                   \
        EMU_EACH_LANE {                                                                            \
            number sum = (accumulator)d->c[lane];                                                  \
            for (unsigned shift = 0; shift < 32; shift += (bits))                                  \
                sum += get(d->a[lane], shift, bits) * get(d->b[lane], shift, bits);                \
            result[lane] = finish(sum, d->clamp);                                                  \
        }                                                                                          \
    }

NARROW(i32_i8, 8, field, int64_t, signed_result, int32_t)
NARROW(u32_u8, 8, unsigned_field, uint64_t, unsigned_result, uint32_t)
NARROW(i32_i4, 4, field, int64_t, signed_result, int32_t)
NARROW(u32_u4, 4, unsigned_field, uint64_t, unsigned_result, uint32_t)

static inline double half_of(uint32_t x, unsigned shift, bool negate) {
    const uint32_t half = (x >> shift & 0xffff) ^ (negate ? 0x8000u : 0);
    return (double)emu_float(emu_f16_to_f32(half, false));
}

static void f32_f16(uint32_t *result, const struct dot *d, const struct emu_insn *i) {
    const bool negate[4] = {i->neg_lo & 1, i->neg_lo & 2, i->neg_hi & 1, i->neg_hi & 2};
    const int way = emu_options()->approximate;
    EMU_EACH_LANE {
        const uint32_t a = d->a[lane], b = d->b[lane];
        const double low = half_of(a, d->low_a, negate[0]) * half_of(b, d->low_b, negate[1]);
        const double high = half_of(a, d->high_a, negate[2]) * half_of(b, d->high_b, negate[3]);
        const float c = emu_float(emu_flush32(d->c[lane], false));
        const double sum = low + high + (double)c;
        const uint32_t rounded = emu_flush32(emu_bits((float)sum), false);
        result[lane] = sum != sum ? 0x7fc00000u : rounded;
    }
    for (unsigned lane = 0; way != 0 && lane < EMU_LANES; lane++) {
        const uint32_t x = result[lane], size = x & 0x7fffffffu;
        if (size <= 0x800000u || size >= 0x7f7fffffu) continue;
        result[lane] = (x >> 31) == (way < 0) ? x + 1 : x - 1;
    }
}

static inline const struct emu_insn *
run(struct emu_wave *w, const struct emu_insn *i,
    void (*sum)(uint32_t *, const struct dot *, const struct emu_insn *), bool accumulates) {
    uint32_t space[3][EMU_LANES], result[EMU_LANES];
    struct dot d;
    const char *const why = set_up(&d, w, i, space, accumulates);
    if (why != NULL) return emu_fault(w, i, EMU_UNIMPLEMENTED, -1, "%s", why);
    sum(result, &d, i);
    if (i->operand[0].type == EMU_F32) emu_output32(w, i, result);
    emu_store32(w, i->operand[0].reg, result);
    return i + 1;
}

#define DOT(name, function, to, from, flags)                                                       \
    const struct emu_insn *emu_##name(struct emu_wave *w, const struct emu_insn *i) {              \
        return run(w, i, function, false);                                                         \
    }
#define ACCUMULATE(name, function, to, from, flags)                                                \
    const struct emu_insn *emu_##name(struct emu_wave *w, const struct emu_insn *i) {              \
        return run(w, i, function, true);                                                          \
    }
#include "dot.def"
