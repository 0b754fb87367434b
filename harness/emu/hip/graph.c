/* SPDX-License-Identifier: Apache-2.0 */
/* Graphs: nodes in the order in which they were added, copied and sorted when they are instantiated. */
#include <string.h>

#include "../../../reference/memory.h"
#include "hip.h"

static struct emu_list graphs; /* those that the caller holds */
static uint64_t last_origin;

struct emu_graph *emu_graph_create(void) {
    return dsv4_alloc(sizeof(struct emu_graph));
}

void emu_graph_register(struct emu_graph *graph) { emu_list_add(&graphs, graph); }

bool emu_graph_live(const struct emu_graph *graph) { return emu_list_has(&graphs, graph); }

static void free_node(struct emu_node *node) {
    emu_op_free(&node->op);
    emu_list_free(&node->dependencies);
    dsv4_free(node);
}

void emu_graph_free(struct emu_graph *graph) {
    for (size_t i = 0; i < graph->nodes.n; i++) free_node(graph->nodes.items[i]);
    emu_list_free(&graph->nodes);
    dsv4_free(graph);
}

struct emu_node *emu_graph_add(struct emu_graph *graph, const struct emu_list *dependencies,
                               struct emu_op *op) {
    struct emu_node *const node = dsv4_alloc(sizeof *node);
    node->graph = graph;
    node->origin = ++last_origin;
    node->op = *op;
    emu_list_copy(&node->dependencies, dependencies);
    emu_list_add(&graph->nodes, node);
    return node;
}

static size_t index_of(const struct emu_graph *graph, const void *node) {
    size_t i = 0;
    while (i < graph->nodes.n && graph->nodes.items[i] != node) i++;
    return i;
}

struct emu_graph *emu_graph_clone(const struct emu_graph *graph) {
    struct emu_graph *const clone = emu_graph_create();
    for (size_t i = 0; i < graph->nodes.n; i++) {
        const struct emu_node *const from = graph->nodes.items[i];
        struct emu_node *const node = dsv4_alloc(sizeof *node);
        *node = *from;
        node->graph = clone;
        node->dependencies = (struct emu_list){NULL, 0};
        emu_op_copy(&node->op, &from->op);
        emu_list_add(&clone->nodes, node);
    }
    for (size_t i = 0; i < graph->nodes.n; i++) {
        const struct emu_node *const from = graph->nodes.items[i];
        struct emu_node *const node = clone->nodes.items[i];
        for (size_t k = 0; k < from->dependencies.n; k++)
            emu_list_add(&node->dependencies,
                         clone->nodes.items[index_of(graph, from->dependencies.items[k])]);
    }
    return clone;
}

static bool ready(const struct emu_node *node, const struct emu_list *done) {
    for (size_t i = 0; i < node->dependencies.n; i++)
        if (!emu_list_has(done, node->dependencies.items[i])) return false;
    return true;
}

bool emu_graph_sort(struct emu_graph *graph) {
    struct emu_list sorted = {NULL, 0}, left = {NULL, 0};
    emu_list_copy(&left, &graph->nodes);
    while (left.n > 0) {
        size_t i = 0;
        while (i < left.n && !ready(left.items[i], &sorted)) i++;
        if (i == left.n) break;
        emu_list_add(&sorted, left.items[i]);
        emu_list_remove(&left, left.items[i]);
    }
    const bool whole = left.n == 0;
    if (whole) emu_list_copy(&graph->nodes, &sorted);
    emu_list_free(&left);
    emu_list_free(&sorted);
    return whole;
}

int emu_graph_run(const struct emu_graph *graph) {
    for (size_t i = 0; i < graph->nodes.n; i++) {
        const struct emu_node *const node = graph->nodes.items[i];
        const int error = node->disabled ? hipSuccess : emu_op_run(&node->op);
        if (error != hipSuccess) return error;
    }
    return hipSuccess;
}

/* ---- the public functions: graphs ---- */

static int create(struct emu_graph **graph, unsigned flags) {
    if (graph == NULL || flags != 0) return hipErrorInvalidValue;
    *graph = emu_graph_create();
    emu_graph_register(*graph);
    return hipSuccess;
}

HIP(hipGraphCreate, struct emu_graph **graph, unsigned flags) { RETURN(create(graph, flags)); }

static int destroy(struct emu_graph *graph) {
    if (graph == NULL || !emu_list_remove(&graphs, graph)) return hipErrorInvalidValue;
    emu_graph_free(graph);
    return hipSuccess;
}

HIP(hipGraphDestroy, struct emu_graph *graph) { RETURN(destroy(graph)); }

static int copy(struct emu_graph **to, const struct emu_graph *graph) {
    if (to == NULL || !emu_graph_live(graph)) return hipErrorInvalidValue;
    *to = emu_graph_clone(graph);
    emu_graph_register(*to);
    return hipSuccess;
}

HIP(hipGraphClone, struct emu_graph **to, struct emu_graph *graph) { RETURN(copy(to, graph)); }

static int find_in_clone(struct emu_node **to, const struct emu_node *node,
                         const struct emu_graph *graph) {
    if (to == NULL || node == NULL || !emu_graph_live(graph)) return hipErrorInvalidValue;
    for (size_t i = 0; i < graph->nodes.n; i++) {
        struct emu_node *const other = graph->nodes.items[i];
        if (other->origin != node->origin || other == node) continue;
        *to = other;
        return hipSuccess;
    }
    return hipErrorInvalidValue;
}

