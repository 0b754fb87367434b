/* SPDX-License-Identifier: Apache-2.0 */
/* Conversions of integers and doubles: against the host's own conversions in each rounding mode, and by hand at the edges. */
#include <fenv.h>
#include <math.h>

#include "bare.h"

static struct bare b;

static uint32_t bits_of(float x) {
    uint32_t u;
    memcpy(&u, &x, sizeof u);
    return u;
}

static uint64_t bits64_of(double x) {
    uint64_t u;
    memcpy(&u, &x, sizeof u);
    return u;
}

static float float_of(uint32_t bits) {
    float f;
    memcpy(&f, &bits, sizeof f);
    return f;
}

static double double_of(uint64_t bits) {
    double f;
    memcpy(&f, &bits, sizeof f);
    return f;
}

static uint32_t result32(const char *mnemonic, uint64_t x) {
    const struct emu_insn i = bare_insn(mnemonic);
    return (uint32_t)bare_convert(&b, &i, x);
}

/* The integer nearest below or at x in the manner of `rounding`, saturated, by long double (64 bits of significand). */
static int64_t expected_integer(double x, double addend, bool downwards, int64_t low,
                                int64_t high) {
    if (isnan(x)) return 0;
    const long double moved = (long double)x + (long double)addend;
    const long double whole = downwards ? floorl(moved) : truncl(moved);
    return whole < (long double)low ? low : whole > (long double)high ? high : (int64_t)whole;
}

static const uint32_t float_edges[] = {
    0,          0x80000000, 1,          0x80000001, 0x007fffff, 0x3effffff, 0x3f000000, 0x3f000001,
    0xbeffffff, 0xbf000000, 0xbf000001, 0x3f7fffff, 0x3f800000, 0xbf800000, 0x3fc00000, 0xbfc00000,
    0x40200000, 0xc0200000, 0x4effffff, 0x4f000000, 0x4f000001, 0xceffffff, 0xcf000000, 0xcf000001,
    0x4f7fffff, 0x4f800000, 0x4f800001, 0xcf800000, 0x7f7fffff, 0xff7fffff, 0x7f800000, 0xff800000,
    0x7fc00000, 0xffc00000, 0x7f800001, 0x4b000001, 0xcb000001, 0x4b7fffff};
enum { N_FLOAT_EDGES = sizeof float_edges / sizeof *float_edges };

static void check_f32_to_integer(uint32_t x) {
    const double d = (double)float_of(x);
    cr_assert_eq(result32("v_cvt_i32_f32", x),
                 (uint32_t)expected_integer(d, 0, false, INT32_MIN, INT32_MAX), "i32 of %08x", x);
    cr_assert_eq(result32("v_cvt_u32_f32", x),
                 (uint32_t)expected_integer(d, 0, false, 0, UINT32_MAX), "u32 of %08x", x);
    cr_assert_eq(result32("v_cvt_flr_i32_f32", x),
                 (uint32_t)expected_integer(d, 0, true, INT32_MIN, INT32_MAX), "flr of %08x", x);
    /* x + 1/2 must not round: tiny x keeps its integer part. */
    const double y = fabs(d) < 0x1p-30 ? 0 : d;
    cr_assert_eq(result32("v_cvt_rpi_i32_f32", x),
                 (uint32_t)expected_integer(y, 0.5, true, INT32_MIN, INT32_MAX), "rpi of %08x", x);
}

Test(convert, f32_to_integers) {
    bare_begin(&b);
    for (unsigned n = 0; n < N_FLOAT_EDGES; n++) check_f32_to_integer(float_edges[n]);
    uint64_t state = 1;
    for (unsigned n = 0; n < 100000; n++) {
        const uint32_t x = bare_random(&state);
        check_f32_to_integer(n % 2 ? x : (x & 0x807fffff) | (118 + x % 44) << 23);
    }
    b.wave.mode &= ~(1u << EMU_DENORM_32);
    cr_assert_eq(result32("v_cvt_flr_i32_f32", 0x80000001), 0);
}

