/* SPDX-License-Identifier: Apache-2.0 */
/*
 * f16 arithmetic, alone and in packed pairs, and the mixed fma.
 *
 * Two-source instructions clear the high half of their destination; those whose halves op_sel chooses keep the half that
 * they do not write. Assumed where the documents are silent: a NaN result is the first NaN source, made quiet, and
 * 0x7e00 for an invalid operation; v_pack_b32_f16 makes signalling NaNs quiet; v_fma_mixlo and mixhi round to f32 first.
 */
#include "choose.h"
#include "output.h"
#include "vop.h"

#define FUNCTION(name)                                                                             \
    static const struct emu_insn *name(struct emu_wave *w, const struct emu_insn *i)

/* How results become f16, as masks. */
struct narrowing {
    uint32_t overflow; /* where FP16_OVFL turns overflow to infinity into 65504 */
    uint32_t nearest;
};

static struct narrowing narrowing(const struct emu_wave *w) {
    return (struct narrowing){.overflow = w->mode >> EMU_FP16_OVFL & 1 ? ~0u : 0,
                              .nearest = w->mode >> EMU_ROUND_16_64 & 3 ? 0 : ~0u};
}

/*
 * To f16, rounding as the host does: adding and subtracting a power of two rounds at its last place, and what lies beyond
 * the largest finite number rounds as if there were one more exponent. Not for NaNs.
 */
static inline uint32_t narrow(float x, struct narrowing r) {
    const uint32_t bits = emu_bits(x), sign = bits & 0x80000000, magnitude = bits & 0x7fffffff;
    const uint32_t limited = magnitude > 0x477fffff ? 0x477fffff : magnitude; /* below 65536 */
    const uint32_t field = limited >> 23, exponent = field < 113 ? 113 : field;
    const float step = emu_float((exponent + 13) << 23 | sign);
    const uint32_t rounded = emu_bits((emu_float(limited | sign) + step) - step) & 0x7fffffff;
    const uint32_t small = (uint32_t)(int32_t)(emu_float(rounded) * 0x1p24f);
    const uint32_t finite = rounded < 0x38800000 ? small : (rounded >> 13) - (112u << 10);
    const uint32_t top = finite - (finite >> 10 == 31 ? r.overflow & 1 : 0);
    const uint32_t special = magnitude > 0x7f800000 ? EMU_NAN16 : 0x7c00;
    return sign >> 16 | (magnitude >= 0x7f800000 ? special : top);
}

static inline uint32_t canonical(uint32_t result, uint32_t a, uint32_t b, uint32_t c) {
    const uint32_t from = emu_is_nan16(a)   ? a
                          : emu_is_nan16(b) ? b
                          : emu_is_nan16(c) ? c
                                            : EMU_NAN16;
    return emu_is_nan16(result) ? (from | 0x200) & 0xffff : result;
}

/*
 * The product is exact in double. The sum is made odd where it is not exact, so that rounding it to f32 and f16 is as
 * good as once; in the other rounding modes, which point one way, that is so by itself.
 */
static inline uint32_t fma16(uint32_t a, uint32_t b, uint32_t c, struct narrowing r) {
    const double product = (double)emu_value16(a) * emu_value16(b), term = emu_value16(c);
    const double sum = product + term, part = sum - product;
    const double error = (product - (sum - part)) + (term - part);
    const uint64_t bits = emu_bits64(sum);
    /* An even sum steps to the odd neighbour on the side of the error. */
    const uint64_t away = emu_bits64(error * sum) >> 63 ? UINT64_MAX : 1;
    const uint64_t odd = error > 0 || error < 0 ? (bits & 1 ? bits : bits + away) : bits;
    /* Cut to f32, whose last bit says whether anything was cut. */
    const uint32_t sticky = odd & 0x1fffffff ? 1 : 0;
    const uint32_t single = emu_bits((float)emu_double(odd & ~UINT64_C(0x1fffffff))) | sticky;
    const uint32_t directed = emu_bits((float)sum);
    return narrow(emu_float((single & r.nearest) | (directed & ~r.nearest)), r);
}

/* ---- functions of one number; f32 holds every f16 with room to spare ---- */

static inline float nearest_even(float x) {
    const float low = floorf(x), rest = x - low;
    const bool up = rest > 0.5f || (rest == 0.5f && floorf(low * 0.5f) * 2 != low);
    return copysignf(up ? low + 1 : low, x);
}

