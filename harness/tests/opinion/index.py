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


def slot(call, request, row, block_size):
    """Slots of rows of one request."""
    row = np.asarray(row, np.int64)
    page = call["block_table"].at(request, row // block_size).astype(np.int64)
    return page * block_size + row % block_size


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
        row[:len(seen)] = slot(call, request, seen, block_size)
        put_ints(indices, i, 0, row)
    if rows:
        put_ints(lens, 0, 0, result)
    return True


OPS = {f.__name__: f for f in (idx_swa,)}
