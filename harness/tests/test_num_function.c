/* SPDX-License-Identifier: Apache-2.0 */
/* exp, exp2, log, log2, log1p, rsqrt against MPFR: every binade, ends of domains, subnormal results, and
 * the inputs whose results lie closest to a tie. exhaustive.c does all 2^32. */
#include <criterion/criterion.h>
#include <math.h>
#include <string.h>

#include "reference/num/bits.h"
#include "reference/num/exp.h"
#include "reference/num/functions.h"
#include "reference/num/log.h"
#include "reference/num/rsqrt.h"
#include "reference/oracle/oracle.h"

typedef float function(float x);

/* The hardest to round: results within 2^-25 to 2^-43 of a unit in the last place of a tie. */
static const uint32_t hard[] = {
    /* exp */
    0xC16912CD,
    0xBBF0EDF1,
    0x377EFF81,
    0xBAE0E25C,
    0xB3000000,
    0x39C6BE5B,
    0x38E69CC1,
    0x383A3EF1,
    0x3D1A274E,
    0x40315B33,
    0x4001B249,
    0x39E5BB1D,
    /* exp2 */
    0xB52D1F9A,
    0xBCF3A937,
    0x3B429D37,
    0xB8D3D026,
    0xBAEC2B40,
    0x3A07857C,
    0x3C02A9AD,
    0x36879CF7,
    0xBE1F29DE,
    0x33B8AA3B,
    0x3DC9ABE2,
    0xB466D4CB,
    /* log */
    0x65D890D3,
    0x4C5D65A5,
    0x4D604EBE,
    0x41178FEB,
    0x1F116AB8,
    0x66A8C860,
    0x3C413D3A,
    0x6F31A8EC,
    0x38DCBE38,
    0x4665A9A6,
    0x5EE8984E,
    0x3BF86EF0,
    /* log1p */
    0x35400003,
    0xB53FFFFD,
    0x65D890D3,
    0x3EFD81AD,
    0x3710001B,
    0xB70FFFE5,
    0x55185F82,
    0x41078FEB,
    0x66A8C860,
    0xBB0EC8C4,
    0x6F31A8EC,
    0x3770004B,
    /* rsqrt */
    0x403A18E3,
    0x4009F038,
};

/* Where something begins or ends: overflow, the last normal and subnormal results, ties with zero,
 * 1 +- ulp. */
static const uint32_t edges[] = {
    0x42B17217, 0x42B17218, 0x42B17219, 0xC2AEAC4F, 0xC2AEAC50, 0xC2AEAC51, 0xC2CFF1B4, 0xC2CFF1B5,
    0xC2CFF1B6, 0xC2D00000, 0x42D00000, 0x42FFFFFF, 0x43000000, 0x43000001, 0xC2FC0000, 0xC2FC0001,
    0xC3150000, 0xC3150001, 0xC3160000, 0xC3160001, 0xC3170000, 0x3F7FFFFF, 0x3F800000, 0x3F800001,
    0xBF7FFFFF, 0xBF800000, 0xBF800001, 0x33000000, 0x33800000, 0x33800001, 0xB3000000, 0xB3000001,
    0xB3800000, 0x34000000, 0x4B800000, 0x4B800001, 0x5F000000, 0x00800000, 0x007FFFFF, 0x00400000,
    0x7F800000, 0xFF800000, 0x7FC00000, 0xFFC00000, 0x7F800001, 0xFFFFFFFF, 0x00000000, 0x80000000,
};

static size_t fault(enum dsv4_function_id which, function *f, uint32_t bits) {
    return dsv4_bits(f(dsv4_from_bits(bits))) != dsv4_oracle_function(which, bits);
}

/* Random inputs between two floats of the same sign. */
static size_t faults_between(enum dsv4_function_id which, function *f, uint32_t low, uint32_t high,
                             int n) {
    uint64_t state = low;
    size_t faults = 0;
    for (int i = 0; i < n; i++) {
        state = state * UINT64_C(6364136223846793005) + UINT64_C(1442695040888963407);
        faults += fault(which, f, low + (uint32_t)((state >> 32) % (high - low + 1)));
    }
    return faults;
}

