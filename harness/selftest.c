/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The verb `selftest`: a check that cannot fail is a defect. Every mutant of every op must change at least one smoke
 * answer, and every planted plug-in must end as its line in the list says. What sees a mutant is told for each layer of
 * judgement by itself.
 */
#include <errno.h>
#include <glob.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/wait.h>
#include <unistd.h>

#include "../reference/memory.h"
#include "answers.h"
#include "bounds.h"
#include "compare.h"
#include "file.h"
#include "options.h"
#include "plugin.h"
#include "suspect.h"
#include "verbs.h"

/* How an answer is judged, weakest assumption first: its bits; its bits where no arithmetic may change them; each element
 * by its bound, and all else by bits; each tensor as a whole by its errors' squares. */
enum layer { BITS, EXACT, BOUND, TENSOR, N_LAYERS };
static const char *const layer_names[] = {"bits", "exact", "bound", "tensor"};

struct selftest {
    struct dsv4_filter filter;
    const char *vectors, *planted, *plugins, *class;
    dsv4_arithmetic arithmetic; /* the canon's: as bits */
    bool fresh;
    struct dsv4_suite suite;
    struct dsv4_answers answers;
    struct dsv4_runner suspects;
    size_t n_killed, n_survivors, n_admitted, n_planted, n_wrong;
    size_t seen_by[N_LAYERS], alone[N_LAYERS]; /* of the killed */
    bool broken;
};

enum { POISON = 7 };

/* What the cases of one op say of its mutants. */
struct trial {
    struct selftest *t;
    const struct dsv4_op *op;
    unsigned *seen;                       /* by mutant: layers that see it */
    const struct dsv4_suite_case **first; /* the case that killed it, */
    int64_t *bytes;                       /* and in how many */
    unsigned offered;                     /* layers that could see one */
    size_t n_cases;
};

/* One case while mutants are tried on it. */
struct scene {
    struct dsv4_vector v;
    struct dsv4_arena want, got;
};

static int64_t count(const struct dsv4_comparison *compare) {
    int64_t n = 0;
    for (int64_t at = dsv4_compare_at(compare, 0); at >= 0; at = dsv4_compare_at(compare, at + 1))
        n++;
    return n;
}

/* Lets the bound judge what a mutant left. Returns the layers that see it; elements that are admitted become the golden
 * ones. */
static unsigned judge(struct trial *trial, struct scene *s) {
    const struct dsv4_comparison compare = {&s->v, &s->got, &s->want, NULL};
    struct dsv4_result result = {0};
    struct dsv4_arena before;
    dsv4_arena_private(&before, &s->v.c);
    dsv4_arena_fill(&before, &s->v, POISON, DSV4_BEFORE);
    const struct dsv4_bounds bounds = {&s->v, &trial->t->arithmetic, &before, &s->got, &s->want};
    const enum dsv4_whole whole = dsv4_bounds_judge(&bounds, &result);
    if (result.verdict == DSV4_BROKEN) {
        fprintf(stderr, "%s/%s: %s\n", s->v.c.op->name, s->v.c.name, result.message);
        trial->t->broken = true;
    }
    dsv4_result_free(&result);
    dsv4_arena_close(&before);
    if (whole != DSV4_WHOLE_UNKNOWN) trial->offered |= 1U << TENSOR;
    return (dsv4_compare_at(&compare, 0) >= 0 ? 1U << BOUND : 0) |
           (whole == DSV4_WHOLE_WORSE ? 1U << TENSOR : 0);
}

/* The layers that see what a mutant left, and in how many bytes; a refusal that turned into an answer counts too. */
static unsigned look(struct trial *trial, struct scene *s, int status, int64_t *bytes) {
    const struct dsv4_comparison compare = {&s->v, &s->got, &s->want, NULL};
    const bool by_bound = dsv4_bounds_apply(&s->v, &trial->t->arithmetic);
    const unsigned last = 1U << (trial->t->class == NULL ? BITS : by_bound ? BOUND : EXACT);
    trial->offered |= 1U << BITS | last;
    *bytes = (status == DSV4_REFUSED) != s->v.c.refused ? 1 : 0;
    unsigned seen = *bytes > 0 ? 1U << BITS | last : 0;
    if (dsv4_compare_at(&compare, 0) < 0) return seen;
    seen |= 1U << BITS | (by_bound ? judge(trial, s) : last);
    *bytes += count(&compare) + (seen == (1U << BITS | 1U << TENSOR));
    return seen;
}

