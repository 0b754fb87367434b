/* SPDX-License-Identifier: Apache-2.0 */
#include "undo.h"

#include <math.h>
#include <stdio.h>

#include "../reference/num/bf16.h"
#include "../reference/num/fp8.h"
#include "value.h"

enum { MOST_VALUES = 1 << 20 };

bool dsv4_pages_of(const struct dsv4_case *c, size_t slot, struct dsv4_pages *pages) {
    const struct dsv4_layout *const layout = dsv4_layout_find(c->tensors[slot].t.layout);
    if (layout->pages == NULL) return false;
    layout->pages(c, slot, pages);
    return true;
}

/* ---- places ---- */

static int64_t moved_along(const dsv4_tensor *t, const struct dsv4_mistake *m, int64_t offset) {
    int64_t rest = offset, index = 0;
    for (int d = 0; d <= m->dimension; d++) {
        index = rest / t->stride[d];
        rest %= t->stride[d];
    }
    if (index + m->by < 0 || index + m->by >= t->shape[m->dimension]) return -1;
    return offset + m->by * t->stride[m->dimension];
}

int64_t dsv4_misplaced(const struct dsv4_case *c, size_t slot, const struct dsv4_mistake *m,
                       int64_t offset) {
    const dsv4_tensor *const t = &c->tensors[slot].t;
    struct dsv4_pages pages;
    int64_t token, byte;
    if (m->kind == DSV4_MOVED && m->dimension >= 0) return moved_along(t, m, offset);
    if (!dsv4_pages_of(c, slot, &pages) ||
        !dsv4_page_find(&pages, offset % t->stride[0], &token, &byte))
        return -1;
    token += offset / t->stride[0] * pages.tokens;
    if (m->kind == DSV4_MOVED) token += m->by;
    if (m->kind == DSV4_REARRANGED) pages.arrangement = m->arrangement;
    if (token < 0 || token >= t->shape[0] * pages.tokens) return -1;
    return token / pages.tokens * t->stride[0] +
           dsv4_page_offset(&pages, token % pages.tokens, byte);
}

static int64_t put_back(struct dsv4_arena *undone, const struct dsv4_comparison *compare,
                        size_t slot, const struct dsv4_mistake *m) {
    const struct dsv4_case_tensor *const tensor = &compare->v->c.tensors[slot];
    const unsigned char *const keep = compare->v->tensors[slot].keep;
    const unsigned char *const got = compare->got->base + tensor->offset;
    const unsigned char *const want = compare->want->base + tensor->offset;
    int64_t n = 0, last = -1;
    for (int64_t i = 0; i < dsv4_packed_bytes(tensor); i++) {
        const int64_t offset = dsv4_storage_offset(tensor, i);
        const int64_t from =
            keep != NULL && keep[i] != 0 ? -1 : dsv4_misplaced(&compare->v->c, slot, m, offset);
        if (from < 0) continue;
        undone->base[tensor->offset + offset] = got[from];
        if (got[from] == want[from] || got[from] == last) continue;
        last = got[from];
        n++;
    }
    return n;
}

/* ---- values ---- */

static bool is_fp8(uint32_t dtype) { return dtype == DSV4_E4M3FN || dtype == DSV4_E4M3FNUZ; }

static float other_fp8(uint32_t dtype, unsigned char code) {
    return dsv4_fp8_to_f32(code, dtype == DSV4_E4M3FN ? DSV4_FNUZ240 : DSV4_OCP);
}

/* The right code whose value is `got` in the other format. Where several saturate to it: the expected one, if it does. */
static unsigned char right_fp8(uint32_t dtype, unsigned char got, unsigned char want) {
    const enum dsv4_fp8 own = dtype == DSV4_E4M3FN ? DSV4_OCP : DSV4_FNUZ240;
    const enum dsv4_fp8 other = own == DSV4_OCP ? DSV4_FNUZ240 : DSV4_OCP;
    if (dsv4_fp8_from_f32(dsv4_fp8_to_f32(want, own), other) == got) return want;
    return dsv4_fp8_from_f32(other_fp8(dtype, got), own);
}

static void divide(uint32_t dtype, unsigned char *bytes, double factor) {
    const float quotient = (float)(dsv4_value_of(dtype, bytes) / factor);
    const uint16_t half = dsv4_bf16_from_f32(quotient);
    if (dtype == DSV4_F32) memcpy(bytes, &quotient, sizeof quotient);
    if (dtype == DSV4_BF16) memcpy(bytes, &half, sizeof half);
    if (dtype == DSV4_E8M0) bytes[0] = (unsigned char)(bytes[0] - ilogb(factor));
}

static void mend(unsigned char *bytes, unsigned char want, const struct dsv4_site *site,
                 const struct dsv4_mistake *m) {
    if (m->kind == DSV4_FACTOR) divide(site->dtype, bytes, m->factor);
    if (m->kind == DSV4_OTHER_FP8 && is_fp8(site->dtype))
        bytes[0] = right_fp8(site->dtype, bytes[0], want);
}

/* The first wrong value of an output at or after `from`. */
static bool next_wrong(const struct dsv4_comparison *compare, size_t slot, int64_t from,
                       struct dsv4_site *site) {
    const struct dsv4_case_tensor *const tensor = &compare->v->c.tensors[slot];
    struct dsv4_mismatch m;
    for (; dsv4_compare_next(compare, from, &m) && m.at < tensor->offset + tensor->span;
         from = m.at + 1) {
        if (m.slot != slot || m.fault != DSV4_FAULT_VALUE) continue;
        dsv4_layout_find(tensor->t.layout)->locate(&compare->v->c, slot, m.offset, site);
        return true;
    }
    return false;
}

