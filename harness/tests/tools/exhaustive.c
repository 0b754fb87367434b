/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Proves the functions of reference/num/ for every one of the 2^32 binary32 inputs.
 *
 *     exhaustive [function...]         proof against the oracle (default: all functions)
 *     exhaustive --hash [function...]  compares the hash of all results with the one that the proof
 *                                      left in reference/num/functions.c: for other compilers
 *     exhaustive --plant               plants wrong results and demands that each is found
 *
 * Every input is evaluated; the oracle is not asked at every input. All functions here are monotone
 * in |x| on the positive and on the negative half of their domain, and rounding to nearest is
 * monotone, so the correct results are monotone too. Where our results are equal at neighbouring
 * inputs a..b and the oracle confirms a and b, every correct result in between is squeezed between
 * two equal values: the whole run is proven by its two ends. Conversions, overflow, underflow, exp
 * near 0 and most of log consist of long runs; where each input has its own result the oracle is
 * asked at each. Inputs outside the domain (NaN, log of negatives, ...) have one answer and are
 * compared directly.
 *
 * log1p(x) is x for tiny x, 1.7e9 inputs each with its own result: |log1p(x) - x| <= x^2 for
 * |x| <= 1/2, and below 2^-27 x^2 is less than the way from x to the nearest tie, so x itself is
 * expected. MPFR is asked for one in 1024 all the same.
 *
 * rsqrt has runs of a few inputs only, but a second exact argument: 1/sqrt(4^j m) = 2^-j /
 * sqrt(m), and as no result is subnormal or overflows, rounding commutes with 2^-j. MPFR judges m
 * in [1, 4); every other positive finite input must equal our own result at m, scaled.
 */
#include <inttypes.h>
#include <omp.h>
#include <stdbool.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "reference/num/functions.h"
#include "reference/oracle/oracle.h"

enum { BLOCK = 1 << 16, N_BLOCKS = 1 << 16, SHOWN = 8 };

static const uint32_t some_nan = 0x7FC00000, infinity = 0x7F800000, minus_zero = 0x80000000;

struct tally {
    uint64_t inputs, asked, wrong;
};

/* The last input of the negative half that belongs to the domain; the positive half always ends at
 * +inf. */
static uint32_t domain_end(enum dsv4_function_id which) {
    switch (which) {
    case DSV4_FN_LOG:
    case DSV4_FN_LOG2:
    case DSV4_FN_RSQRT: return minus_zero;
    case DSV4_FN_LOG1P: return 0xBF800000; /* -1 */
    default: return 0xFF800000;            /* -inf */
    }
}

static bool in_domain(enum dsv4_function_id which, uint32_t bits) {
    return bits <= infinity || (bits >= minus_zero && bits <= domain_end(which));
}

/* 1/sqrt of a positive finite input outside [1, 4) from our own result inside; see the top of this
 * file. */
static uint32_t rsqrt_scaled(uint32_t bits) {
    float x, y;
    uint64_t wide;
    memcpy(&x, &bits, sizeof x);
    double d = x;
    memcpy(&wide, &d, sizeof wide);
    int64_t exponent = (int64_t)(wide >> 52) - 1023;
    int64_t j = exponent >= 0 ? exponent / 2 : -((1 - exponent) / 2);
    wide -= (uint64_t)(2 * j) << 52;
    memcpy(&d, &wide, sizeof d);
    float m = (float)d;
    uint32_t result;
    memcpy(&bits, &m, sizeof bits);
    dsv4_functions[DSV4_FN_RSQRT].run(&result, bits, 1);
    uint64_t power = (uint64_t)(1023 - j) << 52;
    memcpy(&y, &result, sizeof y);
    memcpy(&d, &power, sizeof d);
    y = (float)(y * d);
    memcpy(&result, &y, sizeof result);
    return result;
}

/* Inputs that an inequality or a scaling decides; see the top of this file. */
static bool decided_without_oracle(enum dsv4_function_id which, uint32_t bits) {
    if (which == DSV4_FN_LOG1P) /* below 2^-27 */
        return (bits & 0x7FFFFFFF) < 0x32000000 && bits % 1024 != 0;
    bool one_to_four = bits >= 0x3F800000 && bits < 0x40800000;
    return which == DSV4_FN_RSQRT && bits != 0 && bits < infinity && !one_to_four;
}

