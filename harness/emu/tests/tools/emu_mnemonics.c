/* SPDX-License-Identifier: Apache-2.0 */
/*
 * usage: emu_mnemonics FILE...
 * Decodes all code of code objects (or of bundles that hold one) and lists what cannot be executed, with counts: mnemonics
 * without an opcode, and lines whose operands or form are not understood. Exit status 1 if there is any.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "../../../../reference/memory.h"
#include "../../code.h"
#include "../../decode.h"

struct count {
    char key[80], text[200]; /* what is counted, and the first line of it */
    size_t n;
};

static struct {
    struct count *rows;
    size_t n;
} missing;

static void count(const char *key, const char *text) {
    for (size_t i = 0; i < missing.n; i++)
        if (strcmp(missing.rows[i].key, key) == 0) {
            missing.rows[i].n++;
            return;
        }
    missing.rows = dsv4_resize(missing.rows, (missing.n + 1) * sizeof *missing.rows);
    struct count *const row = &missing.rows[missing.n++];
    snprintf(row->key, sizeof row->key, "%s", key);
    snprintf(row->text, sizeof row->text, "%s", text);
    row->n = 1;
}

static void look_at(struct emu_code *code, const struct emu_insn *i) {
    char text[200], key[80];
    if (i->opcode != NULL && i->run != emu_run_not_understood && i->run != emu_run_refused) return;
    emu_code_text_at(code, i->pc, text, sizeof text);
    const char *const why = i->run == emu_run_unknown          ? "not implemented"
                            : i->run == emu_run_not_understood ? "not understood"
                            : i->run == emu_run_refused        ? "form refused"
                                                               : "no instruction";
    snprintf(key, sizeof key, "%-15s %.*s", why, (int)strcspn(text, " "), text);
    count(key, text);
}

static int by_count(const void *a, const void *b) {
    const struct count *const x = a, *const y = b;
    return (x->n < y->n) - (x->n > y->n);
}

static size_t read_file(const char *path) {
    struct emu_error error;
    static uint8_t bytes[64 << 20];
    FILE *const file = fopen(path, "rb");
    const size_t size = file != NULL ? fread(bytes, 1, sizeof bytes, file) : 0;
    size_t n = 0;
    if (file != NULL) fclose(file);
    struct emu_code *const code = emu_code_load(bytes, size, &error);
    if (code == NULL) {
        fprintf(stderr, "%s: %s\n", path, error.text);
        exit(2);
    }
    for (uint64_t pc = 0; pc < emu_code_text_bytes(code); n++) {
        const struct emu_insn *const i = emu_code_at(code, pc, &error);
        if (i == NULL) {
            fprintf(stderr, "%s: %s\n", path, error.text);
            exit(2);
        }
        look_at(code, i);
        pc += i->bytes;
    }
    emu_code_free(code);
    return n;
}

int main(int argc, char **argv) {
    size_t n = 0;
    for (int i = 1; i < argc; i++) n += read_file(argv[i]);
    if (missing.n > 0) qsort(missing.rows, missing.n, sizeof *missing.rows, by_count);
    for (size_t i = 0; i < missing.n; i++)
        printf("%8zu  %-44s %s\n", missing.rows[i].n, missing.rows[i].key, missing.rows[i].text);
    printf("%8zu  instructions in all, %zu kinds missing\n", n, missing.n);
    dsv4_free(missing.rows);
    return missing.n > 0;
}
