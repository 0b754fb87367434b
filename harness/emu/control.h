/* SPDX-License-Identifier: Apache-2.0 */
#ifndef DSV4_EMU_CONTROL_H
#define DSV4_EMU_CONTROL_H

#include "wave.h"

/* Rows of emu_control_opcodes that do not live in control.c. */
emu_run emu_run_set_gpr_idx_on, emu_run_set_gpr_idx_off, emu_run_set_gpr_idx_idx,
    emu_run_set_gpr_idx_mode; /* index.c */
emu_run emu_run_movrels_b32, emu_run_movrels_b64, emu_run_movreld_b32,
    emu_run_movreld_b64;                                      /* index.c */
emu_run emu_run_getreg, emu_run_setreg, emu_run_setreg_imm32; /* hwreg.c */

#endif