static uint32_t expected(enum dsv4_function_id which, uint32_t bits) {
    if (!decided_without_oracle(which, bits)) return dsv4_oracle_function(which, bits);
    return which == DSV4_FN_RSQRT ? rsqrt_scaled(bits) : bits;
}

static bool is_wrong(enum dsv4_function_id which, uint32_t bits, uint32_t got, bool quiet) {
    uint32_t want = expected(which, bits);
    if (want != got && !quiet)
        printf("%s: input %08" PRIx32 " gives %08" PRIx32 ", the oracle %08" PRIx32 "\n",
               dsv4_functions[which].name, bits, got, want);
    return want != got;
}

/* Judges results[0..n) of one run: the ends decide; if either is wrong, every input is asked for.
 */
static void prove_run(struct tally *t, enum dsv4_function_id which, uint32_t first,
                      const uint32_t *results, size_t n, bool quiet) {
    const uint32_t last = first + (uint32_t)n - 1;
    bool ends = is_wrong(which, first, results[0], true);
    t->asked += !decided_without_oracle(which, first);
    if (n > 1) {
        ends |= is_wrong(which, last, results[n - 1], true);
        t->asked += !decided_without_oracle(which, last);
    }
    if (!ends) return;
    for (size_t i = 0; i < n; i++)
        t->wrong += is_wrong(which, first + (uint32_t)i, results[i], quiet || t->wrong >= SHOWN);
}

static void prove_block(struct tally *t, enum dsv4_function_id which, uint32_t first,
                        const uint32_t *results, bool quiet) {
    const uint32_t outside = dsv4_oracle_function(which, some_nan);
    for (size_t i = 0, end; i < BLOCK; i = end) {
        end = i + 1;
        if (!in_domain(which, first + (uint32_t)i)) {
            bool wrong = results[i] != outside;
            if (wrong && !quiet && t->wrong < SHOWN)
                printf("%s: input %08" PRIx32 " outside the domain gives %08" PRIx32 "\n",
                       dsv4_functions[which].name, first + (uint32_t)i, results[i]);
            t->wrong += wrong;
            continue;
        }
        while (end < BLOCK && results[end] == results[i] && in_domain(which, first + (uint32_t)end))
            end++;
        prove_run(t, which, first + (uint32_t)i, results + i, end - i, quiet);
    }
    t->inputs += BLOCK;
}

static void show_progress(const char *name, int64_t *done) {
    int64_t now;
#pragma omp atomic capture
    now = ++*done;
    if (now % (N_BLOCKS / 100) == 0 && isatty(STDERR_FILENO))
        fprintf(stderr, "\r%s %d%%\r", name, (int)(now * 100 / N_BLOCKS));
}

static int prove(enum dsv4_function_id which) {
    const struct dsv4_function *f = &dsv4_functions[which];
    uint64_t inputs = 0, asked = 0, wrong = 0;
    int64_t done = 0;
    double start = omp_get_wtime();
#pragma omp parallel reduction(+ : inputs, asked, wrong)
    {
        static _Thread_local uint32_t results[BLOCK];
        struct tally t = {0};
#pragma omp for schedule(dynamic, 16)
        for (int64_t b = 0; b < N_BLOCKS; b++) {
            f->run(results, (uint32_t)b * BLOCK, BLOCK);
            prove_block(&t, which, (uint32_t)b * BLOCK, results, false);
            show_progress(f->name, &done);
        }
        inputs += t.inputs;
        asked += t.asked;
        wrong += t.wrong;
        dsv4_oracle_free();
    }
    double seconds = omp_get_wtime() - start;
    uint64_t hash = dsv4_function_hash(which, 0, UINT64_C(1) << 32);
    const char *known = hash == f->hash ? "as recorded" : "NOT as recorded in functions.c";
    printf("%-10s %" PRIu64 " inputs proven, %" PRIu64 " oracle calls, %" PRIu64
           " wrong, %.1f s; hash %016" PRIx64 " %s\n",
           f->name, inputs - wrong, asked, wrong, seconds, hash, known);
    fflush(stdout);
    return wrong != 0 || inputs != UINT64_C(1) << 32 || hash != f->hash;
}

