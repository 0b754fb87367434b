/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A program of its own, free of third-party libraries, so that any compiler can build it for any
 * machine: reads resolved cases ("op case seed name=value ...", as `dsv4cts list --resolved` prints
 * them) from standard input and writes the bytes that hashes are taken over to standard output, for
 * `dsv4cts verify-vectors --stream`:
 *
 *   case <op>/<case>\n
 *   prompt <bytes>\n<bytes>
 *   answer <bytes>\n<bytes>   or   refused\n
 *   ...
 *   end\n
 */
#include <stdio.h>
#include <stdlib.h>

#include "golden.h"

static void count(void *context, const void *bytes, size_t size) {
    (void)bytes;
    *(size_t *)context += size;
}

static void write_out(void *context, const void *bytes, size_t size) {
    fwrite(bytes, 1, size, context);
}

static int write_case(struct dsv4_case *c, struct dsv4_err *err) {
    struct dsv4_vector_tensor tensors[DSV4_MAX_TENSORS] = {0};
    size_t prompt = 0, answer = 0;
    const int status = dsv4_golden_make(tensors, c, err);
    if (status == 0) {
        dsv4_golden_prompt(c, tensors, count, &prompt);
        dsv4_golden_answer(c, tensors, count, &answer);
        printf("case %s/%s\nprompt %zu\n", c->op->name, c->name, prompt);
        dsv4_golden_prompt(c, tensors, write_out, stdout);
        if (c->refused) {
            printf("refused\n");
        } else {
            printf("answer %zu\n", answer);
            dsv4_golden_answer(c, tensors, write_out, stdout);
        }
    }
    dsv4_golden_free(tensors);
    return status;
}

static int read_line(char *line, struct dsv4_err *err) {
    char *rest = NULL;
    const char *op_name = strtok_r(line, " \n", &rest), *name = strtok_r(NULL, " \n", &rest);
    const char *seed = strtok_r(NULL, " \n", &rest);
    const struct dsv4_op *op = op_name != NULL ? dsv4_op_find(op_name) : NULL;
    if (op == NULL || seed == NULL) return dsv4_fail(err, "not 'op case seed name=value ...'");
    struct dsv4_case c;
    dsv4_case_init(&c, op, name);
    c.seed = strtoull(seed, NULL, 10);
    int status = 0;
    for (char *word; status == 0 && (word = strtok_r(NULL, " \n", &rest)) != NULL;) {
        char *value = strchr(word, '=');
        if (value == NULL) {
            status = dsv4_fail(err, "'%.60s' is not name=value", word);
            break;
        }
        *value++ = '\0';
        status = dsv4_case_set(&c, word, value, err);
    }
    if (status == 0) status = dsv4_case_shape(&c, err);
    if (status == 0) status = write_case(&c, err);
    dsv4_case_free(&c);
    return status;
}

int main(void) {
    char line[1 << 14];
    struct dsv4_err err = {0};
    while (fgets(line, sizeof line, stdin) != NULL)
        if (read_line(line, &err) != 0) {
            fprintf(stderr, "stream: %s\n", err.text);
            return 2;
        }
    printf("end\n");
    return fflush(stdout) == 0 && !ferror(stdout) && !ferror(stdin) ? 0 : 2;
}
