/* SPDX-License-Identifier: Apache-2.0 */
/* YAML suites to cases. */
#include "suite.h"

#include <dirent.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>

#include "../reference/memory.h"
#include "file.h"
#include "options.h"
#include "plain_yaml.h"

const char *const dsv4_tier_names[DSV4_N_TIERS] = {"smoke", "full", "stress", "bench"};

enum {
    MAX_FILE_BYTES = 4 << 20,
    MAX_SWEEP = 4096, /* cases from one entry */
    MAX_CASES = 10000 /* cases of one op */
};

struct reader {
    struct dsv4_suite *suite;
    const struct dsv4_op *op;
    struct dsv4_yaml yaml;
    struct dsv4_case scratch; /* checks values */
    size_t first_tag, first_case, first_sequence;
    bool *tag_used;
};

/* A swept parameter and its values. */
struct axis {
    const char *name;
    const char **values;
    size_t n;
};

/* One entry of `cases`; text belongs to the document. */
struct entry {
    const yaml_node_t *node;
    const char *name;
    enum dsv4_tier tier;
    size_t *tags; /* indices into the suite's */
    size_t n_tags;
    uint64_t seed;
    const char *with[2 * DSV4_MAX_PARAMS];
    size_t n_with;
    struct axis axes[DSV4_MAX_PARAMS];
    size_t n_axes;
};

#define FAIL_NODE(r, node, ...)                                                                    \
    dsv4_yaml_fail((r)->yaml.err, (r)->yaml.file, (node)->start_mark.line, __VA_ARGS__)

/* ---- tags ---- */

/* Room for more tags. Cases point into the array, so it cannot simply be moved. */
static void grow_tags(struct dsv4_suite *suite, size_t more) {
    struct dsv4_tag *tags = dsv4_alloc((suite->n_tags + more) * sizeof *tags);
    if (suite->n_tags > 0) memcpy(tags, suite->tags, suite->n_tags * sizeof *tags);
    for (size_t i = 0; i < suite->n_cases; i++)
        for (size_t t = 0; t < suite->cases[i].n_tags; t++)
            suite->cases[i].tags[t] = tags + (suite->cases[i].tags[t] - suite->tags);
    for (size_t i = 0; i < suite->n_sequences; i++) {
        const struct dsv4_suite_case *const head = &suite->sequences[i].head;
        for (size_t t = 0; t < head->n_tags; t++)
            head->tags[t] = tags + (head->tags[t] - suite->tags);
    }
    dsv4_free(suite->tags);
    suite->tags = tags;
}

static int read_tags(struct reader *r, const yaml_node_t *node) {
    static const char *const keys[] = {"bug", "link"};
    const yaml_node_t *values[2], *key_node, *value;
    const char *name;
    if (dsv4_yaml_want(&r->yaml, node, YAML_MAPPING_NODE, "tags") != 0) return -1;
    grow_tags(r->suite, dsv4_yaml_pairs(node));
    r->tag_used = dsv4_alloc(dsv4_yaml_pairs(node) * sizeof *r->tag_used);
    for (size_t i = 0; i < dsv4_yaml_pairs(node); i++) {
        if (dsv4_yaml_pair(&r->yaml, node, i, &name, &key_node, &value) != 0) return -1;
        if (!dsv4_is_kebab(name) || strlen(name) >= DSV4_NAME_SIZE)
            return FAIL_NODE(r, key_node, "the tag '%.60s' is not kebab-case", name);
        for (size_t t = r->first_tag; t < r->suite->n_tags; t++)
            if (strcmp(r->suite->tags[t].name, name) == 0)
                return FAIL_NODE(r, key_node, "the tag '%.60s' is declared twice", name);
        if (dsv4_yaml_map(&r->yaml, value, "a tag", keys, 2, 1, values) != 0) return -1;
        for (size_t k = 0; k < 2; k++)
            if (values[k] != NULL &&
                (dsv4_yaml_want(&r->yaml, values[k], YAML_SCALAR_NODE, keys[k]) != 0))
                return -1;
        if (dsv4_yaml_text(values[0])[0] == '\0')
            return FAIL_NODE(r, values[0], "the tag '%.60s' does not say which bug it hunts", name);
        if (values[1] != NULL && strncmp(dsv4_yaml_text(values[1]), "https://", 8) != 0)
            return FAIL_NODE(r, values[1], "the link '%.60s' does not start with https://",
                             dsv4_yaml_text(values[1]));
        r->suite->tags[r->suite->n_tags++] = (struct dsv4_tag){
            .name = dsv4_copy_text(name),
            .bug = dsv4_copy_text(dsv4_yaml_text(values[0])),
            .link = values[1] != NULL ? dsv4_copy_text(dsv4_yaml_text(values[1])) : NULL,
        };
    }
    return 0;
}

