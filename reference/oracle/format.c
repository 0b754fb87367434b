/* SPDX-License-Identifier: Apache-2.0 */
#include "oracle.h"

#include <math.h>
#include <stdbool.h>
#include <string.h>

const struct dsv4_oracle_format dsv4_oracle_formats[DSV4_ORACLE_N_FORMATS] = {
    [DSV4_ORACLE_BF16] = {"bf16",     8, 7, 127, 0x7F7F, 0x7F80, 0x7FC0, true },
    [DSV4_ORACLE_E4M3FN] = {"e4m3fn",   4, 3, 7,   0x7E,   0x7E,   0x7F,   true },
    [DSV4_ORACLE_E4M3FNUZ] = {"e4m3fnuz", 4, 3, 8,   0x7F,   0x7F,   0x80,   false},
    [DSV4_ORACLE_E2M1] = {"e2m1",     2, 1, 1,   7,      7,      7,      true },
};

static uint32_t sign_bit(const struct dsv4_oracle_format *format) {
    return 1u << (format->exponent_bits + format->mantissa_bits);
}

double dsv4_oracle_magnitude(const struct dsv4_oracle_format *format, uint32_t code) {
    int fraction = (int)(code & ((1u << format->mantissa_bits) - 1));
    int exponent = (int)(code >> format->mantissa_bits);
    int whole = exponent == 0 ? fraction : fraction + (1 << format->mantissa_bits);
    return ldexp(whole, (exponent == 0 ? 1 : exponent) - format->bias - format->mantissa_bits);
}

/* Every value and every midpoint of two neighbours has few bits, so binary64 holds and compares
 * them exactly. The value that would follow `largest` takes part in the search, so that overflow
 * rounds like everything else. */
static uint32_t nearest(const struct dsv4_oracle_format *format, double magnitude) {
    uint32_t low = 0, high = format->largest + 1;
    while (high - low > 1) {
        uint32_t middle = low + (high - low) / 2;
        if (dsv4_oracle_magnitude(format, middle) <= magnitude)
            low = middle;
        else
            high = middle;
    }
    double midpoint =
        (dsv4_oracle_magnitude(format, low) + dsv4_oracle_magnitude(format, high)) / 2;
    bool up = magnitude == midpoint ? low % 2 != 0 : magnitude > midpoint;
    uint32_t code = up ? high : low;
    return code > format->largest ? format->overflow : code;
}

uint32_t dsv4_oracle_encode(const struct dsv4_oracle_format *format, float x) {
    if (isnan(x)) return format->nan;
    uint32_t code = nearest(format, fabs((double)x));
    if (code == 0 && !format->zero_has_sign) return 0;
    return signbit(x) ? code | sign_bit(format) : code;
}

static float nan_value(void) {
    const uint32_t bits = 0x7FC00000;
    float x;
    memcpy(&x, &bits, sizeof x);
    return x;
}

float dsv4_oracle_decode(const struct dsv4_oracle_format *format, uint32_t code) {
    bool negative = (code & sign_bit(format)) != 0;
    uint32_t magnitude = code & (sign_bit(format) - 1);
    double value = dsv4_oracle_magnitude(format, magnitude);
    if (!format->zero_has_sign && negative && magnitude == 0) return nan_value();
    if (magnitude > format->largest) {
        if (magnitude != format->overflow) return nan_value();
        value = HUGE_VAL;
    }
    return (float)(negative ? -value : value);
}

/* The definition, then the three places where the bit rule parts from it (e8m0.h). */
uint32_t dsv4_oracle_e8m0_ceil(float x) {
    double magnitude = fabs((double)x);
    if (isnan(x) || magnitude > ldexp(1, 127)) return 255;
    if (magnitude == 0) return 0;
    if (magnitude < ldexp(1, -126)) return 1;
    uint32_t code = 0;
    while (ldexp(1, (int)code - 127) < magnitude) code++;
    return code;
}

float dsv4_oracle_e8m0_to_f32(uint32_t code) {
    return code == 255 ? nan_value() : (float)ldexp(1, (int)code - 127);
}
