# SPDX-License-Identifier: Apache-2.0
"""python -m dsv4cts [check|bench] PORT.py [--graph] [OPTIONS]

What `dsv4cts check --impl PORT.py [OPTIONS]` does, with this Python: the same options, reports and
exit codes. --graph is --mode graph. $DSV4CTS names the dsv4cts to run.
"""
import os
import pathlib
import shutil
import sys


def find():
    """The dsv4cts beside this package: built, in the source tree, or on the PATH."""
    here = pathlib.Path(__file__).resolve().parent
    for path in (here.parents[1] / "dsv4cts", here.parents[2] / "build/dsv4cts"):
        if path.is_file():
            return str(path)
    return shutil.which("dsv4cts")


def main(words):
    verb = words.pop(0) if words[:1] in (["check"], ["bench"]) else "check"
    if not words or not words[0].endswith(".py"):
        print(__doc__.strip(), file=sys.stderr)
        return 0 if words in (["-h"], ["--help"]) else 2
    program = os.environ.get("DSV4CTS") or find()
    if program is None:
        print("dsv4cts: there is no dsv4cts beside this package, nor on the PATH; $DSV4CTS names it", file=sys.stderr)
        return 2
    options = [part for word in words[1:] for part in (["--mode", "graph"] if word == "--graph" else [word])]
    os.environ["DSV4_PYTHON"] = sys.executable
    try:
        os.execv(program, ["dsv4cts", verb, "--impl", words[0], *options])
    except OSError as error:
        print(f"dsv4cts: {program} cannot be started: {error.strerror}", file=sys.stderr)
        return 2


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
