/* SPDX-License-Identifier: Apache-2.0 */
/* Messages between parent and worker. */
#include <errno.h>
#include <stdio.h>
#include <sys/socket.h>
#include <sys/uio.h>
#include <unistd.h>

#include "worker.h"

union control {
    struct cmsghdr header;
    char bytes[CMSG_SPACE(sizeof(int))];
};

int dsv4_message_send(int socket, const void *message, size_t bytes, int fd) {
    union control control;
    struct iovec body = {(void *)(uintptr_t)message, bytes};
    struct msghdr head = {.msg_iov = &body, .msg_iovlen = 1};
    memset(&control, 0, sizeof control);
    if (fd >= 0) {
        head.msg_control = control.bytes;
        head.msg_controllen = sizeof control.bytes;
        struct cmsghdr *const rights = CMSG_FIRSTHDR(&head);
        rights->cmsg_level = SOL_SOCKET;
        rights->cmsg_type = SCM_RIGHTS;
        rights->cmsg_len = CMSG_LEN(sizeof fd);
        memcpy(CMSG_DATA(rights), &fd, sizeof fd);
    }
    ssize_t sent;
    do sent = sendmsg(socket, &head, MSG_NOSIGNAL);
    while (sent < 0 && errno == EINTR);
    return sent == (ssize_t)bytes ? 0 : -1;
}

int dsv4_message_receive(int socket, void *message, size_t bytes, int *fd) {
    union control control;
    struct iovec body = {message, bytes};
    struct msghdr head = {.msg_iov = &body,
                          .msg_iovlen = 1,
                          .msg_control = control.bytes,
                          .msg_controllen = sizeof control.bytes};
    memset(&control, 0, sizeof control);
    if (fd != NULL) *fd = -1;
    ssize_t received;
    do received = recvmsg(socket, &head, MSG_CMSG_CLOEXEC);
    while (received < 0 && errno == EINTR);
    const struct cmsghdr *rights = received > 0 ? CMSG_FIRSTHDR(&head) : NULL;
    int passed = -1;
    if (rights != NULL && rights->cmsg_type == SCM_RIGHTS)
        memcpy(&passed, CMSG_DATA(rights), sizeof passed);
    if (fd != NULL)
        *fd = passed;
    else if (passed >= 0)
        close(passed);
    if (received == 0) return 0;
    return received == (ssize_t)bytes ? 1 : -1;
}

void dsv4_request_set(struct dsv4_request *request, enum dsv4_request_kind kind,
                      const struct dsv4_case *c) {
    memset(request, 0, sizeof *request);
    request->kind = kind;
    snprintf(request->op, sizeof request->op, "%s", c->op->name);
    snprintf(request->name, sizeof request->name, "%s", c->name);
    request->seed = c->seed;
    for (size_t p = 0; p < c->op->n_params; p++)
        dsv4_case_text(c, p, request->params[p], sizeof request->params[p]);
}

int dsv4_request_case(const struct dsv4_request *request, struct dsv4_case *c,
                      struct dsv4_err *err) {
    const struct dsv4_op *const op = dsv4_op_find(request->op);
    if (op == NULL) return dsv4_fail(err, "no op '%s'", request->op);
    dsv4_case_init(c, op, request->name);
    c->seed = request->seed;
    for (size_t p = 0; p < op->n_params; p++)
        if (dsv4_case_set(c, op->params[p].name, request->params[p], err) != 0) return -1;
    if (dsv4_case_shape(c, err) != 0) return -1;
    /* What is measured lies as engines allocate it. */
    dsv4_case_place(c, request->kind != DSV4_REQUEST_BENCH && dsv4_case_is_skewed(c));
    return 0;
}
