/* SPDX-License-Identifier: Apache-2.0 */
/* Code objects as clang makes them, and everything that can be wrong with them. */
#include <criterion/criterion.h>
#include <elf.h>
#include <glob.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <zlib.h>
#include <zstd.h>

#include "../../../reference/memory.h"
#include "../code.h"
#include "../decode.h"
#include "../space.h"
#include "isa/assemble.h"

static const char hip_source[] =
    "#define __global__ __attribute__((global))\n"
    "#define __device__ __attribute__((device))\n"
    "__device__ int counter = 7;\n"
    "__device__ int table[4] = {1, 2, 3, 4};\n"
    "__device__ int *where = &table[2];\n"
    "__device__ __attribute__((noinline)) float helper(float x) { return x * 2.0f + 1.0f; }\n"
    "extern \"C\" __global__ void kernel(float *out, const float *in, int n) {\n"
    "    int i = (int)__builtin_amdgcn_workitem_id_x();\n"
    "    if (i < n)\n"
    "        out[i] = helper(in[i]);\n"
    "    *where = counter;\n"
    "}\n";

static uint8_t *bytes;
static size_t size;
static struct emu_error error;

static void compile(const char *flags) {
    char name[] = "/tmp/dsv4-code-XXXXXX";
    FILE *const file = isa_source_open(name);
    cr_assert(file != NULL && fputs(hip_source, file) >= 0 && fclose(file) == 0);
    bytes = isa_compile_hip(name, flags, &size);
    unlink(name);
    cr_assert(bytes != NULL);
}

static void begin(void) { compile("-O2 -g"); }

static void end(void) { free(bytes); }

static struct emu_code *load(void) {
    struct emu_code *const code = emu_code_load(bytes, size, &error);
    cr_assert(code != NULL, "%s", error.text);
    return code;
}

/* Refused, in one sentence that holds `part`. */
static void refused(const void *data, size_t n, const char *part) {
    memset(error.text, 0, sizeof error.text);
    cr_assert(emu_code_load(data, n, &error) == NULL, "accepted, not refused: %s", part);
    cr_assert(strstr(error.text, part) != NULL, "'%s' does not say '%s'", error.text, part);
    cr_assert(strchr(error.text, '\n') == NULL);
}

/* The ELF file inside of what clang wrote: the last entry of its bundle. */
static uint8_t *elf(size_t *n) {
    uint64_t at;
    for (at = 4096; at < size && memcmp(bytes + at, "\177ELF", 4) != 0; at += 4096) continue;
    cr_assert(at < size);
    *n = size - at;
    return bytes + at;
}

Test(code, kernels_and_variables, .init = begin, .fini = end) {
    struct emu_code *const code = load();
    const struct emu_kernel *const k = emu_code_kernel(code, "kernel");
    cr_assert(k != NULL && k == emu_code_kernel_at(code, 0) && emu_code_kernel_at(code, 1) == NULL);
    cr_assert(emu_code_kernel(code, "kerne") == NULL);
    cr_assert(k->entry % 256 == 0 && k->text_size > 100);
    cr_assert(k->kernarg_bytes == 20 && k->n_arguments == 3 && k->kernarg_ptr);
    cr_assert(k->arguments[2].kind == EMU_ARG_VALUE && k->arguments[2].offset == 16 &&
              k->arguments[2].size == 4);
    cr_assert(k->mode == 0x3f0 && k->max_workgroup == 1024 && k->workitem_ids == 0);
    cr_assert(k->vgpr_count <= k->n_vgprs && k->n_vgprs % 4 == 0);
    size_t n;
    const int *const counter = emu_code_symbol(code, "counter", &n);
    cr_assert(counter != NULL && n == 4 && *counter == 7);
    int *const *const where = emu_code_symbol(code, "where", &n);
    const int *const table = emu_code_symbol(code, "table", NULL);
    cr_assert(where != NULL && n == 8 && *where == table + 2, "relocated");
    cr_assert(emu_code_symbol(code, "nothing", &n) == NULL);
    struct emu_region region;
    cr_assert(emu_space_find((uintptr_t)table, &region) && region.writable &&
              region.kind == EMU_REGION_GLOBALS);
    cr_assert(emu_space_find(emu_code_text(code), &region) && !region.writable);
    const uintptr_t gone = (uintptr_t)table;
    emu_code_free(code);
    cr_assert(!emu_space_find(gone, &region));
}

