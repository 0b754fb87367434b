/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Which registers hold values: every lane of a vector register and every bit of a scalar one has a bit that says so.
 *
 * A result is defined where its sources are. Only use is reported: an address, a stored value, a branch, EXEC, MODE. So
 * what compilers do with undefined values (copy them, select them away, compute with them in lanes that end up masked) is
 * no fault. insn->checked does the bookkeeping around insn->run; its fast path, all sources defined, is a handful of ANDs
 * over registers that emu_track_prepare has listed.
 *
 * A write to a part of a vector register (an FP8 pair, op_sel's half) counts as defining the lane: its other half is
 * commonly undefined until the next instruction.
 */
#include <string.h>

#include "scalar.h"

static uint64_t bits_as_lanes(const struct emu_wave *w, unsigned reg) {
    return (uint64_t)w->s_defined[reg + 1] << 32 | w->s_defined[reg];
}

uint64_t emu_defined_lanes(const struct emu_wave *w, const struct emu_operand *o) {
    uint64_t lanes = UINT64_MAX;
    if (o->kind == EMU_VGPR) {
        for (unsigned n = 0; n < o->registers; n++) lanes &= w->v_defined[o->reg + n];
    } else if (o->kind == EMU_SGPR && o->reg < EMU_SREGS) {
        if (o->type == EMU_MASK) return bits_as_lanes(w, o->reg);
        for (unsigned n = 0; n < o->registers; n++)
            if (w->s_defined[o->reg + n] != UINT32_MAX) return 0;
    } else if (o->kind == EMU_SCC) {
        return w->scc_defined ? UINT64_MAX : 0;
    }
    return lanes;
}

void emu_define_lanes(struct emu_wave *w, const struct emu_operand *o, uint64_t defined) {
    const uint64_t exec = emu_exec(w);
    for (unsigned n = 0; n < o->registers; n++) {
        if (o->kind == EMU_VGPR) {
            uint64_t *const lanes = &w->v_defined[o->reg + n];
            *lanes = (*lanes & ~exec) | (defined & exec);
        } else if (o->kind == EMU_SGPR && o->reg + n < EMU_SREGS) {
            /* A mask has zeros, which are values, for the lanes that do not execute. */
            const uint64_t bits = o->type == EMU_MASK ? (defined | ~exec) >> (32 * n)
                                                      : (uint64_t)0 - ((exec & ~defined) == 0);
            w->s_defined[o->reg + n] = (uint32_t)bits;
        }
    }
}

static bool report(struct emu_wave *w, const struct emu_insn *i, int lane, const char *what) {
    emu_fault(w, i, EMU_UNINITIALISED, lane, "%s depends on a register that nothing has written",
              what);
    return false;
}

static int lowest(uint64_t lanes) {
    int lane = 0;
    while ((lanes >> lane & 1) == 0) lane++;
    return lane;
}

bool emu_require_defined(struct emu_wave *w, const struct emu_insn *i, const struct emu_operand *o,
                         const char *what) {
    if (!w->group->launch->tracked) return true;
    const uint64_t undefined = emu_exec(w) & ~emu_defined_lanes(w, o);
    if (undefined == 0) return true;
    return report(w, i, o->kind == EMU_VGPR ? lowest(undefined) : -1, what);
}

/* ---- scalar instructions ---- */

struct bits {
    uint64_t value, undefined;
};

static struct bits scalar_source(const struct emu_wave *w, const struct emu_insn *i, int at) {
    if (at < 0) return (struct bits){0, 0};
    const struct emu_operand *const o = &i->operand[at];
    struct bits bits = {emu_scalar(w, o), 0};
    if (o->type == EMU_I16) bits.value = (uint64_t)(int16_t)o->value & UINT32_MAX;
    if (o->type == EMU_U16) bits.value = (uint16_t)o->value;
    if (o->kind == EMU_SCC) bits.undefined = !w->scc_defined;
    if (o->kind == EMU_SGPR && o->reg < EMU_SREGS)
        bits.undefined = o->registers > 1 ? ~bits_as_lanes(w, o->reg) : ~w->s_defined[o->reg];
    return bits;
}

/* The bits of the result that change when undefined bits of the sources are all zero or all one. */
static uint64_t changing(const struct emu_scalar_rule *rule, struct bits a, struct bits b,
                         bool scc) {
    uint64_t any = 0, all = UINT64_MAX;
    for (unsigned corner = 0; corner < 4; corner++) {
        const uint64_t x = (a.value & ~a.undefined) | ((corner & 1) != 0 ? a.undefined : 0);
        const uint64_t y = (b.value & ~b.undefined) | ((corner & 2) != 0 ? b.undefined : 0);
        const uint64_t result = rule->value(x, y, scc);
        any |= result;
        all &= result;
    }
    return any & ~all;
}

static uint64_t undefined_bits(const struct emu_wave *w, const struct emu_scalar_rule *rule,
                               struct bits a, struct bits b) {
    const uint64_t undefined = a.undefined | b.undefined;
    switch (rule->flow) {
    case EMU_FLOW_SELECT:
        if (!w->scc_defined) return UINT64_MAX;
        return changing(rule, a, b, w->scc);
    case EMU_FLOW_CORNERS:
    case EMU_FLOW_EXEC: return changing(rule, a, b, w->scc);
    case EMU_FLOW_SHIFT: return b.undefined != 0 ? UINT64_MAX : changing(rule, a, b, w->scc);
    case EMU_FLOW_CARRY:
        if (!w->scc_defined) return UINT64_MAX;
        return undefined | (0 - undefined);
    case EMU_FLOW_SPREAD: return undefined | (0 - undefined);
    case EMU_FLOW_EQUALITY:
        if (((a.value ^ b.value) & ~undefined) != 0) return 0;
        return undefined != 0 ? UINT64_MAX : 0;
    default: return undefined != 0 ? UINT64_MAX : 0;
    }
}

static void define_scalar(struct emu_wave *w, const struct emu_operand *o, uint64_t undefined) {
    for (unsigned n = 0; n < o->registers && o->reg + n < EMU_SREGS; n++)
        w->s_defined[o->reg + n] = (uint32_t) ~(undefined >> (32 * n));
}

static bool writes_exec(const struct emu_operand *o) {
    return o->kind == EMU_SGPR && o->reg + o->registers > EMU_EXEC;
}

static const char exec_mask[] = "the set of lanes that go on (exec)";

static const struct emu_insn *scalar_by_rule(struct emu_wave *w, const struct emu_insn *i,
                                             const struct emu_scalar_rule *rule) {
    const bool exec = rule->flow == EMU_FLOW_EXEC;
    const struct bits a = scalar_source(w, i, rule->a);
    const struct bits b = exec ? (struct bits){emu_exec(w), 0} : scalar_source(w, i, rule->b);
    const uint64_t width = rule->bits == 64 ? UINT64_MAX : UINT32_MAX;
    const uint64_t undefined = undefined_bits(w, rule, a, b) & width;
    if (undefined != 0 && (exec || (rule->result >= 0 && writes_exec(&i->operand[0])))) {
        report(w, i, -1, exec_mask);
        return NULL;
    }
    if (rule->result >= 0) define_scalar(w, &i->operand[0], exec ? 0 : undefined);
    const uint64_t result = rule->value(a.value, b.value, w->scc) & width;
    if (rule->nonzero)
        w->scc_defined = undefined == 0 || (result & ~undefined) != 0;
    else if (!rule->keeps_scc)
        w->scc_defined = undefined == 0 && (a.undefined | b.undefined) == 0;
    return i->run(w, i);
}

static const struct emu_insn *scalar_slowly(struct emu_wave *w, const struct emu_insn *i) {
    const struct emu_scalar_rule *const rule = emu_scalar_rule(i->opcode);
    if (rule != NULL) return scalar_by_rule(w, i, rule);
    for (unsigned n = 0; n < i->opcode->n_destinations; n++) {
        if (writes_exec(&i->operand[n])) {
            report(w, i, -1, exec_mask);
            return NULL;
        }
        define_scalar(w, &i->operand[n], UINT64_MAX);
    }
    if ((i->opcode->flags & EMU_WRITES_SCC) != 0) w->scc_defined = false;
    return i->run(w, i);
}

static const struct emu_insn *scalar(struct emu_wave *w, const struct emu_insn *i) {
    const struct emu_flow *const flow = &i->flow;
    uint32_t defined = w->scc_defined || !flow->reads_scc ? UINT32_MAX : 0;
    for (unsigned n = 0; n < flow->n_sgprs; n++) defined &= w->s_defined[flow->sgpr[n]];
    if (defined != UINT32_MAX) return scalar_slowly(w, i);
    for (unsigned n = 0; n < flow->n_to_sgprs; n++) w->s_defined[flow->to_sgpr[n]] = UINT32_MAX;
    w->scc_defined |= flow->writes_scc;
    return i->run(w, i);
}

/* ---- vector instructions ---- */

static bool reads_destination(const struct emu_insn *i) {
    static const char *const accumulators[] = {"v_fmac", "v_mac", "v_pk_fmac", "v_dot"};
    if ((i->opcode->flags & EMU_PARTIAL) == 0) return false;
    for (size_t n = 0; n < sizeof accumulators / sizeof *accumulators; n++)
        if (strncmp(i->opcode->name, accumulators[n], strlen(accumulators[n])) == 0) return true;
    return false;
}

/* A lane of v_cndmask needs its bit of the mask and the source that this bit selects. */
static uint64_t selected_lanes(const struct emu_wave *w, const struct emu_insn *i) {
    const struct emu_operand *const mask = &i->operand[3];
    const uint64_t on = emu_scalar(w, mask);
    const uint64_t zero = emu_defined_lanes(w, &i->operand[1]);
    const uint64_t one = emu_defined_lanes(w, &i->operand[2]);
    return emu_defined_lanes(w, mask) & ((on & one) | (~on & zero));
}

static uint64_t result_lanes(const struct emu_wave *w, const struct emu_insn *i) {
    if (strncmp(i->opcode->name, "v_cndmask", 9) == 0 && i->n_operands == 4)
        return selected_lanes(w, i);
    uint64_t lanes = UINT64_MAX;
    for (unsigned n = reads_destination(i) ? 0 : i->opcode->n_destinations; n < i->n_operands; n++)
        lanes &= emu_defined_lanes(w, &i->operand[n]);
    if ((i->opcode->flags & EMU_READS_VCC) != 0) lanes &= bits_as_lanes(w, EMU_VCC);
    return lanes;
}

static bool is_cmpx(const struct emu_insn *i) { return strncmp(i->opcode->name, "v_cmpx", 6) == 0; }

static const struct emu_insn *vector_slowly(struct emu_wave *w, const struct emu_insn *i) {
    const uint64_t lanes = result_lanes(w, i), undefined = emu_exec(w) & ~lanes;
    bool exec = is_cmpx(i);
    for (unsigned n = 0; n < i->opcode->n_destinations; n++) exec |= writes_exec(&i->operand[n]);
    if (exec && undefined != 0) {
        report(w, i, lowest(undefined), exec_mask);
        return NULL;
    }
    for (unsigned n = 0; n < i->opcode->n_destinations; n++)
        emu_define_lanes(w, &i->operand[n], lanes);
    if ((i->opcode->flags & EMU_WRITES_VCC) != 0) {
        w->s_defined[EMU_VCC] = (uint32_t)~undefined;
        w->s_defined[EMU_VCC + 1] = (uint32_t)(~undefined >> 32);
    }
    return i->run(w, i);
}

/* Whether all sources are defined; if so the results are marked. */
static inline bool vector_fast(struct emu_wave *w, const struct emu_insn *i) {
    const struct emu_flow *const flow = &i->flow;
    const uint64_t exec = emu_exec(w);
    uint64_t lanes = UINT64_MAX;
    uint32_t bits = UINT32_MAX;
    for (unsigned n = 0; n < flow->n_vgprs; n++) lanes &= w->v_defined[flow->vgpr[n]];
    for (unsigned n = 0; n < flow->n_sgprs; n++) bits &= w->s_defined[flow->sgpr[n]];
    if ((exec & ~lanes) != 0 || bits != UINT32_MAX) return false;
    for (unsigned n = 0; n < flow->n_to_vgprs; n++) w->v_defined[flow->to_vgpr[n]] |= exec;
    for (unsigned n = 0; n < flow->n_to_sgprs; n++) w->s_defined[flow->to_sgpr[n]] = UINT32_MAX;
    return true;
}

static const struct emu_insn *vector(struct emu_wave *w, const struct emu_insn *i) {
    return vector_fast(w, i) ? i->run(w, i) : vector_slowly(w, i);
}

/*
 * Instructions whose result is two words that read different words of their sources: packed pairs (op_sel and op_sel_hi
 * say which), moves, and sums of 64 bits, whose low word depends on low words alone. Compilers leave the other words
 * undefined.
 */
enum words { ALL_WORDS, PACKED, PACKED_MOVE, SAME_WORD, LOW_FOR_LOW };

static enum words words_of(const struct emu_insn *i) {
    static const struct {
        const char *name;
        enum words words;
    } rows[] = {
        {"v_mov_b64",      SAME_WORD  },
        {"v_pk_mov_b32",   PACKED_MOVE},
        {"v_mad_u64_u32",  LOW_FOR_LOW},
        {"v_mad_i64_i32",  LOW_FOR_LOW},
        {"v_lshl_add_u64", LOW_FOR_LOW},
        {"v_lshlrev_b64",  LOW_FOR_LOW}
    };
    for (size_t n = 0; n < sizeof rows / sizeof *rows; n++)
        if (strcmp(i->opcode->name, rows[n].name) == 0) return rows[n].words;
    return i->opcode->types[0] == EMU_2F32 && i->opcode->n_destinations == 1 ? PACKED : ALL_WORDS;
}

/* What a word of the result reads of operand n; false if nothing. */
static bool word_source(const struct emu_insn *i, unsigned n, unsigned word,
                        struct emu_operand *source) {
    const enum words words = words_of(i);
    const unsigned bit = n - i->opcode->n_destinations;
    *source = i->operand[n];
    if (words == PACKED_MOVE && bit != word) return false;
    if (source->registers < 2 || (words == LOW_FOR_LOW && word == 1)) return true;
    source->registers = 1;
    if (words == PACKED)
        source->reg =
            (uint16_t)(source->reg + ((unsigned)(word == 0 ? i->op_sel : i->op_sel_hi) >> bit & 1));
    if (words == PACKED_MOVE)
        source->reg = (uint16_t)(source->reg + ((unsigned)i->op_sel >> bit & 1));
    if (words == SAME_WORD) source->reg = (uint16_t)(source->reg + (word & 1));
    return true;
}

static const struct emu_insn *pair_slowly(struct emu_wave *w, const struct emu_insn *i) {
    uint64_t lanes[2] = {UINT64_MAX, UINT64_MAX};
    struct emu_operand o;
    for (unsigned word = 0; word < 2; word++)
        for (unsigned n = i->opcode->n_destinations; n < i->n_operands; n++)
            if (word_source(i, n, word, &o)) lanes[word] &= emu_defined_lanes(w, &o);
    for (unsigned word = 0; word < 2; word++) {
        o = i->operand[0];
        o.reg = (uint16_t)(o.reg + word);
        o.registers = 1;
        emu_define_lanes(w, &o, lanes[word]);
    }
    if (i->opcode->n_destinations == 2) emu_define_lanes(w, &i->operand[1], lanes[0] & lanes[1]);
    return i->run(w, i);
}

static const struct emu_insn *pair(struct emu_wave *w, const struct emu_insn *i) {
    return vector_fast(w, i) ? i->run(w, i) : pair_slowly(w, i);
}

/* ---- branches, and the few others that use what they read ---- */

static const struct emu_insn *branch_on_scc(struct emu_wave *w, const struct emu_insn *i) {
    if (w->scc_defined) return i->run(w, i);
    report(w, i, -1, "the branch condition (scc)");
    return NULL;
}

static const struct emu_insn *branch_on_vcc(struct emu_wave *w, const struct emu_insn *i) {
    const uint64_t defined = bits_as_lanes(w, EMU_VCC);
    if (defined == UINT64_MAX || (emu_s64(w, EMU_VCC) & defined) != 0) return i->run(w, i);
    report(w, i, lowest(~defined), "the branch condition (vcc)");
    return NULL;
}

static const struct emu_insn *control(struct emu_wave *w, const struct emu_insn *i) {
    for (unsigned n = i->opcode->n_destinations; n < i->n_operands; n++)
        if (!emu_require_defined(w, i, &i->operand[n], "an operand")) return NULL;
    for (unsigned n = 0; n < i->opcode->n_destinations; n++) define_scalar(w, &i->operand[n], 0);
    return i->run(w, i);
}

/* ---- preparation ---- */

/* Adds an operand's registers to the lists of sources or destinations; false if they do not fit. */
static bool list(struct emu_flow *flow, const struct emu_operand *o, bool source) {
    for (unsigned n = 0; n < o->registers; n++) {
        const unsigned limit = source ? EMU_FLOW_SOURCES : EMU_FLOW_DESTINATIONS;
        if (o->kind == EMU_VGPR) {
            uint8_t *const count = source ? &flow->n_vgprs : &flow->n_to_vgprs;
            if (*count == limit) return false;
            (source ? flow->vgpr : flow->to_vgpr)[(*count)++] = (uint16_t)(o->reg + n);
        } else if (o->kind == EMU_SGPR && o->reg + n < EMU_SREGS) {
            uint8_t *const count = source ? &flow->n_sgprs : &flow->n_to_sgprs;
            if (*count == limit) return false;
            (source ? flow->sgpr : flow->to_sgpr)[(*count)++] = (uint8_t)(o->reg + n);
        }
    }
    if (o->kind == EMU_SCC && source) flow->reads_scc = true;
    return true;
}

static bool list_pair(struct emu_insn *i) {
    const unsigned first = i->opcode->n_destinations;
    struct emu_operand o;
    i->flow = (struct emu_flow){0};
    bool fits = true;
    for (unsigned n = 0; n < first; n++) fits &= list(&i->flow, &i->operand[n], false);
    for (unsigned word = 0; word < 2; word++)
        for (unsigned n = first; n < i->n_operands; n++)
            if (word_source(i, n, word, &o)) fits &= list(&i->flow, &o, true);
    return fits;
}

static bool list_all(struct emu_insn *i) {
    const struct emu_operand vcc = {.kind = EMU_SGPR, .registers = 2, .reg = EMU_VCC};
    const uint32_t flags = i->opcode->flags;
    i->flow = (struct emu_flow){.reads_scc = (flags & EMU_READS_SCC) != 0,
                                .writes_scc = (flags & EMU_WRITES_SCC) != 0};
    bool fits = true;
    for (unsigned n = 0; n < i->n_operands; n++) {
        const bool destination = n < i->opcode->n_destinations;
        if (destination) fits &= list(&i->flow, &i->operand[n], false);
        const bool both =
            (flags & EMU_SALU) != 0 ? (flags & EMU_PARTIAL) != 0 : reads_destination(i);
        if (!destination || both) fits &= list(&i->flow, &i->operand[n], true);
    }
    if ((flags & EMU_READS_VCC) != 0) fits &= list(&i->flow, &vcc, true);
    if ((flags & EMU_WRITES_VCC) != 0) fits &= list(&i->flow, &vcc, false);
    return fits;
}

void emu_track_prepare(struct emu_insn *insn) {
    insn->checked = insn->run;
    if (insn->opcode == NULL) return;
    const uint32_t flags = insn->opcode->flags;
    const bool own_affair =
        (flags & (EMU_MEMORY | EMU_CROSS_LANE)) != 0 || insn->dpp != EMU_DPP_NONE;
    if (own_affair) return;
    if ((flags & EMU_VALU) != 0 && words_of(insn) != ALL_WORDS) {
        insn->checked = list_pair(insn) ? pair : pair_slowly;
        return;
    }
    const bool fits = list_all(insn);
    if ((flags & EMU_CONTROL) != 0) {
        if ((flags & EMU_READS_SCC) != 0)
            insn->checked = branch_on_scc;
        else if ((flags & EMU_READS_VCC) != 0)
            insn->checked = branch_on_vcc;
        else if (insn->flow.n_sgprs + insn->flow.n_to_sgprs > 0)
            insn->checked = control;
    } else if ((flags & EMU_SALU) != 0) {
        insn->checked = fits ? scalar : scalar_slowly;
    } else if ((flags & EMU_VALU) != 0) {
        insn->checked = fits ? vector : vector_slowly;
    }
}
