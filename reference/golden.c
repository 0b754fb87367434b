/* SPDX-License-Identifier: Apache-2.0 */
#include "golden.h"

#include <stdio.h>

#include "memory.h"

enum { GUARD = 4096 };

/* Arenas up to this size are poisoned and inspected as a whole; beyond it, guard bands, whole dense
 * tensors, and of row-sparse ones the live rows with their neighbours. */
static const int64_t whole_arena = INT64_C(256) << 20;

struct range {
    int64_t begin, end;
};

struct maker {
    struct dsv4_case *c;
    struct dsv4_vector_tensor *tensors;
    const struct dsv4_vector_tensor *given; /* NULL: the recipe makes everything */
    char *arena;
    struct range *ranges;
    size_t n_ranges;
    unsigned char *before[DSV4_MAX_TENSORS]; /* poison of the tensor's packed bytes */
    unsigned char *after[DSV4_MAX_TENSORS];  /* first run's outputs */
    struct dsv4_err *err;
};

/* Bytes 8 * word .. 8 * word + 7. */
static uint64_t poison_word(int64_t word, int turn) {
    uint64_t x = (uint64_t)(word + 1) * UINT64_C(0x9E3779B97F4A7C15);
    x ^= x >> 32;
    return turn == 0 ? x : ~x;
}

static unsigned char poison_byte(int64_t offset, int turn) {
    const uint64_t word = poison_word(offset / 8, turn);
    unsigned char bytes[sizeof word];
    memcpy(bytes, &word, sizeof word);
    return bytes[offset % 8];
}

/* ---- ranges of the arena that are looked at ---- */

static void add_range(struct maker *m, int64_t begin, int64_t end) {
    if (begin >= end) return;
    struct range *last = m->n_ranges > 0 ? &m->ranges[m->n_ranges - 1] : NULL;
    if (last != NULL && begin <= last->end) {
        if (end > last->end) last->end = end;
        return;
    }
    m->ranges = dsv4_resize(m->ranges, (m->n_ranges + 1) * sizeof *m->ranges);
    m->ranges[m->n_ranges++] = (struct range){begin, end};
}

static void choose_ranges(struct maker *m) {
    if (m->c->arena_bytes <= whole_arena) {
        add_range(m, 0, m->c->arena_bytes);
        return;
    }
    for (size_t s = 0; s < m->c->op->n_slots; s++) {
        const struct dsv4_case_tensor *t = &m->c->tensors[s];
        const int64_t end = t->offset + t->span;
        add_range(m, t->offset - GUARD, t->offset);
        if (t->rows == NULL) add_range(m, t->offset, end);
        for (int64_t i = 0; t->rows != NULL && i < t->n_rows; i++)
            for (int64_t row = t->rows[i] - 1; row <= t->rows[i] + 1; row++) {
                int64_t first, last;
                dsv4_row_band(t, row, &first, &last);
                if (row >= 0 && row < t->t.shape[0]) add_range(m, first, last);
            }
        add_range(m, end, end + GUARD);
    }
}

/* Whole words of a range lie from `head` to `tail`. */
static void find_words(struct range r, int64_t *head, int64_t *tail) {
    *head = (r.begin + 7) / 8 * 8 < r.end ? (r.begin + 7) / 8 * 8 : r.end;
    *tail = r.end / 8 * 8 > *head ? r.end / 8 * 8 : *head;
}

static void poison_bytes(const struct maker *m, int64_t begin, int64_t end, int turn) {
    for (int64_t i = begin; i < end; i++) m->arena[i] = (char)poison_byte(i, turn);
}

static void poison_all(const struct maker *m, int turn) {
    for (size_t n = 0; n < m->n_ranges; n++) {
        const struct range r = m->ranges[n];
        int64_t head, tail;
        find_words(r, &head, &tail);
        poison_bytes(m, r.begin, head, turn);
#pragma omp parallel for simd schedule(static) if (r.end - r.begin > 1 << 20)
        for (int64_t w = head / 8; w < tail / 8; w++) {
            const uint64_t word = poison_word(w, turn);
            memcpy(m->arena + 8 * w, &word, sizeof word);
        }
        poison_bytes(m, tail, r.end, turn);
    }
}

static int64_t find_byte(const struct maker *m, int64_t begin, int64_t end, int turn) {
    int64_t i = begin;
    while (i < end && (unsigned char)m->arena[i] == poison_byte(i, turn)) i++;
    return i < end ? i : -1;
}

