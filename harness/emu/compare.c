/* SPDX-License-Identifier: Apache-2.0 */
/*
 * v_cmp and v_cmpx: a mask of lanes in a pair of scalar registers, zero for lanes that do not execute; v_cmpx makes it
 * exec, too.
 */
#include "ieee.h"
#include "vop.h"

#define FALSE(a, b) ((void)(a), (void)(b), false)

static void set_mask(struct emu_wave *w, const struct emu_insn *i, uint64_t mask, bool exec) {
    const uint64_t result = mask & emu_exec(w);
    emu_write_s64(w, i->operand[0].reg, result);
    if (exec) emu_write_s64(w, EMU_EXEC, result);
}

/* The sources of a comparison in arrays x and y, for each width. */
#define SOURCES_INTEGER16(type)                                                                    \
    uint32_t space[2][EMU_LANES];                                                                  \
    const uint32_t *const x = emu_source_word(w, &i->operand[1], 0, space[0]);                     \
    const uint32_t *const y = emu_source_word(w, &i->operand[2], 0, space[1]);
#define SOURCES_INTEGER32(type) SOURCES_INTEGER16(type)
#define SOURCES_FLOAT16(type)                                                                      \
    uint32_t space[2][EMU_LANES];                                                                  \
    const uint32_t *const x = emu_source32(w, &i->operand[1], space[0]);                           \
    const uint32_t *const y = emu_source32(w, &i->operand[2], space[1]);
#define SOURCES_FLOAT32(type) SOURCES_FLOAT16(type)
#define SOURCES_INTEGER64(type)                                                                    \
    uint32_t wide[2][2][EMU_LANES];                                                                \
    const struct emu_wide x = emu_wide_source(w, &i->operand[1], wide[0]);                         \
    const struct emu_wide y = emu_wide_source(w, &i->operand[2], wide[1]);
#define SOURCES_FLOAT64(type) SOURCES_INTEGER64(type)

#define VALUE_I16(x, lane) ((int16_t)(x)[lane])
#define VALUE_U16(x, lane) ((uint16_t)(x)[lane])
#define VALUE_I32(x, lane) ((int32_t)(x)[lane])
#define VALUE_U32(x, lane) ((uint32_t)(x)[lane])
#define VALUE_I64(x, lane) ((int64_t)emu_wide_value(x, lane))
#define VALUE_U64(x, lane) ((uint64_t)emu_wide_value(x, lane))
#define VALUE_F16(x, lane) emu_float(emu_f16_to_f32((x)[lane], true))
#define VALUE_F32(x, lane) emu_float((x)[lane])
#define VALUE_F64(x, lane) emu_double(emu_wide_value(x, lane))

/* Two halves of 32 lanes, each collected in a word. */
#define COMPARE(name, T, sources, type, exec, ...)                                                 \
    static const struct emu_insn *name(struct emu_wave *w, const struct emu_insn *i) {             \
        sources(type) uint32_t low = 0, high = 0;                                                  \
        _Pragma("omp simd reduction(| : low)") for (unsigned lane = 0; lane < 32; lane++) {        \
            const type a = VALUE_##T(x, lane), b = VALUE_##T(y, lane);                             \
            low |= (__VA_ARGS__) ? 1u << lane : 0;                                                 \
        }                                                                                          \
        _Pragma("omp simd reduction(| : high)") for (unsigned lane = 0; lane < 32; lane++) {       \
            const type a = VALUE_##T(x, lane + 32), b = VALUE_##T(y, lane + 32);                   \
            high |= (__VA_ARGS__) ? 1u << lane : 0;                                                \
        }                                                                                          \
        set_mask(w, i, (uint64_t)high << 32 | low, exec);                                          \
        return i + 1;                                                                              \
    }
