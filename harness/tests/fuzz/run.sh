#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
# usage: run.sh BUILD SECONDS TARGET...
# Runs BUILD/fuzzers/TARGET for SECONDS each, from seeds made of the real suites and vectors.
set -euo pipefail
build=$1 seconds=$2
shift 2

corpus=$build/corpus
mkdir -p "$corpus"/{suite,manifest,meta,entry,vector}
cp suites/*.yaml "$corpus/suite/"
cp vectors/MANIFEST "$corpus/manifest/"
parts=$(mktemp -d)
trap 'rm -rf "$parts"' EXIT
for op in vectors/*/; do
    # The smallest ones: a mutation should hit more than data.
    for vector in $(ls -rS "$op"*.npz | head -n 2); do
        name=${vector//\//-}
        cp "$vector" "$corpus/vector/$name"
        /usr/bin/python3 -m zipfile -e "$vector" "$parts/$name"
        cp "$parts/$name/meta.json" "$corpus/meta/$name"
    done
done
i=0
for part in "$parts"/*/*; do # the first byte chooses the entry that the rest replaces
    if (($(stat -c %s "$part") > 20000)); then continue; fi
    { printf "\\x$(printf %02x $((i % 16)))"; cat "$part"; } >"$corpus/entry/$((i++))"
done

for target in "$@"; do
    echo "fuzz $target, $seconds seconds"
    "$build/fuzzers/$target" -max_total_time="$seconds" -timeout=20 -rss_limit_mb=4096 \
        -verbosity=0 -print_final_stats=1 -artifact_prefix="$build/fuzzers/$target-" "$corpus/$target" 2>&1 |
        grep -E 'ERROR|SUMMARY|panic|^    #|Test unit|number_of_executed' || exit 1
done