/* Whether a mutant is right by the class that is tested. */
static bool may_pass(const struct selftest *t, const struct dsv4_op *op, size_t mutant) {
    char of_class[2 * DSV4_NAME_SIZE];
    const char *const name = op->mutants[mutant].name;
    if (t->arithmetic.accumulation == DSV4_CANON || op->bound == NULL) return false;
    snprintf(of_class, sizeof of_class, "%s@%s", name,
             dsv4_class_names[t->arithmetic.accumulation]);
    return dsv4_has_word(op->latitude, name) || dsv4_has_word(op->latitude, of_class);
}

/* The layers whose word counts in what is tested. */
static unsigned verdict_of(const struct selftest *t, unsigned seen) {
    return t->class == NULL ? seen : seen & ~(1U << BITS);
}

static int open_scene(struct trial *trial, struct scene *s, const struct dsv4_suite_case *from) {
    struct dsv4_err err = {0};
    *s = (struct scene){.want = {.fd = -1}, .got = {.fd = -1}};
    if (dsv4_answers_get(&trial->t->answers, &s->v, from, &err) != 0 ||
        dsv4_arena_open(&s->got, &s->v.c, &err) != 0) {
        dsv4_err_print(&err);
        trial->t->broken = true;
        return -1;
    }
    dsv4_arena_private(&s->want, &s->v.c);
    dsv4_arena_fill(&s->want, &s->v, POISON, s->v.c.refused ? DSV4_BEFORE : DSV4_AFTER);
    return 0;
}

static void close_scene(struct scene *s) {
    if (s->want.base != NULL) dsv4_arena_close(&s->want);
    if (s->got.base != NULL) dsv4_arena_close(&s->got);
    dsv4_vector_free(&s->v);
}

/* Runs a mutant, 0: the truth, on a case. Returns the layers that see it, and in how many bytes. */
static unsigned try_mutant(struct trial *trial, struct scene *s, size_t mutant, int64_t *bytes) {
    struct dsv4_runner *const suspects = &trial->t->suspects;
    const int status = dsv4_suspect_run(suspects, &s->got, &s->v, POISON, (int)mutant);
    *bytes = 0;
    if (status >= 0) return look(trial, s, status, bytes);
    /* no evidence: a port with this bug need not crash */
    fprintf(stderr, "%s %s on %s: %s\n", trial->op->name,
            mutant > 0 ? trial->op->mutants[mutant - 1].name : "reference", s->v.c.name,
            suspects->death);
    if (mutant == 0) trial->t->broken = true;
    return 0;
}

/* Tries every mutant that a layer may still see on one case. */
static void try_case(struct trial *trial, const struct dsv4_suite_case *from) {
    struct scene s;
    int64_t bytes = 0;
    if (open_scene(trial, &s, from) != 0) {
        close_scene(&s);
        return;
    }
    /* the truth itself: without this, a broken comparison would kill everything */
    if (try_mutant(trial, &s, 0, &bytes) != 0) {
        fprintf(stderr, "%s/%s: the reference differs from its own answer in %lld bytes\n",
                trial->op->name, from->name, (long long)bytes);
        trial->t->broken = true;
    } else {
        for (size_t m = 0; m < trial->op->n_mutants; m++) {
            if ((trial->offered & ~trial->seen[m]) == 0) continue;
            const unsigned seen = try_mutant(trial, &s, m + 1, &bytes);
            trial->seen[m] |= seen;
            if (verdict_of(trial->t, seen) == 0 || trial->first[m] != NULL) continue;
            trial->first[m] = from;
            trial->bytes[m] = bytes;
        }
    }
    close_scene(&s);
    trial->n_cases++;
}

/* ---- the matrix ---- */

/* " bits exact bound tensor", a dash for a layer that does not see it. */
static void print_layers(unsigned seen) {
    for (int l = 0; l < N_LAYERS; l++) printf(" %s", seen >> l & 1 ? layer_names[l] : "-");
}

/* Whether a mutant is told apart as it must be: always by bits, and by the class unless it is right there. */
static bool is_caught(const struct trial *trial, size_t m) {
    const bool killed = trial->first[m] != NULL;
    return (trial->seen[m] & 1U << BITS) != 0 && killed != may_pass(trial->t, trial->op, m);
}

