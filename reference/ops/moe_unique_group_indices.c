/* SPDX-License-Identifier: Apache-2.0 */
/*
 * moe_unique_group_indices: in each token, a group that came in an earlier slot already becomes -1, in place.
 *
 * Negative groups stay as they are. Integers: no rounding. Domain: groups below 128.
 * Source: TileKernels inplace_unique_group_indices.
 * Latitude: none.
 */
#include <stdio.h>

#include "moe_dispatch.h"

enum { GROUPS };
enum wrong {
    RIGHT,
    LAST_KEPT,
    NEIGHBOURS,
    SIXTY_FOUR,
    ACROSS_TOKENS,
    ZERO_LOST,
    ALL_LOST,
    NEGATIVE_FIRST
};

static const struct dsv4_param_def params[] = {
    DSV4_PARAM_INT("groups", INPUT, 8, 1, 128, "groups"),
    DISPATCH_IDS_PARAMS_OF("i64"),
};

static const struct dsv4_slot slots[] = {
    {"groups", DSV4_INOUT, "[tokens, topk] i64", "groups of a token's slots; -1: none"},
};

static const struct dsv4_mutant mutants[] = {
    {"last-kept",      "the last of equal groups kept; the first one is",          LAST_KEPT     },
    {"neighbours",     "compared with the slot before alone",                      NEIGHBOURS    },
    {"sixty-four",     "groups 64 apart taken for the same",                       SIXTY_FOUR    },
    {"across-tokens",  "groups of the token before remembered",                    ACROSS_TOKENS },
    {"zero-lost",      "group 0 taken for none",                                   ZERO_LOST     },
    {"negative-first", "a negative group taken for group 0",                       NEGATIVE_FIRST},
    {"all-lost",       "every group that comes twice becomes -1; the first stays", ALL_LOST      },
};

static int shape(struct dsv4_case *c, struct dsv4_err *err) {
    if (dsv4_case_int(c, "outside") != 0) return dsv4_fail(err, "outside: groups are below 128");
    if (!dsv4_case_is(c, "ids", "i64")) return dsv4_fail(err, "ids: groups are i64");
    moe_dispatch_shape_ids(c, GROUPS);
    return 0;
}

static void fill(struct dsv4_case *c) {
    moe_dispatch_fill_ids(c, GROUPS, dsv4_case_int(c, "groups"));
}

static bool same(int64_t a, int64_t b, enum wrong wrong) {
    if (wrong == NEGATIVE_FIRST && a < 0) a = 0;
    if (b < 0 || (wrong == ZERO_LOST && b == 0)) return false;
    return wrong == SIXTY_FOUR ? a >= 0 && a % 64 == b % 64 : a == b;
}

static bool repeated(const int64_t *before, const int64_t *row, int64_t j, int64_t topk,
                     enum wrong wrong) {
    const int64_t first = wrong == LAST_KEPT    ? j + 1
                          : wrong == NEIGHBOURS ? (j > 0 ? j - 1 : 0)
                                                : 0;
    const int64_t end = wrong == LAST_KEPT || wrong == ALL_LOST ? topk : j;
    for (int64_t i = first; i < end; i++)
        if (i != j && same(row[i], row[j], wrong)) return true;
    for (int64_t i = 0; wrong == ACROSS_TOKENS && before != NULL && i < topk; i++)
        if (same(before[i], row[j], wrong)) return true;
    return false;
}

/* In place: a group's first slot stays, so that later ones find it. */
static void unique(int64_t *row, int64_t topk) {
    for (int64_t j = 1; j < topk; j++) {
        bool found = false;
        for (int64_t i = 0; i < j; i++) found |= row[i] == row[j];
        if (found && row[j] >= 0) row[j] = -1;
    }
}

static int run(const dsv4_call *call, int mutant, struct dsv4_err *err) {
    const enum wrong wrong = mutant > 0 ? (enum wrong)mutants[mutant - 1].id : RIGHT;
    const dsv4_tensor *const groups = &call->tensors[GROUPS];
    const int64_t topk = groups->shape[1];
    int64_t before[16] = {0};
    (void)err;
#pragma omp parallel for schedule(static) firstprivate(before) if (wrong != ACROSS_TOKENS)
    for (int64_t t = 0; t < groups->shape[0]; t++) {
        int64_t *const row = (int64_t *)groups->data + t * topk;
        if (wrong == RIGHT) {
            unique(row, topk);
            continue;
        }
        int64_t was[16] = {0};
        memcpy(was, row, (size_t)topk * sizeof *was);
        for (int64_t j = 0; j < topk; j++)
            if (repeated(t > 0 ? before : NULL, was, j, topk, wrong)) row[j] = -1;
        memcpy(before, was, sizeof before);
    }
    return DSV4_OK;
}

static void trace(const struct dsv4_case *c, size_t slot, int64_t offset, char *line, size_t size) {
    const dsv4_tensor *const groups = &c->tensors[slot].t;
    const int64_t topk = groups->shape[1], t = offset / (8 * topk);
    int n = snprintf(line, size, "token %lld, groups", (long long)t);
    for (int64_t k = 0; k < topk && n > 0 && (size_t)n < size; k++)
        n += snprintf(line + n, size - (size_t)n, " %lld",
                      (long long)((const int64_t *)groups->data)[t * topk + k]);
}

static void work(const struct dsv4_case *c, struct dsv4_work *work) {
    const double n = (double)(dsv4_case_int(c, "tokens") * dsv4_case_int(c, "topk"));
    /* In place: a call that finds a token's groups unique, as every one after the first does, has nothing to write. */
    work->bytes_read = 8 * n;
}

const struct dsv4_op dsv4_op_moe_unique_group_indices = {
    .name = "moe_unique_group_indices",
    .summary = "groups that a token names twice become -1",
    .source = "TileKernels inplace_unique_group_indices",
    .exact = "integers alone",
    DSV4_OP_PARTS,
};
