/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Every atomic through every family that has it, against a formulation of its own: bit by bit for integers, exact sums in
 * wider formats for floats; conflicts within a wave, and between threads.
 */
#include <math.h>

#include "memory.h"

static struct bed bed;

/* ---- the model ---- */

static int64_t as_signed(uint64_t x, unsigned bits) {
    return bits == 64 ? (int64_t)x : (int64_t)(int32_t)(uint32_t)x;
}

static double as_f64(uint64_t x) {
    double value;
    memcpy(&value, &x, 8);
    return value;
}

static uint64_t from_f64(double value) {
    uint64_t x;
    memcpy(&x, &value, 8);
    return x;
}

static float as_f32(uint32_t x) {
    float value;
    memcpy(&value, &x, 4);
    return value;
}

static uint32_t from_f32(float value) {
    uint32_t x;
    memcpy(&x, &value, 4);
    return x;
}

/* All finite values of a 16-bit format in order, to find the nearest by search; ties to the even pattern. */
static double value16(uint32_t x, bool bf16) {
    const int exponent_bits = bf16 ? 8 : 5, fraction_bits = 15 - exponent_bits;
    const int bias = (1 << (exponent_bits - 1)) - 1;
    const int exponent = (int)(x >> fraction_bits & ((1u << exponent_bits) - 1));
    const double fraction = (double)(x & ((1u << fraction_bits) - 1));
    const double one = ldexp(1, fraction_bits);
    const double magnitude = exponent == 0 ? ldexp(fraction, 1 - bias - fraction_bits)
                                           : ldexp(one + fraction, exponent - bias - fraction_bits);
    return x & 0x8000 ? -magnitude : magnitude;
}

static uint32_t nearest16(double value, bool bf16) {
    const uint32_t infinite = bf16 ? 0x7F80 : 0x7C00, sign = signbit(value) ? 0x8000 : 0;
    const double magnitude = fabs(value);
    uint32_t low = 0, high = infinite; /* the pattern above the largest stands for 2^(emax + 1) */
    while (high - low > 1) {
        const uint32_t middle = (low + high) / 2;
        if (value16(middle, bf16) <= magnitude)
            low = middle;
        else
            high = middle;
    }
    const double below = magnitude - value16(low, bf16), above = value16(high, bf16) - magnitude;
    if (above < below || (above == below && (low & 1))) low = high;
    return sign | low;
}

static uint32_t sum16(uint32_t a, uint32_t b, bool bf16) {
    const uint32_t infinite = bf16 ? 0x7F80 : 0x7C00, quiet = bf16 ? 0x40 : 0x200;
    if ((a & 0x7FFF) > infinite) return a | quiet;
    if ((b & 0x7FFF) > infinite) return b | quiet;
    if ((a & 0x7FFF) == infinite && (b & 0x7FFF) == infinite) return a == b ? a : infinite | quiet;
    if ((a & 0x7FFF) == infinite) return a;
    if ((b & 0x7FFF) == infinite) return b;
    const double x = value16(a, bf16), y = value16(b, bf16), sum = x + y;
    /* A bf16 pair can be too far apart for a double: then the smaller only breaks a tie that there is not. */
    return nearest16(sum, bf16);
}

