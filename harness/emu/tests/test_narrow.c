/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Narrow formats against an independent formulation: a table of all values of the format, made with ldexp, searched for
 * the neighbours of an input. DSV4_EMU_EXHAUSTIVE=1 runs all 2^32 inputs instead of a sample of every exponent.
 */
#include <math.h>
#include <stdlib.h>

#include "bare.h"

/* Values of the codes without sign; the last one is what overflow rounds to. */
struct format {
    unsigned n;
    double values[32769];
};

static void make_format(struct format *f, int fraction, int bias, unsigned codes) {
    f->n = codes;
    for (unsigned code = 0; code <= codes; code++) {
        const int exponent = (int)(code >> fraction), m = (int)(code & ((1u << fraction) - 1));
        f->values[code] = exponent == 0 ? ldexp(m, 1 - bias - fraction)
                                        : ldexp(m + (1 << fraction), exponent - bias - fraction);
    }
}

enum { NEAREST, UP, DOWN, ZERO };

/*
 * The code of a magnitude; f->n stands for overflow. *low: a code whose value is not above x, moved up to the last such;
 * callers that go upwards keep it.
 */
static unsigned search(const struct format *f, double x, unsigned rounding, bool negative,
                       unsigned *low) {
    while (*low < f->n && f->values[*low + 1] <= x) ++*low;
    const unsigned c = *low;
    if (c == f->n || f->values[c] == x) return c;
    const double below = x - f->values[c], above = f->values[c + 1] - x;
    switch (rounding) {
    case NEAREST: return below < above || (below == above && c % 2 == 0) ? c : c + 1;
    case UP: return negative ? c : c + 1;
    case DOWN: return negative ? c + 1 : c;
    default: return c;
    }
}

static float float_of(uint32_t bits) {
    float f;
    memcpy(&f, &bits, sizeof f);
    return f;
}

static bool exhaustive(void) { return getenv("DSV4_EMU_EXHAUSTIVE") != NULL; }

/* Magnitudes from a chunk of the 2^31, ascending: all, or every exponent and top 12 bits with edges below. */
enum { CHUNKS = 2048 };
static const uint32_t edges[] = {0, 1, 0x3ff, 0x400, 0x401, 0x7fe, 0x7ff};

static uint32_t magnitude_at(uint32_t chunk, uint32_t k, bool all) {
    const uint32_t first = chunk << 20;
    return all ? first + k : first + ((k / 7) << 11) + edges[k % 7];
}

static uint32_t magnitudes(bool all) { return all ? 1u << 20 : 512 * 7; }

static uint32_t expected_8bit(const struct format *f, uint32_t x, unsigned *low, bool saturate) {
    if ((x & 0x7fffffff) >= 0x7f800000) return 0x80;
    const unsigned code = search(f, fabs((double)float_of(x)), NEAREST, x >> 31, low);
    const uint32_t sign = x >> 31 << 7;
    if (code == f->n) return saturate ? sign | 0x7f : 0x80;
    return code == 0 ? 0 : sign | code;
}

/* Both halves of the packed form: x in one, -x in the other. */
static unsigned check_8bit_chunk(const struct format *f, const char *mnemonic, uint32_t chunk) {
    struct bare wave, *const b = &wave;
    bare_begin(b);
    struct emu_insn i = bare_insn(mnemonic);
    const bool all = exhaustive();
    unsigned low = 0, wrong = 0;
    for (uint32_t k = 0; k < magnitudes(all); k += EMU_LANES) {
        for (unsigned lane = 0; lane < EMU_LANES; lane++) {
            b->v[32][lane] = magnitude_at(chunk, k + lane, all);
            b->v[64][lane] = b->v[32][lane] | 0x80000000;
        }
        uint32_t got[2][EMU_LANES];
        for (unsigned saturate = 0; saturate < 2; saturate++) {
            b->wave.mode = BARE_MODE | saturate << EMU_FP16_OVFL;
            bare_run(b, &i);
            memcpy(got[saturate], b->v[0], sizeof got[0]);
        }
        for (unsigned lane = 0; lane < EMU_LANES; lane++)
            for (unsigned saturate = 0; saturate < 2; saturate++) {
                const uint32_t want = expected_8bit(f, b->v[32][lane], &low, saturate) |
                                      expected_8bit(f, b->v[64][lane], &low, saturate) << 8;
                wrong += got[saturate][lane] != want;
            }
    }
    return wrong;
}

