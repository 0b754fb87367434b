/* SPDX-License-Identifier: Apache-2.0 */
/*
 * moe_permute: rows of x, and their scales, copied into the order of their experts, as grouped GEMMs read them.
 *
 * Slot i = token * topk + k has the expert ids[i], or expert_map[ids[i]]; slots without one (negative ids, ids beyond the
 * last expert, experts elsewhere) are dropped. Places are given by a stable sort: expert e has the places offsets[e] up to
 * offsets[e + 1], its slots in ascending order, then padding up to a multiple of `align`.
 *   permuted[p] = x[token of p's slot], bit for bit, and so its scales
 *   inverse[i]     place of slot i, -1 if dropped
 *   row_ids[p]     expert of a place, row_sources[p] its slot; -1 for padding and beyond the last place, up to the end
 * dialect `padding`, what rows of permuted and of scales without a slot hold: untouched (DeepGEMM's callers, vllm), zero
 * (TileKernels, up to the tensor's end).
 * Scales have one of the forms of gemm_fp8_fp4 (f32, f32_mn, packed, e8m0); out_scales may be f32_mn where x_scales are
 * f32. What lies between the rows and their padding to 4 stays untouched.
 * Copies: no rounding. Domain: fewer than 2^31 places.
 *
 * Source: vllm csrc/moe/moe_permute_unpermute_op.cu (align 1), TileKernels get_fused_mapping (token_topk_to_pos is
 * inverse, pos_to_expert row_ids, pos_to_token_topk row_sources, expert_start offsets) and expand_to_fused.
 * Latitude: none here. TileKernels orders the slots of an expert from the last to the first inside of a warp's stretch, and
 * vllm gives dropped slots places after offsets[experts]; neither shows in what a GEMM's rows are unpermuted to.
 */
#include <stdio.h>

#include "../memory.h"
#include "../num/bf16.h"
#include "../num/fp8.h"
#include "moe_dispatch.h"

enum { X, X_SCALE, IDS, MAP, PERMUTED, SCALE, OFFSETS, INVERSE, ROW_IDS, ROW_SOURCES };
enum { STREAM_X = 1, STREAM_SCALE = 2 };

static const struct dsv4_param_def params[] = {
    DSV4_PARAM_INT("align", CALL, 1, 1, 1024, "places of an expert are a multiple of it"),
    DSV4_PARAM_NAME("padding", DIALECT, "untouched", "untouched zero", "rows without a slot"),
    DSV4_PARAM_NAME("x_scales", CALL, "f32_mn", "f32 f32_mn packed e8m0", "form of x_scale"),
    DSV4_PARAM_NAME("out_scales", CALL, "f32_mn", "f32 f32_mn packed e8m0", "form of scale"),
    DSV4_PARAM_NAME("x_dtype", INPUT, "fp8", "fp8 fnuz bf16", "of x; bf16 has no scales"),
    DSV4_PARAM_INT("hidden", INPUT, 256, 32, 1 << 16, "channels"),
    DSV4_PARAM_INT("group", INPUT, 128, 32, 128, "channels under one scale: 32 or 128"),
    DISPATCH_EXPERTS_PARAMS(INPUT),
    DISPATCH_IDS_PARAMS,
    DSV4_PARAM_INT("spare", INPUT, 0, 0, 1 << 20, "places more than can be needed"),
    DSV4_PARAM_NAME("view", INPUT, "dense", "dense wide", "wide: rows lie apart"),
};

static const struct dsv4_slot slots[] = {
    {"x",           DSV4_IN,  "[tokens, hidden] e4m3 or bf16, rows strided", "rows"                    },
    {"x_scale",     DSV4_IN,  "as x_scales says; absent for bf16",           "their scales"            },
    {"ids",         DSV4_IN,  "[tokens, topk] i32 or i64",                   "experts; -1: none"       },
    {"expert_map",  DSV4_IN,  "[global experts] i32, or absent",             "expert here, or -1"      },
    {"permuted",    DSV4_OUT, "[places, hidden] of x's dtype, rows strided", "rows by expert"          },
    {"scale",       DSV4_OUT, "as out_scales says; absent for bf16",         "their scales"            },
    {"offsets",     DSV4_OUT, "[experts + 1] i32",                           "first place of an expert"},
    {"inverse",     DSV4_OUT, "[tokens, topk] i32",                          "place of a slot, or -1"  },
    {"row_ids",     DSV4_OUT, "[places] i32",                                "expert of a place, or -1"},
    {"row_sources", DSV4_OUT, "[places] i32",                                "slot of a place, or -1"  },
};

