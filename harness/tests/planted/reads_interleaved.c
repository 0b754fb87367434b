/* SPDX-License-Identifier: Apache-2.0 */
/* Reads pages as if each token's scales followed its data. */
#include "wrap.h"

static int run(const dsv4_call *call, char *why, size_t why_size) {
    enum { DATA = 576, SCALES = 8 };
    dsv4_tensor tensors[16];
    dsv4_call other = *call;
    const dsv4_tensor *const cache = dsv4_find(call, "cache");
    const int64_t block_size = dsv4_int(call, "block_size", 64), page = cache->stride[0];
    unsigned char *const copy = malloc((size_t)(cache->shape[0] * page));
    if (copy == NULL || call->n_tensors > 16) return DSV4_ERROR;
    memcpy(tensors, call->tensors, (size_t)call->n_tensors * sizeof *tensors);
    other.tensors = tensors;
    for (int64_t b = 0; b < cache->shape[0]; b++)
        for (int64_t j = 0; j < block_size; j++) {
            unsigned char *const to = copy + b * page;
            const unsigned char *const token =
                (const unsigned char *)cache->data + b * page + j * (DATA + SCALES);
            memcpy(to + j * DATA, token, DATA);
            memcpy(to + block_size * DATA + j * SCALES, token + DATA, SCALES);
        }
    for (int64_t t = 0; t < (int64_t)call->n_tensors; t++)
        if (strcmp(tensors[t].name, "cache") == 0) tensors[t].data = copy;
    const int status = planted_run(&other, why, why_size);
    free(copy);
    return status;
}

PLANTED(planted_supports, run)
