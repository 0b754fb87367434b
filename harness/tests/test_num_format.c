/* SPDX-License-Identifier: Apache-2.0 */
/* Number formats against the oracle: every code decoded; encoders at every midpoint between two
 * values and one unit beside it, at every binade, at NaNs and at random inputs. exhaustive.c does
 * all 2^32. */
#include <criterion/criterion.h>
#include <math.h>

#include "reference/num/bf16.h"
#include "reference/num/e2m1.h"
#include "reference/num/e8m0.h"
#include "reference/num/fp8.h"
#include "reference/oracle/oracle.h"

typedef uint32_t encoder(float x);
typedef float decoder(uint32_t code);

static uint32_t bf16_encode(float x) { return dsv4_bf16_from_f32(x); }
static uint32_t e4m3fn_encode(float x) { return dsv4_e4m3fn_from_f32(x); }
static uint32_t e4m3fnuz_encode(float x) { return dsv4_e4m3fnuz_from_f32(x); }
static uint32_t e2m1_encode(float x) { return dsv4_e2m1_from_f32(x); }
static uint32_t e8m0_encode(float x) { return dsv4_e8m0_ceil(x); }
static float bf16_decode(uint32_t code) { return dsv4_bf16_to_f32((uint16_t)code); }
static float e4m3fn_decode(uint32_t code) { return dsv4_e4m3fn_to_f32((uint8_t)code); }
static float e4m3fnuz_decode(uint32_t code) { return dsv4_e4m3fnuz_to_f32((uint8_t)code); }
static float e2m1_decode(uint32_t code) { return dsv4_e2m1_to_f32((uint8_t)code); }
static float e8m0_decode(uint32_t code) { return dsv4_e8m0_to_f32((uint8_t)code); }

/* e8m0, whose rule is not "nearest", takes the number after the formats; its format is NULL. */
#define E8M0 DSV4_ORACLE_N_FORMATS

static const struct dsv4_oracle_format *format_of(enum dsv4_oracle_format_id id) {
    return id < DSV4_ORACLE_N_FORMATS ? &dsv4_oracle_formats[id] : NULL;
}

static uint32_t oracle_encode(enum dsv4_oracle_format_id id, float x) {
    const struct dsv4_oracle_format *format = format_of(id);
    return format ? dsv4_oracle_encode(format, x) : dsv4_oracle_e8m0_ceil(x);
}

static size_t fault(enum dsv4_oracle_format_id id, encoder *encode, uint32_t bits) {
    float x = dsv4_from_bits(bits);
    return encode(x) != oracle_encode(id, x);
}

static size_t faults_around(enum dsv4_oracle_format_id id, encoder *encode, double at) {
    uint32_t bits = dsv4_bits((float)at);
    size_t faults = 0;
    for (uint32_t step = 0; step < 5; step++) {
        uint32_t near = bits + step < 2 ? 0 : bits + step - 2;
        faults += fault(id, encode, near) + fault(id, encode, near | 0x80000000u);
    }
    return faults;
}

/* Values of all codes, midpoints between them, and what follows the largest. */
static size_t faults_at_codes(enum dsv4_oracle_format_id id, encoder *encode) {
    const struct dsv4_oracle_format *format = format_of(id);
    uint32_t n = format ? format->largest + 1 : 254;
    size_t faults = 0;
    for (uint32_t code = 0; code <= n; code++) {
        double low = format ? dsv4_oracle_magnitude(format, code) : ldexp(1, (int)code - 127);
        double high = format ? dsv4_oracle_magnitude(format, code + 1) : ldexp(1, (int)code - 126);
        faults += faults_around(id, encode, low);
        faults += faults_around(id, encode, (low + high) / 2);
    }
    return faults;
}

static size_t faults_elsewhere(enum dsv4_oracle_format_id id, encoder *encode) {
    static const uint32_t mantissas[] = {0,        1,        0x000FFF, 0x2AAAAA, 0x3FFFFF,
                                         0x400000, 0x400001, 0x555555, 0x7FFFFE, 0x7FFFFF};
    size_t faults = 0;
    for (uint32_t top = 0; top < 512; top++) /* sign and exponent; 255 makes infinities and NaNs */
        for (size_t i = 0; i < sizeof mantissas / sizeof mantissas[0]; i++)
            faults += fault(id, encode, top << 23 | mantissas[i]);
    uint64_t state = 1;
    for (int i = 0; i < 100000; i++) {
        state = state * UINT64_C(6364136223846793005) + UINT64_C(1442695040888963407);
        faults += fault(id, encode, (uint32_t)(state >> 32));
    }
    return faults;
}

