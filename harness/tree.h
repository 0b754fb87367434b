/* SPDX-License-Identifier: Apache-2.0 */
/* What git says of the tree that a run used. */
#ifndef DSV4_TREE_H
#define DSV4_TREE_H

#include "../reference/op.h"

struct dsv4_tree {
    char commit[65]; /* "": no git here */
    bool clean;      /* `git status` lists nothing */
    int64_t files;   /* that git tracks */
    char sha256[65]; /* of all of them, as they are: lines "<sha256>  <path>" */
};

void dsv4_tree_look(struct dsv4_tree *tree);

#endif