Test(code, hidden_arguments_and_versions) {
    static const char *const flags[] = {"-O0 -mcode-object-version=4",
                                        "-O0 -mcode-object-version=5",
                                        "-O0 -w -mcode-object-version=6"};
    for (size_t i = 0; i < 3; i++) {
        compile(flags[i]);
        struct emu_code *const code = load();
        const struct emu_kernel *const k = emu_code_kernel(code, "kernel");
        bool grid = false, offset = false;
        for (size_t n = 0; n < k->n_arguments; n++) {
            grid |= k->arguments[n].kind == EMU_ARG_BLOCK_COUNT_X;
            offset |= k->arguments[n].kind == EMU_ARG_GLOBAL_OFFSET_X;
        }
        cr_assert(offset && grid == (i > 0), "%s", flags[i]);
        emu_code_free(code);
        free(bytes);
    }
}

Test(code, places, .init = begin, .fini = end) {
    struct emu_code *code = load();
    const struct emu_kernel *k = emu_code_kernel(code, "kernel");
    char text[200];
    bool compare = false, assign = false;
    for (uint64_t pc = k->entry; pc < k->entry + k->text_size;) {
        const struct emu_insn *const i = emu_code_at(code, pc, &error);
        emu_code_line_at(code, pc, text, sizeof text);
        compare |= strstr(text, ":9 in kernel") != NULL;
        assign |= strstr(text, ":11 in kernel") != NULL;
        cr_assert(strstr(text, ":0 in") == NULL);
        pc += i->bytes;
    }
    cr_assert(compare && assign);
    emu_code_text_at(code, k->entry, text, 10);
    cr_assert(strlen(text) == 9 && text[0] == 's');
    emu_code_text_at(code, UINT64_MAX, text, sizeof text);
    cr_assert_str_eq(text, "no instruction");
    emu_code_line_at(code, UINT64_MAX, text, sizeof text);
    cr_assert_str_eq(text, "");
    emu_code_free(code);
    end();
    compile("-O2");
    code = load();
    k = emu_code_kernel(code, "kernel");
    emu_code_line_at(code, k->entry + 8, text, sizeof text);
    cr_assert_str_eq(text, "kernel+0x8");
    emu_code_free(code);
}

Test(code, instructions, .init = begin, .fini = end) {
    struct emu_code *const code = load();
    const struct emu_kernel *const k = emu_code_kernel(code, "kernel");
    const struct emu_insn *first[4] = {NULL};
#pragma omp parallel for num_threads(4)
    for (int t = 0; t < 4; t++) {
        struct emu_error e;
        first[t] = emu_code_at(code, k->entry, &e);
    }
    for (int t = 1; t < 4; t++) cr_assert(first[t] == first[0] && first[0] != NULL);
    unsigned branches = 0;
    uint64_t pc = k->entry;
    for (const struct emu_insn *i = first[0]; i->bytes > 0; pc += i++->bytes) {
        cr_assert(i->pc == pc && emu_code_at(code, pc, &error) == i);
        if (i->bytes == 8) cr_assert(emu_code_at(code, pc + 4, &error) == NULL);
        for (unsigned n = 0; n < i->n_operands; n++) {
            if (i->operand[n].kind != EMU_LABEL) continue;
            cr_assert(i->target != NULL && i->target->pc == pc + i->bytes + i->operand[n].value);
            branches++;
        }
    }
    cr_assert(branches > 0 && pc == k->entry + k->text_size);
    cr_assert(emu_code_at(code, pc + 1, &error) == NULL);
    cr_assert(emu_code_at(code, emu_code_text_bytes(code), &error) == NULL);
    emu_code_free(code);
}

/* ---- corrupt files ---- */