static size_t encoder_faults(enum dsv4_oracle_format_id id, encoder *encode) {
    return faults_at_codes(id, encode) + faults_elsewhere(id, encode);
}

/* Codes that decode to other bits than the oracle's. */
static size_t decoder_faults(enum dsv4_oracle_format_id id, decoder *decode) {
    const struct dsv4_oracle_format *format = format_of(id);
    uint32_t n = format ? 2u << (format->exponent_bits + format->mantissa_bits) : 256;
    size_t faults = 0;
    for (uint32_t code = 0; code < n; code++) {
        float want = format ? dsv4_oracle_decode(format, code) : dsv4_oracle_e8m0_to_f32(code);
        faults += dsv4_bits(decode(code)) != dsv4_bits(want);
    }
    return faults;
}

Test(num_format, encoders) {
    cr_expect_eq(encoder_faults(DSV4_ORACLE_BF16, bf16_encode), 0);
    cr_expect_eq(encoder_faults(DSV4_ORACLE_E4M3FN, e4m3fn_encode), 0);
    cr_expect_eq(encoder_faults(DSV4_ORACLE_E4M3FNUZ, e4m3fnuz_encode), 0);
    cr_expect_eq(encoder_faults(DSV4_ORACLE_E2M1, e2m1_encode), 0);
    cr_expect_eq(encoder_faults(E8M0, e8m0_encode), 0);
}

Test(num_format, decoders) {
    cr_expect_eq(decoder_faults(DSV4_ORACLE_BF16, bf16_decode), 0);
    cr_expect_eq(decoder_faults(DSV4_ORACLE_E4M3FN, e4m3fn_decode), 0);
    cr_expect_eq(decoder_faults(DSV4_ORACLE_E4M3FNUZ, e4m3fnuz_decode), 0);
    cr_expect_eq(decoder_faults(DSV4_ORACLE_E2M1, e2m1_decode), 0);
    cr_expect_eq(decoder_faults(E8M0, e8m0_decode), 0);
}

/* Values that people know by heart: if oracle and code were wrong in the same way, these would
 * tell. */
Test(num_format, known_values) {
    cr_expect_eq(dsv4_bf16_from_f32(1.0f), 0x3F80);
    cr_expect_eq(dsv4_bf16_from_f32(dsv4_from_bits(0x3F808000)), 0x3F80, "tie to even, down");
    cr_expect_eq(dsv4_bf16_from_f32(dsv4_from_bits(0x3F818000)), 0x3F82, "tie to even, up");
    cr_expect_eq(dsv4_bf16_from_f32(dsv4_from_bits(0x7F7FFFFF)), 0x7F80, "overflow to inf");
    cr_expect_eq(dsv4_bf16_from_f32(dsv4_from_bits(0xFF800001)), 0x7FC0, "NaN");
    cr_expect_eq(dsv4_e4m3fn_from_f32(448.0f), 0x7E);
    cr_expect_eq(dsv4_e4m3fn_from_f32(1e30f), 0x7E);
    cr_expect_eq(dsv4_e4m3fn_from_f32(-INFINITY), 0xFE);
    cr_expect_eq(dsv4_e4m3fn_from_f32(-0.0f), 0x80);
    cr_expect_eq(dsv4_e4m3fn_from_f32(0x1p-9f), 0x01);
    cr_expect_eq(dsv4_e4m3fn_from_f32(0x1p-10f), 0x00);
    cr_expect_eq(dsv4_e4m3fn_from_f32(1.0f), 0x38);
    cr_expect_eq(dsv4_e4m3fnuz_from_f32(1.0f), 0x40);
    cr_expect_eq(dsv4_e4m3fnuz_from_f32(240.0f), 0x7F);
    cr_expect_eq(dsv4_e4m3fnuz_from_f32(-1000.0f), 0xFF);
    cr_expect_eq(dsv4_e4m3fnuz_from_f32(-0.0f), 0x00);
    cr_expect_eq(dsv4_e4m3fnuz_from_f32(-0x1p-12f), 0x00);
    cr_expect_eq(dsv4_e4m3fnuz_from_f32(-NAN), 0x80);
    cr_expect_eq(dsv4_e2m1_from_f32(2.5f), 4, "tie to 2");
    cr_expect_eq(dsv4_e2m1_from_f32(5.0f), 6, "tie to 4");
    cr_expect_eq(dsv4_e2m1_from_f32(-0.1f), 8);
    cr_expect_eq(dsv4_e2m1_from_f32(-NAN), 7);
    cr_expect_eq(dsv4_e8m0_ceil(1.0f), 127);
    cr_expect_eq(dsv4_e8m0_ceil(dsv4_from_bits(0x3F800001)), 128);
    cr_expect_eq(dsv4_e8m0_ceil(0x1p-127f), 1, "the bit rule, not the mathematics");
    cr_expect_eq(dsv4_bits(dsv4_e8m0_to_f32(0)), 0x00400000);
}

