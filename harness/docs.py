#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Writes the parts of README.md that the program knows better: between '<!-- NAME: make docs -->'
and '<!-- end -->'. With --check it writes nothing and fails when a part is not current."""
import argparse
import pathlib
import re
import subprocess
import sys


def output(*command):
    return subprocess.run(command, check=True, capture_output=True, text=True).stdout


def section(text, heading):
    """The indented lines under a heading of `dsv4cts list`."""
    lines = text[re.search(rf"^{heading}\b.*\n", text, re.M).end():].split("\n")
    return lines[:lines.index("")] if "" in lines else lines


def rows(lines):
    return [re.match(r"  (\S+)\s+(.*)", line).groups() for line in lines if re.match(r"  \S", line)]


def table(head, body):
    cells = [head, ["---"] * len(head), *body]
    return "\n".join("| " + " | ".join(row) + " |" for row in cells)


def part_ops(args):
    listed = rows(section(output(args.dsv4cts, "list"), "ops"))
    return table(["op", "what it does"], [[f"`{name}`", text] for name, text in listed])


def part_dialects(args):
    listed = rows(section(output(args.dsv4cts, "list"), "dialects"))
    return table(["dialect", "values"], [[f"`{name}`", ", ".join(f"`{v}`" for v in text.split())] for name, text in listed])


def part_packages(args):
    return "`" + " ".join(output(args.setup, "--list").split()) + "`"


PARTS = {name[5:]: part for name, part in list(globals().items()) if name.startswith("part_")}


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--dsv4cts", default="build/dsv4cts")
    parser.add_argument("--setup", default="harness/setup.sh")
    parser.add_argument("--file", default="README.md", type=pathlib.Path)
    parser.add_argument("--check", action="store_true")
    args = parser.parse_args()
    old = args.file.read_text()
    found = re.findall(r"<!-- (\w+): make docs -->\n", old)
    if sorted(found) != sorted(PARTS) or old.count("<!-- end -->") != len(PARTS):
        print(f"docs: {args.file} must have each of these parts once: {', '.join(PARTS)}; it has {', '.join(found)}")
        return 1
    new = re.sub(r"(<!-- (\w+): make docs -->\n).*?(<!-- end -->)",
                 lambda m: f"{m[1]}{PARTS[m[2]](args)}\n{m[3]}", old, flags=re.S)
    if args.check and new != old:
        print(f"docs: {args.file} is not current; `make docs` writes it")
        return 1
    if not args.check and new != old:
        args.file.write_text(new)
    print(f"docs: {len(PARTS)} parts of {args.file} are current")
    return 0


if __name__ == "__main__":
    sys.exit(main())