static const struct dsv4_mutant mutants[] = {
    DISPATCH_MUTANTS_OF_IDS,
    DISPATCH_MUTANTS_OF_MAP,
    {"unstable",       "slots of an expert from the last to the first; they ascend",               DISPATCH_UNSTABLE      },
    {"last-lost",      "the last slot dropped",                                                    DISPATCH_LAST_LOST     },
    {"unpadded",       "experts one after the other where places are aligned",                     DISPATCH_UNPADDED      },
    {"empty-block",    "an expert without slots gets a place",                                     DISPATCH_EMPTY_BLOCK   },
    {"padding-other",  "rows without a slot as the other dialect has them",                        DISPATCH_PADDING_OTHER },
    {"tail-kept",      "row_ids beyond the last place left as they were",                          DISPATCH_TAIL_KEPT     },
    {"source-tokens",  "row_sources hold tokens; they hold slots",                                 DISPATCH_TOKENS        },
    {"x-dense",        "rows of x taken as contiguous; they have a stride",                        DISPATCH_X_DENSE       },
    {"out-dense",      "rows of permuted taken as contiguous; they have a stride",                 DISPATCH_OUT_DENSE     },
    {"row-by-slot",    "row i of x for slot i; it is the row of its token",                        DISPATCH_SOURCE_BY_SLOT},
    {"scale-in-place", "scales of place p from row p of x_scale",                                  DISPATCH_SCALE_IN_PLACE},
    {"scale-lost",     "scales not copied",                                                        DISPATCH_SCALE_LOST    },
    {"scale-rows",     "columns of scales as far apart as there are places; they are padded to 4",
      DISPATCH_SCALE_ROWS                                                                                                  },
    {"offsets-ends",   "offsets hold the ends of experts from entry 0 on",                         DISPATCH_OFFSETS_ENDS  },
    {"inverse-kept",   "inverse of dropped slots left as it was; it is -1",                        DISPATCH_INVERSE_KEPT  },
    {"inverse-turned", "inverse by slot, then token",                                              DISPATCH_INVERSE_TURNED},
    {"skipped-last",   "dropped slots get places after the last expert's",                         DISPATCH_SKIPPED_LAST  },
};

/* ---- scales: rows of columns of 1 or 4 bytes ---- */

struct scales {
    char *data;
    int64_t row, column, columns, size; /* strides and sizes in bytes */
};

static bool by_row(const char *form) { return strcmp(form, "f32") == 0 || form[0] == 'e'; }

static struct scales scales_of(const dsv4_tensor *t, const char *form) {
    const bool rows = by_row(form);
    struct scales s = {.data = t->data, .size = form[0] == 'e' ? 1 : 4};
    s.row = rows ? t->stride[0] : 4;
    s.column = rows ? s.size : t->stride[0];
    s.columns = t->shape[rows ? 1 : 0];
    return s;
}

static void shape_scales(struct dsv4_case *c, size_t slot, const char *form, int64_t rows) {
    const int64_t groups = dsv4_case_int(c, "hidden") / dsv4_case_int(c, "group");
    const bool wide = dsv4_case_is(c, "view", "wide");
    if (by_row(form)) {
        DSV4_SHAPE(c, slot, form[0] == 'e' ? DSV4_E8M0 : DSV4_F32, rows, groups);
        if (wide) dsv4_widen(c, slot, 0, 12);
    } else {
        const bool packed = form[0] == 'p';
        DSV4_SHAPE(c, slot, packed ? DSV4_I32 : DSV4_F32, packed ? (groups + 3) / 4 : groups,
                   (rows + 3) / 4 * 4);
        if (wide) dsv4_widen(c, slot, 0, 32);
    }
    c->tensors[slot].align = form[0] == 'e' ? 1 : 4;
}

