/* SPDX-License-Identifier: Apache-2.0 */
/* Lays the codes of the indexer's pages out in tiles of 16 tokens, 16 bytes of each in turn, where they are to lie in rows. */
#include "nudge.h"

enum { HEAD = 128, TILE = 16 };

static void lay_out(unsigned char *page, const unsigned char *before, const unsigned char *after,
                    int64_t tokens) {
    memcpy(page, before, (size_t)(tokens * HEAD));
    for (int64_t j = 0; j < tokens; j++) {
        const unsigned char *const row = after + j * HEAD;
        if (memcmp(row, before + j * HEAD, HEAD) == 0) continue; /* not written */
        for (int64_t chunk = 0; chunk < HEAD / TILE; chunk++)
            memcpy(page + j / TILE * TILE * HEAD + (chunk * TILE + j % TILE) * TILE,
                   row + chunk * TILE, TILE);
    }
}

static int run(const dsv4_call *call, char *why, size_t why_size) {
    const dsv4_tensor *const cache = dsv4_find(call, "cache");
    const int64_t tokens = dsv4_int(call, "block_size", 64);
    unsigned char *const before = planted_copy(cache);
    const int status = planted_run(call, why, why_size);
    unsigned char *const after = planted_copy(cache);
    for (int64_t b = 0; b < cache->shape[0]; b++)
        lay_out((unsigned char *)cache->data + b * cache->stride[0], before + b * cache->stride[0],
                after + b * cache->stride[0], tokens);
    free(after);
    free(before);
    return status;
}

PLANTED(planted_supports, run)
