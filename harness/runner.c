/* SPDX-License-Identifier: Apache-2.0 */
#include "runner.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "plugin.h"

static const double least_open_seconds = 120; /* a device's first use may compile and map a lot */

/* A plug-in in Python is opened by Python: the script is the same worker, as a library (embed.h). */
static void set_python(struct dsv4_runner *r) {
    char directory[4000];
    const char *const python = getenv("DSV4_PYTHON");
    dsv4_build_directory(directory, sizeof directory);
    snprintf(r->python, sizeof r->python, "%s", python != NULL ? python : "python3");
    snprintf(r->script, sizeof r->script, "%s/python/dsv4cts/worker.py", directory);
}

void dsv4_runner_init(struct dsv4_runner *r, const char *executable, const char *path) {
    memset(r, 0, sizeof *r);
    snprintf(r->executable, sizeof r->executable, "%s", executable);
    snprintf(r->path, sizeof r->path, "%s", path);
    if (dsv4_plugin_is_python(path)) set_python(r);
    r->timeout = 60;
    r->socket = r->output = -1;
}

static double now(void) {
    struct timespec time;
    clock_gettime(CLOCK_MONOTONIC, &time);
    return (double)time.tv_sec + 1e-9 * (double)time.tv_nsec;
}

/* In the child: only async-signal-safe calls. */
static void become_worker(const struct dsv4_runner *r, int socket, int output) {
    char number[16];
    setpgid(0, 0);
    const int null = open("/dev/null", O_RDONLY);
    dup2(null, STDIN_FILENO);
    dup2(output, STDOUT_FILENO);
    dup2(output, STDERR_FILENO);
    fcntl(socket, F_SETFD, 0);
    snprintf(number, sizeof number, "%d", socket);
    if (r->python[0] == '\0')
        execl(r->executable, "dsv4cts", "worker", number, (char *)NULL);
    else /* env looks for it along PATH */
        execl("/usr/bin/env", "env", r->python, r->script, number, (char *)NULL);
    _exit(127);
}

static int launch(struct dsv4_runner *r, struct dsv4_err *err) {
    int pair[2] = {-1, -1}, pipes[2] = {-1, -1};
    if (socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, pair) != 0 ||
        pipe2(pipes, O_CLOEXEC) != 0) {
        dsv4_fail(err, "cannot connect to a worker: %s", strerror(errno));
        goto failed;
    }
    fflush(NULL);
    const pid_t pid = fork();
    if (pid < 0) {
        dsv4_fail(err, "cannot start a worker: %s", strerror(errno));
        goto failed;
    }
    if (pid == 0) become_worker(r, pair[1], pipes[1]);
    setpgid(pid, pid);
    close(pair[1]);
    close(pipes[1]);
    fcntl(pipes[0], F_SETFL, O_NONBLOCK);
    r->pid = pid;
    r->socket = pair[0];
    r->output = pipes[0];
    return 0;
failed:
    for (int i = 0; i < 2; i++) {
        if (pair[i] >= 0) close(pair[i]);
        if (pipes[i] >= 0) close(pipes[i]);
    }
    return -1;
}

/* Keeps the last bytes. false: the other end is closed. */
static bool drain(struct dsv4_runner *r) {
    char buffer[8192];
    for (int round = 0; round < 64; round++) {
        const ssize_t n = read(r->output, buffer, sizeof buffer);
        if (n == 0) return false;
        if (n < 0) return errno == EAGAIN || errno == EINTR;
        size_t bytes = (size_t)n;
        const char *from = buffer;
        if (bytes >= sizeof r->tail) {
            from += bytes - sizeof r->tail;
            bytes = sizeof r->tail;
        }
        if (r->tail_bytes + bytes > sizeof r->tail) {
            const size_t drop = r->tail_bytes + bytes - sizeof r->tail;
            memmove(r->tail, r->tail + drop, r->tail_bytes - drop);
            r->tail_bytes -= drop;
            r->tail_cut = true;
        }
        memcpy(r->tail + r->tail_bytes, from, bytes);
        r->tail_bytes += bytes;
    }
    return true;
}

static const char *stage_name(enum dsv4_stage stage) {
    static const char *const names[] = {
        "while the plug-in was loaded",
        "while the device was opened",
        "in canary()",
        "while the harness prepared the case",
        "in supports()",
        "in run()",
        "while the device worked",
        "in run() while its stream was captured",
        "while the captured graph was replayed",
    };
    return names[stage];
}

/* Ends the worker and everything it started, and writes down how it ended. */
static void bury(struct dsv4_runner *r, bool timed_out) {
    int status = 0;
    const double limit = now() + (timed_out ? 0 : 1);
    pid_t gone = 0;
    while (!timed_out && (gone = waitpid(r->pid, &status, WNOHANG)) == 0 && now() < limit)
        nanosleep(&(struct timespec){.tv_nsec = 2000000}, NULL);
    kill(-r->pid, SIGKILL);
    if (gone != r->pid) waitpid(r->pid, &status, 0);
    drain(r);
    if (timed_out)
        snprintf(r->death, sizeof r->death, "no answer after %g s %s", r->timeout,
                 stage_name(r->stage));
    else if (gone != r->pid || (WIFEXITED(status) && WEXITSTATUS(status) == DSV4_WORKER_CUT))
        snprintf(r->death, sizeof r->death, "the plug-in closed the worker's connection %s",
                 stage_name(r->stage));
    else if (WIFSIGNALED(status))
        snprintf(r->death, sizeof r->death, "SIG%s (%s) %s", sigabbrev_np(WTERMSIG(status)),
                 sigdescr_np(WTERMSIG(status)), stage_name(r->stage));
    else
        snprintf(r->death, sizeof r->death, "the process ended with exit(%d) %s",
                 WEXITSTATUS(status), stage_name(r->stage));
    close(r->socket);
    close(r->output);
    r->pid = 0;
    r->socket = r->output = -1;
}