static int check_tags_used(const struct reader *r, const yaml_node_t *node) {
    for (size_t i = 0; i < dsv4_yaml_pairs(node); i++)
        if (!r->tag_used[i])
            return FAIL_NODE(r, dsv4_yaml_node(&r->yaml, node->data.mapping.pairs.start[i].key),
                             "no case uses the tag '%s'; use it or remove it",
                             r->suite->tags[r->first_tag + i].name);
    return 0;
}

static int read_case_tags(struct reader *r, struct entry *e, const yaml_node_t *node) {
    if (dsv4_yaml_want(&r->yaml, node, YAML_SEQUENCE_NODE, "tags") != 0) return -1;
    if (dsv4_yaml_items(node) == 0)
        return FAIL_NODE(r, node, "tags is empty; a case says with a tag which bug it hunts");
    e->tags = dsv4_alloc(dsv4_yaml_items(node) * sizeof *e->tags);
    for (size_t i = 0; i < dsv4_yaml_items(node); i++) {
        const yaml_node_t *word = dsv4_yaml_item(&r->yaml, node, i);
        size_t t = r->first_tag;
        if (dsv4_yaml_want(&r->yaml, word, YAML_SCALAR_NODE, "a tag") != 0) return -1;
        while (t < r->suite->n_tags && strcmp(r->suite->tags[t].name, dsv4_yaml_text(word)) != 0)
            t++;
        if (t == r->suite->n_tags)
            return FAIL_NODE(r, word, "the tag '%.60s' is not declared under `tags` of this file",
                             dsv4_yaml_text(word));
        for (size_t k = 0; k < e->n_tags; k++)
            if (e->tags[k] == t)
                return FAIL_NODE(r, word, "the tag '%.60s' is given twice", dsv4_yaml_text(word));
        e->tags[e->n_tags++] = t;
        r->tag_used[t - r->first_tag] = true;
    }
    return 0;
}

/* ---- cases ---- */

static int check_value(struct reader *r, const yaml_node_t *key, const yaml_node_t *value) {
    if (dsv4_yaml_want(&r->yaml, value, YAML_SCALAR_NODE, "the value of a parameter") != 0)
        return -1;
    if (dsv4_case_set(&r->scratch, dsv4_yaml_text(key), dsv4_yaml_text(value), r->yaml.err) == 0)
        return 0;
    return dsv4_err_at(r->yaml.err, r->yaml.file, (int)value->start_mark.line + 1);
}

static bool is_set(const struct entry *e, const char *name) {
    for (size_t i = 0; i < e->n_with; i++)
        if (strcmp(e->with[2 * i], name) == 0) return true;
    for (size_t i = 0; i < e->n_axes; i++)
        if (strcmp(e->axes[i].name, name) == 0) return true;
    return false;
}

static int read_with(struct reader *r, struct entry *e, const yaml_node_t *node) {
    const char *name;
    const yaml_node_t *key, *value;
    if (dsv4_yaml_want(&r->yaml, node, YAML_MAPPING_NODE, "with") != 0) return -1;
    for (size_t i = 0; i < dsv4_yaml_pairs(node); i++) {
        if (dsv4_yaml_pair(&r->yaml, node, i, &name, &key, &value) != 0) return -1;
        if (is_set(e, name)) return FAIL_NODE(r, key, "the parameter '%.60s' is set twice", name);
        if (check_value(r, key, value) != 0) return -1;
        e->with[2 * e->n_with] = name;
        e->with[2 * e->n_with++ + 1] = dsv4_yaml_text(value);
    }
    return 0;
}