/* ---- the case ---- */

static int check(const struct dsv4_case *c, struct dsv4_err *err) {
    const char *const in = dsv4_case_word(c, "x_scales"), *const out =
                                                              dsv4_case_word(c, "out_scales");
    const int64_t group = dsv4_case_int(c, "group"), hidden = dsv4_case_int(c, "hidden");
    if (strcmp(in, out) != 0 && !(strcmp(in, "f32") == 0 && strcmp(out, "f32_mn") == 0))
        return dsv4_fail(err, "out_scales: %s; x_scales are %s", out, in);
    if (group != 32 && group != 128) return dsv4_fail(err, "group: 32 or 128");
    if (hidden % group != 0)
        return dsv4_fail(err, "hidden: %lld; a multiple of %lld", (long long)hidden,
                         (long long)group);
    return 0;
}

static int shape(struct dsv4_case *c, struct dsv4_err *err) {
    const int64_t tokens = dsv4_case_int(c, "tokens"), hidden = dsv4_case_int(c, "hidden");
    const int64_t n = tokens * dsv4_case_int(c, "topk"), experts = dsv4_case_int(c, "experts");
    const int64_t align = dsv4_case_int(c, "align");
    const bool bf16 = dsv4_case_is(c, "x_dtype", "bf16"), fp8 = dsv4_case_is(c, "x_dtype", "fp8");
    const uint32_t dtype = bf16 ? DSV4_BF16 : fp8 ? DSV4_E4M3FN : DSV4_E4M3FNUZ;
    const int64_t places =
        (n < experts ? n * align : n + experts * (align - 1)) + dsv4_case_int(c, "spare");
    if (check(c, err) != 0) return -1;
    if (places > INT32_MAX) return dsv4_fail(err, "%lld places", (long long)places);
    DSV4_SHAPE(c, X, dtype, tokens, hidden);
    DSV4_SHAPE(c, PERMUTED, dtype, places, hidden);
    if (dsv4_case_is(c, "view", "wide")) {
        dsv4_widen(c, X, 0, 48);
        dsv4_widen(c, PERMUTED, 0, 32);
    }
    c->tensors[X].align = c->tensors[PERMUTED].align = 16;
    shape_scales(c, X_SCALE, dsv4_case_word(c, "x_scales"), tokens);
    shape_scales(c, SCALE, dsv4_case_word(c, "out_scales"), places);
    if (bf16) dsv4_absent(c, X_SCALE);
    if (bf16) dsv4_absent(c, SCALE);
    moe_dispatch_shape_ids(c, IDS);
    moe_dispatch_shape_map(c, MAP);
    DSV4_SHAPE(c, OFFSETS, DSV4_I32, experts + 1);
    DSV4_SHAPE(c, INVERSE, DSV4_I32, tokens, dsv4_case_int(c, "topk"));
    DSV4_SHAPE(c, ROW_IDS, DSV4_I32, places);
    DSV4_SHAPE(c, ROW_SOURCES, DSV4_I32, places);
    return 0;
}

/* Any bits: copies keep them. */
static void fill(struct dsv4_case *c) {
    const dsv4_tensor *const x = &c->tensors[X].t, *const scale = &c->tensors[X_SCALE].t;
    const int64_t bytes = x->shape[1] * dsv4_dtype_bytes(x->dtype);
#pragma omp parallel for schedule(static)
    for (int64_t t = 0; t < x->shape[0]; t++)
        for (int64_t i = 0; i < bytes; i += 8) {
            const uint64_t bits =
                dsv4_random(c->seed, STREAM_X, (uint64_t)(t << 16 | (i / 8 & 0xFFFF)));
            /* Repeated, so that vectors stay small. */
            const uint64_t word = i % 64 == 0 ? bits : bits >> 56;
            memcpy((char *)x->data + t * x->stride[0] + i, &word, 8);
        }
    for (int64_t i = 0; scale->ndim > 0 && i < scale->shape[0]; i++)
        for (int64_t j = 0; j < scale->shape[1]; j++) {
            const uint64_t bits = dsv4_random(c->seed, STREAM_SCALE, (uint64_t)(i << 32 | j));
            const uint32_t word = scale->dtype == DSV4_I32 ? (uint32_t)bits & 0x7F7F7F7Fu
                                                           : 0x3F800000u + (uint32_t)(bits >> 44);
            char *const at = (char *)scale->data + i * scale->stride[0];
            if (scale->dtype == DSV4_E8M0)
                at[j] = (char)(bits >> 57);
            else
                memcpy(at + 4 * j, &word, 4);
        }
    moe_dispatch_fill_ids(c, IDS, dispatch_named(c));
    moe_dispatch_fill_map(c, MAP);
}

