/* SPDX-License-Identifier: Apache-2.0 */
/* Assembles programs into one code object, runs them on the emulator and on the model, and compares. */
#include "isa.h"
#include "assemble.h"
#include "frame.h"
#include "number.h"

#include <stdlib.h>
#include <string.h>

#include "../../code.h"
#include "../../machine.h"
#include "../../space.h"

static const char *mode_text(char text[64], uint32_t mode) {
    snprintf(text, 64, "round %u/%u denorm %u/%u dx10 %u ieee %u ovfl %u", mode & 3, mode >> 2 & 3,
             mode >> 4 & 3, mode >> 6 & 3, mode >> 8 & 1, mode >> 9 & 1, mode >> 23 & 1);
    return text;
}

/* The instruction that last wrote a register, or the last one. */
static const struct isa_instance *writer(const struct isa_program *p, enum isa_register_kind kind,
                                         unsigned reg) {
    const struct isa_instance *found = &p->list[p->n - 1];
    for (size_t n = 0; n < p->n; n++) {
        const struct isa_instance *const i = &p->list[n];
        const bool mask = kind == ISA_S && (i->mask_out == reg || i->mask_out + 1 == reg);
        const unsigned words = isa_bits(i->row->d) / 32;
        if (mask || (i->d.kind == kind && reg >= i->d.reg && reg < i->d.reg + words)) found = i;
    }
    return found;
}

static void describe(char *text, size_t size, const struct isa_program *p,
                     const struct isa_state *in, enum isa_register_kind kind, unsigned reg,
                     int lane, uint32_t want, uint32_t got) {
    if (p->n == 0) {
        snprintf(text, size,
                 "%s: %s%u lane %d want 0x%08x got 0x%08x; v2 0x%08x v4 0x%08x before 0x%08x",
                 p->name, kind == ISA_V ? "v" : "s", reg, lane, want, got,
                 in->v[2][lane < 0 ? 0 : lane], in->v[4][lane < 0 ? 0 : lane],
                 kind == ISA_V ? in->v[reg][lane] : in->s[reg]);
        return;
    }
    const struct isa_instance *const i = writer(p, kind, reg);
    char instruction[256], mode[64];
    isa_instance_print(instruction, sizeof instruction, i);
    int n = snprintf(text, size, "%s: %s%u", instruction, kind == ISA_V ? "v" : "s", reg);
    if (lane >= 0) n += snprintf(text + n, size - (size_t)n, " lane %d", lane);
    n += snprintf(text + n, size - (size_t)n, " want 0x%08x got 0x%08x; before:", want, got);
    for (unsigned s = 0; s < 4; s++) {
        const struct isa_operand *const o = s < 3 ? &i->s[s] : &i->d;
        if ((s < 3 ? i->row->s[s] : i->row->d) == NONE || o->kind == ISA_BITS) continue;
        if (s == 3 && i->row->form == VOPC) continue;
        const unsigned l = lane < 0 ? 0 : (unsigned)lane;
        const uint32_t low = o->kind == ISA_V ? in->v[o->reg][l] : in->s[o->reg];
        const uint32_t high = o->kind == ISA_V ? in->v[o->reg + 1][l] : in->s[o->reg + 1];
        n += snprintf(text + n, size - (size_t)n, " %s%u=0x%08x'%08x", o->kind == ISA_V ? "v" : "s",
                      o->reg, high, low);
    }
    snprintf(text + n, size - (size_t)n, " vcc=0x%08x'%08x exec=0x%08x'%08x scc=%d %s",
             in->s[ISA_VCC + 1], in->s[ISA_VCC], in->s[ISA_EXEC + 1], in->s[ISA_EXEC], in->scc,
             mode_text(mode, in->mode));
}

static bool same(uint32_t want, uint32_t got, uint32_t open) { return ((want ^ got) & ~open) == 0; }

static double value_of(enum isa_type type, uint64_t bits) {
    const uint64_t wide = type == F64 ? bits : isa_convert(F64, type, 0x3f0, 0, bits);
    double value;
    memcpy(&value, &wide, sizeof value);
    return value;
}

/* Whether a register is within its instruction's bound; of a double both halves are looked at. */
static bool near(const struct isa_program *p, const struct isa_state *want,
                 const struct isa_state *got, unsigned reg, unsigned lane) {
    if (p->n == 0) return false;
    const struct isa_row *const row = writer(p, ISA_V, reg)->row;
    if ((row->flags & APPROXIMATE) == 0) return false;
    const bool wide = row->d == F64;
    const unsigned low = wide ? reg & ~1u : reg;
    uint64_t a = want->v[low][lane], b = got->v[low][lane];
    if (wide) a |= (uint64_t)want->v[low + 1][lane] << 32;
    if (wide) b |= (uint64_t)got->v[low + 1][lane] << 32;
    if (row->d == F16 && (a | b) >> 16 != 0) return false;
    if ((row->flags & ANGLE) != 0) {
        const double difference = value_of(row->d, a) - value_of(row->d, b);
        const double bound = row->d == F16 ? 1.0 / 1024 : 1.0 / (1 << 20);
        return difference <= bound && difference >= -bound;
    }
    return isa_distance(row->d, a, b) <= (wide ? UINT64_C(1) << 29 : 1);
}

