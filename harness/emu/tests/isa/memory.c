/* SPDX-License-Identifier: Apache-2.0 */
#include "memory.h"
#include "number.h"

#include <string.h>

/* Registers of the programs: v2 offset, v[4:7] data, v[8:11] second data, v[12:15] destination, v[16:19] and [20:23]
 * what scratch holds before, v[24:31] after. */
enum { OFFSET = 2, DATA = 4, DATA2 = 8, TO = 12, BEFORE = 16, AFTER = 24, MAX_ROWS = 512 };
enum { IMMEDIATE = 8, FIRST = 3, SECOND = 2 };

static struct isa_memory_row rows[MAX_ROWS];
static size_t n_rows;

static struct isa_memory_row *add(const char *prefix, const char *name, enum isa_space space,
                                  enum isa_access access, unsigned bytes) {
    struct isa_memory_row *const row = &rows[n_rows++];
    *row = (struct isa_memory_row){.space = space, .access = access, .bytes = bytes};
    snprintf(row->name, sizeof row->name, "%s_%s", prefix, name);
    return row;
}

static void add_moves(const char *prefix, enum isa_space space) {
    static const struct {
        const char *name;
        unsigned bytes;
        bool sign;
        int d16;
    } loads[] =
        {
            {"load_ubyte",        1,  0, 0},
            {"load_sbyte",        1,  1, 0},
            {"load_ushort",       2,  0, 0},
            {"load_sshort",       2,  1, 0},
            {"load_dword",        4,  0, 0},
            {"load_dwordx2",      8,  0, 0},
            {"load_dwordx3",      12, 0, 0},
            {"load_dwordx4",      16, 0, 0},
            {"load_ubyte_d16",    1,  0, 1},
            {"load_ubyte_d16_hi", 1,  0, 2},
            {"load_sbyte_d16",    1,  1, 1},
            {"load_sbyte_d16_hi", 1,  1, 2},
            {"load_short_d16",    2,  0, 1},
            {"load_short_d16_hi", 2,  0, 2}
    },
      stores[] = {{"store_byte", 1, 0, 0},        {"store_short", 2, 0, 0},
                  {"store_dword", 4, 0, 0},       {"store_dwordx2", 8, 0, 0},
                  {"store_dwordx3", 12, 0, 0},    {"store_dwordx4", 16, 0, 0},
                  {"store_byte_d16_hi", 1, 0, 2}, {"store_short_d16_hi", 2, 0, 2}};
    for (size_t i = 0; i < sizeof loads / sizeof *loads; i++) {
        struct isa_memory_row *const row = add(prefix, loads[i].name, space, LOAD, loads[i].bytes);
        row->sign = loads[i].sign;
        row->d16 = loads[i].d16;
    }
    for (size_t i = 0; i < sizeof stores / sizeof *stores; i++)
        add(prefix, stores[i].name, space, STORE, stores[i].bytes)->d16 = stores[i].d16;
}

static void add_lds_moves(void) {
    static const struct {
        const char *name;
        unsigned bytes;
        bool sign;
        int d16;
    } loads[] =
        {
            {"read_u8",         1,  0, 0},
            {"read_i8",         1,  1, 0},
            {"read_u16",        2,  0, 0},
            {"read_i16",        2,  1, 0},
            {"read_b32",        4,  0, 0},
            {"read_b64",        8,  0, 0},
            {"read_b96",        12, 0, 0},
            {"read_b128",       16, 0, 0},
            {"read_u8_d16",     1,  0, 1},
            {"read_i8_d16",     1,  1, 1},
            {"read_u8_d16_hi",  1,  0, 2},
            {"read_i8_d16_hi",  1,  1, 2},
            {"read_u16_d16",    2,  0, 1},
            {"read_u16_d16_hi", 2,  0, 2}
    },
      stores[] = {{"write_b8", 1, 0, 0},        {"write_b16", 2, 0, 0},
                  {"write_b32", 4, 0, 0},       {"write_b64", 8, 0, 0},
                  {"write_b96", 12, 0, 0},      {"write_b128", 16, 0, 0},
                  {"write_b8_d16_hi", 1, 0, 2}, {"write_b16_d16_hi", 2, 0, 2}};
    static const struct {
        const char *name;
        enum isa_access access;
        unsigned bytes, stride;
    } pairs[] = {
        {"read2_b32",      LOAD2,  4, 4  },
        {"read2_b64",      LOAD2,  8, 8  },
        {"read2st64_b32",  LOAD2,  4, 256},
        {"read2st64_b64",  LOAD2,  8, 512},
        {"write2_b32",     STORE2, 4, 4  },
        {"write2_b64",     STORE2, 8, 8  },
        {"write2st64_b32", STORE2, 4, 256},
        {"write2st64_b64", STORE2, 8, 512}
    };
    for (size_t i = 0; i < sizeof loads / sizeof *loads; i++) {
        struct isa_memory_row *const row = add("ds", loads[i].name, LDS, LOAD, loads[i].bytes);
        row->sign = loads[i].sign;
        row->d16 = loads[i].d16;
    }
    for (size_t i = 0; i < sizeof stores / sizeof *stores; i++)
        add("ds", stores[i].name, LDS, STORE, stores[i].bytes)->d16 = stores[i].d16;
    for (size_t i = 0; i < sizeof pairs / sizeof *pairs; i++)
        add("ds", pairs[i].name, LDS, pairs[i].access, pairs[i].bytes)->stride = pairs[i].stride;
}