static uint64_t model_float(const char *op, uint64_t old, uint64_t data) {
    const bool wide = strstr(op, "f64") != NULL, half = strstr(op, "pk_add") != NULL;
    if (half) {
        const bool bf16 = strstr(op, "bf16") != NULL;
        const uint32_t a = (uint32_t)old, b = (uint32_t)data;
        return sum16(a & 0xFFFF, b & 0xFFFF, bf16) | sum16(a >> 16, b >> 16, bf16) << 16;
    }
    const double a = wide ? as_f64(old) : as_f32((uint32_t)old);
    const double b = wide ? as_f64(data) : as_f32((uint32_t)data);
    double result;
    if (strstr(op, "add"))
        result = wide ? a + b : (double)(as_f32((uint32_t)old) + as_f32((uint32_t)data));
    else if (a == b)
        result = (strstr(op, "min") != NULL) == (signbit(a) != 0) ? a : b;
    else
        result = isnan(a) ? b : isnan(b) ? a : (a < b) == (strstr(op, "min") != NULL) ? a : b;
    if (isnan(result) && !strstr(op, "add")) return data | (wide ? UINT64_C(1) << 51 : 0x400000);
    if (isnan(result)) {
        if (isnan(a)) return wide ? old | UINT64_C(1) << 51 : old | 0x400000;
        if (isnan(b)) return wide ? data | UINT64_C(1) << 51 : data | 0x400000;
        return wide ? UINT64_C(0x7FF8000000000000) : 0x7FC00000;
    }
    return wide ? from_f64(result) : from_f32((float)result);
}

static uint64_t model(const char *op, unsigned bits, uint64_t old, uint64_t data, uint64_t second) {
    const uint64_t all = bits == 64 ? ~UINT64_C(0) : 0xFFFFFFFF;
    const int64_t a = as_signed(old, bits), b = as_signed(data, bits);
    if (!strcmp(op, "swap") || !strcmp(op, "wrxchg")) return data;
    if (!strcmp(op, "cmpswap")) return old == second ? data : old;
    if (!strcmp(op, "cmpst")) return old == data ? second : old;
    if (!strcmp(op, "add")) return (old + data) & all;
    if (!strcmp(op, "sub")) return (old - data) & all;
    if (!strcmp(op, "rsub")) return (data - old) & all;
    if (!strcmp(op, "smin")) return a < b ? old : data;
    if (!strcmp(op, "smax")) return a > b ? old : data;
    if (!strcmp(op, "umin")) return old < data ? old : data;
    if (!strcmp(op, "umax")) return old > data ? old : data;
    if (!strcmp(op, "and")) return old & data;
    if (!strcmp(op, "or")) return old | data;
    if (!strcmp(op, "xor")) return old ^ data;
    if (!strcmp(op, "inc")) return old >= data ? 0 : old + 1;
    if (!strcmp(op, "dec")) return old == 0 || old > data ? data : old - 1;
    if (!strcmp(op, "mskor")) return (old & ~data & all) | second;
    return model_float(op, old, data);
}

/* ---- the instructions ---- */

static const struct {
    const char *op, *name; /* the model's, the mnemonic's */
    unsigned bits;
    bool two;
} memory_atomics[] = {
    {"swap",        "swap",        32, false},
    {"cmpswap",     "cmpswap",     32, true },
    {"add",         "add",         32, false},
    {"sub",         "sub",         32, false},
    {"smin",        "smin",        32, false},
    {"umin",        "umin",        32, false},
    {"smax",        "smax",        32, false},
    {"umax",        "umax",        32, false},
    {"and",         "and",         32, false},
    {"or",          "or",          32, false},
    {"xor",         "xor",         32, false},
    {"inc",         "inc",         32, false},
    {"dec",         "dec",         32, false},
    {"swap",        "swap_x2",     64, false},
    {"cmpswap",     "cmpswap_x2",  64, true },
    {"add",         "add_x2",      64, false},
    {"sub",         "sub_x2",      64, false},
    {"smin",        "smin_x2",     64, false},
    {"umin",        "umin_x2",     64, false},
    {"smax",        "smax_x2",     64, false},
    {"umax",        "umax_x2",     64, false},
    {"and",         "and_x2",      64, false},
    {"or",          "or_x2",       64, false},
    {"xor",         "xor_x2",      64, false},
    {"inc",         "inc_x2",      64, false},
    {"dec",         "dec_x2",      64, false},
    {"add_f32",     "add_f32",     32, false},
    {"pk_add_f16",  "pk_add_f16",  32, false},
    {"pk_add_bf16", "pk_add_bf16", 32, false},
    {"add_f64",     "add_f64",     64, false},
    {"min_f64",     "min_f64",     64, false},
    {"max_f64",     "max_f64",     64, false},
};
enum { N_MEMORY_ATOMICS = sizeof memory_atomics / sizeof *memory_atomics };

