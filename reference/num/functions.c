/* SPDX-License-Identifier: Apache-2.0 */
#include "functions.h"

#include "bf16.h"
#include "e2m1.h"
#include "e8m0.h"
#include "exp.h"
#include "fp8.h"
#include "log.h"
#include "rsqrt.h"

#define RUN(name, expression)                                                                      \
    static void name(uint32_t *results, uint32_t first, size_t n) {                                \
        _Pragma("omp simd") for (size_t i = 0; i < n; i++) {                                       \
            float x = dsv4_from_bits(first + (uint32_t)i);                                         \
            results[i] = expression;                                                               \
        }                                                                                          \
    }

RUN(run_bf16, dsv4_bf16_from_f32(x))
RUN(run_e4m3fn, dsv4_e4m3fn_from_f32(x))
RUN(run_e4m3fnuz, dsv4_e4m3fnuz_from_f32(x))
RUN(run_e2m1, dsv4_e2m1_from_f32(x))
RUN(run_e8m0_ceil, dsv4_e8m0_ceil(x))
RUN(run_exp, dsv4_bits(dsv4_exp(x)))
RUN(run_exp2, dsv4_bits(dsv4_exp2(x)))
RUN(run_log, dsv4_bits(dsv4_log(x)))
RUN(run_log2, dsv4_bits(dsv4_log2(x)))
RUN(run_log1p, dsv4_bits(dsv4_log1p(x)))
RUN(run_rsqrt, dsv4_bits(dsv4_rsqrt(x)))

const struct dsv4_function dsv4_functions[DSV4_N_FUNCTIONS] = {
    [DSV4_FN_BF16] = {"bf16",      run_bf16,      UINT64_C(0xE6DB99313B821C12)},
    [DSV4_FN_E4M3FN] = {"e4m3fn",    run_e4m3fn,    UINT64_C(0x436E593BA864EBFC)},
    [DSV4_FN_E4M3FNUZ] = {"e4m3fnuz",  run_e4m3fnuz,  UINT64_C(0x3E3BC4E48D6C9DB7)},
    [DSV4_FN_E2M1] = {"e2m1",      run_e2m1,      UINT64_C(0x298140DBBAE3287D)},
    [DSV4_FN_E8M0_CEIL] = {"e8m0_ceil", run_e8m0_ceil, UINT64_C(0x6D5410BE553E01B2)},
    [DSV4_FN_EXP] = {"exp",       run_exp,       UINT64_C(0x4CCC7CDDAEA06B26)},
    [DSV4_FN_EXP2] = {"exp2",      run_exp2,      UINT64_C(0x3E11A9FD300C6EAF)},
    [DSV4_FN_LOG] = {"log",       run_log,       UINT64_C(0x117FA2A6BBDEA567)},
    [DSV4_FN_LOG2] = {"log2",      run_log2,      UINT64_C(0x77ED312906951E3A)},
    [DSV4_FN_LOG1P] = {"log1p",     run_log1p,     UINT64_C(0x6569D9F1E4503308)},
    [DSV4_FN_RSQRT] = {"rsqrt",     run_rsqrt,     UINT64_C(0xA4C784FF6FAC9136)},
};

enum { BLOCK = 4096 };

static uint64_t hash_block(enum dsv4_function_id which, uint32_t first, size_t n) {
    uint32_t results[BLOCK];
    uint64_t sum = 0;
    dsv4_functions[which].run(results, first, n);
    for (size_t i = 0; i < n; i++) sum += dsv4_function_mix(first + (uint32_t)i, results[i]);
    return sum;
}

uint64_t dsv4_function_hash(enum dsv4_function_id which, uint32_t first, uint64_t count) {
    int64_t n_blocks = (int64_t)((count + BLOCK - 1) / BLOCK);
    uint64_t sum = 0;
#pragma omp parallel for reduction(+ : sum)
    for (int64_t b = 0; b < n_blocks; b++) {
        uint64_t done = (uint64_t)b * BLOCK, left = count - done;
        sum += hash_block(which, first + (uint32_t)done, left < BLOCK ? (size_t)left : BLOCK);
    }
    return sum;
}
