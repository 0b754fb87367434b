/* SPDX-License-Identifier: Apache-2.0 */
/* Tensors whose bytes are their elements. */
#include <stdio.h>

#include "layouts.h"

static void locate(const struct dsv4_case *c, size_t slot, int64_t offset, struct dsv4_site *site) {
    const dsv4_tensor *t = &c->tensors[slot].t;
    int64_t rest = offset;
    size_t n = 0;
    n += (size_t)snprintf(site->where, sizeof site->where, "%s[", t->name);
    for (int d = 0; d < t->ndim; d++) {
        n += (size_t)snprintf(site->where + n, sizeof site->where - n, "%s%lld", d > 0 ? ", " : "",
                              (long long)(rest / t->stride[d]));
        rest %= t->stride[d];
    }
    snprintf(site->where + n, sizeof site->where - n, "]");
    snprintf(site->part, sizeof site->part, "element");
    dsv4_site_set(site, DSV4_SITE_PLAIN, t->dtype, offset - rest, (int)dsv4_dtype_bytes(t->dtype));
}

const struct dsv4_layout dsv4_layout_linear = {
    .name = "linear",
    .doc = "every byte belongs to one element at its strides",
    .locate = locate,
};
