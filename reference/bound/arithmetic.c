/* SPDX-License-Identifier: Apache-2.0 */
#include "arithmetic.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

const char *const dsv4_class_names[] = {"BITS",    "F32-SEQ",         "F32-ANY",
                                        "TC25-RZ", "TC13-PROMOTE128", "CDNA3-FLOOR24"};
enum { N_CLASSES = sizeof dsv4_class_names / sizeof *dsv4_class_names };

static const struct {
    const char *name;
    size_t offset;
} functions[] = {
    {"exp",    offsetof(dsv4_arithmetic, exp_ulp)   },
    {"log",    offsetof(dsv4_arithmetic, log_ulp)   },
    {"rsqrt",  offsetof(dsv4_arithmetic, rsqrt_ulp) },
    {"divide", offsetof(dsv4_arithmetic, divide_ulp)},
};
enum { N_FUNCTIONS = sizeof functions / sizeof *functions };

static const float rounded = 0.5f, fast = 2.0f, most = 64.0f;

static float *ulp_of(dsv4_arithmetic *a, int function) {
    return (float *)(void *)((char *)a + functions[function].offset);
}

static float ulp(const dsv4_arithmetic *a, int function) {
    return *(const float *)(const void *)((const char *)a + functions[function].offset);
}

static dsv4_arithmetic make(uint32_t accumulation) {
    dsv4_arithmetic a = {.size = sizeof a, .accumulation = accumulation};
    for (int f = 0; f < N_FUNCTIONS; f++) *ulp_of(&a, f) = accumulation == 0 ? rounded : fast;
    return a;
}

dsv4_arithmetic dsv4_arithmetic_canon(void) { return make(DSV4_CANON); }

static int parse_function(dsv4_arithmetic *a, const char *word, struct dsv4_err *err) {
    const char *const equals = strchr(word, '=');
    for (int f = 0; f < N_FUNCTIONS && equals != NULL; f++) {
        char *end = NULL;
        if (strlen(functions[f].name) != (size_t)(equals - word) ||
            strncmp(word, functions[f].name, (size_t)(equals - word)) != 0)
            continue;
        *ulp_of(a, f) = strtof(equals + 1, &end);
        if (end == equals + 1 || *end != '\0')
            return dsv4_fail(err, "'%.40s' is not FUNCTION=ULP", word);
        return 0;
    }
    return dsv4_fail(err, "'%.40s' is not exp=, log=, rsqrt= or divide= and a number", word);
}

int dsv4_arithmetic_check(const dsv4_arithmetic *a, struct dsv4_err *err) {
    if (a->accumulation >= N_CLASSES)
        return dsv4_fail(err, "%u is no accumulation class", a->accumulation);
    for (int f = 0; f < N_FUNCTIONS; f++)
        if (!(ulp(a, f) >= rounded && ulp(a, f) <= most))
            return dsv4_fail(err, "%s=%g: 0.5 to 64 ulp", functions[f].name, (double)ulp(a, f));
    return 0;
}

int dsv4_arithmetic_parse(dsv4_arithmetic *a, const char *text, struct dsv4_err *err) {
    char words[DSV4_WORD_SIZE], *rest = NULL;
    uint32_t accumulation = 0;
    snprintf(words, sizeof words, "%s", text);
    const char *word = strtok_r(words, " ,", &rest);
    while (word != NULL && accumulation < N_CLASSES &&
           strcmp(dsv4_class_names[accumulation], word) != 0)
        accumulation++;
    if (word == NULL || accumulation == N_CLASSES)
        return dsv4_fail(
            err, "'%.40s' is not BITS, F32-SEQ, F32-ANY, TC25-RZ, TC13-PROMOTE128 or CDNA3-FLOOR24",
            word != NULL ? word : "");
    *a = make(accumulation);
    while ((word = strtok_r(NULL, " ,", &rest)) != NULL)
        if (parse_function(a, word, err) != 0) return -1;
    return dsv4_arithmetic_check(a, err);
}

void dsv4_arithmetic_text(char *text, size_t size, const dsv4_arithmetic *a) {
    size_t n = (size_t)snprintf(text, size, "%s", dsv4_class_names[a->accumulation]);
    for (int f = 0; f < N_FUNCTIONS && a->accumulation != DSV4_CANON && n < size; f++)
        n += (size_t)snprintf(text + n, size - n, " %s=%g", functions[f].name, (double)ulp(a, f));
}
