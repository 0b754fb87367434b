/* SPDX-License-Identifier: Apache-2.0 */
/* A plug-in whose bits are another arithmetic's, besides what else is wrong with it. */
#ifndef PLANTED_NUDGE_H
#define PLANTED_NUDGE_H

#include "wrap.h"

static inline size_t planted_bytes(const dsv4_tensor *t) {
    return (size_t)(t->shape[0] * t->stride[0]);
}

static inline unsigned char *planted_copy(const dsv4_tensor *t) {
    unsigned char *const copy = malloc(planted_bytes(t) + 1);
    if (copy == NULL) abort();
    memcpy(copy, t->data, planted_bytes(t));
    return copy;
}

/* Runs the reference; then, of the floats of `out` that it changed, all of fp32 and every 16th of bf16 are one unit in the
 * last place off. */
static inline int planted_nudged(const dsv4_call *call, const dsv4_tensor *out, char *why,
                                 size_t why_size) {
    unsigned char *const before = planted_copy(out), *const bytes = out->data;
    const int status = planted_run(call, why, why_size);
    const size_t unit = out->dtype == DSV4_F32 ? 4 : 2, every = out->dtype == DSV4_F32 ? 1 : 16;
    size_t n = 0;
    for (size_t i = 0; i < planted_bytes(out); i += unit)
        if (memcmp(before + i, bytes + i, unit) != 0 && n++ % every == 0) bytes[i] ^= 1;
    free(before);
    return status;
}

#endif