/* A worker's memory is also the plug-in's: texts may lack their end, and numbers may be anything. */
static void distrust(struct dsv4_reply *reply) {
    struct dsv4_plugin_info *const info = &reply->info;
    reply->text[sizeof reply->text - 1] = '\0';
    info->name[sizeof info->name - 1] = '\0';
    info->version[sizeof info->version - 1] = '\0';
    info->device[sizeof info->device - 1] = '\0';
    info->describe[sizeof info->describe - 1] = '\0';
    info->canary_line[sizeof info->canary_line - 1] = '\0';
    if ((unsigned)reply->stage > DSV4_STAGE_REPLAY) reply->stage = DSV4_STAGE_LOAD;
}

/* Waits for the answer while reading what is printed, so that a chatty plug-in cannot block on a full pipe. */
static enum dsv4_outcome wait_for(struct dsv4_runner *r, struct dsv4_reply *reply, double limit) {
    bool printing = true;
    for (;;) {
        struct pollfd ready[2] = {
            {r->socket,                 POLLIN, 0},
            {printing ? r->output : -1, POLLIN, 0}
        };
        const double left = limit - now();
        if (left <= 0) {
            bury(r, true);
            return DSV4_TIMED_OUT;
        }
        poll(ready, 2, left > 0.1 ? 100 : (int)(left * 1000) + 1);
        if (ready[1].revents != 0) printing = drain(r);
        if (ready[0].revents != 0) {
            if (dsv4_message_receive(r->socket, reply, sizeof *reply, NULL) != 1) break;
            distrust(reply);
            r->stage = reply->stage;
            if (!reply->note) return DSV4_ANSWERED;
        } else {
            siginfo_t info = {0};
            /* A process that the plug-in forked can hold the connection open after the worker's death. */
            if (waitid(P_PID, (id_t)r->pid, &info, WEXITED | WNOHANG | WNOWAIT) == 0 &&
                info.si_pid == r->pid)
                break;
        }
    }
    bury(r, false);
    return DSV4_CRASHED;
}

static enum dsv4_outcome ask(struct dsv4_runner *r, const struct dsv4_request *request, int fd,
                             struct dsv4_reply *reply, double seconds) {
    r->tail_bytes = 0;
    r->tail_cut = false;
    r->stage = DSV4_STAGE_LOAD;
    const double limit = now() + seconds;
    if (dsv4_message_send(r->socket, request, sizeof *request, fd) != 0) {
        bury(r, false);
        return DSV4_CRASHED;
    }
    const enum dsv4_outcome outcome = wait_for(r, reply, limit);
    if (outcome == DSV4_ANSWERED) drain(r);
    return outcome;
}

/* What was printed last, in one line. */
static void last_line(const struct dsv4_runner *r, char *line, size_t size) {
    size_t end = r->tail_bytes, start;
    while (end > 0 && r->tail[end - 1] == '\n') end--;
    for (start = end; start > 0 && r->tail[start - 1] != '\n';) start--;
    snprintf(line, size, "%.*s", (int)(end - start), r->tail + start);
}

int dsv4_runner_start(struct dsv4_runner *r, struct dsv4_err *err) {
    struct dsv4_request request = {.kind = DSV4_REQUEST_OPEN, .device = r->device};
    struct dsv4_reply reply;
    if (launch(r, err) != 0) return DSV4_ERROR;
    if (r->path[0] == '\0') return DSV4_OK;
    memcpy(request.path, r->path, sizeof request.path);
    const double seconds = r->timeout > least_open_seconds ? r->timeout : least_open_seconds;
    const enum dsv4_outcome outcome = ask(r, &request, -1, &reply, seconds);
    if (outcome != DSV4_ANSWERED) {
        char line[240];
        last_line(r, line, sizeof line);
        dsv4_fail(err, "%.200s: %s%s%s", r->path, r->death, line[0] != '\0' ? ": " : "", line);
        return DSV4_ERROR;
    }
    if (reply.status != DSV4_OK) {
        dsv4_fail(err, "%.480s", reply.text);
        dsv4_runner_stop(r);
        return reply.status;
    }
    r->info = reply.info;
    return DSV4_OK;
}

enum dsv4_outcome dsv4_runner_ask(struct dsv4_runner *r, const struct dsv4_request *request, int fd,
                                  struct dsv4_reply *reply) {
    struct dsv4_err err = {0};
    if (r->pid == 0 && dsv4_runner_start(r, &err) != DSV4_OK) {
        snprintf(r->death, sizeof r->death, "the worker did not start again: %.200s", err.text);
        return DSV4_CRASHED;
    }
    const enum dsv4_outcome outcome = ask(r, request, fd, reply, r->timeout);
    if (outcome == DSV4_ANSWERED && reply->fatal) dsv4_runner_stop(r);
    return outcome;
}

void dsv4_runner_stop(struct dsv4_runner *r) {
    if (r->pid == 0) return;
    close(r->socket);
    close(r->output);
    kill(-r->pid, SIGKILL);
    waitpid(r->pid, NULL, 0);
    r->pid = 0;
    r->socket = r->output = -1;
}
