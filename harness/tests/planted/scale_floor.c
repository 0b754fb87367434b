/* SPDX-License-Identifier: Apache-2.0 */
/* Rounds scales down: the classic. Codes follow the wrong scale and saturate. */
#include "insert.h"

static int run(const dsv4_call *call, char *why, size_t why_size) {
    const dsv4_tensor *const k = dsv4_find(call, "k");
    const int status = planted_run(call, why, why_size);
    for (int64_t t = 0; t < dsv4_find(call, "slot_mapping")->shape[0]; t++) {
        const uint16_t *const row =
            (const uint16_t *)(const void *)((const char *)k->data + t * k->stride[0]);
        if (planted_slot(call, t) < 0) continue;
        uint8_t *scales, *const data = planted_data(call, planted_slot(call, t), &scales);
        for (int group = 0; group < GROUPS; group++) {
            float amax = 0;
            for (int i = group * GROUP; i < (group + 1) * GROUP; i++) {
                const float x = planted_bf16(row[i]);
                if ((x < 0 ? -x : x) > amax) amax = x < 0 ? -x : x;
            }
            const float scale = (amax > 1e-4f ? amax : 1e-4f) * (1.0f / 448.0f);
            if (planted_power(scales[group] - 127) == scale) continue;
            scales[group]--;
            for (int i = group * GROUP; i < (group + 1) * GROUP; i++)
                data[i] = planted_code(planted_bf16(row[i]) * planted_power(127 - scales[group]));
        }
    }
    return status;
}

PLANTED(planted_supports, run, .canary = NULL)
