/* SPDX-License-Identifier: Apache-2.0 */
/* The indexer's K cache: FP8 with one fp32 scale per token, or MXFP4 with four scale bytes per
 * token. */
#include <stdio.h>

#include "kv_page.h"
#include "layouts.h"
#include "pages.h"

static bool in_tail(int64_t at, int64_t used, int64_t block, int64_t offset,
                    struct dsv4_site *site) {
    if (at < used) return false;
    snprintf(site->where, sizeof site->where, "block %lld, page tail byte %lld", (long long)block,
             (long long)(at - used));
    snprintf(site->part, sizeof site->part, "page tail byte");
    dsv4_site_set(site, DSV4_SITE_PLAIN, DSV4_U8, offset, 1);
    site->byte_class = DSV4_TAIL;
    return true;
}

static void locate_fp8(const struct dsv4_case *c, size_t slot, int64_t offset,
                       struct dsv4_site *site) {
    const int64_t stride = c->tensors[slot].t.stride[0],
                  block_size = dsv4_case_int(c, "block_size");
    const int64_t block = offset / stride, at = offset % stride, page = offset - at;
    const int64_t scales = block_size * INDEXER_HEAD;
    if (in_tail(at, block_size * INDEXER_FP8_TOKEN_BYTES, block, offset, site)) return;
    if (at < scales) {
        snprintf(site->where, sizeof site->where, "block %lld, token %lld, code of channel %lld",
                 (long long)block, (long long)(at / INDEXER_HEAD), (long long)(at % INDEXER_HEAD));
        snprintf(site->part, sizeof site->part, "code");
        dsv4_site_set(site, DSV4_SITE_CODE, dsv4_code_dtype(c), offset, 1);
        site->scale = page + scales + at / INDEXER_HEAD * 4;
    } else {
        const int64_t j = (at - scales) / 4;
        snprintf(site->where, sizeof site->where, "block %lld, token %lld, scale", (long long)block,
                 (long long)j);
        snprintf(site->part, sizeof site->part, "scale");
        dsv4_site_set(site, DSV4_SITE_SCALE, DSV4_F32, page + scales + 4 * j, 4);
    }
}

static void locate_mxfp4(const struct dsv4_case *c, size_t slot, int64_t offset,
                         struct dsv4_site *site) {
    const int64_t stride = c->tensors[slot].t.stride[0],
                  block_size = dsv4_case_int(c, "block_size");
    const int64_t block = offset / stride, at = offset % stride, page = offset - at;
    const int64_t scales = block_size * INDEXER_MXFP4_DATA_BYTES;
    if (in_tail(at, block_size * INDEXER_MXFP4_TOKEN_BYTES, block, offset, site)) return;
    if (at < scales) {
        const int64_t j = at / INDEXER_MXFP4_DATA_BYTES, i = at % INDEXER_MXFP4_DATA_BYTES;
        snprintf(site->where, sizeof site->where,
                 "block %lld, token %lld, nibbles of channels %lld (low) and %lld (high)",
                 (long long)block, (long long)j, (long long)(2 * i), (long long)(2 * i + 1));
        snprintf(site->part, sizeof site->part, "nibbles");
        dsv4_site_set(site, DSV4_SITE_CODE, DSV4_U8, offset, 1);
        site->scale = page + scales + j * INDEXER_MXFP4_GROUPS + 2 * i / INDEXER_MXFP4_GROUP;
    } else {
        const int64_t j = (at - scales) / INDEXER_MXFP4_GROUPS;
        const int64_t g = (at - scales) % INDEXER_MXFP4_GROUPS;
        snprintf(site->where, sizeof site->where,
                 "block %lld, token %lld, scale byte %lld (channels %lld..%lld)", (long long)block,
                 (long long)j, (long long)g, (long long)(g * INDEXER_MXFP4_GROUP),
                 (long long)(g * INDEXER_MXFP4_GROUP + INDEXER_MXFP4_GROUP - 1));
        snprintf(site->part, sizeof site->part, "scale byte");
        dsv4_site_set(site, DSV4_SITE_SCALE, DSV4_E8M0, offset, 1);
    }
}

static void pages_fp8(const struct dsv4_case *c, size_t slot, struct dsv4_pages *pages) {
    bool shuffled = false;
    (void)slot;
    for (size_t p = 0; p < c->op->n_params; p++)
        shuffled |=
            strcmp(c->op->params[p].name, "layout") == 0 && dsv4_case_is(c, "layout", "shuffled");
    *pages = (struct dsv4_pages){dsv4_case_int(c, "block_size"), INDEXER_HEAD,
                                 INDEXER_FP8_TOKEN_BYTES - INDEXER_HEAD,
                                 shuffled ? DSV4_SHUFFLED : DSV4_PLANAR};
}

static void pages_mxfp4(const struct dsv4_case *c, size_t slot, struct dsv4_pages *pages) {
    (void)slot;
    *pages = (struct dsv4_pages){dsv4_case_int(c, "block_size"), INDEXER_MXFP4_DATA_BYTES,
                                 INDEXER_MXFP4_TOKEN_BYTES - INDEXER_MXFP4_DATA_BYTES, DSV4_PLANAR};
}

const struct dsv4_layout dsv4_layout_indexer_fp8 = {
    .name = "indexer-fp8",
    .doc = "per page all 128-byte code rows, then one fp32 scale per token",
    .locate = locate_fp8,
    .pages = pages_fp8,
};

const struct dsv4_layout dsv4_layout_indexer_mxfp4 = {
    .name = "indexer-mxfp4",
    .doc = "per page all 64-byte rows of e2m1 pairs, then four scale bytes per token",
    .locate = locate_mxfp4,
    .pages = pages_mxfp4,
};
