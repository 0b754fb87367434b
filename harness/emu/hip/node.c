/* SPDX-License-Identifier: Apache-2.0 */
/* Nodes that the caller builds, and their parameters. */
#include <string.h>

#include "../../../reference/memory.h"
#include "hip.h"

#define NEW struct emu_node **to, struct emu_graph *graph, void *const *needs, size_t n_needs

/* Takes the op over, whatever comes of it. */
static int add(NEW, struct emu_op *op, int error) {
    struct emu_list dependencies = {NULL, 0};
    if (error == hipSuccess &&
        (to == NULL || !emu_graph_live(graph) || (n_needs > 0 && needs == NULL)))
        error = hipErrorInvalidValue;
    for (size_t i = 0; i < n_needs && error == hipSuccess; i++) {
        if (!emu_list_has(&graph->nodes, needs[i]) || emu_list_has(&dependencies, needs[i]))
            error = hipErrorInvalidValue;
        else
            emu_list_add(&dependencies, needs[i]);
    }
    if (error == hipSuccess)
        *to = emu_graph_add(graph, &dependencies, op);
    else
        emu_op_free(op);
    emu_list_free(&dependencies);
    return error;
}

/* Gives a node another op of the same kind; takes it over. */
static int set(struct emu_node *node, struct emu_op *op, int error) {
    if (error == hipSuccess && (node == NULL || node->op.kind != op->kind))
        error = hipErrorInvalidValue;
    if (error != hipSuccess) {
        emu_op_free(op);
        return error;
    }
    emu_op_free(&node->op);
    node->op = *op;
    return hipSuccess;
}

/* The node of an executable graph that stems from this one. */
static struct emu_node *in_exec(const struct emu_graph *exec, const struct emu_node *node) {
    if (!emu_exec_live(exec) || node == NULL) return NULL;
    for (size_t i = 0; i < exec->nodes.n; i++) {
        struct emu_node *const other = exec->nodes.items[i];
        if (other->origin == node->origin) return other;
    }
    return NULL;
}

#define ADD(make)                                                                                  \
    do {                                                                                           \
        struct emu_op op = {.kind = EMU_OP_EMPTY};                                                 \
        RETURN(add(to, graph, needs, n_needs, &op, make));                                         \
    } while (0)
#define SET(node, make)                                                                            \
    do {                                                                                           \
        struct emu_op op = {.kind = EMU_OP_EMPTY};                                                 \
        RETURN(set(node, &op, make));                                                              \
    } while (0)

static int type_of(const struct emu_node *node, int *type) {
    if (node == NULL || type == NULL) return hipErrorInvalidValue;
    *type = (int)node->op.kind;
    return hipSuccess;
}

HIP(hipGraphNodeGetType, struct emu_node *node, int *type) { RETURN(type_of(node, type)); }

/* ---- empty, kernel ---- */

HIP(hipGraphAddEmptyNode, NEW) { ADD(hipSuccess); }

HIP(hipGraphAddKernelNode, NEW, const struct emu_kernel_params *p) {
    ADD(emu_launch_from_params(&op, p));
}
HIP(hipGraphKernelNodeSetParams, struct emu_node *node, const struct emu_kernel_params *p) {
    SET(node, emu_launch_from_params(&op, p));
}
HIP(hipGraphExecKernelNodeSetParams, struct emu_graph *exec, struct emu_node *node,
    const struct emu_kernel_params *p) {
    SET(in_exec(exec, node), emu_launch_from_params(&op, p));
}

static int kernel_params(const struct emu_node *node, struct emu_kernel_params *p) {
    if (node == NULL || p == NULL || node->op.kind != EMU_OP_KERNEL) return hipErrorInvalidValue;
    const struct emu_launch_op *const launch = &node->op.launch;
    *p = (struct emu_kernel_params){
        .block = {launch->block[0], launch->block[1], launch->block[2]},
        .grid = {launch->grid[0],  launch->grid[1],  launch->grid[2] },
        .arguments = launch->pointers,
        .dynamic_lds = launch->dynamic_lds
    };
    memcpy(&p->function, &launch->symbol, sizeof p->function);
    return hipSuccess;
}

HIP(hipGraphKernelNodeGetParams, struct emu_node *node, struct emu_kernel_params *p) {
    RETURN(kernel_params(node, p));
}

/* ---- copies ---- */

