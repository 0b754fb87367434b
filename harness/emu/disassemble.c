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

/*
 * An instruction of one word for certain: a 32-bit encoding without literal, DPP or SDWA. LLVM tries its tables of 64-bit
 * encodings first where there are 64 bits; without them it takes two thirds of the time.
 */
static bool is_one_word(uint32_t word) {
    const uint32_t source0 = word & 0xff, source1 = word >> 8 & 0xff, op = word >> 25;
    if (op <
        0x40) { /* VOP2, VOP1, VOPC: source 0 has 9 bits; VOP2's multiply-adds with a constant have 64 */
        const uint32_t source = word & 0x1ff;
        return source != 255 && source != 249 && source != 250 && op != 0x17 && op != 0x18 &&
               op != 0x24 && op != 0x25;
    }
    if (word >> 30 != 2) return false;
    if (word >> 23 == 0x17f) return true;           /* SOPP */
    if (word >> 23 == 0x17d) return source0 != 255; /* SOP1 */
    if (word >> 28 == 0xb && word >> 23 < 0x17d)
        return (word >> 23 & 31) != 20;      /* SOPK: s_setreg_imm32 */
    return source0 != 255 && source1 != 255; /* SOP2, SOPC */
}

size_t emu_disassemble(struct emu_disassembler *d, const uint8_t *bytes, size_t size, uint64_t pc,
                       char *text, size_t text_size) {
    uint32_t word;
    if (is_reserved(bytes, size)) return 0;
    if (size > sizeof word) {
        memcpy(&word, bytes, sizeof word);
        if (is_one_word(word)) size = sizeof word;
    }
    /* LLVM reads only; its parameter is older than const. */
    return LLVMDisasmInstruction(d->context, (uint8_t *)(uintptr_t)bytes, size, pc, text,
                                 text_size);
}
