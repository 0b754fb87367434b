/* SPDX-License-Identifier: Apache-2.0 */
/* Programs made from the table: every way to write one instruction, and random sequences. */
#ifndef DSV4_ISA_BUILD_H
#define DSV4_ISA_BUILD_H

#include "isa.h"

enum isa_part { ISA_PLAIN, ISA_SDWA, ISA_DPP, ISA_OMOD, ISA_PARTS };
/* The encodings and modifiers of one row, each into a register of its own. False if a part has none. */
bool isa_build_row(struct isa_program *program, const struct isa_row *row, enum isa_part part);
void isa_build_random(struct isa_program *program, uint64_t seed);

#endif