static size_t dialect_faults(enum dsv4_fp8 dialect, double max,
                             uint8_t encode(float, enum dsv4_fp8)) {
    bool ocp = dialect == DSV4_OCP;
    const struct dsv4_oracle_format *format =
        format_of(ocp ? DSV4_ORACLE_E4M3FN : DSV4_ORACLE_E4M3FNUZ);
    size_t faults = (double)dsv4_fp8_max(dialect) != max;
    for (uint32_t top = 0; top < 1u << 16; top++) {
        float x = dsv4_from_bits(top << 16 | (top & 1));
        double clamped = isnan(x) ? (double)x : copysign(fmin(fabs((double)x), max), (double)x);
        faults += encode(x, dialect) != dsv4_oracle_encode(format, (float)clamped);
    }
    for (uint32_t code = 0; code < 256; code++)
        faults += dsv4_bits(dsv4_fp8_to_f32((uint8_t)code, dialect)) !=
                  dsv4_bits(dsv4_oracle_decode(format, code));
    return faults;
}

/* ---- wrong implementations: each must be reported ---- */

static uint8_t no_clamp(float x, enum dsv4_fp8 dialect) {
    return dialect == DSV4_OCP ? dsv4_e4m3fn_from_f32(x) : dsv4_e4m3fnuz_from_f32(x);
}
static uint8_t nan_clamped(float x, enum dsv4_fp8 dialect) {
    return dsv4_fp8_from_f32(isnan(x) ? dsv4_fp8_max(dialect) : x, dialect);
}

Test(num_format, dialects) {
    cr_expect_eq(dialect_faults(DSV4_OCP, 448, dsv4_fp8_from_f32), 0);
    cr_expect_eq(dialect_faults(DSV4_FNUZ224, 224, dsv4_fp8_from_f32), 0);
    cr_expect_eq(dialect_faults(DSV4_FNUZ240, 240, dsv4_fp8_from_f32), 0);
    cr_expect_gt(dialect_faults(DSV4_FNUZ224, 224, no_clamp), 0);
    cr_expect_gt(dialect_faults(DSV4_FNUZ240, 224, dsv4_fp8_from_f32), 0);
    cr_expect_gt(dialect_faults(DSV4_OCP, 448, nan_clamped), 0);
}

