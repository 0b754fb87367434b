#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Breaks every rule of harness/isa.py once, in kernels of its own, and expects the fault to be named."""
import pathlib
import subprocess
import sys
import tempfile

ROOT = pathlib.Path(__file__).resolve().parents[2]
LLVM = "/usr/lib/llvm-19/bin"
COMPILE = [f"{LLVM}/clang", "-x", "hip", "--offload-arch=gfx942", "-O3", "-nogpulib", "-nogpuinc", "-nostdinc++",
           "--hip-path=/nonexistent", "--cuda-device-only", "-ffp-contract=off"]
KERNEL = "__attribute__((global)) __attribute__((amdgpu_flat_work_group_size(1, 256){attribute})) void some_kernel(" \
         "float *x, int *y, int n) {{ {body} }}\n"
SUM = "x[0] = x[1] * x[2] + x[3];"
FP8 = "y[0] = __builtin_amdgcn_cvt_pk_fp8_f32(x[0], x[1], 0, false);"
SPILL = "float r[200]; for (int i = 0; i < 200; i++) r[i] = x[i] * x[i + n]; __builtin_amdgcn_s_barrier(); " \
        "for (int i = 0; i < 200; i++) x[r[i] > 0 ? i : n] = r[i] + r[(i * 7) % 200] * r[199 - i];"
SCRATCH = "float r[64]; for (int i = 0; i < 64; i++) r[i] = x[i]; for (int i = 0; i < n; i++) r[y[i] & 63] += 1.0f; " \
          "for (int i = 0; i < 64; i++) x[i] = r[i];"
MANY = "".join(f"float r{i} = x[{i} * n];" for i in range(180)) + 'asm volatile("" ::: "memory");' + \
       "".join(f"x[{i} * n + 1] = r{i} * r{i * 7 % 180};" for i in range(180))

# name, comments, kernel body, attribute, flags of the library's build, what is said ("" for no fault)
PLANTS = [
    ("clean", "", SUM, "", [], ""),
    ("written fma", "", "x[0] = __builtin_fmaf(x[1], x[2], x[3]);", "", [], ""),
    ("contracted build", "", SUM, "", ["-ffp-contract=fast"], "contracted"),
    ("contracted by pragma", "", "\n#pragma clang fp contract(fast)\n" + SUM, "", [], "may be contracted"),
    ("fast math", "", SUM, "", ["-ffast-math", "-ffp-contract=fast"], "contracted"),
    ("spills", "", SPILL, ", amdgpu_waves_per_eu(8, 8)", [], "spilled VGPRs"),
    ("scratch", "", SCRATCH, "", [], "bytes of scratch"),
    ("software conversion", "/* isa: some_kernel fp8 */\n", SUM, "", [], "no v_cvt_pk_fp8_f32"),
    ("hardware conversion", "/* isa: some_kernel fp8 */\n", FP8, "", [], ""),
    ("many scalars", "", MANY, ", amdgpu_waves_per_eu(1, 1)", [], "spilled SGPRs, the budget is 0"),
    ("many registers", "", "x += __builtin_amdgcn_workitem_id_x(); " + MANY, ", amdgpu_waves_per_eu(1, 1)", [],
     "VGPRs, the budget is 128"),
    ("much LDS", "", "static __attribute__((shared)) float l[10000]; l[n] = x[n]; __builtin_amdgcn_s_barrier(); "
     "x[n] = l[y[n]];", "", [], "40000 bytes of LDS, the budget is 32768"),
    ("allowed LDS", "/* isa: some_kernel lds=40000 */\n", "static __attribute__((shared)) float l[10000]; l[n] = x[n]; "
     "__builtin_amdgcn_s_barrier(); x[n] = l[y[n]];", "", [], ""),
    ("stale line", "/* isa: some_kernel vgprs=200 */\n", SUM, "", [], "needs this isa: line"),
    ("line of no kernel", "/* isa: other_kernel vgprs=200 */\n", SUM, "", [], "needs this isa: line"),
    ("unknown word", "/* isa: some_kernel sgprs=3 */\n", SUM, "", [], "is not understood"),
]


def gate(folder, comments, body, attribute, flags):
    source, ir, library = folder / "planted.hip", folder / "planted.ll", folder / "hip.so"
    source.write_text(comments + KERNEL.format(attribute=attribute, body=body))
    subprocess.run([*COMPILE, "-emit-llvm", "-S", "-o", ir, source], check=True)
    subprocess.run([*COMPILE, *flags, "-o", library, source], check=True)
    run = subprocess.run([sys.executable, ROOT / "harness/isa.py", "--arch", "gfx942", "--llvm", LLVM, "--work", folder,
                          "--source", source, library, ir], capture_output=True, text=True)
    return run.returncode, run.stdout + run.stderr


def main():
    wrong = 0
    with tempfile.TemporaryDirectory() as folder:
        for name, comments, body, attribute, flags, expected in PLANTS:
            status, text = gate(pathlib.Path(folder), comments, body, attribute, flags)
            if status != (1 if expected else 0) or expected not in text:
                wrong += 1
                print(f"isa_planted: {name}: exit {status}, wanted '{expected or 'no fault'}':\n{text}")
        empty = pathlib.Path(folder) / "empty.so"
        empty.write_bytes(b"")
        run = subprocess.run([sys.executable, ROOT / "harness/isa.py", "--arch", "gfx942", "--work", folder, empty,
                              pathlib.Path(folder) / "planted.ll"], capture_output=True, text=True)
        if run.returncode == 0 or "no code object" not in run.stderr:
            wrong += 1
            print(f"isa_planted: a library without code objects passes:\n{run.stdout}{run.stderr}")
    print(f"isa_planted: {len(PLANTS) + 1} plants, {wrong} not treated as they should be")
    return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(main())
