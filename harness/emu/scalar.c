/* SPDX-License-Identifier: Apache-2.0 */
/*
 * SOP1, SOP2, SOPC, SOPK: what is a function of operands and SCC comes from scalar.def; what touches EXEC, MODE or
 * indexed registers is written out below.
 *
 * Source: the CDNA3 instruction set's pseudo-code. Not emulated, and so refused by name: s_cbranch_g_fork, s_cbranch_i_fork,
 * s_cbranch_join, s_rfe_b64, s_rfe_restore_b64, s_setvskip, hardware registers other than MODE, HW_ID, XCC_ID, GPR_ALLOC
 * and LDS_ALLOC.
 */
#include "code.h"
#include "scalar.h"

static uint64_t ones(uint64_t n) { return n >= 64 ? UINT64_MAX : (UINT64_C(1) << n) - 1; }

static uint64_t sign_extend(int64_t value, uint32_t width) {
    if (width == 0 || width >= 64) return width == 0 ? 0 : (uint64_t)value;
    const uint64_t sign = UINT64_C(1) << (width - 1);
    return (((uint64_t)value & ones(width)) ^ sign) - sign;
}

static uint64_t whole_quads(uint64_t value) {
    uint64_t quads = value | value >> 1;
    quads = (quads | quads >> 2) & UINT64_C(0x1111111111111111);
    return quads * 15;
}

static uint64_t quad_mask(uint64_t value) {
    uint64_t mask = 0;
    for (unsigned quad = 0; quad < 16; quad++)
        mask |= (uint64_t)((value >> (4 * quad) & 15) != 0) << quad;
    return mask;
}

static uint64_t reverse(uint64_t value) {
    uint64_t reversed = 0;
    for (unsigned bit = 0; bit < 64; bit++) reversed |= (value >> bit & 1) << (63 - bit);
    return reversed;
}

static uint32_t count_ones(uint64_t value) {
    uint32_t n = 0;
    for (; value != 0; value &= value - 1) n++;
    return n;
}

/* Number of the lowest bit that is set; -1 if there is none. */
static uint32_t first_one(uint64_t value) {
    return value == 0 ? UINT32_MAX : count_ones((value & (0 - value)) - 1);
}

/* Zeros above the highest bit that is set; -1 if there is none. */
static uint32_t leading_zeros(uint64_t value, uint32_t bits) {
    if (value == 0) return UINT32_MAX;
    uint32_t zeros = bits;
    for (; value != 0; value >>= 1) zeros--;
    return zeros;
}

static uint64_t replicate(uint64_t value) {
    uint64_t doubled = 0;
    for (unsigned bit = 0; bit < 32; bit++) doubled |= (value >> bit & 1) * 3 << (2 * bit);
    return doubled;
}

static uint32_t get_k16(const struct emu_wave *w, const struct emu_operand *o) {
    (void)w;
    return (uint32_t)(int16_t)o->value;
}

static uint32_t get_n16(const struct emu_wave *w, const struct emu_operand *o) {
    (void)w;
    return (uint16_t)o->value;
}

static uint32_t get_none(const struct emu_wave *w, const struct emu_operand *o) {
    (void)w, (void)o;
    return 0;
}

static void put32(struct emu_wave *w, const struct emu_operand *o, uint32_t value) {
    emu_write_sreg(w, o->reg, value);
}

static void put64(struct emu_wave *w, const struct emu_operand *o, uint64_t value) {
    emu_write_s64(w, o->reg, value);
}

static void put_none(struct emu_wave *w, const struct emu_operand *o, uint32_t value) {
    (void)o;
    w->scc = value != 0;
}

