# SPDX-License-Identifier: Apache-2.0
"""@port and plugin(), and how a call of the harness becomes a call of the decorated function."""
import collections
import contextlib
import difflib
import gc
import importlib.util
import inspect
import os
import sys
import traceback

from .tensor import DEVICES, Tensor

ARRAYS = ("torch", "numpy", "raw")


class PortError(Exception):
    """Something about a port, said in one sentence."""


class Refused(Exception):
    """For a port to raise, before it writes anything: the op's contract refuses this input."""


def port(op, *, dialects=(), when=None, arithmetic="BITS"):
    """The decorated function is the kernel of `op`. It is called by keyword with the tensors and
    parameters that it names (`dsv4cts list OP` shows them; `state_` is the parameter where a tensor
    is called `state`, and `global_` is `global`); `call` is all of them. Absent tensors are None.

    dialects: values, "planar" or "layout=planar"; "*" is all. A dialect parameter of which no value
    is named has its default. when: a function of parameters and tensors, named as above, without
    their contents; False declines the call. arithmetic: "BITS", or what the kernel declares in its
    place, as `check --class` takes it: "F32-ANY", "TC25-RZ exp=2"."""
    def decorate(function):
        Loaded.ports.append(Port(op, function, dialects, when, arithmetic))
        return function
    return decorate


def plugin(*, name=None, version="0", device="cpu", arrays="torch"):
    """What the plug-in is. device: "cpu", "cuda" or "hip". arrays: what tensors become: "torch",
    "numpy", or "raw": dsv4cts.Tensor, which speaks DLPack."""
    if device not in DEVICES:
        raise PortError(f"plugin(device={device!r}): known are {', '.join(DEVICES)}")
    if arrays not in ARRAYS:
        raise PortError(f"plugin(arrays={arrays!r}): known are {', '.join(ARRAYS)}")
    if arrays == "numpy" and device != "cpu":
        raise PortError(f"plugin(arrays='numpy', device={device!r}): numpy has no arrays there")
    Loaded.name, Loaded.version, Loaded.device, Loaded.arrays = name, version, device, arrays


class Loaded:
    """What the port file has said so far."""
    ports, name, version, device, arrays = [], None, "0", "cpu", "torch"


class Call:
    """One call: op, tensors and params by name, stream (an address), device, index, arrays."""

    def __init__(self, c, device, index, arrays):
        self.op, self.stream, self.arrays = c.op.decode(), c.stream, arrays
        self.device, self.index = device, index
        self.raw = [Tensor(c.tensors[i], device, index) for i in range(c.n_tensors)]
        self.params = {c.params[i].name.decode(): c.params[i].value() for i in range(c.n_params)}

    def key(self):
        """Equal for calls that may use the same workspace."""
        return self.op, tuple((t.dtype, t.shape) for t in self.raw), tuple(self.params.items())

    def wrap(self):
        """Makes the tensors what the port wants; before this they are raw."""
        self.tensors = {t.name: None if t.pointer is None else t if self.arrays == "raw" else getattr(t, self.arrays)()
                        for t in self.raw}

    def held(self):
        return [t.name for t in self.raw if t.is_held()]


class Port:
    def __init__(self, op, function, dialects, when, arithmetic):
        self.op, self.function, self.when, self.arithmetic = op, function, when, arithmetic
        self.dialects = [dialects] if isinstance(dialects, str) else list(dialects)
        self.name = getattr(function, "__name__", "?")

    def resolve(self, library):
        """Holds every name to the registry."""
        if self.op not in library.ops():
            near = difflib.get_close_matches(self.op, library.ops(), 1)
            raise PortError(f"@port({self.op!r}): there is no such op" + (f"; is it {near[0]}?" if near else ""))
        self.declared, why = library.arithmetic(self.arithmetic)
        if why:
            raise PortError(f"@port({self.op!r}, arithmetic={self.arithmetic!r}): {why}")
        self.known = library.tensors(self.op), library.params(self.op)
        self.accepts = self._accepted(self.known[1])
        self.names = self._bind(self.function)
        self.when_names = self._bind(self.when) if self.when else {}

    def _accepted(self, params):
        params = {name: p for name, p in params.items() if p.is_dialect}
        if self.dialects == ["*"]:
            return {}
        found = {name: set() for name in params}
        for word in self.dialects:
            name, _, value = word.rpartition("=")
            fits = [p for p in params.values() if (name == p.name or name == "" and p.words) and value in (p.words or [value])]
            if not fits:
                there = "; ".join(f"{p.name}: {' '.join(p.words or ['any number'])}" for p in params.values())
                raise PortError(f"@port({self.op!r}): there is no dialect {word!r}; its dialects are {there or 'none'}")
            for p in fits:
                found[p.name].add(value)
        return {name: values or {params[name].initial} for name, values in found.items()}

    def _bind(self, function):
        """{argument: (which of Call's dictionaries, name there)}"""
        tensors, params = self.known
        found = {}
        for argument in inspect.signature(function).parameters.values():
            plain = argument.name[:-1] if argument.name.endswith("_") else argument.name
            if argument.kind in (argument.VAR_POSITIONAL, argument.VAR_KEYWORD):
                continue
            if argument.name == "call":
                found["call"] = None, None
            elif argument.name in tensors:
                found[argument.name] = "tensors", argument.name
            elif plain in params:
                found[argument.name] = "params", plain
            elif plain in tensors:
                found[argument.name] = "tensors", plain
            elif argument.default is argument.empty:
                raise PortError(f"{self.name}() asks for {argument.name!r}, but {self.op} has the tensors "
                                f"{', '.join(tensors)} and the parameters {', '.join(params) or 'none'}")
        return found

    def _arguments(self, names, call):
        return {argument: call if which is None else getattr(call, which)[name]
                for argument, (which, name) in names.items()}

    def declines(self, call):
        """Why, or None."""
        for name, values in self.accepts.items():
            if str(call.params[name]) not in values:
                return f"{self.name}() has {name} {' '.join(sorted(values))}, not {call.params[name]}"
        call.tensors = {t.name: t for t in call.raw}
        if self.when and not self.when(**self._arguments(self.when_names, call)):
            return f"{self.name}() declines this call: when() says so"
        return None

    def run(self, call):
        call.wrap()
        result = self.function(**self._arguments(self.names, call))
        if result is not None:
            kind = type(result)
            raise PortError(f"{self.name}() returned a {kind.__module__}.{kind.__qualname__}; a port writes into "
                            f"its outputs and returns None")