static size_t function_faults(enum dsv4_function_id which, function *f) {
    size_t faults = 0;
    for (size_t i = 0; i < sizeof edges / sizeof edges[0]; i++) faults += fault(which, f, edges[i]);
    for (size_t i = 0; i < sizeof hard / sizeof hard[0]; i++) faults += fault(which, f, hard[i]);
    for (uint32_t top = 0; top < 512; top++) { /* sign and exponent */
        faults += fault(which, f, top << 23) + fault(which, f, top << 23 | 1);
        faults += fault(which, f, top << 23 | 0x400000) + fault(which, f, top << 23 | 0x7FFFFF);
        faults += faults_between(which, f, top << 23, top << 23 | 0x7FFFFF, 40);
    }
    faults += faults_between(which, f, 0xC2AEAC50, 0xC2D00000, 4000); /* exp to subnormals */
    faults += faults_between(which, f, 0xC2FC0000, 0xC3160000, 4000); /* exp2 to subnormals */
    faults += faults_between(which, f, 0x3F000000, 0x3FFFFFFF, 4000); /* log around its zero */
    faults += faults_between(which, f, 0xBF000000, 0xBF800000, 4000); /* log1p to its pole */
    dsv4_oracle_free();
    return faults;
}

static float (*const functions[])(float) = {dsv4_exp,  dsv4_exp2,  dsv4_log,
                                            dsv4_log2, dsv4_log1p, dsv4_rsqrt};

Test(num_function, correctly_rounded) {
    for (enum dsv4_function_id which = DSV4_FN_EXP; which <= DSV4_FN_RSQRT; which++)
        cr_expect_eq(function_faults(which, functions[which - DSV4_FN_EXP]), 0, "%s",
                     dsv4_functions[which].name);
}

Test(num_function, known_values) {
    cr_expect_eq(dsv4_bits(dsv4_exp(1.0f)), 0x402DF854);
    cr_expect_eq(dsv4_exp(0.0f), 1.0f);
    cr_expect_eq(dsv4_exp(-INFINITY), 0.0f);
    cr_expect_eq(dsv4_exp2(-149.0f), 0x1p-149f);
    cr_expect_eq(dsv4_exp2(-150.0f), 0.0f, "a tie between 0 and the least subnormal goes to 0");
    cr_expect_eq(dsv4_exp2(127.0f), 0x1p127f);
    cr_expect_eq(dsv4_exp2(128.0f), INFINITY);
    cr_expect_eq(dsv4_bits(dsv4_log(1.0f)), 0);
    cr_expect_eq(dsv4_bits(dsv4_log(2.0f)), 0x3F317218);
    cr_expect_eq(dsv4_log2(8.0f), 3.0f);
    cr_expect_eq(dsv4_log2(0x1p-149f), -149.0f);
    cr_expect_eq(dsv4_log2(-0.0f), -INFINITY);
    cr_expect_eq(dsv4_log(-0.0f), -INFINITY);
    cr_expect_eq(dsv4_bits(dsv4_log(-1.0f)), 0x7FC00000);
    cr_expect_eq(dsv4_bits(dsv4_log1p(-0.0f)), 0x80000000);
    cr_expect_eq(dsv4_log1p(-1.0f), -INFINITY);
    cr_expect_eq(dsv4_rsqrt(4.0f), 0.5f);
    cr_expect_eq(dsv4_rsqrt(0x1p-148f), 0x1p74f);
    cr_expect_eq(dsv4_rsqrt(-0.0f), -INFINITY);
    cr_expect_eq(dsv4_bits(dsv4_rsqrt(-0x1p-149f)), 0x7FC00000);
}

/* ---- wrong implementations: each must be reported ---- */

