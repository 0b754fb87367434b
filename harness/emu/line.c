/* SPDX-License-Identifier: Apache-2.0 */
#include <stdio.h>
#include <string.h>

#include "object.h"

void emu_debug_free(void *debug) { (void)debug; }

void emu_code_line_at(struct emu_code *code, uint64_t pc, char *text, size_t size) {
    const struct emu_variable *const f = emu_function_around(code, pc);
    if (size > 0) *text = '\0';
    if (f != NULL)
        snprintf(text, size, "%s+0x%llx", f->name,
                 (unsigned long long)(code->text + pc - f->address));
}