/* The largest f16 below 1 where x - floor(x) rounds up to 1. */
static inline float fraction(float x) {
    const float f = x - floorf(x);
    return f > 0x1.ffcp-1f ? 0x1.ffcp-1f : f;
}

static inline float mantissa(float x) {
    const uint32_t bits = emu_bits(x), magnitude = bits & 0x7fffffff;
    const bool same = magnitude == 0 || magnitude >= 0x7f800000;
    return same ? x : emu_float((bits & 0x807fffff) | 126u << 23);
}

static inline uint32_t exponent(uint32_t x) {
    const uint32_t magnitude = emu_f16_to_f32(x, true) & 0x7fffffff;
    const bool none = magnitude == 0 || magnitude >= 0x7f800000;
    return none ? 0 : ((magnitude >> 23) - 126) & 0xffff;
}

/* x * 2^n; n is 16 bits, signed. Beyond 60 nothing changes, and f32 holds the products exactly. */
static inline float scale(float x, uint32_t n) {
    const int32_t power = emu_signed16(n), limited = power < -60 ? -60 : power > 60 ? 60 : power;
    return x * emu_float((uint32_t)(limited + 127) << 23);
}

static inline uint32_t fixup(uint32_t a, uint32_t b, uint32_t c) {
    const uint32_t infinity = 0x7c00, sign = (b ^ c) & 0x8000;
    const uint32_t under = b & 0x7fff, over = c & 0x7fff;
    if (emu_is_nan16(c)) return c | 0x200;
    if (emu_is_nan16(b)) return b | 0x200;
    if ((under == 0 && over == 0) || (under == infinity && over == infinity)) return 0xfe00;
    if (under == 0 || over == infinity) return sign | infinity;
    if (under == infinity || over == 0) return sign;
    return sign | (a & 0x7fff);
}

/* ---- generated functions ---- */

/* An f16 source in the low half of each lane, with op_sel, abs and neg. */
static const uint32_t *source(struct emu_wave *w, const struct emu_insn *i, unsigned n,
                              uint32_t *space) {
    const struct emu_operand *const o = &i->operand[1 + n];
    const uint32_t keep = o->abs ? 0x7fff : 0xffff, flip = o->neg ? 0x8000 : 0;
    emu_source16(w, i, n, space);
    EMU_EACH_LANE space[lane] = (space[lane] & keep) ^ flip;
    return space;
}

static void finish(struct emu_wave *w, const struct emu_insn *i, uint32_t *result, bool half) {
    if (i->clamp || i->omod) emu_output16(w, i, result);
    if (half)
        emu_store16(w, i, 3, result);
    else
        emu_store32(w, i->operand[0].reg, result);
}

#define SOURCES(n)                                                                                 \
    uint32_t space[3][EMU_LANES], result[EMU_LANES];                                               \
    const struct narrowing r = narrowing(w);                                                       \
    const bool ieee = w->mode >> EMU_IEEE & 1;                                                     \
    const uint32_t *const s0 = source(w, i, 0, space[0]);                                          \
    const uint32_t *const s1 = (n) > 1 ? source(w, i, 1, space[1]) : s0;                           \
    const uint32_t *const s2 = (n) > 2 ? source(w, i, 2, space[2]) : s0;                           \
    (void)r, (void)ieee, (void)s1, (void)s2;

#define F16(name, n, half, ...)                                                                    \
    FUNCTION(name) {                                                                               \
        SOURCES(n)                                                                                 \
        EMU_EACH_LANE {                                                                            \
            const uint32_t ia = s0[lane], ib = s1[lane], ic = s2[lane];                            \
            const float a = emu_value16(ia), b = emu_value16(ib);                                  \
            (void)ia, (void)ib, (void)ic, (void)a, (void)b;                                        \
            result[lane] = (__VA_ARGS__);                                                          \
        }                                                                                          \
        finish(w, i, result, half);                                                                \
        return i + 1;                                                                              \
    }
#define F16_1(name, ...) F16(name, 1, false, canonical(narrow(__VA_ARGS__, r), ia, ia, ia))
#define F16_2(name, ...) F16(name, 2, false, canonical(narrow(__VA_ARGS__, r), ia, ib, ia))
#define F16_SCALE(name, ...) F16(name, 2, false, canonical(narrow(__VA_ARGS__, r), ia, ia, ia))
#define F16_EXPONENT(name, ...) F16(name, 1, false, __VA_ARGS__)
#define F16_CHOOSE2(name, ...) F16(name, 2, false, __VA_ARGS__)
#define F16_CHOOSE3(name, ...) F16(name, 3, true, __VA_ARGS__)
#define F16_FMA(name) F16(name, 3, true, canonical(fma16(ia, ib, ic, r), ia, ib, ic))

