# SPDX-License-Identifier: Apache-2.0
"""The ops that sort slots by their experts, and what maps and masks ids. Each takes a Call, fills its outputs and says
whether it accepts the call.

Where a text leaves a choice, this is how it is read:
- a slot counts if its id is an expert's, whatever the token's other slots are;
- with an expert_map, ids range over the map, and what the map says counts as an id here.
"""
import numpy as np


def ids_of(call, name="ids"):
    """int64 [tokens, topk]; Python's integers do not wrap."""
    ids = call[name]
    return ids.at(np.arange(ids.shape[0])).astype(np.int64).reshape(ids.shape)


def experts_of(call, experts):
    """The expert of each slot among those here, -1 for none; flat."""
    ids = ids_of(call).ravel()
    if call.get("expert_map") is None:
        return np.where((ids >= 0) & (ids < experts), ids, -1)
    table = call["expert_map"].at(np.arange(call["expert_map"].shape[0])).astype(np.int64)
    known = (ids >= 0) & (ids < len(table))
    local = np.where(known, table[np.where(known, ids, 0)], -1)
    return np.where((local >= 0) & (local < experts), local, -1)


def put_line(call, name, values, dtype="<i4"):
    """A whole tensor of one dimension."""
    values = np.asarray(values)
    call.outputs[name].put(np.arange(len(values)), 0, values.astype(dtype).reshape(-1, 1))


def moe_expert_count(call):
    experts = call.outputs["counts"].shape[0]
    owner = experts_of(call, experts)
    put_line(call, "counts", [int((owner == e).sum()) for e in range(experts)])
    return True


def stretches(owner, experts, align):
    """Where each expert's places begin and end, and its slots in their order."""
    begin, found = 0, []
    for e in range(experts):
        slots = np.flatnonzero(owner == e)
        end = begin + -(-len(slots) // align) * align
        found.append((begin, end, slots))
        begin = end
    return found, begin


def moe_align_block_size(call):
    experts, block = call.int("experts"), call.int("block_size")
    names = np.arange(experts)
    owner = experts_of(call, experts)
    if call.params["invalid"] == "marked" and call.get("expert_map") is not None:
        names = call["expert_map"].at(np.arange(call["expert_map"].shape[0])).astype(np.int64)
        ids = ids_of(call).ravel()
        owner = np.where((ids >= 0) & (ids < len(names)), ids, -1)
    found, total = stretches(owner, len(names), block)
    places = np.full(call.outputs["sorted_token_ids"].shape[0], len(owner))
    blocks = call.outputs["expert_ids"].shape[0]
    owners = []
    for e, (begin, end, slots) in enumerate(found):
        places[begin:begin + len(slots)] = slots
        owners += [names[e]] * ((end - begin) // block)
    put_line(call, "sorted_token_ids", places)
    put_line(call, "num_tokens_post_pad", [total])
    if call.params["tail"] != "untouched":
        owners += [-1 if call.params["tail"] == "minus_one" else names[0]] * (blocks - len(owners))
    put_line(call, "expert_ids", owners)
    return True


OPS = {f.__name__: f for f in (moe_expert_count, moe_align_block_size)}
