/* SPDX-License-Identifier: Apache-2.0 */
/* Programs made from the table: every way to write one instruction, and random sequences. */
#ifndef DSV4_ISA_BUILD_H
#define DSV4_ISA_BUILD_H

#include "isa.h"

/* All encodings and modifiers of one row, each into a register of its own. */
void isa_build_row(struct isa_program *program, const struct isa_row *row);
void isa_build_random(struct isa_program *program, uint64_t seed);

#endif
