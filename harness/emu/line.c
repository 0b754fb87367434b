/* SPDX-License-Identifier: Apache-2.0 */
/* Places in the source, from the code object's DWARF. Nothing is read before the first place is asked for. */
#include <stdio.h>
#include <string.h>

#include <dwarf.h>
#include <elfutils/libdw.h>

#include "../../reference/memory.h"
#include "object.h"

enum { LOOK_BACK = 128 };

void emu_debug_free(void *debug) {
    if (debug != NULL) dwarf_end(debug);
}

/* The compilation unit that holds an address. LLVM writes no .debug_aranges: each unit says what it covers. */
static bool find_unit(Dwarf *debug, uint64_t address, Dwarf_Die *unit) {
    Dwarf_Off offset = 0, next;
    size_t header;
    for (; dwarf_nextcu(debug, offset, &next, &header, NULL, NULL, NULL) == 0; offset = next)
        if (dwarf_offdie(debug, offset + header, unit) != NULL && dwarf_haspc(unit, address) == 1)
            return true;
    return false;
}

/* The innermost function, inlined or not. */
static const char *find_function(Dwarf_Die *unit, uint64_t address) {
    Dwarf_Die *scopes = NULL;
    const char *name = NULL;
    const int n = dwarf_getscopes(unit, address, &scopes);
    for (int i = 0; i < n && name == NULL; i++) {
        const int tag = dwarf_tag(&scopes[i]);
        Dwarf_Attribute attribute;
        if (tag == DW_TAG_subprogram || tag == DW_TAG_inlined_subroutine)
            name = dwarf_formstring(dwarf_attr_integrate(&scopes[i], DW_AT_name, &attribute));
    }
    dsv4_free(scopes); /* libdw takes it from malloc */
    return name;
}

/* The line of an address, or of the last instruction before it that has one: compilers give some line 0. */
static Dwarf_Line *line_around(Dwarf_Die *unit, uint64_t address, int *number) {
    Dwarf_Line *line = NULL;
    *number = 0;
    for (uint64_t back = 0; back <= LOOK_BACK && back <= address && *number == 0; back += 4) {
        line = dwarf_getsrc_die(unit, address - back);
        if (line == NULL || dwarf_lineno(line, number) != 0) return NULL;
    }
    return line;
}

static bool find_line(struct emu_code *code, uint64_t address, char *text, size_t size) {
    Dwarf_Die unit;
    int number;
    if (code->debug == NULL) code->debug = dwarf_begin_elf(code->elf, DWARF_C_READ, NULL);
    if (code->debug == NULL || !find_unit(code->debug, address, &unit)) return false;
    Dwarf_Line *const line = line_around(&unit, address, &number);
    const char *const path = line != NULL ? dwarf_linesrc(line, NULL, NULL) : NULL;
    if (path == NULL) return false;
    const char *const slash = strrchr(path, '/');
    const char *const function = find_function(&unit, address);
    snprintf(text, size, "%s:%d%s%s", slash != NULL ? slash + 1 : path, number,
             function != NULL ? " in " : "", function != NULL ? function : "");
    return true;
}

void emu_code_line_at(struct emu_code *code, uint64_t pc, char *text, size_t size) {
    if (size == 0) return;
    *text = '\0';
    if (pc >= code->text_bytes) return;
    pthread_mutex_lock(&code->lock);
    const bool found = find_line(code, code->text + pc, text, size);
    pthread_mutex_unlock(&code->lock);
    const struct emu_variable *const f = emu_function_around(code, pc);
    if (!found && f != NULL)
        snprintf(text, size, "%s+0x%llx", f->name,
                 (unsigned long long)(code->text + pc - f->address));
}
