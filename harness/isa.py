#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Gates on the machine code of build/<arch>/hip.so, kernel by kernel.

  contraction  Every source is compiled once more with -ffp-contract=off. Its IR may hold no permission to contract
               (fmuladd, the flags contract, fast, reassoc ...), and a kernel of hip.so may hold no more fused
               multiply-adds than that compilation has: what is there was written, or belongs to a division.
  scratch      No private segment, no vector register spilled, no scratch instruction.
  conversion   A kernel whose IR calls a hardware FP8 conversion, or that claims to, holds the instruction.
  budget       LDS, VGPRs and spilled SGPRs (they go to lanes of a VGPR, never to memory) stay within the limits below.
               An op's own .hip file may say otherwise, in a comment of one line:
                   /* isa: some_kernel<2 vgprs=168 lds=65536 sgpr-spills=16 fp8 */
               for the kernels whose names begin so; "fp8" or "from-fp8" claims a conversion. A line that no kernel
               needs is a fault.

Prints one line per kernel with the figures, and one per fault; exit 1 if there is a fault, 2 if the tools fail.
"""
import argparse
import pathlib
import re
import struct
import subprocess
import sys

# 128 VGPRs let four waves run on a SIMD, 32 KiB of LDS two workgroups on a compute unit.
LIMITS = {"vgprs": ("VGPRs", "vgpr_count", 128), "lds": ("bytes of LDS", "group_segment_fixed_size", 32768),
          "sgpr-spills": ("spilled SGPRs", "sgpr_spill_count", 0)}
FUSED = re.compile(r"^v_(pk_)?(fma|fmac|mad|mac|fmaak|fmamk|madak|madmk)_(mix\w*_)?(legacy_)?(f16|f32|f64)")
PERMISSION = re.compile(r"@llvm\.fmuladd|\b(?:fadd|fsub|fmul|fdiv|fneg|call|frem|fcmp|select|phi)\s+(?:[a-z]+ )*?"
                        r"(contract|fast|reassoc|arcp|afn)\b")
CONVERSIONS = {"fp8": ("llvm.amdgcn.cvt.pk.fp8.f32", "v_cvt_pk_fp8_f32"),
               "from-fp8": ("llvm.amdgcn.cvt.pk.f32.fp8", "v_cvt_pk_f32_fp8")}


def tool(llvm, name, *arguments, text=None):
    run = subprocess.run([f"{llvm}/{name}", *map(str, arguments)], capture_output=True, text=True, input=text)
    if run.returncode != 0:
        sys.exit(f"isa: {name} failed: {run.stderr.strip()[:500]}")
    return run.stdout


def code_objects(path, arch):
    """The code objects for arch in every offload bundle of a file."""
    data, magic, at, found = path.read_bytes(), b"__CLANG_OFFLOAD_BUNDLE__", 0, []
    while (at := data.find(magic, at)) >= 0:
        count, entry = struct.unpack_from("<Q", data, at + 24)[0], at + 32
        if count > 64:
            sys.exit(f"isa: {path} holds a bundle with {count} entries, which is none of ours")
        for _ in range(count):
            offset, size, length = struct.unpack_from("<QQQ", data, entry)
            if data[entry + 24:entry + 24 + length].decode("ascii", "replace").split("--")[-1].split(":")[0] == arch:
                found.append(data[at + offset:at + offset + size])
            entry += 24 + length
        at += len(magic)
    return found


def figures(llvm, path):
    """Kernel -> the numbers of its metadata."""
    kernels = {}
    for part in re.split(r"(?m)^  - (?=\.)", tool(llvm, "llvm-readelf", "--notes", path))[1:]:
        numbers = {k: int(v) for k, v in re.findall(r"\.(\w+): +(\d+)$", part, re.M)}
        kernels[re.search(r"\.name: +(\S+)", part)[1]] = numbers
    return kernels


def instructions(llvm, arch, path):
    """Function -> its mnemonics without encoding."""
    functions, current = {}, None
    for line in tool(llvm, "llvm-objdump", "-d", f"--mcpu={arch}", "--no-show-raw-insn", path).split("\n"):
        if label := re.match(r"[0-9a-f]+ <(\S+)>:", line):
            current = functions.setdefault(label[1], [])
        elif current is not None and (mnemonic := re.match(r"\s+([a-z]\w+)", line)):
            current.append(re.sub(r"_(e32|e64|dpp|sdwa)$", "", mnemonic[1]))
    return functions


def fused(mnemonics):
    return sum(2 if m.startswith("v_pk") else 1 for m in mnemonics if FUSED.match(m))


def bodies(ir):
    """Function -> its text in the IR."""
    return {m[1]: m[0] for m in re.finditer(r'^define [^@]*@"?([\w.$]+)"?\(.*?^}', ir, re.M | re.S)}


class Line:
    """One isa: comment."""

    def __init__(self, path, n, text):
        words = text.split(" ")
        split = next((i for i, w in enumerate(words) if w in CONVERSIONS or w.split("=")[0] in LIMITS), len(words))
        self.place, self.start, self.used = f"{path}:{n}", " ".join(words[:split]), False
        self.claims = {w for w in words[split:] if w in CONVERSIONS}
        self.limits = {k: int(v) for k, _, v in (w.partition("=") for w in words[split:]) if k in LIMITS and v.isdigit()}
        self.valid = len(words) - split == len(self.claims) + len(self.limits) > 0


class Gate:
    def __init__(self, options):
        self.options, self.faults, self.kernels, self.met = options, [], 0, set()
        self.lines = [Line(path, n, match[1]) for path in options.source
                      for n, line in enumerate(path.read_text().split("\n"), 1)
                      if (match := re.fullmatch(r"/\* isa: (.*) \*/", line.strip()))]

    def fault(self, kernel, sentence):
        self.faults.append(f"{kernel}: {sentence}")

    def canonical(self):
        """Kernel -> its fused multiply-adds, and its IR, of the compilations without contraction."""
        llvm, arch = self.options.llvm, self.options.arch
        mnemonics, ir = {}, {}
        for path in self.options.ir:
            text = path.read_text()
            for n, line in enumerate(text.split("\n"), 1):
                if (found := PERMISSION.search(line)) and not line.startswith(("declare", ";", "attributes")):
                    self.fault(path.name, f"line {n} of the IR may be contracted ({found[0].strip()}): "
                               "write fma() where one rounding is meant")
                    break
            for name, body in bodies(text).items():
                ir[name] = ir.get(name, "") + body
            listing = path.with_suffix(".o")
            tool(llvm, "llc", f"-mcpu={arch}", "-O3", "-fp-contract=off", "-filetype=obj", "-o", listing, path)
            for name, found in instructions(llvm, arch, listing).items():
                mnemonics[name] = max(mnemonics.get(name, 0), fused(found)) # several sources may have one kernel
        return mnemonics, ir

    def budget(self, name, numbers, lines):
        for key, (what, figure, limit) in LIMITS.items():
            found, allowed = numbers[figure], max([line.limits[key] for line in lines if key in line.limits], default=limit)
            if found > allowed:
                self.fault(name, f"{found} {what}, the budget is {allowed}: use fewer, or allow more in the op's .hip file "
                           f"(/* isa: {name.split('(')[0]} {key}={found} */)")
            for line in lines:
                line.used |= key in line.limits and found > limit

    def kernel(self, symbol, name, numbers, found, written, ir):
        self.kernels += 1
        lines = [line for line in self.lines if name.startswith(line.start)]
        claims = set().union(*(line.claims for line in lines)) if self.options.arch != "gfx90a" else set()
        self.budget(name, numbers, lines)
        if symbol not in written or symbol not in ir:
            self.fault(name, "the sources that were compiled beside it have no such kernel")
            return
        n, allowed = fused(found), written[symbol]
        if n > allowed:
            self.fault(name, f"{n} fused multiply-adds, where its source and divisions account for {allowed}: contracted")
        memory = sorted({m for m in found if m.startswith(("scratch_", "buffer_"))})
        if numbers["private_segment_fixed_size"] or numbers["vgpr_spill_count"] or memory:
            self.fault(name, f"{numbers['private_segment_fixed_size']} bytes of scratch, {numbers['vgpr_spill_count']} "
                       f"spilled VGPRs, {' '.join(memory) or 'no scratch instruction'}")
        for made, (intrinsic, instruction) in CONVERSIONS.items():
            if (intrinsic in ir[symbol] or made in claims) and instruction not in found:
                self.fault(name, f"no {instruction}: FP8 is not converted by the hardware")
        for line in lines:
            line.used |= bool(line.claims)
        print(f"  {name.split('(')[0]:42} VGPRs {numbers['vgpr_count']:3}  LDS "
              f"{numbers['group_segment_fixed_size']:5}  scratch {numbers['private_segment_fixed_size']}  "
              f"SGPR spills {numbers['sgpr_spill_count']:2}  fma {n:3} of {allowed:3}  "
              f"fp8 {sum(m == 'v_cvt_pk_fp8_f32' for m in found)}")

    def run(self):
        llvm, arch = self.options.llvm, self.options.arch
        written, ir = self.canonical()
        objects = code_objects(self.options.library, arch)
        if not objects:
            sys.exit(f"isa: {self.options.library} has no code object for {arch}")
        for data in objects:
            path = self.options.work / "kernel.co"
            path.write_bytes(data)
            numbers, found = figures(llvm, path), instructions(llvm, arch, path)
            self.met |= set().union(*found.values())
            names = tool(llvm, "llvm-cxxfilt", text="\n".join(numbers)).split("\n")
            for symbol, name in zip(numbers, names):
                self.kernel(symbol, name.removeprefix("void "), numbers[symbol], found.get(symbol, []), written, ir)
        if self.options.met:
            self.options.met.write_text("".join(f"{m}\n" for m in sorted(self.met)))
        for line in self.lines:
            if not line.valid:
                self.fault(line.place, "this isa: line is not understood; harness/isa.py says how it is written")
            elif not line.used and self.options.arch == "gfx942": # the lines are written for one architecture
                self.fault(line.place, f"no kernel whose name begins with {line.start} needs this isa: line")
        for sentence in self.faults:
            print(f"FAIL isa  {sentence}")
        print(f"isa {arch}: {self.kernels} kernels, {len(self.faults)} faults; contraction, scratch, FP8 conversion, budgets")
        return 1 if self.faults or self.kernels == 0 else 0


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--arch", required=True)
    parser.add_argument("--llvm", default="/usr/lib/llvm-19/bin")
    parser.add_argument("--work", type=pathlib.Path, required=True, help="a folder for intermediate files")
    parser.add_argument("--source", type=pathlib.Path, action="append", default=[], help="a .hip file with isa: lines")
    parser.add_argument("--met", type=pathlib.Path, help="a file to write with the mnemonics that the kernels use")
    parser.add_argument("library", type=pathlib.Path)
    parser.add_argument("ir", type=pathlib.Path, nargs="+", help="the sources as LLVM IR, compiled without contraction")
    return Gate(parser.parse_args()).run()


if __name__ == "__main__":
    try:
        sys.exit(main())
    except (OSError, KeyError, struct.error) as error:
        sys.exit(f"isa: {error!r}")
