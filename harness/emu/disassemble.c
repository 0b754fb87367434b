/* SPDX-License-Identifier: Apache-2.0 */
#include <pthread.h>

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

size_t emu_disassemble(struct emu_disassembler *d, const uint8_t *bytes, size_t size, uint64_t pc,
                       char *text, size_t text_size) {
    /* LLVM reads only; its parameter is older than const. */
    return LLVMDisasmInstruction(d->context, (uint8_t *)(uintptr_t)bytes, size, pc, text,
                                 text_size);
}