static unsigned check_8bit(const struct format *f, const char *mnemonic) {
    unsigned wrong = 0;
#pragma omp parallel for reduction(+ : wrong) schedule(dynamic)
    for (uint32_t chunk = 0; chunk < CHUNKS; chunk++) wrong += check_8bit_chunk(f, mnemonic, chunk);
    return wrong;
}

static struct format fp8, bf8, half;

Test(narrow, fp8_from_f32, .timeout = 3600) {
    make_format(&fp8, 3, 8, 128);
    cr_assert_eq(fp8.values[127], 240.0);
    cr_assert_eq(check_8bit(&fp8, "v_cvt_pk_fp8_f32"), 0);
}

Test(narrow, bf8_from_f32, .timeout = 3600) {
    make_format(&bf8, 2, 16, 128);
    cr_assert_eq(bf8.values[127], 57344.0);
    cr_assert_eq(check_8bit(&bf8, "v_cvt_pk_bf8_f32"), 0);
}

/* A bias off by one, as between OCP and FNUZ, must not pass. */
Test(narrow, a_wrong_bias_is_caught) {
    make_format(&fp8, 3, 7, 128);
    cr_assert_gt(check_8bit_chunk(&fp8, "v_cvt_pk_fp8_f32", 0x3f8), 0);
}

static void check_widening(const char *mnemonic, int fraction, int bias) {
    static struct bare b;
    static struct format f;
    make_format(&f, fraction, bias, 128);
    bare_begin(&b);
    const struct emu_insn i = bare_insn(mnemonic);
    for (uint32_t code = 0; code < 256; code++) {
        const uint32_t got = (uint32_t)bare_convert(&b, &i, code | 0xa5a5a500);
        if (code == 0x80)
            cr_assert_eq(got, 0x7fc00000);
        else
            cr_assert_eq((double)float_of(got),
                         code & 0x80 ? -f.values[code & 127] : f.values[code], "%s 0x%02x",
                         mnemonic, code);
        cr_assert(code != 0 || got == 0);
    }
}

Test(narrow, every_code_to_f32) {
    check_widening("v_cvt_f32_fp8", 3, 8);
    check_widening("v_cvt_f32_bf8", 2, 16);
}

Test(narrow, pairs_of_codes_to_f32) {
    static struct bare b;
    bare_begin(&b);
    const char *const names[][2] = {
        {"v_cvt_f32_fp8", "v_cvt_pk_f32_fp8"},
        {"v_cvt_f32_bf8", "v_cvt_pk_f32_bf8"}
    };
    for (unsigned n = 0; n < 2; n++) {
        const struct emu_insn one = bare_insn(names[n][0]), two = bare_insn(names[n][1]);
        for (uint32_t pair = 0; pair < 65536; pair += 17) {
            const uint64_t low = bare_convert(&b, &one, pair & 255) & 0xffffffff,
                           high = bare_convert(&b, &one, pair >> 8) & 0xffffffff;
            cr_assert_eq(bare_convert(&b, &two, pair | 0x70000), low | high << 32);
        }
    }
}

/* The unselected half or bytes, and lanes that do not execute, keep their bits. */
Test(narrow, what_op_sel_does_not_name_is_kept) {
    static struct bare b;
    bare_begin(&b);
    struct emu_insn i = bare_insn("v_cvt_pk_fp8_f32");
    emu_write_s64(&b.wave, EMU_EXEC, 0x5555555555555555);
    for (unsigned half_of = 0; half_of < 2; half_of++) {
        for (unsigned lane = 0; lane < EMU_LANES; lane++) {
            b.v[0][lane] = 0xdeadbeef;
            b.v[32][lane] = 0x3f800000; /* 1 */
            b.v[64][lane] = 0xc0000000; /* -2 */
        }
        i.op_sel = (uint8_t)(half_of << 2);
        bare_run(&b, &i);
        cr_assert_eq(b.v[0][0], half_of ? 0xc840beef : 0xdeadc840);
        cr_assert_eq(b.v[0][1], 0xdeadbeef);
    }
    struct emu_insn r = bare_insn("v_cvt_sr_bf8_f32");
    for (unsigned byte = 0; byte < 4; byte++) {
        b.v[0][2] = 0xdeadbeef;
        b.v[64][2] = 0;
        r.op_sel = (uint8_t)(byte << 2);
        bare_run(&b, &r);
        cr_assert_eq(b.v[0][2], (0xdeadbeef & ~(0xffu << 8 * byte)) | 0x40u << 8 * byte);
    }
}