HIP(hipGraphAddMemcpyNode, NEW, const struct emu_copy3d_params *p) {
    ADD(emu_copy_from_params(&op, p));
}
HIP(hipGraphMemcpyNodeSetParams, struct emu_node *node, const struct emu_copy3d_params *p) {
    SET(node, emu_copy_from_params(&op, p));
}
HIP(hipGraphExecMemcpyNodeSetParams, struct emu_graph *exec, struct emu_node *node,
    const struct emu_copy3d_params *p) {
    SET(in_exec(exec, node), emu_copy_from_params(&op, p));
}
HIP(hipGraphAddMemcpyNode1D, NEW, void *destination, const void *from, size_t bytes, int kind) {
    ADD(emu_copy_line(&op, destination, from, bytes, kind));
}
HIP(hipGraphMemcpyNodeSetParams1D, struct emu_node *node, void *destination, const void *from,
    size_t bytes, int kind) {
    SET(node, emu_copy_line(&op, destination, from, bytes, kind));
}
HIP(hipGraphExecMemcpyNodeSetParams1D, struct emu_graph *exec, struct emu_node *node,
    void *destination, const void *from, size_t bytes, int kind) {
    SET(in_exec(exec, node), emu_copy_line(&op, destination, from, bytes, kind));
}

static int copy_params(const struct emu_node *node, struct emu_copy3d_params *p) {
    if (node == NULL || p == NULL || node->op.kind != EMU_OP_COPY) return hipErrorInvalidValue;
    const struct emu_copy_op *const copy = &node->op.copy;
    const size_t width = copy->extent.width;
    const bool lines = copy->to_pitch != 0 && copy->from_pitch != 0;
    *p = (struct emu_copy3d_params){.extent = copy->extent, .kind = copy->kind};
    p->to = (struct emu_pitched){copy->to, lines ? copy->to_pitch : width, width,
                                 lines ? copy->to_slice / copy->to_pitch : 1};
    p->from = (struct emu_pitched){NULL, lines ? copy->from_pitch : width, width,
                                   lines ? copy->from_slice / copy->from_pitch : 1};
    memcpy(&p->from.memory, &copy->from, sizeof p->from.memory);
    return hipSuccess;
}

HIP(hipGraphMemcpyNodeGetParams, struct emu_node *node, struct emu_copy3d_params *p) {
    RETURN(copy_params(node, p));
}

static int symbol_copy(struct emu_op *op, const void *symbol, void *to, const void *from,
                       size_t bytes, size_t offset, int kind) {
    void *address = NULL;
    size_t size = 0;
    const int error = emu_symbol_find(symbol, &address, &size);
    if (error != hipSuccess) return error;
    if (offset > size || bytes > size - offset) return hipErrorInvalidValue;
    char *const place = (char *)address + offset;
    return to != NULL ? emu_copy_line(op, to, place, bytes, kind)
                      : emu_copy_line(op, place, from, bytes, kind);
}

HIP(hipGraphAddMemcpyNodeToSymbol, NEW, const void *symbol, const void *from, size_t bytes,
    size_t offset, int kind) {
    ADD(symbol_copy(&op, symbol, NULL, from, bytes, offset, kind));
}
HIP(hipGraphAddMemcpyNodeFromSymbol, NEW, void *destination, const void *symbol, size_t bytes,
    size_t offset, int kind) {
    ADD(destination == NULL ? hipErrorInvalidValue
                            : symbol_copy(&op, symbol, destination, NULL, bytes, offset, kind));
}

/* ---- fills ---- */

HIP(hipGraphAddMemsetNode, NEW, const struct emu_fill_params *p) {
    ADD(emu_fill_from_params(&op, p));
}
HIP(hipGraphMemsetNodeSetParams, struct emu_node *node, const struct emu_fill_params *p) {
    SET(node, emu_fill_from_params(&op, p));
}
HIP(hipGraphExecMemsetNodeSetParams, struct emu_graph *exec, struct emu_node *node,
    const struct emu_fill_params *p) {
    SET(in_exec(exec, node), emu_fill_from_params(&op, p));
}

static int fill_params(const struct emu_node *node, struct emu_fill_params *p) {
    if (node == NULL || p == NULL || node->op.kind != EMU_OP_FILL) return hipErrorInvalidValue;
    const struct emu_fill_op *const fill = &node->op.fill;
    *p = (struct emu_fill_params){.to = fill->to,
                                  .element = fill->element,
                                  .height = fill->extent.height,
                                  .pitch = fill->pitch,
                                  .value = fill->value,
                                  .width = fill->extent.width};
    return hipSuccess;
}

HIP(hipGraphMemsetNodeGetParams, struct emu_node *node, struct emu_fill_params *p) {
    RETURN(fill_params(node, p));
}

/* ---- host functions, graphs, events ---- */

static int host(struct emu_op *op, const struct emu_host_params *p) {
    if (p == NULL || p->function == NULL) return hipErrorInvalidValue;
    *op = (struct emu_op){.kind = EMU_OP_HOST, .host = *p};
    return hipSuccess;
}

HIP(hipGraphAddHostNode, NEW, const struct emu_host_params *p) { ADD(host(&op, p)); }
HIP(hipGraphHostNodeSetParams, struct emu_node *node, const struct emu_host_params *p) {
    SET(node, host(&op, p));
}
HIP(hipGraphExecHostNodeSetParams, struct emu_graph *exec, struct emu_node *node,
    const struct emu_host_params *p) {
    SET(in_exec(exec, node), host(&op, p));
}

