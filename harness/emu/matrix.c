/* SPDX-License-Identifier: Apache-2.0 */
#include "insn.h"

const struct emu_opcode emu_matrix_opcodes[] = {{0}};