/* ---- the reference ---- */

const struct dsv4_op dsv4_op_moe_permute;

/* What a row's copy takes from the call, found once. */
struct rows {
    const dsv4_tensor *x, *out;
    struct scales from, to;
    bool scaled;
    enum dispatch_wrong wrong;
};

static struct rows rows_of(const dsv4_call *call, enum dispatch_wrong wrong) {
    struct rows rows = {.x = &call->tensors[X], .out = &call->tensors[PERMUTED], .wrong = wrong};
    const dsv4_tensor *const in = &call->tensors[X_SCALE];
    rows.scaled = in->ndim > 0 && wrong != DISPATCH_SCALE_LOST;
    if (!rows.scaled) return rows;
    const char *const form = dsv4_find_param(call, "out_scales")->s;
    rows.from = scales_of(in, dsv4_find_param(call, "x_scales")->s);
    rows.to = scales_of(&call->tensors[SCALE], form);
    if (wrong == DISPATCH_SCALE_ROWS && !by_row(form))
        rows.to.column = 4 * call->tensors[ROW_IDS].shape[0];
    return rows;
}

/* from -1: zeros. */
static void copy_row(const struct rows *rows, int64_t from, int64_t to) {
    const dsv4_tensor *const x = rows->x;
    const int64_t bytes = x->shape[1] * dsv4_dtype_bytes(x->dtype);
    const int64_t apart = rows->wrong == DISPATCH_OUT_DENSE ? bytes : rows->out->stride[0];
    const int64_t stride = rows->wrong == DISPATCH_X_DENSE ? bytes : x->stride[0];
    char *const at = (char *)rows->out->data + to * apart;
    if (from < 0)
        memset(at, 0, (size_t)bytes);
    else
        memcpy(at, (const char *)x->data + from * stride, (size_t)bytes);
}

/* Slot by slot, so that a token's row is read once; then the rows without a slot, up to `end`. */
static void put_rows(const dsv4_call *call, const struct dispatch *d, const struct rows *rows,
                     const int32_t *places, int64_t end, bool zero) {
    const int64_t tokens = call->tensors[X].shape[0];
    const int32_t *const sources = call->tensors[ROW_SOURCES].data;
#pragma omp parallel
    {
#pragma omp for schedule(static)
        for (int64_t i = 0; i < d->n; i++)
            if (places[i] >= 0 && places[i] < end)
                copy_row(rows, d->wrong == DISPATCH_SOURCE_BY_SLOT ? i % tokens : i / d->topk,
                         places[i]);
#pragma omp for schedule(static)
        for (int64_t p = 0; p < end; p++)
            if (zero && sources[p] < 0) copy_row(rows, -1, p);
    }
}

/* Those of n places from `to` on, whose tokens are from[], or -1: zeros; -2: nothing. */
static void copy_scales(const struct scales *s, const struct scales *d, const int64_t *from,
                        int64_t to, int64_t n) {
    const bool whole = s->column == s->size && d->column == d->size;
    for (int64_t q = 0; whole && q < n; q++)
        if (from[q] >= 0)
            memcpy(d->data + (to + q) * d->row, s->data + from[q] * s->row,
                   (size_t)(d->columns * d->size));
        else if (from[q] == -1)
            memset(d->data + (to + q) * d->row, 0, (size_t)(d->columns * d->size));
    for (int64_t j = 0; !whole && j < d->columns; j++)
        for (int64_t q = 0; q < n; q++) {
            char *const at = d->data + (to + q) * d->row + j * d->column;
            const char *const source = s->data + from[q] * s->row + j * s->column;
            if (from[q] >= 0 && d->size == 4)
                memcpy(at, source, 4);
            else if (from[q] >= 0)
                *at = *source;
            else if (from[q] == -1)
                memset(at, 0, (size_t)d->size);
        }
}

