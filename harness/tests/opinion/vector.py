# SPDX-License-Identifier: Apache-2.0
"""A golden vector as numpy arrays, the bytes that an op writes, and their comparison."""
import json

import numpy as np

STORED = {"f32": "<f4", "i32": "<i4", "i64": "<i8", "bf16": "<u2",
          "u8": "|u1", "e4m3fn": "|u1", "e4m3fnuz": "|u1", "e8m0": "|u1"}


class Fault(Exception):
    """A vector that cannot be right, whatever the arithmetic."""


def load(file):
    """A vector's arrays by name, and its meta data."""
    with np.load(file, allow_pickle=False) as archive:
        arrays = {name: archive[name] for name in archive.files}
    return {"meta": json.loads(bytes(arrays.pop("meta.json"))), "arrays": arrays}


def _listed(rows, i, name):
    """Where rows i of dimension 0 lie in the file."""
    i = np.asarray(i, np.int64)
    if rows is None:
        return i
    at = np.searchsorted(rows, i)
    unlisted = np.append(rows, -1)[at] != i
    if np.any(unlisted):
        raise Fault(f"{name}: row {i[unlisted].ravel()[0]} is used; the vector does not list it")
    return at


class Input:
    """A tensor that an op reads, perhaps stored as its live rows alone."""

    def __init__(self, name, about, arrays):
        self.name, self.dtype, self.shape = name, about["dtype"], tuple(about["shape"])
        self.layout = about["layout"]
        self.array = arrays[f"in.{name}"]
        self.rows = arrays[f"rows.{name}"] if about["rows"] is not None else None
        stored = self.shape if self.rows is None else (len(self.rows),) + self.shape[1:]
        if self.array.shape != stored or self.array.dtype != np.dtype(STORED[self.dtype]):
            raise Fault(f"in.{name}: {self.array.dtype} {self.array.shape} is not {self.dtype} {stored}")
        self.touched = []  # some elements that were read: what a planted failure may change

    def at(self, *index):
        """Elements [index...]; every coordinate must lie inside the tensor."""
        for i, size in zip(index, self.shape):
            if np.any((np.asarray(i) < 0) | (np.asarray(i) >= size)):
                raise Fault(f"{self.name}: a coordinate outside of shape {self.shape} is read")
        index = (_listed(self.rows, index[0], self.name),) + index[1:]
        taken = self.array[index]
        for part in (0, 0.4, 0.5, 1) if taken.size else ():
            self.touched.append(tuple(int(np.ravel(i)[int(part * (np.size(i) - 1))]) for i in index))
        return taken


class Output:
    """The bytes of a tensor that an op writes, and which of them it wrote."""

    def __init__(self, name, about, arrays):
        self.name, self.dtype, self.shape = name, about["dtype"], tuple(about["shape"])
        self.layout = about["layout"]
        self.rows = arrays[f"rows.{name}"] if about["rows"] is not None else None
        self.item = np.dtype(STORED[self.dtype]).itemsize
        self.row_bytes = int(np.prod(self.shape[1:], dtype=np.int64)) * self.item
        n = self.shape[0] if self.rows is None else len(self.rows)
        self.bytes = np.zeros((n, self.row_bytes), np.uint8)
        self.written = np.zeros((n, self.row_bytes), bool)

    def put(self, row, offset, values):
        """Row i of `values` (any dtype) goes to rows[i], from byte offset[i] on."""
        values = np.ascontiguousarray(values)
        if values.size == 0:
            return
        image = values.view(np.uint8).reshape(len(values), -1)
        row = np.broadcast_to(np.asarray(row, np.int64), len(image))
        offset = np.broadcast_to(np.asarray(offset, np.int64), len(image))
        if np.any((row < 0) | (row >= self.shape[0]) | (offset < 0) |
                  (offset + image.shape[1] > self.row_bytes)):
            raise Fault(f"{self.name}: something outside of shape {self.shape} is written")
        at = (_listed(self.rows, row, self.name)[:, None], offset[:, None] + np.arange(image.shape[1]))
        order = np.sort((at[0] * self.row_bytes + at[1]).ravel())
        if np.any(order[1:] == order[:-1]) or np.any(self.written[at]):
            raise Fault(f"{self.name}: a byte is written twice")
        self.bytes[at] = image
        self.written[at] = True


class Call:
    """A vector's inputs and parameters, and outputs to be filled."""

    def __init__(self, vector):
        meta, arrays = vector["meta"], vector["arrays"]
        self.params = meta["params"]
        self.inputs, self.outputs = {}, {}
        for name, about in meta["tensors"].items():
            if about is None:
                continue
            if about["role"] in ("in", "inout"):
                self.inputs[name] = Input(name, about, arrays)
            if about["role"] in ("out", "inout"):
                self.outputs[name] = Output(name, about, arrays)

    def __getitem__(self, name):
        return self.inputs[name]

    def get(self, name):
        return self.inputs.get(name)

    def int(self, name):
        return int(self.params[name])

    def float(self, name):
        return np.float32(self.params[name])


def element(out, row, byte):
    """Coordinates of a byte."""
    i = byte // out.item
    where = []
    for size in reversed(out.shape[1:]):
        where.append(i % size)
        i //= size
    number = row if out.rows is None else int(out.rows[row])
    return [number] + [int(w) for w in reversed(where)]


def differences(out, vector):
    """Says where the vector's answer differs from the bytes written here, as a list of sentences."""
    arrays, found = vector["arrays"], []
    if f"out.{out.name}" not in arrays:
        return [f"out.{out.name} is missing"]
    answer = np.ascontiguousarray(arrays[f"out.{out.name}"])
    if answer.dtype != np.dtype(STORED[out.dtype]) or answer.nbytes != out.bytes.size:
        return [f"out.{out.name}: {answer.dtype} {answer.shape} is not {out.dtype} {out.shape}"]
    theirs = answer.view(np.uint8).reshape(out.bytes.shape)
    kept = np.zeros(out.bytes.size, bool)
    if f"keep.{out.name}" in arrays:
        bits = np.unpackbits(arrays[f"keep.{out.name}"])
        if len(bits) != (out.bytes.size + 7) // 8 * 8 or np.any(bits[out.bytes.size:]):
            return [f"keep.{out.name} has {len(bits)} bits for {out.bytes.size} bytes"]
        kept = bits[:out.bytes.size].astype(bool)
    kept = kept.reshape(out.bytes.shape)
    for wrong, what in ((kept & out.written, "written here, kept there"),
                        (~kept & ~out.written, "kept here, written there"),
                        (kept & (theirs != 0), "kept, but not zero in the file"),
                        (out.written & ~kept & (out.bytes != theirs), "another value")):
        if wrong.any():
            row, byte = (int(i[0]) for i in np.nonzero(wrong))
            start = byte // out.item * out.item
            mine, its = (int.from_bytes(b[row, start:start + out.item].tobytes(), "little")
                         for b in (out.bytes, theirs))
            found.append(f"{out.name} {element(out, row, byte)}: {what}: 0x{mine:0{2 * out.item}X} here, "
                         f"0x{its:0{2 * out.item}X} there; {int(wrong.sum())} of {wrong.size} bytes")
    return found