static void print_mutant(const struct trial *trial, size_t m) {
    const char *const op = trial->op->name, *const name = trial->op->mutants[m].name;
    const bool killed = trial->first[m] != NULL, caught = is_caught(trial, m);
    if (killed && !caught)
        printf("%s %s REFUSED by a bound that should admit it, on %s", op, name,
               trial->first[m]->name);
    else if (killed)
        printf("%s %s killed by %s (%lld byte%s)", op, name, trial->first[m]->name,
               (long long)trial->bytes[m], trial->bytes[m] == 1 ? "" : "s");
    else if (caught)
        printf("%s %s is right in %s", op, name, trial->t->class);
    else
        printf("%s %s SURVIVES %zu smoke cases: %s", op, name, trial->n_cases,
               trial->op->mutants[m].why);
    if (trial->t->class != NULL) printf("; seen by");
    if (trial->t->class != NULL) print_layers(trial->seen[m]);
    printf("\n");
}

/* One line per mutant, and one for the op. */
static void print_op(struct trial *trial) {
    struct selftest *const t = trial->t;
    size_t seen_by[N_LAYERS] = {0}, n_killed = 0;
    for (size_t m = 0; m < trial->op->n_mutants; m++) {
        const bool killed = trial->first[m] != NULL, caught = is_caught(trial, m);
        print_mutant(trial, m);
        t->n_survivors += !caught;
        t->n_admitted += caught && !killed;
        if (!caught || !killed) continue;
        n_killed++;
        for (int l = 0; l < N_LAYERS; l++) {
            seen_by[l] += trial->seen[m] >> l & 1;
            t->seen_by[l] += trial->seen[m] >> l & 1;
            t->alone[l] += verdict_of(t, trial->seen[m]) == 1U << l;
        }
    }
    t->n_killed += n_killed;
    printf("%s: %zu of %zu mutants killed", trial->op->name, n_killed, trial->op->n_mutants);
    for (int l = 0; t->class != NULL && l < N_LAYERS; l++)
        printf("%s %s %zu", l == 0 ? ", by" : ",", layer_names[l], seen_by[l]);
    printf("\n");
}

/* "; seen by bits 100.0 %, exact 31.2 % (4 by it alone), ..." */
static void print_rates(const struct selftest *t) {
    for (int l = 0; t->class != NULL && t->n_killed > 0 && l < N_LAYERS; l++) {
        printf("%s %s %.1f %%", l == 0 ? "; seen by" : ",", layer_names[l],
               100.0 * (double)t->seen_by[l] / (double)t->n_killed);
        if (l > BITS) printf(" (%zu by it alone)", t->alone[l]);
    }
}

static void try_op(struct selftest *t, const struct dsv4_op *op,
                   const struct dsv4_suite_case **cases, size_t n) {
    struct trial trial = {.t = t, .op = op};
    trial.seen = dsv4_alloc((op->n_mutants + 1) * sizeof *trial.seen);
    trial.first = dsv4_alloc((op->n_mutants + 1) * sizeof(void *));
    trial.bytes = dsv4_alloc((op->n_mutants + 1) * sizeof *trial.bytes);
    for (size_t i = 0; i < n; i++)
        if (cases[i]->op == op) try_case(&trial, cases[i]);
    if (trial.n_cases > 0) print_op(&trial);
    dsv4_free(trial.bytes);
    dsv4_free(trial.first);
    dsv4_free(trial.seen);
}

/* ---- planted plug-ins ---- */

/* One line of the list: "NAME | EXIT CODE | OPTIONS | TEXT": what `check --impl NAME OPTIONS` must return and print. */
struct planted {
    char name[128], options[256], text[256];
    int code;
};

static char *trim(char *text) {
    text += strspn(text, " \t");
    for (size_t n = strlen(text); n > 0 && strchr(" \t\r\n", text[n - 1]) != NULL; n--)
        text[n - 1] = '\0';
    return text;
}