/* Whether the states agree; if not, what differs. */
static bool compare(char *text, size_t size, const struct isa_program *p,
                    const struct isa_state *in, const struct isa_state *want,
                    const struct isa_state *got) {
    for (unsigned reg = ISA_FIRST_V; reg < ISA_V_END; reg++)
        for (unsigned lane = 0; lane < ISA_LANES; lane++)
            if (!same(want->v[reg][lane], got->v[reg][lane], want->open[reg][lane]) &&
                !near(p, want, got, reg, lane)) {
                describe(text, size, p, in, ISA_V, reg, (int)lane, want->v[reg][lane],
                         got->v[reg][lane]);
                return false;
            }
    for (unsigned reg = ISA_FIRST_S; reg < ISA_EXEC + 2; reg++) {
        if (reg >= ISA_S_END && reg != ISA_VCC && reg != ISA_VCC + 1 && reg < ISA_EXEC) continue;
        if (!same(want->s[reg], got->s[reg], want->open_s[reg])) {
            describe(text, size, p, in, ISA_S, reg, -1, want->s[reg], got->s[reg]);
            return false;
        }
    }
    for (unsigned at = 0; at < ISA_MEMORY_BYTES; at++)
        if (want->memory[at] != got->memory[at]) {
            snprintf(text, size, "%s: byte %u of its memory: want 0x%02x got 0x%02x, before 0x%02x",
                     p->name, at, want->memory[at], got->memory[at], in->memory[at]);
            return false;
        }
    if (want->scc != got->scc && want->open_s[0] == 0) {
        describe(text, size, p, in, ISA_S, 0, -1, want->scc, got->scc);
        return false;
    }
    return true;
}

enum outcome { SAME, DIFFERENT, REFUSED, BROKEN };

static enum outcome launch(const struct emu_kernel *kernel, unsigned waves, void *in, void *out,
                           char *text, size_t size) {
    static struct emu_fault fault;
    const void *const arguments[] = {in, out};
    struct emu_request request = {
        .kernel = kernel,
        .grid = {waves,     1, 1},
        .block = {ISA_LANES, 1, 1},
        .arguments = arguments,
        .argument_bytes = sizeof arguments
    };
    memset(&fault, 0, sizeof fault);
    if (emu_machine_run(&request, &fault) == 0) return SAME;
    snprintf(text, size, "%.900s", fault.text);
    return fault.kind == EMU_UNIMPLEMENTED ? REFUSED : BROKEN;
}

static enum outcome run_program(const struct emu_code *code, const struct isa_program *p,
                                size_t index, char *text, size_t size) {
    static struct isa_state before, want, got;
    char name[32];
    snprintf(name, sizeof name, "k%zu", index);
    const struct emu_kernel *const kernel = emu_code_kernel(code, name);
    if (kernel == NULL) {
        snprintf(text, size, "there is no kernel %s in the code object", name);
        return BROKEN;
    }
    const size_t bytes = p->waves * FRAME_WORDS * sizeof(uint32_t);
    uint32_t *const in = emu_space_alloc(bytes, EMU_REGION_DEVICE);
    uint32_t *const out = emu_space_alloc(bytes, EMU_REGION_DEVICE);
    for (unsigned wave = 0; wave < p->waves; wave++) {
        p->fill(&before, p, wave);
        frame_pack(in + (size_t)wave * FRAME_WORDS, &before);
        frame_pack(out + (size_t)wave * FRAME_WORDS, &before);
    }
    enum outcome outcome = launch(kernel, p->waves, in, out, text, size);
    for (unsigned wave = 0; wave < p->waves && outcome == SAME; wave++) {
        p->fill(&before, p, wave);
        want = before;
        isa_model_run(&want, p);
        frame_unpack(&got, out + (size_t)wave * FRAME_WORDS);
        if (!compare(text, size, p, &before, &want, &got)) outcome = DIFFERENT;
    }
    emu_space_free(in);
    emu_space_free(out);
    return outcome;
}

int isa_execute(struct isa_result *result, const struct isa_program *const *programs, size_t n) {
    struct emu_error error = {0};
    size_t bytes = 0;
    memset(result, 0, sizeof *result);
    char source[] = P_tmpdir "/dsv4-isa-XXXXXX";
    FILE *const file = isa_source_open(source);
    if (file == NULL) return -1;
    fprintf(file,
            "\t.amdgcn_target \"amdgcn-amd-amdhsa--gfx942\"\n\t.amdhsa_code_object_version 5\n");
    for (size_t i = 0; i < n; i++) frame_print(file, programs[i], i);
    frame_print_end(file, n);
    fclose(file);
    void *const object = isa_assemble(source, &bytes);
    if (object == NULL) return -1;
    struct emu_code *const code = emu_code_load(object, bytes, &error);
    free(object);
    if (code == NULL) {
        fprintf(stderr, "isa: the code object was not loaded: %s\n", error.text);
        return -1;
    }
    for (size_t i = 0; i < n; i++) {
        char text[1024] = "";
        const enum outcome outcome = run_program(code, programs[i], i, text, sizeof text);
        result->ran++;
        if (outcome == SAME) continue;
        if (outcome == REFUSED)
            result->refused++;
        else
            result->failed++;
        /* A mnemonic that no table of the emulator has is no part of it yet; a form that it refuses is worth a look. */
        const struct isa_row *const row = programs[i]->list[0].row;
        const bool known = emu_opcode_find(row != NULL ? row->name : programs[i]->name) != NULL;
        if (outcome == REFUSED && known) result->forms++;
        fprintf(stderr, "%s %s: %s\n",
                outcome == DIFFERENT ? "DIFFERS"
                : outcome == BROKEN  ? "FAULTS"
                : known              ? "form refused"
                                     : "not implemented",
                programs[i]->name, text);
        if (outcome != REFUSED && result->first[0] == '\0')
            snprintf(result->first, sizeof result->first, "%s", text);
    }
    emu_code_free(code);
    return 0;
}
