#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Breaks every rule of harness/lint.py once, in a copy of the tree, and expects lint to name it."""
import importlib.util
import os
import pathlib
import shutil
import subprocess
import sys
import tempfile

sys.dont_write_bytecode = True
ROOT = pathlib.Path(__file__).resolve().parents[3]
SPDX = "/* SPDX-License-Identifier: Apache-2.0 */\n"
LONG = "static int long_one(int x) {\n" + "    x++;\n" * 70 + "    return x;\n}\n"
BIG_STRUCT = "static struct big *long_two(int x)\n{\n" + "    x++;\n" * 70 + "    return 0;\n}\n"

# rule, file, how it is changed (text appended, or a function of the old text), what lint must say
PLANTS = [
    ("format", "harness/planted.c", SPDX + "int  x ;\n", "clang-format-14 would change"),
    ("text", "harness/planted.c", SPDX + "\tint x;\n", "a tab"),
    ("text", "suites/planted.txt", "name: x \n", "blanks"),
    ("text", "suites/planted.txt", "name: x\r\n", "carriage return"),
    ("text", "suites/planted.txt", "name: x", "exactly one newline"),
    ("text", "suites/planted.txt", "name: x\n\n", "exactly one newline"),
    ("text", "README.md", "zero\u200bwidth\n", "invisible"),
    ("text", "README.md", "right\u202eto left\n", "invisible"),
    ("spdx", "harness/planted.c", "int x;\n", "first line"),
    ("spdx", "harness/planted.py", "print(1)\n", "first line"),
    ("spdx", "harness/planted", "#!/bin/bash\nexit 0\n", "first line"),
    ("spdx", "impl/common/planted.inl", "int x;\n", "first line"),
    ("functions", "harness/planted.c", SPDX + LONG, "a function of 73 lines"),
    ("functions", "reference/planted.c", SPDX + BIG_STRUCT, "a function of 74 lines"),
    ("allocation", "harness/planted.c", SPDX + "void *p(void) { return malloc (8); }\n", "malloc() outside"),
    ("allocation", "reference/ops/kv_planted.c", SPDX + "char *p(void) { return strdup(\"x\"); }\n", "strdup() outside"),
    ("wave", "impl/cuda/planted.cu", SPDX + "int lane = threadIdx.x & 31;\n", "literal wave width"),
    ("wave", "impl/hip/planted.hip", SPDX + "x = __shfl_xor(x, 1, 64);\n", "literal wave width"),
    ("wave", "impl/common/planted.inl", SPDX + "x = gpu_thread() / 32;\n", "literal wave width"),
    ("spdx", "suites/planted.yaml", "cases: []\n", "first line"),
    ("registry", "reference/ops.def", "OP(kv_planted)\n", "kv_planted has no reference/ops/kv_planted.c"),
    ("registry", "reference/ops.def", "OP(kv_planted)\n", "kv_planted has no suites/kv_planted.yaml"),
    ("registry", "reference/ops.def", "OP(kv_planted)\n", "kv_planted has no vectors"),
    ("registry", "reference/ops.def", "OP(planted)\n", "planted starts with none of the families"),
    ("registry", "reference/ops/kv_planted.c", SPDX + "const struct dsv4_op dsv4_op_kv_planted = {0};\n", "defines the op kv_planted"),
    ("registry", "reference/ops/planted.c", SPDX, "starts with none of the families"),
    ("registry", "suites/kv_planted.yaml", "cases: []\n", "no op kv_planted"),
    ("registry", "vectors/kv_planted/one.npz", "x", "no op kv_planted"),
    ("registry", "impl/cuda/kv_planted.cu", SPDX, "no op kv_planted"),
    ("registry", "impl/common/kv_planted.inl", SPDX, "no op kv_planted"),
    ("mutants", "reference/ops/kv_planted.c", SPDX + "enum { RIGHT, SECOND, FIRST };\nstatic const struct dsv4_mutant mutants[] = {\n"
     "    {\"a\", \"one\", FIRST},\n    {\"b\", \"two\", SECOND},\n};\n", "in another order than `mutants`"),
    ("generic", "harness/planted.c", SPDX + "/* like {op} */\n", "names the op {op}"),
    ("kernel_names", "impl/common/kv_planted.inl", SPDX + "struct gather_args {\n    int x;\n};\n", "struct gather_args is also"),
    ("wording", "README.md", "look into /ho" "me/me/notes\n", "no paths of one machine"),
    ("wording", "harness/planted.c", SPDX + "/* TO" "DO later */\n", "notes to oneself"),
]


