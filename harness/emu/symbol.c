/* SPDX-License-Identifier: Apache-2.0 */
/* Symbols, sections and relocations of a code object. */
#include <stdlib.h>
#include <string.h>

#include <gelf.h>

#include "../../reference/memory.h"
#include "object.h"

/* Relocations that linked code objects hold (AMDGPU's ELF ABI). */
enum { R_ABS32_LO = 1, R_ABS32_HI, R_ABS64, R_REL32, R_REL64, R_ABS32, R_RELATIVE64 = 13 };

struct table {
    const uint8_t *entries, *names;
    uint64_t n, names_bytes;
};

static const uint8_t *contents(const struct emu_code *code, const GElf_Shdr *s) {
    if (s->sh_type == SHT_NOBITS || s->sh_size > code->file_bytes ||
        s->sh_offset > code->file_bytes - s->sh_size)
        return NULL;
    return code->file + s->sh_offset;
}

static int section_at(const struct emu_code *code, size_t i, GElf_Shdr *s,
                      struct emu_error *error) {
    Elf_Scn *const section = elf_getscn(code->elf, i);
    if (section == NULL || gelf_getshdr(section, s) == NULL)
        return emu_refuse(error, "section header %zu is unreadable: %s", i, elf_errmsg(-1));
    return 0;
}

static int open_table(const struct emu_code *code, const GElf_Shdr *s, struct table *t,
                      struct emu_error *error) {
    GElf_Shdr names;
    if (section_at(code, s->sh_link, &names, error) != 0) return -1;
    t->entries = contents(code, s);
    t->names = contents(code, &names);
    t->n = s->sh_size / sizeof(Elf64_Sym);
    t->names_bytes = names.sh_size;
    if (t->entries == NULL || t->names == NULL)
        return emu_refuse(error, "a symbol table reaches beyond the file: the file is cut off");
    return 0;
}

/* A symbol and its name; the name is NULL if it is not inside the table. */
static Elf64_Sym symbol(const struct table *t, uint64_t i, const char **name) {
    Elf64_Sym s;
    memcpy(&s, t->entries + i * sizeof s, sizeof s);
    const char *const at = (const char *)t->names + s.st_name;
    *name =
        s.st_name < t->names_bytes && memchr(at, 0, t->names_bytes - s.st_name) != NULL ? at : NULL;
    return s;
}

static void append(struct emu_variable **list, size_t *n, const char *name, const Elf64_Sym *s) {
    if ((*n & (*n - 1)) == 0) *list = dsv4_resize(*list, (*n > 0 ? 2 * *n : 1) * sizeof **list);
    (*list)[(*n)++] = (struct emu_variable){dsv4_copy_text(name), s->st_value, s->st_size};
}

static void read_symbols(struct emu_code *code, const struct table *t) {
    for (uint64_t i = 1; i < t->n; i++) {
        const char *name;
        const Elf64_Sym s = symbol(t, i, &name);
        if (name == NULL || *name == '\0' || s.st_shndx == SHN_UNDEF || s.st_shndx == SHN_ABS)
            continue;
        const unsigned type = ELF64_ST_TYPE(s.st_info);
        if (type == STT_OBJECT && emu_code_bytes(code, s.st_value, s.st_size) != NULL)
            append(&code->variables, &code->n_variables, name, &s);
        if (type == STT_FUNC && s.st_value >= code->text && s.st_value % 4 == 0 &&
            s.st_value - code->text < code->text_bytes)
            append(&code->functions, &code->n_functions, name, &s);
    }
}

static void read_section(struct emu_code *code, size_t names, const GElf_Shdr *s) {
    if (!(s->sh_flags & SHF_ALLOC) || s->sh_size == 0 ||
        emu_code_bytes(code, s->sh_addr, s->sh_size) == NULL)
        return;
    const char *const name = elf_strptr(code->elf, names, s->sh_name);
    struct emu_section *const section = &code->sections[code->n_sections++];
    section->address = s->sh_addr;
    section->bytes = s->sh_size;
    section->writable = (s->sh_flags & SHF_WRITE) != 0;
    if (name != NULL) strncpy(section->name, name, sizeof section->name - 1);
}

