/* SPDX-License-Identifier: Apache-2.0 */
/*
 * rope_inverse_quant: a team per head, two vectors of eight channels per lane: lane t has channels 8t.. and 256 + 8t...
 * GROUP, 128 channels under a scale, is half a team's, 32 is four lanes'. A block takes eight neighbouring heads of a
 * token, which lie side by side.
 */
#include "rope_back.inl"

struct quant_args {
    const char *o, *table;
    char *codes, *scales;
    struct rope_positions positions;
    int64_t o_token, o_head, table_row, tokens, padded;
    int64_t code_group, code_token, scale_group, scale_row; /* bytes; scale_row: of one k */
    struct gpu_divisor tiles, per; /* blocks of a token; heads of a group of codes */
    int heads, rounded;
};

GPU_DEVICE float quant_amax(const float *x) {
    float amax = 0.0f;
    GPU_UNROLL for (int i = 0; i < 8; i++) amax =
        gpu_max(amax, gpu_float(gpu_bits(x[i]) & 0x7FFFFFFFu));
    return amax;
}

/* Exponent byte of this lane's group. */
template <bool MX, int GROUP> GPU_DEVICE uint32_t quant_byte(float amax) {
    amax = gpu_max(amax, team_xor_float(amax, 2));
    amax = gpu_max(amax, team_xor_float(amax, 1));
    if (MX) {
        const float s = gpu_divide_float(gpu_max(amax, 0x1p-126f), 448.0f);
        return gpu_bits(s) <= 0x00400000u ? 0u : num_e8m0_ceil(s);
    }
    if (GROUP == 128) {
        amax = gpu_max(amax, team_xor_float(amax, 8));
        amax = gpu_max(amax, team_xor_float(amax, 4));
    }
    return num_e8m0_ceil(gpu_max(amax, 1e-10f) * (1.0f / 448.0f));
}

GPU_DEVICE gpu_u2 quant_codes(const float *x, uint32_t byte) {
    const float factor = num_e8m0_inverse(byte);
    gpu_u2 codes;
    codes.x = num_fp8_x2(x[0] * factor, x[1] * factor, NUM_OCP) |
              num_fp8_x2(x[2] * factor, x[3] * factor, NUM_OCP) << 16;
    codes.y = num_fp8_x2(x[4] * factor, x[5] * factor, NUM_OCP) |
              num_fp8_x2(x[6] * factor, x[7] * factor, NUM_OCP) << 16;
    return codes;
}

enum quant_scales { QUANT_F32, QUANT_PACKED, QUANT_MX };

/* Lanes of a group; scales, or words of four, of a head. */
#define QUANT_LANES(GROUP) ((GROUP) / 8)
#define QUANT_ROWS(SCALES, GROUP) (KV_HEAD / (GROUP) / ((SCALES) == QUANT_PACKED ? 4 : 1))

/* byte[v]: of vector v's group in this lane. The first lane of a group has its scale. */
template <int SCALES, int GROUP>
GPU_DEVICE void quant_store_scales(const struct quant_args &a, const uint32_t *byte, int64_t t,
                                   int64_t h) {
    const int lane = gpu_lane();
    if (SCALES == QUANT_MX) {
        char *const bytes = a.scales + t * a.scale_row + h * 16;
        if (lane % 4 == 0) {
            bytes[lane / 4] = (char)byte[0];
            bytes[8 + lane / 4] = (char)byte[1];
        }
        return;
    }
    const int64_t group = gpu_quotient(h, a.per), k = h - group * a.per.value;
    char *const scales = a.scales + group * a.scale_group + t * 4;
    enum { LANES = QUANT_LANES(GROUP), ROWS = QUANT_ROWS(SCALES, GROUP) };
    if (SCALES == QUANT_F32) {
        if (lane % LANES != 0) return;
        char *const at = scales + (ROWS * k + lane / LANES) * a.scale_row;
        *(float *)at = num_e8m0_value(byte[0]);
        *(float *)(at + ROWS / 2 * a.scale_row) = num_e8m0_value(byte[1]);
        return;
    }
    if constexpr (GROUP == 128) {
        const uint32_t mine = byte[0] | byte[1] << 16, other = team_xor_u32(mine, 16);
        if (lane == 0) *(uint32_t *)(scales + k * a.scale_row) = mine | other << 8;
    } else {
        GPU_UNROLL for (int v = 0; v < 2; v++) { /* the groups of half a team make a word */
            uint32_t word = byte[v] << 8 * (lane / LANES % 4);
            word |= team_xor_u32(word, LANES);
            word |= team_xor_u32(word, 2 * LANES);
            if (lane % 16 == 0)
                *(uint32_t *)(scales + (ROWS * k + 2 * v + lane / 16) * a.scale_row) = word;
        }
    }
}

