/* SPDX-License-Identifier: Apache-2.0 */
/* A plug-in whose floats are some units in the last place above the reference's. */
#ifndef PLANTED_BOUNDS_H
#define PLANTED_BOUNDS_H

#include "wrap.h"

/* Moves every element of the output `out` by `ulp` units away from 0. Rows of the ops that this is for are dense. */
static inline int planted_move(const dsv4_call *call, int ulp, char *why, size_t why_size) {
    const int status = planted_run(call, why, why_size);
    const dsv4_tensor *const out = dsv4_find(call, "out");
    if (status != DSV4_OK || out == NULL) return status;
    for (int64_t r = 0; r < out->shape[0]; r++)
        for (int64_t i = 0; i < out->shape[1]; i++) {
            char *const at = (char *)out->data + r * out->stride[0] + i * out->stride[1];
            if (out->dtype == DSV4_F32)
                *(uint32_t *)(void *)at += (uint32_t)ulp;
            else
                *(uint16_t *)(void *)at = (uint16_t)(*(uint16_t *)(void *)at + ulp);
        }
    return status;
}

#endif
