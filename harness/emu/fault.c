/* SPDX-License-Identifier: Apache-2.0 */
#include <pthread.h>
#include <stdio.h>

#include "code.h"
#include "wave.h"

static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;

/* Appends to text, which holds size bytes, and stays inside. */
__attribute__((format(printf, 3, 4))) static void append(char *text, size_t size,
                                                         const char *format, ...) {
    size_t length = 0;
    while (length + 1 < size && text[length] != '\0') length++;
    va_list arguments;
    va_start(arguments, format);
    (void)vsnprintf(text + length, size - length, format, arguments);
    va_end(arguments);
}

static void place(char *text, size_t size, const struct emu_wave *w, const struct emu_insn *i,
                  int lane) {
    const struct emu_group *const group = w->group;
    const struct emu_launch *const launch = group->launch;
    const struct emu_kernel *const kernel = launch->kernel;
    append(text, size, "; kernel %s, workgroup (%u, %u, %u), ",
           kernel != NULL && kernel->name != NULL ? kernel->name : "?", group->id[0], group->id[1],
           group->id[2]);
    if (lane >= 0) {
        const uint32_t item = w->index * EMU_LANES + (uint32_t)lane;
        const uint32_t x = launch->block[0], y = launch->block[1];
        if (x > 0 && y > 0)
            append(text, size, "thread (%u, %u, %u), ", item % x, item / x % y, item / x / y);
        append(text, size, "wave %u lane %d", w->index, lane);
    } else {
        append(text, size, "wave %u", w->index);
    }
    if (i == NULL) return;
    append(text, size, "; at 0x%x", i->pc);
    if (kernel == NULL || kernel->code == NULL) return;
    char line[256] = "";
    emu_code_text_at(kernel->code, i->pc, line, sizeof line);
    append(text, size, ": %s", line);
    emu_code_line_at(kernel->code, i->pc, line, sizeof line);
    if (line[0] != '\0') append(text, size, "; %s", line);
}

const struct emu_insn *emu_fault(struct emu_wave *w, const struct emu_insn *i,
                                 enum emu_fault_kind kind, int lane, const char *format, ...) {
    w->state = EMU_FAULTED;
    w->next = i;
    if (w->group == NULL) return NULL; /* a test's bare wave */
    struct emu_launch *const launch = w->group->launch;
    pthread_mutex_lock(&lock);
    if (launch->fault.kind == EMU_NO_FAULT) {
        va_list arguments;
        va_start(arguments, format);
        (void)vsnprintf(launch->fault.text, sizeof launch->fault.text, format, arguments);
        va_end(arguments);
        place(launch->fault.text, sizeof launch->fault.text, w, i, lane);
        launch->fault.kind = kind;
#pragma omp atomic write
        launch->stop = 1;
    }
    pthread_mutex_unlock(&lock);
    return NULL;
}
