/* SPDX-License-Identifier: Apache-2.0 */
/* Registers that nothing wrote: reported where they are used, and not before. */
#include "../../scalar.h"
#include "kernel.h"

static void reported(const char *body, const char *text) {
    kernel_expect_fault(body, EMU_UNINITIALISED, text);
}

static void accepted(const char *body) {
    struct kernel kernel = {.body = body};
    struct emu_fault fault;
    uint32_t *const words = kernel_words(1024);
    const int status = kernel_run(&kernel, 1, 64, (void *const[4]){words}, &fault);
    cr_expect_eq(status, 0, "%s\nfor:\n%s", fault.text, body);
    kernel_free(&kernel);
}

#define OUT "s_load_dwordx2 s[6:7], s[0:1], 0x0\nv_lshlrev_b32 v1, 2, v0\ns_waitcnt lgkmcnt(0)\n"

Test(track, an_address) { reported(OUT "global_load_dword v2, v9, s[6:7]\n", "address"); }
Test(track, a_computed_address) {
    reported(OUT "v_add_u32 v9, v9, v1\nglobal_load_dword v2, v9, s[6:7]\n", "address");
}
Test(track, a_scalar_address) { reported("s_load_dword s8, s[20:21], 0x0\n", "address"); }
Test(track, a_stored_value) { reported(OUT "global_store_dword v1, v9, s[6:7]\n", "stored data"); }
Test(track, a_value_that_went_through_lds) {
    struct kernel kernel = {.body = OUT "ds_write_b32 v1, v9\nds_read_b32 v2, v1\n"
                                        "s_waitcnt lgkmcnt(0)\nglobal_store_dword v1, v2, s[6:7]\n",
                            .lds = 256};
    struct emu_fault fault;
    uint32_t *const words = kernel_words(64);
    cr_expect_eq(kernel_run(&kernel, 1, 64, (void *const[4]){words}, &fault), -1);
    cr_expect_eq(fault.kind, EMU_UNINITIALISED);
    kernel_free(&kernel);
}
Test(track, one_lane_of_a_stored_value) {
    reported(OUT "v_cmp_ne_u32 vcc, 17, v0\n"
                 "s_and_saveexec_b64 s[8:9], vcc\n"
                 "v_mov_b32 v9, 1\n"
                 "s_mov_b64 exec, s[8:9]\n"
                 "global_store_dword v1, v9, s[6:7]\n",
             "lane 17");
}
Test(track, a_branch_on_a_comparison) {
    reported("s_cmp_eq_u32 s20, 1\ns_cbranch_scc1 1f\n1:\n", "branch condition (scc)");
}
Test(track, a_branch_on_lanes) {
    reported("v_cmp_eq_u32 vcc, 1, v9\ns_cbranch_vccnz 1f\n1:\n", "branch condition (vcc)");
}
Test(track, lanes_that_go_on) {
    reported("v_cmp_eq_u32 vcc, 1, v9\ns_and_saveexec_b64 s[8:9], vcc\n", "exec");
}
Test(track, exec_itself) { reported("s_mov_b64 exec, s[20:21]\n", "exec"); }
Test(track, a_comparison_that_writes_exec) { reported("v_cmpx_eq_u32 vcc, 1, v9\n", "exec"); }
Test(track, a_jump) { reported("s_setpc_b64 s[20:21]\n", "operand"); }
Test(track, mode) { reported("s_setreg_b32 hwreg(HW_REG_MODE, 0, 4), s20\n", "operand"); }
Test(track, a_sum_passed_on) {
    reported(OUT "v_readfirstlane_b32 s8, v9\ns_add_u32 s8, s8, 1\nv_mov_b32 v2, s8\n"
                 "global_store_dword v1, v2, s[6:7]\n",
             "stored data");
}
Test(track, an_accumulator) {
    reported(OUT "v_mov_b32 v2, 1.0\nv_fmac_f32 v9, v2, v2\nglobal_store_dword v1, v9, s[6:7]\n",
             "stored data");
}
Test(track, the_word_that_is_read_of_a_pair) {
    reported(OUT "v_mov_b32 v2, 1.0\nv_mov_b32 v3, v2\nv_mov_b32 v4, v2\n"
                 "v_pk_mul_f32 v[6:7], v[2:3], v[4:5] op_sel_hi:[1,1]\n"
                 "global_store_dword v1, v7, s[6:7]\n",
             "stored data");
}
Test(track, a_high_word_of_a_sum) {
    reported(OUT "v_mov_b32 v4, 1\nv_mad_u64_u32 v[2:3], s[8:9], v0, v0, v[4:5]\n"
                 "global_store_dword v1, v3, s[6:7]\n",
             "stored data");
}

