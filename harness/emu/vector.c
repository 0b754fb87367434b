/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Integer vector instructions: arithmetic, logic, shifts, moves, selections, carries, single lanes.
 *
 * 16-bit instructions: the two-source ones clear the high half of their destination; those whose halves op_sel chooses
 * keep the half that they do not write. v_mad_i64_i32's carry is bit 64 of the 65-bit sum of the signed terms.
 */
#include "vop.h"

#define MIN(x, y) ((x) < (y) ? (x) : (y))
#define MAX(x, y) ((x) > (y) ? (x) : (y))

static inline uint32_t min_u32(uint32_t x, uint32_t y) { return MIN(x, y); }
static inline uint32_t max_u32(uint32_t x, uint32_t y) { return MAX(x, y); }
static inline int32_t min_i32(int32_t x, int32_t y) { return MIN(x, y); }
static inline int32_t max_i32(int32_t x, int32_t y) { return MAX(x, y); }

static inline int32_t median_i32(int32_t x, int32_t y, int32_t z) {
    return max_i32(min_i32(x, y), min_i32(max_i32(x, y), z));
}

static inline uint32_t population(uint32_t x) {
    x -= x >> 1 & 0x55555555u;
    x = (x & 0x33333333u) + (x >> 2 & 0x33333333u);
    x = (x + (x >> 4)) & 0x0f0f0f0fu;
    return x * 0x01010101u >> 24;
}

/* From the top down to the first 1; ~0 if there is none. */
static inline uint32_t leading_zeros(uint32_t x) {
    const uint32_t none = x == 0 ? ~0u : 0;
    x |= x >> 1;
    x |= x >> 2;
    x |= x >> 4;
    x |= x >> 8;
    x |= x >> 16;
    return population(~x) | none;
}

static inline uint32_t trailing_zeros(uint32_t x) {
    const uint32_t none = x == 0 ? ~0u : 0;
    return population((x & (0 - x)) - 1) | none;
}

static inline uint32_t reverse(uint32_t x) {
    x = (x >> 1 & 0x55555555u) | (x & 0x55555555u) << 1;
    x = (x >> 2 & 0x33333333u) | (x & 0x33333333u) << 2;
    x = (x >> 4 & 0x0f0f0f0fu) | (x & 0x0f0f0f0fu) << 4;
    x = (x >> 8 & 0x00ff00ffu) | (x & 0x00ff00ffu) << 8;
    return x >> 16 | x << 16;
}

static inline uint32_t lanes_before(unsigned lane) {
    return lane < 32 ? (1u << (lane & 31)) - 1 : ~0u;
}
static inline uint32_t lanes_before_high(unsigned lane) {
    return lane < 32 ? 0 : (1u << (lane & 31)) - 1;
}

static inline uint32_t bit_field(uint32_t x, uint32_t offset, uint32_t width) {
    const uint32_t field = (uint32_t)((int32_t)x >> offset) & ((1u << width) - 1);
    const uint32_t sign = 1u << width >> 1;
    return (field ^ sign) - sign;
}

/* The byte that v_perm_b32's selector names: 0..7 a byte, 8..11 the sign of byte 1, 3, 5, 7, 12 zero, else all ones. */
static inline uint32_t permuted_byte(uint64_t bytes, uint32_t selector) {
    const uint32_t byte = (uint32_t)(bytes >> 8 * (selector & 7)) & 0xff;
    const uint32_t sign = (uint32_t)(bytes >> (15 + 16 * (selector & 3))) & 1;
    const uint32_t special = selector >= 13 ? 0xff : selector == 12 ? 0 : 0xff * sign;
    return selector < 8 ? byte : special;
}

static inline uint32_t permute(uint64_t bytes, uint32_t selectors) {
    uint32_t result = 0;
    for (unsigned i = 0; i < 4; i++)
        result |= permuted_byte(bytes, selectors >> 8 * i & 0xff) << 8 * i;
    return result;
}