/* name: ds_NAME_TYPE, ds_NAME_rtn_TYPE. */
static const struct {
    const char *op, *name, *type;
    unsigned bits;
    bool two;
} lds_atomics[] = {
    {"add",         "add",    "u32",  32, false},
    {"sub",         "sub",    "u32",  32, false},
    {"rsub",        "rsub",   "u32",  32, false},
    {"inc",         "inc",    "u32",  32, false},
    {"dec",         "dec",    "u32",  32, false},
    {"smin",        "min",    "i32",  32, false},
    {"smax",        "max",    "i32",  32, false},
    {"umin",        "min",    "u32",  32, false},
    {"umax",        "max",    "u32",  32, false},
    {"and",         "and",    "b32",  32, false},
    {"or",          "or",     "b32",  32, false},
    {"xor",         "xor",    "b32",  32, false},
    {"mskor",       "mskor",  "b32",  32, true },
    {"cmpst",       "cmpst",  "b32",  32, true },
    {"wrxchg",      "wrxchg", "b32",  32, false},
    {"add_f32",     "add",    "f32",  32, false},
    {"min_f32",     "min",    "f32",  32, false},
    {"max_f32",     "max",    "f32",  32, false},
    {"pk_add_f16",  "pk_add", "f16",  32, false},
    {"pk_add_bf16", "pk_add", "bf16", 32, false},
    {"add",         "add",    "u64",  64, false},
    {"sub",         "sub",    "u64",  64, false},
    {"rsub",        "rsub",   "u64",  64, false},
    {"inc",         "inc",    "u64",  64, false},
    {"dec",         "dec",    "u64",  64, false},
    {"smin",        "min",    "i64",  64, false},
    {"smax",        "max",    "i64",  64, false},
    {"umin",        "min",    "u64",  64, false},
    {"umax",        "max",    "u64",  64, false},
    {"and",         "and",    "b64",  64, false},
    {"or",          "or",     "b64",  64, false},
    {"xor",         "xor",    "b64",  64, false},
    {"mskor",       "mskor",  "b64",  64, true },
    {"cmpst",       "cmpst",  "b64",  64, true },
    {"wrxchg",      "wrxchg", "b64",  64, false},
    {"add_f64",     "add",    "f64",  64, false},
    {"min_f64",     "min",    "f64",  64, false},
    {"max_f64",     "max",    "f64",  64, false},
};
enum { N_LDS_ATOMICS = sizeof lds_atomics / sizeof *lds_atomics, ROUNDS = 60 };

/* Values that meet: extremes, small ones, NaNs, infinities, denormals, halves. */
static uint32_t word(void) {
    static const uint32_t special[] = {0,          1,          2,          0xFFFFFFFF, 0x80000000,
                                       0x7FFFFFFF, 0x7F800000, 0xFF800000, 0x7FC00001, 0x7F800001,
                                       0x00000003, 0x3F800000, 0x7BFF7BFF, 0x7C00FC00, 0x7E017C01,
                                       0x03FF0001, 0x04000400, 0x7F7F7F7F, 0x7FF00000, 0xFFF00000,
                                       0x7FF80000, 0x00100000, 0x3C003C01, 0x34013400};
    const uint32_t r = bed_random(&bed);
    if (r % 3 == 0) return special[r / 3 % (sizeof special / sizeof *special)];
    return r % 3 == 1 ? r / 3 % 8 : bed_random(&bed);
}

