/* SPDX-License-Identifier: Apache-2.0 */
#include "oracle.h"

#include <math.h>
#include <mpfr.h>
#include <string.h>

static const uint32_t canonical_nan = 0x7FC00000;

static float from_bits(uint32_t bits) {
    float x;
    memcpy(&x, &bits, sizeof x);
    return x;
}

static uint32_t to_bits(float x) {
    uint32_t bits;
    memcpy(&bits, &x, sizeof bits);
    return isnan(x) ? canonical_nan : bits;
}

/* binary32 in MPFR's terms: 24 bits, and the exponents of 0.1b * 2^e, subnormals included. */
enum { PRECISION = 24, EMIN = -148, EMAX = 128 };

typedef int mpfr_function(mpfr_t, const mpfr_t, mpfr_rnd_t);

static float rounded(mpfr_function *f, float x) {
    MPFR_DECL_INIT(value, PRECISION);
    mpfr_set_emin(EMIN);
    mpfr_set_emax(EMAX);
    mpfr_set_flt(value, x, MPFR_RNDN);
    int inexact = f(value, value, MPFR_RNDN);
    mpfr_subnormalize(value, inexact, MPFR_RNDN);
    return mpfr_get_flt(value, MPFR_RNDN);
}

/* MPFR takes the limit from above at -0 as well; IEEE 754 keeps the sign. */
static float rsqrt_value(float x) {
    return x == 0 ? copysignf(HUGE_VALF, x) : rounded(mpfr_rec_sqrt, x);
}

uint32_t dsv4_oracle_function(enum dsv4_function_id which, uint32_t bits) {
    float x = from_bits(bits);
    switch (which) {
    case DSV4_FN_BF16: return dsv4_oracle_encode(&dsv4_oracle_formats[DSV4_ORACLE_BF16], x);
    case DSV4_FN_E4M3FN: return dsv4_oracle_encode(&dsv4_oracle_formats[DSV4_ORACLE_E4M3FN], x);
    case DSV4_FN_E4M3FNUZ: return dsv4_oracle_encode(&dsv4_oracle_formats[DSV4_ORACLE_E4M3FNUZ], x);
    case DSV4_FN_E2M1: return dsv4_oracle_encode(&dsv4_oracle_formats[DSV4_ORACLE_E2M1], x);
    case DSV4_FN_E8M0_CEIL: return dsv4_oracle_e8m0_ceil(x);
    case DSV4_FN_EXP: return to_bits(rounded(mpfr_exp, x));
    case DSV4_FN_EXP2: return to_bits(rounded(mpfr_exp2, x));
    case DSV4_FN_LOG: return to_bits(rounded(mpfr_log, x));
    case DSV4_FN_LOG2: return to_bits(rounded(mpfr_log2, x));
    case DSV4_FN_LOG1P: return to_bits(rounded(mpfr_log1p, x));
    case DSV4_FN_RSQRT: return to_bits(rsqrt_value(x));
    default: return canonical_nan;
    }
}

void dsv4_oracle_free(void) { mpfr_free_cache(); }