Test(code, every_prefix, .init = begin, .fini = end) {
    size_t n;
    const uint8_t *const file = elf(&n);
    unsigned accepted = 0;
    for (size_t cut = 0; cut < n; cut += cut < 1024 || cut > n - 1024 ? 1 : 61) {
        uint8_t *const part = dsv4_alloc(cut + 1);
        memcpy(part, file, cut);
        memset(error.text, 0, sizeof error.text);
        struct emu_code *const code = emu_code_load(part, cut, &error);
        cr_assert(code != NULL || error.text[0] != '\0');
        accepted += code != NULL;
        emu_code_free(code);
        dsv4_free(part);
    }
    cr_assert(accepted < n / 61 / 4, "%u prefixes of %zu bytes were accepted", accepted, n);
}

Test(code, every_byte, .init = begin, .fini = end) {
    size_t n;
    uint8_t *const file = elf(&n);
    unsigned refusals = 0;
    for (size_t at = 0; at < n; at += at < 0x1000 ? 1 : 7) {
        static const uint8_t flips[] = {0xff, 0x80, 0x01};
        for (size_t f = 0; f < sizeof flips; f++) {
            file[at] ^= flips[f];
            memset(error.text, 0, sizeof error.text);
            struct emu_code *const code = emu_code_load(file, n, &error);
            const struct emu_kernel *const k = code != NULL ? emu_code_kernel_at(code, 0) : NULL;
            char text[100];
            if (k != NULL) {
                emu_code_at(code, k->entry, &error);
                emu_code_line_at(code, k->entry + 16, text, sizeof text);
            }
            cr_assert(code != NULL || error.text[0] != '\0');
            refusals += code == NULL;
            emu_code_free(code);
            file[at] ^= flips[f];
        }
    }
    cr_assert(refusals > 500, "%u", refusals);
}

Test(code, foreign_files, .init = begin, .fini = end) {
    size_t n;
    uint8_t *const file = elf(&n);
    Elf64_Ehdr *const header = (void *)file;
    const Elf64_Ehdr good = *header;
    refused("", 0, "neither an ELF file nor an offload bundle");
    refused("MZ............................", 30, "neither an ELF file");
    header->e_machine = EM_X86_64;
    refused(file, n, "for machine 62, not AMDGPU");
    *header = good;
    header->e_flags = 0x3f;
    refused(file, n, "is for gfx90a (0x3f), not gfx942");
    header->e_flags = 0x54c; /* any xnack and sramecc */
    emu_code_free(load());
    *header = good;
    header->e_ident[EI_ABIVERSION] = 1;
    refused(file, n, "OS ABI 64, version 1");
    *header = good;
    header->e_type = ET_REL;
    refused(file, n, "not linked");
    *header = good;
    header->e_ident[EI_CLASS] = ELFCLASS32;
    refused(file, n, "64-bit");
    *header = good;
    header->e_shoff = n * 2;
    refused(file, n, "section header");
    *header = good;
    header->e_phnum = 0;
    refused(file, n, "no executable code");
}

Test(code, hostile_segments, .init = begin, .fini = end) {
    size_t n;
    uint8_t *const file = elf(&n);
    Elf64_Phdr *const p = (void *)(file + ((Elf64_Ehdr *)(void *)file)->e_phoff);
    unsigned load_at = 0;
    while (p[load_at].p_type != PT_LOAD) load_at++;
    const Elf64_Phdr good = p[load_at + 1];
    p[load_at + 1].p_offset = UINT64_MAX - 16;
    refused(file, n, "reaches beyond the file");
    p[load_at + 1] = good;
    p[load_at + 1].p_filesz = UINT64_MAX;
    refused(file, n, "reaches beyond the file");
    p[load_at + 1] = good;
    p[load_at + 1].p_memsz = UINT64_MAX;
    refused(file, n, "overlaps another or lies beyond 4 GiB");
    p[load_at + 1] = good;
    p[load_at + 1].p_vaddr = 0;
    refused(file, n, "overlaps another");
    p[load_at + 1] = good;
    p[load_at].p_flags |= PF_X;
    refused(file, n, "one segment of whole instruction words");
}