/* One half of packed sources. */
static const uint32_t *packed_source(struct emu_wave *w, const struct emu_insn *i, unsigned n,
                                     unsigned half, uint32_t *space) {
    const unsigned select = half ? i->op_sel_hi : i->op_sel, neg = half ? i->neg_hi : i->neg_lo;
    const uint32_t shift = select >> n & 1 ? 16 : 0, flip = neg >> n & 1 ? 0x8000 : 0;
    const uint32_t *const words = emu_source_word(w, &i->operand[1 + n], 0, space);
    EMU_EACH_LANE space[lane] = (words[lane] >> shift & 0xffff) ^ flip;
    return space;
}

/* The destination as a third source. */
static const uint32_t *packed_destination(struct emu_wave *w, const struct emu_insn *i,
                                          unsigned half, uint32_t *space) {
    const uint32_t *const words = w->v[i->operand[0].reg];
    EMU_EACH_LANE space[lane] = words[lane] >> (16 * half) & 0xffff;
    return space;
}

#define PK_F16(name, n, ...)                                                                       \
    FUNCTION(name) {                                                                               \
        uint32_t space[3][EMU_LANES], result[2][EMU_LANES];                                        \
        const struct narrowing r = narrowing(w);                                                   \
        const bool ieee = w->mode >> EMU_IEEE & 1;                                                 \
        (void)r, (void)ieee;                                                                       \
        for (unsigned half = 0; half < 2; half++) {                                                \
            const uint32_t *const s0 = packed_source(w, i, 0, half, space[0]);                     \
            const uint32_t *const s1 = packed_source(w, i, 1, half, space[1]);                     \
            const uint32_t *const s2 = (n) == 3   ? packed_source(w, i, 2, half, space[2])         \
                                       : (n) == 4 ? packed_destination(w, i, half, space[2])       \
                                                  : s0;                                            \
            EMU_EACH_LANE {                                                                        \
                const uint32_t ia = s0[lane], ib = s1[lane], ic = s2[lane];                        \
                (void)ic;                                                                          \
                result[half][lane] = (__VA_ARGS__);                                                \
            }                                                                                      \
            if (i->clamp) emu_output16(w, i, result[half]);                                        \
        }                                                                                          \
        EMU_EACH_LANE result[0][lane] |= result[1][lane] << 16;                                    \
        emu_store32(w, i->operand[0].reg, result[0]);                                              \
        return i + 1;                                                                              \
    }
#define PK_F16_2(name, ...) PK_F16(name, 2, __VA_ARGS__)
#define PK_F16_3(name, ...) PK_F16(name, 3, __VA_ARGS__)
#define PK_F16_ACCUMULATE(name, ...) PK_F16(name, 4, __VA_ARGS__)

/* ---- mixed fma: op_sel_hi says which sources are f16, op_sel which half ---- */

static const uint32_t *mixed_source(struct emu_wave *w, const struct emu_insn *i, unsigned n,
                                    uint32_t *space) {
    const struct emu_operand *const o = &i->operand[1 + n];
    if (!(i->op_sel_hi >> n & 1)) return emu_source32(w, o, space);
    source(w, i, n, space);
    EMU_EACH_LANE space[lane] = emu_f16_to_f32(space[lane], true);
    return space;
}

static void mixed_fma(struct emu_wave *w, const struct emu_insn *i, uint32_t *result) {
    uint32_t space[3][EMU_LANES];
    const uint32_t *const s0 = mixed_source(w, i, 0, space[0]);
    const uint32_t *const s1 = mixed_source(w, i, 1, space[1]);
    const uint32_t *const s2 = mixed_source(w, i, 2, space[2]);
    EMU_EACH_LANE {
        const uint32_t a = s0[lane], b = s1[lane], c = s2[lane];
        const uint32_t sum = emu_bits(fmaf(emu_float(a), emu_float(b), emu_float(c)));
        const uint32_t from = emu_is_nan32(a)   ? a
                              : emu_is_nan32(b) ? b
                              : emu_is_nan32(c) ? c
                                                : EMU_NAN32;
        result[lane] = emu_is_nan32(sum) ? from | 0x400000 : sum;
    }
}