/* Place by place, sixteen at a time: where scales lie column by column, those of a line are written together. */
static void put_scales(const dsv4_call *call, const struct dispatch *d, const struct rows *rows,
                       int64_t end, bool zero) {
    enum { BESIDE = 16 };
    const int64_t tokens = call->tensors[X].shape[0];
    const int32_t *const sources = call->tensors[ROW_SOURCES].data;
#pragma omp parallel for schedule(static)
    for (int64_t first = 0; first < end; first += BESIDE) {
        const int64_t n = end - first < BESIDE ? end - first : BESIDE;
        int64_t from[BESIDE];
        for (int64_t q = 0; q < n; q++) {
            const int64_t slot = sources[first + q];
            from[q] = slot < 0 ? (zero ? -1 : -2) : slot / d->topk;
            if (slot >= 0 && d->wrong == DISPATCH_SOURCE_BY_SLOT) from[q] = slot % tokens;
            if (slot >= 0 && d->wrong == DISPATCH_SCALE_IN_PLACE) from[q] = (first + q) % tokens;
        }
        copy_scales(&rows->from, &rows->to, from, first, n);
    }
}

static void put(const dsv4_call *call, const struct dispatch *d, const int32_t *places,
                int64_t used) {
    const struct rows rows = rows_of(call, d->wrong);
    const int64_t n = call->tensors[ROW_IDS].shape[0];
    const int64_t end = d->wrong == DISPATCH_TAIL_KEPT && used < n ? used : n;
    const bool zero = dsv4_is(call, "padding", "zero") != (d->wrong == DISPATCH_PADDING_OTHER);
    put_rows(call, d, &rows, places, end, zero);
    if (rows.scaled) put_scales(call, d, &rows, end, zero);
}

/* row_ids and row_sources; wrong kernels give dropped slots the places from `used` on. */
static void put_places(const dsv4_call *call, const struct dispatch *d, int32_t *places,
                       int64_t used) {
    const int64_t n = call->tensors[ROW_IDS].shape[0];
    int32_t *const ids = call->tensors[ROW_IDS].data, *const sources =
                                                          call->tensors[ROW_SOURCES].data;
    const int64_t end = d->wrong == DISPATCH_TAIL_KEPT ? used : n;
    for (int64_t p = 0; p < end; p++) ids[p] = sources[p] = -1;
    for (int64_t i = 0; i < d->n; i++) {
        if (places[i] < 0 && d->wrong == DISPATCH_SKIPPED_LAST && used < n)
            places[i] = (int32_t)used++;
        if (places[i] < 0) continue;
        ids[places[i]] = (int32_t)moe_dispatch_expert(d, i);
        sources[places[i]] = (int32_t)i;
    }
}

static void put_inverse(const dsv4_call *call, const struct dispatch *d, const int32_t *places) {
    const int64_t tokens = call->tensors[IDS].shape[0];
    int32_t *const inverse = call->tensors[INVERSE].data;
    for (int64_t i = 0; i < d->n; i++) {
        const int64_t at =
            d->wrong == DISPATCH_INVERSE_TURNED ? i % d->topk * tokens + i / d->topk : i;
        if (places[i] >= 0 || d->wrong != DISPATCH_INVERSE_KEPT) inverse[at] = places[i];
    }
}

