# SPDX-License-Identifier: Apache-2.0
"""Loads every committed vector with numpy alone and holds its arrays to its meta.json.

usage: numpy_check.py DIR      check every DIR/<op>/<case>.npz
       numpy_check.py --plant  damage a vector in several ways; each must be seen
"""
import glob
import io
import json
import os
import sys

import numpy as np

STORED = {"f32": "<f4", "i32": "<i4", "i64": "<i8", "bf16": "<u2",
          "u8": "|u1", "e4m3fn": "|u1", "e4m3fnuz": "|u1", "e8m0": "|u1"}


def expected_arrays(meta):
    """Yields (name, dtype, shape, required) for every array that the meta data implies."""
    for name, t in meta["tensors"].items():
        if t is None:
            continue
        dtype = np.dtype(STORED[t["dtype"]])
        shape = tuple(t["shape"])
        if t["rows"] is not None:
            shape = (t["rows"],) + shape[1:]
            yield f"rows.{name}", np.dtype("<i8"), (t["rows"],), True
        if t["role"] in ("in", "inout"):
            yield f"in.{name}", dtype, shape, True
        if t["role"] in ("out", "inout") and not meta["refused"]:
            yield f"out.{name}", dtype, shape, True
            if t["role"] == "out":
                n = int(np.prod(shape, dtype=np.int64)) * dtype.itemsize
                yield f"keep.{name}", np.dtype("|u1"), ((n + 7) // 8,), False


def faults(file):
    """Says what is wrong with one vector, as a list of sentences."""
    found = []
    with np.load(file, allow_pickle=False) as vector:
        meta = json.loads(bytes(vector["meta.json"]))
        left = set(vector.files) - {"meta.json"}
        for name, dtype, shape, required in expected_arrays(meta):
            if name not in left:
                if required:
                    found.append(f"{name} is missing")
                continue
            left.remove(name)
            array = vector[name]
            if array.dtype != dtype:
                found.append(f"{name} has dtype {array.dtype.str}, meta.json implies {dtype.str}")
            if array.shape != shape:
                found.append(f"{name} has shape {array.shape}, meta.json implies {shape}")
            if not array.flags.c_contiguous:
                found.append(f"{name} is not in C order")
            if name.startswith("rows.") and not np.all(np.diff(array) > 0):
                found.append(f"{name} is not ascending")
            if name.startswith("keep.") and not found:
                out = np.ascontiguousarray(vector["out." + name[5:]]).view(np.uint8).ravel()
                kept = np.unpackbits(array)[:out.size].astype(bool)
                if not kept.any() or out[kept].any():
                    found.append(f"{name} marks nothing, or a byte that is not zero")
        found += [f"{name} is surplus" for name in sorted(left)]
    return found


def sample():
    """A good vector, as arrays."""
    meta = {"refused": False, "tensors": {
        "x": {"role": "in", "dtype": "bf16", "shape": [3, 4], "rows": None},
        "y": {"role": "out", "dtype": "f32", "shape": [9, 4], "rows": 2},
        "none": None}}
    keep = np.zeros(32, np.uint8)
    keep[5] = 1
    return {"meta.json": meta, "in.x": np.zeros((3, 4), np.uint16), "rows.y": np.array([2, 7]),
            "out.y": np.zeros((2, 4), np.float32), "keep.y": np.packbits(keep)}


def saved(arrays):
    """The arrays as a file; meta.json as text."""
    import zipfile
    image = io.BytesIO()
    with zipfile.ZipFile(image, "w") as archive:
        for name, array in arrays.items():
            if name == "meta.json":
                archive.writestr(name, json.dumps(array))
                continue
            npy = io.BytesIO()
            np.save(npy, array)
            archive.writestr(name + ".npy", npy.getvalue())
    image.seek(0)
    return image


def plant():
    """0 when every harm is seen and the unharmed vector passes."""
    harms = {
        "dtype": lambda a: a.update({"in.x": a["in.x"].astype(np.int16)}),
        "wide dtype": lambda a: a.update({"out.y": a["out.y"].astype(np.float64)}),
        "shape": lambda a: a.update({"in.x": a["in.x"].T.copy()}),
        "order": lambda a: a.update({"in.x": np.asfortranarray(a["in.x"])}),
        "missing": lambda a: a.pop("out.y") is None,
        "surplus": lambda a: a.update({"in.z": np.zeros(1)}),
        "rows": lambda a: a.update({"rows.y": np.array([7, 2])}),
        "keep nothing": lambda a: a.update({"keep.y": np.zeros(4, np.uint8)}),
        "keep a value": lambda a: a.update({"out.y": np.ones((2, 4), np.float32),
                                            "keep.y": np.full(4, 255, np.uint8)}),
        "refused": lambda a: a["meta.json"].update({"refused": True}),
    }
    if faults(saved(sample())):
        print("numpy_check: a good vector is refused", faults(saved(sample())))
        return 1
    missed = 0
    for name, harm in harms.items():
        arrays = sample()
        harm(arrays)
        if name == "missing":
            arrays.pop("keep.y")
        if not faults(saved(arrays)):
            print(f"numpy_check: the planted harm '{name}' is not seen")
            missed += 1
    print(f"numpy_check: {len(harms) - missed} of {len(harms)} planted harms seen")
    return 1 if missed else 0


def main():
    if len(sys.argv) != 2:
        print(__doc__, file=sys.stderr)
        return 2
    if sys.argv[1] == "--plant":
        return plant()
    files = sorted(glob.glob(os.path.join(sys.argv[1], "*", "*.npz")))
    n = 0
    for file in files:
        for fault in faults(file):
            print(f"{file}: {fault}")
            n += 1
    print(f"numpy_check: {len(files)} vectors loaded, {n} faults")
    if not files:
        return 3
    return 1 if n else 0


sys.exit(main())
