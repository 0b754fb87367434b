/* SPDX-License-Identifier: Apache-2.0 */
/* LLVM's assembler and clang, as programs: text in, code object out. */
#ifndef DSV4_ISA_ASSEMBLE_H
#define DSV4_ISA_ASSEMBLE_H

#include <stddef.h>
#include <stdio.h>

/* Opens a fresh file; the template's X are replaced. */
FILE *isa_source_open(char *name);
/* The code object made of an assembly file, which is deleted; NULL after a message. Free with free(). */
void *isa_assemble(const char *source, size_t *bytes);
/* The same of a HIP file at an optimisation level such as "-O2"; the file stays. */
void *isa_compile_hip(const char *source, const char *flags, size_t *bytes);

#endif
