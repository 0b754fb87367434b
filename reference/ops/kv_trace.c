/* SPDX-License-Identifier: Apache-2.0 */
/* Where a wrong byte came from. */
#include <stdio.h>

#include "../layout/layout.h"
#include "kv_family.h"

int64_t kv_active(const struct dsv4_case *c, size_t slot) {
    const dsv4_tensor *const t = &c->tensors[slot].t;
    int64_t n = 0;
    for (int64_t i = 0; i < t->shape[0]; i++) n += kv_i64(t, i) >= 0;
    return n;
}

int kv_trace_row(const struct dsv4_case *c, size_t slots, int64_t cache_row, char *line,
                 size_t size) {
    const struct dsv4_batch *const batch = &kv_step_of(c)->batch;
    const int64_t t = kv_writer_of(&c->tensors[slots].t, cache_row);
    if (t < 0)
        return snprintf(line, size, "no row of this step writes slot %lld", (long long)cache_row);
    return snprintf(line, size, "row %lld (request %d, position %lld)", (long long)t,
                    (int)batch->token_to_req[t], (long long)batch->positions[t]);
}

/* The channels that share the scale of the byte at `offset`. Full rows have one scale for all. */
static bool group_at(const struct dsv4_case *c, size_t slot, int64_t offset, int *first, int *n) {
    const dsv4_tensor *const t = &c->tensors[slot].t;
    const struct dsv4_layout *const layout = dsv4_layout_find(t->layout);
    struct dsv4_site site = {.scale = -1};
    layout->locate(c, slot, offset, &site);
    if (site.kind == DSV4_SITE_PLAIN) return false;
    *first = 0;
    *n = INDEXER_HEAD;
    if (strcmp(t->layout, "indexer-fp8") == 0) return true; /* one scale for all */
    const char *channels = strstr(site.where, "channel");
    channels += strcspn(channels, "0123456789");
    *n = strcmp(t->layout, "indexer-mxfp4") == 0 ? INDEXER_MXFP4_GROUP : KV_GROUP;
    for (; *channels >= '0' && *channels <= '9'; channels++)
        *first = *first * 10 + (*channels - '0');
    *first = *first / *n * *n;
    return true;
}

void kv_trace_group(const struct dsv4_case *c, size_t slot, int64_t offset, const float *values,
                    char *line, size_t size) {
    int first, n, at = 0;
    float amax = -1.0f;
    const double most = dsv4_case_is(c, "fp8", "ocp")       ? 448.0
                        : dsv4_case_is(c, "fp8", "fnuz224") ? 224.0
                                                            : 240.0;
    if (!group_at(c, slot, offset, &first, &n)) return;
    for (int i = first; i < first + n; i++) {
        const float x = dsv4_bf16_to_f32(dsv4_bf16_from_f32(values[i]) & 0x7FFF);
        if (x > amax) amax = x, at = i;
    }
    const double max = n == INDEXER_MXFP4_GROUP ? 6.0 : most;
    const size_t used = strlen(line);
    snprintf(line + used, size - used,
             ", channels %d..%d: amax %.9g (0x%04X) at channel %d; amax/%g = %.7g", first,
             first + n - 1, (double)amax, dsv4_bf16_from_f32(amax), at, max, (double)amax / max);
}
