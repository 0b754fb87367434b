# SPDX-License-Identifier: Apache-2.0
"""The ops that sort slots by their experts, and what maps and masks ids. Each takes a Call, fills its outputs and says
whether it accepts the call.

Where a text leaves a choice, this is how it is read:
- a slot counts if its id is an expert's, whatever the token's other slots are;
- with an expert_map, ids range over the map, and what the map says counts as an id here.
"""
import numpy as np

from .formats import F32, bf16_bits, bf16_value


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


def scale_lines(tensor, form, row):
    """Bytes [columns, size] of a row's scales, whatever lies innermost."""
    if form in ("f32", "e8m0"):
        return np.ascontiguousarray(tensor.at(row)).view(np.uint8).reshape(tensor.shape[1], -1)
    taken = tensor.at(np.arange(tensor.shape[0]), row)
    return np.ascontiguousarray(taken).view(np.uint8).reshape(tensor.shape[0], -1)


def put_scales(out, form, row, lines):
    if form in ("f32", "e8m0"):
        out.put(row, 0, lines.reshape(1, -1))
    else:
        out.put(np.arange(len(lines)), 4 * row, lines)


def moe_permute(call):
    experts, align = call.outputs["offsets"].shape[0] - 1, call.int("align")
    owner = experts_of(call, experts)
    topk, places = call["ids"].shape[1], call.outputs["row_ids"].shape[0]
    found, total = stretches(owner, experts, align)
    ids, sources, inverse = np.full(places, -1), np.full(places, -1), np.full(len(owner), -1)
    for e, (begin, _, slots) in enumerate(found):
        ids[begin:begin + len(slots)] = e
        sources[begin:begin + len(slots)] = slots
        inverse[slots] = begin + np.arange(len(slots))
    put_line(call, "offsets", [begin for begin, _, _ in found] + [total])
    put_line(call, "row_ids", ids)
    put_line(call, "row_sources", sources)
    call.outputs["inverse"].put(np.arange(len(owner) // topk), 0,
                                inverse.astype("<i4").reshape(-1, topk))
    scaled = call.get("x_scale") is not None
    for p in range(places):
        token = int(sources[p]) // topk
        if sources[p] < 0 and call.params["padding"] != "zero":
            continue
        row = call["x"].at(token) if sources[p] >= 0 else np.zeros(call["x"].shape[1], call["x"].array.dtype)
        call.outputs["permuted"].put(p, 0, row.reshape(1, -1))
        if scaled and sources[p] >= 0:
            lines = scale_lines(call["x_scale"], call.params["x_scales"], token)
        elif scaled:
            out = call.outputs["scale"]
            by_row = call.params["out_scales"] in ("f32", "e8m0")
            lines = np.zeros((out.shape[1 if by_row else 0], out.item), np.uint8)
        if scaled:
            put_scales(call.outputs["scale"], call.params["out_scales"], p, lines)
    return True


def moe_unpermute(call):
    tokens, topk = call["inverse"].shape
    width = call["x"].shape[1]
    for t in range(tokens):
        total = np.zeros(width, F32)
        for k, place in enumerate(call["inverse"].at(t).astype(np.int64)):
            if place < 0:
                continue
            row = call["x"].at(int(place))
            if call.params["form"] == "slots":
                call.outputs["y"].put(t, k * width * 2, row.astype("<u2").reshape(1, -1))
            elif call.params["form"] == "weighted":
                total = total + bf16_value(row) * call["weights"].at(t, k)
            else:
                total = total + bf16_value(row)
        if call.params["form"] != "slots":
            call.outputs["y"].put(t, 0, bf16_bits(total).astype("<u2").reshape(1, -1))
    return True


def moe_eplb_map(call):
    ids, choice = ids_of(call), call.params["choice"]
    tokens, topk = ids.shape
    experts, loads = call["replica_count"].shape[0], call["load"].shape[0]
    load = call["load"].at(np.arange(loads)).astype(np.int64)
    limit = int(call["n_tokens"].at(0)) if call.get("n_tokens") is not None else tokens
    physical = np.full(ids.shape, -1)
    for t in range(tokens):
        for k in range(topk):
            e = int(ids[t, k])
            if not 0 <= e < experts:
                continue
            n = max(int(call["replica_count"].at(e)), 1)
            number = {"hash": 2654435769 * t % 2 ** 32, "position": t * topk + k,
                      "rank": call.int("rank") + 23333 * t}[choice]
            p = int(call["replicas"].at(e, number % n))
            physical[t, k] = p
            if int(call["record"].at(0)) and t < limit and 0 <= p < loads:
                load[p] += 1
    put_rows(call, "physical", physical)
    put_line(call, "load", load)
    return True


def put_rows(call, name, values):
    """A whole tensor of two dimensions, of 4 or 8 bytes an element."""
    dtype = "<i8" if call.outputs[name].item == 8 else "<i4"
    call.outputs[name].put(np.arange(len(values)), 0, values.astype(dtype))


def moe_mask_indices_by_tp(call):
    ids = ids_of(call)
    each = call.int("experts") // call.int("ep_ranks")
    owner = ids // each
    here = (ids >= 0) & (owner % call.int("tp_ranks") == call.int("tp_rank"))
    place = owner // call.int("tp_ranks") * each + ids - owner * each
    put_rows(call, "masked", np.where(here, place, -1))
    return True


def moe_unique_group_indices(call):
    groups = ids_of(call, "groups")
    for row in groups:
        seen = set()
        for k, group in enumerate(row.tolist()):
            if group >= 0 and group in seen:
                row[k] = -1
            seen.add(group)
    put_rows(call, "groups", groups)
    return True


def moe_normalize_weight(call):
    tokens, topk = call["weights"].shape
    weights = call["weights"].at(np.arange(tokens)).reshape(tokens, topk).astype(F32)
    total = np.full(tokens, 1e-20, F32)
    for k in range(topk):
        total = total + weights[:, k]
    put_line(call, "denominators", total, "<f4")
    call.outputs["normalized"].put(np.arange(tokens), 0, (weights / total[:, None]).astype("<f4"))
    return True


OPS = {f.__name__: f for f in (moe_expert_count, moe_align_block_size, moe_permute, moe_unpermute, moe_eplb_map,
                               moe_mask_indices_by_tp, moe_unique_group_indices, moe_normalize_weight)}
