/* SPDX-License-Identifier: Apache-2.0 */
/* Clang's offload bundles, plain or compressed. */
#include <string.h>

#include <zlib.h>
#include <zstd.h>

#include "../../reference/memory.h"
#include "object.h"

#define BUNDLE_MAGIC "__CLANG_OFFLOAD_BUNDLE__"
#define COMPRESSED_MAGIC "CCOB"
#define TARGET "gfx942"

enum { MAGIC = 24, ENTRY = 24, MAX_ENTRIES = 4096 };

/* A compressed bundle may grow so much, and no further: code never does, hostile files do. */
#define GROWTH 1100
#define UNPACKED_LIMIT (UINT64_C(1) << 30)

static uint64_t number(const uint8_t *at, size_t bytes) {
    uint64_t value = 0;
    for (size_t i = bytes; i-- > 0;) value = value << 8 | at[i];
    return value;
}

/* "+" or "-" behind a feature's name in a target id; 0 if it is not named. */
static int feature(const char *id, size_t size, const char *name) {
    const size_t n = strlen(name);
    for (size_t i = 0; i + n + 1 < size; i++)
        if (id[i] == ':' && memcmp(id + i + 1, name, n) == 0 && i + 1 + n < size)
            return id[i + 1 + n] == '+' ? 1 : id[i + 1 + n] == '-' ? -1 : 0;
    return 0;
}

/*
 * How well an entry suits an MI300X as it is delivered, 0 if not at all. Kind and triple, as in
 * hipv4-amdgcn-amd-amdhsa--gfx942:sramecc+:xnack-, then features.
 */
static int suits(const char *id, size_t size) {
    static const char *const prefixes[] = {"hipv4-amdgcn-amd-amdhsa--", "hip-amdgcn-amd-amdhsa--",
                                           "hipv4-amdgcn-amd-amdhsa-", "hip-amdgcn-amd-amdhsa-"};
    const size_t target = strlen(TARGET);
    for (size_t i = 0; i < sizeof prefixes / sizeof *prefixes; i++) {
        const size_t n = strlen(prefixes[i]);
        if (size < n + target || memcmp(id, prefixes[i], n) != 0 ||
            memcmp(id + n, TARGET, target) != 0)
            continue;
        const char *const features = id + n + target;
        const size_t rest = size - n - target;
        if (rest > 0 && *features != ':') continue;
        return 10 + feature(features, rest, "sramecc") - 3 * feature(features, rest, "xnack");
    }
    return 0;
}

static int find_entry(const uint8_t **elf, size_t *elf_size, const uint8_t *bytes, size_t size,
                      struct emu_error *error) {
    size_t at = MAGIC + 8;
    int best = 0;
    char seen[200] = "";
    if (size < at) return emu_refuse(error, "the offload bundle is cut off in its header");
    const uint64_t n = number(bytes + MAGIC, 8);
    if (n > MAX_ENTRIES)
        return emu_refuse(error, "the offload bundle claims %llu entries", (unsigned long long)n);
    for (uint64_t i = 0; i < n; i++) {
        if (size - at < ENTRY || number(bytes + at + 16, 8) > size - at - ENTRY)
            return emu_refuse(error, "entry %llu of the offload bundle is cut off",
                              (unsigned long long)i);
        const uint64_t offset = number(bytes + at, 8), entry_size = number(bytes + at + 8, 8);
        const size_t id_size = (size_t)number(bytes + at + 16, 8);
        const char *const id = (const char *)bytes + at + ENTRY;
        at += ENTRY + id_size;
        if (entry_size > size || offset > size - entry_size)
            return emu_refuse(error,
                              "entry %llu of the offload bundle reaches beyond its %zu bytes",
                              (unsigned long long)i, size);
        const size_t used = strlen(seen);
        if (used + id_size + 2 < sizeof seen && memchr(id, 0, id_size) == NULL) {
            if (used > 0) strcat(seen, " ");
            strncat(seen, id, id_size);
        }
        if (suits(id, id_size) <= best) continue;
        best = suits(id, id_size);
        *elf = bytes + offset;
        *elf_size = (size_t)entry_size;
    }
    return best > 0 ? 0
                    : emu_refuse(error,
                                 "the offload bundle holds no code for " TARGET
                                 " but: %s; compile with --offload-arch=" TARGET,
                                 seen);
}

static bool inflate_all(uint8_t *out, size_t out_size, const uint8_t *in, size_t in_size) {
    uLongf size = out_size;
    return uncompress(out, &size, in, in_size) == Z_OK && size == out_size;
}

/*
 * Header of a compressed bundle: magic, u16 version, u16 method (0 zlib, 1 zstd), then sizes of the file (not in
 * version 1) and of the contents in 4 bytes, or 8 in version 3, and 8 bytes of a hash.
 */
static int unpack(uint8_t **out, size_t *out_size, const uint8_t *bytes, size_t size,
                  struct emu_error *error) {
    if (size < 8) return emu_refuse(error, "the compressed bundle is cut off in its header");
    const unsigned version = (unsigned)number(bytes + 4, 2),
                   method = (unsigned)number(bytes + 6, 2);
    const size_t width = version == 3 ? 8 : 4, header = version == 1 ? 20 : 16 + 2 * width;
    if (version < 1 || version > 3)
        return emu_refuse(error, "the compressed bundle has version %u; 1 to 3 are understood",
                          version);
    if (size < header) return emu_refuse(error, "the compressed bundle is cut off in its header");
    if (version > 1) {
        const uint64_t total = number(bytes + 8, width);
        if (total < header || total > size)
            return emu_refuse(error, "the compressed bundle claims %llu bytes of %zu",
                              (unsigned long long)total, size);
        size = (size_t)total;
    }
    const uint64_t unpacked = number(bytes + (version == 1 ? 8 : 8 + width), width);
    if (unpacked > UNPACKED_LIMIT || unpacked / GROWTH > size)
        return emu_refuse(error, "the compressed bundle claims to grow from %zu to %llu bytes",
                          size, (unsigned long long)unpacked);
    *out_size = (size_t)unpacked;
    *out = dsv4_map(*out_size);
    bool good = false;
    if (method == 0)
        good = inflate_all(*out, *out_size, bytes + header, size - header);
    else if (method == 1)
        good = ZSTD_decompress(*out, *out_size, bytes + header, size - header) == *out_size;
    else
        return emu_refuse(error,
                          "the bundle is compressed by method %u; zlib (0) and zstd (1) are "
                          "understood",
                          method);
    return good ? 0
                : emu_refuse(error,
                             "the compressed bundle does not decompress to the %zu bytes "
                             "that it claims",
                             *out_size);
}

int emu_bundle_find(const uint8_t **elf, size_t *elf_size, uint8_t **owned, size_t *owned_size,
                    const uint8_t *bytes, size_t size, struct emu_error *error) {
    *owned = NULL;
    if (size >= 4 && memcmp(bytes, COMPRESSED_MAGIC, 4) == 0) {
        if (unpack(owned, owned_size, bytes, size, error) != 0) return -1;
        bytes = *owned;
        size = *owned_size;
    }
    *elf = bytes;
    *elf_size = size;
    if (size >= MAGIC && memcmp(bytes, BUNDLE_MAGIC, MAGIC) == 0)
        return find_entry(elf, elf_size, bytes, size, error);
    if (size >= 4 && memcmp(bytes, "\177ELF", 4) == 0) return 0;
    return emu_refuse(error, "the code object is neither an ELF file nor an offload bundle");
}