/* Where a kernel's descriptor stands in the file. */
static uint8_t *descriptor(uint8_t *file, size_t n) {
    const Elf64_Ehdr *const header = (void *)file;
    const Elf64_Shdr *const sections = (void *)(file + header->e_shoff);
    for (unsigned i = 0; i < header->e_shnum; i++)
        if (sections[i].sh_type == SHT_PROGBITS && sections[i].sh_flags == SHF_ALLOC &&
            sections[i].sh_addralign == 64)
            return file + sections[i].sh_offset;
    cr_assert(false, "no descriptor in %zu bytes", n);
    return NULL;
}

Test(code, hostile_descriptors, .init = begin, .fini = end) {
    static const struct {
        size_t offset;
        uint32_t value;
        const char *part;
    } plants[] = {
        {0,  65537,      "asks for 65537 bytes of LDS"},
        {4,  UINT32_MAX, "bytes of scratch"           },
        {8,  4,          "lies outside its 20 bytes"  },
        {8,  UINT32_MAX, "bytes of arguments"         },
        {16, 0x7fffff00, "where no kernel can be"     },
        {16, 4,          "where no kernel can be"     },
        {52, 0,          "into 0 user SGPRs"          },
        {52, 0x1804,     "reserved values"            },
        {56, 0x0408,     "waves of 32"                },
        {56, 0xffff0008, "words into"                 },
    };
    size_t n;
    uint8_t *const file = elf(&n), *const at = descriptor(file, n);
    uint8_t good[64];
    memcpy(good, at, 64);
    for (size_t i = 0; i < sizeof plants / sizeof *plants; i++) {
        memcpy(at + plants[i].offset, &plants[i].value, 4);
        if (i == 2) {
            emu_code_free(load()); /* the metadata say 20 */
        } else {
            refused(file, n, plants[i].part);
        }
        memcpy(at, good, 64);
    }
}

/* ---- metadata ---- */

static uint8_t *note(uint8_t *file, size_t *n) {
    const Elf64_Ehdr *const header = (void *)file;
    const Elf64_Phdr *const p = (void *)(file + header->e_phoff);
    for (unsigned i = 0; i < header->e_phnum; i++)
        if (p[i].p_type == PT_NOTE) {
            *n = p[i].p_filesz - 20;
            return file + p[i].p_offset + 20;
        }
    return NULL;
}

Test(code, hostile_metadata, .init = begin, .fini = end) {
    size_t n, bytes_of_note = 0;
    uint8_t *const file = elf(&n), *const at = note(file, &bytes_of_note);
    uint8_t *const good = dsv4_alloc(bytes_of_note);
    memcpy(good, at, bytes_of_note);
    memset(at, 0x91, bytes_of_note); /* an array in an array in an array ... */
    refused(file, n, "well-formed");
    memcpy(at, "\xdd\xff\xff\xff\xff", 5); /* four billion elements */
    refused(file, n, "well-formed");
    memcpy(at, "\xdf\xff\xff\xff\xff", 5);
    refused(file, n, "well-formed");
    memcpy(at, "\xdb\xff\xff\xff\xff", 5); /* a text of four billion bytes */
    refused(file, n, "well-formed");
    memcpy(at, "\xc7\x01\x01\x01", 4); /* an extension */
    refused(file, n, "well-formed");
    memset(at, 0x80, bytes_of_note); /* an empty map */
    refused(file, n, "lists no kernels");
    memcpy(at, good, bytes_of_note);
    at[-20] = 6; /* the owner's length */
    refused(file, n, "no AMDGPU metadata note");
    at[-20] = 7;
    for (size_t i = 0; i < bytes_of_note; i++) {
        at[i] ^= 0x5f;
        emu_code_free(emu_code_load(file, n, &error));
        at[i] ^= 0x5f;
    }
    emu_code_free(load());
    dsv4_free(good);
}

/* ---- bundles ---- */

static void put(uint8_t *at, uint64_t value, unsigned n) {
    for (unsigned i = 0; i < n; i++) at[i] = (uint8_t)(value >> (8 * i));
}

