# SPDX-License-Identifier: Apache-2.0
"""dsv4_plugin.h and libdsv4cts.so (harness/embed.h) as ctypes sees them."""
import collections
import ctypes
import pathlib
from ctypes import POINTER, c_char_p, c_double, c_float, c_int, c_int32, c_int64, c_size_t, c_uint32, c_void_p

VERSION = "0.1.0"
ABI = 1
OK, REFUSED, UNSUPPORTED, ERROR = range(4)
INT, FLOAT, NAME = range(3)
MAX_DIMS = 4

# DLPack's code and bits of each dtype.
DTYPES = {(0, 32): "i32", (0, 64): "i64", (1, 8): "u8", (2, 32): "f32", (4, 16): "bf16",
          (10, 8): "e4m3fn", (11, 8): "e4m3fnuz", (14, 8): "e8m0"}


class CTensor(ctypes.Structure):
    _fields_ = [("name", c_char_p), ("layout", c_char_p), ("data", c_void_p), ("dtype", c_uint32),
                ("ndim", c_int32), ("shape", c_int64 * MAX_DIMS), ("stride", c_int64 * MAX_DIMS)]


class CParam(ctypes.Structure):
    _fields_ = [("name", c_char_p), ("kind", c_uint32), ("i", c_int64), ("f", c_double), ("s", c_char_p)]

    def value(self):
        return (self.i, self.f, self.s and self.s.decode())[self.kind]


class CCall(ctypes.Structure):
    _fields_ = [("size", c_uint32), ("n_tensors", c_uint32), ("n_params", c_uint32), ("reserved", c_uint32),
                ("op", c_char_p), ("tensors", POINTER(CTensor)), ("params", POINTER(CParam)), ("stream", c_void_p)]


class CArithmetic(ctypes.Structure):
    _fields_ = [("size", c_uint32), ("accumulation", c_uint32), ("exp_ulp", c_float), ("log_ulp", c_float),
                ("rsqrt_ulp", c_float), ("divide_ulp", c_float)]


ON_CALL = ctypes.CFUNCTYPE(c_int, POINTER(CCall), c_void_p, c_size_t)
ON_DECLARE = ctypes.CFUNCTYPE(c_int, POINTER(CCall), POINTER(CArithmetic))
ON_OPEN = ctypes.CFUNCTYPE(c_void_p, c_char_p, c_int, c_void_p, c_size_t)


class CPlugin(ctypes.Structure):
    _fields_ = [("size", c_uint32), ("abi", c_uint32), ("name", c_char_p), ("version", c_char_p),
                ("device", c_char_p), ("supports", ON_CALL), ("run", ON_CALL), ("canary", c_void_p),
                ("declare", ON_DECLARE)]


class CRegistryParam(ctypes.Structure):
    _fields_ = [("name", c_char_p), ("initial", c_char_p), ("names", c_char_p), ("is_dialect", c_int)]


def say(why, size, text):
    """Writes one line into a C buffer; what does not fit is cut off."""
    line = " ".join(str(text).split()).encode("utf-8", "replace")[:size - 1].decode("utf-8", "ignore").encode()
    if size > 0:
        ctypes.memmove(why, line + b"\0", len(line) + 1)


RegistryParam = collections.namedtuple("RegistryParam", "name initial words is_dialect")


class Library:
    """libdsv4cts.so: the harness's worker, and what the registry knows of an op."""

    def __init__(self, path=None):
        path = path or pathlib.Path(__file__).resolve().parents[2] / "libdsv4cts.so"
        self.c = ctypes.CDLL(str(path))
        self.c.dsv4_embed_op.restype = self.c.dsv4_embed_tensor.restype = c_char_p
        self.c.dsv4_embed_op.argtypes = [c_size_t]
        self.c.dsv4_embed_tensor.argtypes = [c_char_p, c_size_t]
        self.c.dsv4_embed_param.argtypes = [POINTER(CRegistryParam), c_char_p, c_size_t]
        self.c.dsv4_embed_arithmetic.argtypes = [POINTER(CArithmetic), c_char_p, c_char_p, c_size_t]
        self.c.dsv4_embed_serve.argtypes = [c_int, ON_OPEN]
        if self.c.dsv4_embed_version() != 1:
            raise ImportError(f"{path} belongs to another version of this package")

    def serve(self, socket, on_open):
        return self.c.dsv4_embed_serve(socket, on_open)

    def ops(self):
        return [name.decode() for name in self._all(self.c.dsv4_embed_op)]

    def tensors(self, op):
        return [name.decode() for name in self._all(lambda i: self.c.dsv4_embed_tensor(op.encode(), i))]

    def params(self, op):
        """What an implementation sees, by name."""
        found, param = {}, CRegistryParam()
        while self.c.dsv4_embed_param(ctypes.byref(param), op.encode(), len(found)):
            words = param.names.decode().split() if param.names else None
            name = param.name.decode()
            found[name] = RegistryParam(name, param.initial.decode(), words, bool(param.is_dialect))
        return found

    def arithmetic(self, text):
        """(what "F32-ANY exp=2" declares, None) or (None, why not)"""
        found, why = CArithmetic(), ctypes.create_string_buffer(512)
        if self.c.dsv4_embed_arithmetic(ctypes.byref(found), text.encode(), why, len(why)) == 0:
            return found, None
        return None, why.value.decode()

    @staticmethod
    def _all(item):
        found = []
        while (name := item(len(found))) is not None:
            found.append(name)
        return found
