/* SPDX-License-Identifier: Apache-2.0 */
/* Which function executes an instruction, given its modifiers. */
#include "lanes.h"
#include "wrap.h"

emu_run *emu_wrap(const struct emu_insn *i) {
    const uint32_t flags = i->opcode->flags;
    if ((i->clamp && !(flags & EMU_CLAMPS)) || (i->omod && !(flags & EMU_OMOD))) return NULL;
    if ((i->op_sel || i->neg_lo || i->neg_hi) && !(flags & (EMU_OP_SEL | EMU_MEMORY))) return NULL;
    if (i->dpp || i->sdwa) return NULL;
    return i->opcode->run;
}