static int read_sweep(struct reader *r, struct entry *e, const yaml_node_t *node) {
    const char *name;
    const yaml_node_t *key, *list;
    if (dsv4_yaml_want(&r->yaml, node, YAML_MAPPING_NODE, "sweep") != 0) return -1;
    for (size_t i = 0; i < dsv4_yaml_pairs(node); i++) {
        if (dsv4_yaml_pair(&r->yaml, node, i, &name, &key, &list) != 0) return -1;
        if (is_set(e, name)) return FAIL_NODE(r, key, "the parameter '%.60s' is set twice", name);
        if (dsv4_yaml_want(&r->yaml, list, YAML_SEQUENCE_NODE, "a swept parameter") != 0) return -1;
        if (dsv4_yaml_items(list) == 0)
            return FAIL_NODE(r, list, "the sweep of '%.60s' has no values, so it makes no case",
                             name);
        for (size_t k = 0; k < dsv4_yaml_items(list); k++)
            if (check_value(r, key, dsv4_yaml_item(&r->yaml, list, k)) != 0) return -1;
        struct axis *axis = &e->axes[e->n_axes++]; /* names are checked: no more than the op has */
        axis->name = name;
        axis->values = dsv4_alloc(dsv4_yaml_items(list) * sizeof *axis->values);
        for (; axis->n < dsv4_yaml_items(list); axis->n++)
            axis->values[axis->n] = dsv4_yaml_text(dsv4_yaml_item(&r->yaml, list, axis->n));
    }
    return 0;
}

static int read_seed(const struct reader *r, struct entry *e, const yaml_node_t *node) {
    char *end = NULL;
    if (dsv4_yaml_want(&r->yaml, node, YAML_SCALAR_NODE, "seed") != 0) return -1;
    const char *text = dsv4_yaml_text(node);
    errno = 0;
    e->seed = strtoull(text, &end, 0);
    if (text[0] < '0' || text[0] > '9' || *end != '\0' || errno != 0 || e->seed == 0)
        return FAIL_NODE(r, node, "seed: '%.60s' is not a number from 1 to 2^64 - 1", text);
    return 0;
}

static int read_tier(const struct reader *r, struct entry *e, const yaml_node_t *node) {
    if (dsv4_yaml_want(&r->yaml, node, YAML_SCALAR_NODE, "tier") != 0) return -1;
    for (int t = 0; t < DSV4_N_TIERS; t++)
        if (strcmp(dsv4_tier_names[t], dsv4_yaml_text(node)) == 0) {
            e->tier = (enum dsv4_tier)t;
            return 0;
        }
    return FAIL_NODE(r, node, "tier: '%.60s' is not one of smoke, full, stress, bench",
                     dsv4_yaml_text(node));
}

/* ---- expansion ---- */

/* A value as part of a case's name: lower case, '-' for '_', '@', ',' and '~', 'm' for minus, 'p'
 * for the point. */
static void name_value(char *name, size_t size, const char *value) {
    size_t n = strlen(name);
    for (const char *at = value; *at != '\0' && n + 1 < size; at++) {
        if (*at == '+') continue;
        if (*at == '-' && (at == value || at[-1] == 'e' || at[-1] == 'E'))
            name[n++] = 'm';
        else if (*at == '.')
            name[n++] = 'p';
        else if (strchr("_@,~", *at) != NULL)
            name[n++] = '-';
        else if (*at >= 'A' && *at <= 'Z')
            name[n++] = (char)(*at - 'A' + 'a');
        else
            name[n++] = *at;
    }
    name[n] = '\0';
}

