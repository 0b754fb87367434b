# SPDX-License-Identifier: Apache-2.0
"""Recomputes every committed vector with a second, independent implementation of the KV ops.

usage: second_opinion.py [--op GLOB] [--case GLOB] DIR   recompute every DIR/<op>/<case>.npz, bit for bit
       second_opinion.py --plant DIR                     damage vectors of DIR in memory; each must be seen

Exit code: 0 all equal, 1 a difference, 2 wrong usage, 3 nothing ran.
"""
import argparse
import fnmatch
import glob
import os
import sys
import time
import zipfile

sys.dont_write_bytecode = True

import numpy as np  # noqa: E402

from opinion import plant, vector  # noqa: E402
from opinion.judge import judge  # noqa: E402


def check(files):
    """The number of vectors that differ."""
    start, wrong, refused = time.monotonic(), 0, 0
    for file in files:
        case = "/".join(file.split(os.sep)[-2:])[:-len(".npz")]
        try:
            loaded = vector.load(file)
            found = judge(loaded)
            refused += loaded["meta"]["refused"]
        except (vector.Fault, OSError, zipfile.BadZipFile, KeyError, ValueError, IndexError,
                ArithmeticError) as error:
            found = [f"{type(error).__name__}: {error}"]
        wrong += bool(found)
        for sentence in found:
            print(f"{case}: {sentence}", flush=True)
    print(f"second_opinion: {len(files) - wrong} of {len(files)} vectors recomputed to the same bits, "
          f"{refused} of them refused by both, in {time.monotonic() - start:.0f} s")
    return wrong


def main():
    parser = argparse.ArgumentParser(description=__doc__,
                                     formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--plant", action="store_true")
    parser.add_argument("--op", default="*")
    parser.add_argument("--case", default="*")
    parser.add_argument("dir")
    options = parser.parse_args()
    np.seterr(all="ignore")
    files = [f for f in sorted(glob.glob(os.path.join(options.dir, "*", "*.npz")))
             if fnmatch.fnmatch(f.split(os.sep)[-2], options.op)
             and fnmatch.fnmatch(os.path.basename(f)[:-4], options.case)]
    if not files:
        print(f"second_opinion: no vector in {options.dir}; nothing ran", file=sys.stderr)
        return 3
    return 1 if (plant.run(files) if options.plant else check(files)) else 0


sys.exit(main())