static int compare(const void *a, const void *b) {
    const uint64_t *const x = a, *const y = b;
    return (*x > *y) - (*x < *y);
}

/* Every function from its symbol to its end, and the gaps between them. */
static void make_ranges(struct emu_code *code) {
    uint64_t *const edges = dsv4_alloc((2 * code->n_functions + 2) * sizeof *edges);
    size_t n = 0;
    edges[n++] = 0;
    edges[n++] = code->text_bytes;
    for (size_t i = 0; i < code->n_functions; i++) {
        const uint64_t begin = code->functions[i].address - code->text;
        const uint64_t bytes = code->functions[i].bytes;
        edges[n++] = begin;
        if (bytes > 0 && bytes % 4 == 0 && bytes < code->text_bytes - begin)
            edges[n++] = begin + bytes;
    }
    qsort(edges, n, sizeof *edges, compare);
    code->ranges = dsv4_alloc(n * sizeof *code->ranges);
    for (size_t i = 0; i + 1 < n; i++) {
        if (edges[i] == edges[i + 1]) continue;
        code->ranges[code->n_ranges].begin = edges[i];
        code->ranges[code->n_ranges++].end = edges[i + 1];
    }
    dsv4_free(edges);
}

static int by_place(const void *a, const void *b) {
    const struct emu_section *const x = a, *const y = b;
    return (x->address > y->address) - (x->address < y->address);
}

/*
 * What kernels may touch, section by section. Not variable by variable: compilers widen a load of three bytes to four
 * where the variable's alignment allows it. For the same reason a section ends on a whole word.
 */
static int settle_sections(struct emu_code *code, struct emu_error *error) {
    if (code->n_sections == 0) return 0;
    qsort(code->sections, code->n_sections, sizeof *code->sections, by_place);
    for (size_t i = 0; i < code->n_sections; i++) {
        struct emu_section *const s = &code->sections[i];
        const bool last = i + 1 == code->n_sections;
        const uint64_t limit = last ? code->image_bytes + 3 : s[1].address;
        if (s->address + s->bytes > limit)
            return emu_refuse(error, "sections %s and %s overlap", s->name, s[1].name);
        const uint64_t end = (s->address + s->bytes + 3) & ~UINT64_C(3);
        s->bytes = (end < limit ? end : limit) - s->address;
    }
    return 0;
}

static int by_address(const void *a, const void *b) {
    const struct emu_variable *const x = a, *const y = b;
    return (x->address > y->address) - (x->address < y->address);
}

int emu_symbols_read(struct emu_code *code, struct emu_error *error) {
    size_t n, names = 0;
    if (elf_getshdrnum(code->elf, &n) != 0 || elf_getshdrstrndx(code->elf, &names) != 0 || n == 0)
        return emu_refuse(error, "the code object has no readable section headers");
    code->sections = dsv4_alloc(n * sizeof *code->sections);
    GElf_Shdr s;
    struct table table;
    for (size_t i = 1; i < n; i++) {
        if (section_at(code, i, &s, error) != 0) return -1;
        read_section(code, names, &s);
        if (s.sh_type != SHT_DYNSYM && s.sh_type != SHT_SYMTAB) continue;
        if (open_table(code, &s, &table, error) != 0) return -1;
        read_symbols(code, &table);
    }
    if (code->n_functions > 0)
        qsort(code->functions, code->n_functions, sizeof *code->functions, by_address);
    make_ranges(code);
    return settle_sections(code, error);
}

const struct emu_variable *emu_variable_find(const struct emu_variable *list, size_t n,
                                             const char *name) {
    for (size_t i = 0; i < n; i++)
        if (strcmp(list[i].name, name) == 0) return &list[i];
    return NULL;
}

