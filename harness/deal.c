/* SPDX-License-Identifier: Apache-2.0 */
#include "deal.h"

#include <errno.h>
#include <omp.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include "../reference/memory.h"

struct order {
    uint64_t unit, state[DSV4_DEAL_STATE];
};

struct hand {
    pid_t pid; /* 0: gone */
    int socket, device;
    size_t unit;
    bool busy;
};

enum { OPENED = -100, REFUSED = -101 };

void dsv4_pieces_add(struct dsv4_pieces *pieces, int32_t kind, const char *text) {
    const uint32_t bytes = (uint32_t)strlen(text) + 1;
    const size_t more = sizeof kind + sizeof bytes + bytes;
    pieces->bytes = dsv4_resize(pieces->bytes, pieces->size + more);
    char *const at = pieces->bytes + pieces->size;
    memcpy(at, &kind, sizeof kind);
    memcpy(at + sizeof kind, &bytes, sizeof bytes);
    memcpy(at + sizeof kind + sizeof bytes, text, bytes);
    pieces->size += more;
}

const char *dsv4_pieces_next(const struct dsv4_pieces *pieces, size_t *at, int32_t *kind) {
    uint32_t bytes;
    if (*at + sizeof *kind + sizeof bytes > pieces->size) return NULL;
    memcpy(kind, pieces->bytes + *at, sizeof *kind);
    memcpy(&bytes, pieces->bytes + *at + sizeof *kind, sizeof bytes);
    const char *const text = pieces->bytes + *at + sizeof *kind + sizeof bytes;
    *at += sizeof *kind + sizeof bytes + bytes;
    return *at <= pieces->size ? text : NULL;
}

static bool send_all(int socket, const void *bytes, size_t size) {
    for (const char *at = bytes; size > 0;) {
        const ssize_t n = send(socket, at, size, MSG_NOSIGNAL);
        if (n < 0 && errno == EINTR) continue;
        if (n <= 0) return false;
        at += n;
        size -= (size_t)n;
    }
    return true;
}

static bool receive_all(int socket, void *bytes, size_t size) {
    for (char *at = bytes; size > 0;) {
        const ssize_t n = recv(socket, at, size, MSG_WAITALL);
        if (n < 0 && errno == EINTR) continue;
        if (n <= 0) return false;
        at += n;
        size -= (size_t)n;
    }
    return true;
}

static bool send_pieces(int socket, const struct dsv4_pieces *pieces) {
    const uint64_t size = pieces->size;
    return send_all(socket, &size, sizeof size) && send_all(socket, pieces->bytes, pieces->size);
}

static bool receive_pieces(int socket, struct dsv4_pieces *pieces) {
    uint64_t size = 0;
    if (!receive_all(socket, &size, sizeof size)) return false;
    pieces->bytes = dsv4_alloc(size + 1);
    pieces->size = size;
    return receive_all(socket, pieces->bytes, size);
}

/* The processes share the CPU's threads, for answers and comparisons. */
static void share_threads(size_t n) {
    char text[16];
    const int each = omp_get_max_threads() / (int)n;
    if (getenv("OMP_NUM_THREADS") != NULL) return;
    omp_set_num_threads(each > 0 ? each : 1);
    snprintf(text, sizeof text, "%d", each > 0 ? each : 1);
    setenv("OMP_NUM_THREADS", text, 1);
}

static void work(const struct dsv4_deal *deal, int socket, int device) {
    struct dsv4_pieces pieces = {0};
    struct dsv4_err err = {0};
    struct order order;
    share_threads(deal->n_devices);
    if (deal->open(deal->context, device, &err) != 0) {
        dsv4_pieces_add(&pieces, REFUSED, err.text);
        send_pieces(socket, &pieces);
        return;
    }
    dsv4_pieces_add(&pieces, OPENED, "");
    bool good = send_pieces(socket, &pieces);
    dsv4_free(pieces.bytes);
    while (good && receive_all(socket, &order, sizeof order)) {
        pieces = (struct dsv4_pieces){0};
        deal->run(deal->context, order.unit, order.state, &pieces);
        good = send_pieces(socket, &pieces);
        dsv4_free(pieces.bytes);
    }
    deal->close(deal->context);
}

static void start(const struct dsv4_deal *deal, struct hand *hands, size_t h) {
    int pair[2];
    struct hand *const hand = &hands[h];
    *hand = (struct hand){.socket = -1, .device = deal->devices[h], .busy = true};
    hand->unit = SIZE_MAX; /* busy with opening its device */
    if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, pair) != 0) return;
    fflush(NULL);
    const pid_t pid = fork();
    if (pid == 0) {
        for (size_t i = 0; i < h; i++) close(hands[i].socket); /* theirs must end with the parent */
        close(pair[0]);
        work(deal, pair[1], hand->device);
        _exit(0);
    }
    close(pair[1]);
    if (pid < 0) {
        close(pair[0]);
        return;
    }
    hand->pid = pid;
    hand->socket = pair[0];
}