static void add_atomic(const char *prefix, const char *name, enum isa_space space, unsigned bytes,
                       enum isa_atomic operation, bool returns) {
    struct isa_memory_row *const row = add(prefix, name, space, ATOMIC, bytes);
    row->operation = operation;
    row->returns = returns;
}

static void add_lds_atomics(void) {
    static const struct {
        const char *name, *type;
        enum isa_atomic operation;
        bool only_returning;
    } list[] = {
        {"add",    "u", A_ADD,     0},
        {"sub",    "u", A_SUB,     0},
        {"rsub",   "u", A_RSUB,    0},
        {"inc",    "u", A_INC,     0},
        {"dec",    "u", A_DEC,     0},
        {"min",    "i", A_SMIN,    0},
        {"min",    "u", A_UMIN,    0},
        {"max",    "i", A_SMAX,    0},
        {"max",    "u", A_UMAX,    0},
        {"and",    "b", A_AND,     0},
        {"or",     "b", A_OR,      0},
        {"xor",    "b", A_XOR,     0},
        {"mskor",  "b", A_MSKOR,   0},
        {"cmpst",  "b", A_CMPSWAP, 0},
        {"wrxchg", "b", A_SWAP,    1},
        {"add",    "f", A_FADD,    0},
        {"min",    "f", A_FMIN,    0},
        {"max",    "f", A_FMAX,    0}
    };
    char name[32];
    for (size_t i = 0; i < sizeof list / sizeof *list; i++)
        for (unsigned bits = 32; bits <= 64; bits += 32)
            for (unsigned returns = list[i].only_returning; returns < 2; returns++) {
                snprintf(name, sizeof name, "%s%s_%s%u", list[i].name, returns ? "_rtn" : "",
                         list[i].type, bits);
                add_atomic("ds", name, LDS, bits / 8, list[i].operation, returns);
            }
    add_atomic("ds", "wrap_rtn_b32", LDS, 4, A_WRAP, true);
    add_atomic("ds", "pk_add_f16", LDS, 4, A_PK_F16, false);
    add_atomic("ds", "pk_add_rtn_f16", LDS, 4, A_PK_F16, true);
    add_atomic("ds", "pk_add_bf16", LDS, 4, A_PK_BF16, false);
    add_atomic("ds", "pk_add_rtn_bf16", LDS, 4, A_PK_BF16, true);
}

static void add_memory_atomics(const char *prefix, enum isa_space space) {
    static const struct {
        const char *name;
        enum isa_atomic operation;
    } list[] = {
        {"atomic_add",     A_ADD    },
        {"atomic_sub",     A_SUB    },
        {"atomic_smin",    A_SMIN   },
        {"atomic_umin",    A_UMIN   },
        {"atomic_smax",    A_SMAX   },
        {"atomic_umax",    A_UMAX   },
        {"atomic_and",     A_AND    },
        {"atomic_or",      A_OR     },
        {"atomic_xor",     A_XOR    },
        {"atomic_inc",     A_INC    },
        {"atomic_dec",     A_DEC    },
        {"atomic_swap",    A_SWAP   },
        {"atomic_cmpswap", A_CMPSWAP}
    };
    char name[32];
    for (size_t i = 0; i < sizeof list / sizeof *list; i++)
        for (unsigned wide = 0; wide < 2; wide++)
            for (unsigned returns = 0; returns < 2; returns++) {
                snprintf(name, sizeof name, "%s%s", list[i].name, wide ? "_x2" : "");
                add_atomic(prefix, name, space, wide ? 8 : 4, list[i].operation, returns);
            }
    for (unsigned returns = 0; returns < 2; returns++) {
        add_atomic(prefix, "atomic_add_f32", space, 4, A_FADD, returns);
        add_atomic(prefix, "atomic_add_f64", space, 8, A_FADD, returns);
        add_atomic(prefix, "atomic_min_f64", space, 8, A_FMIN, returns);
        add_atomic(prefix, "atomic_max_f64", space, 8, A_FMAX, returns);
        add_atomic(prefix, "atomic_pk_add_f16", space, 4, A_PK_F16, returns);
        if (space != BUFFER) add_atomic(prefix, "atomic_pk_add_bf16", space, 4, A_PK_BF16, returns);
    }
}

