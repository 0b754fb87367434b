/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The types that describe an op. An op is one line in ops.def and one `const struct dsv4_op` in
 * ops/<op>.c; the generator, the replay loop, suite validation, plug-in calls, `list` and the docs
 * all read that descriptor.
 */
#ifndef DSV4_OP_H
#define DSV4_OP_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "../harness/include/dsv4_plugin.h"

enum {
    DSV4_MAX_TENSORS = 16,
    DSV4_MAX_PARAMS = 40,
    DSV4_NAME_SIZE = 96,
    DSV4_WORD_SIZE = 160,
    DSV4_TEXT_SIZE = 512
};

/* An error on its way to the user: one sentence, and the place in the user's file that caused it.
 */
struct dsv4_err {
    char text[DSV4_TEXT_SIZE];
    char file[256];
    int line; /* 0: no line */
};

/* Writes the sentence, leaves the place alone; returns -1 so that `return dsv4_fail(err, ...)`
 * reads well. */
int dsv4_fail(struct dsv4_err *err, const char *format, ...) __attribute__((format(printf, 2, 3)));

enum dsv4_param_use {
    DSV4_USE_INPUT,   /* shapes and fills the inputs; implementations never see it */
    DSV4_USE_CALL,    /* passed to the implementation */
    DSV4_USE_DIALECT, /* passed, and names a place where shipping kernels differ on purpose */
};

/* Declares one parameter of a case. Numbers are checked against [min, max], names against `names`.
 */
struct dsv4_param_def {
    const char *name;
    enum dsv4_param_kind kind;
    enum dsv4_param_use use;
    double min, max;
    const char *initial; /* default, written as in a suite file */
    const char *names;   /* DSV4_NAME: the allowed words, separated by spaces; NULL: free text */
    const char *doc;
};

