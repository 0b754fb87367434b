/* SPDX-License-Identifier: Apache-2.0 */
/* Integer vector instructions against formulas of another make: loops over bits, wide arithmetic. */
#include "vop.h"

#define FORMULA(name) static uint64_t name(const uint64_t s[4])

static uint64_t field(uint64_t x, unsigned at, unsigned n) {
    uint64_t r = 0;
    for (unsigned i = 0; i < n; i++)
        if (at + i < 64 && x / ((uint64_t)1 << (at + i)) % 2) r += (uint64_t)1 << i;
    return r;
}

/* The low n bits as a signed number. */
static int64_t is(uint64_t x, unsigned n) {
    int64_t r = 0;
    for (unsigned i = 0; i + 1 < n; i++) r += (int64_t)field(x, i, 1) * ((int64_t)1 << i);
    return field(x, n - 1, 1) ? r - ((int64_t)1 << (n - 1)) : r;
}

static uint64_t word(int64_t x) { return (uint32_t)x; }

static int64_t limit(int64_t x, int64_t low, int64_t high) {
    if (x < low) return low;
    return x > high ? high : x;
}

static uint64_t count(uint64_t x) {
    uint64_t n = 0;
    for (; x; x /= 2) n += x % 2;
    return n;
}

FORMULA(mov) { return s[0]; }
FORMULA(not ) { return 0xffffffffu - s[0]; }
FORMULA(bfrev) {
    uint64_t r = 0;
    for (unsigned i = 0; i < 32; i++) r |= field(s[0], i, 1) << (31 - i);
    return r;
}
FORMULA(ffbh_u) {
    for (unsigned i = 0; i < 32; i++)
        if (field(s[0], 31 - i, 1)) return i;
    return 0xffffffff;
}
FORMULA(ffbl) {
    for (unsigned i = 0; i < 32; i++)
        if (field(s[0], i, 1)) return i;
    return 0xffffffff;
}
FORMULA(ffbh_i) {
    for (unsigned i = 1; i < 32; i++)
        if (field(s[0], 31 - i, 1) != field(s[0], 31, 1)) return i;
    return 0xffffffff;
}
static uint64_t bitwise(const uint64_t s[4], unsigned truth) {
    uint64_t r = 0;
    for (unsigned i = 0; i < 32; i++)
        r |= (uint64_t)(truth >> (2 * field(s[0], i, 1) + field(s[1], i, 1)) & 1) << i;
    return r;
}
FORMULA(and) { return bitwise(s, 8); }
FORMULA(or) { return bitwise(s, 14); }
FORMULA(xor) { return bitwise(s, 6); }
FORMULA(xnor) { return bitwise(s, 9); }
FORMULA(shl) { return word((int64_t)(s[1] * ((uint64_t)1 << s[0] % 32) % 0x100000000)); }
FORMULA(shr) { return field(s[1], (unsigned)(s[0] % 32), 32); }
static int64_t floor_divide(int64_t x, unsigned power) {
    const int64_t d = (int64_t)1 << power;
    return x >= 0 ? x / d : -((-x + d - 1) / d);
}
FORMULA(sar) { return word(floor_divide(is(s[1], 32), (unsigned)(s[0] % 32))); }
FORMULA(bfm) {
    uint64_t r = 0;
    for (unsigned i = 0; i < s[0] % 32; i++) r += (uint64_t)1 << (i + s[1] % 32);
    return word((int64_t)r);
}
FORMULA(bcnt) { return word((int64_t)(count(s[0]) + s[1])); }
FORMULA(min_u) { return s[0] < s[1] ? s[0] : s[1]; }
FORMULA(max_u) { return s[0] > s[1] ? s[0] : s[1]; }
FORMULA(min_i) { return is(s[0], 32) < is(s[1], 32) ? s[0] : s[1]; }
FORMULA(max_i) { return is(s[0], 32) > is(s[1], 32) ? s[0] : s[1]; }
FORMULA(mul_lo) { return s[0] * s[1] % 0x100000000; }
FORMULA(mul_hi) { return s[0] * s[1] / 0x100000000; }
FORMULA(mul_hi_i) { return word(floor_divide(is(s[0], 32) * is(s[1], 32), 32)); }
FORMULA(mul_u24) { return field(s[0], 0, 24) * field(s[1], 0, 24) % 0x100000000; }
FORMULA(mul_hi_u24) { return field(s[0], 0, 24) * field(s[1], 0, 24) / 0x100000000; }
FORMULA(mul_i24) { return word(is(s[0], 24) * is(s[1], 24)); }
FORMULA(mul_hi_i24) { return word(floor_divide(is(s[0], 24) * is(s[1], 24), 32)); }
FORMULA(mul_lo_16) { return field(s[0], 0, 16) * field(s[1], 0, 16) % 65536; }
FORMULA(shl_16) { return field(s[1], 0, 16) * ((uint64_t)1 << s[0] % 16) % 65536; }
FORMULA(shr_16) { return field(s[1], 0, 16) / ((uint64_t)1 << s[0] % 16); }
FORMULA(sar_16) {
    return field((uint64_t)floor_divide(is(s[1], 16), (unsigned)(s[0] % 16)), 0, 16);
}
FORMULA(min_u16) { return min_u((uint64_t[4]){field(s[0], 0, 16), field(s[1], 0, 16)}); }
FORMULA(max_u16) { return max_u((uint64_t[4]){field(s[0], 0, 16), field(s[1], 0, 16)}); }
FORMULA(min_i16) { return field((uint64_t)limit(is(s[0], 16), -32768, is(s[1], 16)), 0, 16); }
FORMULA(max_i16) { return field((uint64_t)limit(is(s[0], 16), is(s[1], 16), 32767), 0, 16); }

