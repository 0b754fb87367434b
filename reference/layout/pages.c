/* SPDX-License-Identifier: Apache-2.0 */
#include "pages.h"

#include "indexer_page.h"

const char *const dsv4_arrangement_names[] = {"data first, scales after them", "token by token",
                                              "in tiles of 16 tokens"};

enum { TILE_BYTES = INDEXER_TILE * INDEXER_HEAD };

bool dsv4_pages_fit(const struct dsv4_pages *pages) {
    return pages->arrangement != DSV4_SHUFFLED ||
           (pages->data_bytes == INDEXER_HEAD && pages->tokens % INDEXER_TILE == 0);
}

int64_t dsv4_page_offset(const struct dsv4_pages *pages, int64_t token, int64_t byte) {
    const int64_t data = pages->data_bytes, scale = pages->scale_bytes;
    if (pages->arrangement == DSV4_INTERLEAVED) return token * (data + scale) + byte;
    if (byte >= data) return pages->tokens * data + token * scale + byte - data;
    if (pages->arrangement == DSV4_PLANAR) return token * data + byte;
    return indexer_chunk_offset(1, token, (int)(byte / INDEXER_TILE)) + byte % INDEXER_TILE;
}

bool dsv4_page_find(const struct dsv4_pages *pages, int64_t at, int64_t *token, int64_t *byte) {
    const int64_t data = pages->data_bytes, scale = pages->scale_bytes, all = pages->tokens * data;
    if (at >= all + pages->tokens * scale) return false;
    if (pages->arrangement == DSV4_INTERLEAVED) {
        *token = at / (data + scale);
        *byte = at % (data + scale);
    } else if (at >= all) {
        *token = (at - all) / scale;
        *byte = data + (at - all) % scale;
    } else if (pages->arrangement == DSV4_PLANAR) {
        *token = at / data;
        *byte = at % data;
    } else {
        const int64_t chunk = at % TILE_BYTES / INDEXER_TILE;
        *token = at / TILE_BYTES * INDEXER_TILE + chunk % INDEXER_TILE;
        *byte = chunk / INDEXER_TILE * INDEXER_TILE + at % INDEXER_TILE;
    }
    return true;
}