static float one_ulp(float y) { return dsv4_from_bits(dsv4_bits(y) + 1); }
static float exp_one_input(float x) {
    return dsv4_bits(x) == hard[0] ? one_ulp(dsv4_exp(x)) : dsv4_exp(x);
}
static float exp_flushes(float x) { return dsv4_exp(x) < 0x1p-126f ? 0.0f : dsv4_exp(x); }
static float exp_early_inf(float x) { return x > 88.0f ? INFINITY : dsv4_exp(x); }
static float exp_nan_payload(float x) { return x != x ? x : dsv4_exp(x); }
static float exp_nan_is_zero(float x) { return x != x ? 0.0f : dsv4_exp(x); }
static float exp_by_float(float x) { return dsv4_exp2(x * 0x1.715476p+0f); }
static float exp2_tie_up(float x) { return x == -150.0f ? 0x1p-149f : dsv4_exp2(x); }
static float exp2_two_steps(float x) { return dsv4_exp2(0.5f * x) * dsv4_exp2(0.5f * x); }
static float log_minus_zero(float x) { return x == 1.0f ? -0.0f : dsv4_log(x); }
static float log_negative_zero_is_nan(float x) {
    return dsv4_bits(x) == 0x80000000 ? dsv4_from_bits(0x7FC00000) : dsv4_log(x);
}
static float log_of_absolute(float x) { return dsv4_log(fabsf(x)); }
static float log2_by_log(float x) { return dsv4_log(x) * 0x1.715476p+0f; }
static float log1p_by_log(float x) { return dsv4_log(1.0f + x); }
static float log1p_zero_sign(float x) { return x == 0.0f ? 0.0f : dsv4_log1p(x); }
static float rsqrt_by_float(float x) { return x < 0 ? dsv4_rsqrt(x) : 1.0f / sqrtf(x); }
static float rsqrt_positive_inf(float x) { return x == 0.0f ? INFINITY : dsv4_rsqrt(x); }
static float rsqrt_flushes(float x) { return fabsf(x) < 0x1p-126f ? INFINITY : dsv4_rsqrt(x); }
static float rsqrt_nan_sign(float x) { return x < 0 ? dsv4_from_bits(0xFFC00000) : dsv4_rsqrt(x); }

Test(num_function, wrong_functions_are_reported) {
    static const struct {
        const char *name;
        enum dsv4_function_id which;
        function *f;
    } wrong[] = {
        {"exp off by one ulp at one input", DSV4_FN_EXP,   exp_one_input           },
        {"exp flushes subnormal results",   DSV4_FN_EXP,   exp_flushes             },
        {"exp overflows at 88",             DSV4_FN_EXP,   exp_early_inf           },
        {"exp keeps NaN payloads",          DSV4_FN_EXP,   exp_nan_payload         },
        {"exp of NaN is 0",                 DSV4_FN_EXP,   exp_nan_is_zero         },
        {"exp in binary32 arithmetic",      DSV4_FN_EXP,   exp_by_float            },
        {"exp2(-150) rounds up",            DSV4_FN_EXP2,  exp2_tie_up             },
        {"exp2 rounds twice",               DSV4_FN_EXP2,  exp2_two_steps          },
        {"log(1) is -0",                    DSV4_FN_LOG,   log_minus_zero          },
        {"log(-0) is NaN",                  DSV4_FN_LOG,   log_negative_zero_is_nan},
        {"log of |x|",                      DSV4_FN_LOG,   log_of_absolute         },
        {"log2 by log",                     DSV4_FN_LOG2,  log2_by_log             },
        {"log1p by log(1 + x)",             DSV4_FN_LOG1P, log1p_by_log            },
        {"log1p(-0) is +0",                 DSV4_FN_LOG1P, log1p_zero_sign         },
        {"rsqrt in binary32 arithmetic",    DSV4_FN_RSQRT, rsqrt_by_float          },
        {"rsqrt(-0) is +inf",               DSV4_FN_RSQRT, rsqrt_positive_inf      },
        {"rsqrt flushes subnormal inputs",  DSV4_FN_RSQRT, rsqrt_flushes           },
        {"rsqrt gives a negative NaN",      DSV4_FN_RSQRT, rsqrt_nan_sign          },
    };
    for (size_t i = 0; i < sizeof wrong / sizeof wrong[0]; i++)
        cr_expect_gt(function_faults(wrong[i].which, wrong[i].f), 0, "missed: %s", wrong[i].name);
    cr_expect_eq(function_faults(DSV4_FN_EXP, exp_one_input), 1);
}

