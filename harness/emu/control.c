/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Branches, calls, barriers, waits. Memory instructions complete at once, so that waiting is free; priorities, caches and
 * performance counters change no result.
 *
 * On gfx9 a wave that has ended no longer counts at a barrier. s_trap 3 (debugtrap) does nothing without a debugger, other
 * traps end the launch: so says LLVM's AMDGPU usage guide. Refused by name: s_setkill, s_endpgm_saved,
 * s_endpgm_ordered_ps_done, the s_cbranch_cdbg family, messages other than an interrupt.
 */
#include "code.h"
#include "control.h"
#include "scalar.h"

enum { MSG_INTERRUPT = 1, DEBUG_TRAP = 3 };

static const struct emu_insn *run_nothing(struct emu_wave *w, const struct emu_insn *i) {
    (void)w;
    return i + 1;
}

/* The instruction at an offset of the text section. The last target is kept with the jump: returns and indirect calls
 * change theirs, but seldom. Waves of other threads may do the same; each reads one or the other whole pointer. */
static const struct emu_insn *jump(struct emu_wave *w, const struct emu_insn *i, uint64_t pc) {
    const struct emu_insn *target;
#pragma omp atomic read
    target = i->target;
    if (target != NULL && target->pc == pc) return target;
    struct emu_error error = {""};
    struct emu_code *const code = w->group->launch->kernel->code;
    target = code == NULL ? NULL : emu_code_at(code, pc, &error);
    if (target == NULL)
        return emu_fault(w, i, EMU_BAD_CODE, -1, "a jump to 0x%llx of the code leads nowhere%s%s",
                         (unsigned long long)pc, error.text[0] != '\0' ? ": " : "", error.text);
    struct emu_insn *const known = (struct emu_insn *)(uintptr_t)i;
#pragma omp atomic write
    known->target = target;
    return target;
}

static const struct emu_insn *branch(struct emu_wave *w, const struct emu_insn *i, bool taken,
                                     unsigned label) {
    if (!taken) return i + 1;
    return jump(w, i, (uint64_t)i->pc + i->bytes + i->operand[label].value);
}

#define BRANCH(name, condition)                                                                    \
    static const struct emu_insn *run_##name(struct emu_wave *w, const struct emu_insn *i) {       \
        return branch(w, i, condition, 0);                                                         \
    }
BRANCH(s_branch, true)
BRANCH(s_cbranch_scc0, !w->scc)
BRANCH(s_cbranch_scc1, w->scc)
BRANCH(s_cbranch_vccz, emu_s64(w, EMU_VCC) == 0)
BRANCH(s_cbranch_vccnz, emu_s64(w, EMU_VCC) != 0)
BRANCH(s_cbranch_execz, emu_exec(w) == 0)
BRANCH(s_cbranch_execnz, emu_exec(w) != 0)

static uint64_t text_base(const struct emu_wave *w) {
    return emu_code_text(w->group->launch->kernel->code);
}

static void put_next_pc(struct emu_wave *w, const struct emu_insn *i) {
    emu_write_s64(w, i->operand[0].reg, text_base(w) + i->pc + i->bytes);
}

static const struct emu_insn *run_s_getpc_b64(struct emu_wave *w, const struct emu_insn *i) {
    put_next_pc(w, i);
    return i + 1;
}

static const struct emu_insn *run_s_setpc_b64(struct emu_wave *w, const struct emu_insn *i) {
    return jump(w, i, emu_get64(w, &i->operand[0]) - text_base(w));
}

static const struct emu_insn *run_s_swappc_b64(struct emu_wave *w, const struct emu_insn *i) {
    const uint64_t target = emu_get64(w, &i->operand[1]);
    put_next_pc(w, i);
    return jump(w, i, target - text_base(w));
}

static const struct emu_insn *run_s_call_b64(struct emu_wave *w, const struct emu_insn *i) {
    put_next_pc(w, i);
    return branch(w, i, true, 1);
}

static const struct emu_insn *run_s_endpgm(struct emu_wave *w, const struct emu_insn *i) {
    (void)i;
    return emu_stop(w, EMU_ENDED, NULL);
}

static const struct emu_insn *run_s_barrier(struct emu_wave *w, const struct emu_insn *i) {
    return emu_stop(w, EMU_AT_BARRIER, i + 1);
}

static const struct emu_insn *run_s_sleep(struct emu_wave *w, const struct emu_insn *i) {
    return emu_stop(w, EMU_YIELDED, i + 1);
}

