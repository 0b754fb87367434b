/* SPDX-License-Identifier: Apache-2.0 */
/* A sample of what harness/tests/tools/sincos_exhaustive.c compares with MPFR. */
#include <criterion/criterion.h>
#include <mpfr.h>

#include "../../reference/num/rope.h"

static float correct(float theta, int i) {
    mpfr_t x;
    mpfr_init2(x, 200);
    mpfr_set_flt(x, theta, MPFR_RNDN);
    mpfr_log(x, x, MPFR_RNDN);
    mpfr_mul_si(x, x, i, MPFR_RNDN);
    mpfr_div_si(x, x, 32, MPFR_RNDN);
    mpfr_exp(x, x, MPFR_RNDN);
    const float y = mpfr_get_flt(x, MPFR_RNDN);
    mpfr_clear(x);
    return y;
}

Test(num_rope, powers_of_theta) {
    static const float thetas[] = {1e4f, 1.6e5f, 4e4f, 5e5f, 1e6f, 2.0f, 12345.678f};
    for (size_t t = 0; t < sizeof thetas / sizeof *thetas; t++)
        for (int i = 0; i < 32; i++)
            cr_assert_eq(dsv4_theta_power(thetas[t], i), correct(thetas[t], i), "%g, %d",
                         (double)thetas[t], i);
}

static void compare(float angle, mpfr_t x, mpfr_t s, mpfr_t c) {
    float sine, cosine;
    dsv4_sincos(angle, &sine, &cosine);
    mpfr_set_flt(x, angle, MPFR_RNDN);
    mpfr_sin_cos(s, c, x, MPFR_RNDN);
    cr_assert_eq(sine, mpfr_get_flt(s, MPFR_RNDN), "sin(%a)", (double)angle);
    cr_assert_eq(cosine, mpfr_get_flt(c, MPFR_RNDN), "cos(%a)", (double)angle);
}

Test(num_rope, angles) {
    static const struct dsv4_rope_rule rules[] = {
        {1e4f,   DSV4_YARN_NONE, 1.0f,  0.0f,  1.0f },
        {1.6e5f, DSV4_YARN_REF,  16.0f, 15.0f, 25.0f},
        {1.6e5f, DSV4_YARN_VLLM, 16.0f, 15.0f, 25.0f}
    };
    mpfr_t x, s, c;
    mpfr_inits2(24, x, s, c, (mpfr_ptr)0);
    for (size_t r = 0; r < sizeof rules / sizeof *rules; r++)
        for (int i = 0; i < 32; i++)
            for (int64_t p = 0; p < 1 << 20; p += p < 64 ? 1 : 4099)
                compare((float)p * dsv4_rope_frequency(&rules[r], i), x, s, c);
    mpfr_clears(x, s, c, (mpfr_ptr)0);
}