/* Bytes (a + b + lowest bit of c) / 2. */
static inline uint32_t average(uint32_t a, uint32_t b, uint32_t c) {
    uint32_t result = 0;
    for (unsigned i = 0; i < 32; i += 8)
        result |= ((a >> i & 0xff) + (b >> i & 0xff) + (c >> i & 1)) >> 1 << i;
    return result;
}

/* These take 32 and 64-bit sources alike. */
#define SIGNED24(x) ((((x)&0xffffff) ^ 0x800000) - 0x800000)
#define DIFFERENCE(x, y) ((x) > (y) ? (x) - (y) : (y) - (x))
#define PART(x, n, width) ((x) >> (width) * (n) & ((1 << (width)) - 1))
#define PART_DIFFERENCE(x, y, n, width) DIFFERENCE(PART(x, n, width), PART(y, n, width))
#define BYTE_DIFFERENCES(x, y)                                                                     \
    (PART_DIFFERENCE(x, y, 0, 8) + PART_DIFFERENCE(x, y, 1, 8) + PART_DIFFERENCE(x, y, 2, 8) +     \
     PART_DIFFERENCE(x, y, 3, 8))
#define WORD_DIFFERENCES(x, y) (PART_DIFFERENCE(x, y, 0, 16) + PART_DIFFERENCE(x, y, 1, 16))
#define MASKED_DIFFERENCE(x, y, n) (PART(y, n, 8) == 0 ? 0 : PART_DIFFERENCE(x, y, n, 8))
#define MASKED_DIFFERENCES(x, y)                                                                   \
    (MASKED_DIFFERENCE(x, y, 0) + MASKED_DIFFERENCE(x, y, 1) + MASKED_DIFFERENCE(x, y, 2) +        \
     MASKED_DIFFERENCE(x, y, 3))

#define FUNCTION(name)                                                                             \
    static const struct emu_insn *name(struct emu_wave *w, const struct emu_insn *i)
#define SOURCE(n) emu_source_word(w, &i->operand[1 + (n)], 0, space[n])
/* Stores `result`, which may name the sources, in the lanes that execute. */
#define STORE(result)                                                                              \
    do {                                                                                           \
        const uint32_t value_ = (result);                                                          \
        to[lane] = (value_ & mask[lane]) | (to[lane] & ~mask[lane]);                               \
    } while (0)
#define DESTINATION()                                                                              \
    const uint32_t *const mask = emu_lane_mask(w);                                                 \
    uint32_t *const to = w->v[i->operand[0].reg]

/* ---- one, two, three words ---- */

#define UNARY(name, A, ...)                                                                        \
    FUNCTION(name) {                                                                               \
        uint32_t space[1][EMU_LANES];                                                              \
        const uint32_t *const s0 = SOURCE(0);                                                      \
        DESTINATION();                                                                             \
        EMU_EACH_LANE {                                                                            \
            const uint32_t a = s0[lane];                                                           \
            STORE(__VA_ARGS__);                                                                    \
        }                                                                                          \
        return i + 1;                                                                              \
    }
#define MOVE(name, A) UNARY(name, A, a)

#define BINARY(name, A, B, ...)                                                                    \
    FUNCTION(name) {                                                                               \
        uint32_t space[2][EMU_LANES];                                                              \
        const uint32_t *const s0 = SOURCE(0), *const s1 = SOURCE(1);                               \
        DESTINATION();                                                                             \
        EMU_EACH_LANE {                                                                            \
            const uint32_t a = s0[lane], b = s1[lane];                                             \
            STORE(__VA_ARGS__);                                                                    \
        }                                                                                          \
        return i + 1;                                                                              \
    }

#define TERNARY(name, A, B, C, ...)                                                                \
    FUNCTION(name) {                                                                               \
        uint32_t space[3][EMU_LANES];                                                              \
        const uint32_t *const s0 = SOURCE(0), *const s1 = SOURCE(1), *const s2 = SOURCE(2);        \
        DESTINATION();                                                                             \
        EMU_EACH_LANE {                                                                            \
            const uint32_t a = s0[lane], b = s1[lane], c = s2[lane];                               \
            STORE(__VA_ARGS__);                                                                    \
        }                                                                                          \
        return i + 1;                                                                              \
    }