/* Modifiers of the sources count. */
Test(narrow, neg_and_abs) {
    static struct bare b;
    bare_begin(&b);
    struct emu_insn i = bare_insn("v_cvt_pk_fp8_f32");
    i.operand[1].neg = true;
    i.operand[2].abs = true;
    b.v[32][5] = 0x3f800000;
    b.v[64][5] = 0xbf800000;
    bare_run(&b, &i);
    cr_assert_eq(b.v[0][5], 0x40c0);
}

/*
 * Random rounding by real numbers: in units of the result's last place, x cut to `bits` bits below the point plus the
 * random bits as a fraction, then floor.
 */
static uint32_t expected_random(const struct format *f, int fraction, uint32_t x, uint32_t random) {
    const double magnitude = fabs((double)float_of(x));
    if (!isfinite(magnitude)) return 0x80;
    const int bits = 23 - fraction;
    int exponent;
    frexp(magnitude, &exponent);
    const double smallest = f->values[1];
    const double place = fmax(smallest, ldexp(1, exponent - 1 - fraction));
    const double cut = ldexp(floor(ldexp(magnitude / place, bits)), -bits);
    const double value = floor(cut + ldexp(random >> (9 + fraction), -bits)) * place;
    unsigned low = 0;
    const unsigned code = search(f, value, ZERO, false, &low);
    const uint32_t sign = x >> 31 << 7;
    return code >= 128 ? 0x80 : code == 0 ? 0 : sign | code;
}

static void check_random(const char *mnemonic, int fraction, int bias) {
    static struct bare b;
    static struct format f;
    make_format(&f, fraction, bias, 128);
    bare_begin(&b);
    const struct emu_insn i = bare_insn(mnemonic);
    uint64_t state = 7;
    for (unsigned n = 0; n < 40000; n++) {
        for (unsigned lane = 0; lane < EMU_LANES; lane++) {
            const uint32_t x = bare_random(&state);
            /* Half of them near the format's range. */
            b.v[32][lane] = n % 2 ? x : (x & 0x807fffff) | (100 + (x >> 8) % 48) << 23;
            b.v[64][lane] = bare_random(&state);
        }
        bare_run(&b, &i);
        for (unsigned lane = 0; lane < EMU_LANES; lane++)
            cr_assert_eq(b.v[0][lane] & 255,
                         expected_random(&f, fraction, b.v[32][lane], b.v[64][lane]),
                         "%s %08x %08x", mnemonic, b.v[32][lane], b.v[64][lane]);
    }
}

Test(narrow, random_rounding, .timeout = 60) {
    check_random("v_cvt_sr_fp8_f32", 3, 8);
    check_random("v_cvt_sr_bf8_f32", 2, 16);
}

static uint32_t expected_f16(uint32_t x, unsigned rounding, unsigned *low, bool saturate) {
    const uint32_t magnitude = x & 0x7fffffff, sign = x >> 31 << 15;
    if (magnitude > 0x7f800000) return sign | 0x7e00 | (magnitude >> 13 & 0x3ff);
    if (magnitude == 0x7f800000) return sign | 0x7c00;
    const unsigned code = search(&half, (double)float_of(magnitude), rounding, sign != 0, low);
    return sign | (code == half.n && saturate ? 0x7bff : code);
}

/* Numbers past the last value round to it or to infinity as their neighbours say. */
static unsigned clamp_to_last(const struct format *f, double x) { return x >= f->values[f->n]; }

