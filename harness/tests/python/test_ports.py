#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
"""Ports in Python, good and bad, through the whole harness: BUILD/dsv4cts is run as a user would.

    DSV4_BUILD=build python3 harness/tests/python/test_ports.py
"""
import ctypes
import importlib.util
import json
import os
import pathlib
import re
import subprocess
import sys
import tempfile
import unittest

HERE = pathlib.Path(__file__).resolve().parent
ROOT = HERE.parents[2]
BUILD = pathlib.Path(os.environ.get("DSV4_BUILD", ROOT / "build")).resolve()
ENVIRONMENT = {**os.environ, "DSV4_PYTHON": sys.executable, "PYTHONDONTWRITEBYTECODE": "1"}
HAS_TORCH = importlib.util.find_spec("torch") is not None
HAS_GPU = HAS_TORCH and importlib.import_module("torch").cuda.is_available()
CASE = "mtp_concat_aux/coarse"

GOOD = """import os, sys, ctypes, time
import numpy as np
from dsv4cts import Refused, plugin, port
plugin(name="planted", version="1", arrays="numpy")
KEPT = []
@port("mtp_concat_aux")
def concat(first, second, third, out):
    {body}
"""
RIGHT = "out[:] = np.concatenate([first, second, third], axis=1)"

# What a port can do wrong in a call: its body, and what the report says. All of them are exit 1.
BAD_CALLS = {
    "raises": ("raise ValueError('no kernel\\nfor this')",
               r"FAIL .*\n.*run\(\) returned 3 \(DSV4_ERROR\): port.py:8: ValueError: no kernel for this"),
    "exits": ("sys.exit('enough')", r"FAIL .*\n.*port.py:8: SystemExit: enough"),
    "leaves": ("print('bye'); os._exit(5)", r"CRASH .*\n.*the process ended with exit\(5\) in run\(\)\n.*printed +bye"),
    "crashes": ("ctypes.string_at(0)", r"CRASH .*\n.*SIGSEGV .*in run\(\)\n(?:.*\n)*?.*port.py\", line 8 in concat"),
    "hangs": ("time.sleep(99)", r"TIMEOUT .*\n.*no answer after 1 s in run\(\)"),
    "returns": ("return np.concatenate([first, second, third], axis=1)",
                r"FAIL .*\n.*concat\(\) returned a numpy.ndarray; a port writes into its outputs and returns None"),
    "refuses": ("raise Refused('too many rows')", r"run\(\) refused an input that the contract computes: too many rows"),
    "keeps": (RIGHT + "; KEPT.append(out[1:])", r"FAIL .*\n.*concat\(\) keeps out beyond the call"),
    "writes-nothing": ("pass", r"every wrong byte holds what it held before the call: it was never written"),
    "wrong-values": (RIGHT + "; out[1, 2] ^= 1", r"FAIL .*\n +tensor +out +bf16"),
    "changes-input": (RIGHT + "; first[0, 0] ^= 1", r"FAIL .*\n +outside +changed 1 byte of the input `first`, first at first\[0, 0\]"),
    "writes-beyond": (RIGHT + "; ctypes.memset(out.ctypes.data - 8, 0, 8)", r"FAIL .*\n(?:.*\n)*? +outside"),
    "wrong-shape": ("out[:] = np.concatenate([first, second], axis=1)", r"port.py:8: ValueError: could not broadcast"),
}

GOOD_CALLS = {
    "right": RIGHT,
    "prints": "print('x' * 100000); " + RIGHT,
    "cycles": "ring = [out]; ring.append(ring); " + RIGHT,
    "forks": RIGHT + "; os.fork()",
}

