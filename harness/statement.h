/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A conformance statement: one archive with the results of one implementation and what they were held to. All that it
 * says of the results follows from them, and is worked out again by who reads it.
 */
#ifndef DSV4_STATEMENT_H
#define DSV4_STATEMENT_H

#include "manifest.h"
#include "report.h"
#include "seal.h"
#include "tree.h"

struct dsv4_statement {
    char version[64], made[24], manifest_sha256[65];
    struct dsv4_tree tree;
    struct dsv4_report report;
};

/* The parts of the archive that say what the results come to; dsv4_free(). They depend on nothing but the statement
 * and the MANIFEST. */
char *dsv4_statement_json(const struct dsv4_statement *s, const struct dsv4_manifest *manifest);
char *dsv4_statement_text(const struct dsv4_statement *s, const struct dsv4_manifest *manifest);

/* Every case of the tiers that were run has a result, and no shard is missing. */
bool dsv4_statement_complete(const struct dsv4_statement *s, const struct dsv4_manifest *manifest);

/* The archive, sealed. dsv4_free(*bytes). */
int dsv4_statement_pack(const struct dsv4_statement *s, const struct dsv4_manifest *manifest,
                        const struct dsv4_key *key, unsigned char **bytes, size_t *size,
                        struct dsv4_err *err);

/* Checks all of it against itself and the MANIFEST of this tree, whose hash is `manifest_sha256`. The bytes are not
 * trusted. Free the statement's report in either outcome. */
int dsv4_statement_unpack(struct dsv4_statement *s, const unsigned char *bytes, size_t size,
                          const struct dsv4_manifest *manifest, const char *manifest_sha256,
                          const struct dsv4_key *key, struct dsv4_err *err);

#endif