Test(convert, f64_to_integers) {
    bare_begin(&b);
    static const double values[] = {
        0.0,          -0.0,          0.5,           -0.9999,      2147483647.0, 2147483647.5,
        2147483648.0, -2147483648.0, -2147483648.5, -2147483649., 4294967295.0, 4294967295.9,
        4294967296.0, -1.0,          1e300,         -1e300,       INFINITY,     -INFINITY,
        NAN,          0x1p-1074,     1.999999999};
    for (unsigned n = 0; n < sizeof values / sizeof *values; n++) {
        const double x = values[n];
        cr_assert_eq(result32("v_cvt_i32_f64", bits64_of(x)),
                     (uint32_t)expected_integer(x, 0, false, INT32_MIN, INT32_MAX), "i32 of %g", x);
        cr_assert_eq(result32("v_cvt_u32_f64", bits64_of(x)),
                     (uint32_t)expected_integer(x, 0, false, 0, UINT32_MAX), "u32 of %g", x);
    }
}

static const int host_modes[] = {FE_TONEAREST, FE_UPWARD, FE_DOWNWARD, FE_TOWARDZERO};

/* MODE's rounding against the host's, set by fesetround. The handler itself runs under the host's default. */
Test(convert, f64_and_integers_to_f32_in_every_rounding_mode) {
    bare_begin(&b);
    uint64_t state = 5;
    for (unsigned n = 0; n < 200000; n++) {
        const unsigned rounding = n & 3;
        uint64_t x = (uint64_t)bare_random(&state) << 32 | bare_random(&state);
        if (n & 4) x = (x & ~(UINT64_C(0x7ff) << 52)) | (UINT64_C(870) + x % 290) << 52;
        if (n & 8) x &= ~UINT64_C(0x1fffffff); /* exact and halfway */
        if (n & 16) x ^= UINT64_C(0x10000000);
        volatile double d = double_of(x);
        volatile int32_t s = (int32_t)(x >> (n % 31)); /* all magnitudes */
        volatile uint32_t u = (uint32_t)s;
        fesetround(host_modes[rounding]);
        volatile float from_double = (float)d, from_signed = (float)s, from_unsigned = (float)u;
        fesetround(FE_TONEAREST);
        b.wave.mode = BARE_MODE | rounding << EMU_ROUND_16_64;
        if (n & 32) b.wave.mode &= ~(1u << EMU_DENORM_16_64); /* not the host's mode */
        if (!isnan(d) && fabs(d) >= 0x1p-1022)
            cr_assert_eq(result32("v_cvt_f32_f64", x), bits_of(from_double), "%a mode %u", d,
                         rounding);
        b.wave.mode = BARE_MODE | rounding << EMU_ROUND_32;
        cr_assert_eq(result32("v_cvt_f32_i32", u), bits_of(from_signed), "%d mode %u", s, rounding);
        cr_assert_eq(result32("v_cvt_f32_u32", u), bits_of(from_unsigned), "%u mode %u", u,
                     rounding);
    }
}

Test(convert, denormals_of_f32_from_f64) {
    bare_begin(&b);
    cr_assert_eq(result32("v_cvt_f32_f64", bits64_of(-0x1p-149)), 0x80000001);
    cr_assert_eq(result32("v_cvt_f32_f64", UINT64_C(0x7ff0000000000001)), 0x7fc00000);
    cr_assert_eq(result32("v_cvt_f32_f64", UINT64_C(0xfff8000040000000)), 0xffc00002);
    b.wave.mode &= ~(2u << EMU_DENORM_32);
    cr_assert_eq(result32("v_cvt_f32_f64", bits64_of(-0x1p-149)), 0x80000000);
    b.wave.mode = BARE_MODE | 1u << EMU_ROUND_16_64; /* up: the smallest double shows */
    cr_assert_eq(result32("v_cvt_f32_f64", 1), 1);
    b.wave.mode &= ~(1u << EMU_DENORM_16_64);
    cr_assert_eq(result32("v_cvt_f32_f64", 1), 0);
}

