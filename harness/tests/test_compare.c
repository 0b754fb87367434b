/* SPDX-License-Identifier: Apache-2.0 */
/* The comparator's planted failures: one bit in every class of byte. */
#include "../compare.h"
#include "../diagnose.h"
#include "../value.h"
#include "../../reference/layout/pages.h"
#include "../../reference/memory.h"
#include "support.h"

enum { K, SLOTS, CACHE };

struct scene {
    struct dsv4_vector v;
    struct dsv4_arena got, want;
    struct dsv4_comparison compare;
    struct dsv4_runner suspects;
    struct dsv4_inquiry inquiry;
};

static void open_scene(struct scene *s, const char *const *params, size_t n) {
    struct dsv4_err err;
    support_vector(&s->v, params, n);
    cr_assert_eq(dsv4_arena_open(&s->got, &s->v.c, &err), 0);
    dsv4_arena_private(&s->want, &s->v.c);
    dsv4_arena_fill(&s->got, &s->v, 1, DSV4_AFTER);
    dsv4_arena_fill(&s->want, &s->v, 1, DSV4_AFTER);
    s->compare = (struct dsv4_comparison){&s->v, &s->got, &s->want, NULL};
    cr_assert_eq(dsv4_compare_at(&s->compare, 0), -1);
    char program[4100];
    support_build(program, sizeof program, "dsv4cts");
    dsv4_runner_init(&s->suspects, program, "");
    s->inquiry = (struct dsv4_inquiry){.poison = 1, .suspects = &s->suspects, .seconds = 10};
}

static void close_scene(struct scene *s) {
    dsv4_runner_stop(&s->suspects);
    dsv4_arena_close(&s->got);
    dsv4_arena_close(&s->want);
    dsv4_vector_free(&s->v);
}

/* Flips one bit, wants exactly that byte reported with this fault, and flips it back. */
static void expect(struct scene *s, int64_t at, int bit, enum dsv4_fault fault, size_t slot) {
    struct dsv4_mismatch m;
    s->got.base[at] ^= (unsigned char)(1 << bit);
    cr_assert(dsv4_compare_next(&s->compare, 0, &m), "a flipped bit at %lld passes", (long long)at);
    cr_assert_eq(m.at, at);
    cr_assert_eq(m.fault, fault, "byte %lld: fault %d, not %d", (long long)at, m.fault, fault);
    cr_assert_eq(m.slot, slot);
    cr_assert_eq(m.offset, at - s->v.c.tensors[slot].offset);
    cr_assert_not(dsv4_compare_next(&s->compare, at + 1, &m));
    s->got.base[at] ^= (unsigned char)(1 << bit);
}

/* The arena offset of the first byte of the cache that `part` names and the op writes (or keeps). */
static int64_t find_part(const struct scene *s, const char *part, bool kept) {
    const struct dsv4_case_tensor *const t = &s->v.c.tensors[CACHE];
    const struct dsv4_layout *const layout = dsv4_layout_find(t->t.layout);
    struct dsv4_site site;
    for (int64_t i = 0; i < dsv4_packed_bytes(t); i++) {
        const int64_t offset = dsv4_storage_offset(t, i);
        layout->locate(&s->v.c, CACHE, offset, &site);
        if (strcmp(site.part, part) == 0 && (s->v.tensors[CACHE].keep[i] != 0) == kept)
            return t->offset + offset;
    }
    cr_assert_fail("the case has no %s", part);
    return -1;
}

