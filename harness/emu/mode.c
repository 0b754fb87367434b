/* SPDX-License-Identifier: Apache-2.0 */
/*
 * MODE's rounding and denormals, for opcodes that compute as the host does (EMU_UNDER_MODE). In the default mode they
 * run as they are. Otherwise the host's rounding mode is set around them, and denormals of sources and results become
 * zeros of their sign where MODE says so: its single-precision fields for f32, the others for f16 and f64.
 *
 * Not emulated: divisions and mixed precision in any other mode than the default, frexp where input denormals are flushed,
 * and omod where it counts, since no document says how its result is rounded.
 */
#include <fenv.h>
#include <string.h>

#include "ieee.h"
#include "lanes.h"
#include "wrap.h"

/* The type that decides: of the result, or of the sources where the result is a mask or an integer. */
static enum emu_type number_type(const struct emu_opcode *o) {
    switch (o->types[0]) {
    case EMU_F16:
    case EMU_F32:
    case EMU_F64:
    case EMU_2F16:
    case EMU_2F32: return o->types[0];
    default: return o->types[o->n_destinations];
    }
}

static bool is_single(enum emu_type type) { return type == EMU_F32 || type == EMU_2F32; }

/* Denormals of `values`, a register of the type, to zero. f16: both halves, or the low one. */
static void flush(uint32_t *values, enum emu_type type) {
    const uint32_t halves = type == EMU_2F16 ? 2 : 1;
    if (is_single(type)) {
        EMU_EACH_LANE values[lane] = emu_flush32(values[lane], false);
        return;
    }
    for (uint32_t half = 0; half < halves; half++) {
        const uint32_t shift = 16 * half, others = ~(0xffffu << shift);
        EMU_EACH_LANE {
            const uint32_t x = emu_flush16(values[lane] >> shift & 0xffff, false);
            values[lane] = (values[lane] & others) | x << shift;
        }
    }
}

static void flush64(uint32_t *low, uint32_t *high) {
    EMU_EACH_LANE {
        const uint64_t x = emu_flush64((uint64_t)high[lane] << 32 | low[lane], false);
        low[lane] = (uint32_t)x;
        high[lane] = (uint32_t)(x >> 32);
    }
}

static bool is_number(enum emu_type type) {
    return type == EMU_F16 || type == EMU_2F16 || type == EMU_F64 || is_single(type);
}

static void flush_words(uint32_t (*words)[EMU_LANES], enum emu_type type, unsigned n) {
    if (type == EMU_F64) {
        flush64(words[0], words[1]);
        return;
    }
    for (unsigned word = 0; word < n; word++) flush(words[word], type);
}

static unsigned words_of(enum emu_type type) { return type == EMU_F64 || type == EMU_2F32 ? 2 : 1; }

/* A source with both halves of an f16 flushed: op_sel may choose either. */
static void flush_source(struct emu_wave *w, struct emu_operand *o, uint32_t (*copy)[EMU_LANES]) {
    const unsigned n = words_of(o->type);
    for (unsigned word = 0; word < n; word++) {
        const uint32_t *const words = emu_source_word(w, o, word, copy[word]);
        if (words != copy[word]) memcpy(copy[word], words, sizeof copy[word]);
    }
    flush_words(copy, o->type == EMU_F16 ? EMU_2F16 : o->type, n);
    o->kind = EMU_TEMPORARY;
    o->lanes = (const uint32_t(*)[EMU_LANES])copy;
}

/* The destination's registers, flushed in the lanes that execute. */
static void flush_destination(struct emu_wave *w, const struct emu_insn *i, enum emu_type type) {
    const unsigned n = words_of(type), reg = i->operand[0].reg;
    uint32_t copy[2][EMU_LANES];
    memcpy(copy, w->v[reg], n * sizeof *copy);
    if (type == EMU_F16 && i->op_sel >> 3 & 1) {
        uint32_t halves[EMU_LANES];
        EMU_EACH_LANE halves[lane] = copy[0][lane] >> 16;
        flush(halves, type);
        EMU_EACH_LANE copy[0][lane] = (copy[0][lane] & 0xffff) | halves[lane] << 16;
    } else {
        flush_words(copy, type, n);
    }
    for (unsigned word = 0; word < n; word++) emu_store32(w, reg + word, copy[word]);
}

static bool starts(const char *text, const char *start) {
    return strncmp(text, start, strlen(start)) == 0;
}

static bool is_emulated(const struct emu_opcode *o, bool flushes_inputs) {
    if (starts(o->name, "v_div_") || starts(o->name, "v_fma_mix") || starts(o->name, "v_pack_"))
        return false;
    return !flushes_inputs || !starts(o->name, "v_frexp");
}

static const struct emu_insn *run_unusual(struct emu_wave *w, const struct emu_insn *i) {
    static const int rounding[] = {FE_TONEAREST, FE_UPWARD, FE_DOWNWARD, FE_TOWARDZERO};
    const enum emu_type type = number_type(i->opcode);
    const bool single = is_single(type), accumulates = i->opcode->flags & EMU_PARTIAL;
    const unsigned denormals = w->mode >> (single ? EMU_DENORM_32 : EMU_DENORM_16_64) & 3;
    const bool vector = i->operand[0].kind == EMU_VGPR;
    if (!is_emulated(i->opcode, !(denormals & 1)))
        return emu_fault(
            w, i, EMU_UNIMPLEMENTED, -1,
            "%s is not emulated with MODE 0x%02x (rounding and denormals): only with 0xf0",
            i->opcode->name, (unsigned)w->mode & EMU_MODE_ARITHMETIC);

    if (i->omod != 0 && !(denormals & 2) && !(w->mode >> EMU_IEEE & 1))
        return emu_fault(
            w, i, EMU_UNIMPLEMENTED, -1,
            "an output modifier that counts (IEEE mode and denormals off) is not emulated");

    uint32_t copies[3][2][EMU_LANES];
    struct emu_insn plain = *i;
    const unsigned first = i->opcode->n_destinations;
    for (unsigned n = first; !(denormals & 1) && n < i->n_operands && n < first + 3; n++)
        if (is_number(plain.operand[n].type)) flush_source(w, &plain.operand[n], copies[n - first]);
    /* Lanes of an accumulator that execute are written anyway. */
    if (!(denormals & 1) && accumulates && type != EMU_F16) flush_destination(w, i, type);

    fesetround(rounding[w->mode >> (single ? EMU_ROUND_32 : EMU_ROUND_16_64) & 3]);
    const struct emu_insn *const next = i->opcode->run(w, &plain);
    fesetround(FE_TONEAREST);
    if (next == NULL) return NULL;
    if (!(denormals & 2) && vector && is_number(i->opcode->types[0]))
        flush_destination(w, i, i->opcode->types[0]);
    return i + 1;
}

const struct emu_insn *emu_run_mode(struct emu_wave *w, const struct emu_insn *i) {
    if ((w->mode & EMU_MODE_ARITHMETIC) == EMU_MODE_DEFAULT || !(i->opcode->flags & EMU_UNDER_MODE))
        return i->opcode->run(w, i);
    return run_unusual(w, i);
}
