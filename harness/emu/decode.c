/* SPDX-License-Identifier: Apache-2.0 */
#include "decode.h"

#include "parse.h"
#include "wrap.h"

enum { MNEMONIC = 48 };

const struct emu_insn *emu_run_unknown(struct emu_wave *w, const struct emu_insn *i) {
    return emu_fault(w, i, EMU_UNIMPLEMENTED, -1, "the instruction is not implemented");
}

const struct emu_insn *emu_run_not_understood(struct emu_wave *w, const struct emu_insn *i) {
    return emu_fault(w, i, EMU_UNIMPLEMENTED, -1,
                     "the decoder does not understand an operand or modifier of the instruction");
}

const struct emu_insn *emu_run_refused(struct emu_wave *w, const struct emu_insn *i) {
    return emu_fault(w, i, EMU_UNIMPLEMENTED, -1,
                     "this form of the instruction is not implemented, though others are");
}

static bool starts(const char *text, const char *prefix) {
    return strncmp(text, prefix, strlen(prefix)) == 0;
}

static bool ends(const char *text, const char *suffix) {
    const size_t n = strlen(text), m = strlen(suffix);
    return n >= m && strcmp(text + n - m, suffix) == 0;
}

/* The next piece up to a space or comma outside brackets; `comma` says which of them ended it. */
static bool next_piece(const char **text, struct emu_piece *p, bool *comma) {
    const char *at = *text;
    int depth = 0;
    while (*at == ' ' || *at == '\t') at++;
    p->at = at;
    for (; *at != '\0' && *at != '\n'; at++) {
        if (*at == '(' || *at == '[') depth++;
        if (*at == ')' || *at == ']') depth--;
        if (depth <= 0 && (*at == ',' || *at == ' ')) break;
    }
    p->end = at;
    *comma = *at == ',';
    *text = at + *comma;
    return p->at < p->end;
}

/* Where a scalar load's constant offset stands among the operands. */
static bool is_scalar_memory(const char *mnemonic) {
    return starts(mnemonic, "s_load_") || starts(mnemonic, "s_store_") ||
           starts(mnemonic, "s_buffer_") || starts(mnemonic, "s_scratch_") ||
           starts(mnemonic, "s_atomic_") || starts(mnemonic, "s_atc_probe") ||
           starts(mnemonic, "s_dcache_discard");
}

static bool is_branch(const char *mnemonic) {
    return strcmp(mnemonic, "s_branch") == 0 || strcmp(mnemonic, "s_call_b64") == 0 ||
           (starts(mnemonic, "s_cbranch_") && strcmp(mnemonic, "s_cbranch_join") != 0 &&
            !ends(mnemonic, "_fork"));
}

static bool parse_label(struct emu_operand *o, struct emu_piece p) {
    int64_t n;
    if (!emu_integer(p, &n) || n < INT16_MIN || n > UINT16_MAX) return false;
    *o = (struct emu_operand){.kind = EMU_LABEL, .select = 6};
    o->value = (uint64_t)((int64_t)(int16_t)n * 4);
    return true;
}

/* An immediate without type, or SOPK's: handlers look for it in one place. */
static void note_immediate(struct emu_insn *i, const char *mnemonic, struct emu_piece p) {
    int64_t n;
    if (!emu_integer(p, &n)) return;
    const unsigned type = i->operand[i->n_operands].type;
    if (starts(mnemonic, "s_") &&
        (type == EMU_NONE || type == EMU_I16 || type == EMU_U16 || type == EMU_B16))
        i->immediate = (uint32_t)n;
}

static bool parse_operand(struct emu_insn *i, const char *mnemonic, struct emu_piece p) {
    if (i->n_operands == EMU_MAX_OPERANDS) return false;
    struct emu_operand *const o = &i->operand[i->n_operands];
    const enum emu_type type =
        i->opcode != NULL ? (enum emu_type)i->opcode->types[i->n_operands] : EMU_NONE;
    int64_t n;
    if (is_branch(mnemonic) && parse_label(o, p)) return true;
    if (emu_keyword_parse(p, &i->immediate)) {
        *o = (struct emu_operand){.kind = EMU_CONSTANT, .select = 6, .value = i->immediate};
        o->lanes = emu_constant_lanes(o->value);
        return true;
    }
    if (is_scalar_memory(mnemonic) && i->n_operands > 0 && emu_integer(p, &n)) {
        i->offset = (int32_t)n;
        *o = (struct emu_operand){.kind = EMU_OFF, .select = 6};
        return true;
    }
    if (!emu_operand_parse(o, p, type)) {
        *o = (struct emu_operand){.kind = EMU_OFF, .select = 6};
        return false;
    }
    if (!starts(mnemonic, "s_setreg")) note_immediate(i, mnemonic, p);
    return true;
}

