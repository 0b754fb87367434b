/* SPDX-License-Identifier: Apache-2.0 */
/* Whether a kernel's instructions stay inside the registers that it has been given: looked at once per kernel. */
#include <pthread.h>
#include <stdio.h>

#include "group.h"

enum { REMEMBERED = 1024 };

static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static const struct emu_insn *verified[REMEMBERED]; /* entries, by a hash of their address */

static const struct emu_insn **place_of(const struct emu_insn *entry) {
    return &verified[(uintptr_t)entry / sizeof *entry % REMEMBERED];
}

static bool fits(const struct emu_kernel *kernel, const struct emu_operand *o) {
    if (o->kind != EMU_VGPR) return true;
    const uint32_t end = (uint32_t)o->reg + o->registers;
    return o->reg < EMU_AGPR ? end <= kernel->n_vgprs : end - EMU_AGPR <= kernel->n_agprs;
}

/* 0, or -1 with the fault. */
int emu_verify_registers(const struct emu_kernel *kernel, const struct emu_insn *entry,
                         struct emu_fault *fault) {
    pthread_mutex_lock(&lock);
    const bool known = *place_of(entry) == entry;
    *place_of(entry) = entry;
    pthread_mutex_unlock(&lock);
    if (known) return 0;
    const uint64_t end = kernel->entry + kernel->text_size;
    for (const struct emu_insn *i = entry; i->pc < end && i->bytes > 0; i++)
        for (unsigned n = 0; n < i->n_operands; n++) {
            if (fits(kernel, &i->operand[n])) continue;
            char line[EMU_INSN_TEXT] = "";
            emu_code_text_at(kernel->code, i->pc, line, sizeof line);
            fault->kind = EMU_BAD_CODE;
            (void)snprintf(
                fault->text, sizeof fault->text,
                "kernel %s has %u vector and %u accumulation registers, and names others "
                "at 0x%x: %s",
                kernel->name, kernel->n_vgprs, kernel->n_agprs, i->pc, line);
            pthread_mutex_lock(&lock);
            *place_of(entry) = NULL;
            pthread_mutex_unlock(&lock);
            return -1;
        }
    return 0;
}