/* Old values in v16 (and 17), data in v8.., second data behind them; memory holds the old ones. */
static void fill(uint8_t *memory, unsigned bits) {
    for (unsigned lane = 0; lane < EMU_LANES; lane++)
        for (unsigned k = 0; k < 2; k++) {
            bed.v[0][16 + k][lane] = k < bits / 32 ? word() : 0;
            bed.v[0][8 + k][lane] = word();
            const bool same = bed_random(&bed) % 2;
            bed.v[0][8 + bits / 32 + k][lane] = same ? bed.v[0][16 + k][lane] : word();
        }
    for (unsigned lane = 0; lane < EMU_LANES; lane++)
        for (unsigned k = 0; k < bits / 32; k++)
            memcpy(memory + lane * bits / 8 + 4 * k, &bed.v[0][16 + k][lane], 4);
    for (unsigned k = 0; k < 2; k++) memset(bed.v[0][20 + k], 0x77, sizeof bed.v[0][20]);
}

static uint64_t value(unsigned reg, unsigned bits, unsigned lane) {
    const uint64_t low = bed.v[0][reg][lane];
    return bits == 64 ? low | (uint64_t)bed.v[0][reg + 1][lane] << 32 : low;
}

static void check(const char *text, const char *op, unsigned bits, const uint8_t *memory,
                  uint64_t exec, unsigned second, int returned) {
    uint32_t data[4][EMU_LANES];
    memcpy(data, bed.v[0][8], sizeof data);
    bed_exec(&bed, exec);
    bed_ok(&bed, text);
    for (unsigned lane = 0; lane < EMU_LANES; lane++) {
        uint64_t got = 0;
        memcpy(&got, memory + lane * bits / 8, bits / 8);
        const uint64_t old = value(16, bits, lane);
        const uint64_t d = data[0][lane] | (bits == 64 ? (uint64_t)data[1][lane] << 32 : 0);
        const uint64_t s =
            data[second - 8][lane] | (bits == 64 ? (uint64_t)data[second - 7][lane] << 32 : 0);
        const uint64_t want = exec >> lane & 1 ? model(op, bits, old, d, s) : old;
        cr_assert_eq(got, want, "%s: lane %u: %llx with %llx, %llx gives %llx instead of %llx",
                     text, lane, (unsigned long long)old, (unsigned long long)d,
                     (unsigned long long)s, (unsigned long long)got, (unsigned long long)want);
        if (returned >= 0 && (exec >> lane & 1))
            cr_assert_eq(value((unsigned)returned, bits, lane), old, "%s: lane %u returns", text,
                         lane);
    }
}

static void name_registers(char *text, size_t size, unsigned first, unsigned n) {
    if (n == 1)
        snprintf(text, size, "v%u", first);
    else
        snprintf(text, size, "v[%u:%u]", first, first + n - 1);
}

static void memory_forms(unsigned k, unsigned round) {
    const unsigned bits = memory_atomics[k].bits, words = bits / 32;
    const uint64_t exec = bed_mask(&bed, round);
    const char *const op = memory_atomics[k].op, *const name = memory_atomics[k].name;
    char text[192], data[32], to[32];
    name_registers(data, sizeof data, 8, words * (memory_atomics[k].two ? 2 : 1));
    name_registers(to, sizeof to, 20, words);
    for (unsigned form = 0; form < 8; form++) {
        const bool returns = form & 1;
        if (form >= 6 && !strcmp(name, "pk_add_bf16")) break; /* there is no buffer_ form */
        fill(bed.memory, bits);
        emu_write_s64(&bed.wave[0], 30, (uint64_t)(uintptr_t)bed.memory);
        bed.wave[0].s[32] = BED_BYTES;
        bed.wave[0].s[33] = 0x27000;
        for (unsigned lane = 0; lane < EMU_LANES; lane++) {
            bed_address(&bed, 2, lane, bed.memory + lane * bits / 8);
            bed.v[0][4][lane] = lane * bits / 8;
        }
        if (form < 2)
            snprintf(text, sizeof text, "global_atomic_%s %s%sv[2:3], %s, off%s", name,
                     returns ? to : "", returns ? ", " : "", data, returns ? " sc0" : "");
        else if (form < 4)
            snprintf(text, sizeof text, "global_atomic_%s %s%sv4, %s, s[30:31]%s", name,
                     returns ? to : "", returns ? ", " : "", data, returns ? " sc0" : "");
        else if (form < 6)
            snprintf(text, sizeof text, "flat_atomic_%s %s%sv[2:3], %s%s", name, returns ? to : "",
                     returns ? ", " : "", data, returns ? " sc0" : "");
        else
            snprintf(text, sizeof text, "buffer_atomic_%s %s, v4, s[30:33], 0 offen%s", name, data,
                     returns ? " sc0" : "");
        check(text, op, bits, bed.memory, exec, 8 + words, !returns ? -1 : form < 6 ? 20 : 8);
    }
}

