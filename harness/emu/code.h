/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Code objects: ELF files for amdgcn-amd-amdhsa--gfx942, alone or inside a clang offload bundle (compressed or not).
 * Everything here survives any input: what is not understood is an error in one sentence.
 */
#ifndef DSV4_EMU_CODE_H
#define DSV4_EMU_CODE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "insn.h"

/* What a kernel's metadata says about an argument. Hidden ones are filled in at launch. */
enum emu_argument_kind {
    EMU_ARG_VALUE, /* by_value, global_buffer, dynamic_shared_pointer, ...: the caller's bytes */
    EMU_ARG_BLOCK_COUNT_X,
    EMU_ARG_BLOCK_COUNT_Y,
    EMU_ARG_BLOCK_COUNT_Z,
    EMU_ARG_GROUP_SIZE_X,
    EMU_ARG_GROUP_SIZE_Y,
    EMU_ARG_GROUP_SIZE_Z,
    EMU_ARG_REMAINDER_X,
    EMU_ARG_REMAINDER_Y,
    EMU_ARG_REMAINDER_Z,
    EMU_ARG_GLOBAL_OFFSET_X,
    EMU_ARG_GLOBAL_OFFSET_Y,
    EMU_ARG_GLOBAL_OFFSET_Z,
    EMU_ARG_GRID_DIMS,
    EMU_ARG_DYNAMIC_LDS_SIZE,
    EMU_ARG_PRIVATE_BASE,
    EMU_ARG_SHARED_BASE,
    EMU_ARG_QUEUE_PTR,
    EMU_ARG_ZERO /* hostcall, heap, printf, multigrid and others: zero; using one faults by address */
};

struct emu_argument {
    enum emu_argument_kind kind;
    uint32_t offset, size;
};

struct emu_code;

struct emu_kernel {
    struct emu_code *code;
    char *name;
    uint64_t entry;     /* offset in the text section */
    uint64_t text_size; /* of the kernel's symbol */
    /* From the kernel descriptor. */
    uint32_t lds_bytes, scratch_bytes, kernarg_bytes;
    uint32_t n_vgprs, n_agprs; /* allocated; naming a register beyond them is EMU_BAD_CODE */
    uint32_t mode;             /* initial MODE */
    uint16_t n_user_sgprs;
    bool private_segment_buffer, dispatch_ptr, queue_ptr, kernarg_ptr, dispatch_id,
        flat_scratch_init, private_segment_size;
    bool workgroup_id[3], workgroup_info, dynamic_stack;
    uint8_t workitem_ids;                    /* 0: x; 1: x, y; 2: x, y, z; packed into v0 */
    uint16_t preload_offset, preload_length; /* kernargs in SGPRs, in dwords */
    /* From the metadata. */
    struct emu_argument *arguments;
    size_t n_arguments;
    uint32_t max_workgroup; /* 0: not said */
    uint32_t sgpr_count, vgpr_count, agpr_count, sgpr_spills, vgpr_spills;
};

struct emu_error {
    char text[512];
};

/* The gfx942 code object in `bytes` (an ELF file or a bundle that holds one), copied and relocated. NULL with error. */
struct emu_code *emu_code_load(const void *bytes, size_t size, struct emu_error *error);
void emu_code_free(struct emu_code *code);

const struct emu_kernel *emu_code_kernel(const struct emu_code *code, const char *name);
const struct emu_kernel *emu_code_kernel_at(const struct emu_code *code, size_t i); /* or NULL */
/* A global variable in its loaded place; NULL if there is none of that name. */
void *emu_code_symbol(const struct emu_code *code, const char *name, size_t *bytes);

/* Address of the text section as kernels see it (s_getpc): pc = base + offset. */
uint64_t emu_code_text(const struct emu_code *code);
size_t emu_code_text_bytes(const struct emu_code *code);
/* The instruction at an offset of the text section, decoded with its whole function on first use (thread-safe); NULL if
 * there is none: error says why. Instructions of a function are contiguous. */
const struct emu_insn *emu_code_at(struct emu_code *code, uint64_t pc, struct emu_error *error);
/* One line: disassembly at pc. */
void emu_code_text_at(struct emu_code *code, uint64_t pc, char *text, size_t size);
/* "file.hip:31 in function"; without debug info "symbol+0x1c", or "". */
void emu_code_line_at(struct emu_code *code, uint64_t pc, char *text, size_t size);

#endif