# What a port file can do wrong: its text, and what standard error says. All of them are exit 2.
BAD_FILES = {
    "no-port": ("import dsv4cts\n", r"port.py: no function here is decorated with @port"),
    "syntax": ("def f(:\n", r"port.py:1: SyntaxError: "),
    "import": ("import nowhere\n", r"port.py:1: ModuleNotFoundError: No module named 'nowhere'"),
    "leaves": ("import os\nos._exit(3)\n", r"port.py: the process ended with exit\(3\) while the plug-in was loaded"),
    "crashes": ("import ctypes\nctypes.string_at(0)\n", r"port.py: SIGSEGV .*while the plug-in was loaded"),
    "op": (GOOD.replace("concat_aux", "concat_au").format(body=RIGHT),
           r"@port\('mtp_concat_au'\): there is no such op; is it mtp_concat_aux\?"),
    "argument": (GOOD.replace("third, out", "fourth, out").format(body="pass"),
                 r"concat\(\) asks for 'fourth', but mtp_concat_aux has the tensors first, second, third, out and the parameters none"),
    "dialect": (GOOD.replace('_aux"', '_aux", dialects=["ocp"]').format(body=RIGHT),
                r"@port\('mtp_concat_aux'\): there is no dialect 'ocp'; its dialects are none"),
    "arithmetic": (GOOD.replace('_aux"', '_aux", arithmetic="F32-MAYBE"').format(body=RIGHT), r"arithmetic='F32-MAYBE'\): .*F32-ANY"),
    "device": ("from dsv4cts import plugin\nplugin(device='tpu')\n", r"port.py:2: plugin\(device='tpu'\): known are cpu, cuda, hip"),
    "arrays": ("from dsv4cts import plugin\nplugin(device='cuda', arrays='numpy')\n", r"port.py:2: .*numpy has no arrays there"),
}

# The same on a GPU, with torch: body, options, exit code, what is said.
GPU = GOOD.replace("import numpy as np", "import torch").replace('arrays="numpy"', 'device="cuda"')
GPU_RIGHT = "out.copy_(torch.cat([first, second, third], dim=1))"
GPU_CALLS = {
    "eager": (GPU_RIGHT, "eager", 0, "port: 1 passed"),
    "captured": (GPU_RIGHT, "graph", 0, "port: 1 passed"),
    "leaks": (GPU_RIGHT + "; KEPT.append(torch.empty(256, device='cuda'))", "graph", 1,
              r"port.py: the port leaks device memory: 1024 bytes more after this call"),
    "workspace": (GPU_RIGHT + "; KEPT or KEPT.append(torch.empty(256, device='cuda'))", "graph", 0, "port: 1 passed"),
    "keeps": (GPU_RIGHT + "; KEPT.append(out[1:])", "eager", 1, r"concat\(\) keeps out beyond the call"),
    "reads": (GPU_RIGHT + "; first[0, 0].item()", "graph", 1, r"run\(\) cannot be captured into a graph"),
    "synchronises": (GPU_RIGHT + "; torch.cuda.synchronize()", "graph", 1, r"run\(\) cannot be captured into a graph"),
    "other-stream": ("torch.cuda.set_stream(torch.cuda.Stream()); " + GPU_RIGHT, "graph", 1, r"nothing was captured|cannot be captured"),
    "beyond": ("first[torch.full((1,), 1 << 40, device='cuda')]; " + GPU_RIGHT, "eager", 1, r"CRASH .*\n.*the device"),
}


def run(*command, env=ENVIRONMENT, cwd=ROOT):
    return subprocess.run([str(word) for word in command], cwd=cwd, env=env, text=True, capture_output=True,
                          stdin=subprocess.DEVNULL, timeout=120)


class Harness(unittest.TestCase):
    def setUp(self):
        folder = tempfile.TemporaryDirectory(prefix="dsv4-ports-")
        self.addCleanup(folder.cleanup)
        self.folder = pathlib.Path(folder.name)

    def write(self, text):
        path = self.folder / "port.py"
        path.write_text(text)
        return path

    def check(self, port, code, *options):
        """Runs `dsv4cts check`; returns what it printed."""
        done = run(BUILD / "dsv4cts", "check", "--impl", port, *options)
        self.assertEqual(done.returncode, code, done.stdout + done.stderr)
        return done.stdout + done.stderr


