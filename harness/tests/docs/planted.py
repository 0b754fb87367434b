#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Documents that lie, each in one way: run_docs.py must name every one, and pass the honest one."""
import pathlib
import subprocess
import sys
import tempfile

ROOT = pathlib.Path(__file__).resolve().parents[3]
HONEST = "```sh\necho one; echo two; echo three\n```\n```text output\none\n...\nthree\n```\n"
LIES = {
    "a command fails": ("```sh\nfalse\n```\n", "ended with 1, 0 was expected"),
    "a command in a pipe fails": ("```sh\nfalse | cat\n```\n", "ended with 1"),
    "a command succeeds": ("```sh exit=1\ntrue\n```\n", "ended with 0, 1 was expected"),
    "a target is gone": ("```sh\nmake no-such-target\n```\n", "ended with 2"),
    "an output differs": ("```sh\necho one\n```\n```text output\ntwo\n```\n", "the output is not what"),
    "an output misses its end": ("```sh\necho one\n```\n```text output\none\n...\ntwo\n```\n", "the output is not what"),
    "an output of nothing": ("```text output\none\n```\n", "no block ran before"),
    "a fence with a typo": ("```hs\nfalse\n```\n", "nobody knows what to do"),
    "a fence without a word": ("```\nfalse\n```\n", "nobody knows what to do"),
    "an unknown option": ("```sh skip\nfalse\n```\n", "nobody knows what to do"),
    "a block without an end": ("```sh\ntrue\n", "never ends"),
    "no block": ("Run `make`.\n", "no block to run"),
    "a file outside": ("```c file=../x.c\nint x;\n```\n", "outside the tree"),
    "an append to nothing": ("```yaml append=suites/none.yaml\nx: 1\n```\n", "does not exist"),
    "code that does not compile": ("```c file=x.c\nint x = ;\n```\n```sh\ngcc -c x.c -o x.o\n```\n", "ended with 1"),
    "another CI": ("```sh ci\nmake test\n```\n", ".ci/run must call exactly"),
    "a dead link": (HONEST + "[x](no/such/file.md)\n", "links to no/such/file.md"),
    "a dead target": (HONEST + "Run `make everything`.\n", "`make everything` is no target"),
}


def run(text):
    with tempfile.TemporaryDirectory() as name:
        path = pathlib.Path(name) / "planted.md"
        path.write_text(text)
        done = subprocess.run([sys.executable, ROOT / "harness/tests/docs/run_docs.py", path], capture_output=True, text=True)
        return done.returncode, done.stdout + done.stderr


def stale_readme():
    """A generated part that was edited by hand must be noticed."""
    with tempfile.TemporaryDirectory() as name:
        path = pathlib.Path(name) / "README.md"
        path.write_text((ROOT / "README.md").read_text().replace("<!-- end -->", "by hand\n<!-- end -->", 1))
        done = subprocess.run([sys.executable, "harness/docs.py", "--check", "--file", path], cwd=ROOT, capture_output=True, text=True)
        return done.returncode == 1 and "is not current" in done.stdout


def main():
    missed = 0
    status, output = run(HONEST)
    if status != 0:
        print(f"FALSE ALARM: an honest document:\n{output}")
        missed += 1
    for name, (text, want) in LIES.items():
        status, output = run(text)
        if status != 1 or want not in output:
            print(f"NOT CAUGHT {name}: ended with {status}; '{want}' was expected in:\n{output}")
            missed += 1
    if not stale_readme():
        print("NOT CAUGHT a generated part of README.md edited by hand")
        missed += 1
    print(f"docs: {len(LIES) + 1} planted faults, {missed} missed")
    return 1 if missed else 0


if __name__ == "__main__":
    sys.exit(main())