Test(track, what_is_selected_away) {
    accepted(OUT "v_mov_b32 v2, 7\nv_cmp_lt_u32 vcc, v0, v2\nv_cndmask_b32 v3, v2, v9, vcc\n"
                 "v_cndmask_b32 v3, v3, v2, vcc\nglobal_store_dword v1, v3, s[6:7]\n");
}
Test(track, the_halves_of_a_pair_of_fp8) {
    accepted(OUT "v_mov_b32 v2, 1.0\nv_cvt_pk_fp8_f32 v9, v2, v2\n"
                 "v_cvt_pk_fp8_f32 v9, v2, v2 op_sel:[0,0,1]\n"
                 "global_store_dword v1, v9, s[6:7]\n");
}
Test(track, a_comparison_made_early_and_masked) {
    accepted("v_cmp_eq_u32 vcc, 1, v9\ns_mov_b64 s[8:9], 0\ns_and_b64 vcc, vcc, s[8:9]\n"
             "s_cbranch_vccnz 1f\ns_and_saveexec_b64 s[10:11], vcc\n1:\n");
}
Test(track, a_branch_that_one_lane_decides) {
    accepted("v_cmp_eq_u32 vcc, 1, v9\ns_or_b32 vcc_lo, vcc_lo, 4\ns_cbranch_vccz 1f\n1:\n");
}
Test(track, a_mask_made_lane_by_lane) {
    accepted("v_cmp_lt_u32 vcc, 5, v0\ns_andn2_b64 s[8:9], s[20:21], exec\n"
             "s_and_b64 s[10:11], vcc, exec\ns_or_b64 s[8:9], s[8:9], s[10:11]\n"
             "s_and_saveexec_b64 s[12:13], s[8:9]\n");
}
Test(track, copies_and_arithmetic_without_use) {
    accepted("v_mov_b32 v2, v9\nv_add_u32 v3, v9, v2\ns_add_u32 s8, s20, s21\ns_mov_b64 s[10:11], "
             "s[20:21]\ns_cmp_eq_u32 s8, 0\n");
}
Test(track, the_other_word_of_a_pair) {
    accepted(OUT "v_mov_b32 v2, 1.0\nv_mov_b32 v3, v2\nv_mov_b32 v4, v2\n"
                 "v_pk_mul_f32 v[6:7], v[2:3], v[4:5] op_sel_hi:[1,0]\n"
                 "v_mad_u64_u32 v[10:11], s[8:9], v0, v0, v[4:5]\n"
                 "global_store_dword v1, v7, s[6:7]\nglobal_store_dword v1, v10, s[6:7]\n");
}
Test(track, shifted_out) {
    accepted("s_mov_b32 s8, 5\ns_lshl_b64 s[10:11], s[8:9], 32\ns_lshr_b64 s[10:11], s[10:11], 32\n"
             "s_bfe_u32 s12, s8, 0x40001\ns_lshl_b32 s13, s8, 3\ns_cmp_eq_u32 s13, 40\n"
             "s_cbranch_scc0 1f\n1:\n");
}
Test(track, tracking_can_be_switched_off) {
    setenv("DSV4_EMU", "no-uninitialised", 1);
    accepted(OUT "global_store_dword v1, v9, s[6:7]\ns_cmp_eq_u32 s20, 1\ns_cbranch_scc1 1f\n1:\n");
}