class Ports(Harness):
    def test_bad_calls(self):
        for name, (body, says) in BAD_CALLS.items():
            with self.subTest(name):
                printed = self.check(self.write(GOOD.format(body=body)), 1, "--case", CASE, "--timeout", 1 if name == "hangs" else 60)
                self.assertRegex(printed, says)
                self.assertRegex(printed, r"port: 1 (failed|crashed|timed out)|port: .*1 ")

    def test_good_calls(self):
        for name, body in GOOD_CALLS.items():
            with self.subTest(name):
                self.assertIn("port: 3 passed", self.check(self.write(GOOD.format(body=body)), 0, "--op", "mtp_concat_aux"))

    def test_a_crash_costs_one_case(self):
        body = "len(first) and os._exit(1); " + RIGHT
        printed = self.check(self.write(GOOD.format(body=body)), 1, "--op", "mtp_concat_aux", "--verbose")
        self.assertRegex(printed, r"port: 1 passed, 2 crashed")

    def test_bad_files(self):
        for name, (text, says) in BAD_FILES.items():
            with self.subTest(name):
                self.assertRegex(self.check(self.write(text), 2, "--case", CASE), "dsv4cts: .*" + says)

    def test_no_python(self):
        done = run(BUILD / "dsv4cts", "check", "--impl", self.write(GOOD.format(body=RIGHT)), "--case", CASE,
                   env={**ENVIRONMENT, "DSV4_PYTHON": "/nowhere/python3"})
        self.assertEqual(done.returncode, 2)
        self.assertRegex(done.stderr, r"exit\(127\) while the plug-in was loaded: .*/nowhere/python3.*No such file")

    def test_nothing_ran(self):
        port = self.write(GOOD.format(body=RIGHT))
        self.assertIn("there is no @port('norm_rms')", self.check(port, 3, "--op", "norm_rms", "--verbose"))

    def test_when_and_dialects(self):
        text = GOOD.replace('"mtp_concat_aux"', '"kv_save_partial_states", dialects=["bf16"], when=lambda ratio, kv: {when}')
        text = text.replace("first, second, third, out", "kv, state, state_")
        for when, says in {"ratio > 999": r"concat\(\) declines this call: when\(\) says so",
                           "ratio / 0": r"supports\(\) returned 3 .*port.py:6: ZeroDivisionError"}.items():
            printed = self.check(self.write(text.replace("{when}", when).format(body="pass")), 3 if "999" in when else 1,
                                 "--op", "kv_save_partial_states", "--verbose")
            self.assertRegex(printed, says)
            self.assertIn("concat() has state bf16, not f32", printed)

    def test_arithmetic(self):
        """numpy's order of sums, the weight first: not the canon's bits, and within the bounds of what it declares."""
        body = ("f32 = lambda t: (t.astype(np.uint32) << 16).view(np.float32) if t.dtype == np.uint16 else t\n"
                "    x = f32(x)\n"
                "    y = x * f32(weight) / np.sqrt((x * x).mean(axis=1, keepdims=True) + np.float32(eps))\n"
                "    word = y.view(np.uint32)\n"
                "    out[:] = word + 0x7fff + (word >> 16 & 1) >> 16")
        text = GOOD.replace("first, second, third, out", "x, weight, out, eps")
        for declared, code, says in (("BITS", 1, "port: 1 failed"), ("F32-ANY", 0, "port: 1 passed.*conformant")):
            head = f'"norm_rms", arithmetic="{declared}"'
            printed = self.check(self.write(text.replace('"mtp_concat_aux"', head).format(body=body)), code, "--case", "norm_rms/order-of-products")
            self.assertRegex(printed, says)

    def test_reports(self):
        port = self.write(GOOD.format(body=RIGHT))
        self.check(port, 0, "--case", CASE, "--report", self.folder)
        report = json.loads((self.folder / "port.json").read_text())
        self.assertEqual((report["plugin"], report["plugin_version"], report["device"]), ("planted", "1", "cpu"))
        self.assertEqual([result["verdict"] for result in report["results"]], ["PASS"])
        for form in ("txt", "xml", "html"):
            self.assertTrue((self.folder / f"port.{form}").is_file())

    def test_module(self):
        """python -m dsv4cts, from the package as built and as in the tree."""
        port = self.write(GOOD.format(body=RIGHT))
        for folder in (BUILD / "python", ROOT / "harness/python"):
            env = {**ENVIRONMENT, "PYTHONPATH": str(folder), "DSV4CTS": str(BUILD / "dsv4cts")}
            del env["DSV4_PYTHON"]
            done = run(sys.executable, "-m", "dsv4cts", port, "--graph", "--op", "mtp_concat_aux", env=env)
            self.assertEqual(done.returncode, 0, done.stderr)
            self.assertRegex(done.stdout, r"mode +graph(.*\n)*port: 3 passed")
            self.assertEqual(run(sys.executable, "-m", "dsv4cts", port, "--op", "norm_rms", env=env).returncode, 3)
            self.assertEqual(run(sys.executable, "-m", "dsv4cts", env=env).returncode, 2)
            self.assertEqual(run(sys.executable, "-m", "dsv4cts", port, "--nonsense", env=env).returncode, 2)

    def test_bench(self):
        done = run(BUILD / "dsv4cts", "bench", "--impl", self.write(GOOD.format(body=RIGHT)), "--op", "mtp_concat_aux",
                   "--case", "host-*", "--time", 50)
        self.assertEqual(done.returncode, 0, done.stderr)
        self.assertRegex(done.stdout, r"mtp_concat_aux/host-\S+ .*GB/s")

    def test_structs(self):
        """ctypes lays out dsv4_plugin.h as the C compiler does."""
        sys.path.insert(0, str(BUILD / "python"))
        from dsv4cts import abi
        pairs = {"dsv4_tensor": abi.CTensor, "dsv4_param": abi.CParam, "dsv4_call": abi.CCall, "dsv4_plugin": abi.CPlugin,
                 "dsv4_arithmetic": abi.CArithmetic}
        lines = [f'printf("%zu\\n", offsetof({name}, {field[0]}));' for name, c in pairs.items() for field in c._fields_]
        source = self.folder / "sizes.c"
        source.write_text('#include <stdio.h>\n#include "dsv4_plugin.h"\nint main(void) {' + "\n".join(lines) + "}\n")
        self.assertEqual(run("gcc", "-I", ROOT / "harness/include", "-o", self.folder / "sizes", source).returncode, 0)
        wanted = [getattr(c, field[0]).offset for c in pairs.values() for field in c._fields_]
        self.assertEqual([int(line) for line in run(self.folder / "sizes").stdout.split()], wanted)

    def test_growth(self):
        """Device memory may grow in the first call of a kind, not later."""
        sys.path.insert(0, str(BUILD / "python"))
        from dsv4cts.ports import Growth, PortError
        growth = Growth()
        growth.check("a", 0, 512)
        growth.check("a", 512, 512)
        growth.check("b", 512, 1024)
        with self.assertRaisesRegex(PortError, "leaks device memory: 512 bytes more"):
            growth.check("a", 1024, 1536)