/* ---- sums that clamp can limit ---- */

#define BITS_OF(type) (sizeof(type) == 2 ? 0xffffu : ~0u)
static inline int64_t limited(int64_t x, int64_t lowest, int64_t highest) {
    return x < lowest ? lowest : x > highest ? highest : x;
}

#define SUM2(name, A, lowest, highest, type, ...)                                                  \
    FUNCTION(name) {                                                                               \
        uint32_t space[2][EMU_LANES];                                                              \
        const uint32_t *const s0 = SOURCE(0), *const s1 = SOURCE(1);                               \
        DESTINATION();                                                                             \
        if (i->clamp) {                                                                            \
            EMU_EACH_LANE {                                                                        \
                const int64_t a = (type)s0[lane], b = (type)s1[lane];                              \
                STORE((uint32_t)limited(__VA_ARGS__, lowest, highest) & BITS_OF(type));            \
            }                                                                                      \
        } else {                                                                                   \
            EMU_EACH_LANE {                                                                        \
                const uint32_t a = s0[lane], b = s1[lane];                                         \
                STORE((__VA_ARGS__)&BITS_OF(type));                                                \
            }                                                                                      \
        }                                                                                          \
        return i + 1;                                                                              \
    }

#define SUM3(name, A, C, lowest, highest, type, ...)                                               \
    FUNCTION(name) {                                                                               \
        uint32_t space[3][EMU_LANES];                                                              \
        const uint32_t *const s0 = SOURCE(0), *const s1 = SOURCE(1), *const s2 = SOURCE(2);        \
        DESTINATION();                                                                             \
        if (i->clamp) {                                                                            \
            EMU_EACH_LANE {                                                                        \
                const int64_t a = (type)s0[lane], b = (type)s1[lane], c = (type)s2[lane];          \
                STORE((uint32_t)limited(__VA_ARGS__, lowest, highest));                            \
            }                                                                                      \
        } else {                                                                                   \
            EMU_EACH_LANE {                                                                        \
                const uint32_t a = s0[lane], b = s1[lane], c = s2[lane];                           \
                STORE(__VA_ARGS__);                                                                \
            }                                                                                      \
        }                                                                                          \
        return i + 1;                                                                              \
    }

/* ---- halves that op_sel chooses ---- */

#define HALF(name, lowest, highest, type, sources, ...)                                            \
    FUNCTION(name) {                                                                               \
        uint32_t space[3][EMU_LANES], result[EMU_LANES];                                           \
        const uint32_t *const s0 = emu_source16(w, i, 0, space[0]);                                \
        const uint32_t *const s1 = emu_source16(w, i, 1, space[1]);                                \
        const uint32_t *const s2 = (sources) == 3 ? emu_source16(w, i, 2, space[2]) : s1;          \
        const bool clamp = i->clamp;                                                               \
        EMU_EACH_LANE {                                                                            \
            const int64_t a = (type)s0[lane], b = (type)s1[lane], c = (type)s2[lane];              \
            const int64_t x = ((void)c, (__VA_ARGS__));                                            \
            result[lane] = (uint32_t)(clamp ? limited(x, lowest, highest) : x) & 0xffff;           \
        }                                                                                          \
        /* op_sel's bit of the destination comes after those of the sources. */                    \
        emu_store16(w, i, sources, result);                                                        \
        return i + 1;                                                                              \
    }
#define HALF2(name, A, lowest, highest, type, ...) HALF(name, lowest, highest, type, 2, __VA_ARGS__)
#define HALF3(name, A, lowest, highest, type, ...) HALF(name, lowest, highest, type, 3, __VA_ARGS__)

