/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The emulator's readers. The first byte chooses: code objects and bundles as files, machine code as bare words, or
 * disassembly as text. A refusal says why, in one line; what is accepted is decoded and explained without a crash.
 */
#include "fuzz.h"

#include "../../../reference/memory.h"
#include "../../emu/code.h"
#include "../../emu/decode.h"

enum { MOST = 64 };

static void walk(struct emu_code *code, uint64_t pc) {
    struct emu_error error = {0};
    char text[64];
    const struct emu_insn *i = emu_code_at(code, pc, &error);
    if (i == NULL && error.text[0] == '\0') abort();
    for (unsigned n = 0; i != NULL && i->bytes > 0 && n < MOST; n++, i++) {
        if (i->run == NULL || i->checked == NULL || emu_code_at(code, i->pc, &error) != i) abort();
        emu_code_text_at(code, i->pc, text, sizeof text);
        if (n % 16 == 0) emu_code_line_at(code, i->pc, text, sizeof text);
    }
}

static void fuzz_file(const uint8_t *data, size_t size) {
    struct emu_error error = {0};
    struct emu_code *const code = emu_code_load(data, size, &error);
    const struct emu_kernel *k;
    if (code == NULL && (error.text[0] == '\0' || strchr(error.text, '\n') != NULL)) abort();
    for (size_t i = 0; code != NULL && i < MOST && (k = emu_code_kernel_at(code, i)) != NULL; i++) {
        size_t bytes;
        emu_code_symbol(code, k->name, &bytes);
        walk(code, k->entry);
    }
    if (code != NULL) walk(code, 0);
    emu_code_free(code);
}

static void fuzz_words(const uint8_t *data, size_t size) {
    static struct emu_disassembler *d;
    if (d == NULL) d = emu_disassembler_create();
    for (size_t at = 0; at + 4 <= size;) {
        struct emu_insn i;
        char text[512];
        const size_t n = emu_disassemble(d, data + at, size - at, at, text, sizeof text);
        if (n > size - at) abort();
        if (n > 0) emu_decode(&i, text, at, n);
        at += n > 0 ? n : 4;
    }
}

static void fuzz_text(const uint8_t *data, size_t size) {
    struct emu_insn i;
    char *const text = dsv4_alloc(size + 1);
    memcpy(text, data, size);
    emu_decode(&i, text, 0, 4);
    if (i.run == NULL || i.checked == NULL || i.n_operands > EMU_MAX_OPERANDS) abort();
    dsv4_free(text);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    if (size == 0) return 0;
    switch (data[0] % 3) {
    case 0: fuzz_file(data + 1, size - 1); break;
    case 1: fuzz_words(data + 1, size - 1); break;
    default: fuzz_text(data + 1, size - 1);
    }
    return 0;
}