static float next_away(float x) {
    uint32_t b = dsv4_bits(x);
    return dsv4_from_bits((b & 0x7FFFFFFFu) < 0x7F7FFFFFu ? b + 1 : b);
}
/* Ties go away from zero, because just above a tie is no tie. */
static uint32_t bf16_ties_away(float x) { return bf16_encode(next_away(x)); }
static uint32_t e4m3fn_ties_away(float x) { return e4m3fn_encode(next_away(x)); }
static uint32_t e4m3fnuz_ties_away(float x) { return e4m3fnuz_encode(next_away(x)); }
static uint32_t e2m1_ties_away(float x) { return e2m1_encode(next_away(x)); }
static uint32_t bf16_truncates(float x) { return isnan(x) ? 0x7FC0 : dsv4_bits(x) >> 16; }
static uint32_t bf16_nan_payload(float x) { return isnan(x) ? 0x7FFF : bf16_encode(x); }
static uint32_t bf16_nan_sign(float x) { return isnan(x) && signbit(x) ? 0xFFC0 : bf16_encode(x); }
static uint32_t bf16_one_code(float x) {
    return dsv4_bits(x) == 0x42F70000 ? 0x42F8 : bf16_encode(x);
}
static uint32_t e4m3fn_no_negative_zero(float x) {
    uint32_t code = e4m3fn_encode(x);
    return code == 0x80 ? 0 : code;
}
static uint32_t e4m3fn_flushes(float x) { return fabsf(x) < 0x1p-6f ? 0 : e4m3fn_encode(x); }
static uint32_t e4m3fn_inf_is_nan(float x) { return isinf(x) ? 0x7F : e4m3fn_encode(x); }
static uint32_t e4m3fn_overflow_is_nan(float x) { return fabsf(x) > 464 ? 0x7F : e4m3fn_encode(x); }
static uint32_t e4m3fn_nan_sign(float x) {
    return isnan(x) && signbit(x) ? 0xFF : e4m3fn_encode(x);
}
static uint32_t e4m3fn_one_code(float x) {
    return x == dsv4_e4m3fn_to_f32(0x5A) ? 0x5B : e4m3fn_encode(x);
}
static uint32_t e4m3fnuz_negative_zero(float x) {
    return e4m3fnuz_encode(x) == 0 && signbit(x) ? 0x80 : e4m3fnuz_encode(x);
}
static uint32_t e4m3fnuz_early_max(float x) {
    return fabsf(x) >= 128 && !isnan(x) ? (signbit(x) ? 0xFF : 0x7F) : e4m3fnuz_encode(x);
}
static uint32_t e4m3fnuz_nan_7f(float x) { return isnan(x) ? 0x7F : e4m3fnuz_encode(x); }
static uint32_t e2m1_no_negative_zero(float x) { return e2m1_encode(x) == 8 ? 0 : e2m1_encode(x); }
static uint32_t e2m1_nan_zero(float x) { return isnan(x) ? 0 : e2m1_encode(x); }
static uint32_t e2m1_ties_down(float x) {
    return fabsf(x) == 3.5f ? e2m1_encode(x) - 1 : e2m1_encode(x);
}
static uint32_t e8m0_floor(float x) { return isnan(x) ? 255 : dsv4_bits(x) << 1 >> 24; }
static uint32_t e8m0_always_up(float x) {
    uint32_t code = (dsv4_bits(x) << 1 >> 24) + 1;
    return code > 255 ? 255 : code;
}
static uint32_t e8m0_nearest(float x) {
    uint32_t code = ((dsv4_bits(x) & 0x7FFFFFFF) + 0x400000) >> 23;
    return code > 255 ? 255 : code;
}
static uint32_t e8m0_zero_is_one(float x) { return x == 0 ? 127 : e8m0_encode(x); }