static int64_t mend_all(struct dsv4_arena *undone, const struct dsv4_comparison *compare,
                        size_t slot, const struct dsv4_mistake *m) {
    const int64_t base = compare->v->c.tensors[slot].offset;
    struct dsv4_site site;
    unsigned char last[8] = {0};
    int64_t n = 0, n_counted = 0;
    for (int64_t from = base; next_wrong(compare, slot, from, &site);
         from = base + site.unit + site.unit_bytes) {
        const int64_t at = base + site.unit;
        const size_t bytes = (size_t)site.unit_bytes;
        if (++n > MOST_VALUES) return 0;
        memcpy(undone->base + at, compare->got->base + at, bytes);
        mend(undone->base + at, compare->want->base[at], &site, m);
        if (memcmp(last, compare->got->base + at, bytes) != 0) n_counted += site.unit_bytes;
        memcpy(last, compare->got->base + at, bytes);
    }
    return n_counted;
}

int64_t dsv4_undo(struct dsv4_arena *undone, const struct dsv4_comparison *compare, size_t slot,
                  const struct dsv4_mistake *m) {
    dsv4_arena_copy(undone, compare->want);
    if (m->kind == DSV4_MOVED || m->kind == DSV4_REARRANGED)
        return put_back(undone, compare, slot, m);
    return mend_all(undone, compare, slot, m);
}

/* ---- what there is to try ---- */

/* The power of two that the first wrong value which has one is nearest to; 1: none. */
static double factor_of(const struct dsv4_comparison *compare, size_t slot) {
    const int64_t base = compare->v->c.tensors[slot].offset;
    struct dsv4_site site;
    for (int64_t from = base, n = 0; n < 64 && next_wrong(compare, slot, from, &site); n++) {
        const int64_t at = base + site.unit;
        const double ratio = dsv4_value_of(site.dtype, compare->got->base + at) /
                             dsv4_value_of(site.dtype, compare->want->base + at);
        from = at + site.unit_bytes;
        if (site.dtype != DSV4_F32 && site.dtype != DSV4_BF16 && site.dtype != DSV4_E8M0) return 1;
        if (isfinite(ratio) && fabs(ratio) > 0x1p-8 && fabs(ratio) < 0x1p8)
            return copysign(exp2(round(log2(fabs(ratio)))), ratio);
    }
    return 1;
}

size_t dsv4_mistakes(struct dsv4_mistake *list, const struct dsv4_comparison *compare,
                     size_t slot) {
    const dsv4_tensor *const t = &compare->v->c.tensors[slot].t;
    struct dsv4_pages pages;
    struct dsv4_site site;
    size_t n = 0;
    if (!next_wrong(compare, slot, compare->v->c.tensors[slot].offset, &site)) return 0;
    const bool has_pages = dsv4_pages_of(&compare->v->c, slot, &pages);
    list[n] = (struct dsv4_mistake){.kind = DSV4_FACTOR, .factor = factor_of(compare, slot)};
    n += list[n].factor != 1;
    list[n] = (struct dsv4_mistake){.kind = DSV4_OTHER_FP8};
    n += is_fp8(site.dtype);
    for (int by = -1; by <= 1; by += 2)
        for (int d = has_pages ? -1 : 0; d < (has_pages ? 1 : t->ndim); d++)
            list[n++] = (struct dsv4_mistake){.kind = DSV4_MOVED, .dimension = d, .by = by};
    for (int a = 0; has_pages && a < DSV4_N_ARRANGEMENTS; a++) {
        const enum dsv4_arrangement own = pages.arrangement;
        list[n] =
            (struct dsv4_mistake){.kind = DSV4_REARRANGED, .arrangement = (enum dsv4_arrangement)a};
        pages.arrangement = list[n].arrangement;
        n += list[n].arrangement != own && dsv4_pages_fit(&pages);
        pages.arrangement = own;
    }
    return n;
}

/* ---- words ---- */

static bool has_fp8(const struct dsv4_case *c) {
    bool has = false;
    for (size_t s = 0; s < c->op->n_slots; s++) has |= is_fp8(c->tensors[s].t.dtype);
    for (size_t p = 0; p < c->op->n_params; p++)
        has |= strstr(c->op->params[p].name, "fp8") != NULL;
    return has;
}

static const char *cause_of_factor(const struct dsv4_case *c, double factor) {
    if (!has_fp8(c)) return "";
    if (factor == 2) return ", as where e4m3fnuz codes are read as e4m3fn";
    return factor == 0.5 ? ", as where e4m3fn codes are read as e4m3fnuz" : "";
}

void dsv4_mistake_text(char *text, size_t size, const struct dsv4_case *c, size_t slot,
                       const struct dsv4_mistake *m) {
    const char *const far = m->by > 0 ? "too far" : "short of their place";
    struct dsv4_pages pages;
    const bool has_pages = dsv4_pages_of(c, slot, &pages);
    switch (m->kind) {
    case DSV4_FACTOR:
        snprintf(text, size, "its wrong values are %g times the right ones%s", m->factor,
                 cause_of_factor(c, m->factor));
        break;
    case DSV4_OTHER_FP8: snprintf(text, size, "its wrong codes are of the other FP8 format"); break;
    case DSV4_MOVED:
        if (has_pages)
            snprintf(text, size, "its values lie one %s %s", m->dimension < 0 ? "token" : "block",
                     far);
        else
            snprintf(text, size, "its values lie one place %s along dimension %d", far,
                     m->dimension);
        break;
    case DSV4_REARRANGED:
        snprintf(text, size, "its values lie %s, and these pages have them %s",
                 dsv4_arrangement_names[m->arrangement], dsv4_arrangement_names[pages.arrangement]);
        break;
    }
}
