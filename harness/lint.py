#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""The rules of this project that a compiler does not know, each as one function.

Every rule yields (path, line, sentence). harness/tests/lint/planted.py breaks each rule once and
expects it to be named here.
"""
import argparse
import pathlib
import re
import subprocess
import sys

FAMILIES = ("kv_", "attn_", "idx_", "norm_", "rope_", "mhc_", "moe_", "quant_", "gemm_", "graph_", "mtp_")
C_LIKE = {".c", ".h", ".cu", ".hip", ".inl"}
SCRIPTS = {".py", ".sh"}
MAX_FUNCTION_LINES = 60


def files():
    """Tracked and new files, without ignored ones; all files where there is no git."""
    git = subprocess.run(["git", "ls-files", "-co", "--exclude-standard", "-z"], capture_output=True)
    if git.returncode == 0 and git.stdout:
        names = git.stdout.decode().split("\0")
    else:
        names = [str(p) for p in pathlib.Path(".").rglob("*")
                 if p.parts[0] not in ("build", ".git") and (p.parts[0] != "reports" or p.name == "README.md")]
    return sorted(p for p in map(pathlib.Path, filter(None, names)) if p.is_file())


class Tree:
    def __init__(self):
        self.files = files()
        self.sources = [p for p in self.files if p.suffix in C_LIKE or p.name.endswith(".def")]
        self.c_files = [p for p in self.files if p.suffix in C_LIKE]
        self.ops = re.findall(r"^OP\((\w+)\)", pathlib.Path("reference/ops.def").read_text(), re.M)
        self._texts = {}

    def text(self, path):
        if path not in self._texts:
            self._texts[path] = path.read_bytes().decode("utf-8", "replace")
        return self._texts[path]

    def lines(self, path):
        return enumerate(self.text(path).split("\n"), 1)

    def code(self, path):
        """The text with comments and strings blanked, line for line."""
        blank = lambda m: re.sub(r"[^\n]", " ", m.group(0))
        return re.sub(r'/\*.*?\*/|//[^\n]*|"(?:\\.|[^"\\\n])*"', blank, self.text(path), flags=re.S)

    def text_files(self):
        return [p for p in self.files if p.suffix != ".npz"]


def under(path, *folders):
    return any(path.is_relative_to(f) for f in folders)


# ---- style ----

def rule_format(tree, args):
    """clang-format-14 would not change a source"""
    run = subprocess.run(["clang-format-14", "--dry-run", "-Werror", "--ferror-limit=1", *map(str, tree.c_files)],
                         capture_output=True, text=True)
    for path, line in re.findall(r"^(\S+?):(\d+):\d+: error:", run.stderr, re.M):
        yield path, line, "clang-format-14 would change this; `make fmt` does"
    if run.returncode != 0 and "error:" not in run.stderr:
        yield ".clang-format", 0, run.stderr.strip()


INVISIBLE = re.compile("[\u00a0\u00ad\u200b-\u200f\u2028-\u202e\u2060-\u2069\ufeff\ufffd]")


def rule_text(tree, args):
    """no tabs, trailing blanks, carriage returns, invisible characters; one final newline"""
    for path in tree.text_files():
        text = tree.text(path)
        if text and not text.endswith("\n") or text.endswith("\n\n"):
            yield path, text.count("\n") + 1, "the file must end in exactly one newline"
        for n, line in tree.lines(path):
            if "\t" in line and path.name != "Makefile":
                yield path, n, "a tab"
            if line.rstrip("\t \r") != line and path.name != "LICENSE":
                yield path, n, "blanks or a carriage return at the end of the line"
            if INVISIBLE.search(line):
                yield path, n, "an invisible or undecodable character"


def rule_spdx(tree, args):
    """the first line of every source is the SPDX line"""
    for path in tree.files:
        lines = tree.text(path).split("\n")[:2] if path.suffix != ".npz" else []
        is_script = path.suffix == ".yaml" or path.suffix in SCRIPTS or path.name == "Makefile" or lines[:1] and lines[0].startswith("#!")
        if path in tree.sources:
            good = lines[0] == "/* SPDX-License-Identifier: Apache-2.0 */"
        elif is_script:
            good = lines[1 if lines[0].startswith("#!") else 0] == "# SPDX-License-Identifier: Apache-2.0"
        else:
            continue
        if not good:
            yield path, 1, "the first line (after #!) must be 'SPDX-License-Identifier: Apache-2.0' in a comment"


def rule_functions(tree, args):
    """functions are at most 60 lines long"""
    for path in tree.c_files:
        start = None
        for n, line in enumerate(tree.code(path).split("\n"), 1):
            if start is None and re.match(r"[A-Za-z_]", line) and not line.startswith(("typedef", "struct ", "enum ", "union ")):
                start = n
            elif start is None and re.match(r"(?:struct|enum|union) .*\(", line):
                start = n
            if start is not None and line.rstrip().endswith(";") and not line.startswith(" "):
                start = None
            if start is not None and line.startswith("}"):
                if line.rstrip() == "}" and n - start + 1 > MAX_FUNCTION_LINES:
                    yield path, start, f"a function of {n - start + 1} lines; split it (at most {MAX_FUNCTION_LINES})"
                start = None


def rule_allocation(tree, args):
    """memory comes from reference/memory.c"""
    call = re.compile(r"\b(malloc|calloc|realloc|reallocarray|aligned_alloc|posix_memalign|mmap|strdup|strndup|asprintf)\s*\(")
    for path in tree.c_files:
        if path == pathlib.Path("reference/memory.c") or under(path, "harness/tests", "harness/emu/tests") \
                or not under(path, "reference", "harness"):
            continue
        for n, line in enumerate(tree.code(path).split("\n"), 1):
            if match := call.search(line):
                yield path, n, f"{match[1]}() outside reference/memory.c; use memory.h"


def rule_wave(tree, args):
    """no literal wave width in kernels"""
    literal = re.compile(
        r"\b(?:lane|warp|wave|threadIdx|gpu_thread)[\w.]*(?:\(\))?\s*(?:[%&/]|>>)\s*(?:0x1f|0x3f|5|6|31|32|63|64)u?\b"
        r"|__shfl\w*\([^;]*\b(?:32|64)\)|\bwarpSize\b|\b(?:warp|wave)\w*\s*=\s*(?:32|64)\b", re.I)
    for path in tree.c_files:
        if not under(path, "impl") or path.name == "gpu.h":
            continue
        for n, line in enumerate(tree.code(path).split("\n"), 1):
            if literal.search(line):
                yield path, n, "a literal wave width; use the constants of impl/common/gpu.h"


# ---- the registry ----

def rule_registry(tree, args):
    """ops.def and the files of each op agree, both ways"""
    registry = "reference/ops.def"
    for op in tree.ops:
        source = pathlib.Path(f"reference/ops/{op}.c")
        if not op.startswith(FAMILIES):
            yield registry, 0, f"{op} starts with none of the families {' '.join(FAMILIES)}"
        if source not in tree.files:
            yield registry, 0, f"{op} has no {source}"
        if pathlib.Path(f"suites/{op}.yaml") not in tree.files:
            yield registry, 0, f"{op} has no suites/{op}.yaml"
        if not any(p.parts[:2] == ("vectors", op) for p in tree.files):
            yield registry, 0, f"{op} has no vectors in vectors/{op}/; `make vectors OP={op}` writes them"
    for path in tree.files:
        defined = re.findall(r"^const struct dsv4_op dsv4_op_(\w+) = ", tree.text(path), re.M) if path.suffix == ".c" else []
        if under(path, "reference/ops"):
            for op in defined:
                if op != path.stem or op not in tree.ops:
                    yield path, 1, f"defines the op {op}; its file must be {op}.c and ops.def must list it"
            if not path.stem.startswith(FAMILIES):
                yield path, 1, f"the stem starts with none of the families {' '.join(FAMILIES)}"
        elif under(path, "suites") and path.suffix == ".yaml" and path.parent.name != "layers":
            if path.stem not in tree.ops + ["known"]:
                yield path, 1, f"{registry} has no op {path.stem}"
        elif under(path, "vectors") and len(path.parts) > 2:
            if path.parts[1] not in tree.ops:
                yield path, 1, f"{registry} has no op {path.parts[1]}"
        elif under(path, "impl") and path.stem.startswith(FAMILIES) and path.stem not in tree.ops:
            if not any(path.name in tree.text(p) for p in tree.c_files if under(p, "impl") and p != path):
                yield path, 1, f"{registry} has no op {path.stem}, and no other file includes this one"


def rule_mutants(tree, args):
    """mutant number m is the m-th of the list: an enum in another order gives each bug another one's name"""
    for path in (p for p in tree.c_files if under(p, "reference/ops") and p.suffix == ".c"):
        text = tree.text(path)
        table = re.search(r"dsv4_mutant mutants\[\] = \{(.*?)\n\};", text, re.S)
        if table is None or re.search(r"mutants\[[^]]*\]\.id", text):
            continue
        listed = re.findall(r",\s*([A-Z][A-Z0-9_]+)\s*\}", table[1])
        for body in re.finditer(r"enum[\w\s]*\{([^}]*)\}", text):
            words = [word.split("=")[0].strip() for word in body[1].split(",") if word.strip()]
            if listed and listed[0] in words and words[1:] != listed:
                yield path, text.count("\n", 0, body.start()) + 1, "the enum of mutants is in another order than `mutants`"


