/* SPDX-License-Identifier: Apache-2.0 */
#include <pthread.h>
#include <stdlib.h>
#include <string.h>

#include "insn.h"

static const struct emu_opcode *const tables[] = {
    emu_control_opcodes, emu_scalar_opcodes,  emu_vector_opcodes,  emu_float_opcodes,
    emu_half_opcodes,    emu_compare_opcodes, emu_convert_opcodes, emu_elementary_opcodes,
    emu_matrix_opcodes,  emu_memory_opcodes,  emu_smem_opcodes,    emu_scratch_opcodes,
    emu_buffer_opcodes,  emu_lds_opcodes,
};
enum { N_TABLES = sizeof tables / sizeof *tables, MAX_OPCODES = 4096 };

static const struct emu_opcode *sorted[MAX_OPCODES];
static size_t n_sorted;
static pthread_once_t once = PTHREAD_ONCE_INIT;

static int by_name(const void *a, const void *b) {
    const struct emu_opcode *const *const x = a, *const *const y = b;
    return strcmp((*x)->name, (*y)->name);
}

static void sort(void) {
    for (const struct emu_opcode *o; n_sorted < MAX_OPCODES && (o = emu_opcode_at(n_sorted));)
        sorted[n_sorted++] = o;
    qsort(sorted, n_sorted, sizeof *sorted, by_name);
}

const struct emu_opcode *emu_opcode_at(size_t i) {
    for (size_t table = 0; table < N_TABLES; table++) {
        size_t rows = 0;
        while (tables[table][rows].name != NULL) rows++;
        if (i < rows) return &tables[table][i];
        i -= rows;
    }
    return NULL;
}

static const struct emu_opcode *find(const char *name, size_t length) {
    size_t low = 0, high = n_sorted;
    while (low < high) {
        const size_t middle = low + (high - low) / 2;
        int order = strncmp(sorted[middle]->name, name, length);
        if (order == 0 && sorted[middle]->name[length] != '\0') order = 1;
        if (order == 0) return sorted[middle];
        if (order < 0)
            low = middle + 1;
        else
            high = middle;
    }
    return NULL;
}

const struct emu_opcode *emu_opcode_find(const char *mnemonic) {
    static const char *const suffixes[] = {"_e32", "_e64", "_dpp", "_sdwa", "_e64_dpp"};
    const size_t length = strlen(mnemonic);
    pthread_once(&once, sort);
    const struct emu_opcode *found = find(mnemonic, length);
    for (size_t i = 0; found == NULL && i < sizeof suffixes / sizeof *suffixes; i++) {
        const size_t suffix = strlen(suffixes[i]);
        if (length > suffix && strcmp(mnemonic + length - suffix, suffixes[i]) == 0)
            found = find(mnemonic, length - suffix);
    }
    return found;
}
