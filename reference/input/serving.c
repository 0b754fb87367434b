/* SPDX-License-Identifier: Apache-2.0 */
#include "serving.h"

#include <stdio.h>
#include <stdlib.h>

enum { STREAM_BATCH = 900, STREAM_PAGES = 901, MAX_REQUESTS = 1 << 20, GARBAGE_COLUMNS = 3 };
static const int64_t MAX_TOKENS = INT64_C(1) << 24;

/* Reads "123" or "~123" (a draw in low..123) and moves on. -1: not a number. */
static int64_t read_count(const char **at, int64_t low, uint64_t bits) {
    const bool draw = **at == '~';
    char *end = NULL;
    *at += draw;
    if (**at < '0' || **at > '9') return -1;
    const int64_t n = strtoll(*at, &end, 10);
    *at = end;
    if (n > MAX_TOKENS) return -1;
    return draw && n >= low ? low + dsv4_below(bits, n - low + 1) : n;
}

/* Appends one item of the list, with its repeats. */
static int read_item(struct dsv4_case *c, struct dsv4_batch *batch, const char **at) {
    const char *const start = *at;
    int64_t repeats = 1;
    for (int64_t done = 0; done < repeats; done++) {
        const uint64_t draw = (uint64_t)batch->n_requests * 2;
        const char *item = start;
        struct dsv4_request request;
        request.query = read_count(&item, 1, dsv4_random(c->seed, STREAM_BATCH, draw));
        if (request.query < 0 || *item++ != '@') return -1;
        request.context = read_count(&item, 0, dsv4_random(c->seed, STREAM_BATCH, draw + 1));
        if (request.context < 0) return -1;
        request.last = 0;
        if (*item == '^') {
            item++;
            request.last = read_count(&item, 1, 0);
            if (request.last < request.context + request.query) return -1;
        }
        if (*item == 'x') {
            item++;
            repeats = read_count(&item, 1, 0);
        }
        if (repeats < 1 || batch->n_requests + repeats - done > MAX_REQUESTS) return -1;
        batch->requests[batch->n_requests++] = request;
        batch->n_tokens += request.query;
        *at = item;
        if (batch->n_tokens > MAX_TOKENS) return -1;
    }
    return 0;
}

static int64_t count_requests(const char *text) {
    int64_t n = 1;
    for (const char *at = text; *at != '\0'; at++) {
        if (*at == ',') n++;
        if (*at == 'x') n += strtoll(at + 1, NULL, 10);
        if (n > MAX_REQUESTS) return MAX_REQUESTS + 1;
    }
    return n;
}

/* Batch sizes that engines capture graphs for: 1, 2, 4, then multiples of 8, of 16 from 256, of 256
 * from 512. */
static int64_t graph_rows(int64_t n) {
    if (n <= 2) return n;
    if (n <= 4) return 4;
    const int64_t step = n <= 256 ? 8 : n <= 512 ? 16 : 256;
    return (n + step - 1) / step * step;
}

static void lay_out(struct dsv4_case *c, struct dsv4_batch *batch) {
    batch->n_rows = batch->room != NULL ? batch->room->n_tokens : batch->n_tokens;
    if (dsv4_case_int(c, "graph_padding") != 0) batch->n_rows = graph_rows(batch->n_rows);
    batch->n_rows += dsv4_case_int(c, "padding");
    const size_t rows = (size_t)batch->n_rows, requests = (size_t)batch->n_requests;
    batch->positions = dsv4_case_alloc(c, rows * sizeof *batch->positions);
    batch->token_to_req = dsv4_case_alloc(c, rows * sizeof *batch->token_to_req);
    batch->seq_lens = dsv4_case_alloc(c, requests * sizeof *batch->seq_lens);
    int64_t t = 0;
    for (int64_t r = 0; r < batch->n_requests; r++) {
        const struct dsv4_request *request = &batch->requests[r];
        batch->seq_lens[r] = (int32_t)(request->context + request->query);
        for (int64_t i = 0; i < request->query; i++, t++) {
            batch->positions[t] = request->context + i;
            batch->token_to_req[t] = (int32_t)r;
        }
    }
    /* Stale rows look like a token at a compression boundary, so that only the slot can tell. */
    for (; t < batch->n_rows; t++) {
        batch->positions[t] = 127;
        batch->token_to_req[t] = 0;
    }
}

