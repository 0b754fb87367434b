/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The LDS race detector. Two accesses of different waves to one byte race when no barrier lies between them and at
 * least one writes, unless both are atomic. Order through other means (a flag in LDS that a wave polls) is not seen:
 * such code is reported.
 */
#ifndef DSV4_EMU_RACE_H
#define DSV4_EMU_RACE_H

#include "access.h"

/* The shadow of a workgroup's LDS, for struct emu_group's `race`; reset when another workgroup begins. */
void *emu_race_create(uint32_t lds_bytes);
void emu_race_reset(void *race);
void emu_race_free(void *race);

/* Notes an access; false after a fault that names both instructions. */
bool emu_race_note(struct emu_wave *w, const struct emu_insn *i, const struct emu_access *a,
                   uint64_t lanes, enum emu_lds_use use);

#endif