Test(emu_atomic, memory) {
    bed_begin(&bed);
    for (unsigned k = 0; k < N_MEMORY_ATOMICS; k++)
        for (unsigned round = 0; round < ROUNDS; round++) memory_forms(k, round);
}

static void lds_forms(unsigned k, unsigned round) {
    const unsigned bits = lds_atomics[k].bits, words = bits / 32;
    const uint64_t exec = bed_mask(&bed, round);
    char text[192], data[32], second[32], to[32];
    name_registers(data, sizeof data, 8, words);
    name_registers(second, sizeof second, 8 + words, words);
    name_registers(to, sizeof to, 20, words);
    for (unsigned form = 0; form < 2; form++) {
        const bool returns = form == 1;
        if (!returns && !strcmp(lds_atomics[k].name, "wrxchg")) continue;
        fill(bed.lds, bits);
        for (unsigned lane = 0; lane < EMU_LANES; lane++) bed.v[0][4][lane] = lane * bits / 8 - 8;
        snprintf(text, sizeof text, "ds_%s%s_%s %s%sv4, %s%s%s offset:8", lds_atomics[k].name,
                 returns ? "_rtn" : "", lds_atomics[k].type, returns ? to : "", returns ? ", " : "",
                 data, lds_atomics[k].two ? ", " : "", lds_atomics[k].two ? second : "");
        check(text, lds_atomics[k].op, bits, bed.lds, exec, 8 + words, returns ? 20 : -1);
    }
}

Test(emu_atomic, lds) {
    bed_begin(&bed);
    for (unsigned k = 0; k < N_LDS_ATOMICS; k++)
        for (unsigned round = 0; round < ROUNDS; round++) lds_forms(k, round);
}

/* Halves that are hard to round: 30,000 pairs. */
Test(emu_atomic, packed_halves) {
    bed_begin(&bed);
    for (unsigned round = 0; round < 500; round++)
        for (unsigned bf16 = 0; bf16 < 2; bf16++) {
            fill(bed.memory, 32);
            for (unsigned lane = 0; lane < EMU_LANES; lane++) {
                bed.v[0][16][lane] = bed_random(&bed);
                bed.v[0][8][lane] = bed_random(&bed);
                if (lane & 1) bed.v[0][8][lane] ^= bed.v[0][16][lane] & 0x7C007C00;
                memcpy(bed.memory + 4 * lane, &bed.v[0][16][lane], 4);
                bed_address(&bed, 2, lane, bed.memory + 4 * lane);
            }
            check(bf16 ? "global_atomic_pk_add_bf16 v[2:3], v8, off"
                       : "global_atomic_pk_add_f16 v[2:3], v8, off",
                  bf16 ? "pk_add_bf16" : "pk_add_f16", 32, bed.memory, ~UINT64_C(0), 9, -1);
        }
}

