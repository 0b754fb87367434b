/* SPDX-License-Identifier: Apache-2.0 */
#include "race.h"

#include "code.h"
#include "reference/memory.h"

/* An access since the last barrier; epoch 0: none. */
struct access {
    const struct emu_insn *insn;
    uint32_t epoch;
    uint8_t wave;
    bool atomic; /* it, and all before it of this wave in this epoch */
};

/* The last access to a byte, and the last of another wave than that one's: among the two is a partner for any race. */
struct shadow {
    struct access write[2], read[2];
};

struct race {
    uint32_t bytes;
    uint32_t first_epoch; /* epochs of earlier workgroups lie below */
    uint32_t last_epoch;
    struct shadow shadow[];
};

void *emu_race_create(uint32_t lds_bytes) {
    struct race *const race = dsv4_alloc(sizeof *race + lds_bytes * sizeof *race->shadow);
    race->bytes = lds_bytes;
    race->first_epoch = race->last_epoch = 1;
    return race;
}

void emu_race_reset(void *memory) {
    struct race *const race = memory;
    race->first_epoch = race->last_epoch + 1;
}

void emu_race_free(void *race) { dsv4_free(race); }

static bool report(struct emu_wave *w, const struct emu_insn *i, unsigned lane, uint32_t byte,
                   const struct access *other, const char *how, const char *other_how) {
    char line[256] = "", text[EMU_INSN_TEXT] = "";
    struct emu_code *const code = w->group->launch->kernel ? w->group->launch->kernel->code : NULL;
    if (code != NULL) {
        emu_code_text_at(code, other->insn->pc, text, sizeof text);
        emu_code_line_at(code, other->insn->pc, line, sizeof line);
    }
    emu_fault(w, i, EMU_RACE, (int)lane,
              "wave %u %s byte %u of LDS that wave %u %s at 0x%x (%s%s%s), with no barrier between",
              w->index, how, byte, other->wave, other_how, other->insn->pc,
              text[0] ? text : other->insn->opcode->name, line[0] ? ", " : "", line);
    return false;
}

static void note(struct access *last, const struct access *now) {
    if (last->epoch == now->epoch && last->wave == now->wave) {
        last->insn = now->insn;
        last->atomic = last->atomic && now->atomic;
        return;
    }
    struct access *const other = last + 1;
    const bool again = other->epoch == now->epoch && other->wave == now->wave;
    const bool atomic = now->atomic && (!again || other->atomic);
    *other = *last;
    *last = *now;
    last->atomic = atomic;
}

/* The access of another wave in this epoch, or NULL. */
static const struct access *partner(const struct access *accesses, const struct access *now) {
    for (unsigned k = 0; k < 2; k++)
        if (accesses[k].epoch == now->epoch && accesses[k].wave != now->wave &&
            !(accesses[k].atomic && now->atomic))
            return &accesses[k];
    return NULL;
}

static bool note_byte(struct emu_wave *w, const struct emu_insn *i, unsigned lane, uint32_t byte,
                      const struct access *now, enum emu_lds_use use) {
    struct shadow *const s = &((struct race *)w->group->race)->shadow[byte];
    static const char *const how[] = {"reads", "writes", "changes"};
    const struct access *other = partner(s->write, now);
    if (other != NULL)
        return report(w, i, lane, byte, other, how[use], other->atomic ? "changed" : "wrote");
    other = use == EMU_LDS_READ ? NULL : partner(s->read, now);
    if (other != NULL) return report(w, i, lane, byte, other, how[use], "read");
    note(use == EMU_LDS_READ ? s->read : s->write, now);
    return true;
}

bool emu_race_note(struct emu_wave *w, const struct emu_insn *i, const struct emu_access *a,
                   uint64_t lanes, enum emu_lds_use use) {
    struct race *const race = w->group->race;
    const uint32_t epoch = race->first_epoch + w->group->barrier_epoch;
    const struct access now = {i, epoch, (uint8_t)w->index, use == EMU_LDS_ATOMIC};
    race->last_epoch = epoch;
    for (unsigned lane = 0; lane < EMU_LANES; lane++) {
        if ((lanes >> lane & 1) == 0) continue;
        const uint32_t first = (uint32_t)(a->at[lane] - (uint64_t)(uintptr_t)w->group->lds);
        for (uint32_t byte = first; byte < first + a->bytes && byte < race->bytes; byte++)
            if (!note_byte(w, i, lane, byte, &now, use)) return false;
    }
    return true;
}