#define DSV4_PARAM_INT(name, use, initial, min, max, doc)                                          \
    { name, DSV4_INT, DSV4_USE_##use, min, max, #initial, NULL, doc }
#define DSV4_PARAM_FLOAT(name, use, initial, min, max, doc)                                        \
    { name, DSV4_FLOAT, DSV4_USE_##use, min, max, #initial, NULL, doc }
#define DSV4_PARAM_NAME(name, use, initial, names, doc)                                            \
    { name, DSV4_NAME, DSV4_USE_##use, 0, 0, initial, names, doc }
/* A free word (no spaces, under DSV4_WORD_SIZE bytes) that shape() reads itself. */
#define DSV4_PARAM_TEXT(name, use, initial, doc)                                                   \
    { name, DSV4_NAME, DSV4_USE_##use, 0, 0, initial, NULL, doc }

enum dsv4_role {
    DSV4_IN,    /* read only; must be unchanged after the call */
    DSV4_OUT,   /* earlier contents never matter; bytes outside the contract stay untouched */
    DSV4_INOUT, /* earlier contents matter and come from the vector */
};

/* Declares one tensor of the op, in call order. Shapes per case come from dsv4_op.shape. */
struct dsv4_slot {
    const char *name;
    enum dsv4_role role;
    const char *shape; /* for the documentation: "[tokens, 512] bf16, rows strided" */
    const char *doc;
};

enum dsv4_compare { DSV4_BITS, DSV4_BOUND, DSV4_SET };

/* A wrong reference with a name: measures the suite (every one must be killed) and explains real
 * failures. */
struct dsv4_mutant {
    const char *name; /* kebab-case: "scale-floor" */
    const char *why;  /* one sentence: what it does wrong, and what the contract says */
    int id;           /* the op's own number for it */
};

/* One tensor of one case. `t` is what the implementation sees. */
struct dsv4_case_tensor {
    dsv4_tensor t;
    enum dsv4_role role; /* starts as the slot's role; shape() may change it */
    enum dsv4_compare compare;
    int64_t
        align; /* bytes, power of two: what the op's contract promises for data and outer strides */
    int64_t *
        rows; /* row-sparse: the ascending live indices of dim 0 (owned by the case); NULL: dense */
    int64_t n_rows; /* live rows; shape[0] when dense */
    int64_t offset; /* of element 0 in the case's arena, set by dsv4_case_place() */
    int64_t span;   /* bytes from element 0 to the end of the last element, over all rows */
};

struct dsv4_value {
    int64_t i;
    double f;
    const char *s; /* points into the param_def's `names` storage of the case */
};

struct dsv4_op;
struct dsv4_admission;

/* A case: one op with one set of parameters. After dsv4_case_shape() its tensors have shapes, after
 * dsv4_case_place() offsets in one arena, after dsv4_case_bind() pointers. */
struct dsv4_case {
    const struct dsv4_op *op;
    char name[DSV4_NAME_SIZE];
    uint64_t seed; /* counter-based generator's key; derived from op and case name unless the suite
                      sets it */
    struct dsv4_value values[DSV4_MAX_PARAMS];
    char words[DSV4_MAX_PARAMS][DSV4_WORD_SIZE]; /* storage of DSV4_NAME values */
    struct dsv4_case_tensor tensors[DSV4_MAX_TENSORS];
    bool refused;        /* set by shape(): the contract refuses these parameters */
    int64_t arena_bytes; /* guards included */
    void *plan; /* the op's own: what shape() worked out and fill() needs; one dsv4_case_alloc block
                 */
    void **blocks; /* memory handed out by dsv4_case_alloc */
    size_t n_blocks;
};

/* What one case moves and computes, for `bench`. */
struct dsv4_work {
    double bytes_read,
        bytes_written;         /* compulsory traffic: each input byte once, each output byte once */
    double exponentials, fmas; /* 0 where an op is pure streaming */
};

struct dsv4_op {
    const char *name;
    const char *summary; /* one line for `list` and the docs */
    const char *source;  /* where the op comes from */
    const struct dsv4_param_def *params;
    size_t n_params;
    const struct dsv4_slot *slots;
    size_t n_slots;
    const struct dsv4_mutant *mutants; /* mutant number m (from 1) is mutants[m - 1] */
    size_t n_mutants;

    /* Works out shapes, dtypes, strides, layouts and roles from the values; sets c->refused. 0 or
     * -1. */
    int (*shape)(struct dsv4_case *c, struct dsv4_err *err);

    /* Writes every IN and INOUT tensor (bound). Must depend on values and seed alone. */
    void (*fill)(struct dsv4_case *c);

    /* The reference. `mutant` 0 is the truth. Returns an enum dsv4_status. */
    int (*run)(const dsv4_call *call, int mutant, struct dsv4_err *err);

    /* Optional. Says in `line` what inputs the byte `offset` (from element 0) of output tensor
     * `slot` came from: "x[209, 320..383]: amax 3.515625 (0x4061) at channel 331". All tensors are
     * bound and filled. */
    void (*trace)(const struct dsv4_case *c, size_t slot, int64_t offset, char *line, size_t size);

    void (*work)(const struct dsv4_case *c, struct dsv4_work *work);

    /* Optional. Gives each output element that other arithmetic than the canon's may change its ball (bound/admit.h),
     * derived from the inputs alone; `call` is as the kernel found it. NULL: `exact` says why there is none. */
    void (*bound)(const dsv4_call *call, struct dsv4_admission *a);
    /* Without bound: why other arithmetic leaves the same bits, so that every class is held to them. */
    const char *exact;
    /* With bound: names of mutants that are right in other arithmetic, another order of a sum or another place for a
     * rounding, separated by spaces; NAME@CLASS where one class alone has it so. Bits kill them, the bound must admit them.
     * NULL: none. */
    const char *latitude;
};

/* The members of a descriptor that every op file gives the same names. */
#define DSV4_OP_PARTS                                                                              \
    .params = params, .n_params = sizeof params / sizeof *params, .slots = slots,                  \
    .n_slots = sizeof slots / sizeof *slots, .mutants = mutants,                                   \
    .n_mutants = sizeof mutants / sizeof *mutants, .shape = shape, .fill = fill, .run = run,       \
    .trace = trace, .work = work

/* The registry, in ops.def order. */
extern const struct dsv4_op *const dsv4_ops[];
extern const size_t dsv4_n_ops;
const struct dsv4_op *dsv4_op_find(const char *name); /* NULL: no such op */

/* ---- cases (case.c) ---- */

/* Starts a case with the op's defaults. Free with dsv4_case_free() whatever happens next. */
void dsv4_case_init(struct dsv4_case *c, const struct dsv4_op *op, const char *name);
void dsv4_case_free(struct dsv4_case *c);

/* Sets a parameter from its text. -1: unknown name, not a number, out of range, not one of the
 * names. */
int dsv4_case_set(struct dsv4_case *c, const char *name, const char *text, struct dsv4_err *err);

/* The value as text, in the form that dsv4_case_set() reads back to the same value. */
void dsv4_case_text(const struct dsv4_case *c, size_t param, char *text, size_t size);

/* Zeroed memory that lives as long as the case. Never NULL: out of memory ends the program with a
 * message. */
void *dsv4_case_alloc(struct dsv4_case *c, size_t bytes);

/* Runs op->shape and checks what it produced. -1 with err set. */
int dsv4_case_shape(struct dsv4_case *c, struct dsv4_err *err);

/* Gives every tensor an offset: guard band, tensor, guard band, ... All offsets are multiples of 4096, as engines
 * allocate, and, where dsv4_case_is_skewed(), the tensor's align further. */
void dsv4_case_place(struct dsv4_case *c, bool skew);

/* Whether a case that is judged shall be placed with skew: about every other one is, so that kernels are found that need
 * more alignment than promised, and what they do where there is more is judged too. Cases of one shape, as the steps of a
 * sequence are, are placed alike. */
bool dsv4_case_is_skewed(const struct dsv4_case *c);

/* Points every tensor into an arena of c->arena_bytes. */
void dsv4_case_bind(struct dsv4_case *c, void *arena);

/* Fills a call (tensors and params arrays of DSV4_MAX_TENSORS and DSV4_MAX_PARAMS are the
 * caller's). */
void dsv4_case_call(const struct dsv4_case *c, dsv4_call *call, dsv4_tensor *tensors,
                    dsv4_param *params);

int64_t dsv4_dtype_bytes(uint32_t dtype);
const char *dsv4_dtype_name(uint32_t dtype); /* "f32" "bf16" "e4m3fn" ... */

/* Logical bytes of a tensor without its gaps: live rows only. 0 when absent. */
int64_t dsv4_packed_bytes(const struct dsv4_case_tensor *t);

/* Copies between storage (strided, rows in place) and a packed, C-ordered array of the live rows.
 */
void dsv4_pack(void *packed, const struct dsv4_case_tensor *t, const void *data);
void dsv4_unpack(void *data, const struct dsv4_case_tensor *t, const void *packed);

/* Byte offset from element 0 of byte `packed_offset` of the packed form, and back (-1: lies in a
 * gap). */
int64_t dsv4_storage_offset(const struct dsv4_case_tensor *t, int64_t packed_offset);
int64_t dsv4_packed_offset(const struct dsv4_case_tensor *t, int64_t storage_offset);

/* Where row `row` of a placed tensor lies in the arena, with a guard band of the gaps before and after it. */
void dsv4_row_band(const struct dsv4_case_tensor *t, int64_t row, int64_t *first, int64_t *last);

/* Parameters of a case by name; the name must be one of the op's (asserted). */
int64_t dsv4_case_int(const struct dsv4_case *c, const char *name);
float dsv4_case_float(const struct dsv4_case *c, const char *name);
bool dsv4_case_is(const struct dsv4_case *c, const char *name, const char *value);
const char *dsv4_case_word(const struct dsv4_case *c, const char *name);

/* Helpers for shape(): set slot's dtype and dense C-ordered shape; then widen dim's stride, or mark
 * rows live. */
void dsv4_shape(struct dsv4_case *c, size_t slot, uint32_t dtype, int ndim, const int64_t *shape);
#define DSV4_SHAPE(c, slot, dtype, ...)                                                            \
    dsv4_shape(c, slot, dtype, (int)(sizeof((int64_t[]){__VA_ARGS__}) / sizeof(int64_t)),          \
               (const int64_t[]){__VA_ARGS__})
void dsv4_widen(struct dsv4_case *c, size_t slot, int dim, int64_t extra_bytes);
void dsv4_live_rows(struct dsv4_case *c, size_t slot, const int64_t *rows, int64_t n_rows);
void dsv4_absent(struct dsv4_case *c, size_t slot);

#endif