FUNCTION(v_fma_mix_f32) {
    uint32_t result[EMU_LANES];
    mixed_fma(w, i, result);
    if (i->clamp) emu_output32(w, i, result);
    emu_store32(w, i->operand[0].reg, result);
    return i + 1;
}

static void mixed_half(struct emu_wave *w, const struct emu_insn *i, unsigned shift) {
    uint32_t result[EMU_LANES];
    const struct narrowing r = narrowing(w);
    mixed_fma(w, i, result);
    EMU_EACH_LANE {
        const uint32_t x = result[lane];
        const uint32_t nan = (x >> 16 & 0x8000) | 0x7e00 | (x >> 13 & 0x1ff);
        result[lane] = emu_is_nan32(x) ? nan : narrow(emu_float(x), r);
    }
    if (i->clamp) emu_output16(w, i, result);
    const uint32_t *const mask = emu_lane_mask(w);
    uint32_t *const to = w->v[i->operand[0].reg];
    EMU_EACH_LANE {
        const uint32_t m = mask[lane] & 0xffffu << shift;
        to[lane] = (result[lane] << shift & m) | (to[lane] & ~m);
    }
}

FUNCTION(v_fma_mixlo_f16) {
    mixed_half(w, i, 0);
    return i + 1;
}

FUNCTION(v_fma_mixhi_f16) {
    mixed_half(w, i, 16);
    return i + 1;
}

FUNCTION(v_pack_b32_f16) {
    uint32_t space[2][EMU_LANES], result[EMU_LANES];
    const uint32_t *const s0 = source(w, i, 0, space[0]), *const s1 = source(w, i, 1, space[1]);
    EMU_EACH_LANE {
        const uint32_t low = s0[lane] | (emu_is_nan16(s0[lane]) ? 0x200 : 0);
        const uint32_t high = s1[lane] | (emu_is_nan16(s1[lane]) ? 0x200 : 0);
        result[lane] = high << 16 | low;
    }
    emu_store32(w, i->operand[0].reg, result);
    return i + 1;
}
#define OTHER(...)

#include "half.def"

#undef F16_1
#undef F16_2
#undef F16_SCALE
#undef F16_EXPONENT
#undef F16_CHOOSE2
#undef F16_CHOOSE3
#undef F16_FMA
#undef PK_F16_2
#undef PK_F16_3
#undef PK_F16_ACCUMULATE
#undef OTHER

#define MODIFIED (EMU_FLOAT | EMU_UNDER_MODE | EMU_CLAMPS | EMU_OMOD)
#define CHOSEN (MODIFIED | EMU_OP_SEL | EMU_PARTIAL)
#define PACKED (EMU_FLOAT | EMU_UNDER_MODE | EMU_CLAMPS | EMU_OP_SEL)
#define F16_1(name, ...) EMU_ROW(name, 1, MODIFIED, EMU_F16, EMU_F16)
#define F16_2(name, ...) EMU_ROW(name, 1, MODIFIED, EMU_F16, EMU_F16, EMU_F16)
#define F16_SCALE(name, ...) EMU_ROW(name, 1, MODIFIED, EMU_F16, EMU_F16, EMU_I16)
#define F16_EXPONENT(name, ...) EMU_ROW(name, 1, EMU_FLOAT | EMU_UNDER_MODE, EMU_I16, EMU_F16)
#define F16_CHOOSE2 F16_2
#define F16_CHOOSE3(name, ...) EMU_ROW(name, 1, CHOSEN, EMU_F16, EMU_F16, EMU_F16, EMU_F16)
#define F16_FMA(name) F16_CHOOSE3(name, 0)
#define PK_F16_2(name, ...) EMU_ROW(name, 1, PACKED, EMU_2F16, EMU_2F16, EMU_2F16)
#define PK_F16_3(name, ...) EMU_ROW(name, 1, PACKED, EMU_2F16, EMU_2F16, EMU_2F16, EMU_2F16)
#define PK_F16_ACCUMULATE(name, ...)                                                               \
    EMU_ROW(name, 1, EMU_FLOAT | EMU_UNDER_MODE | EMU_PARTIAL, EMU_2F16, EMU_2F16, EMU_2F16)
#define OTHER(name, destinations, flags, ...)                                                      \
    EMU_ROW(name, destinations, EMU_FLOAT | EMU_UNDER_MODE | (flags), __VA_ARGS__)

const struct emu_opcode emu_half_opcodes[] = {
#include "half.def"
    {0}};
