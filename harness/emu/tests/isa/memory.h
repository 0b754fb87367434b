/* SPDX-License-Identifier: Apache-2.0 */
/* Memory, LDS and atomic instructions: a list of what each moves or does, and programs for it. */
#ifndef DSV4_ISA_MEMORY_H
#define DSV4_ISA_MEMORY_H

#include "isa.h"

enum isa_space { LDS, GLOBAL, FLAT, SCRATCH, BUFFER };
enum isa_access { LOAD, STORE, ATOMIC, LOAD2, STORE2 };

enum isa_atomic {
    A_ADD,
    A_SUB,
    A_RSUB,
    A_INC,
    A_DEC,
    A_SMIN,
    A_UMIN,
    A_SMAX,
    A_UMAX,
    A_AND,
    A_OR,
    A_XOR,
    A_SWAP,
    A_CMPSWAP,
    A_MSKOR,
    A_WRAP,
    A_FADD,
    A_FMIN,
    A_FMAX,
    A_PK_F16,
    A_PK_BF16
};

struct isa_memory_row {
    char name[40];
    enum isa_space space;
    enum isa_access access;
    unsigned bytes; /* of one element */
    bool sign;      /* loads: sign-extended */
    int d16;        /* loads and stores: 1 low, 2 high half */
    enum isa_atomic operation;
    bool returns;
    unsigned stride; /* of two-address forms: bytes per unit of offset */
};

/* All rows; the number of them. */
size_t isa_memory_rows(const struct isa_memory_row **rows);
void isa_build_memory(struct isa_program *program, const struct isa_memory_row *row);

#endif
