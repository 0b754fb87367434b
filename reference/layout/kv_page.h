/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Sizes and offsets of the KV cache pages: all that the reference and the implementations share.
 * C11 and device C++.
 *
 * planar       page of B tokens: B rows of 576 bytes (448 codes | 64 bf16), then B rows of 8 scale
 * bytes (7 + one zero pad byte); a page takes a multiple of 576 bytes, its tail is never written
 * interleaved  per token 448 codes | 64 bf16 | 7 scales | 1 zero pad byte: 584 bytes, no tail
 * indexer-fp8  page of B tokens: B rows of 128 codes, then B fp32 scales
 * indexer-mxfp4  page of B tokens: B rows of 64 bytes (two e2m1 codes each, even channel in the low
 * nibble), then B rows of 4 scale bytes
 */
#ifndef DSV4_KV_PAGE_H
#define DSV4_KV_PAGE_H

#include <stdint.h>

#if defined(__CUDACC__) || defined(__HIP__)
#define DSV4_SHARED static __attribute__((host)) __attribute__((device)) inline
#else
#define DSV4_SHARED static inline
#endif

enum {
    KV_HEAD = 512, /* main latent: 448 channels without position, then 64 with RoPE */
    KV_NOPE = 448,
    KV_ROPE = 64,
    KV_GROUP = 64, /* channels under one scale byte */
    KV_GROUPS = 7,
    KV_DATA_BYTES = 576,
    KV_SCALE_BYTES = 8,
    KV_TOKEN_BYTES = 584,
    KV_PAGE_ALIGN = 576,

    INDEXER_HEAD = 128, /* 64 channels without position, then 64 with RoPE */
    INDEXER_NOPE = 64,
    INDEXER_FP8_TOKEN_BYTES = 132,
    INDEXER_MXFP4_TOKEN_BYTES = 68,
    INDEXER_MXFP4_DATA_BYTES = 64,
    INDEXER_MXFP4_GROUP = 32,
    INDEXER_MXFP4_GROUPS = 4,
};

/* Bytes of a page, tail included. */
DSV4_SHARED int64_t kv_page_bytes(int interleaved, int64_t block_size) {
    const int64_t used = block_size * KV_TOKEN_BYTES;
    return interleaved ? used : (used + KV_PAGE_ALIGN - 1) / KV_PAGE_ALIGN * KV_PAGE_ALIGN;
}

/* Offset in its page of token j's 448 codes; its 64 bf16 follow at + KV_NOPE. */
DSV4_SHARED int64_t kv_data_offset(int interleaved, int64_t j) {
    return j * (interleaved ? KV_TOKEN_BYTES : KV_DATA_BYTES);
}

/* Offset in its page of token j's 8 scale bytes. */
DSV4_SHARED int64_t kv_scale_offset(int interleaved, int64_t block_size, int64_t j) {
    return interleaved ? j * KV_TOKEN_BYTES + KV_DATA_BYTES
                       : block_size * KV_DATA_BYTES + j * KV_SCALE_BYTES;
}

#endif