Test(compare, one_bit_in_every_class_of_byte) {
    struct scene s;
    open_scene(&s, support_wide, 3);
    const struct dsv4_case_tensor *const k = &s.v.c.tensors[K], *const t = &s.v.c.tensors[CACHE];
    for (int bit = 0; bit < 8; bit++) {
        expect(&s, find_part(&s, "code", false), bit, DSV4_FAULT_VALUE, CACHE);
        expect(&s, find_part(&s, "scale byte", false), bit, DSV4_FAULT_VALUE, CACHE);
        expect(&s, find_part(&s, "RoPE value", false), bit, DSV4_FAULT_VALUE, CACHE);
        expect(&s, find_part(&s, "pad scale byte", false), bit, DSV4_FAULT_VALUE, CACHE);
        expect(&s, find_part(&s, "page tail byte", true), bit, DSV4_FAULT_UNTOUCHED, CACHE);
        expect(&s, find_part(&s, "code", true), bit, DSV4_FAULT_UNTOUCHED, CACHE);
        expect(&s, t->offset + t->t.shape[1], bit, DSV4_FAULT_GAP, CACHE);
        expect(&s, t->offset - 1, bit, DSV4_FAULT_GUARD, CACHE);
        expect(&s, t->offset + t->span, bit, DSV4_FAULT_GUARD, CACHE);
        expect(&s, s.v.c.arena_bytes - 1, bit, DSV4_FAULT_GUARD, CACHE);
        expect(&s, 0, bit, DSV4_FAULT_GUARD, K);
        expect(&s, k->offset, bit, DSV4_FAULT_INPUT, K);
        expect(&s, k->offset + k->t.stride[0] - 1, bit, DSV4_FAULT_GAP, K);
    }
    close_scene(&s);
}

Test(compare, no_byte_of_the_arena_is_out_of_sight) {
    struct scene s;
    open_scene(&s, support_wide, 3);
    for (int64_t at = 0; at < s.got.bytes; at += 41) {
        s.got.base[at] ^= 0x10;
        cr_assert_eq(dsv4_compare_at(&s.compare, 0), at);
        cr_assert_eq(dsv4_compare_at(&s.compare, at + 1), -1);
        s.got.base[at] ^= 0x10;
    }
    close_scene(&s);
}

Test(compare, rows_that_no_input_names) {
    struct scene s;
    open_scene(&s, support_high, 2);
    const int64_t hole = s.want.segments[0].offset + s.want.segments[0].bytes + 123456;
    cr_assert_lt(hole, s.want.segments[1].offset);
    expect(&s, hole, 3, DSV4_FAULT_FAR, CACHE);
    /* The row beside a live one is poisoned: zeros written there are seen too. */
    const struct dsv4_case_tensor *const t = &s.v.c.tensors[CACHE];
    const int64_t beside =
        t->offset + (t->rows[0] > 0 ? t->rows[0] - 1 : t->rows[0] + 1) * t->t.stride[0];
    struct dsv4_mismatch m;
    memset(s.got.base + beside, 0, 576);
    cr_assert(dsv4_compare_next(&s.compare, 0, &m));
    cr_assert_eq(m.fault, DSV4_FAULT_FAR);
    close_scene(&s);
}

/* Equal as numbers is not equal as bits. */
Test(compare, zero_signs_and_nan_payloads_are_bits) {
    static const uint16_t pairs[][2] = {
        {0x0000, 0x8000},
        {0x7FC0, 0x7FC1},
        {0x7FC0, 0xFFC0}
    };
    struct scene s;
    open_scene(&s, support_wide, 3);
    const int64_t at = find_part(&s, "RoPE value", false);
    for (size_t i = 0; i < sizeof pairs / sizeof *pairs; i++) {
        struct dsv4_mismatch m;
        memcpy(s.want.base + at, &pairs[i][0], 2);
        memcpy(s.got.base + at, &pairs[i][0], 2);
        cr_assert_eq(dsv4_compare_at(&s.compare, 0), -1);
        memcpy(s.got.base + at, &pairs[i][1], 2);
        cr_assert(dsv4_compare_next(&s.compare, 0, &m));
        cr_assert_eq(m.fault, DSV4_FAULT_VALUE);
    }
    close_scene(&s);
}

static const char *note(const struct dsv4_notes *notes, const char *key) {
    for (size_t i = 0; i < notes->n; i++)
        if (strcmp(notes->at[i].key, key) == 0) return notes->at[i].text;
    return "";
}

