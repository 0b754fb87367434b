/* SPDX-License-Identifier: Apache-2.0 */
/* A right implementation of kv_quantize_insert for one dialect (OCP FP8, planar pages), written to be read, not to be
 * fast, and without the reference's arithmetic. Each planted plug-in is this one with one thing wrong. */
#ifndef PLANTED_INSERT_H
#define PLANTED_INSERT_H

#include <stdio.h>

#include "../../include/dsv4_plugin.h"

enum { ROW = 512, QUANTISED = 448, GROUP = 64, GROUPS = 7, DATA = 576, SCALES = 8 };

static inline float planted_power(int exponent) {
    float x = 1;
    for (int e = 0; e < exponent; e++) x *= 2;
    for (int e = 0; e > exponent; e--) x /= 2;
    return x;
}

static inline float planted_bf16(uint16_t code) {
    const uint32_t bits = (uint32_t)code << 16;
    float x;
    memcpy(&x, &bits, sizeof x);
    return x;
}

static inline float planted_code_value(int code) {
    return code < 8 ? (float)code * planted_power(-9)
                    : (float)(8 + code % 8) * planted_power(code / 8 - 10);
}

/* The nearest of the 127 magnitudes; of two equally near ones the even. */
static inline uint8_t planted_code(float x) {
    uint32_t bits;
    memcpy(&bits, &x, sizeof bits);
    const float magnitude = bits >> 31 ? -x : x;
    int best = 0;
    for (int code = 1; code < 127; code++) {
        const float below = magnitude - planted_code_value(best);
        const float above = planted_code_value(code) - magnitude;
        const float distance = above < 0 ? -above : above, least = below < 0 ? -below : below;
        if (distance < least || (distance == least && code % 2 == 0)) best = code;
    }
    return (uint8_t)((uint32_t)best | (bits >> 31) << 7);
}

static inline int planted_scale(float amax) {
    const float scale = (amax > 1e-4f ? amax : 1e-4f) * (1.0f / 448.0f);
    int byte = 1;
    while (planted_power(byte - 127) < scale) byte++;
    return byte;
}

/* Where token `slot` of the cache begins: its data, and its scales. */
static inline uint8_t *planted_data(const dsv4_call *call, int64_t slot, uint8_t **scales) {
    const dsv4_tensor *const cache = dsv4_find(call, "cache");
    const int64_t block_size = dsv4_int(call, "block_size", 64);
    uint8_t *const page = (uint8_t *)cache->data + slot / block_size * cache->stride[0];
    *scales = page + block_size * DATA + slot % block_size * SCALES;
    return page + slot % block_size * DATA;
}

static inline int64_t planted_slot(const dsv4_call *call, int64_t token) {
    return ((const int64_t *)dsv4_find(call, "slot_mapping")->data)[token];
}

static inline void planted_row_to(const dsv4_call *call, int64_t token, uint8_t *data,
                                  uint8_t *scales) {
    const dsv4_tensor *const k = dsv4_find(call, "k");
    const uint16_t *const row =
        (const uint16_t *)(const void *)((const char *)k->data + token * k->stride[0]);
    for (int group = 0; group < GROUPS; group++) {
        float amax = 0;
        for (int i = group * GROUP; i < (group + 1) * GROUP; i++) {
            const float x = planted_bf16(row[i]);
            if ((x < 0 ? -x : x) > amax) amax = x < 0 ? -x : x;
        }
        const int byte = planted_scale(amax);
        scales[group] = (uint8_t)byte;
        for (int i = group * GROUP; i < (group + 1) * GROUP; i++)
            data[i] = planted_code(planted_bf16(row[i]) * planted_power(127 - byte));
    }
    scales[GROUPS] = 0;
    memcpy(data + QUANTISED, row + QUANTISED, (ROW - QUANTISED) * sizeof *row);
}

static inline void planted_row(const dsv4_call *call, int64_t token, int64_t slot) {
    uint8_t *scales, *const data = planted_data(call, slot, &scales);
    planted_row_to(call, token, data, scales);
}

static inline int planted_run(const dsv4_call *call, char *why, size_t why_size) {
    const dsv4_tensor *const slots = dsv4_find(call, "slot_mapping");
    (void)why;
    (void)why_size;
    for (int64_t t = 0; t < slots->shape[0]; t++)
        if (planted_slot(call, t) >= 0) planted_row(call, t, planted_slot(call, t));
    return DSV4_OK;
}

static inline int planted_supports(const dsv4_call *call, char *why, size_t why_size) {
    if (strcmp(call->op, "kv_quantize_insert") == 0 && dsv4_is(call, "fp8", "ocp") &&
        dsv4_is(call, "layout", "planar"))
        return DSV4_OK;
    snprintf(why, why_size, "only kv_quantize_insert with OCP FP8 and planar pages");
    return DSV4_UNSUPPORTED;
}

#define PLANTED(supports_function, run_function, ...)                                              \
    const dsv4_plugin *dsv4_plugin_v1(void) {                                                      \
        static const dsv4_plugin plugin = {.size = sizeof plugin,                                  \
                                           .abi = DSV4_ABI_VERSION,                                \
                                           .name = "planted",                                      \
                                           .version = "1",                                         \
                                           .device = "cpu",                                        \
                                           .supports = supports_function,                          \
                                           .run = run_function,                                    \
                                           __VA_ARGS__};                                           \
        return &plugin;                                                                            \
    }

#endif
