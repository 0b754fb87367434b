/* SPDX-License-Identifier: Apache-2.0 */
/* What the layouts share among themselves. */
#ifndef DSV4_LAYOUTS_H
#define DSV4_LAYOUTS_H

#include "layout.h"

extern const struct dsv4_layout dsv4_layout_linear, dsv4_layout_planar, dsv4_layout_interleaved,
    dsv4_layout_indexer_fp8, dsv4_layout_indexer_mxfp4;

/* The dtype of the case's FP8 codes, by its `fp8` dialect. */
uint32_t dsv4_code_dtype(const struct dsv4_case *c);

/* Fills a site of `bytes` bytes at `unit`; the words of `where` and `part` are the caller's. */
void dsv4_site_set(struct dsv4_site *site, enum dsv4_site_kind kind, uint32_t dtype, int64_t unit,
                   int bytes);

#endif