/* Reads the list of requests that parameter `name` holds. */
static int read_requests(struct dsv4_case *c, const char *name, struct dsv4_batch *batch,
                         int64_t room, struct dsv4_err *err) {
    const char *const text = dsv4_case_word(c, name);
    const char *at = text;
    const int64_t most = count_requests(text);
    if (most > MAX_REQUESTS) return dsv4_fail(err, "%s: '%s' has too many requests", name, text);
    batch->requests =
        dsv4_case_alloc(c, (size_t)(most > room ? most : room) * sizeof *batch->requests);
    do {
        if (read_item(c, batch, &at) != 0 || (*at != '\0' && *at != ','))
            return dsv4_fail(err,
                             "%s: '%s' is not a list of Q@C or Q@CxN (numbers up to %lld, ~ "
                             "before one draws up to it, ^ the length of a series of steps)",
                             name, text, (long long)MAX_TOKENS);
    } while (*at++ == ',');
    return 0;
}

static int make_room(struct dsv4_case *c, struct dsv4_batch *batch, struct dsv4_err *err) {
    struct dsv4_batch *const room = dsv4_case_alloc(c, sizeof *room);
    if (read_requests(c, "room", room, 0, err) != 0) return -1;
    batch->room = room;
    return 0;
}

int64_t dsv4_batch_longest(const struct dsv4_batch *batch) {
    int64_t longest = batch->room != NULL ? dsv4_batch_longest(batch->room) : 0;
    for (int64_t r = 0; r < batch->n_requests; r++) {
        const struct dsv4_request *const request = &batch->requests[r];
        const int64_t now = request->context + request->query;
        const int64_t n = request->last > now ? request->last : now;
        longest = n > longest ? n : longest;
    }
    return longest;
}

int dsv4_batch_make(struct dsv4_case *c, struct dsv4_batch *batch, struct dsv4_err *err) {
    memset(batch, 0, sizeof *batch);
    if (!dsv4_case_is(c, "room", "-") && make_room(c, batch, err) != 0) return -1;
    const struct dsv4_batch *const room = batch->room;
    if (read_requests(c, "batch", batch, room != NULL ? room->n_requests : 0, err) != 0) return -1;
    if (room != NULL && (batch->n_requests > room->n_requests || batch->n_tokens > room->n_tokens ||
                         dsv4_batch_longest(batch) > dsv4_batch_longest(room)))
        return dsv4_fail(err, "room: '%s' has fewer requests or tokens, or shorter ones, than '%s'",
                         dsv4_case_word(c, "room"), dsv4_case_word(c, "batch"));
    for (int64_t r = 0; r < batch->n_requests; r++)
        if (batch->requests[r].context < dsv4_case_int(c, "prefix"))
            return dsv4_fail(err,
                             "prefix: request %lld has a context of %lld, shorter than the prefix",
                             (long long)r, (long long)batch->requests[r].context);
    /* Requests of a padded batch: no tokens, and a length of 0. */
    while (room != NULL && batch->n_requests < room->n_requests)
        batch->requests[batch->n_requests++] = (struct dsv4_request){0};
    lay_out(c, batch);
    return 0;
}

/* ---- paging ---- */

struct pages {
    uint64_t key, stream;
    int64_t n_blocks, next;
    int64_t *order; /* the free list */
};

/* Ids of pages around the places where 32-bit arithmetic breaks, ascending and unique. */
static int64_t high_blocks(int64_t *ids, const struct dsv4_paging_rule *rule) {
    const int64_t limits[] = {INT64_C(1) << 31, INT64_C(1) << 32,
                              (INT64_C(1) << 31) * rule->element_bytes,
                              (INT64_C(1) << 32) * rule->element_bytes};
    int64_t n = 0;
    for (size_t l = 0; l < (rule->element_bytes > 1 ? 4 : 2); l++)
        for (int64_t d = -2; d <= 2; d++) {
            const int64_t id = limits[l] / rule->page_bytes + d;
            if (id > 0 && (n == 0 || id > ids[n - 1])) ids[n++] = id;
        }
    return n;
}