/* Two halves multiplied, and a word. */
#define HALF_SUM(name, A, C, lowest, highest, type, word)                                          \
    FUNCTION(name) {                                                                               \
        uint32_t space[3][EMU_LANES];                                                              \
        const uint32_t *const s0 = emu_source16(w, i, 0, space[0]);                                \
        const uint32_t *const s1 = emu_source16(w, i, 1, space[1]);                                \
        const uint32_t *const s2 = SOURCE(2);                                                      \
        const bool clamp = i->clamp;                                                               \
        DESTINATION();                                                                             \
        EMU_EACH_LANE {                                                                            \
            const int64_t x = (int64_t)(type)s0[lane] * (type)s1[lane] + (word)s2[lane];           \
            STORE((uint32_t)(clamp ? limited(x, lowest, highest) : x));                            \
        }                                                                                          \
        return i + 1;                                                                              \
    }

/* ---- packed halves ---- */

#define PACKED(name, lowest, highest, type, sources, ...)                                          \
    FUNCTION(name) {                                                                               \
        uint32_t space[3][EMU_LANES];                                                              \
        const uint32_t *const s0 = SOURCE(0), *const s1 = SOURCE(1);                               \
        const uint32_t *const s2 = (sources) == 3 ? SOURCE(2) : s1;                                \
        uint32_t half[2][EMU_LANES];                                                               \
        const bool clamp = i->clamp;                                                               \
        for (unsigned n = 0; n < 2; n++) {                                                         \
            const unsigned select = n == 0 ? i->op_sel : i->op_sel_hi;                             \
            const unsigned from0 = (select & 1) * 16, from1 = (select >> 1 & 1) * 16;              \
            const unsigned from2 = (select >> 2 & 1) * 16;                                         \
            EMU_EACH_LANE {                                                                        \
                const int64_t a = (type)(s0[lane] >> from0), b = (type)(s1[lane] >> from1);        \
                const int64_t c = (type)(s2[lane] >> from2);                                       \
                const int64_t x = ((void)c, (__VA_ARGS__));                                        \
                half[n][lane] = (uint32_t)(clamp ? limited(x, lowest, highest) : x) & 0xffff;      \
            }                                                                                      \
        }                                                                                          \
        DESTINATION();                                                                             \
        EMU_EACH_LANE STORE(half[1][lane] << 16 | half[0][lane]);                                  \
        return i + 1;                                                                              \
    }
#define PACKED2(name, lowest, highest, type, ...)                                                  \
    PACKED(name, lowest, highest, type, 2, __VA_ARGS__)
#define PACKED2_WRAPPED(name, type, ...) PACKED(name, 0, 0, type, 2, __VA_ARGS__)
#define PACKED3(name, lowest, highest, type, ...)                                                  \
    PACKED(name, lowest, highest, type, 3, __VA_ARGS__)

/* ---- 64 bits ---- */

#define WIDE_SOURCE(n) emu_wide_source(w, &i->operand[1 + (n)], wide[n])
#define WIDE_DESTINATION()                                                                         \
    const uint32_t *const mask = emu_lane_mask(w);                                                 \
    uint32_t *const low = w->v[i->operand[0].reg], *const high = w->v[i->operand[0].reg + 1]
/* A lane's words are all read before one is written: registers may overlap. */
#define WIDE_STORE(result)                                                                         \
    do {                                                                                           \
        const uint64_t value_ = (result);                                                          \
        low[lane] = ((uint32_t)value_ & mask[lane]) | (low[lane] & ~mask[lane]);                   \
        high[lane] = ((uint32_t)(value_ >> 32) & mask[lane]) | (high[lane] & ~mask[lane]);         \
    } while (0)

#define WIDE2(name, A, B, ...)                                                                     \
    FUNCTION(name) {                                                                               \
        uint32_t space[1][EMU_LANES], wide[2][2][EMU_LANES];                                       \
        const uint32_t *const s0 = SOURCE(0);                                                      \
        const struct emu_wide s1 = WIDE_SOURCE(1);                                                 \
        WIDE_DESTINATION();                                                                        \
        EMU_EACH_LANE {                                                                            \
            const uint32_t a = s0[lane];                                                           \
            const uint64_t b = emu_wide_value(s1, lane);                                           \
            WIDE_STORE(__VA_ARGS__);                                                               \
        }                                                                                          \
        return i + 1;                                                                              \
    }