/* Writes the name of the case whose axes stand at `at`. */
static int expand_name(const struct reader *r, const struct entry *e, const size_t *at, char *name,
                       size_t size) {
    size_t n = 0;
    name[0] = '\0';
    for (const char *c = e->name; *c != '\0'; c++) {
        if (*c != '{') {
            if (n + 1 < size) name[n++] = *c;
            name[n] = '\0';
            continue;
        }
        const size_t length = strcspn(++c, "}");
        size_t a = 0;
        while (a < e->n_axes &&
               (strlen(e->axes[a].name) != length || strncmp(e->axes[a].name, c, length) != 0))
            a++;
        if (c[length] == '\0' || a == e->n_axes)
            return FAIL_NODE(r, e->node, "the name '%.60s' has {%.*s}, which is not swept", e->name,
                             (int)(length < 60 ? length : 60), c);
        name_value(name, size, e->axes[a].values[at[a]]);
        n = strlen(name);
        c += length;
    }
    if (n + 1 >= size)
        return FAIL_NODE(r, e->node, "the name '%.60s...' is too long; at most %zu characters",
                         name, size - 2);
    if (!dsv4_is_kebab(name))
        return FAIL_NODE(r, e->node, "the case name '%.90s' is not kebab-case (a-z, 0-9, hyphens)",
                         name);
    return 0;
}

static int check_new(const struct reader *r, const struct entry *e, const char *name) {
    for (size_t i = r->first_case; i < r->suite->n_cases; i++)
        if (strcmp(r->suite->cases[i].name, name) == 0)
            return FAIL_NODE(r, e->node, "the case '%s' exists already, from line %d; %s", name,
                             r->suite->cases[i].line,
                             e->n_axes > 0 ? "name every swept parameter as {param}" : "rename it");
    if (r->suite->n_cases - r->first_case >= MAX_CASES)
        return FAIL_NODE(r, e->node, "more than %d cases of one op", MAX_CASES);
    return 0;
}

static void add_case(struct reader *r, const struct entry *e, const size_t *at, const char *name) {
    struct dsv4_suite *suite = r->suite;
    if ((suite->n_cases & (suite->n_cases - 1)) == 0) /* grow at powers of two */
        suite->cases = dsv4_resize(suite->cases, (2 * suite->n_cases + 1) * sizeof *suite->cases);
    struct dsv4_suite_case *s = &suite->cases[suite->n_cases++];
    *s = (struct dsv4_suite_case){
        .op = r->op,
        .tier = e->tier,
        .n_tags = e->n_tags,
        .n_params = e->n_with + e->n_axes,
        .seed = e->seed,
        .file = r->yaml.file,
        .line = (int)e->node->start_mark.line + 1,
    };
    snprintf(s->name, sizeof s->name, "%s", name);
    s->tags = dsv4_alloc(e->n_tags * sizeof *s->tags);
    for (size_t t = 0; t < e->n_tags; t++) s->tags[t] = &suite->tags[e->tags[t]];
    s->params = dsv4_alloc(2 * s->n_params * sizeof *s->params);
    for (size_t i = 0; i < 2 * e->n_with; i++) s->params[i] = dsv4_copy_text(e->with[i]);
    for (size_t a = 0; a < e->n_axes; a++) {
        s->params[2 * (e->n_with + a)] = dsv4_copy_text(e->axes[a].name);
        s->params[2 * (e->n_with + a) + 1] = dsv4_copy_text(e->axes[a].values[at[a]]);
    }
}

static int expand(struct reader *r, const struct entry *e) {
    size_t n = 1, at[DSV4_MAX_PARAMS] = {0};
    char name[DSV4_NAME_SIZE];
    for (size_t a = 0; a < e->n_axes; a++) {
        n *= e->axes[a].n;
        if (n > MAX_SWEEP)
            return FAIL_NODE(r, e->node, "the sweep makes more than %d cases; sweep less",
                             MAX_SWEEP);
    }
    for (size_t i = 0; i < n; i++) {
        size_t rest = i;
        for (size_t a = e->n_axes; a-- > 0; rest /= e->axes[a].n) at[a] = rest % e->axes[a].n;
        if (expand_name(r, e, at, name, sizeof name) != 0 || check_new(r, e, name) != 0) return -1;
        add_case(r, e, at, name);
    }
    return 0;
}

