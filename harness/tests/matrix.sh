#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
# usage: matrix.sh BUILD TIERS [FILTER...]
# The same bits from every compiler, optimisation, number of threads and machine:
# BUILD/matrix/<name>/stream runs the reference, BUILD/dsv4cts holds its answers to MANIFEST.
set -euo pipefail
build=$1 tiers=$2
shift 2

verify() { "$build/dsv4cts" verify-vectors --stream --tier "$tiers" "$@"; }

cases=$build/matrix/cases
"$build/dsv4cts" list --resolved --tier "$tiers" "$@" >"$cases"
failed=0
run() { # NAME THREADS COMMAND...
    local name=$1 threads=$2 result
    shift 2
    if result=$(OMP_NUM_THREADS=$threads "$@" <"$cases" | verify "${filters[@]}" 2>&1); then
        printf '%-12s %s threads: %s\n' "$name" "$threads" "$(tail -n 1 <<<"$result")"
    else
        printf '%-12s %s threads: FAILED\n%s\n' "$name" "$threads" "$(tail -n 20 <<<"$result")"
        failed=1
    fi
}
filters=("$@")

for name in gcc-O0 gcc-O3 clang-O0 clang-O3; do
    for threads in 1 2 3; do run $name $threads "$build/matrix/$name/stream"; done
done
for name in aarch64-O0 aarch64-O3; do run $name 2 qemu-aarch64 "$build/matrix/$name/stream"; done

# The planted error is looked for in all smoke cases: a narrow choice may not show it.
"$build/dsv4cts" list --resolved --tier smoke >"$cases.planted"
status=0
result=$("$build/matrix/planted/stream" <"$cases.planted" |
    "$build/dsv4cts" verify-vectors --stream --tier smoke 2>&1) || status=$?
if ((status == 1)); then # 2 would be a stream that broke
    printf '%-12s seen: %s\n' planted "$(tail -n 1 <<<"$result")"
else
    echo "planted: a reference built with -ffast-math must differ, but verify ended in $status:"
    tail -n 1 <<<"$result"
    failed=1
fi
exit $failed
