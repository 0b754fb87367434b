/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A vector instruction, given as text, against a formula for one lane: over edge values and random ones, all lanes and
 * some, with the destination in a source's place, with a scalar register among the sources.
 */
#ifndef DSV4_EMU_TESTS_VOP_H
#define DSV4_EMU_TESTS_VOP_H

#include <stdio.h>

#include "../decode.h"
#include "../wrap.h"
#include "bare.h"

/* s: up to three sources, then the destination's old value. */
typedef uint64_t vop_formula(const uint64_t s[4]);

struct vop_case {
    const char *name; /* mnemonic */
    vop_formula *formula;
    const char *modifiers; /* appended to the text, or NULL */
};

enum { VOP_SOURCES = 3, VOP_SGPR = 20 };

static inline struct emu_insn vop_decode(const char *text) {
    struct emu_insn i;
    emu_decode(&i, text, 0, 8);
    cr_assert(i.opcode != NULL, "%s: not in the tables", text);
    return i;
}

static inline bool vop_is_wide(uint8_t type) { return bare_registers(type) == 2; }

/* Edge values of all types, and random ones: few bits set, or all random. */
static inline uint64_t vop_value(uint64_t *state, bool wide) {
    static const uint32_t edges[] = {
        0,          1,          2,          31,         32,         63,         0x7f,
        0x80,       0xff,       0x7fff,     0x8000,     0xffff,     0x7fffff,   0x800000,
        0xffffff,   0x3c00,     0x7c00,     0xfc00,     0x7e00,     0x7d00,     0x03ff,
        0x80008000, 0x7fff7fff, 0x3f800000, 0xbf800000, 0x7f800000, 0xff800000, 0x7fc00000,
        0x7f800001, 0xffc12345, 0x00000400, 0x807fffff, 0x7f7fffff, 0x7fffffff, 0x80000000,
        0x80000001, 0xfffffffe, 0xffffffff,
    };
    const uint32_t r = bare_random(state);
    const size_t n = sizeof edges / sizeof *edges;
    const uint32_t low = r % 4 == 0   ? bare_random(state)
                         : r % 4 == 1 ? bare_random(state) & bare_random(state) & bare_random(state)
                                      : edges[(r >> 8) % n];
    if (!wide) return low;
    return (uint64_t)(r & 0x10000 ? edges[(r >> 17) % n] : bare_random(state)) << 32 | low;
}

struct vop_run {
    struct bare *b;
    struct emu_insn i;
    unsigned first;           /* source */
    uint64_t s[EMU_LANES][4]; /* sources and old destination, by lane */
    char text[200];
};

static inline void vop_put(struct bare *b, unsigned reg, unsigned lane, uint64_t x, bool wide) {
    b->v[reg][lane] = (uint32_t)x;
    if (wide) b->v[reg + 1][lane] = (uint32_t)(x >> 32);
}

static inline uint64_t vop_get(const struct bare *b, unsigned reg, unsigned lane, bool wide) {
    return b->v[reg][lane] | (wide ? (uint64_t)b->v[reg + 1][lane] << 32 : 0);
}

static inline size_t vop_register(char *to, size_t size, char bank, unsigned reg, bool wide) {
    return (size_t)(wide ? snprintf(to, size, "%c[%u:%u]", bank, reg, reg + 1)
                         : snprintf(to, size, "%c%u", bank, reg));
}

/* Text "name v[0:1], v[2:3], v4, ... modifiers": source n in v(2 + 2n), but the one called `scalar` in s20. */
static inline void vop_text(struct vop_run *r, const struct vop_case *c, unsigned to, int scalar) {
    const struct emu_opcode *const o = emu_opcode_find(c->name);
    cr_assert(o != NULL, "%s is not in the tables", c->name);
    size_t at = (size_t)snprintf(r->text, sizeof r->text, "%s ", c->name);
    at += vop_register(r->text + at, sizeof r->text - at, 'v', to, vop_is_wide(o->types[0]));
    r->first = o->n_destinations;
    for (unsigned n = r->first; n < EMU_MAX_OPERANDS && o->types[n] != EMU_NONE; n++) {
        const bool is_scalar = (int)(n - r->first) == scalar;
        at += (size_t)snprintf(r->text + at, sizeof r->text - at, ", ");
        at += vop_register(r->text + at, sizeof r->text - at, is_scalar ? 's' : 'v',
                           is_scalar ? VOP_SGPR : 2 + 2 * (n - r->first), vop_is_wide(o->types[n]));
    }
    if (c->modifiers != NULL) snprintf(r->text + at, sizeof r->text - at, " %s", c->modifiers);
    r->i = vop_decode(r->text);
}