static int read_case(struct reader *r, const yaml_node_t *node) {
    static const char *const keys[] = {"name", "tier", "tags", "seed", "with", "sweep"};
    const yaml_node_t *values[6];
    struct entry e = {.node = node};
    int status = -1;
    if (dsv4_yaml_map(&r->yaml, node, "a case", keys, 6, 3, values) != 0) return -1;
    if (dsv4_yaml_want(&r->yaml, values[0], YAML_SCALAR_NODE, "name") != 0) return -1;
    e.name = dsv4_yaml_text(values[0]);
    if (read_tier(r, &e, values[1]) != 0 || read_case_tags(r, &e, values[2]) != 0 ||
        (values[3] != NULL && read_seed(r, &e, values[3]) != 0) ||
        (values[4] != NULL && read_with(r, &e, values[4]) != 0) ||
        (values[5] != NULL && read_sweep(r, &e, values[5]) != 0))
        goto done;
    status = expand(r, &e);
done:
    for (size_t a = 0; a < e.n_axes; a++) dsv4_free(e.axes[a].values);
    dsv4_free(e.tags);
    return status;
}

/* ---- sequences ---- */

static int read_step(struct reader *r, struct dsv4_suite_sequence *q, const yaml_node_t *node) {
    size_t i = r->first_case;
    if (dsv4_yaml_want(&r->yaml, node, YAML_SCALAR_NODE, "a step") != 0) return -1;
    while (i < r->suite->n_cases && strcmp(r->suite->cases[i].name, dsv4_yaml_text(node)) != 0) i++;
    if (i == r->suite->n_cases)
        return FAIL_NODE(r, node, "the step '%.90s' is no case of this file", dsv4_yaml_text(node));
    if (r->suite->cases[i].tier > q->head.tier)
        return FAIL_NODE(r, node, "the step '%.90s' is of a later tier than the sequence",
                         dsv4_yaml_text(node));
    q->steps[q->n_steps++] = i;
    return 0;
}

static int read_steps(struct reader *r, struct dsv4_suite_sequence *q, const yaml_node_t *node) {
    if (dsv4_yaml_want(&r->yaml, node, YAML_SEQUENCE_NODE, "steps") != 0) return -1;
    if (dsv4_yaml_items(node) < 2) return FAIL_NODE(r, node, "a sequence has at least two steps");
    q->steps = dsv4_alloc(dsv4_yaml_items(node) * sizeof *q->steps);
    for (size_t i = 0; i < dsv4_yaml_items(node); i++)
        if (read_step(r, q, dsv4_yaml_item(&r->yaml, node, i)) != 0) return -1;
    return 0;
}

static int check_new_sequence(const struct reader *r, const yaml_node_t *node, const char *name) {
    if (strlen(name) >= DSV4_NAME_SIZE || !dsv4_is_kebab(name))
        return FAIL_NODE(r, node, "the sequence name '%.90s' is not kebab-case", name);
    for (size_t i = r->first_case; i < r->suite->n_cases; i++)
        if (strcmp(r->suite->cases[i].name, name) == 0)
            return FAIL_NODE(r, node, "'%s' is a case already, in line %d", name,
                             r->suite->cases[i].line);
    for (size_t i = r->first_sequence; i + 1 < r->suite->n_sequences; i++)
        if (strcmp(r->suite->sequences[i].head.name, name) == 0)
            return FAIL_NODE(r, node, "the sequence '%s' exists already, from line %d", name,
                             r->suite->sequences[i].head.line);
    return 0;
}

