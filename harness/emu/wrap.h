/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What stands around an opcode's function: DPP, SDWA, a MODE other than the default.
 *
 * An opcode's function sees plain operands and computes with round to nearest even and all denormals; these wrappers
 * make that true. DPP instructions (i->dpp) keep w->v_defined themselves, whatever their opcode's flags say; SDWA
 * instructions with dst_unused PRESERVE keep a part of their destination (as EMU_PARTIAL).
 */
#ifndef DSV4_EMU_WRAP_H
#define DSV4_EMU_WRAP_H

#include "wave.h"

/*
 * The function that executes a decoded instruction, for insn->run: called once by the decoder, after all else is set.
 * NULL: a form (modifier, operand) of the instruction that is not emulated.
 *
 * VOP3P's op_sel_hi counts as written: the decoder sets all ones where the text has none, but zero for v_fma_mix*.
 */
emu_run *emu_wrap(const struct emu_insn *i);

/* Each runs i->opcode->run in its way. */
emu_run emu_run_mode, emu_run_dpp, emu_run_sdwa;

/* The bits of MODE that opcodes leave to emu_run_mode, and their default. */
enum {
    EMU_MODE_ARITHMETIC = 0xff, /* rounding and denormals */
    EMU_MODE_DEFAULT = 0xf0
};

#endif
