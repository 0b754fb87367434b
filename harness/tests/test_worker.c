/* SPDX-License-Identifier: Apache-2.0 */
#include <sys/socket.h>

#include "../arena.h"
#include "../compare.h"
#include "../runner.h"
#include "support.h"

static void open_runner(struct dsv4_runner *r, const char *stem) {
    char program[4100], plugin[4100], file[200];
    snprintf(file, sizeof file, "tests/planted/%s.so", stem);
    support_build(program, sizeof program, "dsv4cts");
    support_build(plugin, sizeof plugin, file);
    cr_assert_eq(access(plugin, R_OK), 0, "%s is not built", plugin);
    dsv4_runner_init(r, program, plugin);
    r->timeout = 20;
}

/* One run of one case in a new arena. */
static enum dsv4_outcome run(struct dsv4_runner *r, const struct dsv4_vector *v,
                             struct dsv4_reply *reply, bool *right) {
    struct dsv4_arena got, want;
    struct dsv4_request request;
    struct dsv4_err err;
    cr_assert_eq(dsv4_arena_open(&got, &v->c, &err), 0);
    dsv4_arena_private(&want, &v->c);
    dsv4_arena_fill(&got, v, 3, DSV4_BEFORE);
    dsv4_arena_fill(&want, v, 3, DSV4_AFTER);
    dsv4_request_set(&request, DSV4_REQUEST_RUN, &v->c);
    const enum dsv4_outcome outcome = dsv4_runner_ask(r, &request, got.fd, reply);
    const struct dsv4_comparison compare = {v, &got, &want, NULL};
    *right = dsv4_compare_at(&compare, 0) < 0;
    dsv4_arena_close(&got);
    dsv4_arena_close(&want);
    return outcome;
}

Test(worker, a_right_plugin_leaves_the_expected_image) {
    struct dsv4_runner r;
    struct dsv4_vector v;
    struct dsv4_reply reply;
    struct dsv4_err err = {{0}, {0}, 0};
    bool right;
    support_vector(&v, support_wide, 3);
    open_runner(&r, "right");
    cr_assert_eq(dsv4_runner_start(&r, &err), DSV4_OK, "%s", err.text);
    cr_assert_str_eq(r.info.name, "planted");
    cr_assert_str_eq(r.info.device, "cpu");
    for (int i = 0; i < 3; i++) {
        cr_assert_eq(run(&r, &v, &reply, &right), DSV4_ANSWERED);
        cr_assert_eq(reply.status, DSV4_OK);
        cr_assert_eq(reply.stage, DSV4_STAGE_RUN);
        cr_assert(right);
    }
    dsv4_runner_stop(&r);
    dsv4_vector_free(&v);
}

Test(worker, addresses_beyond_4_gib) {
    struct dsv4_runner r;
    struct dsv4_vector v;
    struct dsv4_reply reply;
    bool right;
    support_vector(&v, support_high, 2);
    cr_assert_gt(v.c.arena_bytes, INT64_C(1) << 32);
    open_runner(&r, "right");
    cr_assert_eq(run(&r, &v, &reply, &right), DSV4_ANSWERED);
    cr_assert(right);
    dsv4_runner_stop(&r);
    dsv4_vector_free(&v);
}

Test(worker, a_crash_costs_one_case) {
    struct dsv4_runner r;
    struct dsv4_vector v;
    struct dsv4_reply reply;
    bool right;
    support_vector(&v, support_wide, 3);
    open_runner(&r, "aborts");
    for (int i = 0; i < 2; i++) { /* the second time in a new worker */
        cr_assert_eq(run(&r, &v, &reply, &right), DSV4_CRASHED);
        ASSERT_HAS(r.death, "SIGABRT (Aborted) in run()");
        cr_assert_gt(r.tail_bytes, 0);
        cr_assert_eq(r.pid, 0);
        cr_assert_not(right);
    }
    dsv4_runner_stop(&r);
    dsv4_vector_free(&v);
}

