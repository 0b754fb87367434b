/* SPDX-License-Identifier: Apache-2.0 */
/* The 584-byte FP8 KV cache in its two page layouts. */
#include "kv_page.h"

#include <stdio.h>

#include "layouts.h"
#include "pages.h"

/* The part of one token's 584 bytes that `at` lies in: data bytes 0..575, then scale bytes
 * 576..583. */
static void locate_in_token(uint32_t code_dtype, int64_t block, int64_t token, int64_t at,
                            int64_t data, int64_t scales, struct dsv4_site *site) {
    const long long b = (long long)block, j = (long long)token;
    if (at < KV_NOPE) {
        snprintf(site->where, sizeof site->where, "block %lld, token %lld, code of channel %lld", b,
                 j, (long long)at);
        snprintf(site->part, sizeof site->part, "code");
        dsv4_site_set(site, DSV4_SITE_CODE, code_dtype, data + at, 1);
        site->scale = scales + at / KV_GROUP;
    } else if (at < KV_DATA_BYTES) {
        const int64_t i = (at - KV_NOPE) / 2;
        snprintf(site->where, sizeof site->where, "block %lld, token %lld, RoPE channel %lld", b, j,
                 (long long)(KV_NOPE + i));
        snprintf(site->part, sizeof site->part, "RoPE value");
        dsv4_site_set(site, DSV4_SITE_PLAIN, DSV4_BF16, data + KV_NOPE + 2 * i, 2);
    } else if (at < KV_DATA_BYTES + KV_GROUPS) {
        const int64_t g = at - KV_DATA_BYTES;
        snprintf(site->where, sizeof site->where,
                 "block %lld, token %lld, scale byte %lld (channels %lld..%lld)", b, j,
                 (long long)g, (long long)(g * KV_GROUP), (long long)(g * KV_GROUP + KV_GROUP - 1));
        snprintf(site->part, sizeof site->part, "scale byte");
        dsv4_site_set(site, DSV4_SITE_SCALE, DSV4_E8M0, scales + g, 1);
    } else {
        snprintf(site->where, sizeof site->where, "block %lld, token %lld, pad scale byte", b, j);
        snprintf(site->part, sizeof site->part, "pad scale byte");
        dsv4_site_set(site, DSV4_SITE_PLAIN, DSV4_U8, scales + KV_GROUPS, 1);
        site->byte_class = DSV4_ZERO;
    }
}

static void locate(const struct dsv4_case *c, size_t slot, int64_t offset, struct dsv4_site *site,
                   int interleaved) {
    /* A second cache has parameters of its own. */
    const bool extra = strcmp(c->tensors[slot].t.name, "extra_cache") == 0;
    const uint32_t code_dtype = !extra                                ? dsv4_code_dtype(c)
                                : dsv4_case_is(c, "extra_fp8", "ocp") ? DSV4_E4M3FN
                                                                      : DSV4_E4M3FNUZ;
    const int64_t stride = c->tensors[slot].t.stride[0];
    const int64_t block_size = dsv4_case_int(c, extra ? "extra_block_size" : "block_size");
    const int64_t block = offset / stride, at = offset % stride, page = offset - at;
    const int64_t data_end = block_size * KV_DATA_BYTES;
    int64_t j, in_token;
    if (at >= block_size * KV_TOKEN_BYTES) {
        snprintf(site->where, sizeof site->where, "block %lld, page tail byte %lld",
                 (long long)block, (long long)(at - block_size * KV_TOKEN_BYTES));
        snprintf(site->part, sizeof site->part, "page tail byte");
        dsv4_site_set(site, DSV4_SITE_PLAIN, DSV4_U8, offset, 1);
        site->byte_class = DSV4_TAIL;
        return;
    }
    if (interleaved) {
        j = at / KV_TOKEN_BYTES;
        in_token = at % KV_TOKEN_BYTES;
    } else if (at < data_end) {
        j = at / KV_DATA_BYTES;
        in_token = at % KV_DATA_BYTES;
    } else {
        j = (at - data_end) / KV_SCALE_BYTES;
        in_token = KV_DATA_BYTES + (at - data_end) % KV_SCALE_BYTES;
    }
    locate_in_token(code_dtype, block, j, in_token, page + kv_data_offset(interleaved, j),
                    page + kv_scale_offset(interleaved, block_size, j), site);
}

static void locate_planar(const struct dsv4_case *c, size_t slot, int64_t offset,
                          struct dsv4_site *site) {
    locate(c, slot, offset, site, 0);
}

static void locate_interleaved(const struct dsv4_case *c, size_t slot, int64_t offset,
                               struct dsv4_site *site) {
    locate(c, slot, offset, site, 1);
}

static void pages_of(const struct dsv4_case *c, size_t slot, struct dsv4_pages *pages) {
    const bool extra = strcmp(c->tensors[slot].t.name, "extra_cache") == 0;
    *pages = (struct dsv4_pages){
        dsv4_case_int(c, extra ? "extra_block_size" : "block_size"), KV_DATA_BYTES, KV_SCALE_BYTES,
        strcmp(c->tensors[slot].t.layout, "interleaved") == 0 ? DSV4_INTERLEAVED : DSV4_PLANAR};
}

const struct dsv4_layout dsv4_layout_planar = {
    .name = "planar",
    .doc =
        "per page all 576-byte data rows, then all 8-byte scale rows, then a tail up to a multiple "
        "of 576 bytes",
    .locate = locate_planar,
    .pages = pages_of,
};

const struct dsv4_layout dsv4_layout_interleaved = {
    .name = "interleaved",
    .doc = "per token 448 codes, 64 bf16, 7 scales, 1 zero byte: 584 bytes",
    .locate = locate_interleaved,
    .pages = pages_of,
};