/* Addresses are computed with it: in words, which the host has twice as many of at a time. */
#define WIDE_SHIFT_ADD(name)                                                                       \
    FUNCTION(name) {                                                                               \
        uint32_t space[2][EMU_LANES], wide[3][2][EMU_LANES];                                       \
        const struct emu_wide s0 = WIDE_SOURCE(0), s2 = WIDE_SOURCE(2);                            \
        const uint32_t *const s1 = SOURCE(1);                                                      \
        WIDE_DESTINATION();                                                                        \
        EMU_EACH_LANE {                                                                            \
            const uint32_t shift = s1[lane] & 7, x = s0.low[lane], y = s2.low[lane];               \
            const uint32_t sum = (x << shift) + y, carry = sum < y ? 1 : 0;                        \
            const uint32_t above = s0.high[lane] << shift | x >> 1 >> (31 - shift);                \
            const uint32_t top = above + s2.high[lane] + carry;                                    \
            low[lane] = (sum & mask[lane]) | (low[lane] & ~mask[lane]);                            \
            high[lane] = (top & mask[lane]) | (high[lane] & ~mask[lane]);                          \
        }                                                                                          \
        return i + 1;                                                                              \
    }

/* Sums of differences of four bytes, taken at each byte of a 64-bit source, to which a half is added; in 16 bits. */
#define WIDE_SAD(name, differences)                                                                \
    FUNCTION(name) {                                                                               \
        uint32_t space[2][EMU_LANES], wide[3][2][EMU_LANES];                                       \
        const struct emu_wide s0 = WIDE_SOURCE(0), s2 = WIDE_SOURCE(2);                            \
        const uint32_t *const s1 = SOURCE(1);                                                      \
        WIDE_DESTINATION();                                                                        \
        EMU_EACH_LANE {                                                                            \
            const uint64_t a = emu_wide_value(s0, lane), c = emu_wide_value(s2, lane);             \
            const uint32_t b = s1[lane];                                                           \
            uint64_t sums = 0;                                                                     \
            for (unsigned n = 0; n < 4; n++) {                                                     \
                const uint32_t at = (uint32_t)(a >> 8 * n);                                        \
                sums |= ((differences(at, b) + (c >> 16 * n)) & 0xffff) << 16 * n;                 \
            }                                                                                      \
            WIDE_STORE(sums);                                                                      \
        }                                                                                          \
        return i + 1;                                                                              \
    }

/* Bit 64 of the sum of a product and a term, given whether both are signed. */
static inline uint32_t carry65(uint64_t product, uint64_t term, bool is_signed) {
    const uint64_t sum = product + term;
    const uint32_t carry = sum < product;
    return is_signed ? carry ^ (uint32_t)(product >> 63) ^ (uint32_t)(term >> 63) : carry;
}

