/* SPDX-License-Identifier: Apache-2.0 */
#include "code.h"

#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include <gelf.h>

#include "../../reference/memory.h"
#include "object.h"
#include "space.h"

enum {
    MACHINE_AMDGPU = 224,
    OSABI_HSA = 64,
    ABI_V4 = 2, /* EI_ABIVERSION; V5 and V6 follow */
    MACH_MASK = 0xff,
    MACH_GFX942 = 0x4c,
    NOTE_METADATA = 32,
    PAGE = 4096
};

int emu_refuse(struct emu_error *error, const char *format, ...) {
    va_list arguments;
    va_start(arguments, format);
    vsnprintf(error->text, sizeof error->text, format, arguments);
    va_end(arguments);
    for (char *c = error->text; *c != '\0'; c++)
        if ((unsigned char)*c < ' ') *c = '?';
    return -1;
}

uint8_t *emu_code_bytes(const struct emu_code *code, uint64_t address, uint64_t bytes) {
    if (bytes > code->image_bytes || address > code->image_bytes - bytes) return NULL;
    return code->image + address;
}

static const char *mach_name(unsigned mach) {
    static const struct {
        unsigned mach;
        const char *name;
    } names[] = {
        {0x2c, "gfx900" },
        {0x2f, "gfx906" },
        {0x30, "gfx908" },
        {0x33, "gfx1010"},
        {0x36, "gfx1030"},
        {0x3f, "gfx90a" },
        {0x40, "gfx940" },
        {0x41, "gfx1100"},
        {0x4b, "gfx941" },
        {0x4e, "gfx1200"},
        {0x48, "gfx1201"},
        {0x4f, "gfx950" },
    };
    for (size_t i = 0; i < sizeof names / sizeof *names; i++)
        if (names[i].mach == mach) return names[i].name;
    return "another processor";
}

static int check_header(struct emu_code *code, struct emu_error *error) {
    GElf_Ehdr header;
    if (elf_kind(code->elf) != ELF_K_ELF || gelf_getehdr(code->elf, &header) == NULL)
        return emu_refuse(error, "the code object is no readable ELF file: %s", elf_errmsg(-1));
    if (header.e_ident[EI_CLASS] != ELFCLASS64 || header.e_ident[EI_DATA] != ELFDATA2LSB)
        return emu_refuse(error, "the ELF file is not 64-bit little-endian as code objects are");
    if (header.e_machine != MACHINE_AMDGPU)
        return emu_refuse(error,
                          "the ELF file is for machine %u, not AMDGPU (224): load device code",
                          header.e_machine);
    const unsigned mach = header.e_flags & MACH_MASK;
    if (mach != MACH_GFX942)
        return emu_refuse(error,
                          "the code object is for %s (0x%x), not gfx942: compile with "
                          "--offload-arch=gfx942",
                          mach_name(mach), mach);
    if (header.e_ident[EI_OSABI] != OSABI_HSA || header.e_ident[EI_ABIVERSION] < ABI_V4 ||
        header.e_ident[EI_ABIVERSION] > ABI_V4 + 2)
        return emu_refuse(error,
                          "the code object has OS ABI %u, version %u; amdhsa (64) versions 2 to 4, "
                          "code object V4 to V6, are understood",
                          header.e_ident[EI_OSABI], header.e_ident[EI_ABIVERSION]);
    if (header.e_type != ET_DYN)
        return emu_refuse(error, "the ELF file has type %u, not ET_DYN (3): it is not linked",
                          header.e_type);
    code->abi = 4 + header.e_ident[EI_ABIVERSION] - ABI_V4;
    return 0;
}

static bool in_file(const struct emu_code *code, uint64_t offset, uint64_t bytes) {
    return bytes <= code->file_bytes && offset <= code->file_bytes - bytes;
}