size_t isa_memory_rows(const struct isa_memory_row **list) {
    if (n_rows == 0) {
        add_lds_moves();
        add_lds_atomics();
        add_moves("global", GLOBAL);
        add_moves("flat", FLAT);
        add_moves("scratch", SCRATCH);
        add_moves("buffer", BUFFER);
        add_memory_atomics("global", GLOBAL);
        add_memory_atomics("flat", FLAT);
        add_memory_atomics("buffer", BUFFER);
    }
    *list = rows;
    return n_rows;
}

/* ---- what they do ---- */

static uint32_t add_bf16(uint32_t a, uint32_t b) {
    const uint64_t sum = isa_compute(ADD, F64, 0x3f0, isa_convert(F64, F32, 0x3f0, 0, a << 16),
                                     isa_convert(F64, F32, 0x3f0, 0, b << 16), 0);
    /* A sum of two bf16 is exact in double unless its exponents are far apart; round to odd there, then to bf16. */
    const uint64_t zero = isa_compute(ADD, F64, 0x3fc, isa_convert(F64, F32, 0x3f0, 0, a << 16),
                                      isa_convert(F64, F32, 0x3f0, 0, b << 16), 0);
    const uint64_t odd = sum == zero ? sum : zero | 1;
    uint32_t single = (uint32_t)isa_convert(F32, F64, 0x3f0, 3, odd);
    if (isa_convert(F64, F32, 0x3f0, 0, single) != odd) single |= 1;
    return (single + 0x7fff + (single >> 16 & 1)) >> 16;
}

static uint64_t packed_sum(uint32_t a, uint32_t b, bool bf16) {
    uint32_t result = 0;
    for (unsigned shift = 0; shift < 32; shift += 16) {
        const uint32_t x = a >> shift & 0xffff, y = b >> shift & 0xffff;
        const uint32_t sum =
            bf16 ? add_bf16(x, y) : (uint32_t)isa_compute(ADD, F16, 0x3f0, x, y, 0);
        result |= (sum & 0xffff) << shift;
    }
    return result;
}

static int64_t as_signed(uint64_t value, unsigned bytes) {
    return bytes == 8 ? (int64_t)value : (int64_t)(int32_t)(uint32_t)value;
}

static uint64_t modified(const struct isa_memory_row *row, uint64_t old, uint64_t x, uint64_t y) {
    const int64_t a = as_signed(old, row->bytes), b = as_signed(x, row->bytes);
    const enum isa_type type = row->bytes == 8 ? F64 : F32;
    switch (row->operation) {
    case A_ADD: return old + x;
    case A_SUB: return old - x;
    case A_RSUB: return x - old;
    case A_INC: return old >= x ? 0 : old + 1;
    case A_DEC: return old == 0 || old > x ? x : old - 1;
    case A_SMIN: return a < b ? old : x;
    case A_UMIN: return old < x ? old : x;
    case A_SMAX: return a > b ? old : x;
    case A_UMAX: return old > x ? old : x;
    case A_AND: return old & x;
    case A_OR: return old | x;
    case A_XOR: return old ^ x;
    case A_SWAP: return x;
    case A_CMPSWAP: return old == x ? y : old;
    case A_MSKOR: return (old & ~x) | y;
    case A_WRAP: return old >= x ? old - x : old + y;
    case A_FADD: return isa_compute(ADD, type, 0x3f0, old, x, 0);
    case A_FMIN: return isa_minimum(type, 0x3f0, old, x);
    case A_FMAX: return isa_maximum(type, 0x3f0, old, x);
    case A_PK_F16: return packed_sum((uint32_t)old, (uint32_t)x, false);
    case A_PK_BF16: break;
    }
    return packed_sum((uint32_t)old, (uint32_t)x, true);
}