static const struct emu_insn *run_s_trap(struct emu_wave *w, const struct emu_insn *i) {
    if (i->immediate == DEBUG_TRAP) return i + 1;
    return emu_fault(w, i, EMU_TRAP, -1, "the kernel trapped (s_trap %u)", i->immediate);
}

static const struct emu_insn *run_s_sethalt(struct emu_wave *w, const struct emu_insn *i) {
    if ((i->immediate & 1) == 0) return i + 1;
    return emu_fault(w, i, EMU_TRAP, -1, "the kernel halts its wave (s_sethalt)");
}

static const struct emu_insn *run_s_sendmsg(struct emu_wave *w, const struct emu_insn *i) {
    if (i->immediate == MSG_INTERRUPT) return i + 1;
    return emu_fault(w, i, EMU_UNIMPLEMENTED, -1, "message %u of s_sendmsg is not emulated",
                     i->immediate);
}

#define NOTHING(name)                                                                              \
    { name, run_nothing, {EMU_NONE}, 0, EMU_CONTROL }
#define JUMP(name, flags)                                                                          \
    { #name, run_##name, {EMU_NONE }, 0, EMU_CONTROL | (flags) }
/* These say themselves what they read. */
#define MOVES EMU_CONTROL | EMU_CROSS_LANE
const struct emu_opcode emu_control_opcodes[] = {
    {"s_nop",                  run_nothing, {EMU_NONE}, 0, EMU_CONTROL | EMU_WAITS},
    NOTHING("s_setprio"),
    NOTHING("s_icache_inv"),
    NOTHING("s_incperflevel"),
    NOTHING("s_decperflevel"),
    NOTHING("s_ttracedata"),
    {"s_waitcnt",              run_nothing, {EMU_NONE}, 0, EMU_CONTROL | EMU_WAITS},
    JUMP(s_branch, 0),
    JUMP(s_cbranch_scc0, EMU_READS_SCC),
    JUMP(s_cbranch_scc1, EMU_READS_SCC),
    JUMP(s_cbranch_vccz, EMU_READS_VCC),
    JUMP(s_cbranch_vccnz, EMU_READS_VCC),
    JUMP(s_cbranch_execz, EMU_READS_EXEC),
    JUMP(s_cbranch_execnz, EMU_READS_EXEC),
    {"s_getpc_b64", run_s_getpc_b64, {EMU_B64}, 1, EMU_CONTROL},
    {"s_setpc_b64",              run_s_setpc_b64, {EMU_B64}, 0, EMU_CONTROL},
    {"s_swappc_b64",              run_s_swappc_b64, {EMU_B64, EMU_B64}, 1, EMU_CONTROL},
    {"s_call_b64", run_s_call_b64, {EMU_B64, EMU_NONE}, 1, EMU_CONTROL},
    JUMP(s_endpgm, 0),
    {"s_barrier",            run_s_barrier, {EMU_NONE}, 0, EMU_CONTROL},
    JUMP(s_sleep, 0),
    JUMP(s_trap, 0),
    JUMP(s_sethalt, 0),
    JUMP(s_sendmsg, 0),
    {"s_movrels_b32",               emu_run_movrels_b32, {EMU_B32, EMU_B32}, 1, MOVES},
    {"s_movrels_b64",             emu_run_movrels_b64, {EMU_B64, EMU_B64}, 1, MOVES},
    {"s_movreld_b32",            emu_run_movreld_b32, {EMU_B32, EMU_B32}, 1, MOVES},
    {"s_movreld_b64",               emu_run_movreld_b64, {EMU_B64, EMU_B64}, 1, MOVES},
    {"s_set_gpr_idx_on",             emu_run_set_gpr_idx_on, {EMU_B32, EMU_NONE}, 0, MOVES},
    {"s_set_gpr_idx_off",           emu_run_set_gpr_idx_off, {EMU_NONE}, 0, EMU_CONTROL},
    {"s_set_gpr_idx_idx",      emu_run_set_gpr_idx_idx, {EMU_B32}, 0, MOVES},
    {"s_set_gpr_idx_mode",             emu_run_set_gpr_idx_mode, {EMU_NONE}, 0, EMU_CONTROL},
    {"s_getreg_b32",             emu_run_getreg, {EMU_B32, EMU_NONE}, 1, EMU_CONTROL},
    {"s_setreg_b32",     emu_run_setreg, {EMU_NONE, EMU_B32}, 0, EMU_CONTROL},
    {"s_setreg_imm32_b32",             emu_run_setreg_imm32, {EMU_NONE, EMU_B32}, 0, EMU_CONTROL},
    {0             }
};