/* Zeros in the columns beyond the last token. */
template <int SCALES, int GROUP>
GPU_DEVICE void quant_pad(const struct quant_args &a, int64_t t, int64_t h) {
    enum { ROWS = QUANT_ROWS(SCALES, GROUP) };
    if (SCALES == QUANT_MX || t >= a.padded) return;
    const int64_t group = gpu_quotient(h, a.per), k = h - group * a.per.value;
    char *const scales = a.scales + group * a.scale_group + t * 4;
    if (gpu_lane() < ROWS) *(uint32_t *)(scales + (ROWS * k + gpu_lane()) * a.scale_row) = 0;
}

/* As many blocks of a multiprocessor as it has threads for: 32 registers do. */
enum { INVERSE_RESIDENT = 2048 / CALL_THREADS };

template <int SCALES, int GROUP, bool WIDE>
__global__ void __launch_bounds__(CALL_THREADS, INVERSE_RESIDENT)
    inverse_quant_kernel(const struct quant_args a) {
    const int64_t t = gpu_quotient(gpu_block(), a.tiles);
    const int64_t h = (gpu_block() - t * a.tiles.value) * CALL_TEAMS + gpu_team();
    const int lane = gpu_lane();
    if (h >= a.heads) return;
    if (t >= a.tokens) {
        quant_pad<SCALES, GROUP>(a, t, h);
        return;
    }
    const char *const row = a.o + t * a.o_token + h * a.o_head + 16 * lane;
    const int64_t position = rope_position(a.positions, t);
    const gpu_u4 low = rope_load<WIDE>(row), high = rope_load<WIDE>(row + KV_HEAD);
    float x[2][8];
    rope_values(x[0], low);
    rope_values(x[1], high);
    if (lane >= TEAM - KV_ROPE / 8) {
        const struct rope_angles angle =
            rope_load_angles(a.table + position * a.table_row, 4 * (lane - TEAM + KV_ROPE / 8));
        rope_turn_back(x[1], angle, 0);
        if (a.rounded) rope_values(x[1], rope_codes(x[1]));
    }
    uint32_t byte[2];
    char *codes = a.codes + t * a.code_token + 8 * lane;
    if (SCALES == QUANT_MX) {
        codes += h * KV_HEAD;
    } else {
        const int64_t group = gpu_quotient(h, a.per);
        codes += group * a.code_group + (h - group * a.per.value) * KV_HEAD;
    }
    GPU_UNROLL for (int v = 0; v < 2; v++) {
        byte[v] = quant_byte<SCALES == QUANT_MX, GROUP>(quant_amax(x[v]));
        *(gpu_u2 *)(codes + 256 * v) = quant_codes(x[v], byte[v]);
    }
    quant_store_scales<SCALES, GROUP>(a, byte, t, h);
}

static int quant_scales_of(const dsv4_call *call) {
    return dsv4_is(call, "scales", "mxfp8")    ? QUANT_MX
           : dsv4_is(call, "scales", "packed") ? QUANT_PACKED
                                               : QUANT_F32;
}