Test(convert, exact_widenings) {
    bare_begin(&b);
    const struct emu_insn from_f32 = bare_insn("v_cvt_f64_f32"),
                          from_i32 = bare_insn("v_cvt_f64_i32"),
                          from_u32 = bare_insn("v_cvt_f64_u32");
    uint64_t state = 9;
    for (unsigned n = 0; n < 100000 + N_FLOAT_EDGES; n++) {
        const uint32_t x = n < N_FLOAT_EDGES ? float_edges[n] : bare_random(&state);
        if (!isnan(float_of(x)))
            cr_assert_eq(bare_convert(&b, &from_f32, x), bits64_of((double)float_of(x)));
        cr_assert_eq(bare_convert(&b, &from_i32, x), bits64_of((double)(int32_t)x));
        cr_assert_eq(bare_convert(&b, &from_u32, x), bits64_of((double)x));
    }
    cr_assert_eq(bare_convert(&b, &from_f32, 0xff800001), UINT64_C(0xfff8000020000000));
    b.wave.mode &= ~(1u << EMU_DENORM_32);
    cr_assert_eq(bare_convert(&b, &from_f32, 0x807fffff), UINT64_C(0x8000000000000000));
}

Test(convert, bytes_and_nibbles) {
    bare_begin(&b);
    static const char *const names[] = {"v_cvt_f32_ubyte0", "v_cvt_f32_ubyte1", "v_cvt_f32_ubyte2",
                                        "v_cvt_f32_ubyte3"};
    for (unsigned byte = 0; byte < 4; byte++)
        for (uint32_t x = 0; x < 256; x++)
            cr_assert_eq(result32(names[byte], x << 8 * byte | 0x5aa55aa5u >> 8 << 8 * byte << 8),
                         bits_of((float)x));
    for (int x = -8; x < 8; x++)
        cr_assert_eq(result32("v_cvt_off_f32_i4", ((uint32_t)x & 15) | 0xabcdef0),
                     bits_of((float)x / 16));
}

/* f16 values that hold the integers, made by hand: 2048 and above step by 2, ... */
Test(convert, halves_and_16_bit_integers) {
    bare_begin(&b);
    for (uint32_t x = 0; x < 65536; x++) {
        const uint32_t h = result32("v_cvt_f16_u16", x), s = result32("v_cvt_f16_i16", x);
        const int32_t value = (int32_t)x, signed_value = (int16_t)x;
        /* A whole number of `place`s, nearest even. */
        int exponent;
        frexp(value, &exponent);
        const int place = exponent > 11 ? 1 << (exponent - 11) : 1;
        const double wanted = nearbyint((double)value / place) * place;
        cr_assert_eq(h,
                     wanted == 65536 ? 0x7c00 : result32("v_cvt_f16_f32", bits_of((float)wanted)));
        cr_assert_eq(s, result32("v_cvt_f16_f32", bits_of((float)signed_value)));
        if (wanted < 65536) cr_assert_eq(result32("v_cvt_u16_f16", h), (uint32_t)wanted);
    }
    static const uint32_t cases[][3] = {
  /* f16, as u16, as i16 */
        {0x7c00, 65535, 0x7fff},
        {0xfc00, 0,     0x8000},
        {0x7e00, 0,     0     },
        {0x7bff, 65504, 0x7fff},
        {0xfbff, 0,     0x8000},
        {0xbfff, 0,     0xffff},
        {0x3fff, 1,     1     },
        {0x7800, 32768, 0x7fff},
        {0xf800, 0,     0x8000},
        {0x8001, 0,     0     },
        {0xc500, 0,     0xfffb},
    };
    for (unsigned n = 0; n < sizeof cases / sizeof *cases; n++) {
        cr_assert_eq(result32("v_cvt_u16_f16", cases[n][0]), cases[n][1]);
        cr_assert_eq(result32("v_cvt_i16_f16", cases[n][0]), cases[n][2]);
    }
    b.wave.mode |= 1u << EMU_FP16_OVFL;
    cr_assert_eq(result32("v_cvt_f16_u16", 65535), 0x7bff);
    b.wave.mode &= ~(2u << EMU_DENORM_16_64);
    cr_assert_eq(result32("v_cvt_f16_f32", 0xb8000001), 0x8200 & 0x8000);
}

