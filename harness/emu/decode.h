/* SPDX-License-Identifier: Apache-2.0 */
/* From LLVM's disassembly to struct emu_insn. */
#ifndef DSV4_EMU_DECODE_H
#define DSV4_EMU_DECODE_H

#include <stddef.h>
#include <stdint.h>

#include "insn.h"

struct emu_disassembler;

struct emu_disassembler *emu_disassembler_create(void);
void emu_disassembler_free(struct emu_disassembler *d);
/* Text of the instruction at bytes; returns its length, 0 if there is none. */
size_t emu_disassemble(struct emu_disassembler *d, const uint8_t *bytes, size_t size, uint64_t pc,
                       char *text, size_t text_size);

/*
 * Parses one line of disassembly. An unknown mnemonic, or an operand or modifier that is not understood, gives an
 * instruction whose run faults with EMU_UNIMPLEMENTED and names the text: only executing it is an error.
 */
void emu_decode(struct emu_insn *insn, const char *text, uint64_t pc, size_t bytes);

/* The functions of such instructions: no opcode; text not understood; a form that emu_wrap refuses. */
emu_run emu_run_unknown, emu_run_not_understood, emu_run_refused;

#endif