static unsigned check_f16_chunk(uint32_t chunk, unsigned rounding) {
    struct bare wave, *const b = &wave;
    bare_begin(b);
    const struct emu_insn i = bare_insn("v_cvt_f16_f32");
    const bool all = exhaustive();
    unsigned low[2] = {0, 0}, wrong = 0; /* of either sign */
    for (uint32_t k = 0; k < magnitudes(all); k += EMU_LANES)
        for (uint32_t sign = 0; sign < 2; sign++) {
            const bool saturate = k >> 6 & 1;
            b->wave.mode =
                BARE_MODE | rounding << EMU_ROUND_16_64 | (saturate ? 1u << EMU_FP16_OVFL : 0);
            for (unsigned lane = 0; lane < EMU_LANES; lane++)
                b->v[32][lane] = magnitude_at(chunk, k + lane, all) | sign << 31;
            bare_run(b, &i);
            for (unsigned lane = 0; lane < EMU_LANES; lane++) {
                const uint32_t x = b->v[32][lane];
                uint32_t want = expected_f16(x, rounding, &low[sign], saturate);
                const bool past = clamp_to_last(&half, fabs((double)float_of(x)));
                const bool towards_zero =
                    rounding == ZERO || (rounding == UP && sign) || (rounding == DOWN && !sign);
                if (past && isfinite(float_of(x)) && towards_zero) want = sign << 15 | 0x7bff;
                wrong += b->v[0][lane] != want;
            }
        }
    return wrong;
}

Test(narrow, f16_from_f32_in_every_rounding_mode, .timeout = 3600) {
    make_format(&half, 10, 15, 0x7c00);
    for (unsigned rounding = 0; rounding < 4; rounding++) {
        unsigned wrong = 0;
#pragma omp parallel for reduction(+ : wrong) schedule(dynamic)
        for (uint32_t chunk = 0; chunk < CHUNKS; chunk++) wrong += check_f16_chunk(chunk, rounding);
        cr_assert_eq(wrong, 0, "rounding mode %u", rounding);
    }
}

Test(narrow, every_f16_to_f32) {
    static struct bare b;
    make_format(&half, 10, 15, 0x7c00);
    bare_begin(&b);
    const struct emu_insn i = bare_insn("v_cvt_f32_f16");
    for (uint32_t x = 0; x < 65536; x++) {
        const uint32_t got = (uint32_t)bare_convert(&b, &i, x | 0x12340000);
        const uint32_t magnitude = x & 0x7fff;
        if (magnitude > 0x7c00)
            cr_assert_eq(got, x >> 15 << 31 | 0x7fc00000 | (magnitude & 0x3ff) << 13);
        else if (magnitude == 0x7c00)
            cr_assert_eq(got, x >> 15 << 31 | 0x7f800000);
        else
            cr_assert(float_of(got) ==
                          (float)(x >> 15 ? -half.values[magnitude] : half.values[magnitude]) &&
                      got >> 31 == x >> 15);
    }
    b.wave.mode &= ~(1u << EMU_DENORM_16_64); /* inputs' denormals become zero */
    cr_assert_eq((uint32_t)bare_convert(&b, &i, 0x83ff), 0x80000000);
    cr_assert_eq((uint32_t)bare_convert(&b, &i, 0x0400), 0x38800000);
}

Test(narrow, pkrtz_cuts_towards_zero) {
    static struct bare b;
    make_format(&half, 10, 15, 0x7c00);
    bare_begin(&b);
    const struct emu_insn i = bare_insn("v_cvt_pkrtz_f16_f32");
    uint64_t state = 3;
    for (unsigned n = 0; n < 2000; n++) {
        for (unsigned lane = 0; lane < EMU_LANES; lane++)
            for (unsigned source = 32; source <= 64; source += 32) {
                const uint32_t x = bare_random(&state);
                b.v[source][lane] = (x & 0x807fffff) | (100 + (x >> 8) % 45) << 23;
            }
        bare_run(&b, &i);
        for (unsigned lane = 0; lane < EMU_LANES; lane++) {
            unsigned low[2] = {0, 0};
            uint32_t want[2];
            for (unsigned s = 0; s < 2; s++) {
                want[s] = expected_f16(b.v[32 + 32 * s][lane], ZERO, &low[s], false);
                if ((want[s] & 0x7fff) == 0x7c00) want[s] -= 1;
            }
            cr_assert_eq(b.v[0][lane], want[0] | want[1] << 16);
        }
    }
}