static int compare_hash(enum dsv4_function_id which) {
    double start = omp_get_wtime();
    uint64_t hash = dsv4_function_hash(which, 0, UINT64_C(1) << 32);
    bool same = hash == dsv4_functions[which].hash;
    printf("%-10s %016" PRIx64 " %s, %.1f s\n", dsv4_functions[which].name, hash,
           same ? "as proven" : "DIFFERS from the proven hash", omp_get_wtime() - start);
    fflush(stdout);
    return !same;
}

/* One wrong result among BLOCK must be counted as exactly one. */
static int expect_caught(enum dsv4_function_id which, uint32_t first, const uint32_t *results,
                         uint32_t planted) {
    struct tally t = {0};
    prove_block(&t, which, first, results, true);
    if (t.wrong == 1) return 0;
    printf("%s: planted a wrong result at %08" PRIx32 ", found %" PRIu64 " wrong\n",
           dsv4_functions[which].name, planted, t.wrong);
    return 1;
}

/* A wrong bit in the middle of things, at ends of ranges and outside the domain. */
static int plant_bits(enum dsv4_function_id which, uint32_t *results) {
    static const uint32_t places[] = {0x00000000, 0x00000001, 0x0000FFFF, 0x34567890,
                                      0x3F5C28F6, 0x3F800000, 0x7F7FFFFF, 0x7F800000,
                                      0x7F800001, 0x7FFFFFFF, 0x80000000, 0x80000001,
                                      0xBE99999A, 0xBF800000, 0xFF800000, 0xFFFFFFFF};
    int missed = 0;
    for (size_t i = 0; i < sizeof places / sizeof places[0]; i++) {
        uint32_t first = places[i] & ~(uint32_t)(BLOCK - 1);
        dsv4_functions[which].run(results, first, BLOCK);
        results[places[i] - first] ^= 1;
        missed += expect_caught(which, first, results, places[i]);
    }
    return missed;
}

/* A run that is one input too long: the value is right next door, so only the check of run ends
 * sees it. */
static int plant_long_run(enum dsv4_function_id which, uint32_t *results) {
    for (uint32_t first = 0x3F800000; first < infinity; first += BLOCK) {
        dsv4_functions[which].run(results, first, BLOCK);
        for (size_t i = 1; i < BLOCK; i++) {
            if (results[i] == results[i - 1]) continue;
            results[i] = results[i - 1];
            return expect_caught(which, first, results, first + (uint32_t)i);
        }
    }
    printf("%s: found no two different results\n", dsv4_functions[which].name);
    return 1;
}

static int plant_all(void) {
    static uint32_t results[BLOCK];
    int missed = 0;
    for (enum dsv4_function_id which = 0; which < DSV4_N_FUNCTIONS; which++) {
        missed += plant_bits(which, results);
        missed += plant_long_run(which, results);
    }
    printf(missed == 0 ? "every planted wrong result was found\n"
                       : "planted wrong results went unnoticed: the proof proves nothing\n");
    dsv4_oracle_free();
    return missed != 0;
}

static int find(const char *name) {
    for (int i = 0; i < DSV4_N_FUNCTIONS; i++)
        if (strcmp(dsv4_functions[i].name, name) == 0) return i;
    return -1;
}

static int usage(void) {
    fprintf(stderr, "usage: exhaustive [--hash] [function...]\n"
                    "       exhaustive --plant\n"
                    "functions:");
    for (int i = 0; i < DSV4_N_FUNCTIONS; i++) fprintf(stderr, " %s", dsv4_functions[i].name);
    fprintf(stderr, "\n");
    return 2;
}

int main(int argc, char **argv) {
    if (argc == 2 && strcmp(argv[1], "--plant") == 0) return plant_all();
    bool hash_only = argc > 1 && strcmp(argv[1], "--hash") == 0;
    int first = hash_only ? 2 : 1, failed = 0;
    for (int i = first; i < argc; i++)
        if (find(argv[i]) < 0) return usage();
    int n = argc > first ? argc - first : DSV4_N_FUNCTIONS;
    for (int i = 0; i < n; i++) {
        int which = argc > first ? find(argv[first + i]) : i;
        failed |= hash_only ? compare_hash((enum dsv4_function_id)which)
                            : prove((enum dsv4_function_id)which);
    }
    return failed;
}
