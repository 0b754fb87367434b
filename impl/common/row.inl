/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Sums over a row in the canon's order, by a whole block.
 *
 * The canon's sum of n elements has 64 partials, partial l = fma(x, x, partial) over x[l], x[l + 64], ... ascending, and
 * then a halving tree. The partials are chains of n / 64 steps: no more than 64 of them run side by side, however many
 * threads there are. What a block adds is memory: all its threads load the row at once, 16 bytes each, into shared
 * memory; then its first team runs the chains from there, two per lane, while other blocks of the multiprocessor load.
 *
 *     __shared__ struct row_block block;              // one row of up to ROW_MAX bf16 elements
 *     codes...  = row_load(...), row_keep(block, ...) // every thread: its vectors, also kept in registers
 *     row_pad(block, n);                              // zeros up to a multiple of 64: neutral, since partials are >= +0
 *     gpu_barrier();
 *     sum = row_block_squares(block, n);              // every thread gets the sum; one more barrier inside
 *
 * For rows of up to about 1536 elements a team per row in registers is faster: team_squares<J>, 64 J elements, lane t
 * with elements 64j + 2t and 64j + 2t + 1 in word j.
 */
#ifndef DSV4_ROW_INL
#define DSV4_ROW_INL

#include "call.h"
#include "num.inl"

enum { ROW_MAX = 8192, ROW_PARTIALS = 64, ROW_VECTOR = 8 /* bf16 elements in 16 bytes */ };

struct row_block {
    gpu_u4 words[ROW_MAX / ROW_VECTOR];
    float sum;
};

/* The tree over two partials per lane, 2t and 2t + 1: strides 32 .. 2 across lanes, 1 inside one. Every lane gets it. */
GPU_DEVICE float team_tree(float a, float b) {
    a += team_xor_float(a, 16);
    b += team_xor_float(b, 16);
    a += team_xor_float(a, 8);
    b += team_xor_float(b, 8);
    a += team_xor_float(a, 4);
    b += team_xor_float(b, 4);
    a += team_xor_float(a, 2);
    b += team_xor_float(b, 2);
    a += team_xor_float(a, 1);
    b += team_xor_float(b, 1);
    return a + b;
}

/* Sum of the squares of 64 J bf16 elements in a team's registers. */
template <int J> GPU_DEVICE float team_squares(const uint32_t *words) {
    float a = 0.0f, b = 0.0f;
    GPU_UNROLL for (int j = 0; j < J; j++) {
        const float x = num_bf16_low(words[j]), y = num_bf16_high(words[j]);
        a = gpu_fma(x, x, a);
        b = gpu_fma(y, y, b);
    }
    return team_tree(a, b);
}

/* Words of a row of 64 k elements that its first team reads for its chains: loads go ahead of the fma that wait. */
GPU_DEVICE float row_chains(const uint32_t *words, int steps) {
    enum { AHEAD = 8 };
    float a = 0.0f, b = 0.0f;
    const uint32_t *at = words + gpu_lane();
    int k = 0;
    for (; k + AHEAD <= steps; k += AHEAD, at += AHEAD * TEAM) {
        uint32_t word[AHEAD];
        GPU_UNROLL for (int i = 0; i < AHEAD; i++) word[i] = at[i * TEAM];
        GPU_UNROLL for (int i = 0; i < AHEAD; i++) {
            const float x = num_bf16_low(word[i]), y = num_bf16_high(word[i]);
            a = gpu_fma(x, x, a);
            b = gpu_fma(y, y, b);
        }
    }
    for (; k < steps; k++, at += TEAM) {
        const float x = num_bf16_low(*at), y = num_bf16_high(*at);
        a = gpu_fma(x, x, a);
        b = gpu_fma(y, y, b);
    }
    return team_tree(a, b);
}

/* Zeros after a row of n elements, up to whole partials. Before the barrier. */
GPU_DEVICE void row_pad(struct row_block &block, int n) {
    const int end = (n + ROW_PARTIALS - 1) / ROW_PARTIALS * ROW_PARTIALS;
    const int i = n + (int)gpu_thread();
    if (i < end) ((uint16_t *)block.words)[i] = 0;
}

/* Sum of squares of the n elements kept in `block`, for every thread. After a barrier; ends with one. */
GPU_DEVICE float row_block_squares(struct row_block &block, int n) {
    if (gpu_team() == 0) {
        const float sum =
            row_chains((const uint32_t *)block.words, (n + ROW_PARTIALS - 1) / ROW_PARTIALS);
        if (gpu_lane() == 0) block.sum = sum;
    }
    gpu_barrier();
    return block.sum;
}

#endif
