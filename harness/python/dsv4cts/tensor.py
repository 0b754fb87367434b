# SPDX-License-Identifier: Apache-2.0
"""A tensor of a call, and its views: numpy's, torch's, anybody's through DLPack. Nothing is copied,
and a view that outlives the call is noticed: the memory below it does not."""
import ctypes
import weakref
from ctypes import POINTER, c_int32, c_int64, c_uint8, c_uint16, c_uint64, c_void_p

from .abi import DTYPES

DEVICES = {"cpu": 1, "cuda": 2, "hip": 10}  # DLPack's numbers
NUMPY = {"i32": "i4", "i64": "i8", "u8": "u1", "f32": "f4", "bf16": "u2"}  # else u1: numpy has no narrow floats
TORCH = {"e4m3fn": "float8_e4m3fn", "e4m3fnuz": "float8_e4m3fnuz", "e8m0": "float8_e8m0fnu"}


class DLDevice(ctypes.Structure):
    _fields_ = [("type", c_int32), ("id", c_int32)]


class DLDataType(ctypes.Structure):
    _fields_ = [("code", c_uint8), ("bits", c_uint8), ("lanes", c_uint16)]


class DLTensor(ctypes.Structure):
    _fields_ = [("data", c_void_p), ("device", DLDevice), ("ndim", c_int32), ("dtype", DLDataType),
                ("shape", POINTER(c_int64)), ("strides", POINTER(c_int64)), ("byte_offset", c_uint64)]


DELETER = ctypes.CFUNCTYPE(None, c_void_p)


class DLManagedTensor(ctypes.Structure):
    _fields_ = [("tensor", DLTensor), ("context", c_void_p), ("deleter", DELETER)]


new_capsule = ctypes.pythonapi.PyCapsule_New
new_capsule.restype = ctypes.py_object
new_capsule.argtypes = [c_void_p, ctypes.c_char_p, c_void_p]
CAPSULE_NAME = b"dltensor"

exported = {}  # address of a DLManagedTensor -> what must live as long as its views
delete = DELETER(lambda address: exported.pop(address, None) and None)


class Tensor:
    """name, dtype ("bf16"), layout ("planar"), shape, strides (bytes), pointer, device, index."""

    def __init__(self, c, device, index):
        self.name, self.layout = c.name.decode(), c.layout.decode()
        self.code, self.bits = c.dtype & 0xff, c.dtype >> 8 & 0xff
        self.dtype = DTYPES.get((self.code, self.bits))  # None: absent
        self.shape, self.strides = tuple(c.shape[:c.ndim]), tuple(c.stride[:c.ndim])
        self.pointer, self.device, self.index = c.data, device, index
        self._views = []  # one function for each view: is it still alive?

    def __repr__(self):
        return f"{self.name} {self.dtype} {list(self.shape)}"

    def data_ptr(self):
        return self.pointer

    def is_held(self):
        return any(alive() for alive in self._views)

    def numpy(self):
        """bf16 as uint16, FP8 and E8M0 as uint8."""
        import numpy
        dtype = numpy.dtype(NUMPY.get(self.dtype, "u1"))
        span = sum((n - 1) * stride for n, stride in zip(self.shape, self.strides)) + dtype.itemsize
        memory = (ctypes.c_ubyte * max(span, 1)).from_address(self.pointer)
        self._views.append(weakref.ref(memory))
        return numpy.ndarray(self.shape, dtype, memory, strides=self.strides)

    def torch(self):
        """FP8 and E8M0 as torch's dtypes where it has them, else as uint8."""
        import torch
        import torch.utils.dlpack
        view = torch.utils.dlpack.from_dlpack(self.__dlpack__())
        name = TORCH.get(self.dtype)
        return view.view(getattr(torch, name)) if name and hasattr(torch, name) else view

    def __dlpack_device__(self):
        return DEVICES[self.device], self.index

    def __dlpack__(self, **_):
        """FP8 and E8M0 as uint8, which every reader knows."""
        n, size = len(self.shape), self.bits // 8
        if any(stride % size for stride in self.strides):
            raise ValueError(f"{self} has strides of {list(self.strides)} bytes, which DLPack cannot say")
        shape = (c_int64 * n)(*self.shape)
        strides = (c_int64 * n)(*(stride // size for stride in self.strides))
        code = 1 if self.code >= 10 else self.code
        managed = DLManagedTensor(DLTensor(self.pointer, DLDevice(*self.__dlpack_device__()), n,
                                           DLDataType(code, self.bits, 1), shape, strides, 0), None, delete)
        address = ctypes.addressof(managed)
        exported[address] = (managed, shape, strides)
        self._views.append(lambda: address in exported and exported[address][0] is managed)
        return new_capsule(address, CAPSULE_NAME, None)