def rule_generic(tree, args):
    """the harness knows no op by name"""
    names = re.compile(r"\b(?:" + "|".join(tree.ops) + r")\b")
    for path in tree.sources:
        if under(path, "harness") and not under(path, "harness/tests", "harness/emu/tests", "harness/example"):
            for n, line in tree.lines(path):
                if match := names.search(line):
                    yield path, n, f"names the op {match[0]}; the harness reads the registry"


# ---- symbols ----

def defined_symbols(path, *options):
    run = subprocess.run(["nm", "--defined-only", "--format=posix", *options, path], capture_output=True, text=True)
    if run.returncode != 0:
        raise SystemExit(f"lint: {path}: {run.stderr.strip()}")
    rows = [line.split() for line in run.stdout.split("\n")]
    return sorted({row[0] for row in rows if len(row) >= 2 and row[1].isupper()})


def rule_symbols(tree, args):
    """archives export dsv4_* and family names only, plug-ins dsv4_plugin_v1 only"""
    ours = re.compile(r"dsv4_|" + "|".join(FAMILIES))
    for archive in args.archives:
        for symbol in defined_symbols(archive, "-g"):
            if not ours.match(symbol):
                yield archive, 0, f"exports {symbol}; make it static or give it a prefix"
    for plugin in args.plugins:
        symbols = defined_symbols(plugin, "-D")
        if symbols != ["dsv4_plugin_v1"]:
            yield plugin, 0, f"exports {' '.join(symbols) or 'nothing'}; a plug-in exports dsv4_plugin_v1 alone"