/* A wrong scale byte is the headline even when a wrong code comes first, and counts are counts. */
Test(diagnose, scales_come_before_the_codes_they_govern) {
    struct scene s;
    struct dsv4_notes notes = {.n = 0};
    char summary[512];
    open_scene(&s, support_wide, 3);
    const int64_t code = find_part(&s, "code", false), scale = find_part(&s, "scale byte", false);
    cr_assert_lt(code, scale);
    s.got.base[code] ^= 0x40;
    s.got.base[code + 1] ^= 0x01;
    s.got.base[scale] ^= 0x01;
    dsv4_diagnose(&notes, summary, sizeof summary, &s.compare, &(struct dsv4_inquiry){.poison = 1});
    ASSERT_HAS(note(&notes, "where"), "scale byte 0 (channels 0..63)");
    ASSERT_HAS(note(&notes, "want"), "e8m0 2^");
    ASSERT_HAS(note(&notes, "extent"),
               "1 of 35 scale bytes, 2 of 2240 codes; every wrong code lies under a wrong scale");
    dsv4_notes_free(&notes);
    s.got.base[code + 64] ^= 0x01; /* the next group's scale is right */
    dsv4_diagnose(&notes, summary, sizeof summary, &s.compare, &(struct dsv4_inquiry){.poison = 1});
    ASSERT_HAS(note(&notes, "extent"),
               "3 of 2240 codes; 2 wrong codes lie under a wrong scale, 1 under a right one");
    dsv4_notes_free(&notes);
    s.got.base[scale] ^= 0x01;
    dsv4_diagnose(&notes, summary, sizeof summary, &s.compare, &(struct dsv4_inquiry){.poison = 1});
    ASSERT_HAS(note(&notes, "extent"), "3 of 2240 codes; no scale is wrong");
    ASSERT_HAS(note(&notes, "want"), "e4m3fn");
    dsv4_notes_free(&notes);
    close_scene(&s);
}

/* A hint is only given for bits that are the same everywhere, or is worded as what it is. */
Test(diagnose, hints_need_evidence) {
    struct scene s;
    struct dsv4_notes notes = {.n = 0};
    char summary[512];
    open_scene(&s, support_wide, 3);
    const int64_t pad = find_part(&s, "pad scale byte", false);
    s.got.base[pad] = 0x55; /* no mutant gives this */
    dsv4_diagnose(&notes, summary, sizeof summary, &s.compare, &s.inquiry);
    cr_assert_str_eq(note(&notes, "hint"), "");
    dsv4_notes_free(&notes);
    s.got.base[pad] = 0xFF; /* what it held before the call */
    dsv4_diagnose(&notes, summary, sizeof summary, &s.compare, &s.inquiry);
    ASSERT_HAS(note(&notes, "hint"), "never written");
    dsv4_notes_free(&notes);
    s.got.base[pad] = 0;
    const int64_t scale = find_part(&s, "scale byte", false);
    s.got.base[scale]++; /* scale-bias does this to every scale */
    dsv4_diagnose(&notes, summary, sizeof summary, &s.compare, &s.inquiry);
    ASSERT_HAS(note(&notes, "hint"),
               "mutant scale-bias gives every wrong byte here, and 34 more that are right");
    dsv4_notes_free(&notes);
    close_scene(&s);
}

/* Doubles the first `n` RoPE values, which no mutant does, and returns where the last of them lies. */
static int64_t double_rope(const struct scene *s, int64_t n) {
    const struct dsv4_case_tensor *const t = &s->v.c.tensors[CACHE];
    struct dsv4_site site;
    int64_t last = -1;
    for (int64_t i = 0; i < dsv4_packed_bytes(t) && n > 0; i++) {
        const int64_t offset = dsv4_storage_offset(t, i), at = t->offset + offset;
        uint16_t value;
        dsv4_layout_find(t->t.layout)->locate(&s->v.c, CACHE, offset, &site);
        memcpy(&value, s->want.base + at, 2);
        if (strcmp(site.part, "RoPE value") != 0 || site.unit != offset ||
            s->v.tensors[CACHE].keep[i] != 0 || (value & 0x7F80) == 0)
            continue;
        value = (uint16_t)(value + 0x80); /* one more in the exponent */
        memcpy(s->got.base + at, &value, 2);
        last = at;
        n--;
    }
    return last;
}