#define TYPE_B32 uint32_t
#define TYPE_I32 uint32_t
#define TYPE_U32 uint32_t
#define TYPE_B64 uint64_t
#define TYPE_I64 uint64_t
#define TYPE_U64 uint64_t
#define TYPE_K16 uint32_t
#define TYPE_N16 uint32_t
#define TYPE_NONE uint32_t
#define GET_B32 emu_get32
#define GET_I32 emu_get32
#define GET_U32 emu_get32
#define GET_B64 emu_get64
#define GET_I64 emu_get64
#define GET_U64 emu_get64
#define GET_K16 get_k16
#define GET_N16 get_n16
#define GET_NONE get_none
#define PUT_B32 put32
#define PUT_I32 put32
#define PUT_U32 put32
#define PUT_B64 put64
#define PUT_I64 put64
#define PUT_U64 put64
#define PUT_NONE put_none
#define ENUM_B32 EMU_B32
#define ENUM_I32 EMU_I32
#define ENUM_U32 EMU_U32
#define ENUM_B64 EMU_B64
#define ENUM_I64 EMU_I64
#define ENUM_U64 EMU_U64
#define ENUM_K16 EMU_I16
#define ENUM_N16 EMU_U16
#define SCC_KEEP scc
#define SCC_NONZERO d != 0
#define SCC_IF(condition) (condition) != 0

/* Operands a_at and b_at are the sources; operand 0 is the result, unless its type is NONE. */
#define FUNCTIONS(name, D, A, a_at, B, b_at, scc_rule, result)                                     \
    static uint64_t value_##name(uint64_t a_word, uint64_t b_word, uint32_t scc) {                 \
        const TYPE_##A a = (TYPE_##A)a_word;                                                       \
        const TYPE_##B b = (TYPE_##B)b_word;                                                       \
        (void)b, (void)scc;                                                                        \
        return (TYPE_##D)(result);                                                                 \
    }                                                                                              \
    static const struct emu_insn *run_##name(struct emu_wave *w, const struct emu_insn *i) {       \
        const TYPE_##A a = GET_##A(w, &i->operand[a_at]);                                          \
        const TYPE_##B b = GET_##B(w, &i->operand[b_at]);                                          \
        const uint32_t scc = w->scc;                                                               \
        const TYPE_##D d = (TYPE_##D)(result);                                                     \
        (void)b, (void)scc;                                                                        \
        w->scc = SCC_##scc_rule;                                                                   \
        PUT_##D(w, &i->operand[0], d);                                                             \
        return i + 1;                                                                              \
    }

#define SCALAR_1(name, D, A, flow, scc_rule, result)                                               \
    FUNCTIONS(name, D, A, 1, NONE, 0, scc_rule, result)
#define SCALAR_D(name, D, A, flow, scc_rule, result)                                               \
    FUNCTIONS(name, D, A, 1, D, 0, scc_rule, result)
#define SCALAR_2(name, D, A, B, flow, scc_rule, result)                                            \
    FUNCTIONS(name, D, A, 1, B, 2, scc_rule, result)
#define SCALAR_K(name, flow, scc_rule, result)                                                     \
    FUNCTIONS(name, I32, I32, 0, K16, 1, scc_rule, result)
#define SCALAR_C(name, A, B, flow, condition) FUNCTIONS(name, NONE, A, 0, B, 1, KEEP, condition)
#include "scalar.def"
#undef SCALAR_1
#undef SCALAR_D
#undef SCALAR_2
#undef SCALAR_K
#undef SCALAR_C

/* exec becomes `next`; the destination gets the former exec, or (WRITE_EXEC) the new one. */
static const struct emu_insn *write_exec(struct emu_wave *w, const struct emu_insn *i,
                                         uint64_t next, uint64_t destination) {
    emu_write_s64(w, i->operand[0].reg, destination);
    emu_write_s64(w, EMU_EXEC, next);
    w->scc = next != 0;
    return i + 1;
}

#define EXEC_FUNCTIONS(name, expression, destination)                                              \
    static uint64_t value_##name(uint64_t a, uint64_t exec, uint32_t scc) {                        \
        (void)scc;                                                                                 \
        return expression;                                                                         \
    }                                                                                              \
    static const struct emu_insn *run_##name(struct emu_wave *w, const struct emu_insn *i) {       \
        const uint64_t a = emu_get64(w, &i->operand[1]), exec = emu_exec(w);                       \
        const uint64_t next = expression;                                                          \
        return write_exec(w, i, next, destination);                                                \
    }
#define SAVE_EXEC(name, expression) EXEC_FUNCTIONS(name, expression, exec)
#define WRITE_EXEC(name, expression) EXEC_FUNCTIONS(name, expression, next)
#include "saveexec.def"
#undef SAVE_EXEC
#undef WRITE_EXEC

