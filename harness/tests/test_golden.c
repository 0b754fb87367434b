/* SPDX-License-Identifier: Apache-2.0 */
#include <criterion/criterion.h>

#include "../../reference/golden.h"
#include "toy_op.h"

struct made {
    struct dsv4_case c;
    struct dsv4_vector_tensor tensors[DSV4_MAX_TENSORS];
    struct dsv4_err err;
    int status;
};

static void make(struct made *m, const char *bug, const char *refuse, const char *tokens) {
    memset(m, 0, sizeof *m);
    dsv4_case_init(&m->c, &toy_op, "made");
    cr_assert_eq(dsv4_case_set(&m->c, "bug", bug, &m->err), 0);
    cr_assert_eq(dsv4_case_set(&m->c, "refuse", refuse, &m->err), 0);
    cr_assert_eq(dsv4_case_set(&m->c, "tokens", tokens, &m->err), 0);
    cr_assert_eq(dsv4_case_shape(&m->c, &m->err), 0);
    m->status = dsv4_golden_make(m->tensors, &m->c, &m->err);
}

static void unmake(struct made *m) {
    dsv4_golden_free(m->tensors);
    dsv4_case_free(&m->c);
}

Test(golden, knows_what_is_written) {
    struct made m;
    make(&m, "none", "no", "3");
    cr_assert_eq(m.status, 0, "%s", m.err.text);
    const float *x = (const float *)m.tensors[0].in, *out = (const float *)m.tensors[2].out;
    cr_assert_null(m.tensors[0].out);
    cr_assert_null(m.tensors[2].in);
    for (int i = 0; i < 3 * TOY_CHANNELS; i++) {
        const bool last = i % TOY_CHANNELS == TOY_CHANNELS - 1;
        cr_assert_eq(out[i], last ? 0 : 2 * x[i]);
        for (int b = 0; b < 4; b++) cr_assert_eq(m.tensors[2].keep[4 * i + b], last);
    }
    const int32_t *state = (const int32_t *)m.tensors[3].out;
    cr_assert_eq(state[0], 3);
    cr_assert_eq(state[3], 3);
    cr_assert_null(m.tensors[3].keep);
    cr_assert_null(m.tensors[4].in);
    cr_assert_null(m.tensors[4].out);
    cr_assert_null(m.c.tensors[0].t.data, "left bound");
    unmake(&m);
}

Test(golden, makes_empty_and_refused_cases) {
    struct made m;
    make(&m, "none", "no", "0");
    cr_assert_eq(m.status, 0, "%s", m.err.text);
    cr_assert_not_null(m.tensors[2].out);
    unmake(&m);
    make(&m, "none", "yes", "3");
    cr_assert_eq(m.status, 0, "%s", m.err.text);
    cr_assert_not_null(m.tensors[0].in);
    cr_assert_null(m.tensors[2].out);
    cr_assert_null(m.tensors[3].out);
    unmake(&m);
}

static const struct {
    const char *bug, *refuse, *message;
} planted[] = {
    {"error",                "no",  "returns 3, not 0: the reference is told to fail"                      },
    {"error",                "yes", "returns 3, not 1"                                                     },
    {"input-unwritten",      "no",  "the recipe leaves an input unwritten, at packed byte 0 of tensor x"   },
    {"recipe-writes-output", "no",  "the recipe writes an output"                                          },
    {"recipe-writes-gap",    "no",  "the recipe writes byte 32 of tensor x, which is a gap"                },
    {"reads-output",         "no",  "differ by what the memory held before, at packed byte 4 of tensor out"},
    {"writes-gap",           "no",  "which is a gap"                                                       },
    {"writes-dead-row",      "no",  "a row that is not live"                                               },
    {"writes-input",         "no",  "the reference writes an input, at packed byte 0 of tensor slots"      },
    {"writes-guard",         "no",  "outside of it"                                                        },
    {"writes-past",          "no",  "writes byte 16 of tensor state, which is outside of it"               },
    {"refuse-writes",        "yes", "the reference refuses, but writes, at packed byte 4 of tensor state"  },
};

Test(golden, catches_every_planted_bug) {
    for (size_t i = 0; i < sizeof planted / sizeof *planted; i++) {
        struct made m;
        make(&m, planted[i].bug, planted[i].refuse, "3");
        cr_expect_eq(m.status, -1, "%s is not caught", planted[i].bug);
        cr_expect(strstr(m.err.text, planted[i].message) != NULL, "%s gives: %s", planted[i].bug,
                  m.err.text);
        unmake(&m);
    }
}

static void gather(void *context, const void *bytes, size_t size) {
    uint64_t *hash = context;
    for (size_t i = 0; i < size; i++)
        *hash = (*hash ^ ((const unsigned char *)bytes)[i]) * UINT64_C(0x100000001B3);
}

static void hashes(const struct made *m, uint64_t *prompt, uint64_t *answer) {
    *prompt = *answer = UINT64_C(0xCBF29CE484222325);
    dsv4_golden_prompt(&m->c, m->tensors, gather, prompt);
    dsv4_golden_answer(&m->c, m->tensors, gather, answer);
}

Test(golden, what_is_hashed_covers_everything) {
    struct made m;
    uint64_t prompt, answer, p, a;
    make(&m, "none", "no", "3");
    hashes(&m, &prompt, &answer);
    m.tensors[0].in[95] ^= 1;
    hashes(&m, &p, &a);
    cr_assert(p != prompt && a == answer);
    m.tensors[0].in[95] ^= 1;
    m.tensors[2].out[0] ^= 1;
    hashes(&m, &p, &a);
    cr_assert(p == prompt && a != answer);
    m.tensors[2].out[0] ^= 1;
    m.tensors[2].keep[95] = 0;
    hashes(&m, &p, &a);
    cr_assert(p == prompt && a != answer);
    m.tensors[2].keep[95] = 1;
    m.c.tensors[2].rows[2]++;
    hashes(&m, &p, &a);
    cr_assert(p != prompt && a != answer);
    m.c.tensors[2].rows[2]--;
    m.c.tensors[0].t.stride[0]++;
    hashes(&m, &p, &a);
    cr_assert(p != prompt);
    m.c.tensors[0].t.stride[0]--;
    cr_assert_eq(dsv4_case_set(&m.c, "eps", "0.5", &m.err), 0);
    hashes(&m, &p, &a);
    cr_assert(p != prompt && a == answer, "a parameter of the call is part of the prompt");
    cr_assert_eq(dsv4_case_set(&m.c, "eps", "1e-6", &m.err), 0);
    hashes(&m, &p, &a);
    cr_assert(p == prompt && a == answer);
    unmake(&m);
}
