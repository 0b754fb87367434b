/* SPDX-License-Identifier: Apache-2.0 */
#include "access.h"

const struct emu_opcode emu_buffer_opcodes[] = {{0}};
