/* SPDX-License-Identifier: Apache-2.0 */
/* Counting what is wrong. */
#include <stdio.h>

#include "../reference/layout/layout.h"
#include "diagnose.h"

enum { MAX_UNITS = 1 << 20, MAX_COUNTED_BYTES = 1 << 19 };

static struct dsv4_count *part_of(struct dsv4_count *parts, const struct dsv4_site *site) {
    size_t i = 0;
    while (i + 1 < DSV4_MAX_SITE_PARTS && parts[i].part[0] != '\0' &&
           strcmp(parts[i].part, site->part) != 0)
        i++;
    if (parts[i].part[0] == '\0') {
        memcpy(parts[i].part, site->part, sizeof parts[i].part);
        parts[i].kind = site->kind;
    }
    return &parts[i];
}

/* How many units of each part the answer has. */
static void count_all(struct dsv4_tally *tally, const struct dsv4_vector *v, size_t slot,
                      const struct dsv4_layout *layout) {
    const struct dsv4_case_tensor *const t = &v->c.tensors[slot];
    const unsigned char *const keep = v->tensors[slot].keep;
    const int64_t bytes = dsv4_packed_bytes(t);
    struct dsv4_count *const parts = tally->parts[slot];
    struct dsv4_site site;
    for (int64_t i = 0; i < bytes && bytes <= MAX_COUNTED_BYTES; i++) {
        if (keep != NULL && keep[i] != 0) continue;
        const int64_t offset = dsv4_storage_offset(t, i);
        layout->locate(&v->c, slot, offset, &site);
        if (site.unit == offset) part_of(parts, &site)->all++;
    }
    for (size_t i = 0; i < DSV4_MAX_SITE_PARTS && bytes > MAX_COUNTED_BYTES; i++) parts[i].all = -1;
}

static bool is_wrong(const struct dsv4_comparison *compare, size_t slot, int64_t offset,
                     int bytes) {
    const int64_t at = compare->v->c.tensors[slot].offset + offset;
    return memcmp(compare->got->base + at, compare->want->base + at, (size_t)bytes) != 0;
}

/* One wrong value. Returns where its last byte ends in the arena. */
static int64_t count_value(struct dsv4_tally *tally, const struct dsv4_comparison *compare,
                           const struct dsv4_mismatch *m) {
    const struct dsv4_case *const c = &compare->v->c;
    const struct dsv4_layout *const layout = dsv4_layout_find(c->tensors[m->slot].t.layout);
    struct dsv4_site site, scale;
    layout->locate(c, m->slot, m->offset, &site);
    if (!tally->has_value) tally->value = *m;
    tally->has_value = true;
    if (site.kind == DSV4_SITE_SCALE && !tally->has_scale) {
        tally->scale = *m;
        tally->has_scale = true;
    }
    part_of(tally->parts[m->slot], &site)->wrong++;
    if (site.kind == DSV4_SITE_CODE && site.scale >= 0) {
        layout->locate(c, m->slot, site.scale, &scale);
        if (is_wrong(compare, m->slot, site.scale, scale.unit_bytes))
            tally->codes_under_wrong_scale++;
        else
            tally->codes_under_right_scale++;
    }
    const int64_t end = c->tensors[m->slot].offset + site.unit + site.unit_bytes;
    return end > m->at ? end : m->at + 1;
}

static void count_outside(struct dsv4_tally *tally, const struct dsv4_mismatch *m) {
    const int after = m->fault == DSV4_FAULT_GUARD && m->offset >= 0;
    if (tally->outside[m->slot][m->fault][after]++ == 0)
        tally->first[m->slot][m->fault][after] = *m;
}

void dsv4_tally_make(struct dsv4_tally *tally, const struct dsv4_comparison *compare) {
    const struct dsv4_vector *const v = compare->v;
    struct dsv4_mismatch m;
    int64_t units = 0;
    memset(tally, 0, sizeof *tally);
    for (int64_t from = 0; dsv4_compare_next(compare, from, &m); units++) {
        if (units == MAX_UNITS) {
            tally->cut = true;
            break;
        }
        if (m.fault == DSV4_FAULT_VALUE) {
            from = count_value(tally, compare, &m);
        } else {
            count_outside(tally, &m);
            from = m.at + 1;
        }
    }
    for (size_t s = 0; s < v->c.op->n_slots; s++)
        if (tally->parts[s][0].part[0] != '\0')
            count_all(tally, v, s, dsv4_layout_find(v->c.tensors[s].t.layout));
}
