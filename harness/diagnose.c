/* SPDX-License-Identifier: Apache-2.0 */
#include "diagnose.h"

#include <math.h>
#include <stdarg.h>
#include <stdio.h>

#include "../reference/layout/layout.h"
#include "../reference/memory.h"
#include "value.h"

struct text {
    char *at;
    size_t size, n;
};

static void append(struct text *text, const char *format, ...)
    __attribute__((format(printf, 2, 3)));
static void append(struct text *text, const char *format, ...) {
    va_list args;
    va_start(args, format);
    const int n = vsnprintf(text->at + text->n, text->size - text->n, format, args);
    va_end(args);
    if (n > 0) text->n += (size_t)n < text->size - text->n ? (size_t)n : text->size - text->n - 1;
}

static const char *plural(const char *part, int64_t n) {
    const size_t length = strlen(part);
    return n == 1 || (length > 0 && part[length - 1] == 's') ? "" : "s";
}

/* "23 of 1792 scale bytes, 1391 of 114688 codes" */
static void parts_text(struct text *text, const struct dsv4_tally *tally, size_t slot) {
    bool any = false;
    for (int pass = 0; pass < 2; pass++) /* scales first: they are the cause */
        for (size_t i = 0; i < DSV4_MAX_SITE_PARTS; i++) {
            const struct dsv4_count *const p = &tally->parts[slot][i];
            if (p->wrong == 0 || (p->kind == DSV4_SITE_SCALE) != (pass == 0)) continue;
            append(text, "%s%s%lld", any ? ", " : "", tally->cut ? "at least " : "",
                   (long long)p->wrong);
            if (p->all > 0) append(text, " of %lld", (long long)p->all);
            append(text, " %s%s", p->part, plural(p->part, p->all > 0 ? p->all : p->wrong));
            any = true;
        }
}

static void outside_text(struct text *text, const struct dsv4_case *c, size_t slot,
                         enum dsv4_fault fault, int after, int64_t n,
                         const struct dsv4_mismatch *first) {
    const struct dsv4_case_tensor *const t = &c->tensors[slot];
    const char *const name = t->t.name, *const s = n == 1 ? "" : "s";
    struct dsv4_site site = {0};
    if (fault != DSV4_FAULT_GUARD && fault != DSV4_FAULT_GAP)
        dsv4_layout_find(t->t.layout)->locate(c, slot, first->offset, &site);
    const long long bytes = (long long)n, past = (long long)(first->offset - t->span);
    switch (fault) {
    case DSV4_FAULT_GUARD:
        append(text, "wrote %lld byte%s into the guard %s `%s`, first at byte %+lld %s", bytes, s,
               after ? "after" : "before", name, after ? past : (long long)first->offset,
               after ? "past its end" : "from its start");
        break;
    case DSV4_FAULT_GAP:
        append(text, "wrote %lld byte%s between the rows of `%s`, first at byte %lld of row %lld",
               bytes, s, name, (long long)(first->offset % t->t.stride[0]),
               (long long)(first->offset / t->t.stride[0]));
        break;
    case DSV4_FAULT_FAR:
        append(text, "wrote %lld byte%s to rows of `%s` that no input names, first at %s", bytes, s,
               name, site.where);
        break;
    case DSV4_FAULT_INPUT:
        append(text, "changed %lld byte%s of the input `%s`, first at %s", bytes, s, name,
               site.where);
        break;
    default:
        append(text, "changed %lld byte%s of `%s` that must keep %s value%s, first at %s", bytes, s,
               name, n == 1 ? "its" : "their", s, site.where);
    }
}

/* One sentence per tensor and kind of stray write. */
static bool note_outside(struct dsv4_notes *notes, const struct dsv4_comparison *compare,
                         const struct dsv4_tally *tally, struct text *summary) {
    bool any = false;
    for (size_t s = 0; s < compare->v->c.op->n_slots; s++)
        for (int fault = DSV4_FAULT_UNTOUCHED; fault < DSV4_N_FAULTS; fault++)
            for (int after = 0; after < 2; after++) {
                const int64_t n = tally->outside[s][fault][after];
                const struct dsv4_mismatch *const first = &tally->first[s][fault][after];
                char buffer[400];
                struct text line = {buffer, sizeof buffer, 0};
                if (n == 0) continue;
                outside_text(&line, &compare->v->c, s, (enum dsv4_fault)fault, after, n, first);
                append(summary, "%s%s", summary->n > 0 ? "; " : "", buffer);
                dsv4_notes_add(notes, "outside", "%s: 0x%02x became 0x%02x", buffer,
                               compare->want->base[first->at], compare->got->base[first->at]);
                any = true;
            }
    return any;
}

static void note_tensor(struct dsv4_notes *notes, const struct dsv4_case_tensor *t) {
    char buffer[128];
    struct text shape = {buffer, sizeof buffer, 0};
    static const char *const rules[] = {"bits", "bounds", "sets"};
    for (int d = 0; d < t->t.ndim; d++)
        append(&shape, "%s%lld", d > 0 ? ", " : "", (long long)t->t.shape[d]);
    dsv4_notes_add(notes, "tensor", "%s   %s [%s]   %s   compared as %s", t->t.name,
                   dsv4_dtype_name(t->t.dtype), buffer, t->t.layout, rules[t->compare]);
}