#define KEEPS_KEEP true
#define KEEPS_NONZERO false
#define KEEPS_IF(condition) false
#define ZERO_KEEP false
#define ZERO_NONZERO true
#define ZERO_IF(condition) false
#define RULE(name, D, a_at, b_at, result_at, flow, scc_rule)                                       \
    {EMU_FLOW_##flow,      a_at,        b_at, result_at, KEEPS_##scc_rule, ZERO_##scc_rule,        \
     8 * sizeof(TYPE_##D), value_##name},
#define SCALAR_1(name, D, A, flow, scc_rule, result) RULE(name, D, 1, -1, 0, flow, scc_rule)
#define SCALAR_D(name, D, A, flow, scc_rule, result) RULE(name, D, 1, 0, 0, flow, scc_rule)
#define SCALAR_2(name, D, A, B, flow, scc_rule, result) RULE(name, D, 1, 2, 0, flow, scc_rule)
#define SCALAR_K(name, flow, scc_rule, result) RULE(name, I32, 0, 1, 0, flow, scc_rule)
#define SCALAR_C(name, A, B, flow, condition) RULE(name, NONE, 0, 1, -1, flow, NONZERO)
#define SAVE_EXEC(name, expression) {EMU_FLOW_EXEC, 1, -1, 0, false, true, 64, value_##name},
#define WRITE_EXEC(name, expression) SAVE_EXEC(name, expression)
static const struct emu_scalar_rule rules[] = {
#include "scalar.def"
#include "saveexec.def"
};
#undef SAVE_EXEC
#undef WRITE_EXEC
#undef SCALAR_1
#undef SCALAR_D
#undef SCALAR_2
#undef SCALAR_K
#undef SCALAR_C

/* The table starts with the rows of scalar.def and saveexec.def, in the order of `rules`. */
const struct emu_scalar_rule *emu_scalar_rule(const struct emu_opcode *opcode) {
    if (opcode < emu_scalar_opcodes) return NULL;
    const size_t row = (size_t)(opcode - emu_scalar_opcodes);
    return row < sizeof rules / sizeof *rules ? &rules[row] : NULL;
}

#define ROW(name, n_destinations, flags, ...)                                                      \
    {#name, run_##name, {__VA_ARGS__}, n_destinations, EMU_SALU | (flags)},
#define WRITES_KEEP 0
#define WRITES_NONZERO EMU_WRITES_SCC
#define WRITES_IF(condition) EMU_WRITES_SCC
#define READS_CORNERS 0
#define READS_SHIFT 0
#define READS_SPREAD 0
#define READS_WHOLE 0
#define READS_SELECT EMU_READS_SCC
#define READS_CARRY EMU_READS_SCC
#define FLAGS(flow, scc_rule) READS_##flow | WRITES_##scc_rule
#define SCALAR_1(name, D, A, flow, scc_rule, result)                                               \
    ROW(name, 1, FLAGS(flow, scc_rule), ENUM_##D, ENUM_##A)
#define SCALAR_D(name, D, A, flow, scc_rule, result)                                               \
    ROW(name, 1, FLAGS(flow, scc_rule) | EMU_PARTIAL, ENUM_##D, ENUM_##A)
#define SCALAR_2(name, D, A, B, flow, scc_rule, result)                                            \
    ROW(name, 1, FLAGS(flow, scc_rule), ENUM_##D, ENUM_##A, ENUM_##B)
#define SCALAR_K(name, flow, scc_rule, result)                                                     \
    ROW(name, 1, FLAGS(flow, scc_rule) | EMU_PARTIAL, EMU_I32, EMU_I16)
#define SCALAR_C(name, A, B, flow, condition) ROW(name, 0, EMU_WRITES_SCC, ENUM_##A, ENUM_##B)
#define SAVE_EXEC(name, expression) ROW(name, 1, EMU_READS_EXEC | EMU_WRITES_SCC, EMU_B64, EMU_B64)
#define WRITE_EXEC(name, expression) SAVE_EXEC(name, expression)
const struct emu_opcode emu_scalar_opcodes[] = {
#include "scalar.def"
#include "saveexec.def"
    {0}};
