/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A port of three ops, as a third party would write it: it knows dsv4_plugin.h and nothing else of this project.
 *
 *     cc -std=c11 -O2 -shared -fPIC -ffp-contract=off $(pkg-config --cflags dsv4-cts) -o acme.so acme.c -lm
 *     dsv4cts check --impl ./acme.so
 *
 * It has a part of the ops, and declines the rest. Of quant_mxfp4_dequant it has one dialect: scale bytes go into the
 * exponent field of an fp32 number. Its norm_rms adds squares from left to right, as plain C does, and not in the
 * canon's order: it says so in declare(), and is held to the bounds of that order in place of the canon's bits.
 */
#include <math.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include "dsv4_plugin.h"

/* ---- elements ---- */

static void *at(const dsv4_tensor *t, int64_t i, int64_t j) {
    return (char *)t->data + i * t->stride[0] + j * (t->ndim > 1 ? t->stride[1] : 0);
}

static float from_bits(uint32_t bits) {
    float value;
    memcpy(&value, &bits, sizeof value);
    return value;
}

static float from_bf16(uint16_t half) { return from_bits((uint32_t)half << 16); }

/* To nearest, ties to even; NaN is 0x7FC0. */
static uint16_t to_bf16(float value) {
    uint32_t bits;
    memcpy(&bits, &value, sizeof bits);
    if (value != value) return 0x7FC0;
    return (uint16_t)((bits + 0x7FFF + (bits >> 16 & 1)) >> 16);
}

static int64_t integer(const dsv4_tensor *t, int64_t i) {
    return t->dtype == DSV4_I64 ? *(int64_t *)at(t, i, 0) : *(int32_t *)at(t, i, 0);
}

static float number(const dsv4_tensor *t, int64_t i) {
    const char *const element = (const char *)t->data + i * t->stride[0];
    return t->dtype == DSV4_F32 ? *(const float *)element : from_bf16(*(const uint16_t *)element);
}

/* ---- kernels ---- */

static int embedding(const dsv4_call *call) {
    const dsv4_tensor *const ids = dsv4_find(call, "ids"), *const weight =
                                                               dsv4_find(call, "weight");
    const dsv4_tensor *const out = dsv4_find(call, "out");
    const int64_t start = dsv4_int(call, "start", 0), end = dsv4_int(call, "end", 0);
    const size_t bytes = (size_t)out->shape[1] * sizeof(uint16_t);
    for (int64_t i = 0; i < out->shape[0]; i++) {
        const int64_t id = integer(ids, i);
        if (id >= start && id < end)
            memcpy(at(out, i, 0), at(weight, id - start, 0), bytes);
        else
            memset(at(out, i, 0), 0, bytes);
    }
    return DSV4_OK;
}

static int is_shifted(const dsv4_call *call) { return dsv4_is(call, "ends", "shifted"); }

static int mxfp4_dequant(const dsv4_call *call) {
    static const float values[] = {0, 0.5F, 1, 1.5F, 2, 3, 4, 6};
    const dsv4_tensor *const q = dsv4_find(call, "q"), *const scales = dsv4_find(call, "scales");
    const dsv4_tensor *const y = dsv4_find(call, "y");
    for (int64_t i = 0; i < y->shape[0]; i++)
        for (int64_t j = 0; j < y->shape[1]; j++) {
            const unsigned code = *(uint8_t *)at(q, i, j / 2) >> j % 2 * 4 & 15;
            const uint8_t byte = *(uint8_t *)at(scales, i, j / 32);
            const float value = code < 8 ? values[code] : -values[code - 8];
            *(uint16_t *)at(y, i, j) = to_bf16(value * from_bits((uint32_t)byte << 23));
        }
    return DSV4_OK;
}

static int rms(const dsv4_call *call) {
    const dsv4_tensor *const x = dsv4_find(call, "x"), *const weight = dsv4_find(call, "weight");
    const dsv4_tensor *const out = dsv4_find(call, "out");
    const int64_t width = x->shape[1];
    for (int64_t i = 0; i < x->shape[0]; i++) {
        float sum = 0;
        for (int64_t j = 0; j < width; j++) {
            const float value = from_bf16(*(uint16_t *)at(x, i, j));
            sum += value * value;
        }
        const float mean = sum / (float)width + dsv4_float(call, "eps", 0);
        const float factor = (float)(1 / sqrt((double)mean));
        for (int64_t j = 0; j < width; j++) {
            const float value = from_bf16(*(uint16_t *)at(x, i, j));
            *(uint16_t *)at(out, i, j) = to_bf16(value * factor * number(weight, j));
        }
    }
    return DSV4_OK;
}

/* ---- the plug-in ---- */

static const struct kernel {
    const char *op;
    int (*takes)(const dsv4_call *call); /* NULL: every call of the op */
    const char *else_why;
    int (*run)(const dsv4_call *call);
    uint32_t accumulation;
} kernels[] = {
    {"mtp_embedding",       NULL,       NULL,                           embedding,     DSV4_CANON  },
    {"quant_mxfp4_dequant", is_shifted, "scale bytes are shifted here", mxfp4_dequant, DSV4_CANON  },
    {"norm_rms",            NULL,       NULL,                           rms,           DSV4_F32_SEQ},
};

static const struct kernel *find(const dsv4_call *call) {
    for (size_t i = 0; i < sizeof kernels / sizeof *kernels; i++)
        if (strcmp(kernels[i].op, call->op) == 0) return &kernels[i];
    return NULL;
}

static int supports(const dsv4_call *call, char *why, size_t why_size) {
    const struct kernel *const kernel = find(call);
    if (kernel != NULL && (kernel->takes == NULL || kernel->takes(call))) return DSV4_OK;
    snprintf(why, why_size, "%s", kernel != NULL ? kernel->else_why : "acme has no such kernel");
    return DSV4_UNSUPPORTED;
}

static int declare(const dsv4_call *call, dsv4_arithmetic *arithmetic) {
    arithmetic->accumulation = find(call)->accumulation;
    return DSV4_OK;
}

static int run(const dsv4_call *call, char *why, size_t why_size) {
    const struct kernel *const kernel = find(call);
    (void)why, (void)why_size; /* nothing here can fail; a CUDA port would tell of its launch */
    return kernel->run(call);
}

const dsv4_plugin *dsv4_plugin_v1(void) {
    static const dsv4_plugin plugin = {
        .size = sizeof plugin,
        .abi = DSV4_ABI_VERSION,
        .name = "acme-kernels",
        .version = "1.0",
        .device = "cpu",
        .supports = supports,
        .run = run,
        .declare = declare,
    };
    return &plugin;
}
