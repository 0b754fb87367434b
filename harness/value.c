/* SPDX-License-Identifier: Apache-2.0 */
#include "value.h"

#include <inttypes.h>
#include <math.h>
#include <stdio.h>

#include "../reference/num/bf16.h"
#include "../reference/num/e2m1.h"
#include "../reference/num/e8m0.h"
#include "../reference/num/fp8.h"

static uint64_t bits_of(const unsigned char *bytes, int n) {
    uint64_t bits = 0;
    for (int i = 0; i < n && i < 8; i++) bits |= (uint64_t)bytes[i] << 8 * i;
    return bits;
}

double dsv4_value_of(uint32_t dtype, const unsigned char *bytes) {
    switch (dtype) {
    case DSV4_I32: return (double)(int32_t)(uint32_t)bits_of(bytes, 4);
    case DSV4_I64: return (double)(int64_t)bits_of(bytes, 8);
    case DSV4_U8: return (double)bytes[0];
    case DSV4_F32: return (double)dsv4_from_bits((uint32_t)bits_of(bytes, 4));
    case DSV4_BF16: return (double)dsv4_bf16_to_f32((uint16_t)bits_of(bytes, 2));
    case DSV4_E4M3FN: return (double)dsv4_e4m3fn_to_f32(bytes[0]);
    case DSV4_E4M3FNUZ: return (double)dsv4_e4m3fnuz_to_f32(bytes[0]);
    case DSV4_E8M0: return (double)dsv4_e8m0_to_f32(bytes[0]);
    default: return NAN;
    }
}

void dsv4_value_text(char *text, size_t size, const struct dsv4_site *site,
                     const unsigned char *bytes) {
    const char *const name = dsv4_dtype_name(site->dtype);
    const double value = dsv4_value_of(site->dtype, bytes);
    const uint64_t bits = bits_of(bytes, site->unit_bytes);
    char hex[32];
    snprintf(hex, sizeof hex, "0x%0*" PRIx64, 2 * site->unit_bytes, bits);
    if (strcmp(site->part, "nibbles") == 0)
        snprintf(text, size, "%s   e2m1 %g (low), %g (high)", hex,
                 (double)dsv4_e2m1_to_f32(bytes[0] & 15),
                 (double)dsv4_e2m1_to_f32((uint8_t)(bytes[0] >> 4)));
    else if (site->dtype == DSV4_E8M0 && bytes[0] != 255)
        snprintf(text, size, "%s   e8m0 2^%d", hex, (int)bytes[0] - 127);
    else if (site->dtype == DSV4_I32 || site->dtype == DSV4_I64 || site->dtype == DSV4_U8)
        snprintf(text, size, "%s   %s %" PRId64, hex, name,
                 site->dtype == DSV4_I32 ? (int64_t)(int32_t)(uint32_t)bits : (int64_t)bits);
    else if (isnan(value))
        snprintf(text, size, "%s   %s NaN", hex, name);
    else
        snprintf(text, size, "%s   %s %.9g", hex, name, value);
}
