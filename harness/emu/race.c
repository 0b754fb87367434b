/* SPDX-License-Identifier: Apache-2.0 */
#include "race.h"

#include "code.h"
#include "reference/memory.h"

/* Who touched a byte since the last barrier. An epoch of 0 means nobody. */
struct shadow {
    const struct emu_insn *writer, *reader;
    uint32_t write_epoch, read_epoch;
    uint32_t readers; /* waves of the read epoch, one bit each */
    uint8_t writing_wave, reading_wave;
    bool atomic; /* the write, and all of its epoch were */
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
                   const struct emu_insn *other, unsigned other_wave, const char *how,
                   const char *other_how) {
    char line[256] = "", text[EMU_INSN_TEXT] = "";
    struct emu_code *const code = w->group->launch->kernel ? w->group->launch->kernel->code : NULL;
    if (code != NULL) {
        emu_code_text_at(code, other->pc, text, sizeof text);
        emu_code_line_at(code, other->pc, line, sizeof line);
    }
    emu_fault(w, i, EMU_RACE, (int)lane,
              "wave %u %s byte %u of LDS that wave %u %s at 0x%x (%s%s%s), with no barrier between",
              w->index, how, byte, other_wave, other_how, other->pc,
              text[0] ? text : other->opcode->name, line[0] ? ", " : "", line);
    return false;
}

static bool read_byte(struct emu_wave *w, const struct emu_insn *i, unsigned lane, uint32_t byte,
                      struct shadow *s, uint32_t epoch) {
    if (s->write_epoch == epoch && s->writing_wave != w->index)
        return report(w, i, lane, byte, s->writer, s->writing_wave, "reads", "wrote");
    if (s->read_epoch != epoch) s->readers = 0;
    s->read_epoch = epoch;
    s->readers |= UINT32_C(1) << w->index;
    s->reader = i;
    s->reading_wave = (uint8_t)w->index;
    return true;
}

static bool write_byte(struct emu_wave *w, const struct emu_insn *i, unsigned lane, uint32_t byte,
                       struct shadow *s, uint32_t epoch, bool atomic) {
    const char *const how = atomic ? "changes" : "writes";
    if (s->write_epoch == epoch && s->writing_wave != w->index && !(atomic && s->atomic))
        return report(w, i, lane, byte, s->writer, s->writing_wave, how, "wrote");
    if (s->read_epoch == epoch && (s->readers & ~(UINT32_C(1) << w->index)) != 0) {
        if (s->reading_wave != w->index)
            return report(w, i, lane, byte, s->reader, s->reading_wave, how, "read");
        return report(w, i, lane, byte, s->reader,
                      emu_first_lane(s->readers & ~(UINT32_C(1) << w->index)), how, "read");
    }
    s->atomic = atomic && (s->write_epoch != epoch || s->atomic);
    s->write_epoch = epoch;
    s->writing_wave = (uint8_t)w->index;
    s->writer = i;
    return true;
}

bool emu_race_note(struct emu_wave *w, const struct emu_insn *i, const struct emu_access *a,
                   uint64_t lanes, enum emu_lds_use use) {
    struct race *const race = w->group->race;
    const uint32_t epoch = race->first_epoch + w->group->barrier_epoch;
    race->last_epoch = epoch;
    for (unsigned lane = 0; lane < EMU_LANES; lane++) {
        if ((lanes >> lane & 1) == 0) continue;
        const uint32_t first = (uint32_t)(a->at[lane] - (uint64_t)(uintptr_t)w->group->lds);
        for (uint32_t byte = first; byte < first + a->bytes && byte < race->bytes; byte++) {
            struct shadow *const s = &race->shadow[byte];
            if (use == EMU_LDS_READ
                    ? !read_byte(w, i, lane, byte, s, epoch)
                    : !write_byte(w, i, lane, byte, s, epoch, use == EMU_LDS_ATOMIC))
                return false;
        }
    }
    return true;
}
