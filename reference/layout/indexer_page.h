/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Where a token lies in a page of the indexer's FP8 K cache, and the scale byte of a group in those of a token's queries:
 * all that the reference and the implementations share.
 *
 * linear    B rows of 128 codes, then B fp32 scales
 * shuffled  tiles of 16 tokens; in a tile, 16 bytes of each token in turn, then the next 16 bytes of each; then B scales
 *
 * Queries, shuffled: [4 groups][16 heads][tiles of 16 heads, up to a multiple of 4].
 */
#ifndef DSV4_INDEXER_PAGE_H
#define DSV4_INDEXER_PAGE_H

#include "kv_page.h"

enum { INDEXER_TILE = 16, INDEXER_CHUNKS = INDEXER_HEAD / INDEXER_TILE };

/* Offset in its page of 16 codes, channels 16 * chunk and up, of token j. */
DSV4_SHARED int64_t indexer_chunk_offset(int shuffled, int64_t j, int chunk) {
    if (!shuffled) return j * INDEXER_HEAD + chunk * INDEXER_TILE;
    const int64_t tile = j / INDEXER_TILE, at = j % INDEXER_TILE;
    return tile * INDEXER_TILE * INDEXER_HEAD + (chunk * INDEXER_TILE + at) * INDEXER_TILE;
}

DSV4_SHARED int64_t indexer_scale_offset(int64_t block_size, int64_t j) {
    return block_size * INDEXER_HEAD + 4 * j;
}

DSV4_SHARED int64_t indexer_query_tiles(int64_t heads) {
    return (heads / INDEXER_TILE + 3) / 4 * 4;
}

DSV4_SHARED int64_t indexer_query_scale_offset(int64_t heads, int64_t head, int group) {
    return (group * INDEXER_TILE + head % INDEXER_TILE) * indexer_query_tiles(heads) +
           head / INDEXER_TILE;
}

#endif