/* The index of an element as if the tensor were dense. */
static int64_t element_index(const dsv4_tensor *t, int64_t offset) {
    int64_t index = 0;
    for (int d = 0; d < t->ndim; d++) {
        index = index * t->shape[d] + offset / t->stride[d];
        offset %= t->stride[d];
    }
    return index;
}

static void note_scaled(struct dsv4_notes *notes, const char *key, const struct dsv4_case *c,
                        size_t slot, const struct dsv4_site *site, const unsigned char *base) {
    char text[160];
    const unsigned char *const tensor = base + c->tensors[slot].offset;
    dsv4_value_text(text, sizeof text, site, tensor + site->unit);
    if (site->kind == DSV4_SITE_CODE && site->scale >= 0 && strcmp(site->part, "nibbles") != 0) {
        struct dsv4_site scale;
        dsv4_layout_find(c->tensors[slot].t.layout)->locate(c, slot, site->scale, &scale);
        const double factor = dsv4_value_of(scale.dtype, tensor + site->scale);
        dsv4_notes_add(notes, key, "%s; times its scale %.9g = %.9g", text, factor,
                       factor * dsv4_value_of(site->dtype, tensor + site->unit));
    } else {
        dsv4_notes_add(notes, key, "%s", text);
    }
}

/* How far apart two floats lie, counted in representable values; -1: not floats, or NaN among them. */
static int64_t steps_between(uint32_t dtype, const unsigned char *a, const unsigned char *b) {
    int64_t order[2];
    const unsigned char *const bytes[2] = {a, b};
    if ((dtype != DSV4_F32 && dtype != DSV4_BF16) || isnan(dsv4_value_of(dtype, a)) ||
        isnan(dsv4_value_of(dtype, b)))
        return -1;
    for (int i = 0; i < 2; i++) {
        uint32_t bits = 0;
        memcpy(&bits, bytes[i], dtype == DSV4_F32 ? 4 : 2);
        if (dtype == DSV4_BF16) bits <<= 16;
        const int64_t magnitude = bits & 0x7FFFFFFFu;
        order[i] = (bits >> 31 ? -magnitude : magnitude) / (dtype == DSV4_BF16 ? 65536 : 1);
    }
    return order[0] > order[1] ? order[0] - order[1] : order[1] - order[0];
}

static void note_value(struct dsv4_notes *notes, const struct dsv4_comparison *compare,
                       const struct dsv4_tally *tally, struct text *summary) {
    const struct dsv4_case *const c = &compare->v->c;
    const struct dsv4_mismatch *const m = tally->has_scale ? &tally->scale : &tally->value;
    const struct dsv4_case_tensor *const t = &c->tensors[m->slot];
    struct dsv4_site site;
    char buffer[512];
    struct text extent = {buffer, sizeof buffer, 0};
    dsv4_layout_find(t->t.layout)->locate(c, m->slot, m->offset, &site);
    note_tensor(notes, t);
    dsv4_notes_add(notes, "where", "element %lld: %s", (long long)element_index(&t->t, site.unit),
                   site.where);
    note_scaled(notes, "want", c, m->slot, &site, compare->want->base);
    note_scaled(notes, "got", c, m->slot, &site, compare->got->base);
    const int64_t at = t->offset + site.unit;
    const int64_t steps =
        steps_between(site.dtype, compare->want->base + at, compare->got->base + at);
    if (steps >= 0)
        dsv4_notes_add(notes, "apart", "%lld unit%s in the last place", (long long)steps,
                       steps == 1 ? "" : "s");
    dsv4_note_trace(notes, compare, m);
    parts_text(&extent, tally, m->slot);
    append(summary, "%s of `%s` are wrong", buffer, t->t.name);
    const int64_t under = tally->codes_under_wrong_scale, right = tally->codes_under_right_scale;
    if (under > 0 && right == 0)
        append(&extent, "; every wrong code lies under a wrong scale");
    else if (under > 0 || (right > 0 && tally->has_scale))
        append(&extent, "; %lld wrong codes lie under a wrong scale, %lld under a right one",
               (long long)under, (long long)right);
    else if (right > 0)
        append(&extent, "; no scale is wrong");
    for (size_t s = 0; s < c->op->n_slots; s++)
        if (s != m->slot && tally->parts[s][0].part[0] != '\0') {
            append(&extent, "; in `%s` ", c->tensors[s].t.name);
            parts_text(&extent, tally, s);
        }
    dsv4_notes_add(notes, "extent", "%s", buffer);
}

void dsv4_diagnose(struct dsv4_notes *notes, char *summary, size_t size,
                   const struct dsv4_comparison *compare, const struct dsv4_inquiry *inquiry) {
    struct dsv4_tally *const tally = dsv4_alloc(sizeof *tally);
    struct text line = {summary, size, 0};
    summary[0] = '\0';
    dsv4_tally_make(tally, compare);
    if (tally->has_value) note_value(notes, compare, tally, &line);
    note_outside(notes, compare, tally, &line);
    dsv4_note_hints(notes, compare, inquiry);
    dsv4_free(tally);
}
