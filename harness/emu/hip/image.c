/* SPDX-License-Identifier: Apache-2.0 */
/* How long a code object in memory is: callers of hipModuleLoadData and compilers' registration do not say. */
#include <elf.h>
#include <string.h>

#include "hip.h"

static size_t larger(size_t a, size_t b) { return a > b ? a : b; }

static size_t elf_bytes(const unsigned char *image) {
    Elf64_Ehdr header;
    memcpy(&header, image, sizeof header);
    if (header.e_ident[EI_CLASS] != ELFCLASS64) return 0;
    size_t end =
        larger(sizeof header, header.e_phoff + (size_t)header.e_phnum * sizeof(Elf64_Phdr));
    end = larger(end, header.e_shoff + (size_t)header.e_shnum * sizeof(Elf64_Shdr));
    for (size_t i = 0; i < header.e_phnum; i++) {
        Elf64_Phdr segment;
        memcpy(&segment, image + header.e_phoff + i * sizeof segment, sizeof segment);
        end = larger(end, segment.p_offset + segment.p_filesz);
    }
    for (size_t i = 0; i < header.e_shnum; i++) {
        Elf64_Shdr section;
        memcpy(&section, image + header.e_shoff + i * sizeof section, sizeof section);
        if (section.sh_type != SHT_NOBITS) end = larger(end, section.sh_offset + section.sh_size);
    }
    return end;
}

/* "__CLANG_OFFLOAD_BUNDLE__", number of entries, then of each: offset, size, length of the name, name. */
static size_t bundle_bytes(const unsigned char *image) {
    enum { MAGIC = 24, MAX_ENTRIES = 4096, MAX_NAME = 4096 };
    uint64_t n, entry[3];
    size_t at = MAGIC + sizeof n, end = at;
    memcpy(&n, image + MAGIC, sizeof n);
    if (n > MAX_ENTRIES) return 0;
    for (uint64_t i = 0; i < n; i++) {
        memcpy(entry, image + at, sizeof entry);
        if (entry[2] > MAX_NAME) return 0;
        at += sizeof entry + entry[2];
        end = larger(larger(end, at), entry[0] + entry[1]);
    }
    return end;
}

/* "CCOB", version, method, then the size of the whole: 32 bits in version 2, 64 in version 3, nothing in version 1. */
static size_t compressed_bytes(const unsigned char *image) {
    uint16_t version;
    uint32_t size;
    uint64_t wide;
    memcpy(&version, image + 4, sizeof version);
    memcpy(&size, image + 8, sizeof size);
    memcpy(&wide, image + 8, sizeof wide);
    return version == 2 ? size : version == 3 ? wide : 0;
}

size_t emu_image_bytes(const void *image) {
    if (memcmp(image, ELFMAG, SELFMAG) == 0) return elf_bytes(image);
    if (memcmp(image, "CCOB", 4) == 0) return compressed_bytes(image);
    if (memcmp(image, "__CLANG_OFFLOAD_BUNDLE__", 24) == 0) return bundle_bytes(image);
    return 0;
}