/* ---- the rules of scalar instructions, against trying all values of a few undefined bits ---- */

enum { TRIES = 200, UNDEFINED = 5 };

static uint64_t random64(uint64_t *state) {
    uint64_t x = *state += UINT64_C(0x9e3779b97f4a7c15);
    x = (x ^ x >> 30) * UINT64_C(0xbf58476d1ce4e5b9);
    x = (x ^ x >> 27) * UINT64_C(0x94d049bb133111eb);
    return x ^ x >> 31;
}

struct trial {
    struct emu_kernel kernel;
    struct emu_launch launch;
    struct emu_group group;
    struct emu_wave wave;
    struct emu_insn insn[2];
    unsigned at[UNDEFINED], n; /* undefined bits: of s[16 + at / 32] */
};

/* Operands: the result in s[8:9], sources in s[16:17] and s[18:19]; a result that is read too is s[16:17]. */
static void set_up(struct trial *t, const struct emu_opcode *opcode, uint64_t *state) {
    *t = (struct trial){.kernel = {.name = (char[]){"k"}}};
    t->launch = (struct emu_launch){.kernel = &t->kernel, .tracked = true};
    t->group.launch = &t->launch;
    t->wave.group = &t->group;
    struct emu_insn *const i = &t->insn[0];
    i->opcode = opcode;
    i->run = opcode->run;
    unsigned source = 16;
    for (unsigned n = 0; n < EMU_MAX_OPERANDS && opcode->types[n] != EMU_NONE; n++) {
        const bool wide = opcode->types[n] == EMU_B64 || opcode->types[n] == EMU_I64 ||
                          opcode->types[n] == EMU_U64;
        const bool result = n < opcode->n_destinations && (opcode->flags & EMU_PARTIAL) == 0;
        i->operand[n] = (struct emu_operand){.kind = EMU_SGPR,
                                             .type = opcode->types[n],
                                             .registers = wide ? 2 : 1,
                                             .reg = (uint16_t)(result ? 8 : source)};
        if (opcode->types[n] == EMU_I16 || opcode->types[n] == EMU_U16)
            i->operand[n] = (struct emu_operand){
                .kind = EMU_CONSTANT, .type = opcode->types[n], .value = (uint16_t)random64(state)};
        if (!result) source += 2;
        i->n_operands++;
    }
    emu_track_prepare(i);
}

static void fill(struct trial *t, uint64_t *state) {
    struct emu_wave *const w = &t->wave;
    for (unsigned reg = 0; reg < EMU_SREGS; reg++) {
        w->s[reg] = (uint32_t)random64(state) >> (random64(state) % 4 * 8);
        w->s_defined[reg] = UINT32_MAX;
    }
    /* Half of the time the sources are equal. */
    const struct emu_operand *const last = &t->insn[0].operand[1];
    if (last->kind == EMU_CONSTANT && (random64(state) & 1) != 0)
        w->s[16] = last->type == EMU_I16 ? (uint32_t)(int16_t)last->value : (uint32_t)last->value;
    else if ((random64(state) & 1) != 0)
        memcpy(w->s + 18, w->s + 16, 2 * sizeof *w->s);
    w->scc = random64(state) & 1;
    w->scc_defined = true;
    w->state = EMU_RUNNING;
    t->launch.fault.kind = EMU_NO_FAULT;
    t->launch.stop = 0;
    t->n = 1 + (unsigned)(random64(state) % UNDEFINED);
    for (unsigned k = 0; k < t->n; k++) {
        t->at[k] = (unsigned)(random64(state) % 128);
        w->s_defined[16 + t->at[k] / 32] &= ~(UINT32_C(1) << t->at[k] % 32);
    }
}

