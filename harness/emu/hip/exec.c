/* SPDX-License-Identifier: Apache-2.0 */
/* Executable graphs: a sorted copy of a graph. */
#include "../../../reference/memory.h"
#include "hip.h"

static struct emu_list execs;

bool emu_exec_live(const struct emu_graph *exec) { return emu_list_has(&execs, exec); }

static int instantiate(struct emu_graph **exec, const struct emu_graph *graph) {
    if (exec == NULL || !emu_graph_live(graph)) return hipErrorInvalidValue;
    struct emu_graph *const copy = emu_graph_clone(graph);
    if (!emu_graph_sort(copy)) {
        emu_graph_free(copy);
        return emu_explain(hipErrorInvalidValue, "the graph's dependencies form a cycle");
    }
    emu_list_add(&execs, copy);
    *exec = copy;
    return hipSuccess;
}

HIP(hipGraphInstantiate, struct emu_graph **exec, struct emu_graph *graph,
    struct emu_node **error_node, char *log, size_t log_bytes) {
    if (error_node != NULL) *error_node = NULL;
    if (log != NULL && log_bytes > 0) log[0] = '\0';
    RETURN(instantiate(exec, graph));
}

/* flags: 1 frees a graph's memory before it is launched again, 2 uploads, 4 launches from the device, 8 priorities. */
HIP(hipGraphInstantiateWithFlags, struct emu_graph **exec, struct emu_graph *graph,
    unsigned long long flags) {
    RETURN(flags > 15 || (flags & 4) != 0 ? hipErrorInvalidValue : instantiate(exec, graph));
}

static int destroy(struct emu_graph *exec) {
    if (exec == NULL || !emu_list_remove(&execs, exec)) return hipErrorInvalidValue;
    emu_graph_free(exec);
    return hipSuccess;
}

HIP(hipGraphExecDestroy, struct emu_graph *exec) { RETURN(destroy(exec)); }

static int launch(struct emu_graph *exec, void *stream) {
    if (exec == NULL || !emu_list_has(&execs, exec)) return hipErrorInvalidValue;
    return emu_submit(stream, &(struct emu_op){.kind = EMU_OP_GRAPH, .graph = exec});
}

HIP(hipGraphLaunch, struct emu_graph *exec, void *stream) { RETURN_WORK(launch(exec, stream)); }

HIP(hipGraphUpload, struct emu_graph *exec, void *stream) {
    RETURN_WORK(!emu_list_has(&execs, exec)       ? hipErrorInvalidValue
                : emu_stream_find(stream) == NULL ? hipErrorContextIsDestroyed
                                                  : hipSuccess);
}

/* ---- update ---- */

enum update { UPDATED, UPDATE_ERROR, TOPOLOGY_CHANGED, TYPE_CHANGED };

static size_t index_of(const struct emu_graph *graph, const void *node) {
    size_t i = 0;
    while (i < graph->nodes.n && graph->nodes.items[i] != node) i++;
    return i;
}

static bool same_edges(const struct emu_graph *a, const struct emu_node *x,
                       const struct emu_graph *b, const struct emu_node *y) {
    if (x->dependencies.n != y->dependencies.n) return false;
    for (size_t i = 0; i < x->dependencies.n; i++)
        if (!emu_list_has(&y->dependencies, b->nodes.items[index_of(a, x->dependencies.items[i])]))
            return false;
    return true;
}

static enum update compare(const struct emu_graph *exec, const struct emu_graph *graph,
                           struct emu_node **different) {
    if (exec->nodes.n != graph->nodes.n) return TOPOLOGY_CHANGED;
    for (size_t i = 0; i < exec->nodes.n; i++) {
        struct emu_node *const old = exec->nodes.items[i];
        *different = graph->nodes.items[i];
        if (!same_edges(exec, old, graph, *different)) return TOPOLOGY_CHANGED;
        if (old->op.kind != (*different)->op.kind) return TYPE_CHANGED;
    }
    *different = NULL;
    return UPDATED;
}

/* The copy's node, in the caller's graph. */
static struct emu_node *original(const struct emu_graph *graph, const struct emu_node *node) {
    for (size_t i = 0; i < graph->nodes.n && node != NULL; i++) {
        struct emu_node *const other = graph->nodes.items[i];
        if (other->origin == node->origin) return other;
    }
    return NULL;
}

static int update(struct emu_graph *exec, const struct emu_graph *graph,
                  struct emu_node **error_node, int *result) {
    struct emu_node *different = NULL;
    if (error_node == NULL || result == NULL || !emu_list_has(&execs, exec) ||
        !emu_graph_live(graph))
        return hipErrorInvalidValue;
    struct emu_graph *const copy = emu_graph_clone(graph);
    const enum update outcome =
        emu_graph_sort(copy) ? compare(exec, copy, &different) : TOPOLOGY_CHANGED;
    for (size_t i = 0; i < exec->nodes.n && outcome == UPDATED; i++) {
        struct emu_node *const to = exec->nodes.items[i], *const from = copy->nodes.items[i];
        const struct emu_op op = to->op;
        to->op = from->op;
        from->op = op;
    }
    *error_node = original(graph, different);
    *result = (int)outcome;
    emu_graph_free(copy);
    return outcome == UPDATED ? hipSuccess : hipErrorGraphExecUpdateFailure;
}

HIP(hipGraphExecUpdate, struct emu_graph *exec, struct emu_graph *graph,
    struct emu_node **error_node, int *result) {
    RETURN(update(exec, graph, error_node, result));
}