static int host_params(const struct emu_node *node, struct emu_host_params *p) {
    if (node == NULL || p == NULL || node->op.kind != EMU_OP_HOST) return hipErrorInvalidValue;
    *p = node->op.host;
    return hipSuccess;
}

HIP(hipGraphHostNodeGetParams, struct emu_node *node, struct emu_host_params *p) {
    RETURN(host_params(node, p));
}

static int child(struct emu_op *op, const struct emu_graph *parent, const struct emu_graph *graph) {
    if (!emu_graph_live(graph) || graph == parent) return hipErrorInvalidValue;
    struct emu_graph *const copy = emu_graph_clone(graph);
    if (!emu_graph_sort(copy)) {
        emu_graph_free(copy);
        return hipErrorInvalidValue;
    }
    *op = (struct emu_op){.kind = EMU_OP_GRAPH, .graph = copy};
    return hipSuccess;
}

HIP(hipGraphAddChildGraphNode, NEW, struct emu_graph *what) { ADD(child(&op, graph, what)); }
HIP(hipGraphExecChildGraphNodeSetParams, struct emu_graph *exec, struct emu_node *node,
    struct emu_graph *what) {
    SET(in_exec(exec, node), child(&op, exec, what));
}

static int child_of(const struct emu_node *node, struct emu_graph **graph) {
    if (node == NULL || graph == NULL || node->op.kind != EMU_OP_GRAPH) return hipErrorInvalidValue;
    *graph = node->op.graph;
    return hipSuccess;
}

HIP(hipGraphChildGraphNodeGetGraph, struct emu_node *node, struct emu_graph **graph) {
    RETURN(child_of(node, graph));
}

static int event(struct emu_op *op, enum emu_op_kind kind, struct emu_event *what) {
    if (!emu_event_live(what)) return hipErrorInvalidValue;
    *op = (struct emu_op){.kind = kind, .event = what};
    return hipSuccess;
}

HIP(hipGraphAddEventRecordNode, NEW, struct emu_event *what) {
    ADD(event(&op, EMU_OP_RECORD, what));
}
HIP(hipGraphAddEventWaitNode, NEW, struct emu_event *what) { ADD(event(&op, EMU_OP_WAIT, what)); }
HIP(hipGraphEventRecordNodeSetEvent, struct emu_node *node, struct emu_event *what) {
    SET(node, event(&op, EMU_OP_RECORD, what));
}
HIP(hipGraphEventWaitNodeSetEvent, struct emu_node *node, struct emu_event *what) {
    SET(node, event(&op, EMU_OP_WAIT, what));
}
HIP(hipGraphExecEventRecordNodeSetEvent, struct emu_graph *exec, struct emu_node *node,
    struct emu_event *what) {
    SET(in_exec(exec, node), event(&op, EMU_OP_RECORD, what));
}
HIP(hipGraphExecEventWaitNodeSetEvent, struct emu_graph *exec, struct emu_node *node,
    struct emu_event *what) {
    SET(in_exec(exec, node), event(&op, EMU_OP_WAIT, what));
}

static int event_of(const struct emu_node *node, enum emu_op_kind kind, struct emu_event **what) {
    if (node == NULL || what == NULL || node->op.kind != kind) return hipErrorInvalidValue;
    *what = node->op.event;
    return hipSuccess;
}

HIP(hipGraphEventRecordNodeGetEvent, struct emu_node *node, struct emu_event **what) {
    RETURN(event_of(node, EMU_OP_RECORD, what));
}
HIP(hipGraphEventWaitNodeGetEvent, struct emu_node *node, struct emu_event **what) {
    RETURN(event_of(node, EMU_OP_WAIT, what));
}

/* ---- switching nodes off ---- */

static int enable(struct emu_node *node, unsigned on) {
    if (node == NULL || (node->op.kind != EMU_OP_KERNEL && node->op.kind != EMU_OP_COPY &&
                         node->op.kind != EMU_OP_FILL))
        return hipErrorInvalidValue;
    node->disabled = on == 0;
    return hipSuccess;
}

HIP(hipGraphNodeSetEnabled, struct emu_graph *exec, struct emu_node *node, unsigned on) {
    RETURN(enable(in_exec(exec, node), on));
}

static int enabled(const struct emu_node *node, unsigned *on) {
    if (node == NULL || on == NULL) return hipErrorInvalidValue;
    *on = !node->disabled;
    return hipSuccess;
}

HIP(hipGraphNodeGetEnabled, struct emu_graph *exec, struct emu_node *node, unsigned *on) {
    RETURN(enabled(in_exec(exec, node), on));
}

int dsv4_emu_node_type(struct emu_node *node, int *type);
int dsv4_emu_node_type(struct emu_node *node, int *type) { RETURN(type_of(node, type)); }
