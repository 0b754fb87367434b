/* SPDX-License-Identifier: Apache-2.0 */
/* The functions of dot.c, for the table in matrix.c. */
#ifndef DSV4_EMU_DOT_H
#define DSV4_EMU_DOT_H

#include "insn.h"

#define DOT(name, function, to, from, flags) emu_run emu_##name;
#define ACCUMULATE DOT
#include "dot.def"
#undef DOT
#undef ACCUMULATE

#endif
