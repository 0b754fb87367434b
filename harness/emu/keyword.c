/* SPDX-License-Identifier: Apache-2.0 */
/* Immediates that the disassembler spells out: hwreg(), sendmsg(), gpr_idx(), swizzle(), format:[], wait counters. */
#include "parse.h"
#include "wave.h"

struct word {
    const char *name;
    uint32_t value;
};

static bool look_up(const struct word *words, size_t n, struct emu_piece p, uint32_t *value) {
    for (size_t i = 0; i < n; i++) {
        if (!emu_is(p, words[i].name)) continue;
        *value = words[i].value;
        return true;
    }
    return false;
}
#define LOOK_UP(words, piece, value) look_up(words, sizeof(words) / sizeof *(words), piece, value)

/* Splits "a, b, c"; returns how many there are, 0 if there are too many. */
static size_t split(struct emu_piece p, struct emu_piece *parts, size_t most) {
    size_t n = 0;
    for (const char *at = p.at; at <= p.end; n++) {
        if (n == most) return 0;
        const char *comma = memchr(at, ',', (size_t)(p.end - at));
        if (comma == NULL) comma = p.end;
        parts[n] = (struct emu_piece){at, comma};
        while (parts[n].at < comma && *parts[n].at == ' ') parts[n].at++;
        at = comma + 1;
    }
    return n;
}

static bool small(struct emu_piece p, int64_t limit, uint32_t *value) {
    int64_t n;
    if (!emu_integer(p, &n) || n < 0 || n >= limit) return false;
    *value = (uint32_t)n;
    return true;
}

static const struct word hardware_registers[] = {
    {"HW_REG_MODE",                   1 },
    {"HW_REG_STATUS",                 2 },
    {"HW_REG_TRAPSTS",                3 },
    {"HW_REG_HW_ID",                  4 },
    {"HW_REG_GPR_ALLOC",              5 },
    {"HW_REG_LDS_ALLOC",              6 },
    {"HW_REG_IB_STS",                 7 },
    {"HW_REG_SH_MEM_BASES",           15},
    {"HW_REG_TBA_LO",                 16},
    {"HW_REG_TBA_HI",                 17},
    {"HW_REG_TMA_LO",                 18},
    {"HW_REG_TMA_HI",                 19},
    {"HW_REG_XCC_ID",                 20},
    {"HW_REG_SQ_PERF_SNAPSHOT_DATA",  21},
    {"HW_REG_SQ_PERF_SNAPSHOT_DATA1", 22},
    {"HW_REG_SQ_PERF_SNAPSHOT_PC_LO", 23},
    {"HW_REG_SQ_PERF_SNAPSHOT_PC_HI", 24},
};

/* Register, first bit, width: bits 0, 6 and 11 on. */
static bool parse_hwreg(struct emu_piece p, uint32_t *immediate) {
    struct emu_piece parts[3];
    uint32_t reg, offset = 0, width = 32;
    const size_t n = split(p, parts, 3);
    if (n != 1 && n != 3) return false;
    if (!LOOK_UP(hardware_registers, parts[0], &reg) && !small(parts[0], 64, &reg)) return false;
    if (n == 3 && (!small(parts[1], 32, &offset) || !small(parts[2], 33, &width) || width == 0))
        return false;
    *immediate = reg | offset << 6 | (width - 1) << 11;
    return true;
}

static const struct word messages[] = {
    {"MSG_INTERRUPT",          1 },
    {"MSG_GS",                 2 },
    {"MSG_GS_DONE",            3 },
    {"MSG_SAVEWAVE",           4 },
    {"MSG_STALL_WAVE_GEN",     5 },
    {"MSG_HALT_WAVES",         6 },
    {"MSG_ORDERED_PS_DONE",    7 },
    {"MSG_EARLY_PRIM_DEALLOC", 8 },
    {"MSG_GS_ALLOC_REQ",       9 },
    {"MSG_GET_DOORBELL",       10},
    {"MSG_GET_DDID",           11},
    {"MSG_SYSMSG",             15},
};