static int run(const dsv4_call *call, int mutant, struct dsv4_err *err) {
    const dsv4_tensor *const tensors = call->tensors;
    const int64_t experts = tensors[OFFSETS].shape[0] - 1;
    int32_t *const offsets = tensors[OFFSETS].data, *const sources = tensors[ROW_SOURCES].data;
    struct dispatch d;
    (void)err;
    moe_dispatch_open(&d, &tensors[IDS], &tensors[MAP], experts,
                      dispatch_wrong_of(&dsv4_op_moe_permute, mutant));
    int32_t *const places = dsv4_alloc((size_t)(d.n + 1) * sizeof *places);
    moe_dispatch_sort(&d, dsv4_int(call, "align", 1), places, offsets);
    const int64_t used = offsets[experts];
    put_places(call, &d, places, used);
    put(call, &d, places, used);
    put_inverse(call, &d, places);
    for (int64_t p = 0; d.wrong == DISPATCH_TOKENS && p < tensors[ROW_IDS].shape[0]; p++)
        if (sources[p] >= 0) sources[p] /= (int32_t)d.topk;
    for (int64_t e = 0; d.wrong == DISPATCH_OFFSETS_ENDS && e < experts; e++)
        offsets[e] = offsets[e + 1];
    dsv4_free(places);
    return DSV4_OK;
}

static void trace(const struct dsv4_case *c, size_t slot, int64_t offset, char *line, size_t size) {
    const dsv4_tensor *const out = &c->tensors[slot].t;
    const int64_t at = out->ndim > 1 ? offset / out->stride[0] : offset / 4;
    struct dispatch d;
    moe_dispatch_open(&d, &c->tensors[IDS].t, &c->tensors[MAP].t, dsv4_case_int(c, "experts"),
                      DISPATCH_RIGHT);
    if (slot == OFFSETS) {
        snprintf(line, size, "first place of expert %lld", (long long)at);
        return;
    }
    if (slot == INVERSE) {
        const int64_t i = offset / 4;
        snprintf(line, size, "slot %lld of token %lld: expert %lld", (long long)(i % d.topk),
                 (long long)(i / d.topk), (long long)moe_dispatch_expert(&d, i));
        return;
    }
    int32_t *const places = dsv4_alloc((size_t)(d.n + 1) * sizeof *places);
    int32_t *const starts = dsv4_alloc((size_t)(d.experts + 1) * sizeof *starts);
    int64_t i = 0;
    moe_dispatch_sort(&d, dsv4_case_int(c, "align"), places, starts);
    while (i < d.n && places[i] != at) i++;
    if (slot == SCALE && !by_row(dsv4_case_word(c, "out_scales")))
        snprintf(line, size, "scale %lld of place %lld", (long long)at,
                 (long long)(offset % out->stride[0] / 4));
    else if (i < d.n)
        snprintf(line, size, "place %lld: slot %lld of token %lld", (long long)at,
                 (long long)(i % d.topk), (long long)(i / d.topk));
    else
        snprintf(line, size, "place %lld has no slot; %d are in use", (long long)at,
                 starts[d.experts]);
    dsv4_free(starts);
    dsv4_free(places);
}

static void work(const struct dsv4_case *c, struct dsv4_work *work) {
    const double tokens = (double)dsv4_case_int(c, "tokens");
    const double topk = (double)dsv4_case_int(c, "topk"), n = tokens * topk;
    const double hidden = (double)dsv4_case_int(c, "hidden");
    const bool bf16 = dsv4_case_is(c, "x_dtype", "bf16");
    const double element = dsv4_case_is(c, "x_scales", "e8m0")     ? 1
                           : dsv4_case_is(c, "x_scales", "packed") ? 1
                                                                   : 4;
    const double scales = bf16 ? 0 : element * hidden / (double)dsv4_case_int(c, "group");
    const double row = (bf16 ? 2 : 1) * hidden + scales;
    work->bytes_read = tokens * row + n * (dsv4_case_is(c, "ids", "i64") ? 8 : 4);
    work->bytes_written = n * (row + 12) + 4 * (double)(dsv4_case_int(c, "experts") + 1);
}

const struct dsv4_op dsv4_op_moe_permute = {
    .name = "moe_permute",
    .summary = "rows and scales into the order of their experts, with offsets and the way back",
    .source = "vllm csrc/moe/moe_permute_unpermute_op.cu, TileKernels expand_to_fused",
    .exact = "nothing is computed: bytes are copied",
    DSV4_OP_PARTS,
};
