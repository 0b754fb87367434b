/* SPDX-License-Identifier: Apache-2.0 */
/* The loops that execute instructions. The first two are all there is on the hot path. */
#include <pthread.h>
#include <stdio.h>
#include <string.h>

#include "group.h"

uint64_t emu_run_plain(struct emu_wave *w, uint64_t limit) {
    const struct emu_insn *i = w->next;
    uint64_t left = limit;
    do {
        i = i->run(w, i);
        left--;
    } while (i != NULL && left != 0);
    if (i != NULL) w->next = i;
    return limit - left;
}

uint64_t emu_run_checked(struct emu_wave *w, uint64_t limit) {
    const struct emu_insn *i = w->next;
    uint64_t left = limit;
    do {
        i = i->checked(w, i);
        left--;
    } while (i != NULL && left != 0);
    if (i != NULL) w->next = i;
    return limit - left;
}

/* ---- the mnemonics that this process has executed, each in the forms that it met ---- */

enum { FORMS = 3, MAX_MET = 1 << 14 };
static const char *const form_suffix[FORMS] = {"", "_dpp", "_sdwa"};
static struct {
    const struct emu_opcode *opcode;
    unsigned form;
    bool written;
} met[MAX_MET];
static pthread_mutex_t met_lock = PTHREAD_MUTEX_INITIALIZER;

static void meet(const struct emu_insn *i) {
    if (i->opcode == NULL) return;
    const unsigned form = i->dpp != EMU_DPP_NONE ? 1 : i->sdwa ? 2 : 0;
    size_t at = ((uintptr_t)i->opcode / sizeof *i->opcode * FORMS + form) % MAX_MET;
    pthread_mutex_lock(&met_lock);
    while (met[at].opcode != NULL && (met[at].opcode != i->opcode || met[at].form != form))
        at = (at + 1) % MAX_MET;
    met[at].opcode = i->opcode;
    met[at].form = form;
    pthread_mutex_unlock(&met_lock);
}

void emu_observe_end(void) {
    const char *const path = emu_options()->coverage;
    if (path == NULL) return;
    pthread_mutex_lock(&met_lock);
    FILE *const file = fopen(path, "a");
    if (file == NULL) (void)fprintf(stderr, "DSV4_EMU: %s cannot be written\n", path);
    for (size_t at = 0; at < MAX_MET && file != NULL; at++) {
        if (met[at].opcode == NULL || met[at].written) continue;
        (void)fprintf(file, "%s%s\n", met[at].opcode->name, form_suffix[met[at].form]);
        met[at].written = true;
    }
    if (file != NULL) (void)fclose(file);
    pthread_mutex_unlock(&met_lock);
}

static void trace(const struct emu_wave *w, const struct emu_insn *i) {
    const struct emu_group *const group = w->group;
    char line[EMU_INSN_TEXT] = "";
    emu_code_text_at(group->launch->kernel->code, i->pc, line, sizeof line);
    (void)fprintf(stderr, "%s (%u,%u,%u) wave %u exec %016llx 0x%x: %s\n",
                  group->launch->kernel->name, group->id[0], group->id[1], group->id[2], w->index,
                  (unsigned long long)emu_exec(w), i->pc, line);
}

uint64_t emu_run_observed(struct emu_wave *w, uint64_t limit) {
    const struct emu_options *const options = emu_options();
    const bool tracked = w->group->launch->tracked;
    const struct emu_insn *i = w->next;
    uint64_t left = limit;
    do {
        if (options->trace) trace(w, i);
        if (options->coverage != NULL) meet(i);
        i = tracked ? i->checked(w, i) : i->run(w, i);
        left--;
    } while (i != NULL && left != 0);
    if (i != NULL) w->next = i;
    return limit - left;
}
