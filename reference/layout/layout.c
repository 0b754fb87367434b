/* SPDX-License-Identifier: Apache-2.0 */
#include "layouts.h"

const struct dsv4_layout *const dsv4_layouts[] = {
    &dsv4_layout_linear,      &dsv4_layout_planar,        &dsv4_layout_interleaved,
    &dsv4_layout_indexer_fp8, &dsv4_layout_indexer_mxfp4,
};
const size_t dsv4_n_layouts = sizeof dsv4_layouts / sizeof *dsv4_layouts;

const struct dsv4_layout *dsv4_layout_find(const char *name) {
    for (size_t i = 0; i < dsv4_n_layouts; i++)
        if (strcmp(dsv4_layouts[i]->name, name) == 0) return dsv4_layouts[i];
    return NULL;
}

uint32_t dsv4_code_dtype(const struct dsv4_case *c) {
    /* An op that only moves codes does not say which they are. */
    bool has = false;
    for (size_t p = 0; p < c->op->n_params; p++) has |= strcmp(c->op->params[p].name, "fp8") == 0;
    return !has || dsv4_case_is(c, "fp8", "ocp") ? DSV4_E4M3FN : DSV4_E4M3FNUZ;
}

void dsv4_site_set(struct dsv4_site *site, enum dsv4_site_kind kind, uint32_t dtype, int64_t unit,
                   int bytes) {
    site->byte_class = DSV4_VALUE;
    site->kind = kind;
    site->dtype = dtype;
    site->unit = unit;
    site->unit_bytes = bytes;
    site->scale = -1;
}