HIP(hipGraphNodeFindInClone, struct emu_node **to, struct emu_node *node, struct emu_graph *graph) {
    RETURN(find_in_clone(to, node, graph));
}

/* Fills a caller's array: *n is its room, then how many there are. */
static int give(const struct emu_list *list, void **to, size_t *n) {
    if (n == NULL) return hipErrorInvalidValue;
    if (to != NULL)
        for (size_t i = 0; i < *n; i++) to[i] = i < list->n ? list->items[i] : NULL;
    if (to == NULL || *n > list->n) *n = list->n;
    return hipSuccess;
}

static int nodes_of(const struct emu_graph *graph, void **to, size_t *n, bool roots) {
    struct emu_list list = {NULL, 0};
    if (!emu_graph_live(graph)) return hipErrorInvalidValue;
    for (size_t i = 0; i < graph->nodes.n; i++) {
        struct emu_node *const node = graph->nodes.items[i];
        if (!roots || node->dependencies.n == 0) emu_list_add(&list, node);
    }
    const int error = give(&list, to, n);
    emu_list_free(&list);
    return error;
}

HIP(hipGraphGetNodes, struct emu_graph *graph, void **nodes, size_t *n) {
    RETURN(nodes_of(graph, nodes, n, false));
}
HIP(hipGraphGetRootNodes, struct emu_graph *graph, void **nodes, size_t *n) {
    RETURN(nodes_of(graph, nodes, n, true));
}

static int edges_of(const struct emu_graph *graph, void **from, void **to, size_t *n) {
    struct emu_list starts = {NULL, 0}, ends = {NULL, 0};
    if (!emu_graph_live(graph) || n == NULL || (from == NULL) != (to == NULL))
        return hipErrorInvalidValue;
    for (size_t i = 0; i < graph->nodes.n; i++) {
        struct emu_node *const node = graph->nodes.items[i];
        for (size_t k = 0; k < node->dependencies.n; k++) {
            emu_list_add(&starts, node->dependencies.items[k]);
            emu_list_add(&ends, node);
        }
    }
    size_t room = *n;
    give(&starts, from, &room);
    const int error = give(&ends, to, n);
    emu_list_free(&starts);
    emu_list_free(&ends);
    return error;
}

HIP(hipGraphGetEdges, struct emu_graph *graph, void **from, void **to, size_t *n) {
    RETURN(edges_of(graph, from, to, n));
}

static int dependents_of(const struct emu_node *node, void **to, size_t *n) {
    struct emu_list list = {NULL, 0};
    if (node == NULL) return hipErrorInvalidValue;
    for (size_t i = 0; i < node->graph->nodes.n; i++) {
        struct emu_node *const other = node->graph->nodes.items[i];
        if (emu_list_has(&other->dependencies, node)) emu_list_add(&list, other);
    }
    const int error = give(&list, to, n);
    emu_list_free(&list);
    return error;
}

HIP(hipGraphNodeGetDependencies, struct emu_node *node, void **to, size_t *n) {
    RETURN(node == NULL ? hipErrorInvalidValue : give(&node->dependencies, to, n));
}
HIP(hipGraphNodeGetDependentNodes, struct emu_node *node, void **to, size_t *n) {
    RETURN(dependents_of(node, to, n));
}

static int change_edges(const struct emu_graph *graph, struct emu_node *const *from,
                        struct emu_node *const *to, size_t n, bool add) {
    if (!emu_graph_live(graph)) return hipErrorInvalidValue;
    if (n > 0 && (from == NULL || to == NULL)) return hipErrorInvalidValue;
    for (size_t i = 0; i < n; i++) {
        if (!emu_list_has(&graph->nodes, from[i]) || !emu_list_has(&graph->nodes, to[i]))
            return hipErrorInvalidValue;
        if (emu_list_has(&to[i]->dependencies, from[i]) == add || from[i] == to[i])
            return hipErrorInvalidValue;
        if (add)
            emu_list_add(&to[i]->dependencies, from[i]);
        else
            emu_list_remove(&to[i]->dependencies, from[i]);
    }
    return hipSuccess;
}

HIP(hipGraphAddDependencies, struct emu_graph *graph, struct emu_node *const *from,
    struct emu_node *const *to, size_t n) {
    RETURN(change_edges(graph, from, to, n, true));
}
HIP(hipGraphRemoveDependencies, struct emu_graph *graph, struct emu_node *const *from,
    struct emu_node *const *to, size_t n) {
    RETURN(change_edges(graph, from, to, n, false));
}

static int destroy_node(struct emu_node *node) {
    if (node == NULL || !emu_list_remove(&node->graph->nodes, node)) return hipErrorInvalidValue;
    for (size_t i = 0; i < node->graph->nodes.n; i++) {
        struct emu_node *const other = node->graph->nodes.items[i];
        emu_list_remove(&other->dependencies, node);
    }
    free_node(node);
    return hipSuccess;
}

HIP(hipGraphDestroyNode, struct emu_node *node) { RETURN(destroy_node(node)); }
