/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The plug-in ABI of dsv4-cts, version 1. This header is self-contained: copy it next to your
 * kernels.
 *
 * A plug-in is a shared object that exports one symbol, dsv4_plugin_v1(). The harness opens it with
 * dlopen(RTLD_NOW | RTLD_LOCAL) in a worker process of its own, asks supports() for each case and
 * then calls run().
 *
 * The harness owns all memory. Every pointer in a call points to memory of the plug-in's device;
 * tensors lie inside larger strided views between guard bands, outputs are poisoned, inputs are
 * read again after the call. Bytes that an op's contract does not name as written must keep their
 * value.
 */
#ifndef DSV4_PLUGIN_H
#define DSV4_PLUGIN_H

#include <stddef.h>
#include <stdint.h>
#include <string.h>

#ifdef __cplusplus
extern "C" {
#endif

#define DSV4_ABI_VERSION 1u
#define DSV4_MAX_DIMS 4

/* A dtype is DLPack's DLDataType in one word: code | bits << 8 | lanes << 16. */
#define DSV4_DTYPE(code, bits) ((uint32_t)(code) | (uint32_t)(bits) << 8 | UINT32_C(1) << 16)
#define DSV4_I32 DSV4_DTYPE(0, 32)
#define DSV4_I64 DSV4_DTYPE(0, 64)
#define DSV4_U8 DSV4_DTYPE(1, 8)
#define DSV4_F32 DSV4_DTYPE(2, 32)
#define DSV4_BF16 DSV4_DTYPE(4, 16)
#define DSV4_E4M3FN DSV4_DTYPE(10, 8)
#define DSV4_E4M3FNUZ DSV4_DTYPE(11, 8)
#define DSV4_E8M0 DSV4_DTYPE(14, 8)

/* One tensor. Element [i0, i1, ...] lies at (char *)data + i0 * stride[0] + i1 * stride[1] + ... */
typedef struct dsv4_tensor {
    const char *name;   /* as the op's documentation names it */
    const char *layout; /* "linear", or the name of a paged layout: "planar", "interleaved", ... */
    void *data;         /* NULL: this optional tensor is absent in this call */
    uint32_t dtype;
    int32_t ndim;
    int64_t shape[DSV4_MAX_DIMS];  /* elements */
    int64_t stride[DSV4_MAX_DIMS]; /* bytes */
} dsv4_tensor;

enum dsv4_param_kind { DSV4_INT = 0, DSV4_FLOAT = 1, DSV4_NAME = 2 };

/* One named scalar. */
typedef struct dsv4_param {
    const char *name;
    uint32_t kind; /* enum dsv4_param_kind; the matching field below is set */
    int64_t i;
    double f; /* exactly an fp32 value */
    const char *s;
} dsv4_param;

/* One call of one op. Tensors come in the order of the op's documentation (`dsv4cts list OP`). */
typedef struct dsv4_call {
    uint32_t size; /* sizeof(dsv4_call) of the harness; later versions only append */
    uint32_t n_tensors;
    uint32_t n_params;
    uint32_t reserved;
    const char *op;
    const dsv4_tensor *tensors;
    const dsv4_param *params;
    void *
        stream; /* cudaStream_t / hipStream_t; NULL on the CPU. Work may be left in flight on it. */
} dsv4_call;

/*
 * How a kernel adds up. One that keeps the canon's order and roundings is judged bit by bit. One that does not names
 * its class, and its floats are held to the bound that follows from it.
 */
enum dsv4_accumulation {
    DSV4_CANON = 0,
    DSV4_F32_SEQ = 1,         /* binary32 additions or fma, one after the other */
    DSV4_F32_ANY = 2,         /* binary32 additions or fma in any tree */
    DSV4_TC25_RZ = 3,         /* matrix units that cut aligned addends to 25 bits: Hopper's bf16 */
    DSV4_TC13_PROMOTE128 = 4, /* Hopper's FP8: 13 bits, added in binary32 after every 128 terms */
    DSV4_CDNA3_FLOOR24 = 5    /* gfx942's matrix units */
};

/* What a kernel promises for one call. Errors are in units in the last place; 0.5 is correctly rounded. */
typedef struct dsv4_arithmetic {
    uint32_t size;         /* sizeof(dsv4_arithmetic) of the harness; later versions only append */
    uint32_t accumulation; /* enum dsv4_accumulation */
    float exp_ulp, log_ulp, rsqrt_ulp,
        divide_ulp; /* of exp and exp2, log and log2, rsqrt and sqrt, / */
} dsv4_arithmetic;

enum dsv4_status {
    DSV4_OK = 0,
    DSV4_REFUSED = 1,     /* the op's contract refuses this input; nothing was written */
    DSV4_UNSUPPORTED = 2, /* this plug-in has no kernel for this call */
    DSV4_ERROR = 3        /* anything that went wrong; `why` says what */
};

typedef struct dsv4_plugin {
    uint32_t size;       /* sizeof(dsv4_plugin) of the plug-in */
    uint32_t abi;        /* DSV4_ABI_VERSION */
    const char *name;    /* "acme-kernels" */
    const char *version; /* "1.2.3" */
    const char *device;  /* where pointers must point: "cpu", "cuda" or "hip" */

    /* DSV4_OK or DSV4_UNSUPPORTED. Data pointers may be NULL here: judge by shapes, dtypes, strides
     * and params. */
    int (*supports)(const dsv4_call *call, char *why, size_t why_size);

    /* Enqueues (or does) the work. On anything but DSV4_OK, `why` holds one sentence. */
    int (*run)(const dsv4_call *call, char *why, size_t why_size);

    /* Optional, may be NULL: checks on the device that this build keeps the canon's arithmetic (no
     * contraction, subnormals kept, ties to even) and writes one line. DSV4_OK or DSV4_ERROR. */
    int (*canary)(char *line, size_t line_size);

    /* Optional, may be NULL: the arithmetic of the kernel that run() would use for this call. `arithmetic` comes in as
     * the canon's, correctly rounded; data pointers may be NULL. DSV4_OK or DSV4_ERROR. */
    int (*declare)(const dsv4_call *call, dsv4_arithmetic *arithmetic);
} dsv4_plugin;

const dsv4_plugin *dsv4_plugin_v1(void);

/* Look-ups by name; NULL or the fallback when the call has no such tensor or param. */
static inline const dsv4_tensor *dsv4_find(const dsv4_call *call, const char *name) {
    for (uint32_t i = 0; i < call->n_tensors; i++)
        if (strcmp(call->tensors[i].name, name) == 0) return &call->tensors[i];
    return NULL;
}

static inline const dsv4_param *dsv4_find_param(const dsv4_call *call, const char *name) {
    for (uint32_t i = 0; i < call->n_params; i++)
        if (strcmp(call->params[i].name, name) == 0) return &call->params[i];
    return NULL;
}

static inline int64_t dsv4_int(const dsv4_call *call, const char *name, int64_t fallback) {
    const dsv4_param *p = dsv4_find_param(call, name);
    return p != NULL && p->kind == DSV4_INT ? p->i : fallback;
}

static inline float dsv4_float(const dsv4_call *call, const char *name, float fallback) {
    const dsv4_param *p = dsv4_find_param(call, name);
    return p != NULL && p->kind == DSV4_FLOAT ? (float)p->f : fallback;
}

static inline int dsv4_is(const dsv4_call *call, const char *name, const char *value) {
    const dsv4_param *p = dsv4_find_param(call, name);
    return p != NULL && p->kind == DSV4_NAME && strcmp(p->s, value) == 0;
}

#ifdef __cplusplus
}
#endif

#endif