static int read_sequence(struct reader *r, const yaml_node_t *node) {
    static const char *const keys[] = {"name", "tier", "tags", "steps"};
    const yaml_node_t *values[4];
    struct dsv4_suite *const suite = r->suite;
    struct entry e = {.node = node};
    if (dsv4_yaml_map(&r->yaml, node, "a sequence", keys, 4, 4, values) != 0 ||
        dsv4_yaml_want(&r->yaml, values[0], YAML_SCALAR_NODE, "name") != 0)
        return -1;
    suite->sequences =
        dsv4_resize(suite->sequences, (suite->n_sequences + 1) * sizeof *suite->sequences);
    struct dsv4_suite_sequence *const q = &suite->sequences[suite->n_sequences++];
    memset(q, 0, sizeof *q);
    if (check_new_sequence(r, values[0], dsv4_yaml_text(values[0])) != 0 ||
        read_tier(r, &e, values[1]) != 0 || read_case_tags(r, &e, values[2]) != 0) {
        dsv4_free(e.tags);
        return -1;
    }
    q->head = (struct dsv4_suite_case){.op = r->op,
                                       .tier = e.tier,
                                       .n_tags = e.n_tags,
                                       .file = r->yaml.file,
                                       .line = (int)node->start_mark.line + 1};
    snprintf(q->head.name, sizeof q->head.name, "%s", dsv4_yaml_text(values[0]));
    q->head.tags = dsv4_alloc(e.n_tags * sizeof *q->head.tags);
    for (size_t t = 0; t < e.n_tags; t++) q->head.tags[t] = &suite->tags[e.tags[t]];
    dsv4_free(e.tags);
    return read_steps(r, q, values[3]);
}

static int read_sequences(struct reader *r, const yaml_node_t *node) {
    if (node == NULL) return 0;
    if (dsv4_yaml_want(&r->yaml, node, YAML_SEQUENCE_NODE, "sequences") != 0) return -1;
    for (size_t i = 0; i < dsv4_yaml_items(node); i++)
        if (read_sequence(r, dsv4_yaml_item(&r->yaml, node, i)) != 0) return -1;
    return 0;
}

static int read_root(struct reader *r) {
    static const char *const keys[] = {"op", "tags", "cases", "sequences"};
    const yaml_node_t *values[4], *root = yaml_document_get_root_node(r->yaml.document);
    if (dsv4_yaml_map(&r->yaml, root, "the suite", keys, 4, 3, values) != 0 ||
        dsv4_yaml_want(&r->yaml, values[0], YAML_SCALAR_NODE, "op") != 0)
        return -1;
    if (strcmp(dsv4_yaml_text(values[0]), r->op->name) != 0)
        return FAIL_NODE(r, values[0], "op: '%.60s', but this is the suite of %s",
                         dsv4_yaml_text(values[0]), r->op->name);
    if (read_tags(r, values[1]) != 0 ||
        dsv4_yaml_want(&r->yaml, values[2], YAML_SEQUENCE_NODE, "cases") != 0)
        return -1;
    if (dsv4_yaml_items(values[2]) == 0) return FAIL_NODE(r, values[2], "cases is empty");
    for (size_t i = 0; i < dsv4_yaml_items(values[2]); i++)
        if (read_case(r, dsv4_yaml_item(&r->yaml, values[2], i)) != 0) return -1;
    if (read_sequences(r, values[3]) != 0) return -1;
    return check_tags_used(r, values[1]);
}

int dsv4_suite_parse(struct dsv4_suite *suite, const struct dsv4_op *op, const unsigned char *text,
                     size_t size, const char *path, struct dsv4_err *err) {
    suite->files = dsv4_resize(suite->files, (suite->n_files + 1) * sizeof *suite->files);
    suite->files[suite->n_files] = dsv4_copy_text(path);
    struct reader r = {
        .suite = suite,
        .op = op,
        .yaml = {.file = suite->files[suite->n_files++], .err = err},
        .first_tag = suite->n_tags,
        .first_case = suite->n_cases,
        .first_sequence = suite->n_sequences,
    };
    yaml_document_t document;
    if (dsv4_yaml_load(&document, path, text, size, err) != 0) return -1;
    r.yaml.document = &document;
    dsv4_case_init(&r.scratch, r.op, "scratch");
    const int status = read_root(&r);
    dsv4_case_free(&r.scratch);
    dsv4_free(r.tag_used);
    yaml_document_delete(&document);
    return status;
}

