/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The kernel around a program: it loads a state from memory, runs the program, and stores what became of the state.
 * One workgroup of one wave per state.
 */
#ifndef DSV4_ISA_FRAME_H
#define DSV4_ISA_FRAME_H

#include "isa.h"

/* In and out, per wave: scalars (dwords), then v2 to v61 of all lanes. */
enum {
    FRAME_S = 0, /* s16 to s47 */
    FRAME_VCC = 32,
    FRAME_EXEC = 34,
    FRAME_SCC = 36,
    FRAME_MODE = 37,
    FRAME_M0 = 38,
    FRAME_SCALARS = 64,
    FRAME_MEMORY = FRAME_SCALARS + (ISA_V_END - ISA_FIRST_V) * ISA_LANES,
    FRAME_WORDS = FRAME_MEMORY + ISA_MEMORY_BYTES / 4
};

void frame_pack(uint32_t *words, const struct isa_state *state);
void frame_unpack(struct isa_state *state, const uint32_t *words);
/* One kernel of the assembly file; all of them are followed by frame_print_end. */
void frame_print(FILE *file, const struct isa_program *program, size_t index);
void frame_print_end(FILE *file, size_t n);

#endif