/* First byte of the ranges that is not poison; -1: none. */
static int64_t find_written(const struct maker *m, int turn) {
    for (size_t n = 0; n < m->n_ranges; n++) {
        const struct range r = m->ranges[n];
        int64_t head, tail, differ = 0;
        find_words(r, &head, &tail);
#pragma omp parallel for simd schedule(static) reduction(+ : differ) if (r.end - r.begin > 1 << 20)
        for (int64_t w = head / 8; w < tail / 8; w++) {
            uint64_t word;
            memcpy(&word, m->arena + 8 * w, sizeof word);
            differ += word != poison_word(w, turn);
        }
        if (differ > 0 || find_byte(m, r.begin, head, turn) >= 0 ||
            find_byte(m, tail, r.end, turn) >= 0)
            return find_byte(m, r.begin, r.end, turn);
    }
    return -1;
}

/* ---- one turn ---- */

static void pack_poison(struct maker *m) {
    for (size_t s = 0; s < m->c->op->n_slots; s++)
        dsv4_pack(m->before[s], &m->c->tensors[s], m->c->tensors[s].t.data);
}

static int fail_written(const struct maker *m, const char *who, int64_t at) {
    const struct dsv4_op *op = m->c->op;
    size_t slot = 0;
    for (size_t s = 0; s < op->n_slots; s++)
        if (m->c->tensors[s].offset <= at) slot = s;
    const struct dsv4_case_tensor *t = &m->c->tensors[slot];
    const int64_t byte = at - t->offset;
    return dsv4_fail(m->err, "%s/%s: the %s writes byte %lld of tensor %s, which is %s", op->name,
                     m->c->name, who, (long long)byte, op->slots[slot].name,
                     byte < 0 || byte >= t->span ? "outside of it"
                                                 : "a gap or a row that is not live");
}

/* Puts the poison back under every tensor's own bytes; whatever is not poison then was written
 * illegally. */
static int check_rest(const struct maker *m, const char *who, int turn) {
    for (size_t s = 0; s < m->c->op->n_slots; s++)
        dsv4_unpack(m->c->tensors[s].t.data, &m->c->tensors[s], m->before[s]);
    const int64_t at = find_written(m, turn);
    return at < 0 ? 0 : fail_written(m, who, at);
}

static int64_t first_difference(const unsigned char *a, const unsigned char *b, int64_t n) {
    if (n == 0 || memcmp(a, b, (size_t)n) == 0) return -1;
    int64_t i = 0;
    while (a[i] == b[i]) i++;
    return i;
}

static int fail_byte(const struct maker *m, size_t slot, int64_t packed, const char *what) {
    return dsv4_fail(m->err, "%s/%s: %s, at packed byte %lld of tensor %s", m->c->op->name,
                     m->c->name, what, (long long)packed, m->c->op->slots[slot].name);
}

static bool is_given(const struct maker *m, size_t slot) {
    return m->given != NULL && m->given[slot].in != NULL;
}

/* What an output that is given held before its turn: in the second one the complement, as with poison. */
static unsigned char given_byte(const struct maker *m, size_t slot, int64_t i, int turn) {
    return (unsigned char)(m->given[slot].in[i] ^ (turn == 0 ? 0 : 0xFF));
}

static void put_given(const struct maker *m) {
    for (size_t s = 0; s < m->c->op->n_slots; s++)
        if (is_given(m, s) && m->c->tensors[s].role != DSV4_OUT)
            dsv4_unpack(m->c->tensors[s].t.data, &m->c->tensors[s], m->given[s].in);
}

static void put_given_output(const struct maker *m, size_t slot, int turn) {
    const int64_t bytes = dsv4_packed_bytes(&m->c->tensors[slot]);
    unsigned char *const before = dsv4_alloc((size_t)bytes);
    for (int64_t i = 0; i < bytes; i++) before[i] = given_byte(m, slot, i, turn);
    dsv4_unpack(m->c->tensors[slot].t.data, &m->c->tensors[slot], before);
    dsv4_free(before);
}

static int fill_turn(struct maker *m, int turn) {
    poison_all(m, turn);
    pack_poison(m);
    m->c->op->fill(m->c);
    put_given(m);
    for (size_t s = 0; s < m->c->op->n_slots; s++) {
        const struct dsv4_case_tensor *t = &m->c->tensors[s];
        const int64_t bytes = dsv4_packed_bytes(t);
        if (t->role == DSV4_OUT || t->t.ndim == 0) {
            unsigned char *now = dsv4_alloc((size_t)bytes);
            dsv4_pack(now, t, t->t.data);
            const int64_t at = first_difference(now, m->before[s], bytes);
            dsv4_free(now);
            if (at >= 0) return fail_byte(m, s, at, "the recipe writes an output");
        } else if (turn == 0) {
            m->tensors[s].in = dsv4_alloc((size_t)bytes);
            dsv4_pack(m->tensors[s].in, t, t->t.data);
        } else {
            unsigned char *now = dsv4_alloc((size_t)bytes);
            dsv4_pack(now, t, t->t.data);
            const int64_t at = first_difference(now, m->tensors[s].in, bytes);
            dsv4_free(now);
            if (at >= 0) return fail_byte(m, s, at, "the recipe leaves an input unwritten");
        }
    }
    return check_rest(m, "recipe", turn);
}

