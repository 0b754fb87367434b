/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Compares reference/num/sincos.h with MPFR: the bases theta^(i / 32), and sin and cos of every angle of the RoPE tables.
 *
 *   gcc -O2 -march=native -ffp-contract=off -fopenmp -I. harness/tests/tools/sincos_exhaustive.c -lmpfr -lgmp -lm
 *   ./a.out [positions, 1048576]
 *
 * 1048576 positions take about ten minutes of one core per table; the unit tests run a sample.
 */
#include <mpfr.h>
#include <stdio.h>
#include <stdlib.h>

#include "../../../reference/num/rope.h"
#include "../../../reference/num/sincos.h"

static int64_t check_powers(float theta) {
    int64_t wrong = 0;
    mpfr_t x, y;
    mpfr_init2(x, 200);
    mpfr_init2(y, 24);
    for (int i = 0; i < 32; i++) {
        mpfr_set_flt(x, theta, MPFR_RNDN);
        mpfr_log(x, x, MPFR_RNDN);
        mpfr_mul_si(x, x, i, MPFR_RNDN);
        mpfr_div_si(x, x, 32, MPFR_RNDN);
        mpfr_exp(x, x, MPFR_RNDN);
        mpfr_set(y, x, MPFR_RNDN);
        wrong += mpfr_get_flt(y, MPFR_RNDN) != dsv4_theta_power(theta, i);
    }
    mpfr_clears(x, y, (mpfr_ptr)0);
    return wrong;
}

static int64_t check_angle(float angle, mpfr_t x, mpfr_t s, mpfr_t c) {
    float sine, cosine;
    dsv4_sincos(angle, &sine, &cosine);
    mpfr_set_flt(x, angle, MPFR_RNDN);
    mpfr_sin_cos(s, c, x, MPFR_RNDN);
    const float want_sine = mpfr_get_flt(s, MPFR_RNDN), want_cosine = mpfr_get_flt(c, MPFR_RNDN);
    const int64_t wrong = (want_sine != sine) + (want_cosine != cosine);
    if (wrong != 0)
        printf("angle %a: sin %a, want %a; cos %a, want %a\n", (double)angle, (double)sine,
               (double)want_sine, (double)cosine, (double)want_cosine);
    return wrong;
}

static int64_t check_table(struct dsv4_rope_rule rule, int64_t positions) {
    float frequency[32];
    int64_t wrong = check_powers(rule.theta);
    for (int i = 0; i < 32; i++) frequency[i] = dsv4_rope_frequency(&rule, i);
#pragma omp parallel reduction(+ : wrong)
    {
        mpfr_t x, s, c;
        mpfr_inits2(24, x, s, c, (mpfr_ptr)0);
#pragma omp for schedule(dynamic, 1024)
        for (int64_t p = 0; p < positions; p++)
            for (int i = 0; i < 32; i++) wrong += check_angle((float)p * frequency[i], x, s, c);
        mpfr_clears(x, s, c, (mpfr_ptr)0);
    }
    return wrong;
}

int main(int argc, char **argv) {
    static const struct {
        const char *name;
        struct dsv4_rope_rule rule;
    } tables[] = {
        {"theta 1e4",                     {1e4f, DSV4_YARN_NONE, 1.0f, 0.0f, 1.0f}     },
        {"theta 1.6e5, YaRN as model.py", {1.6e5f, DSV4_YARN_REF, 16.0f, 15.0f, 25.0f} },
        {"theta 1.6e5, YaRN as vllm",     {1.6e5f, DSV4_YARN_VLLM, 16.0f, 15.0f, 25.0f}},
        {"theta 1e4, YaRN of factor 1",   {1e4f, DSV4_YARN_VLLM, 1.0f, 29.0f, 42.0f}   },
    };
    const int64_t positions = argc > 1 ? atoll(argv[1]) : 1 << 20;
    int64_t wrong = 0;
    for (size_t i = 0; i < sizeof tables / sizeof *tables; i++) {
        const int64_t found = check_table(tables[i].rule, positions);
        printf("%s: %lld positions, %lld wrong\n", tables[i].name, (long long)positions,
               (long long)found);
        fflush(stdout);
        wrong += found;
    }
    return wrong != 0;
}