/* A bundle of the same ELF file under several target ids; those with a '!' hold something else. */
static size_t make_bundle(uint8_t *out, const char *const *ids, size_t n_ids) {
    size_t n, at = 32;
    const uint8_t *const file = elf(&n);
    memcpy(out, "__CLANG_OFFLOAD_BUNDLE__", 24);
    put(out + 24, n_ids, 8);
    for (size_t i = 0; i < n_ids; i++) {
        const bool other = ids[i][0] == '!';
        const char *const id = ids[i] + other;
        put(out + at, other ? 0 : 4096, 8);
        put(out + at + 8, other ? 24 : n, 8);
        put(out + at + 16, strlen(id), 8);
        memcpy(out + at + 24, id, strlen(id));
        at += 24 + strlen(id);
    }
    memcpy(out + 4096, file, n);
    return 4096 + n;
}

Test(code, bundles, .init = begin, .fini = end) {
#define HIP "hipv4-amdgcn-amd-amdhsa--"
    static const char *const good[][3] = {
        {"!host-x86_64-unknown-linux-gnu-", "!" HIP "gfx90a",               HIP "gfx942"             },
        {"!" HIP "gfx942:xnack+",           HIP "gfx942:sramecc+:xnack-",   "!" HIP "gfx942:sramecc-"},
        {"!" HIP "gfx9421",                 "hip-amdgcn-amd-amdhsa-gfx942", "!" HIP "gfx942:xnack+"  },
    };
    static const char *const bad[] = {"host-x86_64-unknown-linux-gnu-", HIP "gfx950", HIP "gfx9"};
    uint8_t *const out = dsv4_alloc(size + 8192);
    for (size_t i = 0; i < 3; i++) {
        const size_t n = make_bundle(out, good[i], 3);
        struct emu_code *const code = emu_code_load(out, n, &error);
        cr_assert(code != NULL, "%zu: %s", i, error.text);
        emu_code_free(code);
    }
    const size_t n = make_bundle(out, bad, 3);
    refused(out, n, "holds no code for gfx942 but: host-x86_64-unknown-linux-gnu- " HIP "gfx950");
    make_bundle(out, good[0], 3);
    refused(out, 31, "cut off");
    refused(out, 60, "entry 0 of the offload bundle is cut off");
    put(out + 24, UINT64_MAX, 8);
    refused(out, n, "claims");
    make_bundle(out, good[0], 3);
    put(out + 32, UINT64_MAX - 8, 8);
    refused(out, n, "reaches beyond");
    make_bundle(out, good[0], 3);
    put(out + 40, UINT64_MAX, 8);
    refused(out, n, "reaches beyond");
    make_bundle(out, good[0], 3);
    put(out + 48, UINT64_MAX, 8);
    refused(out, n, "cut off");
    dsv4_free(out);
}

/* Header of a compressed bundle; returns its size. */
static size_t put_header(uint8_t *at, unsigned version, unsigned method, uint64_t packed,
                         uint64_t unpacked) {
    const unsigned width = version == 3 ? 8 : 4;
    const size_t header = version == 1 ? 20 : 16 + 2 * width;
    memset(at, 0, header);
    memcpy(at, "CCOB", 4);
    put(at + 4, version, 2);
    put(at + 6, method, 2);
    if (version > 1) put(at + 8, header + packed, width);
    put(at + (version > 1 ? 8 + width : 8), unpacked, width);
    return header;
}