Test(diagnose, a_factor_is_named_where_all_values_have_it) {
    static const struct {
        int64_t n;
        unsigned char flip; /* in the last of them */
        bool told;
    } rows[] = {
        {64, 0, true },
        {64, 1, false},
        {3,  0, false}
    };
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        struct scene s;
        struct dsv4_notes notes = {.n = 0};
        char summary[512];
        open_scene(&s, support_wide, 3);
        s.got.base[double_rope(&s, rows[i].n)] ^= rows[i].flip;
        dsv4_diagnose(&notes, summary, sizeof summary, &s.compare, &s.inquiry);
        cr_assert_str_eq(note(&notes, "hint"),
                         rows[i].told
                             ? "`cache` is right but for one thing: its wrong values are 2 "
                               "times the right ones, as where e4m3fnuz codes are read as "
                               "e4m3fn"
                             : "");
        dsv4_notes_free(&notes);
        close_scene(&s);
    }
}

/* Where the class does not allow the noise, or no mistake explains what is beyond it, nothing is said. */
Test(diagnose, plugins_without_a_cause_that_is_known) {
    enum { OUTPUT = 1 << 20 };
    static const char *const lines[] = {
        "twice.so --op gemm_bf16 --case edge-17-34",
        "block_dropped.so --op gemm_bf16 --case edge-17-34",
        "ulp_many.so --op gemm_bf16 --case edge-17-34 --class F32-ANY",
        "ulp_one.so --op norm_rms --case width-77 --class F32-ANY",
    };
    char *const output = malloc(OUTPUT);
    for (size_t i = 0; i < sizeof lines / sizeof *lines; i++) {
        char line[5000], path[4200];
        support_build(path, sizeof path, "tests/planted");
        snprintf(line, sizeof line, "check --fresh --impl %s/%s", path, lines[i]);
        cr_assert_eq(support_run(output, OUTPUT, line), 1, "%s", output);
        cr_assert_null(strstr(output, "  hint "), "%s", output);
    }
    free(output);
}

/* Every byte of a page is one token's, in each arrangement, and none is the tail's. */
Test(pages, places_and_tokens_are_inverse) {
    static const struct dsv4_pages sizes[] = {
        {5,  576, 8, DSV4_PLANAR},
        {32, 128, 4, DSV4_PLANAR},
        {3,  64,  4, DSV4_PLANAR}
    };
    for (size_t i = 0; i < sizeof sizes / sizeof *sizes; i++)
        for (int a = 0; a < DSV4_N_ARRANGEMENTS; a++) {
            struct dsv4_pages pages = sizes[i];
            const int64_t row = pages.data_bytes + pages.scale_bytes;
            int64_t token, byte;
            pages.arrangement = (enum dsv4_arrangement)a;
            cr_assert_eq(dsv4_pages_fit(&pages), a != DSV4_SHUFFLED || i == 1);
            if (!dsv4_pages_fit(&pages)) continue;
            for (int64_t at = 0; at < pages.tokens * row; at++) {
                cr_assert(dsv4_page_find(&pages, at, &token, &byte));
                cr_assert(token >= 0 && token < pages.tokens && byte >= 0 && byte < row);
                cr_assert_eq(dsv4_page_offset(&pages, token, byte), at);
            }
            cr_assert_not(dsv4_page_find(&pages, pages.tokens * row, &token, &byte));
        }
}