static int call_reference(struct maker *m) {
    dsv4_call call;
    dsv4_tensor tensors[DSV4_MAX_TENSORS];
    dsv4_param params[DSV4_MAX_PARAMS];
    struct dsv4_err why = {0};
    dsv4_case_call(m->c, &call, tensors, params);
    const int status = m->c->op->run(&call, 0, &why);
    const int wanted = m->c->refused ? DSV4_REFUSED : DSV4_OK;
    if (status == wanted) return 0;
    return dsv4_fail(m->err, "%s/%s: the reference returns %d, not %d%s%.300s", m->c->op->name,
                     m->c->name, status, wanted, why.text[0] != '\0' ? ": " : "", why.text);
}

/* Takes what the first run left in output `slot`, or holds the second run's against it. */
static int take_output(struct maker *m, size_t slot, int turn) {
    const struct dsv4_case_tensor *t = &m->c->tensors[slot];
    const int64_t bytes = dsv4_packed_bytes(t);
    unsigned char *now = dsv4_alloc((size_t)bytes);
    dsv4_pack(now, t, t->t.data);
    if (m->c->refused || t->role == DSV4_IN) {
        const unsigned char *before = t->role == DSV4_OUT ? m->before[slot] : m->tensors[slot].in;
        const int64_t at = first_difference(now, before, bytes);
        dsv4_free(now);
        if (at < 0) return 0;
        return fail_byte(m, slot, at,
                         t->role == DSV4_IN ? "the reference writes an input"
                                            : "the reference refuses, but writes");
    }
    if (turn == 0)
        m->after[slot] = now;
    else
        m->tensors[slot].out = now;
    return 0;
}

static int run_turn(struct maker *m, int turn) {
    poison_all(m, turn);
    pack_poison(m);
    for (size_t s = 0; s < m->c->op->n_slots; s++)
        if (m->tensors[s].in != NULL)
            dsv4_unpack(m->c->tensors[s].t.data, &m->c->tensors[s], m->tensors[s].in);
        else if (is_given(m, s))
            put_given_output(m, s, turn);
    if (call_reference(m) != 0) return -1;
    for (size_t s = 0; s < m->c->op->n_slots; s++)
        if (m->c->tensors[s].t.ndim > 0 && take_output(m, s, turn) != 0) return -1;
    return check_rest(m, "reference", turn);
}

/* ---- two turns against each other ---- */

static int merge_output(const struct maker *m, size_t slot) {
    const struct dsv4_case_tensor *t = &m->c->tensors[slot];
    const int64_t bytes = dsv4_packed_bytes(t);
    const unsigned char *first = m->after[slot], *poison = m->before[slot];
    unsigned char *out = m->tensors[slot].out, *keep = dsv4_alloc((size_t)bytes);
    const bool given = t->role == DSV4_OUT && is_given(m, slot);
    int64_t bad = INT64_MAX, kept = 0;
#pragma omp parallel for schedule(static) reduction(min : bad) reduction(+ : kept)                 \
    if (bytes > 1 << 20)
    for (int64_t i = 0; i < bytes; i++) {
        if (first[i] == out[i]) continue;
        /* the second turn's poison, the complement of the first one's */
        const unsigned char before = given ? given_byte(m, slot, i, 1) : poison[i];
        if (t->role == DSV4_OUT && out[i] == before && (first[i] ^ before) == 0xFF) {
            keep[i] = 1;
            out[i] = given ? m->given[slot].in[i] : 0;
            kept++;
        } else if (i < bad) {
            bad = i;
        }
    }
    if ((kept > 0 || given) && bad == INT64_MAX)
        m->tensors[slot].keep = keep;
    else
        dsv4_free(keep);
    if (bad == INT64_MAX) return 0;
    return fail_byte(m, slot, bad,
                     "two runs of the reference differ by what the memory held before");
}

/* The output's earlier contents become part of the prompt. */
static void keep_given(struct maker *m, size_t slot) {
    const size_t bytes = (size_t)dsv4_packed_bytes(&m->c->tensors[slot]);
    m->tensors[slot].in = dsv4_alloc(bytes);
    if (bytes > 0) memcpy(m->tensors[slot].in, m->given[slot].in, bytes);
    m->c->tensors[slot].role = DSV4_INOUT;
}