static uint32_t pair(const char *mnemonic, uint32_t a, uint32_t c, uint8_t op_sel) {
    struct emu_insn i = bare_insn(mnemonic);
    i.op_sel = op_sel;
    b.v[32][0] = a;
    b.v[64][0] = c;
    bare_run(&b, &i);
    return b.v[0][0];
}

Test(convert, packed_integers) {
    bare_begin(&b);
    cr_assert_eq(pair("v_cvt_pk_i16_i32", 40000, (uint32_t)-40000, 0), 0x80007fff);
    cr_assert_eq(pair("v_cvt_pk_i16_i32", (uint32_t)-2, 7, 0), 0x0007fffe);
    cr_assert_eq(pair("v_cvt_pk_u16_u32", 70000, 65534, 0), 0xfffeffff);
    cr_assert_eq(pair("v_cvt_pknorm_i16_f32", 0x3f800000, 0xc0000000, 0), 0x80017fff);
    cr_assert_eq(pair("v_cvt_pknorm_i16_f32", 0x3f000000, 0x7fc00000, 0), 0x00004000);
    cr_assert_eq(pair("v_cvt_pknorm_u16_f32", 0x3f000000, 0x7f800000, 0), 0xffff8000);
    cr_assert_eq(pair("v_cvt_pknorm_u16_f32", 0xbf800000, 0x3e800000, 0), 0x40000000);
    cr_assert_eq(pair("v_cvt_pknorm_i16_f16", 0x3c00, 0xbc00, 0), 0x80017fff);
    cr_assert_eq(pair("v_cvt_pknorm_i16_f16", 0x3c000000, 0xbc003c00, 1), 0x7fff7fff);
    cr_assert_eq(pair("v_cvt_pknorm_u16_f16", 0x3c00, 0x38000000, 2), 0x8000ffff);
    cr_assert_eq(result32("v_cvt_norm_i16_f16", 0xbc00), 0x8001);
    cr_assert_eq(result32("v_cvt_norm_u16_f16", 0x3800), 0x8000);
}

Test(convert, bytes_are_packed_where_no_rounding_is_needed) {
    bare_begin(&b);
    struct emu_insn i = bare_insn("v_cvt_pk_u8_f32");
    for (uint32_t byte = 0; byte < 4; byte++) {
        for (unsigned lane = 0; lane < EMU_LANES; lane++) {
            b.v[32][lane] = bits_of(200);
            b.v[64][lane] = byte | 0x10;
            b.v[96][lane] = 0x01020304;
        }
        bare_run(&b, &i);
        cr_assert_eq(b.v[0][9], (0x01020304 & ~(255u << 8 * byte)) | 200u << 8 * byte);
    }
    b.v[32][3] = bits_of(1.5f);
    cr_assert(i.opcode->run(&b.wave, &i) == NULL);
    b.v[32][3] = bits_of(300);
    b.v[32][4] = bits_of(-0.5f);
    b.v[32][5] = 0x7fc00000;
    bare_run(&b, &i);
    cr_assert_eq(b.v[0][3], 0xff020304);
    cr_assert_eq(b.v[0][4], 0x00020304);
    cr_assert_eq(b.v[0][5], 0x00020304);
}

Test(convert, clamp_and_omod) {
    bare_begin(&b);
    struct emu_insn i = bare_insn("v_cvt_f32_i32");
    i.clamp = true;
    cr_assert_eq((uint32_t)bare_convert(&b, &i, 7), 0x3f800000);
    cr_assert_eq((uint32_t)bare_convert(&b, &i, 0xfffffff0), 0);
    struct emu_insn h = bare_insn("v_cvt_f32_f16");
    h.clamp = true;
    cr_assert_eq((uint32_t)bare_convert(&b, &h, 0x7e00), 0);
    b.wave.mode &= ~(1u << EMU_DX10_CLAMP);
    cr_assert_eq((uint32_t)bare_convert(&b, &h, 0x7e00), 0x7fc00000);
    i.clamp = false;
    i.omod = 2;
    cr_assert_eq((uint32_t)bare_convert(&b, &i, 7), bits_of(7), "denormals are on: no omod");
    b.wave.mode = 0;
    cr_assert_eq((uint32_t)bare_convert(&b, &i, 7), bits_of(28));
}
