/* SPDX-License-Identifier: Apache-2.0 */
/* What the compressor's three ops (two stages and their fusion) share: a pooling half and a finishing half. */
#ifndef DSV4_KV_COMPRESSOR_H
#define DSV4_KV_COMPRESSOR_H

#include "kv_family.h"

/* ---- pooling half: state, ape, token_to_req, positions, slot_mapping, block_table are slots 0 to 5 ---- */

#define KV_STATE_SLOTS                                                                             \
    {"state", DSV4_IN, "[blocks, state_block_size, 2 * width] f32 or bf16, strided",               \
     "kv half, then score half; width: 1024 (ratio 4, head 512), 512 (ratio 128), 256 (head "      \
     "128)"},                                                                                      \
        {"ape", DSV4_IN, "[ratio, width] f32, or absent",                                          \
         "position embedding; for bf16 state only"},                                               \
        {"token_to_req", DSV4_IN, "[T] i32", "request of each row; stale in padded rows"},         \
        {"positions", DSV4_IN, "[T] i64", "token positions; stale in padded rows"},                \
        {"slot_mapping", DSV4_IN, "[N <= T] i64", "slots of the state cache; -1 is padding"}, {    \
        "block_table", DSV4_IN, "[requests, W] i32, rows strided",                                 \
            "pages of the state cache; stale outside the window, garbage beyond use"               \
    }

#define KV_POOL_MUTANTS                                                                            \
    KV_MUTANT_FIRST_HALF_ONLY, KV_MUTANT_OVERLAP_SWAPPED, KV_MUTANT_FIRST_WINDOW_UNMASKED,         \
        KV_MUTANT_NO_MAX, KV_MUTANT_DIVIDE_FIRST, KV_MUTANT_ONE_BLOCK, KV_MUTANT_REQUEST_BY_ROW,   \
        KV_MUTANT_PADDING_WRITES, KV_MUTANT_APE_LOST, KV_MUTANT_APE_ROUNDED,                       \
        KV_MUTANT_BOUNDARY_EARLY

/* Writes the case's `overlay` over the filled state; `rope_table` is a filled slot or -1. */
void kv_fill_overlay(struct dsv4_case *c, int64_t head, int rope_table);

int kv_shape_pool(struct dsv4_case *c, int64_t head, struct dsv4_err *err);
void kv_fill_pool(struct dsv4_case *c, int64_t head);

/* Whether the contract refuses the call's state_block_size; err says why. */
bool kv_refuse(const dsv4_call *call, struct dsv4_err *err);

/* Adds the reads, exponentials and FMAs of pooling; returns the number of pooled rows. */
double kv_pool_work(const struct dsv4_case *c, double head, struct dsv4_work *work);

/* "row 131 (request 1, position 127): window 0..127" */
int kv_trace_window(const struct dsv4_case *c, int64_t t, char *line, size_t size);

/* ---- finishing half: kv_slot_mapping, weight, rope_table and cache are consecutive slots ---- */

#define KV_STORE_PARAMS                                                                            \
    KV_STORE_PARAM, KV_FP8_PARAM, KV_LAYOUT_PARAM, KV_SCALE_FLOOR_PARAM, KV_BLOCK_SIZE_PARAM(64),  \
        KV_EPS_PARAM, KV_FP8_SCALE_PARAM, KV_TABLE_PARAM

#define KV_STORE_SLOTS                                                                             \
    {"kv_slot_mapping", DSV4_IN, "[T] i64", "slots of the KV cache; -1: nothing is stored"},       \
        {"weight", DSV4_IN, "[head] bf16 or f32", "RMSNorm weight"},                               \
        {"rope_table", DSV4_IN, "[max_position, 64] f32 or bf16, rows strided",                    \
         "32 cos, then 32 sin"},                                                                   \
    {                                                                                              \
        "cache", DSV4_OUT,                                                                         \
            "[blocks, page bytes] u8, or [blocks, block_size, 512] bf16 or e4m3, strided",         \
            "KV cache in the layout of `store`"                                                    \
    }

#define KV_STORE_MUTANTS                                                                           \
    KV_MUTANT_SCALE_FLOOR, KV_MUTANT_SCALE_UNFLOORED, KV_MUTANT_SCALE_BIAS,                        \
        KV_MUTANT_ROUNDING_LOST, KV_MUTANT_TIES_AWAY, KV_MUTANT_SUBNORMALS_FLUSHED,                \
        KV_MUTANT_NEGATIVE_UNDERFLOW, KV_MUTANT_PAD_BYTE, KV_MUTANT_NIBBLES_SWAPPED,               \
        KV_MUTANT_SCALE_DIVIDES, KV_MUTANT_ROPE_TOKEN_POSITION, KV_MUTANT_ROPE_NEOX,               \
        KV_MUTANT_ROPE_INVERSE, KV_MUTANT_ROPE_FUSED, KV_MUTANT_TABLE_AS_F32,                      \
        KV_MUTANT_NORM_ROUNDED, KV_MUTANT_EPS_LOST, KV_MUTANT_WEIGHT_LOST, KV_MUTANT_WEIGHT_FIRST, \
        KV_MUTANT_NORM_IN_ORDER, KV_MUTANT_CLAMP_OF_FORMAT, KV_MUTANT_FLOOR_OF_FP8,                \
        KV_MUTANT_EVERY_TOKEN, KV_MUTANT_ADDRESS_WRAPS

int kv_shape_store(struct dsv4_case *c, size_t first, int64_t head, struct dsv4_err *err);
void kv_fill_store(struct dsv4_case *c, size_t first);

/* A slot_mapping of a state cache that the op only tests for its sign. */
void kv_fill_active(const struct dsv4_case *c, size_t slot);

struct kv_finish {
    struct kv_store store;
    const dsv4_tensor *kv_slots, *rope_table;
    float weight[KV_MAX_HEAD];
    float eps;
    int64_t ratio, head;
    enum kv_wrong wrong;
};

void kv_finish_open(struct kv_finish *finish, const dsv4_call *call, enum kv_wrong wrong);

/* Whether row t ends in a stored row. */
bool kv_finishes(const struct kv_finish *finish, int64_t slot, int64_t t, int64_t position);

/* Norm, RoPE and store of pooled values. */
void kv_finish_row(const struct kv_finish *finish, float *values, int64_t t, int64_t position);

/* Appends what became of a pooled row in the group at `offset` of the cache. */
void kv_trace_finish(const struct dsv4_case *c, size_t slot, int64_t offset, int64_t t,
                     float *pooled, char *line, size_t size);

#endif
