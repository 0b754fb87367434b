#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
# `make test`: every part that needs no GPU, one after the other, each with a log of its own in
# build/log/. Ends with one line: N passed, N failed, N skipped. A part counts as passed only if it
# ran and ended with 0; a skipped one says why. `harness/test.sh NAME...` runs only those parts.
set -uo pipefail

logs=${LOGS:-build/log}
mkdir -p "$logs"
passed=0 failed=0 skipped=0
only=" $* "
known=" "

selected() {
    known+="$1 "
    [[ $only == "  " || $only == *" $1 "* ]]
}

# part NAME COMMAND...
part() {
    local name=$1 start=$SECONDS status=0
    shift
    selected "$name" || return 0
    "$@" </dev/null >"$logs/$name.log" 2>&1 || status=$?
    if ((status == 0)); then
        passed=$((passed + 1))
        printf 'pass  %-18s %4d s   %s\n' "$name" $((SECONDS - start)) "$(tail -n 1 "$logs/$name.log")"
    else
        failed=$((failed + 1))
        printf 'FAIL  %-18s %4d s   exit %d; the end of %s:\n' "$name" $((SECONDS - start)) "$status" "$logs/$name.log"
        tail -n 40 "$logs/$name.log" | sed 's/^/    /'
    fi
}

# skip NAME WHY
skip() {
    selected "$1" || return 0
    skipped=$((skipped + 1))
    printf 'skip  %-18s          %s\n' "$1" "$2"
}

run() { make --no-print-directory "$@"; }

clang=(B=build/clang CC=clang-19)
san=(B=build/san CC=gcc OPT=-O1 "CFLAGS=-fsanitize=address,undefined -fno-sanitize-recover=all -fno-omit-frame-pointer")
# Leaks of a worker that was killed on purpose are no leaks of the program.
export ASAN_OPTIONS=detect_leaks=0 UBSAN_OPTIONS=print_stacktrace=1
# Harness and worker share the cores: threads that wait for work leave them to the other process.
export OMP_WAIT_POLICY=passive

part build run build
part lint run lint
part lint-planted python3 harness/tests/lint/planted.py
part headers run headers
part unit run unit
part unit-clang run unit "${clang[@]}"
part unit-san run unit "${san[@]}"
part check run check ARCH=cpu
part layer run check ARCH=cpu LAYER='*' REPORTS=build/reports-layer
part layer-gfx942 run check ARCH=gfx942 DSV4_EMULATE=1 LAYER='*' REPORTS=build/reports-layer-gfx942
part check-gfx942 run check ARCH=gfx942 DSV4_EMULATE=1 REPORTS=build/reports-gfx942
part graph-gfx942 run check ARCH=gfx942 DSV4_EMULATE=1 MODE=graph REPORTS=build/reports-graph
# A quarter of it: the whole takes a quarter of an hour.
part full-gfx942 run check ARCH=gfx942 DSV4_EMULATE=1 TIER=full ARGS='--shard 1/4' REPORTS=build/reports-gfx942-full
part found harness/tests/found/run.sh
part ports run check-install check-python
part check-san run check ARCH=cpu "${san[@]}" REPORTS=build/san/reports
part check-full run check ARCH=cpu TIER=smoke,full REPORTS=build/reports-full
part selftest run selftest
part bounds run bounds SEEDS=2
part verify-vectors run verify-vectors TIER=smoke,full
# Of the stress tier what takes seconds; the cases of several gigabytes take as long as all others together.
part verify-stress run verify-vectors TIER=stress 'OP=!(moe_*|quant_*)'
part matrix run matrix
part verify-numpy run verify-numpy
part second-opinion run second-opinion
part fuzz run fuzz FUZZ_SECONDS=10
part reports /usr/bin/python3 harness/tests/reports.py
part ci-recipes /usr/bin/python3 harness/tests/ci.py
if command -v chromium chromium-browser google-chrome >/dev/null; then
    part page /usr/bin/python3 harness/tests/page.py
else
    skip page 'NOT RUN: no chromium on PATH; no browser looked at the HTML report'
fi
if command -v slurmctld >/dev/null && command -v munged >/dev/null && ((EUID == 0)); then
    part slurm harness/tests/slurm.sh
else
    skip slurm 'NOT RUN: slurm-wlm and munge are not here, or this is not root; harness/tests/slurm.sh'
fi
part docs python3 harness/tests/docs/run_docs.py
part docs-planted python3 harness/tests/docs/planted.py
part check-emulated run check-emulated REPORTS=build/reports-emulated
part check-canary run check-canary
part unit-emu run unit-emu
part programs-emu run programs-emu
part isa run isa ARCH=gfx942
part isa-planted python3 harness/tests/isa_planted.py
for arch in gfx90a gfx942 gfx950; do
    if [[ -n ${ROCM_PATH:-} ]] || echo | clang-19 --target=amdgcn-amd-amdhsa -mcpu="$arch" -nogpulib -x c -c -o /dev/null - 2>/dev/null; then
        part "compile-$arch" run build ARCH="$arch"
    else
        skip "compile-$arch" "clang-19 has no $arch, and ROCM_PATH is not set"
    fi
done
if [[ -n $(make --no-print-directory print-nvcc) ]]; then
    part compile-sm_90 run build ARCH=sm_90
else
    skip compile-sm_90 'nvcc not found: sm_90 not compiled here'
fi

for name in "$@"; do
    [[ $known == *" $name "* ]] || { echo "test: there is no part '$name'; the parts are:$known" >&2; exit 2; }
done
((passed + failed > 0)) || { echo 'test: nothing ran' >&2; exit 3; }
echo "$passed passed, $failed failed, $skipped skipped"
((failed == 0))
