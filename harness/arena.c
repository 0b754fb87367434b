/* SPDX-License-Identifier: Apache-2.0 */
#include "arena.h"

#include <assert.h>
#include <errno.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include "../reference/input/input.h"
#include "../reference/memory.h"

enum { POISON_STREAM = 0x706F };

static void add(struct dsv4_arena *a, int64_t start, int64_t end) {
    if (end <= start) return;
    a->segments = dsv4_resize(a->segments, (a->n_segments + 1) * sizeof *a->segments);
    a->segments[a->n_segments++] = (struct dsv4_segment){start, end - start};
}

/* Everything is a segment but what lies between live rows and their neighbours. A neighbour is the row that a kernel with
 * an index off by one writes, perhaps with zeros, so it must not be zero itself; the gaps of rows that lie far apart need
 * be no more than a guard band. */
static void find_segments(struct dsv4_arena *a, const struct dsv4_case *c) {
    int64_t start = 0;
    for (size_t s = 0; s < c->op->n_slots; s++) {
        const struct dsv4_case_tensor *t = &c->tensors[s];
        if (t->rows == NULL || t->span == 0) continue;
        const int64_t end = t->offset + t->span;
        int64_t at = t->offset;
        for (int64_t i = 0; i < t->n_rows; i++)
            for (int64_t row = t->rows[i] - 1; row <= t->rows[i] + 1; row++) {
                int64_t first, last;
                dsv4_row_band(t, row, &first, &last);
                if (row < 0 || row >= t->t.shape[0] || last <= at) continue;
                if (first > at) {
                    add(a, start, at);
                    start = first;
                }
                at = last;
            }
        if (at < end) {
            add(a, start, at);
            start = end;
        }
    }
    add(a, start, c->arena_bytes);
}

int dsv4_arena_attach(struct dsv4_arena *a, const struct dsv4_case *c, int fd,
                      struct dsv4_err *err) {
    struct stat status;
    memset(a, 0, sizeof *a);
    a->fd = fd;
    a->bytes = c->arena_bytes;
    if (fstat(fd, &status) != 0 || status.st_size != a->bytes)
        return dsv4_fail(err, "the shared arena does not have the %lld bytes of this case",
                         (long long)a->bytes);
    a->base = dsv4_map_shared(fd, (size_t)a->bytes);
    find_segments(a, c);
    return 0;
}

int dsv4_arena_open(struct dsv4_arena *a, const struct dsv4_case *c, struct dsv4_err *err) {
    memset(a, 0, sizeof *a);
    a->fd = -1;
    const int fd = memfd_create("dsv4cts-arena", MFD_CLOEXEC);
    if (fd < 0) return dsv4_fail(err, "cannot make shared memory: %s", strerror(errno));
    if (ftruncate(fd, c->arena_bytes) == 0 && dsv4_arena_attach(a, c, fd, err) == 0) return 0;
    dsv4_fail(err, "cannot make %lld bytes of shared memory: %s", (long long)c->arena_bytes,
              strerror(errno));
    close(fd);
    a->fd = -1;
    return -1;
}

void dsv4_arena_private(struct dsv4_arena *a, const struct dsv4_case *c) {
    memset(a, 0, sizeof *a);
    a->fd = -1;
    a->bytes = c->arena_bytes;
    a->base = dsv4_map((size_t)a->bytes);
    find_segments(a, c);
}

void dsv4_arena_copy(struct dsv4_arena *to, const struct dsv4_arena *from) {
    assert(to->bytes == from->bytes);
    for (size_t i = 0; i < from->n_segments; i++) {
        const struct dsv4_segment *const s = &from->segments[i];
        memcpy(to->base + s->offset, from->base + s->offset, (size_t)s->bytes);
    }
}

void dsv4_arena_dense(struct dsv4_arena *a) {
    a->n_segments = 0;
    add(a, 0, a->bytes);
}

void dsv4_arena_close(struct dsv4_arena *a) {
    if (a->base != NULL) dsv4_unmap(a->base, (size_t)a->bytes);
    if (a->fd >= 0) close(a->fd);
    dsv4_free(a->segments);
    memset(a, 0, sizeof *a);
    a->fd = -1;
}

