/* SPDX-License-Identifier: Apache-2.0 */
/* Lacks an op in the middle of a layer, and one before it is wrong: the error must travel through the gap. */
#include "wrap.h"

static int supports(const dsv4_call *call, char *why, size_t why_size) {
    if (strcmp(call->op, "kv_dequantize_gather") != 0) return planted_supports(call, why, why_size);
    snprintf(why, why_size, "no gather yet");
    return DSV4_UNSUPPORTED;
}

static int run(const dsv4_call *call, char *why, size_t why_size) {
    const int status = planted_run(call, why, why_size);
    if (strcmp(call->op, "kv_qnorm_rope_insert") == 0) {
        const dsv4_tensor *const cache = dsv4_find(call, "cache");
        const int64_t slot = ((const int64_t *)dsv4_find(call, "slot_mapping")->data)[0];
        const int64_t block_size = dsv4_int(call, "block_size", 64);
        char *const page = (char *)cache->data + slot / block_size * cache->stride[0];
        page[slot % block_size * 576] = (char)(page[slot % block_size * 576] ^ 1);
    }
    return status;
}

PLANTED(supports, run)