Test(num_format, wrong_encoders_are_reported) {
    static const struct {
        const char *name;
        enum dsv4_oracle_format_id id;
        encoder *encode;
    } wrong[] = {
        {"bf16 ties away",            DSV4_ORACLE_BF16,     bf16_ties_away         },
        {"bf16 truncates",            DSV4_ORACLE_BF16,     bf16_truncates         },
        {"bf16 NaN payload",          DSV4_ORACLE_BF16,     bf16_nan_payload       },
        {"bf16 NaN sign",             DSV4_ORACLE_BF16,     bf16_nan_sign          },
        {"bf16 one code",             DSV4_ORACLE_BF16,     bf16_one_code          },
        {"e4m3fn ties away",          DSV4_ORACLE_E4M3FN,   e4m3fn_ties_away       },
        {"e4m3fn without -0",         DSV4_ORACLE_E4M3FN,   e4m3fn_no_negative_zero},
        {"e4m3fn flushes subnormals", DSV4_ORACLE_E4M3FN,   e4m3fn_flushes         },
        {"e4m3fn inf to NaN",         DSV4_ORACLE_E4M3FN,   e4m3fn_inf_is_nan      },
        {"e4m3fn overflow to NaN",    DSV4_ORACLE_E4M3FN,   e4m3fn_overflow_is_nan },
        {"e4m3fn NaN sign",           DSV4_ORACLE_E4M3FN,   e4m3fn_nan_sign        },
        {"e4m3fn one code",           DSV4_ORACLE_E4M3FN,   e4m3fn_one_code        },
        {"e4m3fn is e4m3fnuz",        DSV4_ORACLE_E4M3FN,   e4m3fnuz_encode        },
        {"e4m3fnuz ties away",        DSV4_ORACLE_E4M3FNUZ, e4m3fnuz_ties_away     },
        {"e4m3fnuz with -0",          DSV4_ORACLE_E4M3FNUZ, e4m3fnuz_negative_zero },
        {"e4m3fnuz collapses at 128", DSV4_ORACLE_E4M3FNUZ, e4m3fnuz_early_max     },
        {"e4m3fnuz NaN to 240",       DSV4_ORACLE_E4M3FNUZ, e4m3fnuz_nan_7f        },
        {"e4m3fnuz is e4m3fn",        DSV4_ORACLE_E4M3FNUZ, e4m3fn_encode          },
        {"e2m1 ties away",            DSV4_ORACLE_E2M1,     e2m1_ties_away         },
        {"e2m1 without -0",           DSV4_ORACLE_E2M1,     e2m1_no_negative_zero  },
        {"e2m1 NaN to 0",             DSV4_ORACLE_E2M1,     e2m1_nan_zero          },
        {"e2m1 3.5 to 3",             DSV4_ORACLE_E2M1,     e2m1_ties_down         },
        {"e8m0 rounds down",          E8M0,                 e8m0_floor             },
        {"e8m0 always steps up",      E8M0,                 e8m0_always_up         },
        {"e8m0 to nearest",           E8M0,                 e8m0_nearest           },
        {"e8m0 zero to one",          E8M0,                 e8m0_zero_is_one       },
    };
    for (size_t i = 0; i < sizeof wrong / sizeof wrong[0]; i++)
        cr_expect_gt(encoder_faults(wrong[i].id, wrong[i].encode), 0, "missed: %s", wrong[i].name);
}

static float bf16_decode_payload(uint32_t code) { return dsv4_from_bits(code << 16); }
static float e4m3fn_decode_nan_480(uint32_t code) {
    return code == 0x7F ? 480.0f : e4m3fn_decode(code);
}
static float e4m3fn_decode_plus_zero(uint32_t code) {
    return code == 0x80 ? 0.0f : e4m3fn_decode(code);
}
static float e4m3fn_decode_ulp(uint32_t code) {
    return code == 0xC3 ? next_away(e4m3fn_decode(code)) : e4m3fn_decode(code);
}
static float e4m3fnuz_decode_zero(uint32_t code) {
    return code == 0x80 ? -0.0f : e4m3fnuz_decode(code);
}
static float e4m3fnuz_decode_half(uint32_t code) { return 0.5f * e4m3fn_decode(code); }
static float e2m1_decode_signless(uint32_t code) { return e2m1_decode(code == 8 ? 0 : code); }
static float e8m0_decode_shift(uint32_t code) { return dsv4_from_bits(code << 23); }
static float e8m0_decode_zero(uint32_t code) { return code == 0 ? 0.0f : e8m0_decode(code); }

Test(num_format, wrong_decoders_are_reported) {
    cr_expect_gt(decoder_faults(DSV4_ORACLE_BF16, bf16_decode_payload), 0);
    cr_expect_eq(decoder_faults(DSV4_ORACLE_E4M3FN, e4m3fn_decode_nan_480), 1);
    cr_expect_eq(decoder_faults(DSV4_ORACLE_E4M3FN, e4m3fn_decode_plus_zero), 1);
    cr_expect_eq(decoder_faults(DSV4_ORACLE_E4M3FN, e4m3fn_decode_ulp), 1);
    cr_expect_eq(decoder_faults(DSV4_ORACLE_E4M3FNUZ, e4m3fnuz_decode_zero), 1);
    /* Right for all codes but three: -0 for NaN, and NaN for the two largest values. */
    cr_expect_eq(decoder_faults(DSV4_ORACLE_E4M3FNUZ, e4m3fnuz_decode_half), 3);
    cr_expect_eq(decoder_faults(DSV4_ORACLE_E2M1, e2m1_decode_signless), 1);
    cr_expect_eq(decoder_faults(E8M0, e8m0_decode_shift), 2);
    cr_expect_eq(decoder_faults(E8M0, e8m0_decode_zero), 1);
}