static const struct word operations[] = {
    {"GS_OP_NOP",                   0},
    {"GS_OP_CUT",                   1},
    {"GS_OP_EMIT",                  2},
    {"GS_OP_EMIT_CUT",              3},
    {"SYSMSG_OP_ECC_ERR_INTERRUPT", 1},
    {"SYSMSG_OP_REG_RD",            2},
    {"SYSMSG_OP_HOST_TRAP_ACK",     3},
    {"SYSMSG_OP_TTRACE_PC",         4},
};

/* Message, operation, stream: bits 0, 4 and 8 on. */
static bool parse_message(struct emu_piece p, uint32_t *immediate) {
    struct emu_piece parts[3];
    uint32_t message, operation = 0, stream = 0;
    const size_t n = split(p, parts, 3);
    if (n == 0) return false;
    if (!LOOK_UP(messages, parts[0], &message) && !small(parts[0], 16, &message)) return false;
    if (n > 1 && !LOOK_UP(operations, parts[1], &operation) && !small(parts[1], 8, &operation))
        return false;
    if (n > 2 && !small(parts[2], 4, &stream)) return false;
    *immediate = message | operation << 4 | stream << 8;
    return true;
}

static bool parse_gpr_index(struct emu_piece p, uint32_t *immediate) {
    static const struct word kinds[] = {
        {"SRC0", 1},
        {"SRC1", 2},
        {"SRC2", 4},
        {"DST",  8},
    };
    struct emu_piece parts[4];
    *immediate = 0;
    if (p.at == p.end) return true;
    const size_t n = split(p, parts, 4);
    for (size_t i = 0; i < n; i++) {
        uint32_t bit;
        if (!LOOK_UP(kinds, parts[i], &bit)) return false;
        *immediate |= bit;
    }
    return n > 0;
}

bool emu_keyword_parse(struct emu_piece p, uint32_t *immediate) {
    if (p.end == p.at || p.end[-1] != ')') return false;
    p.end--;
    if (emu_take(&p, "hwreg(")) return parse_hwreg(p, immediate);
    if (emu_take(&p, "sendmsg(")) return parse_message(p, immediate);
    return emu_take(&p, "gpr_idx(") && parse_gpr_index(p, immediate);
}

/* BITMASK_PERM: for each of five bits, from the highest, 0, 1, p (keep) or i (invert): and, or, xor masks. */
static bool bit_mask(struct emu_piece p, uint32_t *immediate) {
    uint32_t and_mask = 0, or_mask = 0, xor_mask = 0;
    if (p.end - p.at != 7 || p.at[0] != '"' || p.at[6] != '"') return false;
    for (unsigned bit = 0; bit < 5; bit++) {
        const char c = p.at[5 - bit];
        if (c == '1') or_mask |= 1u << bit;
        if (c == 'p' || c == 'i') and_mask |= 1u << bit;
        if (c == 'i') xor_mask |= 1u << bit;
        if (strchr("01pi", c) == NULL || c == '\0') return false;
    }
    *immediate = and_mask | or_mask << 5 | xor_mask << 10;
    return true;
}

static bool power_of_two(uint32_t n) { return n > 0 && (n & (n - 1)) == 0; }

