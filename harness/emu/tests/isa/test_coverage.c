/* SPDX-License-Identifier: Apache-2.0 */
/*
 * harness/emu/COVERAGE: every mnemonic that the emulator implements, what tests it here, and whether the machine code of
 * the tree's own kernels uses it. An implemented mnemonic without a test fails; so does a file that says something else.
 * `make coverage` writes it: DSV4_COVERAGE names the file to write, DSV4_MET one with a mnemonic per line that was met.
 */
#include <criterion/criterion.h>
#include <stdlib.h>
#include <string.h>

#include "../../insn.h"
#include "isa.h"
#include "matrix.h"
#include "memory.h"
#include "special.h"

static bool is_word(const char *list, const char *name) {
    const size_t length = strlen(name);
    for (const char *at = list; (at = strstr(at, name)) != NULL; at += length)
        if ((at == list || at[-1] == ' ') && (at[length] == ' ' || at[length] == '\0')) return true;
    return false;
}

static const char *table_test(const char *name) {
    for (size_t i = 0; isa_row_at(i) != NULL; i++)
        if (strcmp(isa_row_at(i)->name, name) == 0)
            return (isa_row_at(i)->flags & APPROXIMATE) != 0 ? "bound" : "formulation";
    return NULL;
}

/* What shows the instruction to be right; NULL if nothing does. */
static const char *test_of(const char *name) {
    const struct isa_memory_row *rows;
    const size_t n = isa_memory_rows(&rows);
    const char *const table = table_test(name);
    if (table != NULL) return table;
    for (size_t i = 0; i < n; i++)
        if (strcmp(rows[i].name, name) == 0) return "memory";
    for (size_t i = 0; isa_matrix_rows[i].name != NULL; i++)
        if (strcmp(isa_matrix_rows[i].name, name) == 0) return "matrix";
    for (size_t i = 0; isa_specials[i].names != NULL; i++)
        if (is_word(isa_specials[i].names, name)) return "program";
    /* Whole kernels compiled at four levels: divisions have no other use for it; every program ends with s_endpgm. */
    if (is_word("v_div_scale_f32 v_div_scale_f64 s_endpgm", name)) return "levels";
    /* Tests beside the emulator's own files. */
    if (is_word("global_load_lds_dword global_load_lds_sbyte global_load_lds_sshort "
                "global_load_lds_ubyte "
                "global_load_lds_ushort s_trap",
                name))
        return "unit";
    return NULL;
}

static int by_text(const void *a, const void *b) {
    return strcmp(*(const char *const *)a, *(const char *const *)b);
}

static size_t mnemonics(const char ***list) {
    size_t n = 0, kept = 0;
    while (emu_opcode_at(n) != NULL) n++;
    *list = calloc(n, sizeof **list);
    cr_assert_not_null(*list);
    for (size_t i = 0; i < n; i++) (*list)[i] = emu_opcode_at(i)->name;
    qsort(*list, n, sizeof **list, by_text);
    for (size_t i = 0; i < n; i++)
        if (kept == 0 || strcmp((*list)[kept - 1], (*list)[i]) != 0) (*list)[kept++] = (*list)[i];
    return kept;
}

static char *read_text(const char *path) {
    FILE *const file = fopen(path, "r");
    char *const text = calloc(1, 1 << 20);
    cr_assert_not_null(text);
    if (file == NULL) return text;
    const size_t n = fread(text, 1, (1 << 20) - 1, file);
    text[n] = '\0';
    (void)fclose(file);
    return text;
}

static bool has_line(const char *text, const char *line) {
    const size_t length = strlen(line);
    for (const char *at = text; (at = strstr(at, line)) != NULL; at += length)
        if ((at == text || at[-1] == '\n') && (at[length] == '\n' || at[length] == ' '))
            return true;
    return false;
}

static void write_file(const char *path, const char *met) {
    const char **list;
    const size_t n = mnemonics(&list);
    FILE *const file = fopen(path, "w");
    cr_assert_not_null(file);
    fprintf(file, "# Implemented mnemonics, what tests each, whether the kernels of impl/hip use "
                  "it; `make coverage` writes this.\n");
    for (size_t i = 0; i < n; i++) {
        const char *const test = test_of(list[i]);
        fprintf(file, "%s %s%s\n", list[i], test != NULL ? test : "UNTESTED",
                has_line(met, list[i]) ? " met" : "");
    }
    cr_assert_eq(fclose(file), 0);
    free(list);
}

Test(isa, coverage) {
    const char *const path = getenv("DSV4_COVERAGE");
    if (path != NULL) {
        char *const met = read_text(getenv("DSV4_MET") != NULL ? getenv("DSV4_MET") : "");
        write_file(path, met);
        free(met);
    }
    const char **list;
    const size_t n = mnemonics(&list);
    char *const text = read_text(path != NULL ? path : "harness/emu/COVERAGE");
    size_t lines = 0;
    for (const char *at = text; (at = strchr(at, '\n')) != NULL; at++) lines++;
    for (size_t i = 0; i < n; i++) {
        char line[128];
        const char *const test = test_of(list[i]);
        cr_expect_not_null(test, "%s is implemented and nothing tests it", list[i]);
        snprintf(line, sizeof line, "%s %s", list[i], test != NULL ? test : "");
        cr_expect(has_line(text, line), "harness/emu/COVERAGE has no line '%s': run make coverage",
                  line);
    }
    cr_expect_eq(lines, n + 1,
                 "harness/emu/COVERAGE has %zu mnemonics, the emulator %zu: run make coverage",
                 lines - 1, n);
    free(text);
    free(list);
}

Test(isa, an_untested_mnemonic_is_seen) {
    cr_expect_null(test_of("v_no_such_instruction"));
    cr_expect_not_null(test_of("v_add_u32"));
    cr_expect(!has_line("v_add_u32 formulation\n", "v_add_u3"));
}