/* All lanes on one word: each sees what the one before left. */
Test(emu_atomic, conflicts) {
    bed_begin(&bed);
    memset(bed.memory, 0, 4);
    memset(bed.lds, 0, 4);
    for (unsigned lane = 0; lane < EMU_LANES; lane++) {
        bed_address(&bed, 2, lane, bed.memory);
        bed.v[0][4][lane] = 0;
        bed.v[0][8][lane] = lane + 1;
    }
    bed_ok(&bed, "global_atomic_add v20, v[2:3], v8, off sc0");
    uint32_t sum;
    memcpy(&sum, bed.memory, 4);
    cr_assert_eq(sum, 65 * 32);
    bed_ok(&bed, "ds_add_rtn_u32 v21, v4, v8");
    memcpy(&sum, bed.lds, 4);
    cr_assert_eq(sum, 65 * 32);
    for (unsigned lane = 0; lane < EMU_LANES; lane++) {
        cr_assert_eq(bed.v[0][20][lane], lane * (lane + 1) / 2);
        cr_assert_eq(bed.v[0][21][lane], bed.v[0][20][lane]);
    }
}

/* Threads of the host on one counter: nothing is lost. */
Test(emu_atomic, threads) {
    enum { TIMES = 2000, THREADS = 4 };
    static struct bed beds[THREADS];
    uint8_t *const memory = emu_space_alloc(64, EMU_REGION_DEVICE);
    memset(memory, 0, 64);
    for (unsigned t = 0; t < THREADS; t++) {
        bed_begin(&beds[t]);
        for (unsigned lane = 0; lane < EMU_LANES; lane++) {
            bed_address(&beds[t], 2, lane, memory + lane % 2 * 8);
            bed_address(&beds[t], 4, lane, memory + 16);
            bed_address(&beds[t], 6, lane, memory + 24);
            beds[t].v[0][8][lane] = 1;
            beds[t].v[0][9][lane] = 0;
            const float one = 1;
            memcpy(&beds[t].v[0][10][lane], &one, 4);
        }
    }
#pragma omp parallel for num_threads(THREADS) schedule(static, 1)
    for (unsigned t = 0; t < THREADS; t++)
        for (unsigned k = 0; k < TIMES; k++) {
            bed_ok(&beds[t], "global_atomic_add v[2:3], v8, off");
            bed_ok(&beds[t], "global_atomic_add_f32 v[4:5], v10, off");
            bed_ok(&beds[t], "flat_atomic_add_x2 v[6:7], v[8:9]");
        }
    uint32_t counter[2];
    uint64_t wide;
    float sum;
    memcpy(&counter[0], memory, 4);
    memcpy(&counter[1], memory + 8, 4);
    memcpy(&sum, memory + 16, 4);
    memcpy(&wide, memory + 24, 8);
    cr_assert_eq(counter[0], THREADS * TIMES * 32);
    cr_assert_eq(counter[1], THREADS * TIMES * 32);
    cr_assert_eq(wide, THREADS * TIMES * 64);
    cr_assert_eq(sum, (float)(THREADS * TIMES * 64));
}

/* LDS obeys MODE's denormal bits; flushing is refused, not guessed. Global memory keeps denormals always. */
Test(emu_atomic, denormals) {
    bed_begin(&bed);
    for (unsigned lane = 0; lane < EMU_LANES; lane++) {
        bed.v[0][4][lane] = 4 * lane;
        bed.v[0][8][lane] = 3;
        bed_address(&bed, 2, lane, bed.memory + 4 * lane);
    }
    memset(bed.lds, 0, 256);
    memset(bed.memory, 0, 256);
    bed_ok(&bed, "ds_add_f32 v4, v8");
    cr_assert_eq(bed.lds[0], 3);
    bed.wave[0].mode &= ~0x30u;
    bed_faults(&bed, "ds_add_f32 v4, v8", EMU_UNIMPLEMENTED, "flushes denormals");
    bed_ok(&bed, "ds_add_u32 v4, v8");
    bed_ok(&bed, "global_atomic_add_f32 v[2:3], v8, off");
    cr_assert_eq(bed.memory[0], 3);
}
