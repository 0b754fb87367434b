# SPDX-License-Identifier: Apache-2.0
"""The index and metadata ops, written from the specification, request by request and token by token.

Where a text leaves a choice, this is how it is read:
- tokens that no request covers count as padding;
- a count of the valid entries never compacts a row: consumers see its first entries.
"""
import numpy as np

from .vector import Fault


def ints(call, name):
    """All of a one-dimensional tensor, as Python-sized integers."""
    tensor = call[name]
    return tensor.at(np.arange(tensor.shape[0])).astype(np.int64)


def put_ints(out, row, column, values, dtype="<i4"):
    """values[i] at [row, column + i]; a vector's rows are its elements."""
    values = np.asarray(values)
    if values.size and (values.min() < -2**31 or values.max() >= 2**31) and dtype == "<i4":
        raise Fault(f"{out.name}: a value does not fit into 32 bits")
    values = values.astype(dtype)
    if len(out.shape) == 1:
        out.put(column + np.arange(len(values)), 0, values)
    else:
        out.put(row, np.array([column * values.itemsize]), values.view(np.uint8).reshape(1, -1))


def slot(call, request, row, block_size, table="block_table", span=0):
    """Slots of rows of one request; span: slots from page to page where they are more than a block."""
    row = np.asarray(row, np.int64)
    page = call[table].at(request, row // block_size).astype(np.int64)
    return page * (span or block_size) + row % block_size


def spans(call):
    """(request, first token, tokens, tokens computed before) of each request."""
    start, length = ints(call, "query_start_loc"), ints(call, "seq_lens")
    return [(r, int(start[r]), int(start[r + 1] - start[r]), int(length[r] - (start[r + 1] - start[r])))
            for r in range(len(length))]


def idx_swa(call):
    lens, indices = call.outputs["lens"], call.outputs["indices"]
    block_size, window, offset = (call.int(n) for n in ("block_size", "window", "token_offset"))
    rows = indices.shape[0]
    if rows + offset > call["is_valid"].shape[0] or rows > lens.shape[0]:
        return False
    span = spans(call)
    valid = call["is_valid"].at(np.arange(offset, offset + rows)) != 0
    result = np.zeros(lens.shape[0], np.int64)
    for i in np.nonzero(valid)[0]:
        request = int(call["token_to_req"].at(offset + i))
        _, first, _, context = span[request]
        last = context + offset + int(i) - first
        seen = [p for p in range(last - window + 1, last + 1) if p >= 0]
        result[i] = len(seen)
        row = np.full(window, -1)
        row[:len(seen)] = slot(call, request, np.asarray(seen, np.int64), block_size)
        put_ints(indices, i, 0, row)
    if rows:
        put_ints(lens, 0, 0, result)
    return True


def put_ragged(call, rows):
    """Lists end to end, with where they start; None in a list is a place that is not written."""
    start = 0
    for row in rows:
        for o, value in enumerate(row):
            if value is not None:
                put_ints(call.outputs["indices"], 0, start + o, [value])
        start += len(row)
    put_ints(call.outputs["indptr"], 0, 0, np.cumsum([0] + [len(row) for row in rows]))


def idx_global_topk(call):
    block_size, table = call.int("block_size"), call["block_table"]
    local, request, valid = call["local"], ints(call, "token_to_req"), ints(call, "is_valid")
    limit = table.shape[1] * block_size if call.params["bounds"] == "check" else 2**31
    rows, lens = [], []
    for t in range(local.shape[0]):
        x = local.at(t).astype(np.int64)
        good = (x >= 0) & (x < limit)
        mapped = np.full(len(x), -1)
        mapped[good] = slot(call, int(request[t]), x[good], block_size)
        rows.append(mapped)
        lens.append(int(good.sum()) if valid[t] else 0)
    put_ints(call.outputs["lens"], 0, 0, lens)
    if call.params["form"] == "ragged":
        put_ragged(call, [row[:n] for row, n in zip(rows, lens)])
    else:
        for t, row in enumerate(rows):
            put_ints(call.outputs["indices"], t, 0, row)
    return True


def idx_combine_topk_swa(call):
    topk, window, ratio, m, n = (call.int(name) for name in ("topk", "window", "ratio", "m", "n"))
    selected, dense = call.get("topk_indices"), call.params["form"] == "dense"
    width = selected.shape[1] if selected else 0
    image, left, right = int(call.params.get("max_image_tokens", 0)), call.get("left_visible"), call.get("right_visible")
    if dense and (width < topk or call.outputs["indices"].shape[1] < topk + window + image):
        return False
    rows = [[] for _ in range(call.outputs["lens"].shape[0])]
    gathered, origin = ints(call, "gather_lens"), int(call["query_start_loc"].at(0))
    for r, first, query, context in spans(call):
        oldest = context + query - int(gathered[r])
        for j in range(query):
            t, position = first - origin + j, context + j
            if position < 0:
                continue
            n_rows = min((position + 1) // ratio, topk)
            row = [int(selected.at(t, c)) + m * r if c < width else None for c in range(n_rows)]
            seen = range(max(position - window + 1, 0), position + 1)
            if left:
                beyond = max(int(left.at(t)) - window + 1, 0)
                seen = range(max(seen[0] - beyond, oldest, 0), position + 1 + int(right.at(t)))
                seen = [p for p in seen if p < context + query]
            rows[t] = row + [m * r + n + p - oldest for p in seen]
    put_ints(call.outputs["lens"], 0, 0, [len(row) for row in rows])
    if not dense:
        put_ragged(call, rows)
        return True
    for t, row in enumerate(rows):
        put_ints(call.outputs["indices"], t, 0, row + [-1] * (call.outputs["indices"].shape[1] - len(row)))
    return True


def idx_ragged_from_dense(call):
    dense, limit, flat = call["indices"], call.int("num_rows"), call.outputs["flat"]
    rows, width = dense.shape
    if flat.shape[0] < rows * width:
        return False
    n = [min(max(int(length), 0), width) for length in ints(call, "lens")]
    start = np.cumsum([0] + n)
    for t in range(rows):
        if n[t] == 0:
            continue
        x = dense.at(t, np.arange(n[t])).astype(np.int64)
        put_ints(flat, 0, int(start[t]), np.where((limit >= 0) & ((x < 0) | (x >= limit)), -1, x))
    put_ints(call.outputs["indptr"], 0, 0, start)
    return True


def idx_c128a_metadata(call):
    ratio, block_size = call.int("ratio"), call.int("block_size")
    rows, local = call.outputs["global"], call.outputs["local"]
    position, request, slots = (ints(call, n) for n in ("positions", "token_to_req", "slot_mapping"))
    decodes, width = rows.shape
    if decodes + local.shape[0] != len(position) or width != local.shape[1]:
        return False
    for t in range(len(position)):
        n = min(max(int(position[t]) + 1, 0) // ratio, width)
        row = np.full(width, -1)
        row[:n] = slot(call, int(request[t]), np.arange(n), block_size) if t < decodes else np.arange(n)
        put_ints(rows if t < decodes else local, t if t < decodes else t - decodes, 0, row)
        if t < decodes:
            put_ints(call.outputs["decode_lens"], 0, t, [n if slots[t] >= 0 else 0])
    return True


def idx_compressed_slot_mapping(call):
    ratio, out = call.int("ratio"), call.outputs["slots"]
    result = np.full(out.shape[0], -1, np.int64)
    for r, first, query, context in spans(call):
        for j in range(query):
            if context + j >= 0 and (context + j) % ratio == ratio - 1:
                result[first + j] = slot(call, r, (context + j) // ratio, call.int("block_size"))
    put_ints(out, 0, 0, result, "<i8")
    return True


def idx_indexer_decode_lens(call):
    next_n, ratio, out = call.int("next_n"), call.int("ratio"), call.outputs["lens"]
    length = ints(call, "seq_lens")
    values = [max(int(n) - next_n + j + 1, 0) // ratio for n in length for j in range(next_n)]
    columns = next_n if call.params["form"] == "native" else 1
    if out.shape[1] != columns or out.shape[0] * columns < len(values):
        return False
    values += [0] * (out.shape[0] * columns - len(values))
    for row in range(out.shape[0]):
        put_ints(out, row, 0, values[row * columns:(row + 1) * columns])
    return True


def graph_copy_ragged(call):
    source, indptr = ints(call, "source"), ints(call, "indptr")
    view = max((len(indptr) - 1) * call.int("per_row"), 1)
    if len(source) > view or view > call.outputs["buffer"].shape[0]:
        return False
    put_ints(call.outputs["buffer"], 0, 0, source)
    put_ints(call.outputs["indptr_buffer"], 0, 0, indptr)
    return True


def idx_flashinfer_mixed(call):
    window, ratio, form = call.int("window"), call.int("ratio"), call.params["decode"]
    out, swa = call.outputs["indices"], call.get("decode_swa")
    decode, prefill, given = call.get("decode_indices"), call.get("prefill_indices"), call.get("decode_lens")
    decodes = swa.shape[0] if swa else 0
    width = max([t.shape[1] for t in (decode, prefill) if t] + [0])
    if out.shape[1] != window + -(-width // 4) * 4:
        return False
    position, request, valid = (ints(call, n) for n in ("positions", "token_to_req", "is_valid"))
    for t in range(out.shape[0]):
        row, r = np.full(out.shape[1], -1), int(request[t])
        if t < decodes:
            row[:window] = swa.at(t, np.arange(window))
            x = decode.at(t).astype(np.int64) if decode and form != "none" else np.zeros(0, np.int64)
            n = len(x) if form == "none" or not given else int(given.at(t))
            if form == "local":
                n = int((x >= 0).sum()) if valid[t] else 0
        else:
            seen = np.arange(max(int(position[t]) + 1 - window, 0), int(position[t]) + 1)
            row[:len(seen)] = slot(call, r, seen, call.int("swa_block_size"), "swa_table", call.int("swa_span"))
            n = min((int(position[t]) + 1) // ratio, prefill.shape[1] if prefill else 0)
            x = prefill.at(t - decodes, np.arange(n)).astype(np.int64) if n else np.zeros(0, np.int64)
        if t >= decodes or form == "local":
            good = x >= 0
            x[good] = slot(call, r, x[good], call.int("block_size"), span=call.int("span"))
            x[~good] = -1
        row[window:window + len(x)] = x
        put_ints(out, t, 0, row)
        put_ints(call.outputs["lens"], 0, t, [window + n])
    return True


def idx_prefill_gather_lens(call):
    first, window, n = call.int("first_request"), call.int("window"), call.outputs["gather_lens"].shape[0]
    if first + n > call["seq_lens"].shape[0]:
        return False
    put_ints(call.outputs["gather_lens"], 0, 0,
             [query + min(context, window - 1) for _, _, query, context in spans(call)[first:first + n]])
    return True


def idx_short_context_fill(call):
    out = call.outputs["indices"]
    columns = np.arange(out.shape[1])
    for t, position in enumerate(ints(call, "positions")):
        put_ints(out, t, 0, np.where((columns + 1) * call.int("ratio") <= position + 1, columns, -1))
    return True


def idx_topk_buffer(call):
    buffer, hidden = call.outputs["buffer"], call.int("hidden_rows")
    decode, prefill = call.get("decode_topk"), call.get("prefill_topk")
    decodes = decode.shape[0] if decode else 0
    k = max([t.shape[1] for t in (decode, prefill) if t] + [0])
    if buffer.shape[1] < k or buffer.shape[0] < hidden or decodes > hidden:
        return False
    rows = np.full((hidden, buffer.shape[1]), -1)
    for t in range(decodes):
        rows[t, :k] = decode.at(t)
    chunks = call["chunks"]
    for i in range(chunks.shape[0]):
        start, end, keys = (int(chunks.at(i, field)) for field in range(3))
        for t in range(start, end if keys else start):
            rows[t, :k] = prefill.at(t - decodes)
    for t, row in enumerate(rows):
        put_ints(buffer, t, 0, row)
    return True


def idx_indexer_prefill_metadata(call):
    ratio, offset, n = call.int("ratio"), call.int("token_offset"), call.outputs["ks"].shape[0]
    if call.outputs["ke"].shape[0] != n:
        return False
    span = spans(call)
    keys = [(query + context) // ratio for _, _, query, context in span]
    start, origin = np.cumsum([0] + keys), int(call["query_start_loc"].at(0))
    put_ints(call.outputs["cu_rows"], 0, 0, start)
    put_ints(call.outputs["token_to_seq"], 0, 0, np.repeat(np.arange(len(keys)), keys))
    begin, end = np.zeros(n, np.int64), np.zeros(n, np.int64)
    for r, first, query, context in span:
        for j in range(query):
            i = first - origin + j - offset
            if 0 <= i < n:
                begin[i], end[i] = start[r], start[r] + max(context + j + 1, 0) // ratio
    put_ints(call.outputs["ks"], 0, 0, begin)
    put_ints(call.outputs["ke"], 0, 0, end)
    return True


def idx_pack_ragged(call):
    pack, lens = call.params["direction"] == "pack", ints(call, "lens")
    source, out = (call["flat"], call.outputs["packed"]) if pack else (call["packed"], call.outputs["flat"])
    if source.shape[-1] != out.shape[-1]:
        return False
    padding = {"bf16": 0xFF80, "e4m3fn": 0xFF, "u8": call.int("pad_byte")}[source.dtype]
    most, row_bytes = (out if pack else source).shape[1], out.shape[-1] * out.item
    start = 0
    for b, n in enumerate(lens):
        for j in range(most):
            if pack:
                row = source.at(start + j) if j < n else np.full(out.shape[-1], padding, source.array.dtype)
                out.put(b, np.array([j * row_bytes]), row.reshape(1, -1))
            elif j < n:
                out.put(start + j, 0, source.at(b, j).reshape(1, -1))
        start += int(n)
    return True


def idx_prefill_chunks(call):
    ratio, out = call.int("ratio"), call.outputs["chunks"]
    length, gather = ints(call, "seq_lens"), ints(call, "gather_lens")
    if out.shape[0] < len(length):
        return False
    budget = 4 * (-(-call.int("max_model_len") // ratio) + call.int("window") + call.int("max_batched_tokens"))
    begin = count = 0
    while begin < len(length):
        end = begin + 1
        while end < len(length) and (end + 1 - begin) * (max(length[begin:end + 1]) // ratio +
                                                         max(gather[begin:end + 1])) <= budget:
            end += 1
        n = max(length[begin:end]) // ratio
        put_ints(out, count, 0, [begin, end, n, n + max(gather[begin:end])])
        begin, count = end, count + 1
    put_ints(call.outputs["count"], 0, 0, [count])
    return True


OPS = {f.__name__: f for f in (idx_swa, idx_global_topk, idx_combine_topk_swa, idx_ragged_from_dense,
                               idx_c128a_metadata, idx_compressed_slot_mapping, idx_indexer_decode_lens,
                               graph_copy_ragged, idx_flashinfer_mixed, idx_prefill_gather_lens,
                               idx_short_context_fill, idx_indexer_prefill_metadata, idx_pack_ragged,
                               idx_prefill_chunks, idx_topk_buffer)}
