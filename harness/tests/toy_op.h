/* SPDX-License-Identifier: Apache-2.0 */
/* A small op that can be told to break every rule that golden vectors rest on. */
#ifndef DSV4_TOY_OP_H
#define DSV4_TOY_OP_H

#include "../../reference/op.h"

enum { TOY_CHANNELS = 8, TOY_ROWS = 5000 };

/* x [tokens, 8] f32, rows widened; slots [tokens] i32; out [5000, 8] f32, row-sparse: out[slots[t]]
 * = 2 x[t], but its last channel is never written; state [4] i32, in-out: counts tokens; note:
 * absent. */
static inline int toy_shape(struct dsv4_case *c, struct dsv4_err *err) {
    const int64_t tokens = dsv4_case_int(c, "tokens");
    int64_t rows[64];
    if (dsv4_case_is(c, "bug", "bad-shape")) return dsv4_fail(err, "the shape is bad");
    DSV4_SHAPE(c, 0, DSV4_F32, tokens, TOY_CHANNELS);
    dsv4_widen(c, 0, 0, 32);
    DSV4_SHAPE(c, 1, DSV4_I32, tokens);
    DSV4_SHAPE(c, 2, DSV4_F32, TOY_ROWS, TOY_CHANNELS);
    dsv4_widen(c, 2, 0, 16);
    for (int64_t t = 0; t < tokens; t++) rows[t] = 7 * t + 3;
    dsv4_live_rows(c, 2, rows, tokens);
    DSV4_SHAPE(c, 3, DSV4_I32, 4);
    dsv4_absent(c, 4);
    c->refused = dsv4_case_is(c, "refuse", "yes");
    return 0;
}

static inline void toy_fill(struct dsv4_case *c) {
    const int64_t tokens = dsv4_case_int(c, "tokens");
    for (int64_t t = 0; t < tokens; t++) {
        float *x = (float *)((char *)c->tensors[0].t.data + t * c->tensors[0].t.stride[0]);
        for (int i = 0; i < TOY_CHANNELS; i++)
            if (t > 0 || i > 0 || !dsv4_case_is(c, "bug", "input-unwritten"))
                x[i] = (float)(c->seed % 97) + (float)t + (float)i / 8.0f;
        ((int32_t *)c->tensors[1].t.data)[t] = (int32_t)(7 * t + 3);
    }
    for (int i = 0; i < 4; i++) ((int32_t *)c->tensors[3].t.data)[i] = i;
    if (dsv4_case_is(c, "bug", "recipe-writes-output")) ((float *)c->tensors[2].t.data)[36] = 1;
    if (dsv4_case_is(c, "bug", "recipe-writes-gap"))
        ((float *)c->tensors[0].t.data)[TOY_CHANNELS] = 1;
}

static inline int toy_run(const dsv4_call *call, int mutant, struct dsv4_err *err) {
    const dsv4_tensor *x = &call->tensors[0], *slots = &call->tensors[1], *out = &call->tensors[2];
    (void)mutant;
    if (dsv4_is(call, "bug", "error")) {
        dsv4_fail(err, "the reference is told to fail");
        return DSV4_ERROR;
    }
    if (dsv4_is(call, "refuse", "yes")) {
        if (dsv4_is(call, "bug", "refuse-writes")) ((int32_t *)call->tensors[3].data)[1] = 77;
        return DSV4_REFUSED;
    }
    for (int64_t t = 0; t < x->shape[0]; t++) {
        const float *from = (const float *)((const char *)x->data + t * x->stride[0]);
        const int64_t row = ((const int32_t *)slots->data)[t];
        float *to = (float *)((char *)out->data + row * out->stride[0]);
        for (int i = 0; i + 1 < TOY_CHANNELS; i++) to[i] = 2 * from[i];
        if (dsv4_is(call, "bug", "reads-output")) to[1] = to[TOY_CHANNELS - 1];
        if (dsv4_is(call, "bug", "writes-gap")) to[TOY_CHANNELS] = 0;
        if (dsv4_is(call, "bug", "writes-dead-row"))
            *(float *)((char *)out->data + (row + 1) * out->stride[0]) = 0;
    }
    if (dsv4_is(call, "bug", "writes-input")) ((int32_t *)slots->data)[0] = 4;
    if (dsv4_is(call, "bug", "writes-guard")) ((char *)call->tensors[3].data)[-1] = 1;
    if (dsv4_is(call, "bug", "writes-past")) ((int32_t *)call->tensors[3].data)[4] = 1;
    ((int32_t *)call->tensors[3].data)[0] += (int32_t)x->shape[0];
    return DSV4_OK;
}

static const struct dsv4_param_def toy_params[] = {
    DSV4_PARAM_INT("tokens", INPUT, 3, 0, 64, "rows of x"),
    DSV4_PARAM_NAME("dialect", DIALECT, "east", "east west", "changes nothing"),
    DSV4_PARAM_FLOAT("eps", CALL, 1e-6, 0, 1, "changes nothing"),
    DSV4_PARAM_NAME("refuse", CALL, "no", "no yes", "the contract refuses"),
    DSV4_PARAM_NAME(
        "bug", CALL, "none",
        "none bad-shape error input-unwritten recipe-writes-output recipe-writes-gap reads-output "
        "writes-gap writes-dead-row writes-input writes-guard writes-past refuse-writes",
        "what goes wrong"),
};

static const struct dsv4_slot toy_slots[] = {
    {"x",     DSV4_IN,    "[tokens, 8] f32, rows strided", ""},
    {"slots", DSV4_IN,    "[tokens] i32",                  ""},
    {"out",   DSV4_OUT,   "[5000, 8] f32, rows strided",   ""},
    {"state", DSV4_INOUT, "[4] i32",                       ""},
    {"note",  DSV4_OUT,   "absent",                        ""},
};

static const struct dsv4_mutant toy_mutants[] = {
    {"same", "does nothing wrong", 1}
};

static const struct dsv4_op toy_op = {
    .name = "toy",
    .summary = "doubles rows into their slots",
    .source = "nowhere",
    .params = toy_params,
    .n_params = sizeof toy_params / sizeof *toy_params,
    .slots = toy_slots,
    .n_slots = sizeof toy_slots / sizeof *toy_slots,
    .mutants = toy_mutants,
    .n_mutants = 1,
    .shape = toy_shape,
    .fill = toy_fill,
    .run = toy_run,
};

#endif