# ---- wording ----

WORDING = re.compile(r"(?<![\w.$}])/(?:home|root|work|Users|tmp)/\w|\b(?:TO" r"DO|FIX" r"ME|X" r"XX)\b")


def rule_kernel_names(tree, args):
    """a struct of two kernel files has two names: templates over it are one symbol for the linker"""
    seen = {}
    for path in (p for p in tree.c_files if p.suffix == ".inl" and under(p, "impl/common")):
        for n, line in tree.lines(path):
            found = re.match(r"struct (\w+) \{", line)
            if found and seen.setdefault(found.group(1), path) != path:
                yield path, n, f"struct {found.group(1)} is also that of {seen[found.group(1)]}; give it a name of its own"


def rule_wording(tree, args):
    """no path of one machine, no note to oneself"""
    for path in tree.text_files():
        for n, line in tree.lines(path):
            match = WORDING.search(line)
            if match and not (match[0].startswith("/tmp/") and under(path, "harness/tests", "harness/emu/tests")):
                yield path, n, f"'{match[0]}': no paths of one machine, no notes to oneself"


RULES = {name[5:]: rule for name, rule in list(globals().items()) if name.startswith("rule_")}


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rule", action="append", choices=RULES, help="only this rule; may be repeated")
    parser.add_argument("--archives", nargs="*", default=[], help="static libraries whose symbols are checked")
    parser.add_argument("--plugins", nargs="*", default=[], help="plug-ins whose symbols are checked")
    parser.add_argument("--fix-format", action="store_true", help="run clang-format-14 and stop")
    args = parser.parse_args()
    tree = Tree()
    if args.fix_format:
        return subprocess.run(["clang-format-14", "-i", *map(str, tree.c_files)]).returncode
    n_faults = 0
    for name in args.rule or RULES:
        for path, line, sentence in RULES[name](tree, args):
            print(f"{path}:{line}: {sentence} [{name}]" if line else f"{path}: {sentence} [{name}]")
            n_faults += 1
    print(f"lint: {len(args.rule or RULES)} rules, {len(tree.files)} files, {n_faults} faults")
    return 1 if n_faults else 0


if __name__ == "__main__":
    sys.exit(main())
