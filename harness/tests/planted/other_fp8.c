/* SPDX-License-Identifier: Apache-2.0 */
/* Quantises for the FP8 of AMD's older GPUs, e4m3fnuz, and stores the codes that OCP's e4m3fn has for those values. */
#include "wrap.h"

/* The exponent's bias is 7 where e4m3fnuz has 8; below the least normal number half of a code is rounded to even. */
static uint8_t of_fn(uint8_t fnuz) {
    const unsigned magnitude = fnuz & 0x7Fu, half = magnitude >> 1, odd = magnitude & half & 1;
    return (uint8_t)((fnuz & 0x80u) | (magnitude < 16 ? half + odd : magnitude - 8));
}

static int run(const dsv4_call *call, char *why, size_t why_size) {
    const int status = planted_run(call, why, why_size);
    const dsv4_tensor *const codes = dsv4_find(call, "codes");
    for (int64_t r = 0; r < codes->shape[0]; r++)
        for (int64_t i = 0; i < codes->shape[1]; i++) {
            uint8_t *const code = (uint8_t *)codes->data + r * codes->stride[0] + i;
            *code = of_fn(*code);
        }
    return status;
}

PLANTED(planted_supports, run)
