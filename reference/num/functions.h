/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Every function of one binary32 argument in reference/num/, by number and by name: what proofs
 * over all 2^32 inputs and checks of devices iterate over.
 *
 * A device proves that its exp, log, ... equal these for all inputs by hashing its own results: the
 * sum over inputs of dsv4_function_mix(bits of input, bits of result) modulo 2^64. Sums have no
 * order, so any number of threads can build one; a differing block of inputs can be halved until
 * the differing input is found.
 */
#ifndef DSV4_NUM_FUNCTIONS_H
#define DSV4_NUM_FUNCTIONS_H

#include <stddef.h>
#include <stdint.h>

enum dsv4_function_id {
    DSV4_FN_BF16,
    DSV4_FN_E4M3FN,
    DSV4_FN_E4M3FNUZ,
    DSV4_FN_E2M1,
    DSV4_FN_E8M0_CEIL,
    DSV4_FN_EXP,
    DSV4_FN_EXP2,
    DSV4_FN_LOG,
    DSV4_FN_LOG2,
    DSV4_FN_LOG1P,
    DSV4_FN_RSQRT,
    DSV4_N_FUNCTIONS
};

struct dsv4_function {
    const char *name;
    /* results[i] = bits (or code) of the function at the input whose bits are first + i. */
    void (*run)(uint32_t *results, uint32_t first, size_t n);
    uint64_t hash; /* over all 2^32 inputs, from the run of harness/tests/tools/exhaustive.c that
                      proved them */
};

extern const struct dsv4_function dsv4_functions[DSV4_N_FUNCTIONS];

/* A bijection of 64 bits, so that no two different results at one input mix to the same value. */
static inline uint64_t dsv4_function_mix(uint32_t input, uint32_t result) {
    uint64_t h = (uint64_t)input << 32 | result;
    h = (h ^ h >> 30) * UINT64_C(0xBF58476D1CE4E5B9);
    h = (h ^ h >> 27) * UINT64_C(0x94D049BB133111EB);
    return h ^ h >> 31;
}

/* Hash of `count` (at most 2^32) inputs from bits `first` on; wraps around after 0xFFFFFFFF. */
uint64_t dsv4_function_hash(enum dsv4_function_id which, uint32_t first, uint64_t count);

#endif