int dsv4_suite_read(struct dsv4_suite *suite, const struct dsv4_op *op, const char *path,
                    struct dsv4_err *err) {
    unsigned char *bytes;
    size_t size;
    if (dsv4_file_read(&bytes, &size, path, MAX_FILE_BYTES, err) != 0) return -1;
    const int status = dsv4_suite_parse(suite, op, bytes, size, path, err);
    dsv4_free(bytes);
    return status;
}

/* A suite that no op reads would be silently skipped. */
static int check_surplus(const char *dir, struct dsv4_err *err) {
    char path[4096], stem[256];
    DIR *const handle = opendir(dir);
    if (handle == NULL) {
        dsv4_fail(err,
                  "the suites cannot be read: %s; start in the project's root or give --suites DIR",
                  strerror(errno));
        return dsv4_err_at(err, dir, 0);
    }
    int status = 0;
    for (const struct dirent *file; status == 0 && (file = readdir(handle)) != NULL;) {
        const size_t length = strlen(file->d_name);
        if (length <= 5 || strcmp(file->d_name + length - 5, ".yaml") != 0) continue;
        snprintf(stem, sizeof stem, "%.*s", (int)(length - 5), file->d_name);
        if (strcmp(stem, "known") == 0 || dsv4_op_find(stem) != NULL) continue;
        snprintf(path, sizeof path, "%.3800s/%s", dir, file->d_name);
        dsv4_fail(err, "there is no op '%.60s' that this suite could be for", stem);
        status = dsv4_err_at(err, path, 0);
    }
    closedir(handle);
    return status;
}

int dsv4_suite_load(struct dsv4_suite *suite, const char *dir, struct dsv4_err *err) {
    char path[4096];
    if (check_surplus(dir, err) != 0) return -1;
    for (size_t i = 0; i < dsv4_n_ops; i++) {
        const int n = snprintf(path, sizeof path, "%s/%s.yaml", dir, dsv4_ops[i]->name);
        if (n < 0 || (size_t)n >= sizeof path)
            return dsv4_fail(err, "the path of the suites is too long");
        if (dsv4_suite_read(suite, dsv4_ops[i], path, err) != 0) return -1;
    }
    return 0;
}

void dsv4_suite_free(struct dsv4_suite *suite) {
    for (size_t i = 0; i < suite->n_cases; i++) {
        struct dsv4_suite_case *s = &suite->cases[i];
        for (size_t p = 0; p < 2 * s->n_params; p++) dsv4_free(s->params[p]);
        dsv4_free(s->params);
        dsv4_free(s->tags);
    }
    for (size_t i = 0; i < suite->n_sequences; i++) {
        dsv4_free(suite->sequences[i].head.tags);
        dsv4_free(suite->sequences[i].steps);
    }
    for (size_t i = 0; i < suite->n_tags; i++) {
        dsv4_free(suite->tags[i].name);
        dsv4_free(suite->tags[i].bug);
        dsv4_free(suite->tags[i].link);
    }
    for (size_t i = 0; i < suite->n_files; i++) dsv4_free(suite->files[i]);
    dsv4_free(suite->cases);
    dsv4_free(suite->sequences);
    dsv4_free(suite->tags);
    dsv4_free(suite->files);
    memset(suite, 0, sizeof *suite);
}

int dsv4_suite_case_make(const struct dsv4_suite_case *s, struct dsv4_case *c,
                         struct dsv4_err *err) {
    dsv4_case_init(c, s->op, s->name);
    c->seed = s->seed;
    for (size_t i = 0; i < s->n_params; i++)
        if (dsv4_case_set(c, s->params[2 * i], s->params[2 * i + 1], err) != 0)
            return s->file != NULL ? dsv4_err_at(err, s->file, s->line) : -1;
    if (dsv4_case_shape(c, err) == 0) return 0;
    return s->file != NULL ? dsv4_err_at(err, s->file, s->line) : -1;
}
