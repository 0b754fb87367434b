/* SPDX-License-Identifier: Apache-2.0 */
/* Functions are decoded whole when one of their instructions is first asked for. */
#include <stdio.h>
#include <string.h>

#include "../../reference/memory.h"
#include "object.h"
#include "wave.h"

enum { LINE = 512 };
#define FUNCTION_LIMIT (UINT64_C(64) << 20)

static const struct emu_insn *run_no_instruction(struct emu_wave *w, const struct emu_insn *i) {
    return emu_fault(w, i, EMU_BAD_CODE, -1, "the bytes here are no gfx942 instruction");
}

/* Execution went on behind a function's last instruction: into the next function, if there is one. */
static const struct emu_insn *run_on(struct emu_wave *w, const struct emu_insn *i) {
    struct emu_error error;
    const struct emu_insn *const next = emu_code_at(w->group->launch->kernel->code, i->pc, &error);
    return next != NULL ? next : emu_fault(w, i, EMU_BAD_CODE, -1, "%s", error.text);
}

static int ensure_disassembler(struct emu_code *code, struct emu_error *error) {
    if (code->disassembler == NULL) code->disassembler = emu_disassembler_create();
    return code->disassembler != NULL
               ? 0
               : emu_refuse(error, "this LLVM has no disassembler for gfx942: install LLVM 19");
}

static void resolve_targets(struct emu_block *b, size_t n, const struct emu_function *f) {
    for (size_t i = 0; i < n; i++)
        for (unsigned o = 0; o < b->insns[i].n_operands; o++) {
            if (b->insns[i].operand[o].kind != EMU_LABEL) continue;
            const uint64_t pc =
                b->insns[i].pc + b->insns[i].bytes + b->insns[i].operand[o].value - f->begin;
            if (pc >= f->end - f->begin || b->index[pc / 4] == UINT32_MAX) continue;
            b->insns[i].target = &b->insns[b->index[pc / 4]];
        }
}

static struct emu_block *decode(struct emu_code *code, const struct emu_function *f) {
    const uint8_t *const bytes = code->image + code->text;
    const size_t words = (f->end - f->begin) / 4;
    size_t n = 0, room = words / 2 + 16;
    struct emu_block *const b = dsv4_alloc(sizeof *b);
    b->index = dsv4_alloc(words * sizeof *b->index);
    memset(b->index, 0xff, words * sizeof *b->index);
    b->insns = dsv4_resize(NULL, room * sizeof *b->insns);
    for (uint64_t pc = f->begin; pc < f->end; n++) {
        char text[LINE];
        if (n + 1 >= room) b->insns = dsv4_resize(b->insns, (room *= 2) * sizeof *b->insns);
        b->index[(pc - f->begin) / 4] = (uint32_t)n;
        const size_t length =
            emu_disassemble(code->disassembler, bytes + pc, f->end - pc, pc, text, sizeof text);
        if (length > 0 && length <= f->end - pc) {
            emu_decode(&b->insns[n], text, pc, length);
            pc += length;
        } else {
            b->insns[n] = (struct emu_insn){.run = run_no_instruction,
                                            .checked = run_no_instruction,
                                            .pc = (uint32_t)pc,
                                            .bytes = 4};
            pc += 4;
        }
    }
    b->insns[n] = (struct emu_insn){.run = run_on, .checked = run_on, .pc = (uint32_t)f->end};
    resolve_targets(b, n, f);
    return b;
}

static struct emu_function *function_of(struct emu_code *code, uint64_t pc) {
    size_t low = 0, high = code->n_ranges;
    while (high - low > 1) {
        const size_t middle = low + (high - low) / 2;
        if (code->ranges[middle].begin <= pc)
            low = middle;
        else
            high = middle;
    }
    return &code->ranges[low];
}

const struct emu_insn *emu_code_at(struct emu_code *code, uint64_t pc, struct emu_error *error) {
    if (pc >= code->text_bytes || pc % 4 != 0) {
        emu_refuse(error, "offset 0x%llx is no place in the %llu bytes of code",
                   (unsigned long long)pc, (unsigned long long)code->text_bytes);
        return NULL;
    }
    struct emu_function *const f = function_of(code, pc);
    struct emu_block *block = f->block;
    if (block == NULL) {
        if (f->end - f->begin > FUNCTION_LIMIT) {
            emu_refuse(error, "the function at 0x%llx is larger than 64 MiB",
                       (unsigned long long)f->begin);
            return NULL;
        }
        pthread_mutex_lock(&code->lock);
        block = f->block;
        if (block == NULL && ensure_disassembler(code, error) == 0)
            f->block = block = decode(code, f);
        pthread_mutex_unlock(&code->lock);
        if (block == NULL) return NULL;
    }
    const uint32_t n = block->index[(pc - f->begin) / 4];
    if (n != UINT32_MAX) return &block->insns[n];
    emu_refuse(error, "offset 0x%llx is in the middle of an instruction", (unsigned long long)pc);
    return NULL;
}

void emu_code_text_at(struct emu_code *code, uint64_t pc, char *text, size_t size) {
    char line[LINE] = "";
    struct emu_error error;
    size_t length = 0;
    if (size == 0) return;
    if (pc < code->text_bytes) {
        pthread_mutex_lock(&code->lock);
        if (ensure_disassembler(code, &error) == 0)
            length = emu_disassemble(code->disassembler, code->image + code->text + pc,
                                     code->text_bytes - pc, pc, line, sizeof line);
        pthread_mutex_unlock(&code->lock);
    }
    const char *at = line;
    while (*at == '\t' || *at == ' ') at++;
    snprintf(text, size, "%s", length > 0 ? at : "no instruction");
    for (char *c = text; *c != '\0'; c++)
        if (*c == '\t') *c = ' ';
}