static uint64_t bytes_at(const uint8_t *at, unsigned bytes) {
    uint64_t value = 0;
    memcpy(&value, at, bytes);
    return value;
}

static uint64_t pair(const struct isa_state *s, unsigned reg, unsigned lane, unsigned bytes) {
    return s->v[reg][lane] | (bytes == 8 ? (uint64_t)s->v[reg + 1][lane] << 32 : 0);
}

static void put(struct isa_state *s, unsigned reg, unsigned lane, uint64_t value, unsigned bytes) {
    s->v[reg][lane] = (uint32_t)value;
    if (bytes == 8) s->v[reg + 1][lane] = (uint32_t)(value >> 32);
}

static void load(struct isa_state *s, const struct isa_memory_row *row, const uint8_t *at,
                 unsigned lane) {
    for (unsigned word = 0; word < row->bytes / 4; word++)
        s->v[TO + word][lane] = (uint32_t)bytes_at(at + 4 * word, 4);
    if (row->bytes >= 4) return;
    uint32_t value = (uint32_t)bytes_at(at, row->bytes);
    const uint32_t top = 1u << (8 * row->bytes - 1);
    if (row->sign) value = (value ^ top) - top;
    uint32_t *const to = &s->v[TO][lane];
    if (row->d16 == 1) value = (*to & 0xffff0000) | (value & 0xffff);
    if (row->d16 == 2) value = (*to & 0xffff) | value << 16;
    *to = value;
}

static void atomic(struct isa_state *s, const struct isa_memory_row *row, uint8_t *at,
                   unsigned lane) {
    const uint64_t old = bytes_at(at, row->bytes);
    uint64_t x = pair(s, DATA, lane, row->bytes), y = pair(s, DATA2, lane, row->bytes);
    if (row->operation == A_CMPSWAP && row->space != LDS) { /* new value, then the one compared */
        y = x;
        x = pair(s, DATA + row->bytes / 4, lane, row->bytes);
    }
    const uint64_t new = modified(row, old, x, y);
    memcpy(at, &new, row->bytes);
    if (row->returns) put(s, row->space == BUFFER ? DATA : TO, lane, old, row->bytes);
}

static void two(struct isa_state *s, const struct isa_memory_row *row, uint8_t *base,
                unsigned lane) {
    uint8_t *const first = base + (row->stride > 8 ? 0 : FIRST) * row->stride;
    uint8_t *const second = base + (row->stride > 8 ? 1 : SECOND) * row->stride;
    const unsigned words = row->bytes / 4;
    if (row->access == STORE2) {
        for (unsigned w = 0; w < words; w++) memcpy(first + 4 * w, &s->v[DATA + w][lane], 4);
        for (unsigned w = 0; w < words; w++) memcpy(second + 4 * w, &s->v[DATA2 + w][lane], 4);
        return;
    }
    put(s, TO, lane, bytes_at(first, row->bytes), row->bytes);
    put(s, TO + words, lane, bytes_at(second, row->bytes), row->bytes);
}

/* What a comparison with NaN leaves in memory is not said. */
static uint64_t ordered(const struct isa_memory_row *row, uint64_t value) {
    const enum isa_type type = row->bytes == 8 ? F64 : F32;
    const bool compares = row->operation == A_FMIN || row->operation == A_FMAX;
    return compares && isa_nan(type, value)
               ? value & ~(isa_quiet(type, 0) | 1) & UINT64_C(0x3fffffff3fffffff)
               : value;
}

static void access_at(struct isa_state *s, const struct isa_memory_row *row, uint8_t *at,
                      unsigned lane) {
    if (row->access == LOAD)
        load(s, row, at, lane);
    else if (row->access == ATOMIC)
        atomic(s, row, at, lane);
    else if (row->access == STORE)
        for (unsigned byte = 0; byte < row->bytes; byte++)
            at[byte] = (uint8_t)(s->v[DATA + byte / 4][lane] >>
                                 (8 * (byte % 4) + (row->d16 == 2 ? 16 : 0)));
    else
        two(s, row, at - IMMEDIATE, lane);
}

