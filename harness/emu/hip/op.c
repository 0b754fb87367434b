/* SPDX-License-Identifier: Apache-2.0 */
/* An operation: checked, done, copied, freed. */
#include <string.h>

#include "../../../reference/memory.h"
#include "hip.h"

int emu_op_check(const struct emu_op *op) {
    switch (op->kind) {
    case EMU_OP_KERNEL: return emu_launch_check(&op->launch);
    case EMU_OP_COPY: return emu_copy_check(&op->copy);
    case EMU_OP_FILL: return emu_fill_check(&op->fill);
    case EMU_OP_HOST: return op->host.function != NULL ? hipSuccess : hipErrorInvalidValue;
    case EMU_OP_WAIT:
    case EMU_OP_RECORD: return emu_event_live(op->event) ? hipSuccess : hipErrorInvalidHandle;
    default: return hipSuccess;
    }
}

int emu_op_run(const struct emu_op *op) {
    switch (op->kind) {
    case EMU_OP_KERNEL: return emu_launch_run(&op->launch);
    case EMU_OP_COPY: emu_copy_run(&op->copy); break;
    case EMU_OP_FILL: emu_fill_run(&op->fill); break;
    case EMU_OP_HOST: op->host.function(op->host.data); break;
    case EMU_OP_GRAPH: return emu_graph_run(op->graph);
    case EMU_OP_RECORD:
        if (!emu_event_live(op->event)) return hipErrorInvalidHandle;
        emu_event_stamp(op->event);
        break;
    default: break;
    }
    return hipSuccess;
}

void emu_op_copy(struct emu_op *to, const struct emu_op *from) {
    *to = *from;
    if (from->kind == EMU_OP_GRAPH) to->graph = emu_graph_clone(from->graph);
    if (from->kind != EMU_OP_KERNEL) return;
    const struct emu_launch_op *const source = &from->launch;
    to->launch.arguments = memcpy(dsv4_alloc(source->bytes), source->arguments, source->bytes);
    to->launch.pointers = dsv4_alloc(source->n_pointers * sizeof *source->pointers);
    for (size_t i = 0; i < source->n_pointers; i++)
        to->launch.pointers[i] = (char *)to->launch.arguments + ((const char *)source->pointers[i] -
                                                                 (const char *)source->arguments);
}

void emu_op_free(struct emu_op *op) {
    if (op->kind == EMU_OP_GRAPH) emu_graph_free(op->graph);
    if (op->kind != EMU_OP_KERNEL) return;
    dsv4_free(op->launch.arguments);
    dsv4_free(op->launch.pointers);
}