FORMULA(add3) { return (s[0] + s[1] + s[2]) % 0x100000000; }
FORMULA(shl_add) { return (s[0] * ((uint64_t)1 << s[1] % 32) + s[2]) % 0x100000000; }
FORMULA(add_shl) {
    return ((s[0] + s[1]) % 0x100000000 * ((uint64_t)1 << s[2] % 32)) % 0x100000000;
}
FORMULA(shl_or) { return bitwise((uint64_t[4]){s[0] << s[1] % 32, s[2]}, 14); }
FORMULA(and_or) { return bitwise((uint64_t[4]){bitwise(s, 8), s[2]}, 14); }
FORMULA(or3) { return bitwise((uint64_t[4]){bitwise(s, 14), s[2]}, 14); }
FORMULA(xad) { return (bitwise(s, 6) + s[2]) % 0x100000000; }
FORMULA(bfi) {
    uint64_t r = 0;
    for (unsigned i = 0; i < 32; i++)
        r |= field(s[0], i, 1) ? field(s[1], i, 1) << i : field(s[2], i, 1) << i;
    return r;
}
FORMULA(bfe_u) { return field(s[0], (unsigned)(s[1] % 32), (unsigned)(s[2] % 32)); }
FORMULA(bfe_i) {
    const unsigned at = (unsigned)(s[1] % 32), n = (unsigned)(s[2] % 32);
    return n == 0 ? 0 : word(is((uint64_t)is(s[0], 32) >> at, n));
}
FORMULA(alignbit) { return field(s[0] << 32 | s[1], (unsigned)(s[2] % 32), 32); }
FORMULA(alignbyte) { return field(s[0] << 32 | s[1], (unsigned)(s[2] % 4 * 8), 32); }
FORMULA(perm) {
    const uint64_t bytes = s[0] << 32 | s[1];
    uint64_t r = 0;
    for (unsigned i = 0; i < 4; i++) {
        const unsigned select = (unsigned)field(s[2], 8 * i, 8);
        uint64_t byte = 255;
        if (select < 8) byte = field(bytes, 8 * select, 8);
        if (select >= 8 && select < 12) byte = 255 * field(bytes, 16 * (select - 8) + 15, 1);
        if (select == 12) byte = 0;
        r += byte << 8 * i;
    }
    return r;
}
FORMULA(lerp) {
    uint64_t r = 0;
    for (unsigned i = 0; i < 32; i += 8)
        r += (field(s[0], i, 8) + field(s[1], i, 8) + field(s[2], i, 1)) / 2 << i;
    return r;
}
/* The nth smallest of three numbers of n bits, signed or not. */
static uint64_t ordered(const uint64_t s[4], unsigned n, unsigned bits, bool is_signed) {
    int64_t x[3];
    for (unsigned i = 0; i < 3; i++)
        x[i] = is_signed ? is(s[i], bits) : (int64_t)field(s[i], 0, bits);
    for (unsigned pass = 0; pass < 2; pass++)
        for (unsigned i = 0; i < 2; i++)
            if (x[i] > x[i + 1]) {
                const int64_t t = x[i];
                x[i] = x[i + 1];
                x[i + 1] = t;
            }
    return field((uint64_t)x[n], 0, bits);
}
FORMULA(min3_u) { return ordered(s, 0, 32, false); }
FORMULA(med3_u) { return ordered(s, 1, 32, false); }
FORMULA(max3_u) { return ordered(s, 2, 32, false); }
FORMULA(min3_i) { return ordered(s, 0, 32, true); }
FORMULA(med3_i) { return ordered(s, 1, 32, true); }
FORMULA(max3_i) { return ordered(s, 2, 32, true); }
static uint64_t keep_high(const uint64_t s[4], uint64_t low) {
    return low + field(s[3], 16, 16) * 65536;
}
FORMULA(min3_u16) { return keep_high(s, ordered(s, 0, 16, false)); }
FORMULA(med3_u16) { return keep_high(s, ordered(s, 1, 16, false)); }
FORMULA(max3_u16) { return keep_high(s, ordered(s, 2, 16, false)); }
FORMULA(min3_i16) { return keep_high(s, ordered(s, 0, 16, true)); }
FORMULA(med3_i16) { return keep_high(s, ordered(s, 1, 16, true)); }
FORMULA(max3_i16) { return keep_high(s, ordered(s, 2, 16, true)); }

