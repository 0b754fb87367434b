/* SPDX-License-Identifier: Apache-2.0 */
/* A loaded code object, for the files that load, decode and explain it. */
#ifndef DSV4_EMU_OBJECT_H
#define DSV4_EMU_OBJECT_H

#include <pthread.h>

#include <libelf.h>

#include "code.h"
#include "decode.h"

/* What nobody needs, and what a hostile file might ask for. */
#define EMU_IMAGE_LIMIT (UINT64_C(1) << 32)

/* A function's instructions; the last one, without bytes, stands behind its end. */
struct emu_block {
    struct emu_insn *insns;
    uint32_t *index; /* instruction of each word; UINT32_MAX inside of one */
};

struct emu_function {
    uint64_t begin, end; /* offsets in the text */
    struct emu_block *_Atomic block;
};

struct emu_variable {
    char *name;
    uint64_t address, bytes; /* virtual address in the file */
};

struct emu_section {
    uint64_t address, bytes;
    bool writable;
    char name[32];
};

struct emu_code {
    uint8_t *file; /* a copy: DWARF is read from it later */
    size_t file_bytes;
    Elf *elf;
    uint8_t *image;                         /* the loaded segments: virtual address 0 stands here */
    uint64_t image_bytes, text, text_bytes; /* text: virtual address */
    struct emu_variable *variables, *functions;
    size_t n_variables, n_functions;
    struct emu_function *ranges; /* of the whole text, by address, without gaps */
    size_t n_ranges;
    struct emu_section *sections; /* what kernels may read */
    size_t n_sections;
    bool published; /* the sections are known to the address space */
    struct emu_kernel *kernels;
    size_t n_kernels;
    int abi; /* 4, 5, 6 */
    pthread_mutex_t lock;
    struct emu_disassembler *disassembler;
    void *debug; /* line.c's */
};

/* Writes the sentence; returns -1. */
int emu_refuse(struct emu_error *error, const char *format, ...)
    __attribute__((format(printf, 2, 3)));

/* The ELF file for gfx942 in a bundle, or the bytes themselves if they are no bundle. *owned is to be freed. */
int emu_bundle_find(const uint8_t **elf, size_t *elf_size, uint8_t **owned, size_t *owned_size,
                    const uint8_t *bytes, size_t size, struct emu_error *error);
/* Sections, symbols, relocations of code->elf; code->image is in place. */
int emu_symbols_read(struct emu_code *code, struct emu_error *error);
int emu_relocate(struct emu_code *code, struct emu_error *error);
/* code->kernels from a note and the descriptors. */
int emu_metadata_read(struct emu_code *code, const uint8_t *note, size_t size,
                      struct emu_error *error);
int emu_descriptor_read(struct emu_kernel *k, const char *symbol, struct emu_error *error);
void emu_debug_free(void *debug);
/* The loaded bytes of a range of virtual addresses, or NULL. */
uint8_t *emu_code_bytes(const struct emu_code *code, uint64_t address, uint64_t bytes);
const struct emu_variable *emu_variable_find(const struct emu_variable *list, size_t n,
                                             const char *name);
/* The function that holds an offset of the text. */
const struct emu_variable *emu_function_around(const struct emu_code *code, uint64_t pc);

#endif