Test(diagnose, another_dialect_is_named) {
    static const char *const params[] = {"fp8", "fnuz224", "batch", "5@0"};
    static const char *const other[] = {"fp8", "ocp", "batch", "5@0"};
    struct scene s;
    struct dsv4_vector v;
    struct dsv4_notes notes = {.n = 0};
    char summary[512];
    open_scene(&s, params, 2);
    support_vector(&v, other, 2);
    const struct dsv4_case_tensor *const t = &v.c.tensors[CACHE];
    dsv4_unpack(s.got.base + t->offset, t, v.tensors[CACHE].out);
    for (int64_t i = 0; i < dsv4_packed_bytes(t); i++) /* what neither writes stays as it was */
        if (v.tensors[CACHE].keep[i] != 0) {
            const int64_t at = t->offset + dsv4_storage_offset(t, i);
            s.got.base[at] = s.want.base[at];
        }
    dsv4_diagnose(&notes, summary, sizeof summary, &s.compare, &s.inquiry);
    ASSERT_HAS(note(&notes, "hint"), "output equals dialect fp8=ocp bit for bit");
    dsv4_notes_free(&notes);
    dsv4_vector_free(&v);
    close_scene(&s);
}

Test(diagnose, distances_count_representable_values) {
    struct scene s;
    struct dsv4_notes notes = {.n = 0};
    char summary[512];
    static const struct {
        uint16_t want, got;
        const char *text;
    } rows[] = {
        {0x3F80, 0x3F81, "1 unit in the last place" },
        {0x3F7E, 0x3F81, "3 units in the last place"},
        {0x0001, 0x8001, "2 units in the last place"},
        {0x0000, 0x8000, "0 units in the last place"},
        {0x3F80, 0x7FC0, ""                         }
    };
    open_scene(&s, support_wide, 3);
    const int64_t at = find_part(&s, "RoPE value", false);
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        memcpy(s.want.base + at, &rows[i].want, 2);
        memcpy(s.got.base + at, &rows[i].got, 2);
        dsv4_diagnose(&notes, summary, sizeof summary, &s.compare,
                      &(struct dsv4_inquiry){.poison = 1});
        cr_assert_str_eq(note(&notes, "apart"), rows[i].text);
        dsv4_notes_free(&notes);
    }
    close_scene(&s);
}

Test(value, decodes_what_lies_there) {
    static const struct {
        uint32_t dtype;
        int bytes;
        const char *part;
        unsigned char bits[8];
        const char *text;
    } rows[] = {
        {DSV4_E8M0,     1, "scale byte", {0x79},                                           "0x79   e8m0 2^-6"                 },
        {DSV4_E8M0,     1, "scale byte", {0xFF},                                           "0xff   e8m0 NaN"                  },
        {DSV4_BF16,     2, "element",    {0x61, 0x40},                                     "0x4061   bf16 3.515625"           },
        {DSV4_BF16,     2, "element",    {0x00, 0x80},                                     "0x8000   bf16 -0"                 },
        {DSV4_F32,      4, "element",    {0x00, 0x00, 0x80, 0x3F},                         "0x3f800000   f32 1"               },
        {DSV4_E4M3FN,   1, "code",       {0x7E},                                           "0x7e   e4m3fn 448"                },
        {DSV4_E4M3FN,   1, "code",       {0x80},                                           "0x80   e4m3fn -0"                 },
        {DSV4_E4M3FNUZ, 1, "code",       {0x80},                                           "0x80   e4m3fnuz NaN"              },
        {DSV4_E4M3FNUZ, 1, "code",       {0x7F},                                           "0x7f   e4m3fnuz 240"              },
        {DSV4_U8,       1, "nibbles",    {0x9F},                                           "0x9f   e2m1 -6 (low), -0.5 (high)"},
        {DSV4_I32,      4, "element",    {0xFF, 0xFF, 0xFF, 0xFF},                         "0xffffffff   i32 -1"              },
        {DSV4_I64,      8, "element",    {0xFE, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF}, "i64 -2"                           },
    };
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        struct dsv4_site site = {.dtype = rows[i].dtype, .unit_bytes = rows[i].bytes};
        char text[200];
        strcpy(site.part, rows[i].part);
        dsv4_value_text(text, sizeof text, &site, rows[i].bits);
        ASSERT_HAS(text, rows[i].text);
    }
}
