/* SPDX-License-Identifier: Apache-2.0 */
#include "peek.h"

#include <math.h>
#include <stdio.h>

#include "value.h"

void dsv4_peek_site(const struct dsv4_vector *v, size_t slot, int64_t offset,
                    struct dsv4_site *site) {
    const struct dsv4_layout *layout = dsv4_layout_find(v->c.tensors[slot].t.layout);
    memset(site, 0, sizeof *site);
    (layout != NULL ? layout : dsv4_layout_find("linear"))->locate(&v->c, slot, offset, site);
}

/* Collects a unit's bytes; -1: in a gap, 1: never written, 0: there. */
static int fetch(const struct dsv4_vector *v, size_t slot, bool after, int64_t offset, int n,
                 unsigned char bytes[8]) {
    const struct dsv4_vector_tensor *t = &v->tensors[slot];
    const unsigned char *from = after ? t->out : t->in;
    for (int i = 0; i < n && i < 8; i++) {
        const int64_t at = dsv4_packed_offset(&v->c.tensors[slot], offset + i);
        if (at < 0 || from == NULL) return -1;
        if (after && t->keep != NULL && t->keep[at] != 0) return 1;
        bytes[i] = from[at];
    }
    return 0;
}

static void squeeze(char *text) {
    char *to = text;
    for (const char *at = text; *at != '\0'; at++)
        if (*at != ' ' || at[1] != ' ') *to++ = *at;
    *to = '\0';
}

void dsv4_peek_value(const struct dsv4_vector *v, size_t slot, bool after,
                     const struct dsv4_site *site, char *text, size_t size) {
    unsigned char bytes[8] = {0}, scale[8] = {0};
    const int state = fetch(v, slot, after, site->unit, site->unit_bytes, bytes);
    if (state != 0) {
        snprintf(text, size, "%s", state > 0 ? "never written" : "in a gap");
        return;
    }
    dsv4_value_text(text, size, site, bytes);
    squeeze(text);
    if (site->kind != DSV4_SITE_CODE || site->scale < 0) return;
    struct dsv4_site governing;
    dsv4_peek_site(v, slot, site->scale, &governing);
    const double code = dsv4_value_of(site->dtype, bytes);
    if (isnan(code) || fetch(v, slot, after, governing.unit, governing.unit_bytes, scale) != 0)
        return;
    const size_t n = strlen(text);
    snprintf(text + n, size - n, ", times scale %.9g = %.9g", dsv4_value_of(governing.dtype, scale),
             code * dsv4_value_of(governing.dtype, scale));
}