static void model(struct isa_state *s, const void *argument) {
    const struct isa_memory_row *const row = argument;
    const uint64_t exec = (uint64_t)s->s[ISA_EXEC + 1] << 32 | s->s[ISA_EXEC];
    for (unsigned lane = 0; lane < ISA_LANES; lane++) {
        if ((exec >> lane & 1) == 0) continue;
        if (row->space != SCRATCH) {
            /* A buffer of half the size: what lies beyond reads as zero and takes no stores. */
            uint8_t nothing[16] = {0};
            const bool beyond =
                row->space == BUFFER && s->v[OFFSET][lane] + IMMEDIATE >= ISA_MEMORY_BYTES / 2;
            access_at(s, row, beyond ? nothing : s->memory + s->v[OFFSET][lane] + IMMEDIATE, lane);
            continue;
        }
        uint8_t own[32];
        for (unsigned word = 0; word < 8; word++)
            memcpy(own + 4 * word, &s->v[BEFORE + word][lane], 4);
        access_at(s, row, own + IMMEDIATE, lane);
        for (unsigned word = 0; word < 8; word++)
            memcpy(&s->v[AFTER + word][lane], own + 4 * word, 4);
    }
}

/* ---- programs ---- */

/* Distinct places of 16 bytes with room behind; two-address forms reach up to 520 bytes further. */
static void fill(struct isa_state *s, const struct isa_program *p, unsigned wave) {
    const struct isa_memory_row *const row = p->argument;
    static const struct isa_row none = {
        "", VOP2, 0, I32, {NONE, NONE, NONE},
            NULL
    };
    struct isa_program any = {.default_mode = true};
    any.list[0].row = &none;
    isa_fill(s, &any, wave);
    const bool far = row->stride > 8;
    const uint32_t room = far ? ISA_MEMORY_BYTES - row->stride - 8 : ISA_MEMORY_BYTES - 64;
    const bool floats = row->access == ATOMIC && row->operation >= A_FADD;
    for (unsigned at = 0; at < ISA_MEMORY_BYTES / 8; at++) {
        uint64_t value = isa_value(I64, 71, wave * 128u + at);
        if (floats)
            value = row->bytes == 8 ? isa_value(F64, 72, wave * 128u + at)
                                    : (uint32_t)isa_value(F32, 73, wave * 128u + at) |
                                          isa_value(F32, 74, wave * 128u + at) << 32;
        if (floats && row->bytes == 8) value = ordered(row, value);
        if (floats && row->bytes == 4)
            value = ordered(row, (uint32_t)value) | ordered(row, value >> 32) << 32;
        memcpy(s->memory + 8 * at, &value, 8);
    }
    for (unsigned lane = 0; lane < ISA_LANES; lane++) {
        const uint32_t place = (lane * 29 + wave) % 64;
        uint32_t offset = place * 16;
        if (row->access == LOAD || row->access == LOAD2)
            offset = (uint32_t)isa_random(75, wave * 64u + lane);
        /* Two lanes never write the same byte: places beyond the room are switched off. */
        const bool store = row->access != LOAD && row->access != LOAD2;
        const unsigned align = row->bytes >= 12 ? 16 : row->bytes;
        if (store && far) offset = place * row->bytes;
        if (store && (row->space == BUFFER ? place * 32 : offset) >= room)
            s->s[ISA_EXEC + lane / 32] &= ~(1u << lane % 32);
        s->v[OFFSET][lane] = offset % room / align * align;
        if (row->space == BUFFER && !store) s->v[OFFSET][lane] &= ~31u;
        if (row->space == BUFFER && store)
            s->v[OFFSET][lane] = place * 32; /* nothing straddles the end */
        for (unsigned reg = DATA; floats && reg < DATA + 4; reg += row->bytes / 4) {
            const uint64_t value =
                isa_value(row->bytes == 8 ? F64 : F32, 80 + reg, wave * 64u + lane);
            put(s, reg, lane, ordered(row, value), row->bytes);
        }
        if (row->operation == A_CMPSWAP && row->access == ATOMIC &&
            (lane & 1) == 0) { /* half of them equal */
            const unsigned reg = row->space == LDS ? DATA : DATA + row->bytes / 4;
            put(s, reg, lane, bytes_at(s->memory + s->v[OFFSET][lane] + IMMEDIATE, row->bytes),
                row->bytes);
        }
    }
}

static void registers(char text[32], unsigned reg, unsigned bytes) {
    if (bytes <= 4)
        snprintf(text, 32, "v%u", reg);
    else
        snprintf(text, 32, "v[%u:%u]", reg, reg + (bytes + 3) / 4 - 1);
}

