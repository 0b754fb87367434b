/* SPDX-License-Identifier: Apache-2.0 */
#include <pthread.h>
#include <stdbool.h>
#include <string.h>

#include <llvm-c/Disassembler.h>
#include <llvm-c/Target.h>

#include "../../reference/memory.h"
#include "decode.h"

struct emu_disassembler {
    LLVMDisasmContextRef context;
};

static void initialise(void) {
    LLVMInitializeAMDGPUTargetInfo();
    LLVMInitializeAMDGPUTargetMC();
    LLVMInitializeAMDGPUDisassembler();
}

struct emu_disassembler *emu_disassembler_create(void) {
    static pthread_once_t once = PTHREAD_ONCE_INIT;
    pthread_once(&once, initialise);
    const LLVMDisasmContextRef context =
        LLVMCreateDisasmCPU("amdgcn-amd-amdhsa", "gfx942", NULL, 0, NULL, NULL);
    if (context == NULL) return NULL;
    struct emu_disassembler *const d = dsv4_alloc(sizeof *d);
    d->context = context;
    return d;
}

void emu_disassembler_free(struct emu_disassembler *d) {
    if (d != NULL) LLVMDisasmDispose(d->context);
    dsv4_free(d);
}

/*
 * SDWA fields with reserved values are no instruction; LLVM takes its compiler's word for it that they do not occur, and
 * crashes. SDWA is source 0 of VOP1, VOP2 and VOPC set to 249.
 */
static bool is_reserved(const uint8_t *bytes, size_t size) {
    uint32_t words[2];
    if (size < sizeof words) return false;
    memcpy(words, bytes, sizeof words);
    if (words[0] >> 31 != 0 || (words[0] & 0x1ff) != 249) return false;
    const bool compares = words[0] >> 25 == 0x3e;
    const uint32_t selects[] = {compares ? 0 : words[1] >> 8, words[1] >> 16, words[1] >> 24};
    for (unsigned i = 0; i < 3; i++)
        if ((selects[i] & 7) == 7) return true;
    return !compares && (words[1] >> 11 & 3) == 3;
}

size_t emu_disassemble(struct emu_disassembler *d, const uint8_t *bytes, size_t size, uint64_t pc,
                       char *text, size_t text_size) {
    if (is_reserved(bytes, size)) return 0;
    /* LLVM reads only; its parameter is older than const. */
    return LLVMDisasmInstruction(d->context, (uint8_t *)(uintptr_t)bytes, size, pc, text,
                                 text_size);
}
