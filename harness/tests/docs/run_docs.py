#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Runs what README.md and CONTRIBUTING.md tell a reader to do, in a copy of the tree.

The word after a fence says what is done with a block:
  sh                 run by bash; must end with 0, or with exit=N if the fence says so
  sh ci              not run: .ci/run must call exactly this
  c file=PATH        written to PATH (any language); append=PATH appends to it
  text output        must be in the output of the sh block before it; '...' stands for anything
  text               not run
Any other fence is an error, so that no block escapes by a typo.
"""
import argparse
import os
import pathlib
import re
import shutil
import subprocess
import sys
import tempfile

sys.dont_write_bytecode = True
ROOT = pathlib.Path(__file__).resolve().parents[3]
sys.path.insert(0, str(ROOT / "harness"))
import lint  # noqa: E402

ENVIRONMENT = {k: v for k, v in os.environ.items() if not re.match(r"MAKE|MFLAGS|[JVB]$|ARCH$|OP$|CASE$|TIER$|TAG$", k)}


class Fault(Exception):
    pass


def blocks(path):
    """(line, language, options, text) of every fenced block."""
    fence, found = None, []
    for n, line in enumerate(path.read_text().split("\n"), 1):
        if fence is None and line.startswith("```"):
            fence = (n, line[3:].split(), [])
        elif fence is not None and line == "```":
            found.append((fence[0], fence[1], "\n".join(fence[2]) + "\n"))
            fence = None
        elif fence is not None:
            fence[2].append(line)
    if fence is not None:
        raise Fault(f"{path.name}:{fence[0]}: this block never ends")
    if not found:
        raise Fault(f"{path.name}: there is no block to run")
    return found


def copy_tree(target):
    """The tree, and what is built already, with times kept so that nothing is built twice."""
    os.chdir(ROOT)
    for path in lint.files():
        (target / path).parent.mkdir(parents=True, exist_ok=True)
        shutil.copy2(path, target / path)
    for built in ("build/release", "build/cpu", "build/dsv4cts", "build/libdsv4cts.so", "build/python", "build/tests"):
        path = ROOT / built
        if path.is_dir():
            shutil.copytree(path, target / built, symlinks=True)
        elif path.exists():
            (target / built).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy2(path, target / built)


def run_shell(text, tree, want):
    run = subprocess.run(["bash", "-euo", "pipefail", "-c", text], cwd=tree, env=ENVIRONMENT, stdin=subprocess.DEVNULL,
                         stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, timeout=900)
    if run.returncode != want:
        raise Fault(f"ended with {run.returncode}, {want} was expected:\n{text}{run.stdout[-6000:]}")
    return run.stdout.replace(f"{tree}/", "")


def write_file(text, tree, name, mode):
    path = (tree / name).resolve()
    if not path.is_relative_to(tree.resolve()):
        raise Fault(f"{name} lies outside the tree")
    if mode == "a" and not path.exists():
        raise Fault(f"{name} is to be appended to and does not exist")
    path.parent.mkdir(parents=True, exist_ok=True)
    with open(path, mode) as file:
        file.write(text)


def compare_output(text, got):
    parts = [re.escape(part.strip("\n")).replace(re.escape("..."), ".*")
             for part in re.split(r"^\s*\.\.\.\s*$", text, flags=re.M)]
    pattern = r"(?:.*\n)*?".join(part + r"\n" if part else "" for part in parts)
    clean = "\n".join(line.rstrip() for line in got.split("\n"))
    if not re.search(r"^" + pattern, clean, re.M):
        raise Fault(f"the output is not what the document shows:\n{got[-6000:]}")


def run_block(words, text, tree, before):
    """Returns the output if the block ran, else None."""
    kind, options = words[:1], words[1:]
    if kind == ["sh"] and options == ["ci"]:
        calls = [l for l in (tree / ".ci/run").read_text().split("\n") if l.startswith("make ")]
        if calls != [f"{text.strip()} </dev/null"]:
            raise Fault(f".ci/run must call exactly '{text.strip()}'; it calls {calls}")
        return None
    if kind == ["sh"] and (not options or re.fullmatch(r"exit=\d+", options[0])):
        return run_shell(text, tree, int(options[0][5:]) if options else 0)
    if words == ["text", "output"]:
        if before is None:
            raise Fault("shows an output, but no block ran before it")
        compare_output(text, before)
        return before
    if words == ["text"]:
        return None
    if kind and len(options) == 1 and (match := re.fullmatch(r"(file|append)=(\S+)", options[0])):
        write_file(text, tree, match[2], "w" if match[1] == "file" else "a")
        return before
    raise Fault(f"nobody knows what to do with a block '{' '.join(words)}'")


def check_links(path, tree):
    for target in re.findall(r"\]\(([^)#\s]+)", path.read_text()):
        if "://" not in target and not (tree / target).exists():
            raise Fault(f"{path.name}: links to {target}, which does not exist")


def check_targets(path, tree):
    """Every `make TARGET` in the text is a target of the Makefile."""
    targets = set(re.findall(r"^([a-z-]+)(?: [a-z -]+)?:(?!=)", (tree / "Makefile").read_text(), re.M))
    for call in re.findall(r"`make ((?:[a-z-]+ ?)+)", path.read_text()):
        for goal in call.split():
            if goal not in targets:
                raise Fault(f"{path.name}: `make {goal}` is no target")


def run_document(path):
    with tempfile.TemporaryDirectory(prefix="dsv4-docs-") as name:
        tree = pathlib.Path(name)
        copy_tree(tree)
        check_links(path, tree)
        check_targets(path, tree)
        before, n = None, 0
        for line, words, text in blocks(path):
            try:
                before = run_block(words, text, tree, before)
            except (Fault, subprocess.TimeoutExpired) as fault:
                raise Fault(f"{path.name}:{line}: {fault}")
            n += words[:1] == ["sh"]
    return n


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("documents", nargs="*", type=pathlib.Path)
    args = parser.parse_args()
    whole = not args.documents
    documents = [ROOT / "README.md", ROOT / "CONTRIBUTING.md"] if whole else [p.resolve() for p in args.documents]
    n = 0
    try:
        if whole:
            run_shell("python3 harness/docs.py --check", ROOT, 0)
        for path in documents:
            n += run_document(path)
    except Fault as fault:
        print(f"docs: {fault}")
        return 1
    print(f"docs: {len(documents)} documents, {n} command blocks ran as written")
    return 0


if __name__ == "__main__":
    sys.exit(main())
