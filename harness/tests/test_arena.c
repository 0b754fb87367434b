/* SPDX-License-Identifier: Apache-2.0 */
#include <sys/mman.h>

#include "../arena.h"
#include "../compare.h"
#include "support.h"
#include "../../reference/memory.h"

Test(arena, dense_case_is_one_segment) {
    struct dsv4_vector v;
    struct dsv4_arena a;
    support_vector(&v, support_wide, 3);
    dsv4_arena_private(&a, &v.c);
    cr_assert_eq(a.n_segments, 1);
    cr_assert_eq(a.segments[0].offset, 0);
    cr_assert_eq(a.segments[0].bytes, v.c.arena_bytes);
    dsv4_arena_close(&a);
    dsv4_vector_free(&v);
}

Test(arena, segments_cover_live_rows_and_their_neighbours) {
    struct dsv4_vector v;
    struct dsv4_arena a;
    support_vector(&v, support_high, 2);
    dsv4_arena_private(&a, &v.c);
    const struct dsv4_case_tensor *const t = &v.c.tensors[2];
    cr_assert_not_null(t->rows);
    cr_assert_gt(a.n_segments, 1);
    int64_t end = 0;
    for (size_t i = 0; i < a.n_segments; i++) { /* ascending, apart, inside */
        cr_assert(i == 0 ? a.segments[i].offset == 0 : a.segments[i].offset > end);
        cr_assert_gt(a.segments[i].bytes, 0);
        end = a.segments[i].offset + a.segments[i].bytes;
    }
    cr_assert_eq(end, v.c.arena_bytes);
    for (int64_t i = 0; i < t->n_rows; i++)
        for (int64_t row = t->rows[i] - 1; row <= t->rows[i] + 1; row++) {
            const int64_t at = t->offset + row * t->t.stride[0];
            bool inside = row < 0 || row >= t->t.shape[0];
            for (size_t s = 0; s < a.n_segments; s++)
                inside |=
                    at >= a.segments[s].offset && at < a.segments[s].offset + a.segments[s].bytes;
            cr_assert(inside, "row %lld lies in a hole", (long long)row);
        }
    dsv4_arena_close(&a);
    dsv4_vector_free(&v);
}

Test(arena, poison_depends_on_seed_and_place_alone) {
    struct dsv4_vector v;
    struct dsv4_arena a, b;
    support_vector(&v, support_wide, 3);
    dsv4_arena_private(&a, &v.c);
    dsv4_arena_private(&b, &v.c);
    dsv4_arena_fill(&a, &v, 1, DSV4_BEFORE);
    dsv4_arena_fill(&b, &v, 1, DSV4_BEFORE);
    cr_assert_eq(memcmp(a.base, b.base, (size_t)a.bytes), 0);
    dsv4_arena_fill(&b, &v, 2, DSV4_BEFORE);
    const int64_t guard = v.c.tensors[0].offset;
    int64_t same = 0, repeats = 0;
    for (int64_t i = 0; i < guard; i++) {
        same += a.base[i] == b.base[i];
        repeats += i > 0 && a.base[i] == a.base[i - 1];
    }
    cr_assert_lt(same, guard / 64);
    cr_assert_lt(repeats, guard / 64);
    dsv4_arena_close(&a);
    dsv4_arena_close(&b);
    dsv4_vector_free(&v);
}

/* Every byte of an answer differs before the call, every other byte is what it is afterwards. */
Test(arena, answers_are_inverted_before_the_call) {
    struct dsv4_vector v;
    struct dsv4_arena before, after;
    support_vector(&v, support_wide, 3);
    dsv4_arena_private(&before, &v.c);
    dsv4_arena_private(&after, &v.c);
    dsv4_arena_fill(&before, &v, 1, DSV4_BEFORE);
    dsv4_arena_fill(&after, &v, 1, DSV4_AFTER);
    const struct dsv4_case_tensor *const t = &v.c.tensors[2];
    int64_t answers = 0;
    for (int64_t i = 0; i < before.bytes; i++) {
        const int64_t packed = dsv4_packed_offset(t, i - t->offset);
        const bool answer = packed >= 0 && v.tensors[2].keep[packed] == 0;
        answers += answer;
        if (answer)
            cr_assert_eq(before.base[i], after.base[i] ^ 0xFF);
        else
            cr_assert_eq(before.base[i], after.base[i]);
        if (answer) cr_assert_eq(after.base[i], v.tensors[2].out[packed]);
    }
    cr_assert_eq(answers, 5 * 584);
    dsv4_arena_close(&before);
    dsv4_arena_close(&after);
    dsv4_vector_free(&v);
}

Test(arena, writes_to_holes_are_found) {
    struct dsv4_vector v;
    struct dsv4_arena a;
    struct dsv4_err err;
    struct dsv4_segment stray;
    support_vector(&v, support_high, 2);
    cr_assert_eq(dsv4_arena_open(&a, &v.c, &err), 0);
    dsv4_arena_fill(&a, &v, 1, DSV4_BEFORE);
    int64_t from = 0; /* segments end inside pages, whose rest is data too, but zero */
    while (dsv4_arena_stray(&a, from, &stray)) {
        for (int64_t i = 0; i < stray.bytes; i++) cr_assert_eq(a.base[stray.offset + i], 0);
        from = stray.offset + stray.bytes;
    }
    const int64_t hole = a.segments[0].offset + a.segments[0].bytes + 100000;
    cr_assert_lt(hole, a.segments[1].offset);
    a.base[hole] = 1;
    bool found = false;
    for (from = 0; dsv4_arena_stray(&a, from, &stray); from = stray.offset + stray.bytes)
        found |= hole >= stray.offset && hole < stray.offset + stray.bytes;
    cr_assert(found);
    dsv4_arena_close(&a);
    dsv4_vector_free(&v);
}

Test(arena, attach_refuses_another_size) {
    struct dsv4_vector v;
    struct dsv4_arena a;
    struct dsv4_err err;
    support_vector(&v, support_wide, 3);
    const int fd = memfd_create("test", 0);
    cr_assert_geq(fd, 0);
    cr_assert_eq(ftruncate(fd, v.c.arena_bytes - 4096), 0);
    cr_assert_eq(dsv4_arena_attach(&a, &v.c, fd, &err), -1);
    ASSERT_HAS(err.text, "does not have the");
    close(fd);
    dsv4_vector_free(&v);
}
