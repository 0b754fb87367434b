/* SPDX-License-Identifier: Apache-2.0 */
/* A wave without a kernel, and instructions without text: what a test of one handler needs. */
#ifndef DSV4_EMU_TESTS_BARE_H
#define DSV4_EMU_TESTS_BARE_H

#include <criterion/criterion.h>
#include <stdalign.h>
#include <string.h>

#include "../lanes.h"

struct bare {
    struct emu_wave wave;
    uint64_t defined[EMU_VGPRS];
    alignas(64) uint32_t v[EMU_VGPRS][EMU_LANES];
};

/* MODE as kernels start with it: nearest even, all denormals, DX10_CLAMP, IEEE. */
enum { BARE_MODE = 0x3f0 };

static inline void bare_begin(struct bare *b) {
    memset(b, 0, sizeof *b);
    b->wave.v = b->v;
    b->wave.v_defined = b->defined;
    memset(b->defined, 0xff, sizeof b->defined);
    b->wave.mode = BARE_MODE;
    emu_write_s64(&b->wave, EMU_EXEC, ~UINT64_C(0));
}

/* Registers of a type. */
static inline unsigned bare_registers(uint8_t type) {
    switch (type) {
    case EMU_B64:
    case EMU_I64:
    case EMU_U64:
    case EMU_F64:
    case EMU_2F32:
    case EMU_2B32: return 2;
    case EMU_B128: return 4;
    case EMU_B256: return 8;
    case EMU_B512: return 16;
    case EMU_B1024: return 32;
    default: return 1;
    }
}

static inline void bare_operand(struct emu_insn *i, unsigned n, unsigned reg) {
    i->operand[n] = (struct emu_operand){.kind = EMU_VGPR,
                                         .type = i->opcode->types[n],
                                         .registers = (uint8_t)bare_registers(i->opcode->types[n]),
                                         .reg = (uint16_t)reg,
                                         .select = 6};
}

/* Operands in v0, v32, v64, ...: room for the largest. */
static inline struct emu_insn bare_insn(const char *mnemonic) {
    struct emu_insn i = {0};
    i.opcode = emu_opcode_find(mnemonic);
    cr_assert(i.opcode != NULL, "%s is not in the tables", mnemonic);
    while (i.n_operands < EMU_MAX_OPERANDS && i.opcode->types[i.n_operands] != EMU_NONE) {
        bare_operand(&i, i.n_operands, 32u * i.n_operands);
        i.n_operands++;
    }
    return i;
}

static inline void bare_run(struct bare *b, const struct emu_insn *i) {
    cr_assert(i->opcode->run(&b->wave, i) == i + 1, "%s faulted", i->opcode->name);
}

/* One lane's value of a one- or two-register conversion. */
static inline uint64_t bare_convert(struct bare *b, const struct emu_insn *i, uint64_t x) {
    for (unsigned lane = 0; lane < EMU_LANES; lane++) {
        b->v[32][lane] = (uint32_t)x;
        b->v[33][lane] = (uint32_t)(x >> 32);
    }
    bare_run(b, i);
    return (uint64_t)b->v[1][63] << 32 | b->v[0][63];
}

static inline uint32_t bare_random(uint64_t *state) {
    *state = *state * UINT64_C(6364136223846793005) + UINT64_C(1442695040888963407);
    uint64_t x = *state;
    x ^= x >> 33;
    x *= UINT64_C(0xff51afd7ed558ccd);
    x ^= x >> 33;
    return (uint32_t)(x >> 16);
}

#endif