const struct emu_variable *emu_function_around(const struct emu_code *code, uint64_t pc) {
    const uint64_t address = code->text + pc;
    const struct emu_variable *found = NULL;
    for (size_t i = 0; i < code->n_functions && code->functions[i].address <= address; i++)
        found = &code->functions[i];
    return found;
}

/* ---- relocations ---- */

static int symbol_address(const struct emu_code *code, const struct table *t, uint64_t i,
                          uint64_t *address, struct emu_error *error) {
    const char *name = "";
    *address = 0;
    if (i == 0) return 0;
    if (i >= t->n)
        return emu_refuse(error, "a relocation names symbol %llu, which does not exist",
                          (unsigned long long)i);
    const Elf64_Sym s = symbol(t, i, &name);
    if (s.st_shndx == SHN_UNDEF && ELF64_ST_BIND(s.st_info) == STB_WEAK) return 0;
    if (s.st_shndx == SHN_UNDEF)
        return emu_refuse(error,
                          "the code object needs the symbol %.200s, which it does not define",
                          name != NULL ? name : "without name");
    *address = s.st_value;
    if (s.st_shndx != SHN_ABS) *address += (uint64_t)(uintptr_t)code->image;
    return 0;
}

static int apply(struct emu_code *code, const struct table *t, const Elf64_Rela *r,
                 struct emu_error *error) {
    const uint64_t type = ELF64_R_TYPE(r->r_info), base = (uint64_t)(uintptr_t)code->image;
    const uint64_t bytes = type == R_ABS64 || type == R_REL64 || type == R_RELATIVE64 ? 8 : 4;
    uint64_t value;
    if (symbol_address(code, t, ELF64_R_SYM(r->r_info), &value, error) != 0) return -1;
    uint8_t *const place = emu_code_bytes(code, r->r_offset, bytes);
    if (place == NULL)
        return emu_refuse(error, "a relocation at 0x%llx lies outside the code object",
                          (unsigned long long)r->r_offset);
    value += (uint64_t)r->r_addend;
    switch (type) {
    case 0: return 0;
    case R_RELATIVE64: value = base + (uint64_t)r->r_addend; break;
    case R_REL64:
    case R_REL32: value -= base + r->r_offset; break;
    case R_ABS32_HI: value >>= 32; break;
    case R_ABS64:
    case R_ABS32_LO: break;
    default:
        return emu_refuse(error, "relocation type %llu at 0x%llx is not supported",
                          (unsigned long long)type, (unsigned long long)r->r_offset);
    }
    memcpy(place, &value, bytes);
    return 0;
}

static int relocate(struct emu_code *code, const GElf_Shdr *s, struct emu_error *error) {
    GElf_Shdr symbols;
    struct table table;
    const uint8_t *const entries = contents(code, s);
    if (section_at(code, s->sh_link, &symbols, error) != 0) return -1;
    if (entries == NULL)
        return emu_refuse(error, "the relocations reach beyond the file: the file is cut off");
    if (open_table(code, &symbols, &table, error) != 0) return -1;
    for (uint64_t i = 0; i < s->sh_size / sizeof(Elf64_Rela); i++) {
        Elf64_Rela r;
        memcpy(&r, entries + i * sizeof r, sizeof r);
        if (apply(code, &table, &r, error) != 0) return -1;
    }
    return 0;
}

int emu_relocate(struct emu_code *code, struct emu_error *error) {
    size_t n;
    GElf_Shdr s;
    elf_getshdrnum(code->elf, &n);
    for (size_t i = 1; i < n; i++) {
        if (section_at(code, i, &s, error) != 0) return -1;
        if (!(s.sh_flags & SHF_ALLOC)) continue;
        if (s.sh_type == SHT_REL)
            return emu_refuse(error, "relocations without addend (SHT_REL) are not supported");
        if (s.sh_type == SHT_RELA && relocate(code, &s, error) != 0) return -1;
    }
    return 0;
}
