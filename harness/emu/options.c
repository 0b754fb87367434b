/* SPDX-License-Identifier: Apache-2.0 */
#include <errno.h>
#include <inttypes.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "machine.h"
#include "reference/memory.h"

static struct emu_options options;
static char *error;
static pthread_once_t once = PTHREAD_ONCE_INIT;

static bool number(const char *text, uint64_t low, uint64_t high, uint64_t *value) {
    if (*text < '0' || *text > '9') return false;
    char *end = NULL;
    errno = 0;
    const unsigned long long parsed = strtoull(text, &end, 10);
    if (errno != 0 || *end != '\0' || parsed < low || parsed > high) return false;
    *value = parsed;
    return true;
}

static bool flag(const char *word) {
    const struct {
        const char *name;
        bool *option, value;
    } flags[] = {
        {"race",             &options.race,          true },
        {"no-uninitialised", &options.uninitialised, false},
        {"trace",            &options.trace,         true },
        {"stats",            &options.stats,         true }
    };
    for (size_t i = 0; i < sizeof flags / sizeof *flags; i++)
        if (strcmp(word, flags[i].name) == 0) {
            *flags[i].option = flags[i].value;
            return true;
        }
    return false;
}

static bool setting(const char *name, const char *value) {
    uint64_t parsed = 0;
    if (strcmp(name, "approx") == 0) {
        static const char *const words[] = {"low", "exact", "high"};
        for (int i = 0; i < 3; i++)
            if (strcmp(value, words[i]) == 0) {
                options.approximate = i - 1;
                return true;
            }
        return false;
    }
    if (strcmp(name, "steps") == 0) return number(value, 1, UINT64_MAX, &options.step_budget);
    if (strcmp(name, "threads") == 0) {
        if (!number(value, 1, 4096, &parsed)) return false;
        options.threads = (int)parsed;
        return true;
    }
    if (strcmp(name, "coverage") == 0 && *value != '\0') {
        options.coverage = dsv4_copy_text(value);
        return true;
    }
    return false;
}

static void refuse(const char *word) {
    static const char form[] =
        "DSV4_EMU: \"%s\" is not understood; it is a comma-separated list of race, "
        "no-uninitialised, approx=exact|low|high, steps=N, threads=N, trace, stats, coverage=FILE";
    const size_t size = sizeof form + strlen(word);
    error = dsv4_alloc(size);
    (void)snprintf(error, size, form, word);
    (void)fprintf(stderr, "%s\n", error);
}

static void parse(void) {
    options = (struct emu_options){.uninitialised = true, .step_budget = UINT64_C(1) << 28};
    const char *const text = getenv("DSV4_EMU");
    if (text == NULL || *text == '\0') return;
    char *const copy = dsv4_copy_text(text), *rest = copy;
    for (char *word = rest; word != NULL && error == NULL; word = rest) {
        rest = strchr(word, ',');
        if (rest != NULL) *rest++ = '\0';
        char *const value = strchr(word, '=');
        if (value == NULL) {
            if (!flag(word)) refuse(word);
            continue;
        }
        *value = '\0';
        const bool understood = setting(word, value + 1);
        *value = '=';
        if (!understood) refuse(word);
    }
    dsv4_free(copy);
}

const struct emu_options *emu_options(void) {
    pthread_once(&once, parse);
    return &options;
}

const char *emu_options_error(void) {
    pthread_once(&once, parse);
    return error;
}