/* The hole at or after `from`. */
static bool next_hole(const struct dsv4_arena *a, int64_t from, struct dsv4_segment *hole) {
    for (size_t i = 0; i + 1 < a->n_segments; i++) {
        const int64_t start = a->segments[i].offset + a->segments[i].bytes;
        const int64_t end = a->segments[i + 1].offset;
        if (end <= from) continue;
        hole->offset = start > from ? start : from;
        hole->bytes = end - hole->offset;
        return true;
    }
    return false;
}

bool dsv4_arena_stray(const struct dsv4_arena *a, int64_t from, struct dsv4_segment *stray) {
    struct dsv4_segment hole;
    while (a->fd >= 0 && next_hole(a, from, &hole)) {
        const int64_t end = hole.offset + hole.bytes;
        const int64_t data = lseek(a->fd, hole.offset, SEEK_DATA);
        if (data >= 0 && data < end) {
            const int64_t stop = lseek(a->fd, data, SEEK_HOLE);
            stray->offset = data;
            stray->bytes = (stop > data && stop < end ? stop : end) - data;
            return true;
        }
        from = end;
    }
    return false;
}

static void fill_poison(unsigned char *base, const struct dsv4_segment *segment, uint64_t poison) {
    const int64_t end = segment->offset + segment->bytes;
#pragma omp parallel for schedule(static) if (segment->bytes > 1 << 20)
    for (int64_t word = segment->offset / 8; word < (end + 7) / 8; word++) {
        const uint64_t bits = dsv4_random(poison, POISON_STREAM, (uint64_t)word);
        for (int64_t i = 0; i < 8; i++) {
            const int64_t at = word * 8 + i;
            if (at >= segment->offset && at < end) base[at] = (unsigned char)(bits >> 8 * i);
        }
    }
}

static void fill_tensor(unsigned char *data, const struct dsv4_case_tensor *t,
                        const struct dsv4_vector_tensor *golden, enum dsv4_moment moment) {
    const int64_t bytes = dsv4_packed_bytes(t);
    if (golden->in != NULL) dsv4_unpack(data, t, golden->in);
    if (golden->out == NULL || bytes == 0 || moment == DSV4_NEXT ||
        (moment == DSV4_BEFORE && golden->in != NULL && golden->keep == NULL))
        return;
    unsigned char *const packed = dsv4_alloc((size_t)bytes);
    dsv4_pack(packed, t, data);
    const unsigned char flip = moment == DSV4_BEFORE ? 0xFF : 0;
#pragma omp parallel for schedule(static) if (bytes > 1 << 20)
    for (int64_t i = 0; i < bytes; i++)
        if (golden->keep == NULL || golden->keep[i] == 0)
            packed[i] = (unsigned char)(golden->out[i] ^ flip);
    dsv4_unpack(data, t, packed);
    dsv4_free(packed);
}

void dsv4_arena_fill(struct dsv4_arena *a, const struct dsv4_vector *v, uint64_t poison,
                     enum dsv4_moment moment) {
    assert(a->bytes == v->c.arena_bytes);
    /* What an earlier call wrote into holes must not stay there. */
    if (a->fd >= 0 && a->n_segments > 1 &&
        (ftruncate(a->fd, 0) != 0 || ftruncate(a->fd, a->bytes) != 0))
        abort();
    for (size_t i = 0; i < a->n_segments; i++) fill_poison(a->base, &a->segments[i], poison);
    dsv4_arena_write(a, v, moment);
}

void dsv4_arena_write(struct dsv4_arena *a, const struct dsv4_vector *v, enum dsv4_moment moment) {
    assert(a->bytes == v->c.arena_bytes);
    for (size_t s = 0; s < v->c.op->n_slots; s++) {
        const struct dsv4_case_tensor *t = &v->c.tensors[s];
        fill_tensor(a->base + t->offset, t, &v->tensors[s], moment);
    }
}
