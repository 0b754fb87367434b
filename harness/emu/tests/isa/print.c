/* SPDX-License-Identifier: Apache-2.0 */
/* Instructions as the assembler reads them. */
#include "isa.h"

#include <stdarg.h>
#include <string.h>

struct text {
    char *at;
    size_t size, used;
};

static void put(struct text *t, const char *format, ...) __attribute__((format(printf, 2, 3)));
static void put(struct text *t, const char *format, ...) {
    va_list list;
    va_start(list, format);
    const int n = vsnprintf(t->at + t->used, t->size - t->used, format, list);
    va_end(list);
    if (n > 0) t->used += (size_t)n < t->size - t->used ? (size_t)n : t->size - t->used - 1;
}

static void put_scalar(struct text *t, unsigned reg, unsigned bits) {
    if (reg == ISA_VCC && bits == 64)
        put(t, "vcc");
    else if (reg == ISA_EXEC && bits == 64)
        put(t, "exec");
    else if (bits == 64)
        put(t, "s[%u:%u]", reg, reg + 1);
    else
        put(t, "s%u", reg);
}

static void put_operand(struct text *t, const struct isa_operand *o, enum isa_type type) {
    if (o->neg) put(t, "-");
    if (o->abs) put(t, "|");
    if (o->sext) put(t, "sext(");
    if (o->kind == ISA_BITS)
        put(t, "%s", o->text);
    else if (o->kind == ISA_S)
        put_scalar(t, o->reg, isa_bits(type));
    else if (isa_bits(type) == 64)
        put(t, "v[%u:%u]", o->reg, o->reg + 1);
    else
        put(t, "v%u", o->reg);
    if (o->sext) put(t, ")");
    if (o->abs) put(t, "|");
}

static void put_dpp(struct text *t, const struct isa_instance *i) {
    static const char *const names[DPP_KINDS] = {
        [DPP_ROW_SHL] = "row_shl:%u",
        [DPP_ROW_SHR] = "row_shr:%u",
        [DPP_ROW_ROR] = "row_ror:%u",
        [DPP_WAVE_SHL] = "wave_shl:1",
        [DPP_WAVE_ROL] = "wave_rol:1",
        [DPP_WAVE_SHR] = "wave_shr:1",
        [DPP_WAVE_ROR] = "wave_ror:1",
        [DPP_ROW_MIRROR] = "row_mirror",
        [DPP_ROW_HALF_MIRROR] = "row_half_mirror",
        [DPP_BCAST15] = "row_bcast:15",
        [DPP_BCAST31] = "row_bcast:31",
        [DPP_NEWBCAST] = "row_newbcast:%u",
    };
    const unsigned a = i->dpp_argument;
    put(t, " ");
    if (i->dpp == DPP_QUAD_PERM) {
        put(t, "quad_perm:[%u,%u,%u,%u]", a & 3, a >> 2 & 3, a >> 4 & 3, a >> 6 & 3);
    } else {
        const char *const name = names[i->dpp];
        const char *const colon = strstr(name, ":%u");
        if (colon != NULL)
            put(t, "%.*s:%u", (int)(colon - name), name, a);
        else
            put(t, "%s", name);
    }
    put(t, " row_mask:0x%x bank_mask:0x%x", i->row_mask, i->bank_mask);
    if (i->bound_ctrl) put(t, " bound_ctrl:0");
}

static void put_sdwa(struct text *t, const struct isa_instance *i) {
    static const char *const select[] = {"BYTE_0", "BYTE_1", "BYTE_2", "BYTE_3",
                                         "WORD_0", "WORD_1", "DWORD"};
    static const char *const unused[] = {"UNUSED_PAD", "UNUSED_SEXT", "UNUSED_PRESERVE"};
    if (i->row->form != VOPC && (i->row->flags & (BYTES | WORDS)) == 0)
        put(t, " dst_sel:%s dst_unused:%s", select[i->dst_sel], unused[i->dst_unused]);
    put(t, " src0_sel:%s", select[i->s[0].select]);
    if (i->row->s[1] != NONE) put(t, " src1_sel:%s", select[i->s[1].select]);
}

static void put_bits(struct text *t, const char *name, unsigned bits, unsigned n, bool always,
                     unsigned neutral) {
    if (!always && bits == neutral) return;
    put(t, " %s:[", name);
    for (unsigned i = 0; i < n; i++) put(t, "%s%u", i ? "," : "", bits >> i & 1);
    put(t, "]");
}

static void put_modifiers(struct text *t, const struct isa_instance *i) {
    const struct isa_row *const row = i->row;
    const unsigned n = row->s[2] != NONE ? 3 : row->s[1] != NONE ? 2 : 1;
    if (row->form == VOP3P) {
        put_bits(t, "op_sel", i->op_sel, n, false, 0);
        put_bits(t, "op_sel_hi", i->op_sel_hi & ((1u << n) - 1), n, false, (1u << n) - 1);
        put_bits(t, "neg_lo", i->neg_lo, n, false, 0);
        put_bits(t, "neg_hi", i->neg_hi, n, false, 0);
    } else if ((row->flags & OPSEL) != 0 && i->op_sel != 0) {
        put_bits(t, "op_sel", (i->op_sel & 7u) | (i->op_sel & 8u ? 1u << n : 0), n + 1, true, 0);
    } else if ((row->flags & OPSEL_D) != 0 && i->op_sel != 0) {
        put(t, " op_sel:[0,0,1]");
    } else if ((row->flags & OPSEL_B) != 0 && i->op_sel != 0) {
        put_bits(t, "op_sel", i->op_sel, 4, true, 0);
    }
    if (i->clamp) put(t, " clamp");
    if (i->omod != 0) put(t, " %s", i->omod == 1 ? "mul:2" : i->omod == 2 ? "mul:4" : "div:2");
    if (i->dpp != DPP_NONE) put_dpp(t, i);
    if (strcmp(i->suffix, "_sdwa") == 0) put_sdwa(t, i);
}

void isa_instance_print(char *text, size_t size, const struct isa_instance *i) {
    const struct isa_row *const row = i->row;
    struct text t = {text, size, 0};
    const char *separator = " ";
    put(&t, "%s%s", row->name, i->suffix);
    if (row->d != NONE && row->form != VOPC) {
        put(&t, "%s", separator);
        put_operand(&t, &i->d, row->d);
        separator = ", ";
    }
    if (row->form == VOPC || (row->flags & CARRY_OUT) != 0) {
        put(&t, "%s", separator);
        put_scalar(&t, i->mask_out, 64);
        separator = ", ";
    }
    for (unsigned n = 0; n < 3 && row->s[n] != NONE; n++) {
        put(&t, "%s", separator);
        put_operand(&t, &i->s[n], row->s[n]);
        separator = ", ";
    }
    if ((row->flags & CARRY_IN) != 0) {
        put(&t, ", ");
        put_scalar(&t, i->mask_in, 64);
    }
    put_modifiers(&t, i);
}
