/* SPDX-License-Identifier: Apache-2.0 */
/* Instructions that fit no table: lanes of other lanes, scalar loads, branches, registers by index. */
#ifndef DSV4_ISA_SPECIAL_H
#define DSV4_ISA_SPECIAL_H

#include "isa.h"

struct isa_special {
    const char *names; /* the mnemonics it shows, space between them */
    const char *text;
    void (*model)(struct isa_state *state, const void *argument);
};

extern const struct isa_special isa_specials[]; /* ends with no names */
void isa_build_special(struct isa_program *program, const struct isa_special *special);

#endif