static int parse_planted(struct planted *p, char *line, struct dsv4_err *err) {
    char *fields[4], *end = NULL;
    for (int i = 0; i < 4; i++) {
        char *const bar = strchr(line, '|');
        if ((bar == NULL) != (i == 3))
            return dsv4_fail(err, "not 'NAME | EXIT CODE | OPTIONS | TEXT'");
        if (bar != NULL) *bar = '\0';
        fields[i] = trim(line);
        if (bar != NULL) line = bar + 1;
    }
    p->code = (int)strtol(fields[1], &end, 10);
    if (end == fields[1] || *end != '\0' || fields[0][0] == '\0' || fields[3][0] == '\0' ||
        strlen(fields[0]) >= sizeof p->name || strlen(fields[2]) >= sizeof p->options ||
        strlen(fields[3]) >= sizeof p->text)
        return dsv4_fail(err, "an empty, overlong or wrong field");
    strcpy(p->name, fields[0]);
    strcpy(p->options, fields[2]);
    strcpy(p->text, fields[3]);
    return 0;
}

/* In the child: check's own door, so that exit codes are tested as a user meets them. */
static void become_check(const struct selftest *t, const struct planted *p, int output) {
    char path[4300], options[256],
        *argv[40] = {"dsv4cts", "check", "--fresh", "--suites", (char *)(uintptr_t)t->filter.suites,
                     "--impl",  path};
    int n = 7;
    if (strchr(p->name, '/') != NULL)
        snprintf(path, sizeof path, "%s", p->name);
    else
        snprintf(path, sizeof path, "%s/%s.so", t->plugins, p->name);
    strcpy(options, p->options);
    for (char *word = strtok(options, " "); word != NULL && n < 39; word = strtok(NULL, " "))
        argv[n++] = word;
    argv[n] = NULL;
    dup2(output, STDOUT_FILENO);
    dup2(output, STDERR_FILENO);
    execv("/proc/self/exe", argv);
    _exit(127);
}

/* Runs it and keeps what it printed. -1: it could not be run. */
static int run_planted(const struct selftest *t, const struct planted *p, char *output,
                       size_t size) {
    int pipes[2], status = 0;
    size_t n = 0;
    if (pipe(pipes) != 0) return -1;
    fflush(NULL);
    const pid_t pid = fork();
    if (pid == 0) {
        close(pipes[0]);
        become_check(t, p, pipes[1]);
    }
    close(pipes[1]);
    char rest[4096];
    for (;;) {
        const bool room = n + 1 < size;
        const ssize_t got =
            read(pipes[0], room ? output + n : rest, room ? size - n - 1 : sizeof rest);
        if (got < 0 && errno == EINTR) continue;
        if (got <= 0) break;
        if (room) n += (size_t)got;
    }
    output[n] = '\0';
    close(pipes[0]);
    if (pid < 0 || waitpid(pid, &status, 0) != pid || !WIFEXITED(status)) return -1;
    return WEXITSTATUS(status);
}

static void try_planted(struct selftest *t, const struct planted *p) {
    enum { OUTPUT_BYTES = 1 << 20 };
    char *const output = dsv4_alloc(OUTPUT_BYTES);
    const int code = run_planted(t, p, output, OUTPUT_BYTES);
    const bool right = code == p->code && strstr(output, p->text) != NULL;
    t->n_planted++;
    if (right) {
        printf("planted %s: exit %d, \"%s\"\n", p->name, code, p->text);
    } else {
        t->n_wrong++;
        printf("planted %s: NOT CAUGHT as listed: wants exit %d and \"%s\", got exit %d and\n%s\n",
               p->name, p->code, p->text, code, output);
    }
    dsv4_free(output);
}

/* A planted plug-in that no line speaks of would be tested by nobody. */
static int check_listed(const struct selftest *t, const char *list, struct dsv4_err *err) {
    char pattern[4200], line[300];
    glob_t found = {0};
    int status = 0;
    snprintf(pattern, sizeof pattern, "%s/*.so", t->plugins);
    if (glob(pattern, 0, NULL, &found) != 0)
        status =
            dsv4_fail(err, "no planted plug-ins at %.200s; `make selftest` builds them", pattern);
    for (size_t i = 0; status == 0 && i < found.gl_pathc; i++) {
        const char *const stem = strrchr(found.gl_pathv[i], '/') + 1;
        const int length = (int)strlen(stem) - 3;
        snprintf(line, sizeof line, "\n%.*s ", length, stem);
        if (strstr(list, line) == NULL && strncmp(list, line + 1, strlen(line) - 1) != 0)
            status = dsv4_fail(err, "%.*s is built but not listed", length, stem);
    }
    globfree(&found);
    return status;
}