bool emu_swizzle_parse(struct emu_piece p, uint32_t *immediate) {
    struct emu_piece parts[5];
    uint32_t n[4] = {0};
    if (p.end == p.at || p.end[-1] != ')' || !emu_take(&p, "swizzle(")) return false;
    p.end--;
    const size_t count = split(p, parts, 5);
    if (count == 2 && emu_is(parts[0], "BITMASK_PERM")) return bit_mask(parts[1], immediate);
    for (size_t i = 1; i < count; i++)
        if (!small(parts[i], 33, &n[i - 1])) return false;
    if (count == 5 && emu_is(parts[0], "QUAD_PERM")) {
        if ((n[0] | n[1] | n[2] | n[3]) > 3) return false;
        *immediate = 0x8000 | n[0] | n[1] << 2 | n[2] << 4 | n[3] << 6;
    } else if (count == 2 && emu_is(parts[0], "SWAP") && power_of_two(n[0]) && n[0] < 32) {
        *immediate = 31 | n[0] << 10;
    } else if (count == 2 && emu_is(parts[0], "REVERSE") && power_of_two(n[0])) {
        *immediate = 31 | (n[0] - 1) << 10;
    } else if (count == 3 && emu_is(parts[0], "BROADCAST") && power_of_two(n[0]) && n[1] < n[0]) {
        *immediate = (32 - n[0]) | n[1] << 5;
    } else {
        return false;
    }
    return true;
}

static const struct word data_formats[] = {
    {"BUF_DATA_FORMAT_INVALID",     0 },
    {"BUF_DATA_FORMAT_8",           1 },
    {"BUF_DATA_FORMAT_16",          2 },
    {"BUF_DATA_FORMAT_8_8",         3 },
    {"BUF_DATA_FORMAT_32",          4 },
    {"BUF_DATA_FORMAT_16_16",       5 },
    {"BUF_DATA_FORMAT_10_11_11",    6 },
    {"BUF_DATA_FORMAT_11_11_10",    7 },
    {"BUF_DATA_FORMAT_10_10_10_2",  8 },
    {"BUF_DATA_FORMAT_2_10_10_10",  9 },
    {"BUF_DATA_FORMAT_8_8_8_8",     10},
    {"BUF_DATA_FORMAT_32_32",       11},
    {"BUF_DATA_FORMAT_16_16_16_16", 12},
    {"BUF_DATA_FORMAT_32_32_32",    13},
    {"BUF_DATA_FORMAT_32_32_32_32", 14},
    {"BUF_DATA_FORMAT_RESERVED_15", 15},
};

static const struct word number_formats[] = {
    {"BUF_NUM_FORMAT_UNORM",      0},
    {"BUF_NUM_FORMAT_SNORM",      1},
    {"BUF_NUM_FORMAT_USCALED",    2},
    {"BUF_NUM_FORMAT_SSCALED",    3},
    {"BUF_NUM_FORMAT_UINT",       4},
    {"BUF_NUM_FORMAT_SINT",       5},
    {"BUF_NUM_FORMAT_RESERVED_6", 6},
    {"BUF_NUM_FORMAT_FLOAT",      7},
};

bool emu_format_parse(struct emu_piece p, uint32_t *immediate) {
    struct emu_piece parts[2];
    uint32_t data = 1, numbers = 0;
    if (p.end == p.at || p.end[-1] != ']' || !emu_take(&p, "[")) return false;
    p.end--;
    const size_t n = split(p, parts, 2);
    for (size_t i = 0; i < n; i++)
        if (!LOOK_UP(data_formats, parts[i], &data) && !LOOK_UP(number_formats, parts[i], &numbers))
            return false;
    *immediate = data | numbers << 4;
    return n > 0;
}

bool emu_counter_parse(struct emu_piece p, uint32_t *immediate) {
    uint32_t n;
    if (p.end == p.at || p.end[-1] != ')') return false;
    p.end--;
    if (emu_take(&p, "vmcnt(") && small(p, 64, &n)) {
        *immediate = (*immediate & ~0xC00Fu) | (n & 15) | n >> 4 << 14;
        return true;
    }
    if (emu_take(&p, "expcnt(") && small(p, 8, &n)) {
        *immediate = (*immediate & ~0x70u) | n << 4;
        return true;
    }
    if (emu_take(&p, "lgkmcnt(") && small(p, 16, &n)) {
        *immediate = (*immediate & ~0xF00u) | n << 8;
        return true;
    }
    return false;
}