class Growth:
    """Device memory that torch holds may grow in the first call of a kind (workspaces), not in later ones."""

    def __init__(self):
        self.seen = set()

    def check(self, key, before, after):
        if key in self.seen and after > before:
            raise PortError(f"the port leaks device memory: {after - before} bytes more after this call than before it")
        self.seen.add(key)


class Plugin:
    """A loaded port file."""

    def __init__(self, path, library, index):
        Loaded.ports = []
        load_module(path)
        self.name = Loaded.name or os.path.splitext(os.path.basename(path))[0]
        self.version, self.device, self.arrays, self.index = Loaded.version, Loaded.device, Loaded.arrays, max(index, 0)
        self.growth = Growth()
        self.ports = collections.defaultdict(list)
        if not Loaded.ports:
            raise PortError("no function here is decorated with @port")
        if self.arrays != "raw" and importlib.util.find_spec(self.arrays) is None:
            raise PortError(f"{self.arrays} is not installed for {sys.executable}; DSV4_PYTHON names another "
                            f"Python, plugin(arrays=...) another kind of tensor")
        for one in Loaded.ports:
            one.resolve(library)
            self.ports[one.op].append(one)

    def call(self, c):
        return Call(c, self.device, self.index, self.arrays)

    def choose(self, call):
        """(the port that takes the call, None) or (None, why not)"""
        why = f"there is no @port({call.op!r})"
        for one in self.ports[call.op]:
            why = one.declines(call)
            if why is None:
                return one, None
        return None, why

    def run(self, call):
        chosen, why = self.choose(call)
        if chosen is None:
            raise PortError(why)
        before = self.allocated()
        with self.stream(call):
            chosen.run(call)
        call.tensors = None
        if call.held():
            gc.collect()
        if call.held():
            raise PortError(f"{chosen.name}() keeps {', '.join(call.held())} beyond the call, and the memory below is gone then")
        self.growth.check(call.key(), before, self.allocated())

    def on_gpu_torch(self):
        return self.device != "cpu" and self.arrays == "torch"

    def allocated(self):
        if not self.on_gpu_torch():
            return 0
        import torch
        return torch.cuda.memory_allocated(self.index)

    @contextlib.contextmanager
    def stream(self, call):
        """torch's current stream is the harness's, which may be capturing a graph."""
        if not self.on_gpu_torch():
            yield
            return
        import torch
        torch.cuda.set_device(self.index)
        with torch.cuda.stream(torch.cuda.ExternalStream(call.stream or 0, device=f"cuda:{self.index}")):
            yield


def load_module(path):
    """Runs the port file as `python PATH` would find its imports."""
    sys.path.insert(0, os.path.dirname(os.path.abspath(path)))
    name = "dsv4_port_" + os.path.splitext(os.path.basename(path))[0]
    spec = importlib.util.spec_from_file_location(name, path)
    module = importlib.util.module_from_spec(spec)
    sys.modules[name] = module
    spec.loader.exec_module(module)


def trimmed(error, path):
    """The traceback from the port file on, if that was reached."""
    at = error.__traceback__
    while at is not None and at.tb_frame.f_code.co_filename != path:
        at = at.tb_next
    return at


def sentence(error, path):
    """file:line: Type: message, where the port file was last."""
    lines = [frame.lineno for frame in traceback.extract_tb(error.__traceback__) if frame.filename == path]
    if isinstance(error, SyntaxError) and error.filename == path:
        lines.append(error.lineno)
    where = f"{os.path.basename(path)}:{lines[-1]}: " if lines else f"{os.path.basename(path)}: "
    if isinstance(error, PortError):
        return where + str(error)
    return where + f"{type(error).__name__}: {' '.join(str(error).split())[:400]}"