static void make_free_list(struct dsv4_case *c, struct pages *pages, int64_t n_pages,
                           const struct dsv4_paging_rule *rule, struct dsv4_paging *paging) {
    int64_t high[24], n_high = 0, n = 0;
    if (dsv4_case_is(c, "address", "high")) n_high = high_blocks(high, rule);
    pages->order = dsv4_case_alloc(c, (size_t)(n_pages + n_high) * sizeof *pages->order);
    for (int64_t i = 0; i < n_high; i++) pages->order[n++] = high[i];
    for (int64_t id = dsv4_case_is(c, "address", "first") ? 0 : 1; n < n_pages; id++) {
        bool taken = false;
        for (int64_t i = 0; i < n_high; i++) taken = taken || high[i] == id;
        if (!taken) pages->order[n++] = id;
    }
    pages->n_blocks = n;
    /* High pages come first so that they are in use whatever the batch needs; each part is shuffled
     * on its own. */
    for (int64_t part = 0; part < 2; part++) {
        const int64_t begin = part == 0 ? 0 : n_high, end = part == 0 ? n_high : n;
        for (int64_t i = end - 1; i > begin; i--) {
            const uint64_t bits = dsv4_random(pages->key, pages->stream, (uint64_t)i);
            const int64_t j = begin + dsv4_below(bits, i - begin + 1), id = pages->order[i];
            pages->order[i] = pages->order[j];
            pages->order[j] = id;
        }
    }
    int64_t last = 0;
    for (int64_t i = 0; i < n; i++) last = pages->order[i] > last ? pages->order[i] : last;
    paging->n_blocks = last + 1;
}

static int64_t pages_of(int64_t rows, int64_t block_size) {
    return (rows + block_size - 1) / block_size;
}

static int by_id(const void *a, const void *b) {
    const int64_t x = *(const int64_t *)a, y = *(const int64_t *)b;
    return (x > y) - (x < y);
}

/* Block 0 and a few neighbours of used blocks are live too: nobody owns them, so a stray write
 * there shows. */
static void list_live(struct dsv4_case *c, struct dsv4_paging *paging, const struct pages *pages) {
    int64_t n = 0;
    paging->live = dsv4_case_alloc(c, (size_t)(pages->n_blocks + 1) * sizeof *paging->live);
    paging->live[n++] = 0;
    for (int64_t i = 0; i < pages->n_blocks; i++) paging->live[n++] = pages->order[i];
    qsort(paging->live, (size_t)n, sizeof *paging->live, by_id);
    paging->n_live = n;
}

/* Whether all rows of a request's page have left the sliding window. */
static bool recycled(const struct dsv4_paging_rule *rule, const struct dsv4_request *request,
                     int64_t page) {
    const int64_t oldest = request->context / rule->ratio - rule->window;
    return rule->window > 0 && (page + 1) * rule->block_size <= oldest;
}

/* One request's row of the table: pages it shares, pages of its own, recycled ones, garbage beyond
 * use. */
static void fill_row(struct dsv4_paging *paging, struct pages *pages, int64_t r,
                     const struct dsv4_request *first, const struct dsv4_paging_rule *rule,
                     int64_t shared) {
    const struct dsv4_request *const request = first + r;
    const int64_t rows = (request->context + request->query) / rule->ratio;
    const int64_t used = pages_of(rows, rule->block_size);
    int32_t *const table = paging->table + r * paging->width;
    for (int64_t i = 0; i < paging->width; i++) {
        const uint64_t bits =
            dsv4_random(pages->key, pages->stream + 1, (uint64_t)(r * paging->width + i));
        if (i >= used)
            table[i] = i % 2 == 0 ? -1000000 : INT32_MAX;
        else if (recycled(rule, request, i))
            table[i] = (int32_t)dsv4_below(bits, paging->n_blocks);
        else if (r > 0 && i < shared && !recycled(rule, first, i))
            table[i] = paging->table[i];
        else
            table[i] = (int32_t)pages->order[pages->next++];
    }
}

/* Whether the step is one of a series. */
static bool is_steady(const struct dsv4_batch *batch) {
    for (int64_t r = 0; r < batch->n_requests; r++)
        if (batch->requests[r].last > 0) return true;
    return false;
}