def lint(tree, rule, *options):
    run = subprocess.run([sys.executable, "harness/lint.py", "--rule", rule, *options], cwd=tree,
                         capture_output=True, text=True)
    return run.returncode, run.stdout + run.stderr


def copy_tree(target):
    spec = importlib.util.spec_from_file_location("lint", ROOT / "harness/lint.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    for path in module.files():
        (target / path).parent.mkdir(parents=True, exist_ok=True)
        shutil.copy2(path, target / path)
    return module


def expect(name, status, output, want):
    if status == 1 and want in output:
        return 0
    print(f"NOT CAUGHT {name}: lint ended with {status}; '{want}' was expected in:\n{output}")
    return 1


def plant_symbols(tree):
    """Symbols need objects: an archive and plug-ins of two lines each."""
    missed = 0
    sources = {
        "stray": "int stray_name;",
        "quiet": "static int x; int *dsv4_x(void); int *dsv4_x(void) { return &x; }",
        "loud": "int dsv4_plugin_v1(void) { return 0; } int more(void) { return 1; }",
        "mute": "static int x; __attribute__((visibility(\"hidden\"))) int *y(void) { return &x; }",
        "good": "int dsv4_plugin_v1(void) { return 0; }",
    }
    for name, code in sources.items():
        subprocess.run(["gcc", "-x", "c", "-fPIC", "-c", "-o", f"{name}.o", "-"], input=code, text=True, cwd=tree, check=True)
        subprocess.run(["ar", "rcs", f"{name}.a", f"{name}.o"], cwd=tree, check=True)
        subprocess.run(["gcc", "-shared", "-o", f"{name}.so", f"{name}.o"], cwd=tree, check=True)
    for option, name, want in [("--archives", "stray.a", "exports stray_name"),
                               ("--plugins", "loud.so", "exports dsv4_plugin_v1 more"),
                               ("--plugins", "mute.so", "exports nothing")]:
        missed += expect(f"symbols {name}", *lint(tree, "symbols", option, name), want)
    for option, name in [("--archives", "quiet.a"), ("--plugins", "good.so")]:
        status, output = lint(tree, "symbols", option, name)
        if status != 0:
            print(f"FALSE ALARM symbols {name}:\n{output}")
            missed += 1
    return missed


def main():
    missed = 0
    os.chdir(ROOT)
    with tempfile.TemporaryDirectory() as name:
        tree = pathlib.Path(name)
        rules = copy_tree(tree).RULES
        op = next(l[3:-1] for l in (tree / "reference/ops.def").read_text().split("\n") if l.startswith("OP("))
        for rule, file, text, want in PLANTS:
            path = tree / file
            old = path.read_bytes() if path.exists() else None
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes((old or b"") + text.replace("{op}", op).encode())
            missed += expect(f"{rule} in {file}", *lint(tree, rule), want.replace("{op}", op))
            if old is None:
                path.unlink()
            else:
                path.write_bytes(old)
        missed += plant_symbols(tree)
    unbroken = set(rules) - {plant[0] for plant in PLANTS} - {"symbols"}
    for rule in sorted(unbroken):
        print(f"NOT BROKEN: no planted fault for the rule {rule}")
    print(f"lint: {len(PLANTS) + 3} planted faults, {missed} missed")
    return 1 if missed or unbroken else 0


if __name__ == "__main__":
    sys.exit(main())