static int supports(const dsv4_call *call, struct call_why why) {
    const int scales = quant_scales_of(call), status = rope_supports(call, why);
    if (status != DSV4_OK) return status;
    const int64_t heads = dsv4_find(call, "o")->shape[1], groups = dsv4_int(call, "groups", 8);
    CALL_NEED(call, "codes", DSV4_E4M3FN, scales == QUANT_MX ? 2 : 3, why);
    CALL_NEED_ALIGNED(call, "codes", 8, why);
    CALL_NEED(call, "scales",
              scales == QUANT_MX    ? DSV4_U8
              : scales == QUANT_F32 ? DSV4_F32
                                    : DSV4_I32,
              scales == QUANT_MX ? 2 : 3, why);
    const int64_t group = dsv4_int(call, "quant_group", 128);
    if (group != 128 && group != 32)
        return call_unsupported(why, "quant_group: %lld; these kernels take 128 and 32",
                                (long long)group);
    if (groups < 1 || heads % groups != 0)
        return call_unsupported(why, "groups: %lld do not divide %lld heads", (long long)groups,
                                (long long)heads);
    return DSV4_OK;
}

template <int SCALES, int GROUP>
static int launch(const dsv4_call *call, const struct quant_args &a, struct call_why why) {
    const int64_t tokens = a.padded > a.tokens ? a.padded : a.tokens;
    dim3 grid;
    const int status = call_grid(&grid, tokens * a.tiles.value, why);
    if (status != DSV4_OK) return status;
    if (call_aligned(dsv4_find(call, "o"), 16))
        GPU_LAUNCH((inverse_quant_kernel<SCALES, GROUP, true>), grid, CALL_THREADS,
                   (gpu_stream)call->stream, a);
    else
        GPU_LAUNCH((inverse_quant_kernel<SCALES, GROUP, false>), grid, CALL_THREADS,
                   (gpu_stream)call->stream, a);
    return call_launched(why);
}

static int run(const dsv4_call *call, struct call_why why) {
    const dsv4_tensor *const o = dsv4_find(call, "o"), *const table = dsv4_find(call, "rope_table");
    const dsv4_tensor *const codes = dsv4_find(call, "codes"), *const scales =
                                                                   dsv4_find(call, "scales");
    const int form = quant_scales_of(call);
    struct quant_args a = {};
    a.o = (const char *)o->data;
    a.o_token = o->stride[0];
    a.o_head = o->stride[1];
    a.table = (const char *)table->data;
    a.table_row = table->stride[0];
    a.positions = rope_positions_of(dsv4_find(call, "positions"));
    a.tokens = o->shape[0];
    a.heads = (int)o->shape[1];
    a.tiles = call_divisor(call_ceil(a.heads, CALL_TEAMS));
    a.per = call_divisor(o->shape[1] / dsv4_int(call, "groups", 8));
    a.rounded = dsv4_is(call, "rounding", "bf16");
    a.codes = (char *)codes->data;
    a.scales = (char *)scales->data;
    a.code_group = codes->stride[0];
    a.code_token = codes->stride[form == QUANT_MX ? 0 : 1];
    a.scale_group = scales->stride[0];
    a.scale_row = scales->stride[form == QUANT_MX ? 0 : 1];
    a.padded = form == QUANT_MX ? a.tokens : scales->shape[2];
    if (a.tokens == 0) return DSV4_OK;
    if (form == QUANT_MX) return launch<QUANT_MX, 32>(call, a, why);
    if (dsv4_int(call, "quant_group", 128) == 32)
        return form == QUANT_F32 ? launch<QUANT_F32, 32>(call, a, why)
                                 : launch<QUANT_PACKED, 32>(call, a, why);
    return form == QUANT_F32 ? launch<QUANT_F32, 128>(call, a, why)
                             : launch<QUANT_PACKED, 128>(call, a, why);
}

CALL_ENTRY_POINTS(rope_inverse_quant)