/* Sizes and places of the segments, before anything is mapped. */
static int measure_segments(struct emu_code *code, size_t n, struct emu_error *error) {
    uint64_t end = 0;
    for (size_t i = 0; i < n; i++) {
        GElf_Phdr p;
        if (gelf_getphdr(code->elf, (int)i, &p) == NULL)
            return emu_refuse(error, "program header %zu is unreadable: %s", i, elf_errmsg(-1));
        if (p.p_type != PT_LOAD) continue;
        if (!in_file(code, p.p_offset, p.p_filesz) || p.p_filesz > p.p_memsz)
            return emu_refuse(error, "segment %zu reaches beyond the file: the file is cut off", i);
        if (p.p_vaddr < end || p.p_memsz > EMU_IMAGE_LIMIT ||
            p.p_vaddr > EMU_IMAGE_LIMIT - p.p_memsz)
            return emu_refuse(error, "segment %zu overlaps another or lies beyond 4 GiB", i);
        end = p.p_vaddr + p.p_memsz;
        if (!(p.p_flags & PF_X)) continue;
        if (code->text_bytes > 0 || p.p_filesz % 4 != 0 || p.p_vaddr % 4 != 0)
            return emu_refuse(error,
                              "segment %zu: one segment of whole instruction words may be "
                              "executable",
                              i);
        code->text = p.p_vaddr;
        code->text_bytes = p.p_filesz;
    }
    code->image_bytes = end;
    return code->text_bytes > 0 ? 0 : emu_refuse(error, "the code object has no executable code");
}

static int load_segments(struct emu_code *code, struct emu_error *error) {
    size_t n;
    if (elf_getphdrnum(code->elf, &n) != 0)
        return emu_refuse(error, "the program headers are unreadable: %s", elf_errmsg(-1));
    if (measure_segments(code, n, error) != 0) return -1;
    /* Kernels may fetch a little behind the last byte; nothing there is theirs. */
    code->image = dsv4_map(code->image_bytes + PAGE);
    for (size_t i = 0; i < n; i++) {
        GElf_Phdr p;
        if (gelf_getphdr(code->elf, (int)i, &p) != NULL && p.p_type == PT_LOAD)
            memcpy(code->image + p.p_vaddr, code->file + p.p_offset, p.p_filesz);
    }
    return 0;
}

/* Looks for the metadata among the notes of a segment: size of name, size of contents, type, both padded to 4. */
static const uint8_t *find_note(const uint8_t *notes, uint64_t size, size_t *bytes) {
    for (uint64_t at = 0; size - at >= 12;) {
        uint32_t head[3];
        memcpy(head, notes + at, sizeof head);
        const uint64_t name = ((uint64_t)head[0] + 3) & ~UINT64_C(3);
        const uint64_t contents = ((uint64_t)head[1] + 3) & ~UINT64_C(3);
        at += sizeof head;
        if (name > size - at || head[1] > size - at - name) return NULL;
        if (head[2] == NOTE_METADATA && head[0] == 7 && memcmp(notes + at, "AMDGPU", 7) == 0) {
            *bytes = head[1];
            return notes + at + name;
        }
        if (contents > size - at - name) return NULL;
        at += name + contents;
    }
    return NULL;
}

static int read_metadata(struct emu_code *code, struct emu_error *error) {
    size_t n = 0, bytes = 0;
    elf_getphdrnum(code->elf, &n);
    for (size_t i = 0; i < n; i++) {
        GElf_Phdr p;
        if (gelf_getphdr(code->elf, (int)i, &p) == NULL || p.p_type != PT_NOTE ||
            !in_file(code, p.p_offset, p.p_filesz))
            continue;
        const uint8_t *const note = find_note(code->file + p.p_offset, p.p_filesz, &bytes);
        if (note != NULL) return emu_metadata_read(code, note, bytes, error);
    }
    return emu_refuse(error, "the code object has no AMDGPU metadata note: compile it for amdhsa");
}