#define SUM(name, lowest, highest, bits, ...)                                                      \
    FORMULA(name) { return field((uint64_t)(__VA_ARGS__), 0, bits); }                              \
    FORMULA(name##_clamped) {                                                                      \
        return field((uint64_t)limit(__VA_ARGS__, lowest, highest), 0, bits);                      \
    }
#define U(n) ((int64_t)field(s[n], 0, 32))
#define I(n) is(s[n], 32)
#define U16(n) ((int64_t)field(s[n], 0, 16))
#define I16(n) is(s[n], 16)
#define H16(n) is(s[n] >> 16, 16)
#define K16(n) ((int64_t)field(s[n], 16, 16))
static int64_t sad(uint64_t x, uint64_t y, unsigned bits, bool masked) {
    int64_t sum = 0;
    for (unsigned i = 0; i < 32; i += bits) {
        const int64_t d = (int64_t)field(x, i, bits) - (int64_t)field(y, i, bits);
        if (!masked || field(y, i, bits) != 0) sum += d < 0 ? -d : d;
    }
    return sum;
}
SUM(add_u, 0, 0xffffffff, 32, U(0) + U(1))
SUM(sub_u, 0, 0xffffffff, 32, U(0) - U(1))
SUM(subrev_u, 0, 0xffffffff, 32, U(1) - U(0))
SUM(add_i, INT32_MIN, INT32_MAX, 32, I(0) + I(1))
SUM(sub_i, INT32_MIN, INT32_MAX, 32, I(0) - I(1))
SUM(add_u16, 0, 65535, 16, U16(0) + U16(1))
SUM(sub_u16, 0, 65535, 16, U16(0) - U16(1))
SUM(subrev_u16, 0, 65535, 16, U16(1) - U16(0))
SUM(mad_u24, 0, 0xffffffff, 32, (int64_t)(field(s[0], 0, 24) * field(s[1], 0, 24)) + U(2))
SUM(mad_i24, INT32_MIN, INT32_MAX, 32, is(s[0], 24) * is(s[1], 24) + I(2))
SUM(sad_u8, 0, 0xffffffff, 32, sad(s[0], s[1], 8, false) + U(2))
SUM(sad_hi_u8, 0, 0xffffffff, 32, sad(s[0], s[1], 8, false) * 65536 + U(2))
SUM(sad_u16, 0, 0xffffffff, 32, sad(s[0], s[1], 16, false) + U(2))
SUM(sad_u32, 0, 0xffffffff, 32, sad(s[0], s[1], 32, false) + U(2))
SUM(msad_u8, 0, 0xffffffff, 32, sad(s[0], s[1], 8, true) + U(2))
SUM(mad_u32_u16, 0, 0xffffffff, 32, U16(0) * U16(1) + U(2))
SUM(mad_i32_i16, INT32_MIN, INT32_MAX, 32, I16(0) * I16(1) + I(2))
SUM(add_i16_bits, -32768, 32767, 16, I16(0) + I16(1))
SUM(sub_i16_bits, -32768, 32767, 16, I16(0) - I16(1))
SUM(mad_u16_bits, 0, 65535, 16, U16(0) * U16(1) + U16(2))
SUM(mad_i16_bits, -32768, 32767, 16, I16(0) * I16(1) + I16(2))
FORMULA(mad_i16_high) { return field((uint64_t)(H16(0) * I16(1) + H16(2)), 0, 16); }
FORMULA(add_i16_high) { return field((uint64_t)(H16(0) + I16(1)), 0, 16); }
#define KEPT(name)                                                                                 \
    FORMULA(name) { return keep_high(s, name##_bits(s)); }                                         \
    FORMULA(name##_clamped) { return keep_high(s, name##_bits_clamped(s)); }
KEPT(add_i16)
KEPT(sub_i16)
KEPT(mad_u16)
KEPT(mad_i16)
FORMULA(mad_i16_to_high) { return mad_i16_high(s) * 65536 + field(s[3], 0, 16); }
FORMULA(add_i16_to_high) { return add_i16_high(s) * 65536 + field(s[3], 0, 16); }
FORMULA(mad_i32_high) { return field((uint64_t)(H16(0) * H16(1) + I(2)), 0, 32); }

/* Both halves by formulas of the low one; `select` tells which halves go in. */
static uint64_t packed(const uint64_t s[4], vop_formula *f, unsigned low, unsigned high) {
    uint64_t x[2][4] = {{0}};
    for (unsigned n = 0; n < 3; n++) {
        x[0][n] = field(s[n], low >> n & 1 ? 16 : 0, 16);
        x[1][n] = field(s[n], high >> n & 1 ? 16 : 0, 16);
    }
    return f(x[1]) % 65536 * 65536 + f(x[0]) % 65536;
}
#define PACKED(name, f)                                                                            \
    FORMULA(name) { return packed(s, f, 0, 7); }                                                   \
    FORMULA(name##_crossed) { return packed(s, f, 1, 2); }
PACKED(pk_add_u16, add_u16)
PACKED(pk_sub_u16, sub_u16)
PACKED(pk_add_u16_clamped, add_u16_clamped)
PACKED(pk_sub_u16_clamped, sub_u16_clamped)
PACKED(pk_add_i16, add_i16_bits)
PACKED(pk_sub_i16, sub_i16_bits)
PACKED(pk_add_i16_clamped, add_i16_bits_clamped)
PACKED(pk_sub_i16_clamped, sub_i16_bits_clamped)
PACKED(pk_mul_lo, mul_lo_16)
PACKED(pk_min_u16, min_u16)
PACKED(pk_max_u16, max_u16)
PACKED(pk_min_i16, min_i16)
PACKED(pk_max_i16, max_i16)
PACKED(pk_shl, shl_16)
PACKED(pk_shr, shr_16)
PACKED(pk_sar, sar_16)
PACKED(pk_mad_u16, mad_u16_bits)
PACKED(pk_mad_i16, mad_i16_bits)
PACKED(pk_mad_u16_clamped, mad_u16_bits_clamped)
PACKED(pk_mad_i16_clamped, mad_i16_bits_clamped)

FORMULA(shl_64) {
    uint64_t x = s[1];
    for (unsigned i = 0; i < s[0] % 64; i++) x += x;
    return x;
}
FORMULA(shr_64) {
    uint64_t x = s[1];
    for (unsigned i = 0; i < s[0] % 64; i++) x /= 2;
    return x;
}
FORMULA(sar_64) {
    uint64_t x = s[1];
    for (unsigned i = 0; i < s[0] % 64; i++) x = x / 2 + (x & (uint64_t)1 << 63);
    return x;
}
FORMULA(shl_add_64) { return s[0] * ((uint64_t)1 << s[1] % 8) + s[2]; }
static uint64_t quad_sad(const uint64_t s[4], bool masked) {
    uint64_t r = 0;
    for (unsigned i = 0; i < 4; i++)
        r += (field(s[2], 16 * i, 16) + (uint64_t)sad(field(s[0], 8 * i, 32), s[1], 8, masked)) %
                 65536
             << 16 * i;
    return r;
}
FORMULA(qsad) { return quad_sad(s, false); }
FORMULA(mqsad) { return quad_sad(s, true); }
FORMULA(pk_mov) { return field(s[0], 0, 32) + (s[1] / 0x100000000 << 32); }
FORMULA(pk_mov_crossed) { return field(s[0], 32, 32) + (field(s[1], 0, 32) << 32); }

#define PAIR(name, f, clamp)                                                                       \
    {name, f, clamp}, { name, f##_crossed, "op_sel:[1,0,0] op_sel_hi:[0,1,0]" clamp }

static const struct vop_case cases[] = {
    {"v_mov_b32",           mov,                 NULL              },
    {"v_accvgpr_read_b32",  mov,                 NULL              },
    {"v_accvgpr_write_b32", mov,                 NULL              },
    {"v_accvgpr_mov_b32",   mov,                 NULL              },
    {"v_not_b32",           not,                 NULL              },
    {"v_bfrev_b32",         bfrev,               NULL              },
    {"v_ffbh_u32",          ffbh_u,              NULL              },
    {"v_ffbl_b32",          ffbl,                NULL              },
    {"v_ffbh_i32",          ffbh_i,              NULL              },
    {"v_and_b32",           and,                 NULL              },
    {"v_or_b32",            or,                  NULL              },
    {"v_xor_b32",           xor,                 NULL              },
    {"v_xnor_b32",          xnor,                NULL              },
    {"v_lshlrev_b32",       shl,                 NULL              },
    {"v_lshrrev_b32",       shr,                 NULL              },
    {"v_ashrrev_i32",       sar,                 NULL              },
    {"v_bfm_b32",           bfm,                 NULL              },
    {"v_bcnt_u32_b32",      bcnt,                NULL              },
    {"v_min_u32",           min_u,               NULL              },
    {"v_max_u32",           max_u,               NULL              },
    {"v_min_i32",           min_i,               NULL              },
    {"v_max_i32",           max_i,               NULL              },
    {"v_mul_lo_u32",        mul_lo,              NULL              },
    {"v_mul_hi_u32",        mul_hi,              NULL              },
    {"v_mul_hi_i32",        mul_hi_i,            NULL              },
    {"v_mul_u32_u24",       mul_u24,             NULL              },
    {"v_mul_hi_u32_u24",    mul_hi_u24,          NULL              },
    {"v_mul_i32_i24",       mul_i24,             NULL              },
    {"v_mul_hi_i32_i24",    mul_hi_i24,          NULL              },
    {"v_mul_lo_u16",        mul_lo_16,           NULL              },
    {"v_lshlrev_b16",       shl_16,              NULL              },
    {"v_lshrrev_b16",       shr_16,              NULL              },
    {"v_ashrrev_i16",       sar_16,              NULL              },
    {"v_min_u16",           min_u16,             NULL              },
    {"v_max_u16",           max_u16,             NULL              },
    {"v_min_i16",           min_i16,             NULL              },
    {"v_max_i16",           max_i16,             NULL              },
    {"v_add3_u32",          add3,                NULL              },
    {"v_lshl_add_u32",      shl_add,             NULL              },
    {"v_add_lshl_u32",      add_shl,             NULL              },
    {"v_lshl_or_b32",       shl_or,              NULL              },
    {"v_and_or_b32",        and_or,              NULL              },
    {"v_or3_b32",           or3,                 NULL              },
    {"v_xad_u32",           xad,                 NULL              },
    {"v_bfi_b32",           bfi,                 NULL              },
    {"v_bfe_u32",           bfe_u,               NULL              },
    {"v_bfe_i32",           bfe_i,               NULL              },
    {"v_alignbit_b32",      alignbit,            NULL              },
    {"v_alignbyte_b32",     alignbyte,           NULL              },
    {"v_perm_b32",          perm,                NULL              },
    {"v_lerp_u8",           lerp,                NULL              },
    {"v_min3_u32",          min3_u,              NULL              },
    {"v_med3_u32",          med3_u,              NULL              },
    {"v_max3_u32",          max3_u,              NULL              },
    {"v_min3_i32",          min3_i,              NULL              },
    {"v_med3_i32",          med3_i,              NULL              },
    {"v_max3_i32",          max3_i,              NULL              },
    {"v_min3_u16",          min3_u16,            NULL              },
    {"v_med3_u16",          med3_u16,            NULL              },
    {"v_max3_u16",          max3_u16,            NULL              },
    {"v_min3_i16",          min3_i16,            NULL              },
    {"v_med3_i16",          med3_i16,            NULL              },
    {"v_max3_i16",          max3_i16,            NULL              },
    {"v_add_u32",           add_u,               NULL              },
    {"v_add_u32",           add_u_clamped,       "clamp"           },
    {"v_sub_u32",           sub_u,               NULL              },
    {"v_sub_u32",           sub_u_clamped,       "clamp"           },
    {"v_subrev_u32",        subrev_u,            NULL              },
    {"v_subrev_u32",        subrev_u_clamped,    "clamp"           },
    {"v_add_i32",           add_i,               NULL              },
    {"v_add_i32",           add_i_clamped,       "clamp"           },
    {"v_sub_i32",           sub_i,               NULL              },
    {"v_sub_i32",           sub_i_clamped,       "clamp"           },
    {"v_add_u16",           add_u16,             NULL              },
    {"v_add_u16",           add_u16_clamped,     "clamp"           },
    {"v_sub_u16",           sub_u16,             NULL              },
    {"v_sub_u16",           sub_u16_clamped,     "clamp"           },
    {"v_subrev_u16",        subrev_u16,          NULL              },
    {"v_subrev_u16",        subrev_u16_clamped,  "clamp"           },
    {"v_mad_u32_u24",       mad_u24,             NULL              },
    {"v_mad_u32_u24",       mad_u24_clamped,     "clamp"           },
    {"v_mad_i32_i24",       mad_i24,             NULL              },
    {"v_mad_i32_i24",       mad_i24_clamped,     "clamp"           },
    {"v_sad_u8",            sad_u8,              NULL              },
    {"v_sad_u8",            sad_u8_clamped,      "clamp"           },
    {"v_sad_hi_u8",         sad_hi_u8,           NULL              },
    {"v_sad_hi_u8",         sad_hi_u8_clamped,   "clamp"           },
    {"v_sad_u16",           sad_u16,             NULL              },
    {"v_sad_u16",           sad_u16_clamped,     "clamp"           },
    {"v_sad_u32",           sad_u32,             NULL              },
    {"v_sad_u32",           sad_u32_clamped,     "clamp"           },
    {"v_msad_u8",           msad_u8,             NULL              },
    {"v_msad_u8",           msad_u8_clamped,     "clamp"           },
    {"v_mad_u32_u16",       mad_u32_u16,         NULL              },
    {"v_mad_u32_u16",       mad_u32_u16_clamped, "clamp"           },
    {"v_mad_i32_i16",       mad_i32_i16,         NULL              },
    {"v_mad_i32_i16",       mad_i32_i16_clamped, "clamp"           },
    {"v_mad_i32_i16",       mad_i32_high,        "op_sel:[1,1,0,0]"},
    {"v_add_i16",           add_i16,             NULL              },
    {"v_add_i16",           add_i16_clamped,     "clamp"           },
    {"v_add_i16",           add_i16_to_high,     "op_sel:[1,0,1]"  },
    {"v_sub_i16",           sub_i16,             NULL              },
    {"v_sub_i16",           sub_i16_clamped,     "clamp"           },
    {"v_mad_u16",           mad_u16,             NULL              },
    {"v_mad_u16",           mad_u16_clamped,     "clamp"           },
    {"v_mad_i16",           mad_i16,             NULL              },
    {"v_mad_i16",           mad_i16_clamped,     "clamp"           },
    {"v_mad_i16",           mad_i16_to_high,     "op_sel:[1,0,1,1]"},
    PAIR("v_pk_add_u16", pk_add_u16, ""),
    PAIR("v_pk_sub_u16", pk_sub_u16, ""),
    PAIR("v_pk_add_u16", pk_add_u16_clamped, " clamp"),
    PAIR("v_pk_sub_u16", pk_sub_u16_clamped, " clamp"),
    PAIR("v_pk_add_i16", pk_add_i16, ""),
    PAIR("v_pk_sub_i16", pk_sub_i16, ""),
    PAIR("v_pk_add_i16", pk_add_i16_clamped, " clamp"),
    PAIR("v_pk_sub_i16", pk_sub_i16_clamped, " clamp"),
    PAIR("v_pk_mul_lo_u16", pk_mul_lo, ""),
    PAIR("v_pk_min_u16", pk_min_u16, ""),
    PAIR("v_pk_max_u16", pk_max_u16, ""),
    PAIR("v_pk_min_i16", pk_min_i16, ""),
    PAIR("v_pk_max_i16", pk_max_i16, ""),
    PAIR("v_pk_lshlrev_b16", pk_shl, ""),
    PAIR("v_pk_lshrrev_b16", pk_shr, ""),
    PAIR("v_pk_ashrrev_i16", pk_sar, ""),
    PAIR("v_pk_mad_u16", pk_mad_u16, ""),
    PAIR("v_pk_mad_i16", pk_mad_i16, ""),
    PAIR("v_pk_mad_u16", pk_mad_u16_clamped, " clamp"),
    PAIR("v_pk_mad_i16", pk_mad_i16_clamped, " clamp"),
    {"v_qsad_pk_u16_u8",    qsad,                NULL              },
    {"v_mqsad_pk_u16_u8",   mqsad,               NULL              },
    {"v_mov_b64",           mov,                 NULL              },
    {"v_lshlrev_b64",       shl_64,              NULL              },
    {"v_lshrrev_b64",       shr_64,              NULL              },
    {"v_ashrrev_i64",       sar_64,              NULL              },
    {"v_lshl_add_u64",      shl_add_64,          NULL              },
    {"v_pk_mov_b32",        pk_mov,              "op_sel:[0,1]"    },
    {"v_pk_mov_b32",        pk_mov_crossed,      "op_sel:[1,0]"    },
};

Test(vector, formulas) { vop_check_all(cases, sizeof cases / sizeof *cases, BARE_MODE, 40); }

/* The check itself: a wrong formula is found for every instruction. */
static uint64_t planted_bit(const uint64_t s[4]) { return mul_hi_i(s) ^ (s[0] == 0x80000000u); }
Test(vector, a_wrong_result_is_found) {
    static struct bare b;
    const struct vop_case wrong[] = {
        {"v_mul_hi_i32",  planted_bit,   NULL},
        {"v_add_u32",     add_u_clamped, NULL},
        {"v_mad_u16",     mad_u16_bits,  NULL},
        {"v_ashrrev_i32", shr,           NULL},
        {"v_bfe_i32",     bfe_u,         NULL}
    };
    for (size_t i = 0; i < sizeof wrong / sizeof *wrong; i++)
        cr_expect_gt(vop_check(&b, &wrong[i], BARE_MODE, 40, true), 0u, "%s", wrong[i].name);
}

/* ---- carries, masks, single lanes ---- */

static struct bare bench;

static uint64_t random64(uint64_t *state) {
    return (uint64_t)bare_random(state) << 32 | bare_random(state);
}

struct carry_case {
    const char *text;
    int sign_a, sign_b, in;
};

Test(vector, carries) {
    static const struct carry_case carries[] = {
        {"v_add_co_u32_e32 v0, vcc, v2, v4",                 1,  1,  0 },
        {"v_sub_co_u32_e32 v0, vcc, v2, v4",                 1,  -1, 0 },
        {"v_subrev_co_u32_e32 v0, vcc, v2, v4",              -1, 1,  0 },
        {"v_addc_co_u32_e32 v0, vcc, v2, v4, vcc",           1,  1,  1 },
        {"v_subb_co_u32_e32 v0, vcc, v2, v4, vcc",           1,  -1, -1},
        {"v_subbrev_co_u32_e32 v0, vcc, v2, v4, vcc",        -1, 1,  -1},
        {"v_addc_co_u32_e64 v2, s[30:31], v2, v4, s[20:21]", 1,  1,  1 },
    };
    uint64_t state = 7;
    for (size_t n = 0; n < 60 * sizeof carries / sizeof *carries; n++) {
        const struct carry_case *const c = &carries[n % (sizeof carries / sizeof *carries)];
        const struct emu_insn i = vop_decode(c->text);
        const uint64_t exec = n & 1 ? random64(&state) : ~UINT64_C(0), in = random64(&state);
        uint64_t want = 0;
        uint32_t a[EMU_LANES], b[EMU_LANES];
        bare_begin(&bench);
        emu_write_s64(&bench.wave, EMU_EXEC, exec);
        emu_write_s64(&bench.wave, EMU_VCC, in);
        emu_write_s64(&bench.wave, 20, in);
        for (unsigned lane = 0; lane < EMU_LANES; lane++) {
            bench.v[2][lane] = a[lane] = (uint32_t)vop_value(&state, false);
            bench.v[4][lane] = b[lane] = (uint32_t)vop_value(&state, false);
        }
        cr_assert(i.run(&bench.wave, &i) == &i + 1);
        for (unsigned lane = 0; lane < EMU_LANES; lane++) {
            if (!(exec >> lane & 1)) continue;
            const int64_t sum = (int64_t)a[lane] * c->sign_a + (int64_t)b[lane] * c->sign_b +
                                (int64_t)(in >> lane & 1) * c->in;
            want |= (uint64_t)(sum < 0 || sum > 0xffffffff) << lane;
            cr_assert_eq(bench.v[i.operand[0].reg][lane], (uint32_t)sum, "%s", c->text);
        }
        cr_assert_eq(emu_s64(&bench.wave, i.operand[1].reg), want, "%s", c->text);
    }
}

/* a * b + c in 128 bits, as high and low words. */
static uint64_t wide_product(uint32_t a, uint32_t b, uint64_t c, unsigned *carry) {
    uint64_t low = c;
    *carry = 0;
    for (unsigned i = 0; i < 32; i++) {
        const uint64_t term = b >> i & 1 ? (uint64_t)a << i : 0;
        *carry += low + term < low;
        low += term;
    }
    return low;
}

Test(vector, wide_multiplication) {
    const struct emu_insn u = vop_decode("v_mad_u64_u32 v[0:1], s[2:3], v4, v6, v[8:9]");
    const struct emu_insn s = vop_decode("v_mad_i64_i32 v[0:1], vcc, v4, v6, v[8:9]");
    uint64_t state = 11;
    for (unsigned round = 0; round < 100; round++) {
        const struct emu_insn *const i = round & 1 ? &s : &u;
        uint64_t carries = 0, c[EMU_LANES];
        bare_begin(&bench);
        for (unsigned lane = 0; lane < EMU_LANES; lane++) {
            c[lane] = vop_value(&state, true);
            bench.v[4][lane] = (uint32_t)vop_value(&state, false);
            bench.v[6][lane] = (uint32_t)vop_value(&state, false);
            vop_put(&bench, 8, lane, c[lane], true);
        }
        cr_assert(i->run(&bench.wave, i) == i + 1);
        for (unsigned lane = 0; lane < EMU_LANES; lane++) {
            const uint32_t a = bench.v[4][lane], b = bench.v[6][lane];
            unsigned carry;
            uint64_t want = wide_product(a, b, c[lane], &carry);
            if (i == &s) want = (uint64_t)((int64_t)(int32_t)a * (int32_t)b) + c[lane];
            carries |= (uint64_t)carry << lane;
            cr_assert_eq(vop_get(&bench, 0, lane, true), want);
        }
        if (i == &u) cr_assert_eq(emu_s64(&bench.wave, 2), carries);
    }
}

Test(vector, selection_takes_float_signs) {
    uint64_t state = 3;
    const struct emu_insn i = vop_decode("v_cndmask_b32_e64 v0, -v2, |v4|, s[20:21]");
    const uint64_t mask = random64(&state);
    bare_begin(&bench);
    emu_write_s64(&bench.wave, 20, mask);
    for (unsigned lane = 0; lane < EMU_LANES; lane++) {
        bench.v[2][lane] = (uint32_t)vop_value(&state, false);
        bench.v[4][lane] = (uint32_t)vop_value(&state, false);
    }
    cr_assert(i.run(&bench.wave, &i) == &i + 1);
    for (unsigned lane = 0; lane < EMU_LANES; lane++)
        cr_assert_eq(bench.v[0][lane], mask >> lane & 1 ? bench.v[4][lane] & 0x7fffffff
                                                        : bench.v[2][lane] + 0x80000000u);
}

Test(vector, lanes_before_this_one) {
    uint64_t state = 5;
    for (unsigned round = 0; round < 20; round++) {
        const uint64_t mask = random64(&state);
        const struct emu_insn low = vop_decode("v_mbcnt_lo_u32_b32 v0, s20, 0");
        const struct emu_insn high = vop_decode("v_mbcnt_hi_u32_b32 v0, s21, v0");
        bare_begin(&bench);
        emu_write_s64(&bench.wave, 20, mask);
        cr_assert(low.run(&bench.wave, &low) && high.run(&bench.wave, &high));
        for (unsigned lane = 0; lane < EMU_LANES; lane++) {
            uint32_t want = 0;
            for (unsigned l = 0; l < lane; l++) want += (uint32_t)(mask >> l & 1);
            cr_assert_eq(bench.v[0][lane], want);
        }
    }
}

Test(vector, single_lanes) {
    uint64_t state = 13;
    bare_begin(&bench);
    memset(bench.wave.s_defined, 0xff, sizeof bench.wave.s_defined);
    for (unsigned lane = 0; lane < EMU_LANES; lane++) bench.v[2][lane] = bare_random(&state);
    const struct emu_insn read = vop_decode("v_readlane_b32 s30, v2, s20");
    const struct emu_insn first = vop_decode("v_readfirstlane_b32 s31, v2");
    const struct emu_insn write = vop_decode("v_writelane_b32 v0, s22, s20");
    for (unsigned lane = 0; lane < 2 * EMU_LANES; lane++) {
        const uint64_t exec = lane < EMU_LANES ? ~UINT64_C(0) << lane : 0;
        bench.defined[2] = ~(UINT64_C(1) << 9);
        emu_write_s64(&bench.wave, EMU_EXEC, exec);
        emu_write_sreg(&bench.wave, 20, lane);
        emu_write_sreg(&bench.wave, 22, 1000 + lane);
        cr_assert(read.run(&bench.wave, &read) && first.run(&bench.wave, &first) &&
                  write.run(&bench.wave, &write));
        const unsigned l = lane % EMU_LANES, f = lane < EMU_LANES ? lane : 0;
        cr_assert_eq(bench.wave.s[30], bench.v[2][l]);
        cr_assert_eq(bench.wave.s_defined[30], l == 9 ? 0 : ~0u);
        cr_assert_eq(bench.wave.s[31], bench.v[2][f]);
        cr_assert_eq(bench.wave.s_defined[31], f == 9 ? 0 : ~0u);
        cr_assert_eq(bench.v[0][l], 1000 + lane);
    }
    bench.wave.s_defined[22] = 1;
    cr_assert(write.run(&bench.wave, &write));
    cr_assert_eq(bench.defined[0], ~UINT64_C(0), "a spilled mask is defined in part");
    bench.wave.s_defined[22] = 0;
    cr_assert(write.run(&bench.wave, &write));
    cr_assert_eq(bench.defined[0], ~(UINT64_C(1) << 63), "an undefined value makes its lane so");
}

Test(vector, swap) {
    uint64_t state = 17;
    const uint64_t exec = random64(&state);
    const struct emu_insn i = vop_decode("v_swap_b32 v0, v2");
    bare_begin(&bench);
    for (unsigned lane = 0; lane < EMU_LANES; lane++) {
        bench.v[0][lane] = lane;
        bench.v[2][lane] = 100 + lane;
    }
    emu_write_s64(&bench.wave, EMU_EXEC, exec);
    cr_assert(i.run(&bench.wave, &i) == &i + 1);
    for (unsigned lane = 0; lane < EMU_LANES; lane++) {
        const unsigned swapped = exec >> lane & 1 ? 100 : 0;
        cr_assert_eq(bench.v[0][lane], lane + swapped);
        cr_assert_eq(bench.v[2][lane], lane + 100 - swapped);
    }
}

Test(vector, modifiers_that_nobody_honours_are_refused) {
    static const char *const texts[] = {
        "v_and_b32_e64 v0, v1, v2 clamp", "v_add_u32_e64 v0, v1, v2 mul:2",
        "v_lshl_add_u32 v0, v1, v2, v3 op_sel:[1,0,0,0]", "v_pk_mul_lo_u16 v0, v1, v2 clamp"};
    for (size_t n = 0; n < sizeof texts / sizeof *texts; n++) {
        const struct emu_insn i = vop_decode(texts[n]);
        cr_expect(emu_wrap(&i) == NULL, "%s", texts[n]);
    }
}

/* A selector in a scalar register has a way of its own. */
Test(vector, permutations_by_one_selector) {
    static const struct vop_case c = {"v_perm_b32", perm, NULL};
    uint64_t state = 19;
    const struct emu_insn i = vop_decode("v_perm_b32 v0, v2, v4, s20");
    for (unsigned round = 0; round < 500; round++) {
        const uint32_t selector = bare_random(&state) & (round & 1 ? 0x0f0f0f0f : 0xffffffff);
        bare_begin(&bench);
        emu_write_sreg(&bench.wave, 20, selector);
        for (unsigned lane = 0; lane < EMU_LANES; lane++) {
            bench.v[2][lane] = bare_random(&state);
            bench.v[4][lane] = bare_random(&state);
        }
        cr_assert(i.run(&bench.wave, &i) == &i + 1);
        for (unsigned lane = 0; lane < EMU_LANES; lane++) {
            const uint64_t s[4] = {bench.v[2][lane], bench.v[4][lane], selector, 0};
            cr_assert_eq(bench.v[0][lane], c.formula(s), "selector %x", selector);
        }
    }
}