static void instruction(char *text, size_t size, const struct isa_memory_row *row) {
    char to[32], data[32], data2[32], address[64], tail[64];
    const bool atomics = row->access == ATOMIC, lds = row->space == LDS;
    const unsigned loaded = row->access == LOAD2 ? 2 * row->bytes : row->bytes;
    const unsigned stored =
        atomics && row->operation == A_CMPSWAP && !lds ? 2 * row->bytes : row->bytes;
    registers(to, TO, loaded);
    registers(data, DATA, stored);
    registers(data2, DATA2, row->bytes);
    const bool gives = row->access == LOAD || row->access == LOAD2 || (atomics && row->returns);
    const bool takes = row->access == STORE || row->access == STORE2 || atomics;
    const bool second =
        row->access == STORE2 ||
        (lds && atomics &&
         (row->operation == A_CMPSWAP || row->operation == A_MSKOR || row->operation == A_WRAP));
    static const char *const addresses[] = {"v2", "v2", "v[62:63]", "off", ""};
    static const char *const tails[] = {"", ", s[14:15]", "", ", off", ", v2, s[48:51], 0 offen"};
    snprintf(address, sizeof address, "%s", addresses[row->space]);
    snprintf(tail, sizeof tail, "%s offset:%d%s", tails[row->space], IMMEDIATE,
             atomics && gives && !lds ? " sc0" : "");
    if (row->stride != 0)
        snprintf(tail, sizeof tail, " offset0:%d offset1:%d", row->stride > 8 ? 0 : FIRST,
                 row->stride > 8 ? 1 : SECOND);
    const bool buffer = row->space == BUFFER;
    const char *const moved = buffer && takes ? data : to;
    if (buffer) /* an atomic's data register is its destination too */
        snprintf(text, size, "\t%s %s%s\n", row->name, moved, tail);
    else
        snprintf(text, size, "\t%s %s%s%s%s%s%s%s%s\n", row->name, gives ? to : "",
                 gives ? ", " : "", address, takes ? ", " : "", takes ? data : "",
                 second ? ", " : "", second ? data2 : "", tail);
}

void isa_build_memory(struct isa_program *p, const struct isa_memory_row *row) {
    static const char *const before[] = {
        "\ts_mov_b64 s[52:53], exec\n\ts_mov_b64 exec, -1\n\tv_lshlrev_b32_e32 v62, 2, v0\n"
        "\tglobal_load_dwordx4 v[64:67], v62, s[14:15]\n\ts_waitcnt vmcnt(0)\n\tds_write_b128 v62, "
        "v[64:67]\n"
        "\ts_waitcnt lgkmcnt(0)\n\ts_mov_b64 exec, s[52:53]\n",
        "",
        "\ts_mov_b64 s[52:53], exec\n\ts_mov_b64 exec, -1\n\tv_mov_b32_e32 v63, "
        "s15\n\tv_add_co_u32_e64 v62, s[54:55], s14, v2\n"
        "\tv_addc_co_u32_e64 v63, s[54:55], 0, v63, s[54:55]\n\ts_mov_b64 exec, s[52:53]\n",
        "\tscratch_store_dwordx4 off, v[16:19], off\n\tscratch_store_dwordx4 off, v[20:23], off "
        "offset:16\n"
        "\ts_waitcnt vmcnt(0)\n",
        "\ts_mov_b32 s48, s14\n\ts_mov_b32 s49, s15\n\ts_movk_i32 s50, 0x200\n\ts_mov_b32 "
        "s51, 0x00027000\n"};
    static const char *const after[] = {
        "\ts_waitcnt lgkmcnt(0)\n\ts_mov_b64 s[52:53], exec\n\ts_mov_b64 exec, -1\n\tds_read_b128 "
        "v[64:67], v62\n"
        "\ts_waitcnt lgkmcnt(0)\n\tglobal_store_dwordx4 v62, v[64:67], s[14:15]\n\ts_mov_b64 exec, "
        "s[52:53]\n",
        "", "",
        "\ts_waitcnt vmcnt(0)\n\tscratch_load_dwordx4 v[24:27], off, off\n\tscratch_load_dwordx4 "
        "v[28:31], off, off offset:16\n",
        ""};
    char text[512];
    memset(p, 0, sizeof *p);
    instruction(text, sizeof text, row);
    snprintf(p->name, sizeof p->name, "%s", row->name);
    snprintf(p->text, sizeof p->text, "%.900s%s%.500s", before[row->space], text,
             after[row->space]);
    p->model = model;
    p->argument = row;
    p->fill = fill;
    p->waves = 12;
    p->default_mode = true;
}