/* A loop of vectors and one element alone must give the same bits. */
Test(num_function, vector_equals_scalar) {
    enum { N = 2048 };
    static uint32_t together[N];
    for (enum dsv4_function_id which = 0; which < DSV4_N_FUNCTIONS; which++)
        for (uint32_t first = 0x00000007; first < 0xFF000000; first += 0x00F7A3C1) {
            dsv4_functions[which].run(together, first, N);
            size_t differ = 0;
            for (uint32_t i = 0; i < N; i += 3) {
                uint32_t alone;
                dsv4_functions[which].run(&alone, first + i, 1);
                differ += alone != together[i];
            }
            cr_expect_eq(differ, 0, "%s from %08x", dsv4_functions[which].name, first);
        }
}

/* The hash is a sum over inputs: blocks add up, and a single wrong bit shows. */
Test(num_function, hash) {
    for (enum dsv4_function_id which = 0; which < DSV4_N_FUNCTIONS; which++) {
        const uint32_t first = 0xC1000000, n = 100003, cut = 33333;
        uint64_t whole = dsv4_function_hash(which, first, n);
        uint64_t parts =
            dsv4_function_hash(which, first, cut) + dsv4_function_hash(which, first + cut, n - cut);
        cr_expect_eq(whole, parts);
        static uint32_t results[100003];
        dsv4_functions[which].run(results, first, n);
        results[77777] ^= 1;
        uint64_t wrong = 0;
        for (uint32_t i = 0; i < n; i++) wrong += dsv4_function_mix(first + i, results[i]);
        cr_expect_neq(whole, wrong);
        results[77777] ^= 1;
        wrong -= dsv4_function_mix(first + 77777, results[77777] ^ 1);
        cr_expect_eq(whole, wrong + dsv4_function_mix(first + 77777, results[77777]));
    }
    cr_expect_neq(dsv4_function_mix(1, 2), dsv4_function_mix(2, 1));
}

/* Every compiler, optimisation level and machine gives these bits: 1024 inputs of each 2^20. */
Test(num_function, same_bits_everywhere) {
    static const uint64_t known[DSV4_N_FUNCTIONS] = {
        [DSV4_FN_BF16] = UINT64_C(0x484AE74DC0F085A3),
        [DSV4_FN_E4M3FN] = UINT64_C(0x9746380EA1F2D9DB),
        [DSV4_FN_E4M3FNUZ] = UINT64_C(0x31923E5734981DD9),
        [DSV4_FN_E2M1] = UINT64_C(0xF22707FB41E72A3D),
        [DSV4_FN_E8M0_CEIL] = UINT64_C(0xA816A584E05E0CED),
        [DSV4_FN_EXP] = UINT64_C(0xFB814D23BF102AAB),
        [DSV4_FN_EXP2] = UINT64_C(0xB86DDCAF713DD106),
        [DSV4_FN_LOG] = UINT64_C(0x6384F392B2208344),
        [DSV4_FN_LOG2] = UINT64_C(0x18CF817992FAEEA4),
        [DSV4_FN_LOG1P] = UINT64_C(0x234CE584A1CA5A1A),
        [DSV4_FN_RSQRT] = UINT64_C(0x4850F697305CCAC2),
    };
    for (enum dsv4_function_id which = 0; which < DSV4_N_FUNCTIONS; which++) {
        uint64_t hash = 0;
        for (uint32_t block = 0; block < 4096; block++)
            hash += dsv4_function_hash(which, (block << 20) + block * 251, 1024);
        cr_expect_eq(hash, known[which], "%s", dsv4_functions[which].name);
    }
}
