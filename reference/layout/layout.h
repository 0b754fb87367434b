/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Byte <-> coordinate maps. A layout can say what lies at any byte of a tensor: reports use it to
 * name a wrong byte, tests use it to prove that every byte of a page has exactly one meaning.
 */
#ifndef DSV4_LAYOUT_H
#define DSV4_LAYOUT_H

#include "../op.h"

enum dsv4_byte_class {
    DSV4_VALUE, /* data */
    DSV4_ZERO,  /* always written as zero: the pad scale byte */
    DSV4_TAIL,  /* never written: page tails */
};

enum dsv4_site_kind {
    DSV4_SITE_PLAIN, /* a value that stands for itself */
    DSV4_SITE_SCALE, /* a scale: judged before the codes it governs */
    DSV4_SITE_CODE,  /* a code whose value is code * scale */
};

/* What lies at one byte. */
struct dsv4_site {
    char where[160]; /* "block 3, token 17, scale byte 5 (channels 320..383)" */
    char part[24];   /* "scale byte", "code", "rope", "element": the noun for counts */
    enum dsv4_byte_class byte_class;
    enum dsv4_site_kind kind;
    int64_t unit; /* offset of the first byte of the value that this byte belongs to */
    int unit_bytes;
    uint32_t dtype; /* of the unit; DSV4_U8 with part "nibbles" for two e2m1 codes */
    int64_t scale;  /* offset of the scale that governs this code; -1: none */
};

struct dsv4_pages; /* pages.h */

struct dsv4_layout {
    const char *name;
    const char *doc;
    /* `offset`: storage offset in bytes from element 0, inside some live row's span. */
    void (*locate)(const struct dsv4_case *c, size_t slot, int64_t offset, struct dsv4_site *site);
    /* Optional: dimension 0 counts pages, and their tokens lie so. */
    void (*pages)(const struct dsv4_case *c, size_t slot, struct dsv4_pages *pages);
};

extern const struct dsv4_layout *const dsv4_layouts[];
extern const size_t dsv4_n_layouts;
const struct dsv4_layout *dsv4_layout_find(const char *name); /* NULL: no such layout */

#endif