/* The bits of s[first], s[first + 1] and SCC that differ between some two values of the undefined bits. */
static void try_all(const struct trial *t, unsigned first, uint64_t *bits, bool *scc) {
    uint64_t any = 0, all = UINT64_MAX;
    bool some = false, every = true;
    for (unsigned choice = 0; choice < 1u << t->n; choice++) {
        struct emu_wave w = t->wave;
        for (unsigned k = 0; k < t->n; k++) {
            const uint32_t bit = UINT32_C(1) << t->at[k] % 32;
            uint32_t *const s = &w.s[16 + t->at[k] / 32];
            *s = (choice >> k & 1) != 0 ? *s | bit : *s & ~bit;
        }
        t->insn[0].opcode->run(&w, t->insn);
        const uint64_t result = emu_s64(&w, first);
        any |= result;
        all &= result;
        some |= w.scc;
        every &= w.scc;
    }
    *bits = any & ~all;
    *scc = some != every;
}

/* Undefined bits must include all that can change; moves and logic, exactly those. */
static size_t check_rule(const struct emu_opcode *opcode, uint64_t seed) {
    const struct emu_scalar_rule *const rule = emu_scalar_rule(opcode);
    size_t n_undefined = 0;
    uint64_t state = seed;
    for (unsigned k = 0; k < TRIES; k++) {
        static struct trial t;
        set_up(&t, opcode, &state);
        fill(&t, &state);
        const struct emu_operand *const d = &t.insn[0].operand[0];
        const bool writes = opcode->n_destinations == 1;
        const uint64_t width = !writes ? 0 : d->registers == 2 ? UINT64_MAX : UINT32_MAX;
        uint64_t want;
        bool want_scc;
        try_all(&t, d->reg, &want, &want_scc);
        t.insn[0].checked(&t.wave, t.insn);
        const uint64_t got =
            ~((uint64_t)t.wave.s_defined[d->reg + 1] << 32 | t.wave.s_defined[d->reg]) & width;
        cr_assert_eq(want & width & ~got, 0, "%s: bits %lx change, and count as defined",
                     opcode->name, want & width & ~got);
        cr_assert(!want_scc || !t.wave.scc_defined, "%s: SCC changes", opcode->name);
        if (rule->flow == EMU_FLOW_CORNERS || rule->flow == EMU_FLOW_SELECT)
            cr_assert_eq(got, want & width, "%s: bits %lx cannot change", opcode->name,
                         got & ~want);
        n_undefined += got != 0 || !t.wave.scc_defined;
    }
    return n_undefined;
}

Test(track, scalar_rules_cover_every_bit_that_can_change) {
    size_t n = 0;
    for (const struct emu_opcode *o = emu_scalar_opcodes; o->name != NULL; o++) {
        const struct emu_scalar_rule *const rule = emu_scalar_rule(o);
        cr_assert_not_null(rule, "%s has no rule", o->name);
        if (rule->flow == EMU_FLOW_EXEC) continue;
        const size_t n_undefined = check_rule(o, ++n);
        const bool has_source = strcmp(o->name, "s_movk_i32") != 0;
        cr_assert_eq(n_undefined > 0, has_source, "%s: %zu tries with undefined bits", o->name,
                     n_undefined);
    }
    cr_expect_gt(n, 100);
}

/* EXEC is written where all of its bits are defined, and reported where one can change. */
Test(track, saveexec_reports_exactly_what_changes_lanes) {
    uint64_t state = 1;
    size_t n_reported = 0, n_accepted = 0;
    for (const struct emu_opcode *o = emu_scalar_opcodes; o->name != NULL; o++) {
        if (emu_scalar_rule(o)->flow != EMU_FLOW_EXEC) continue;
        for (unsigned k = 0; k < TRIES; k++) {
            static struct trial t;
            uint64_t want;
            bool scc;
            set_up(&t, o, &state);
            fill(&t, &state);
            try_all(&t, EMU_EXEC, &want, &scc);
            t.insn[0].checked(&t.wave, t.insn);
            cr_assert_eq(t.launch.fault.kind != EMU_NO_FAULT, want != 0, "%s: %s", o->name,
                         t.launch.fault.text);
            n_reported += want != 0;
            n_accepted += want == 0;
        }
    }
    cr_expect_gt(n_reported, 100);
    cr_expect_gt(n_accepted, 100);
}