/* The text must hold what the opcode's function will read; memory instructions look for themselves. */
static bool complete(const struct emu_insn *i) {
    if (i->opcode == NULL || (i->opcode->flags & EMU_MEMORY)) return true;
    for (unsigned n = i->n_operands; n < EMU_MAX_OPERANDS; n++)
        if (i->opcode->types[n] != EMU_NONE) return false;
    for (unsigned n = 0; n < i->n_operands; n++) {
        const struct emu_operand *const o = &i->operand[n];
        if (o->kind != EMU_VGPR && o->kind != EMU_SGPR && o->kind != EMU_SCC) continue;
        if (o->registers < emu_type_registers((enum emu_type)o->type)) return false;
    }
    return true;
}

/* Packed 32-bit instructions take the low word of a constant; what the high word holds is not documented. */
static bool reads_high_word_of_constant(const struct emu_insn *i) {
    if (i->opcode == NULL) return false;
    const unsigned first = i->opcode->n_destinations;
    for (unsigned n = first; n < i->n_operands; n++) {
        const struct emu_operand *const o = &i->operand[n];
        if (o->kind != EMU_CONSTANT || (o->type != EMU_2F32 && o->type != EMU_2B32)) continue;
        if (((unsigned)(i->op_sel | i->op_sel_hi) >> (n - first) & 1) && o->value != 0) return true;
    }
    return false;
}

static void set_defaults(struct emu_insn *i, const char *mnemonic) {
    for (unsigned n = 0; n < EMU_MAX_OPERANDS; n++)
        i->operand[n] = (struct emu_operand){.kind = EMU_OFF, .select = 6};
    i->row_mask = i->bank_mask = 15;
    i->dst_sel = 6;
    i->sdwa = ends(mnemonic, "_sdwa");
    if (starts(mnemonic, "v_pk_") || starts(mnemonic, "v_dot")) i->op_sel_hi = 7;
    if (strcmp(mnemonic, "s_waitcnt") == 0) i->immediate = 0xCF7F;
    if (starts(mnemonic, "tbuffer_")) i->immediate = 1;
}

static bool parse_line(struct emu_insn *i, const char *text, const char *mnemonic) {
    struct emu_piece p;
    bool comma = false, operand = true;
    for (bool first = true; next_piece(&text, &p, &comma); first = false) {
        if (operand && parse_operand(i, mnemonic, p)) {
            i->n_operands++;
        } else {
            /* Behind a comma there must be an operand; instructions may have modifiers alone. */
            if ((operand && !first) || !emu_modifier_parse(i, p)) return false;
        }
        operand = comma;
    }
    return !ends(mnemonic, "_dpp") || i->dpp != EMU_DPP_NONE;
}

bool emu_parse(struct emu_insn *insn, const char *text, uint64_t pc, size_t bytes) {
    char mnemonic[MNEMONIC];
    size_t n = 0;
    while (*text == ' ' || *text == '\t') text++;
    while (n < sizeof mnemonic - 1 && *text > ' ') mnemonic[n++] = *text++;
    mnemonic[n] = '\0';
    *insn = (struct emu_insn){.pc = (uint32_t)pc, .bytes = (uint32_t)bytes};
    insn->opcode = emu_opcode_find(mnemonic);
    set_defaults(insn, mnemonic);
    return *text <= ' ' && parse_line(insn, text, mnemonic) && complete(insn) &&
           !reads_high_word_of_constant(insn);
}

void emu_decode(struct emu_insn *insn, const char *text, uint64_t pc, size_t bytes) {
    const bool understood = emu_parse(insn, text, pc, bytes);
    emu_run *const run = insn->opcode == NULL ? emu_run_unknown
                         : understood         ? emu_wrap(insn)
                                              : emu_run_not_understood;
    insn->checked = insn->run = run != NULL ? run : emu_run_refused;
    if (insn->opcode != NULL && understood && run != NULL) emu_track_prepare(insn);
}
