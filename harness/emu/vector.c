/* SPDX-License-Identifier: Apache-2.0 */
#include "insn.h"

const struct emu_opcode emu_vector_opcodes[] = {{0}};