#define BOTH(relation, suffix, T, sources, type, ...)                                              \
    COMPARE(v_cmp_##relation##_##suffix, T, sources, type, false, __VA_ARGS__)                     \
    COMPARE(v_cmpx_##relation##_##suffix, T, sources, type, true, __VA_ARGS__)
#define INTEGERS(relation, ...)                                                                    \
    BOTH(relation, i16, I16, SOURCES_INTEGER16, int16_t, __VA_ARGS__)                              \
    BOTH(relation, u16, U16, SOURCES_INTEGER16, uint16_t, __VA_ARGS__)                             \
    BOTH(relation, i32, I32, SOURCES_INTEGER32, int32_t, __VA_ARGS__)                              \
    BOTH(relation, u32, U32, SOURCES_INTEGER32, uint32_t, __VA_ARGS__)                             \
    BOTH(relation, i64, I64, SOURCES_INTEGER64, int64_t, __VA_ARGS__)                              \
    BOTH(relation, u64, U64, SOURCES_INTEGER64, uint64_t, __VA_ARGS__)
#define FLOATS(relation, ...)                                                                      \
    BOTH(relation, f16, F16, SOURCES_FLOAT16, float, __VA_ARGS__)                                  \
    BOTH(relation, f32, F32, SOURCES_FLOAT32, float, __VA_ARGS__)                                  \
    BOTH(relation, f64, F64, SOURCES_FLOAT64, double, __VA_ARGS__)

/* Bit of v_cmp_class's mask: 0, 1 NaN (signalling, quiet), 2..5 negative (infinite, normal, denormal, zero), 6..9. */
#define CLASS(width, is_nan, sign, infinity, normal, quiet, type, T)                               \
    static inline uint32_t class##width(type x) {                                                  \
        const type magnitude = x & ((type)(sign)-1);                                               \
        const uint32_t order = magnitude == 0           ? 0                                        \
                               : magnitude < (normal)   ? 1                                        \
                               : magnitude < (infinity) ? 2                                        \
                                                        : 3;                                       \
        const uint32_t number = x & (sign) ? 5 - order : 6 + order;                                \
        return 1u << (is_nan(x) ? (x & (quiet)) != 0 : number);                                    \
    }                                                                                              \
    static uint64_t classes##width(struct emu_wave *w, const struct emu_insn *i) {                 \
        uint32_t space[EMU_LANES];                                                                 \
        uint64_t mask = 0;                                                                         \
        SOURCE##width const uint32_t *const wanted = emu_source_word(w, &i->operand[2], 0, space); \
        for (unsigned lane = 0; lane < EMU_LANES; lane++)                                          \
            mask |= (uint64_t)((class##width((type)x[lane]) & wanted[lane]) != 0) << lane;         \
        return mask;                                                                               \
    }                                                                                              \
    static const struct emu_insn *v_cmp_class_f##width(struct emu_wave *w,                         \
                                                       const struct emu_insn *i) {                 \
        set_mask(w, i, classes##width(w, i), false);                                               \
        return i + 1;                                                                              \
    }                                                                                              \
    static const struct emu_insn *v_cmpx_class_f##width(struct emu_wave *w,                        \
                                                        const struct emu_insn *i) {                \
        set_mask(w, i, classes##width(w, i), true);                                                \
        return i + 1;                                                                              \
    }
#define SOURCE16                                                                                   \
    uint32_t floats[EMU_LANES];                                                                    \
    const uint32_t *const x = emu_source32(w, &i->operand[1], floats);
#define SOURCE32 SOURCE16
#define SOURCE64                                                                                   \
    uint64_t x[EMU_LANES];                                                                         \
    emu_source64(w, &i->operand[1], x);

#include "compare.def"

#undef INTEGERS
#undef FLOATS
#undef BOTH
#undef CLASS

#define BOTH(relation, suffix, type, flags)                                                        \
    EMU_ROW(v_cmp_##relation##_##suffix, 1, flags, EMU_MASK, EMU_##type, EMU_##type)               \
    EMU_ROW(v_cmpx_##relation##_##suffix, 1, flags, EMU_MASK, EMU_##type, EMU_##type)
#define INTEGERS(relation, ...)                                                                    \
    BOTH(relation, i16, I16, 0)                                                                    \
    BOTH(relation, u16, U16, 0)                                                                    \
    BOTH(relation, i32, I32, 0)                                                                    \
    BOTH(relation, u32, U32, 0)                                                                    \
    BOTH(relation, i64, I64, 0)                                                                    \
    BOTH(relation, u64, U64, 0)
/* clamp only decides on exceptions, which nobody sees. */
#define FLOATS(relation, ...)                                                                      \
    BOTH(relation, f16, F16, EMU_FLOAT | EMU_UNDER_MODE | EMU_CLAMPS)                              \
    BOTH(relation, f32, F32, EMU_FLOAT | EMU_UNDER_MODE | EMU_CLAMPS)                              \
    BOTH(relation, f64, F64, EMU_FLOAT | EMU_UNDER_MODE | EMU_CLAMPS)
#define CLASS(width, is_nan, sign, infinity, normal, quiet, type, T)                               \
    EMU_ROW(v_cmp_class_f##width, 1, 0, EMU_MASK, EMU_##T, EMU_B32)                                \
    EMU_ROW(v_cmpx_class_f##width, 1, 0, EMU_MASK, EMU_##T, EMU_B32)

const struct emu_opcode emu_compare_opcodes[] = {
#include "compare.def"
    {0}};