static void end(struct hand *hand, char *why, size_t size) {
    int status = 0;
    close(hand->socket);
    waitpid(hand->pid, &status, 0);
    hand->pid = 0;
    hand->socket = -1;
    if (WIFSIGNALED(status))
        snprintf(why, size, "the process of device %d ended with SIG%s", hand->device,
                 sigabbrev_np(WTERMSIG(status)));
    else
        snprintf(why, size, "the process of device %d ended with exit(%d)", hand->device,
                 WEXITSTATUS(status));
}

/* Gives a free process its next unit, if there is one. */
static void deal_one(const struct dsv4_deal *deal, struct hand *hand, size_t *next) {
    struct order order = {.unit = *next};
    hand->busy = false;
    if (*next >= deal->n_units) return;
    deal->state(deal->context, order.state);
    hand->unit = (*next)++;
    hand->busy = true;
    send_all(hand->socket, &order, sizeof order); /* a dead one is seen at the next read */
}

/* Something has come from a process. false: it failed. */
static bool listen_to(const struct dsv4_deal *deal, struct hand *hand, size_t *next) {
    struct dsv4_pieces pieces = {0};
    char why[200];
    const bool opening = hand->unit == SIZE_MAX;
    bool good = receive_pieces(hand->socket, &pieces);
    int32_t kind = OPENED;
    size_t at = 0;
    const char *const first = good ? dsv4_pieces_next(&pieces, &at, &kind) : NULL;
    if (!good) {
        end(hand, why, sizeof why);
        if (!opening) deal->lost(deal->context, hand->unit, why);
        if (opening) fprintf(stderr, "dsv4cts: %s\n", why);
    } else if (opening && kind == REFUSED) {
        fprintf(stderr, "dsv4cts: device %d: %s\n", hand->device, first);
        end(hand, why, sizeof why);
        good = false;
    } else {
        if (!opening) deal->take(deal->context, hand->unit, &pieces);
        deal_one(deal, hand, next);
    }
    dsv4_free(pieces.bytes);
    return good;
}

/* Waits until any process says something. false: none is at work. */
static bool wait_for_any(const struct dsv4_deal *deal, struct hand *hands, size_t *next,
                         size_t *failed) {
    struct pollfd ready[DSV4_MAX_DEVICES];
    bool any = false;
    for (size_t h = 0; h < deal->n_devices; h++) {
        const bool listens = hands[h].pid != 0 && hands[h].busy;
        ready[h] = (struct pollfd){.fd = listens ? hands[h].socket : -1, .events = POLLIN};
        any |= listens;
    }
    if (!any) return false;
    if (poll(ready, deal->n_devices, -1) < 0) return errno == EINTR;
    for (size_t h = 0; h < deal->n_devices; h++)
        if (ready[h].fd >= 0 && ready[h].revents != 0) *failed += !listen_to(deal, &hands[h], next);
    return true;
}

size_t dsv4_deal(const struct dsv4_deal *deal) {
    struct hand hands[DSV4_MAX_DEVICES];
    size_t next = 0, failed = 0;
    char why[200];
    for (size_t h = 0; h < deal->n_devices; h++) {
        start(deal, hands, h);
        failed += hands[h].pid == 0;
    }
    while (wait_for_any(deal, hands, &next, &failed)) continue;
    for (; next < deal->n_units; next++)
        deal->lost(deal->context, next, "no device is left to run it");
    for (size_t h = 0; h < deal->n_devices; h++)
        if (hands[h].pid != 0) end(&hands[h], why, sizeof why);
    return failed;
}

int dsv4_deal_devices(struct dsv4_deal *deal, const char *text, int n_all, struct dsv4_err *err) {
    deal->n_devices = 0;
    if (strcmp(text, "all") == 0) {
        if (n_all > DSV4_MAX_DEVICES)
            return dsv4_fail(err, "--devices: at most %d", DSV4_MAX_DEVICES);
        for (int i = 0; i < n_all; i++) deal->devices[deal->n_devices++] = i;
        return 0;
    }
    for (const char *at = text;; at++) {
        char *end = NULL;
        const long device = strtol(at, &end, 10);
        bool twice = false;
        for (size_t i = 0; i < deal->n_devices; i++) twice |= deal->devices[i] == device;
        if (end == at || (*end != ',' && *end != '\0') || device < 0 || device > INT32_MAX || twice)
            return dsv4_fail(err, "--devices: '%.60s' is not 'all', nor device numbers with commas",
                             text);
        if (device >= n_all)
            return dsv4_fail(err, "--devices: there is no device %ld here; there are %d", device,
                             n_all);
        if (deal->n_devices == DSV4_MAX_DEVICES)
            return dsv4_fail(err, "--devices: at most %d", DSV4_MAX_DEVICES);
        deal->devices[deal->n_devices++] = (int)device;
        at = end;
        if (*at == '\0') return 0;
    }
}