static int load(struct emu_code *code, struct emu_error *error) {
    elf_version(EV_CURRENT);
    code->elf = elf_memory((char *)code->file, code->file_bytes);
    if (code->elf == NULL)
        return emu_refuse(error, "the code object is no ELF file: %s", elf_errmsg(-1));
    if (check_header(code, error) != 0 || load_segments(code, error) != 0 ||
        emu_symbols_read(code, error) != 0 || emu_relocate(code, error) != 0)
        return -1;
    return read_metadata(code, error);
}

static void publish(struct emu_code *code) {
    for (size_t i = 0; i < code->n_sections; i++) {
        const struct emu_section *const s = &code->sections[i];
        char name[48];
        snprintf(name, sizeof name, "section %s", s->name);
        emu_space_add(code->image + s->address, s->bytes, EMU_REGION_GLOBALS, s->writable, name);
    }
    code->published = true;
}

struct emu_code *emu_code_load(const void *bytes, size_t size, struct emu_error *error) {
    const uint8_t *elf;
    size_t elf_size, owned_size = 0;
    uint8_t *owned = NULL;
    struct emu_code *code = NULL;
    if (emu_bundle_find(&elf, &elf_size, &owned, &owned_size, bytes, size, error) == 0) {
        code = dsv4_alloc(sizeof *code);
        pthread_mutex_init(&code->lock, NULL);
        code->file = memcpy(dsv4_alloc(elf_size), elf, elf_size);
        code->file_bytes = elf_size;
        if (load(code, error) == 0) {
            publish(code);
        } else {
            emu_code_free(code);
            code = NULL;
        }
    }
    dsv4_unmap(owned, owned_size);
    return code;
}

static void free_variables(struct emu_variable *list, size_t n) {
    for (size_t i = 0; i < n; i++) dsv4_free(list[i].name);
    dsv4_free(list);
}

static void free_blocks(struct emu_code *code) {
    for (size_t i = 0; i < code->n_ranges; i++) {
        struct emu_block *const block = code->ranges[i].block;
        if (block == NULL) continue;
        dsv4_free(block->insns);
        dsv4_free(block->index);
        dsv4_free(block);
    }
    dsv4_free(code->ranges);
}

void emu_code_free(struct emu_code *code) {
    if (code == NULL) return;
    for (size_t i = 0; code->published && i < code->n_sections; i++)
        emu_space_remove(code->image + code->sections[i].address);
    for (size_t i = 0; i < code->n_kernels; i++) {
        dsv4_free(code->kernels[i].name);
        dsv4_free(code->kernels[i].arguments);
    }
    dsv4_free(code->kernels);
    free_blocks(code);
    free_variables(code->variables, code->n_variables);
    free_variables(code->functions, code->n_functions);
    dsv4_free(code->sections);
    emu_debug_free(code->debug);
    emu_disassembler_free(code->disassembler);
    if (code->elf != NULL) elf_end(code->elf);
    dsv4_unmap(code->image, code->image_bytes + PAGE);
    pthread_mutex_destroy(&code->lock);
    dsv4_free(code->file);
    dsv4_free(code);
}

const struct emu_kernel *emu_code_kernel(const struct emu_code *code, const char *name) {
    for (size_t i = 0; i < code->n_kernels; i++)
        if (strcmp(code->kernels[i].name, name) == 0) return &code->kernels[i];
    return NULL;
}

const struct emu_kernel *emu_code_kernel_at(const struct emu_code *code, size_t i) {
    return i < code->n_kernels ? &code->kernels[i] : NULL;
}

void *emu_code_symbol(const struct emu_code *code, const char *name, size_t *bytes) {
    const struct emu_variable *const v =
        emu_variable_find(code->variables, code->n_variables, name);
    if (v == NULL) return NULL;
    if (bytes != NULL) *bytes = v->bytes;
    return emu_code_bytes(code, v->address, v->bytes);
}

uint64_t emu_code_text(const struct emu_code *code) {
    return (uint64_t)(uintptr_t)(code->image + code->text);
}

size_t emu_code_text_bytes(const struct emu_code *code) { return code->text_bytes; }
