/* SPDX-License-Identifier: Apache-2.0 */
/* Matrix instructions: where every element lies, by whole numbers small enough that no rule rounds them. */
#ifndef DSV4_ISA_MATRIX_H
#define DSV4_ISA_MATRIX_H

#include "isa.h"

enum isa_element { E_F16, E_BF16, E_F32, E_F64, E_I8, E_FP8, E_BF8, E_I32 };

struct isa_matrix_row {
    const char *name;
    unsigned m, n, k, blocks;
    enum isa_element a, b, c;
    bool sparse; /* of every four k two are stored, and an index says which */
};

extern const struct isa_matrix_row isa_matrix_rows[]; /* ends with no name */
void isa_build_matrix(struct isa_program *program, const struct isa_matrix_row *row);

#endif