int dsv4_golden_make_given(struct dsv4_vector_tensor *tensors, struct dsv4_case *c,
                           const struct dsv4_vector_tensor *given, struct dsv4_err *err) {
    struct maker m = {.c = c, .tensors = tensors, .given = given, .err = err};
    int status = -1;
    dsv4_case_place(c, false);
    const size_t arena_bytes = (size_t)c->arena_bytes;
    m.arena = dsv4_map(arena_bytes);
    dsv4_case_bind(c, m.arena);
    choose_ranges(&m);
    for (size_t s = 0; s < c->op->n_slots; s++)
        m.before[s] = dsv4_alloc((size_t)dsv4_packed_bytes(&c->tensors[s]));
    for (int turn = 0; turn < 2; turn++)
        if (fill_turn(&m, turn) != 0) goto done;
    for (int turn = 0; turn < 2; turn++)
        if (run_turn(&m, turn) != 0) goto done;
    for (size_t s = 0; s < c->op->n_slots; s++)
        if (m.after[s] != NULL && merge_output(&m, s) != 0) goto done;
    for (size_t s = 0; s < c->op->n_slots; s++)
        if (is_given(&m, s) && c->tensors[s].role == DSV4_OUT) keep_given(&m, s);
    status = 0;
done:
    for (size_t s = 0; s < c->op->n_slots; s++) {
        dsv4_free(m.before[s]);
        dsv4_free(m.after[s]);
        c->tensors[s].t.data = NULL;
    }
    dsv4_free(m.ranges);
    dsv4_unmap(m.arena, arena_bytes);
    return status;
}

int dsv4_golden_make(struct dsv4_vector_tensor *tensors, struct dsv4_case *c,
                     struct dsv4_err *err) {
    return dsv4_golden_make_given(tensors, c, NULL, err);
}

void dsv4_golden_free(struct dsv4_vector_tensor *tensors) {
    for (size_t s = 0; s < DSV4_MAX_TENSORS; s++) {
        dsv4_free(tensors[s].in);
        dsv4_free(tensors[s].out);
        dsv4_free(tensors[s].keep);
        tensors[s] = (struct dsv4_vector_tensor){0};
    }
}

/* ---- what is hashed ---- */

static void put_text(dsv4_sink *sink, void *context, const char *text) {
    sink(context, text, strlen(text));
}

static void put_head(const struct dsv4_case *c, size_t slot, const char *side, dsv4_sink *sink,
                     void *context) {
    const struct dsv4_case_tensor *tensor = &c->tensors[slot];
    const dsv4_tensor *t = &tensor->t;
    char line[512];
    size_t n = (size_t)snprintf(line, sizeof line, "%s %s %s", side, c->op->slots[slot].name,
                                t->ndim > 0 ? dsv4_dtype_name(t->dtype) : "absent");
    for (int d = 0; d < t->ndim; d++)
        n += (size_t)snprintf(line + n, sizeof line - n, " %lld:%lld", (long long)t->shape[d],
                              (long long)t->stride[d]);
    if (t->ndim > 0)
        snprintf(line + n, sizeof line - n, " %s %s %lld", t->layout,
                 tensor->rows != NULL ? "rows" : "dense", (long long)tensor->n_rows);
    put_text(sink, context, line);
    put_text(sink, context, "\n");
    for (int64_t i = 0; tensor->rows != NULL && i < tensor->n_rows; i++)
        sink(context, &tensor->rows[i], sizeof tensor->rows[i]);
}

void dsv4_golden_prompt(const struct dsv4_case *c, const struct dsv4_vector_tensor *tensors,
                        dsv4_sink *sink, void *context) {
    char line[DSV4_WORD_SIZE + 96], text[DSV4_WORD_SIZE];
    for (size_t p = 0; p < c->op->n_params; p++) {
        if (c->op->params[p].use == DSV4_USE_INPUT) continue;
        dsv4_case_text(c, p, text, sizeof text);
        snprintf(line, sizeof line, "param %s %s\n", c->op->params[p].name, text);
        put_text(sink, context, line);
    }
    for (size_t s = 0; s < c->op->n_slots; s++) {
        put_head(c, s, "in", sink, context);
        if (tensors[s].in != NULL)
            sink(context, tensors[s].in, (size_t)dsv4_packed_bytes(&c->tensors[s]));
    }
}

void dsv4_golden_answer(const struct dsv4_case *c, const struct dsv4_vector_tensor *tensors,
                        dsv4_sink *sink, void *context) {
    for (size_t s = 0; s < c->op->n_slots; s++) {
        const size_t bytes = (size_t)dsv4_packed_bytes(&c->tensors[s]);
        if (tensors[s].out == NULL) continue;
        put_head(c, s, "out", sink, context);
        sink(context, tensors[s].out, bytes);
        put_text(sink, context, tensors[s].keep != NULL ? "keep\n" : "all\n");
        if (tensors[s].keep != NULL) sink(context, tensors[s].keep, bytes);
    }
}
