/* SPDX-License-Identifier: Apache-2.0 */
/* How the tokens of a page may lie, rightly or by mistake: one page's bytes in each arrangement. */
#ifndef DSV4_PAGES_H
#define DSV4_PAGES_H

#include "layout.h"

enum dsv4_arrangement {
    DSV4_PLANAR,      /* the data of all tokens, then the scales of all */
    DSV4_INTERLEAVED, /* token by token */
    DSV4_SHUFFLED,    /* planar, 16 bytes of each of 16 tokens in turn */
    DSV4_N_ARRANGEMENTS
};
extern const char *const dsv4_arrangement_names[];

struct dsv4_pages {
    int64_t tokens, data_bytes, scale_bytes; /* of a page, of a token, of a token */
    enum dsv4_arrangement arrangement;
};

/* Whether pages of this size can be arranged so. */
bool dsv4_pages_fit(const struct dsv4_pages *pages);

/* Where byte `byte` of token `token` lies in its page. A token's scales follow its data. */
int64_t dsv4_page_offset(const struct dsv4_pages *pages, int64_t token, int64_t byte);

/* What lies at `at`; false: the page's tail. */
bool dsv4_page_find(const struct dsv4_pages *pages, int64_t at, int64_t *token, int64_t *byte);

#endif