Test(worker, a_hang_ends_at_its_time_limit) {
    struct dsv4_runner r;
    struct dsv4_vector v;
    struct dsv4_reply reply;
    bool right;
    support_vector(&v, support_wide, 3);
    open_runner(&r, "hangs");
    r.timeout = 1;
    cr_assert_eq(run(&r, &v, &reply, &right), DSV4_TIMED_OUT);
    ASSERT_HAS(r.death, "no answer after 1 s in run()");
    cr_assert_eq(r.pid, 0);
    dsv4_vector_free(&v);
}

Test(worker, a_plugin_that_prints_a_lot_is_drained) {
    struct dsv4_runner r;
    struct dsv4_vector v;
    struct dsv4_reply reply;
    bool right;
    support_vector(&v, support_wide, 3);
    open_runner(&r, "spams");
    cr_assert_eq(run(&r, &v, &reply, &right), DSV4_ANSWERED);
    cr_assert(right);
    cr_assert(r.tail_cut);
    cr_assert_eq(r.tail_bytes, sizeof r.tail);
    ASSERT_HAS(r.tail, "tile 39999 of");
    dsv4_runner_stop(&r);
    dsv4_vector_free(&v);
}

Test(worker, an_executable_that_is_not_there) {
    struct dsv4_runner r;
    struct dsv4_err err = {{0}, {0}, 0};
    open_runner(&r, "right");
    strcpy(r.executable, "/nonexistent/dsv4cts");
    cr_assert_eq(dsv4_runner_start(&r, &err), DSV4_ERROR);
    ASSERT_HAS(err.text, "exit(127)");
}

Test(message, carries_a_file_descriptor) {
    int pair[2], pipes[2], got = -1;
    char text[6] = "hello", back[6] = "";
    cr_assert_eq(socketpair(AF_UNIX, SOCK_SEQPACKET, 0, pair), 0);
    cr_assert_eq(pipe(pipes), 0);
    cr_assert_eq(dsv4_message_send(pair[0], text, sizeof text, pipes[1]), 0);
    cr_assert_eq(dsv4_message_receive(pair[1], back, sizeof back, &got), 1);
    cr_assert_str_eq(back, "hello");
    cr_assert_geq(got, 0);
    cr_assert_eq(write(got, "x", 1), 1);
    cr_assert_eq(read(pipes[0], back, 1), 1);
    cr_assert_eq(back[0], 'x');
    cr_assert_eq(dsv4_message_send(pair[0], text, 3, -1), 0); /* a message of the wrong size */
    cr_assert_eq(dsv4_message_receive(pair[1], back, sizeof back, &got), -1);
    close(pair[0]);
    cr_assert_eq(dsv4_message_receive(pair[1], back, sizeof back, &got), 0);
    close(pair[1]);
    close(pipes[0]);
    close(pipes[1]);
}

static const char *const long_word[] = {
    "batch", "1@0,2@1,3@2,4@3,5@4,6@5,7@6,8@7,9@8,1@9,2@10,3@11,4@12,5@13,6@14,7@15,8@16,9@17"};

Test(message, a_request_rebuilds_the_same_case) {
    struct dsv4_vector v;
    struct dsv4_request request;
    struct dsv4_case c = {.op = NULL};
    struct dsv4_err err = {{0}, {0}, 0};
    support_vector(&v, long_word, 1);
    dsv4_request_set(&request, DSV4_REQUEST_RUN, &v.c);
    cr_assert_eq(dsv4_request_case(&request, &c, &err), 0, "%s", err.text);
    cr_assert_eq(c.seed, v.c.seed);
    cr_assert_eq(c.arena_bytes, v.c.arena_bytes);
    for (size_t s = 0; s < c.op->n_slots; s++) {
        cr_assert_eq(c.tensors[s].offset, v.c.tensors[s].offset);
        cr_assert_eq(c.tensors[s].span, v.c.tensors[s].span);
    }
    dsv4_case_free(&c);
    dsv4_vector_free(&v);
}