static int try_all_planted(struct selftest *t, struct dsv4_err *err) {
    unsigned char *bytes = NULL;
    size_t size = 0;
    int number = 0;
    if (dsv4_file_read(&bytes, &size, t->planted, 1 << 20, err) != 0) return -1;
    if (check_listed(t, (const char *)bytes, err) != 0) {
        dsv4_free(bytes);
        return dsv4_err_at(err, t->planted, 0);
    }
    for (char *line = (char *)bytes, *next; line != NULL && *line != '\0'; line = next) {
        struct planted p;
        next = strchr(line, '\n');
        if (next != NULL) *next++ = '\0';
        number++;
        if (line[0] == '#' || line[0] == '\0') continue;
        if (parse_planted(&p, line, err) != 0) {
            dsv4_free(bytes);
            return dsv4_err_at(err, t->planted, number);
        }
        try_planted(t, &p);
    }
    dsv4_free(bytes);
    return 0;
}

static int run_selftest(struct selftest *t, struct dsv4_err *err) {
    size_t n = 0;
    const struct dsv4_suite_case **const cases = dsv4_filter_select(&t->filter, &t->suite, &n);
    for (size_t i = 0; i < dsv4_n_ops; i++) try_op(t, dsv4_ops[i], cases, n);
    dsv4_free(cases);
    if (t->planted != NULL && try_all_planted(t, err) != 0) return dsv4_err_print(err);
    printf("%zu mutants killed, %zu survive", t->n_killed, t->n_survivors);
    if (t->class != NULL) printf(", %zu are right in %s and pass", t->n_admitted, t->class);
    print_rates(t);
    if (t->planted != NULL)
        printf("; %zu planted plug-ins, %zu not caught as listed", t->n_planted, t->n_wrong);
    printf("\n");
    if (t->broken) return DSV4_EXIT_ERROR;
    if (t->n_survivors + t->n_wrong > 0) return DSV4_EXIT_DIFFERENT;
    if (t->n_killed == 0 || (t->planted != NULL && t->n_planted == 0)) {
        fprintf(stderr, "dsv4cts: nothing was tested\n");
        return DSV4_EXIT_NOTHING;
    }
    return DSV4_EXIT_PASS;
}

int dsv4_verb_selftest(int argc, char **argv) {
    char directory[4000], plugins[4100];
    struct selftest t = {.filter = DSV4_FILTER, .vectors = dsv4_vectors_home()};
    const struct dsv4_option options[] = {
        {"--fresh",   DSV4_OPTION_FLAG, &t.fresh,   NULL,
         "make all answers now; read neither vectors nor MANIFEST"},
        {"--vectors", DSV4_OPTION_TEXT, &t.vectors, "DIR",
         "where the golden vectors are (vectors)"                 },
        {"--class",   DSV4_OPTION_TEXT, &t.class,   "CLASS",
         "by bounds of this arithmetic: F32-ANY, TC25-RZ, ..."    },
        {"--planted", DSV4_OPTION_TEXT, &t.planted, "FILE",
         "also run the planted plug-ins of this list"             },
    };
    struct dsv4_command command = {.usage = "selftest [OPTIONS]",
                                   .options = options,
                                   .n_options = sizeof options / sizeof *options,
                                   .filter = &t.filter};
    struct dsv4_err err = {0};
    int code = dsv4_command_start(&command, argc, argv);
    if (code >= 0) return code;
    t.arithmetic = dsv4_arithmetic_canon();
    if (t.class != NULL && dsv4_arithmetic_parse(&t.arithmetic, t.class, &err) != 0)
        return dsv4_err_print(&err);
    dsv4_build_directory(directory, sizeof directory);
    snprintf(plugins, sizeof plugins, "%s/tests/planted", directory);
    t.plugins = plugins;
    dsv4_runner_init(&t.suspects, "/proc/self/exe", "");
    if (t.filter.tiers == 0) t.filter.tiers = 1U << DSV4_SMOKE;
    if (dsv4_suite_load(&t.suite, t.filter.suites, &err) != 0 ||
        dsv4_answers_open(&t.answers, t.vectors, t.fresh, &err) != 0)
        code = dsv4_err_print(&err);
    else
        code = run_selftest(&t, &err);
    dsv4_runner_stop(&t.suspects);
    dsv4_answers_close(&t.answers);
    dsv4_suite_free(&t.suite);
    return code;
}
