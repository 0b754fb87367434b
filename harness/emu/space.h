/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The device's address space. Device addresses are host addresses; what is known here may be touched by kernels, and
 * nothing else. Freed memory stays known as freed, and is not handed out again soon.
 */
#ifndef DSV4_EMU_SPACE_H
#define DSV4_EMU_SPACE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum emu_region_kind {
    EMU_REGION_DEVICE,  /* hipMalloc */
    EMU_REGION_HOST,    /* hipHostMalloc, hipHostRegister */
    EMU_REGION_GLOBALS, /* a code object's variables */
    EMU_REGION_KERNARG, /* read-only, while a launch runs */
    EMU_REGION_TENSOR /* a part of another region that the harness has declared: kernels stay inside */
};

struct emu_region {
    uintptr_t base, end;
    enum emu_region_kind kind;
    bool writable, freed, owned; /* owned: by emu_space_alloc */
    char name[48];               /* "allocation 12 of 4096 bytes", a variable's name */
};

/* Fresh memory, page-aligned, between inaccessible pages. Its contents are undefined: 0xA5 up to 1 MiB, zero beyond, so
 * that what is never touched is never backed. NULL: none left. */
void *emu_space_alloc(size_t bytes, enum emu_region_kind kind);
/* 0, or -1 if this is no live allocation (freed twice, never allocated). */
int emu_space_free(void *memory);
/* Memory that belongs to somebody else: globals, registered host memory. */
void emu_space_add(void *memory, size_t bytes, enum emu_region_kind kind, bool writable,
                   const char *name);
int emu_space_remove(void *memory);
/* Copies what is known about the address (also of a freed region); false if nothing is. Thread-safe. */
bool emu_space_find(uintptr_t address, struct emu_region *region);
/*
 * May a kernel touch [low, end)? Whole inside one live region, and, where tensors are declared in it, inside one tensor.
 * Fast where a thread keeps asking for the same few regions.
 */
bool emu_space_allows(uintptr_t low, uintptr_t end, bool write);
/* Why not: "4 bytes at 0x10 lie in no allocation", "... begin 12 bytes behind the end of ...". */
void emu_space_explain(uintptr_t address, size_t bytes, bool write, char *text, size_t size);
/* Live bytes and the limit (192 GiB as MI300X, in name; pages are backed where touched). */
void emu_space_usage(size_t *used, size_t *total);

/* For the harness, exported: from the first tensor declared in an allocation on, kernels stay inside its tensors. */
int dsv4_emu_declare(void *memory, size_t bytes, const char *name);
void dsv4_emu_undeclare_all(void);

#endif