@unittest.skipUnless(HAS_TORCH, "torch is not installed")
class Torch(Harness):
    """The same door, with tensors of torch."""

    def test_ports(self):
        names = re.findall(r'^@port\("(\w+)"', (HERE / "port_torch.py").read_text(), re.M)
        self.assertGreaterEqual(len(set(names)), 10)
        for mode in ("eager", "graph"):
            printed = self.check(HERE / "port_torch.py", 0, "--op", f"@({'|'.join(names)})", "--mode", mode, "--report", self.folder)
            self.assertRegex(printed, r"port_torch: 1\d\d passed, \d+ unsupported")
            results = json.loads((self.folder / "port_torch.json").read_text())["results"]
            self.assertEqual({r["op"] for r in results if r["verdict"] == "PASS"}, set(names))


@unittest.skipUnless(HAS_GPU, "no GPU that torch can use")
class Gpu(Harness):
    """Tensors on the device, the harness's stream, and graphs that it captures."""

    def test_calls(self):
        for name, (body, mode, code, says) in GPU_CALLS.items():
            with self.subTest(name):
                self.assertRegex(self.check(self.write(GPU.format(body=body)), code, "--case", CASE, "--mode", mode), says)

    def test_triton(self):
        names = re.findall(r'^@port\("(\w+)"', (HERE / "port_triton.py").read_text(), re.M)
        for mode in ("eager", "graph"):
            printed = self.check(HERE / "port_triton.py", 0, "--op", f"@({'|'.join(names)})", "--mode", mode, "--report", self.folder)
            self.assertRegex(printed, r"port_triton: \d+ passed, \d+ unsupported")
            results = json.loads((self.folder / "port_triton.json").read_text())["results"]
            self.assertEqual({r["op"] for r in results if r["verdict"] == "PASS"}, set(names))
            print(f"triton, {mode}: {sum(r['verdict'] == 'PASS' for r in results)} cases passed", file=sys.stderr)


def main():
    result = unittest.main(exit=False).result
    torch = f"torch {importlib.import_module('torch').__version__}" if HAS_TORCH else "without torch, whose ports were not run"
    print(f"ports: {result.testsRun - len(result.skipped)} tests, {len(result.failures) + len(result.errors)} failed; numpy, {torch}, "
          f"{'a GPU' if HAS_GPU else 'no GPU'}")
    return 0 if result.wasSuccessful() else 1


if __name__ == "__main__":
    sys.exit(main())