static int64_t steady_pages(const struct dsv4_request *request,
                            const struct dsv4_paging_rule *rule) {
    const int64_t now = request->context + request->query;
    const int64_t tokens = request->last > now ? request->last : now;
    return pages_of(tokens / rule->ratio, rule->block_size);
}

/* The same request has the same pages in every step of a series: nothing is recycled, nothing moves up. */
static void fill_steady(struct dsv4_paging *paging, struct pages *pages,
                        const struct dsv4_batch *batch, const struct dsv4_paging_rule *rule) {
    for (int64_t r = 0; r < paging->n_requests; r++) {
        int32_t *const table = paging->table + r * paging->width;
        const int64_t own = steady_pages(&batch->requests[r], rule);
        for (int64_t i = 0; i < paging->width; i++)
            table[i] = i < own      ? (int32_t)pages->order[pages->next + i]
                       : i % 2 == 0 ? -1000000
                                    : INT32_MAX;
        pages->next += own;
    }
}

static int64_t count_steady(const struct dsv4_batch *batch, const struct dsv4_paging_rule *rule,
                            int64_t *widest) {
    int64_t needed = 0;
    *widest = 0;
    for (int64_t r = 0; r < batch->n_requests; r++) {
        const int64_t own = steady_pages(&batch->requests[r], rule);
        needed += own;
        *widest = own > *widest ? own : *widest;
    }
    return needed;
}

/* Pages that a batch takes at most, and the widest row of its table. */
static int64_t count_pages(const struct dsv4_batch *batch, const struct dsv4_paging_rule *rule,
                           int64_t *widest) {
    int64_t needed = 0;
    if (is_steady(batch)) return count_steady(batch, rule, widest);
    *widest = 0;
    for (int64_t r = 0; r < batch->n_requests; r++) {
        const struct dsv4_request *request = &batch->requests[r];
        const int64_t rows = (request->context + request->query) / rule->ratio;
        const int64_t used = pages_of(rows, rule->block_size);
        const int64_t live_rows =
            request->query / rule->ratio + rule->window + 2 * rule->block_size;
        const int64_t live = pages_of(live_rows, rule->block_size) + 1;
        needed += rule->window > 0 && live < used ? live : used;
        *widest = used > *widest ? used : *widest;
    }
    return needed;
}

void dsv4_paging_make(struct dsv4_case *c, struct dsv4_paging *paging,
                      const struct dsv4_batch *batch, const struct dsv4_paging_rule *rule) {
    struct pages pages = {.key = c->seed, .stream = STREAM_PAGES + 2 * rule->stream};
    const int64_t prefix = dsv4_case_int(c, "prefix");
    int64_t widest = 0, room_widest = 0, needed = count_pages(batch, rule, &widest);
    if (batch->room != NULL) {
        const int64_t room = count_pages(batch->room, rule, &room_widest);
        needed = needed > room ? needed : room;
        widest = widest > room_widest ? widest : room_widest;
    }
    memset(paging, 0, sizeof *paging);
    paging->block_size = rule->block_size;
    paging->n_requests = batch->n_requests;
    paging->width = widest + GARBAGE_COLUMNS;
    const size_t entries = (size_t)(paging->n_requests * paging->width);
    paging->table = dsv4_case_alloc(c, entries * sizeof *paging->table);
    make_free_list(c, &pages, needed + 2, rule, paging);
    const bool steady = is_steady(batch);
    if (steady) fill_steady(paging, &pages, batch, rule);
    for (int64_t r = 0; !steady && r < paging->n_requests; r++)
        fill_row(paging, &pages, r, batch->requests, rule, prefix / rule->ratio / rule->block_size);
    if (dsv4_case_is(c, "address", "high")) list_live(c, paging, &pages);
}

void dsv4_paging_live(struct dsv4_case *c, size_t slot, const struct dsv4_paging *paging) {
    if (paging->live != NULL) dsv4_live_rows(c, slot, paging->live, paging->n_live);
}

void dsv4_paging_fill(const struct dsv4_paging *paging, const dsv4_tensor *block_table) {
    for (int64_t r = 0; r < paging->n_requests; r++)
        memcpy((char *)block_table->data + r * block_table->stride[0],
               paging->table + r * paging->width, (size_t)paging->width * sizeof *paging->table);
}