static void wide_multiply(struct emu_wave *w, const struct emu_insn *i, bool is_signed) {
    uint32_t space[2][EMU_LANES], carry[EMU_LANES];
    uint64_t sum[EMU_LANES];
    const uint32_t *const s0 = emu_source_word(w, &i->operand[2], 0, space[0]);
    const uint32_t *const s1 = emu_source_word(w, &i->operand[3], 0, space[1]);
    emu_source64(w, &i->operand[4], sum);
    EMU_EACH_LANE {
        const uint64_t both = is_signed ? (uint64_t)((int64_t)(int32_t)s0[lane] * (int32_t)s1[lane])
                                        : (uint64_t)s0[lane] * s1[lane];
        carry[lane] = carry65(both, sum[lane], is_signed);
        sum[lane] += both;
    }
    emu_store64(w, i->operand[0].reg, sum);
    emu_store_mask(w, &i->operand[1], emu_pack_bits(carry));
}
#define WIDE_MULTIPLY(name, A, C)                                                                  \
    FUNCTION(name) {                                                                               \
        wide_multiply(w, i, EMU_##A == EMU_I32);                                                   \
        return i + 1;                                                                              \
    }

/* ---- carries ---- */

#define CARRY(name, in, ...)                                                                       \
    FUNCTION(name) {                                                                               \
        uint32_t space[2][EMU_LANES], carry[EMU_LANES] = {0};                                      \
        const uint32_t *const s0 = emu_source_word(w, &i->operand[2], 0, space[0]);                \
        const uint32_t *const s1 = emu_source_word(w, &i->operand[3], 0, space[1]);                \
        if (in) emu_mask_bits(carry, emu_mask_source(w, &i->operand[4]));                          \
        DESTINATION();                                                                             \
        EMU_EACH_LANE {                                                                            \
            const uint32_t a = s0[lane], b = s1[lane], c = carry[lane];                            \
            const uint64_t sum = ((void)c, (__VA_ARGS__));                                         \
            carry[lane] = (uint32_t)(sum >> 32) & 1;                                               \
            STORE((uint32_t)sum);                                                                  \
        }                                                                                          \
        emu_store_mask(w, &i->operand[1], emu_pack_bits(carry));                                   \
        return i + 1;                                                                              \
    }
#define CARRY_OUT(name, ...) CARRY(name, false, __VA_ARGS__)
#define CARRY_IN(name, ...) CARRY(name, true, __VA_ARGS__)

/* ---- the others ---- */

FUNCTION(v_mov_b64) {
    uint32_t wide[1][2][EMU_LANES];
    const struct emu_wide s0 = WIDE_SOURCE(0);
    WIDE_DESTINATION();
    EMU_EACH_LANE {
        const uint32_t a = s0.low[lane], b = s0.high[lane];
        low[lane] = (a & mask[lane]) | (low[lane] & ~mask[lane]);
        high[lane] = (b & mask[lane]) | (high[lane] & ~mask[lane]);
    }
    return i + 1;
}

/* One byte of v_perm_b32's result where the selector is the same in all lanes. */
struct byte {
    const uint32_t *words;
    uint32_t shift, mask, factor, constant;
};

static struct byte select_byte(const uint32_t *s0, const uint32_t *s1, uint32_t selector) {
    if (selector >= 12) return (struct byte){.words = s0, .constant = selector > 12 ? 0xff : 0};
    if (selector >= 8)
        return (struct byte){.words = selector < 10 ? s1 : s0,
                             .shift = selector & 1 ? 31 : 15,
                             .mask = 1,
                             .factor = 0xff};
    return (struct byte){
        .words = selector < 4 ? s1 : s0, .shift = 8 * (selector & 3), .mask = 0xff, .factor = 1};
}

static inline uint32_t chosen_byte(struct byte b, unsigned lane) {
    return (b.words[lane] >> b.shift & b.mask) * b.factor | b.constant;
}

FUNCTION(v_perm_b32) {
    uint32_t space[3][EMU_LANES];
    const uint32_t *const s0 = SOURCE(0), *const s1 = SOURCE(1), *const s2 = SOURCE(2);
    DESTINATION();
    if (i->operand[3].kind == EMU_VGPR || i->operand[3].kind == EMU_TEMPORARY) {
        EMU_EACH_LANE STORE(permute((uint64_t)s0[lane] << 32 | s1[lane], s2[lane]));
        return i + 1;
    }
    const struct byte b0 = select_byte(s0, s1, s2[0] & 0xff);
    const struct byte b1 = select_byte(s0, s1, s2[0] >> 8 & 0xff);
    const struct byte b2 = select_byte(s0, s1, s2[0] >> 16 & 0xff);
    const struct byte b3 = select_byte(s0, s1, s2[0] >> 24);
    EMU_EACH_LANE STORE(chosen_byte(b3, lane) << 24 | chosen_byte(b2, lane) << 16 |
                        chosen_byte(b1, lane) << 8 | chosen_byte(b0, lane));
    return i + 1;
}

FUNCTION(v_cndmask_b32) {
    uint32_t space[2][EMU_LANES], chosen[EMU_LANES];
    const uint32_t *const s0 = emu_source32(w, &i->operand[1], space[0]);
    const uint32_t *const s1 = emu_source32(w, &i->operand[2], space[1]);
    emu_mask_bits(chosen, emu_mask_source(w, &i->operand[3]));
    DESTINATION();
    EMU_EACH_LANE STORE(chosen[lane] ? s1[lane] : s0[lane]);
    return i + 1;
}

FUNCTION(v_pk_mov_b32) {
    uint32_t low[EMU_LANES], high[EMU_LANES], space[EMU_LANES];
    const uint32_t *const s0 = emu_source_word(w, &i->operand[1], i->op_sel & 1, space);
    EMU_EACH_LANE low[lane] = s0[lane];
    const uint32_t *const s1 = emu_source_word(w, &i->operand[2], i->op_sel >> 1 & 1, space);
    EMU_EACH_LANE high[lane] = s1[lane];
    emu_store32(w, i->operand[0].reg, low);
    emu_store32(w, i->operand[0].reg + 1u, high);
    return i + 1;
}

FUNCTION(v_swap_b32) {
    const uint32_t *const mask = emu_lane_mask(w);
    uint32_t *const x = w->v[i->operand[0].reg], *const y = w->v[i->operand[1].reg];
    EMU_EACH_LANE {
        const uint32_t difference = (x[lane] ^ y[lane]) & mask[lane];
        x[lane] ^= difference;
        y[lane] ^= difference;
    }
    return i + 1;
}

static void write_lane_to_scalar(struct emu_wave *w, const struct emu_insn *i, unsigned lane) {
    const struct emu_operand *const from = &i->operand[1];
    uint32_t space[EMU_LANES];
    const uint32_t value = emu_source_word(w, from, 0, space)[lane];
    const bool defined = from->kind != EMU_VGPR || (w->v_defined[from->reg] >> lane & 1);
    emu_write_sreg(w, i->operand[0].reg, value);
    w->s_defined[i->operand[0].reg] = defined ? ~0u : 0;
}

static bool is_defined(const struct emu_wave *w, const struct emu_operand *o) {
    return o->kind != EMU_SGPR || o->reg >= EMU_SREGS || w->s_defined[o->reg] == ~0u;
}

FUNCTION(v_readlane_b32) {
    if (!is_defined(w, &i->operand[2]))
        return emu_fault(w, i, EMU_UNINITIALISED, -1,
                         "the lane to read is chosen by a scalar register that was never written");
    write_lane_to_scalar(w, i, (unsigned)emu_scalar(w, &i->operand[2]) % EMU_LANES);
    return i + 1;
}

FUNCTION(v_readfirstlane_b32) {
    unsigned lane = 0;
    for (uint64_t exec = emu_exec(w); exec != 0 && !(exec & 1); exec >>= 1) lane++;
    write_lane_to_scalar(w, i, lane);
    return i + 1;
}

/* A lane keeps one bit of definedness, and compilers spill lane masks, whose bits of lanes that do not run nobody ever
 * wrote: a word counts as written where any bit of it was. */
static bool is_defined_in_part(const struct emu_wave *w, const struct emu_operand *o) {
    return o->kind != EMU_SGPR || o->reg >= EMU_SREGS || w->s_defined[o->reg] != 0;
}

/* Writes its lane whether it executes or not. */
FUNCTION(v_writelane_b32) {
    if (!is_defined(w, &i->operand[2]))
        return emu_fault(w, i, EMU_UNINITIALISED, -1,
                         "the lane to write is chosen by a scalar register that was never written");
    const unsigned reg = i->operand[0].reg;
    const unsigned lane = (unsigned)emu_scalar(w, &i->operand[2]) % EMU_LANES;
    const uint64_t bit = UINT64_C(1) << lane;
    w->v[reg][lane] = (uint32_t)emu_scalar(w, &i->operand[1]);
    if (is_defined_in_part(w, &i->operand[1]))
        w->v_defined[reg] |= bit;
    else
        w->v_defined[reg] &= ~bit;
    return i + 1;
}

FUNCTION(v_nop) {
    (void)w;
    return i + 1;
}
#define OTHER(...)

#include "vector.def"

#undef UNARY
#undef MOVE
#undef BINARY
#undef TERNARY
#undef SUM2
#undef SUM3
#undef HALF2
#undef HALF3
#undef HALF_SUM
#undef PACKED2
#undef PACKED2_WRAPPED
#undef PACKED3
#undef WIDE2
#undef WIDE_SHIFT_ADD
#undef WIDE_MULTIPLY
#undef WIDE_SAD
#undef CARRY_OUT
#undef CARRY_IN
#undef OTHER

/* The destination has the type of a source: of the shifted one, of the term that is added. */
#define UNARY(name, A, ...) EMU_ROW(name, 1, 0, EMU_##A, EMU_##A)
#define MOVE(name, A) EMU_ROW(name, 1, 0, EMU_##A, EMU_##A)
#define BINARY(name, A, B, ...) EMU_ROW(name, 1, 0, EMU_##B, EMU_##A, EMU_##B)
#define TERNARY(name, A, B, C, ...) EMU_ROW(name, 1, 0, EMU_##A, EMU_##A, EMU_##B, EMU_##C)
#define SUM2(name, A, ...) EMU_ROW(name, 1, EMU_CLAMPS, EMU_##A, EMU_##A, EMU_##A)
#define SUM3(name, A, C, ...) EMU_ROW(name, 1, EMU_CLAMPS, EMU_##C, EMU_##A, EMU_##A, EMU_##C)
#define HALF_FLAGS (EMU_CLAMPS | EMU_OP_SEL | EMU_PARTIAL)
#define HALF2(name, A, ...) EMU_ROW(name, 1, HALF_FLAGS, EMU_##A, EMU_##A, EMU_##A)
#define HALF3(name, A, ...) EMU_ROW(name, 1, HALF_FLAGS, EMU_##A, EMU_##A, EMU_##A, EMU_##A)
#define HALF_SUM(name, A, C, ...)                                                                  \
    EMU_ROW(name, 1, EMU_CLAMPS | EMU_OP_SEL, EMU_##C, EMU_##A, EMU_##A, EMU_##C)
#define PACKED2(name, ...) EMU_ROW(name, 1, EMU_CLAMPS | EMU_OP_SEL, EMU_2B16, EMU_2B16, EMU_2B16)
#define PACKED2_WRAPPED(name, ...) EMU_ROW(name, 1, EMU_OP_SEL, EMU_2B16, EMU_2B16, EMU_2B16)
#define PACKED3(name, ...)                                                                         \
    EMU_ROW(name, 1, EMU_CLAMPS | EMU_OP_SEL, EMU_2B16, EMU_2B16, EMU_2B16, EMU_2B16)
#define WIDE2(name, A, B, ...) EMU_ROW(name, 1, 0, EMU_##B, EMU_##A, EMU_##B)
#define WIDE_SHIFT_ADD(name) EMU_ROW(name, 1, 0, EMU_U64, EMU_U64, EMU_U32, EMU_U64)
#define WIDE_SAD(name, differences) EMU_ROW(name, 1, 0, EMU_U64, EMU_U64, EMU_U32, EMU_U64)
#define WIDE_MULTIPLY(name, A, C) EMU_ROW(name, 2, 0, EMU_##C, EMU_MASK, EMU_##A, EMU_##A, EMU_##C)
#define CARRY_OUT(name, ...) EMU_ROW(name, 2, 0, EMU_U32, EMU_MASK, EMU_U32, EMU_U32)
#define CARRY_IN(name, ...) EMU_ROW(name, 2, 0, EMU_U32, EMU_MASK, EMU_U32, EMU_U32, EMU_MASK)
#define OTHER(name, destinations, flags, ...) EMU_ROW(name, destinations, flags, __VA_ARGS__)

const struct emu_opcode emu_vector_opcodes[] = {
#include "vector.def"
    {0}};