Test(code, compressed_bundles, .init = begin, .fini = end) {
    const size_t room = compressBound(size) + ZSTD_compressBound(size);
    uint8_t *const packed = dsv4_alloc(room), *const out = dsv4_alloc(room + 64);
    for (unsigned version = 1; version <= 3; version++)
        for (unsigned method = 0; method < 2; method++) {
            uLongf n = room;
            if (method == 0)
                cr_assert(compress(packed, &n, bytes, size) == Z_OK);
            else
                n = ZSTD_compress(packed, room, bytes, size, 3);
            const size_t header = put_header(out, version, method, n, size);
            memcpy(out + header, packed, n);
            struct emu_code *const code = emu_code_load(out, header + n, &error);
            cr_assert(code != NULL, "%u %u: %s", version, method, error.text);
            emu_code_free(code);
            refused(out, header + n - 9, version == 1 ? "does not decompress" : "claims");
            put_header(out, version, method, n, size + 1);
            refused(out, header + n, "does not decompress");
            put_header(out, version, method, n, size - 1);
            refused(out, header + n, "does not decompress");
            put_header(out, version, method, n, version == 3 ? UINT64_MAX : UINT32_MAX);
            refused(out, header + n, "claims to grow");
            put_header(out, version, method + 2, n, size);
            refused(out, header + n, "compressed by method");
            out[4] = 4;
            refused(out, header + n, "version 4");
            refused(out, 7, "cut off in its header");
        }
    dsv4_free(packed);
    dsv4_free(out);
}

/* A small file that claims, rightly, to hold half a gigabyte of zeroes. */
Test(code, bombs) {
    const size_t room = 1 << 20, claimed = (size_t)512 << 20;
    uint8_t *const out = dsv4_alloc(room), *const zeroes = dsv4_map(claimed);
    const size_t n = ZSTD_compress(out + 24, room - 24, zeroes, claimed, 1);
    cr_assert(!ZSTD_isError(n));
    put_header(out, 2, 1, n, claimed);
    refused(out, 24 + n, "claims to grow");
    dsv4_unmap(zeroes, claimed);
    dsv4_free(out);
}

/* ---- code that is none ---- */

Test(code, bytes_that_are_no_instruction) {
    char name[] = "/tmp/dsv4-code-XXXXXX";
    FILE *const file = isa_source_open(name);
    cr_assert(file != NULL);
    fputs(".amdgcn_target \"amdgcn-amd-amdhsa--gfx942\"\n.globl f\n.p2align 8\n.type f,@function\n"
          "f:\n.Lf:\n.long 0xffffffff\n.long 0x411d6ef9, 0x0702b55f\ns_branch .Lf\n.size f, .-f\n"
          ".amdgpu_metadata\namdhsa.version: [1, 2]\namdhsa.kernels: []\n.end_amdgpu_metadata\n",
          file);
    fclose(file);
    bytes = isa_assemble(name, &size);
    cr_assert(bytes != NULL);
    struct emu_code *const code = load();
    cr_assert(emu_code_kernel_at(code, 0) == NULL);
    const struct emu_insn *const i = emu_code_at(code, 0, &error);
    cr_assert(i != NULL && i->opcode == NULL && i->run != NULL && i->run != emu_run_unknown);
    cr_assert(i[1].run == i->run && i[1].pc == 4, "a reserved SDWA field");
    const struct emu_insn *branch = i;
    while (branch->target == NULL && branch->bytes > 0) branch++;
    cr_assert(branch->target == i);
    cr_assert(branch[1].bytes == 0 && branch[1].run != NULL && branch[1].checked != NULL);
    emu_code_free(code);
    free(bytes);
}

/* The tree's own kernels, from no optimisation to all: no operand is beyond the decoder. */
Test(code, own_kernels_at_every_level) {
    glob_t sources;
    cr_assert(glob("impl/hip/*.hip", 0, NULL, &sources) == 0);
    const size_t most = sources.gl_pathc < 12 ? sources.gl_pathc : 12;
    for (size_t n = 0; n < most; n++) {
        char flags[] = "-O0";
        flags[2] = (char)('0' + n % 4);
        bytes = isa_compile_hip(sources.gl_pathv[n], flags, &size);
        cr_assert(bytes != NULL);
        struct emu_code *const code = load();
        for (uint64_t pc = 0; pc < emu_code_text_bytes(code);) {
            const struct emu_insn *const i = emu_code_at(code, pc, &error);
            char text[200] = "";
            if (i->run == emu_run_not_understood || i->run == emu_run_unknown)
                emu_code_text_at(code, pc, text, sizeof text);
            cr_assert(i->run != emu_run_not_understood, "%s: %s", flags, text);
            pc += i->bytes;
        }
        emu_code_free(code);
        free(bytes);
    }
    globfree(&sources);
}
