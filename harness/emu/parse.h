/* SPDX-License-Identifier: Apache-2.0 */
/* What the parser of disassembly shares among its files. */
#ifndef DSV4_EMU_PARSE_H
#define DSV4_EMU_PARSE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include "insn.h"

/* A piece of a line. */
struct emu_piece {
    const char *at, *end;
};

static inline bool emu_is(struct emu_piece p, const char *word) {
    const size_t n = strlen(word);
    return (size_t)(p.end - p.at) == n && memcmp(p.at, word, n) == 0;
}

/* Takes the prefix away if it is there. */
static inline bool emu_take(struct emu_piece *p, const char *prefix) {
    const size_t n = strlen(prefix);
    if ((size_t)(p->end - p->at) < n || memcmp(p->at, prefix, n) != 0) return false;
    p->at += n;
    return true;
}

/* A decimal or hexadecimal integer with or without sign, and nothing behind it. */
bool emu_integer(struct emu_piece p, int64_t *value);

/* All of a line but how it runs; false if something in it is not understood. */
bool emu_parse(struct emu_insn *insn, const char *text, uint64_t pc, size_t bytes);

/* One operand as the type reads it; false if it is not understood. */
bool emu_operand_parse(struct emu_operand *o, struct emu_piece p, enum emu_type type);
/* hwreg(), sendmsg(), gpr_idx(): the immediate they stand for. */
bool emu_keyword_parse(struct emu_piece p, uint32_t *immediate);
/* swizzle() of ds_swizzle_b32. */
bool emu_swizzle_parse(struct emu_piece p, uint32_t *immediate);
/* tbuffer's format:[]. */
bool emu_format_parse(struct emu_piece p, uint32_t *immediate);
/* offset:4, clamp, row_shl:1 and the like; false if it is none, or not understood. */
bool emu_modifier_parse(struct emu_insn *i, struct emu_piece p);
/* vmcnt(0) and the like: replaces its field of s_waitcnt's immediate. */
bool emu_counter_parse(struct emu_piece p, uint32_t *immediate);

/* Registers of 32 bits that a value of the type fills; 0 for EMU_NONE. */
unsigned emu_type_registers(enum emu_type type);
/* Low and high word of the value in every lane; kept for good, one array per value. Thread-safe. */
const uint32_t (*emu_constant_lanes(uint64_t value))[EMU_LANES];

#endif