static inline unsigned vop_sources(const struct vop_run *r) { return r->i.n_operands - r->first; }

static inline void vop_fill(struct vop_run *r, uint64_t *state, unsigned to, int scalar) {
    const bool wide = vop_is_wide(r->i.opcode->types[0]);
    for (unsigned lane = 0; lane < EMU_LANES; lane++) {
        vop_put(r->b, to, lane, vop_value(state, true), true);
        for (unsigned n = 0; n < vop_sources(r); n++) {
            const bool is_wide = vop_is_wide(r->i.operand[r->first + n].type);
            if ((int)n == scalar && lane > 0) {
                r->s[lane][n] = r->s[0][n];
                continue;
            }
            r->s[lane][n] = vop_value(state, is_wide);
            vop_put(r->b, 2 + 2 * n, lane, r->s[lane][n], is_wide);
            if ((int)n == scalar) emu_write_s64(&r->b->wave, VOP_SGPR, r->s[lane][n]);
        }
        r->s[lane][3] = vop_get(r->b, to, lane, wide);
    }
}

/* Lanes whose result is not the formula's; reports the first. */
static inline unsigned vop_wrong(struct vop_run *r, const struct vop_case *c, uint64_t exec,
                                 unsigned to, bool quiet) {
    const bool wide = vop_is_wide(r->i.opcode->types[0]);
    unsigned wrong = 0;
    for (unsigned lane = 0; lane < EMU_LANES; lane++) {
        const uint64_t got = vop_get(r->b, to, lane, wide);
        const uint64_t want = exec >> lane & 1 ? c->formula(r->s[lane]) : r->s[lane][3];
        if (got == want || wrong++ > 0 || quiet) continue;
        fprintf(stderr, "%s: lane %u of exec %llx: %llx %llx %llx, old %llx: got %llx, want %llx\n",
                r->text, lane, (unsigned long long)exec, (unsigned long long)r->s[lane][0],
                (unsigned long long)r->s[lane][1], (unsigned long long)r->s[lane][2],
                (unsigned long long)r->s[lane][3], (unsigned long long)got,
                (unsigned long long)want);
    }
    return wrong;
}

/* Wrong lanes over all variations. mode: MODE's value. */
static inline unsigned vop_check(struct bare *b, const struct vop_case *c, uint32_t mode,
                                 unsigned rounds, bool quiet) {
    uint64_t state = 0x9e3779b97f4a7c15u;
    unsigned wrong = 0;
    struct vop_run r = {.b = b};
    for (unsigned round = 0; round < rounds; round++) {
        const uint64_t exec = round % 3 != 1
                                  ? ~UINT64_C(0)
                                  : (uint64_t)bare_random(&state) << 32 | bare_random(&state);
        const unsigned to = round % 4 == 2 ? 2 : round % 4 == 3 ? 4 : 0;
        vop_text(&r, c, to, -1);
        const int scalar = round % 5 == 4 ? (int)(round / 5 % vop_sources(&r)) : -1;
        vop_text(&r, c, to, scalar);
        bare_begin(b);
        b->wave.mode = mode;
        vop_fill(&r, &state, 0, scalar);
        /* In place of a source: what was there is the old value. */
        const bool wide = vop_is_wide(r.i.opcode->types[0]);
        for (unsigned lane = 0; lane < EMU_LANES; lane++) r.s[lane][3] = vop_get(b, to, lane, wide);
        emu_write_s64(&b->wave, EMU_EXEC, exec);
        cr_assert(r.i.run(&b->wave, &r.i) == &r.i + 1, "%s faulted", r.text);
        wrong += vop_wrong(&r, c, exec, to, quiet || wrong > 0);
    }
    return wrong;
}

static inline void vop_check_all(const struct vop_case *cases, size_t n, uint32_t mode,
                                 unsigned rounds) {
    static struct bare b;
    unsigned wrong = 0;
    for (size_t i = 0; i < n; i++) wrong += vop_check(&b, &cases[i], mode, rounds, false) != 0;
    cr_assert_eq(wrong, 0u, "%u of %zu instructions differ from their formulas", wrong, n);
}

#endif
