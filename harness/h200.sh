#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
# Everything that an NVIDIA GPU machine is asked: harness/h200.sh LOGDIR [STEP...]
# Steps: build machine peaks canary strays numbers smoke full stress graph python memcheck racecheck initcheck bench. Each has its log in
# LOGDIR; standard output is one line per step and ends with a count. What is already built is used as it is, so
# that a tree with build/dsv4cts (its libraries in build/lib) needs no more than nvcc here, or not even that.
set -uo pipefail

if (($# == 0)); then
    sed -n '3,6s/^# //p' "$0" >&2
    exit 2
fi
logs=$1
shift
only=" $* "
arch=${ARCH:-sm_90}
limit=${LIMIT:-540}
cts=build/dsv4cts
impl=build/$arch/cuda.so
passed=0 failed=0
mkdir -p "$logs"
export PATH=${CUDA_HOME:-/usr/local/cuda}/bin:$PATH
original=${LD_LIBRARY_PATH:-}
export LD_LIBRARY_PATH=$PWD/build/lib${LD_LIBRARY_PATH:+:$LD_LIBRARY_PATH}

limited() { timeout "$limit" "$@"; }

# step NAME COMMAND...: passes if the command ends with 0
step() {
    local name=$1 start=$SECONDS status=0 word=pass
    shift
    [[ $only == "  " || $only == *" $name "* ]] || return 0
    "$@" </dev/null >"$logs/$name.log" 2>&1 || status=$?
    if ((status == 0)); then passed=$((passed + 1)); else failed=$((failed + 1)) word=FAIL; fi
    printf '%s  %-10s %4d s   %s\n' "$word" "$name" $((SECONDS - start)) "$(tail -n 1 "$logs/$name.log")"
    if ((status == 124)); then echo "      stopped after $limit s; LIMIT= allows more"; fi
    if ((status != 0)); then grep -m 8 -E '^(FAIL|CRASH|TIMEOUT|ERROR)|error:|[Ee]rrors?:|differ' "$logs/$name.log" | sed 's/^/      /'; fi
}

build() {
    local target
    for target in build/device_cuda.so "$impl" "build/$arch/num_exhaustive" "build/$arch/contracted.so" "build/$arch/writes_far.so" "build/$arch/peaks"; do
        if [[ -e $target ]]; then
            echo "$target: as it is"
        else
            make V=1 ARCH="$arch" CUDA_HOME="${CUDA_HOME:-/usr/local/cuda}" "$target" || return 1
        fi
    done
    if [[ ! -e $cts ]]; then make ARCH="$arch" "$cts" || return 1; fi
    echo "built for $arch"
}

machine() {
    nvcc --version || true
    nvidia-smi -q || true
    nvidia-smi --query-gpu=name,driver_version,clocks.max.sm,clocks.max.mem,memory.total --format=csv,noheader
}

peaks() {
    limited "build/$arch/peaks"
}

# A build with contraction must be refused by its own canary.
canary() {
    local status=0
    limited "$cts" check --impl "build/$arch/contracted.so" --op kv_quantize_insert --tier smoke || status=$?
    if ((status == 1)) && grep -q 'is contracted' "$logs/canary.log"; then
        echo 'a build with contraction is caught'
    else
        echo "a build with contraction is not caught: exit $status"
        return 1
    fi
}

# A byte far from all rows that a case names must be seen, though pages that nobody wrote are not brought back.
strays() {
    local status=0
    limited "$cts" check --impl "build/$arch/writes_far.so" --op kv_norm_rope_store --case pages-beyond-4-gib --tier smoke || status=$?
    if ((status == 1)) && grep -q 'wrote 1 byte to rows of `cache` that no input names' "$logs/strays.log"; then
        echo 'a byte written far away is caught'
    else
        echo "a byte written far away is not caught: exit $status"
        return 1
    fi
}

numbers() {
    limited "build/$arch/num_exhaustive" --plant && limited "build/$arch/num_exhaustive"
}

# replay TIER
replay() {
    limited "$cts" check --impl "$impl" --tier "$1" --timeout 300 --report "$logs/report-$1"
}

# Captured once and replayed: every smoke and full case, and the sequences.
graph() {
    limited "$cts" check --impl "$impl" --tier smoke,full --mode graph --timeout 300 --report "$logs/report-graph"
}

# Ports in Python, on the CPU and on the GPU: what they can do wrong, and Triton's kernels, eager and captured.
python() {
    [[ -e build/libdsv4cts.so && -e build/python/dsv4cts/worker.py ]] || make ARCH="$arch" build/libdsv4cts.so python-package || return 1
    # Without build/lib: Python has its own OpenSSL. dsv4cts finds its libraries in any case.
    LD_LIBRARY_PATH=$original limited python3 harness/tests/python/test_ports.py -v
}

# sanitize TOOL [CHECK-OPTION...]: a finding must not hide behind a case that passes
sanitize() {
    local tool=$1 status=0
    shift
    limited compute-sanitizer --tool "$tool" --target-processes all --error-exitcode 86 --print-limit 20 \
        "$cts" check --impl "$impl" --tier smoke --timeout 500 "$@" || status=$?
    if grep -qE 'ERROR SUMMARY: [1-9]|hazards? displayed.*[1-9][0-9]* error' "$logs/$tool.log"; then
        grep -E 'ERROR SUMMARY|RACECHECK SUMMARY' "$logs/$tool.log" | sort | uniq -c
        return 1
    fi
    if ! grep -qE 'ERROR SUMMARY: 0|RACECHECK SUMMARY: 0' "$logs/$tool.log"; then
        echo 'compute-sanitizer has no summary: it did not see the kernels'
        return 1
    fi
    return "$status"
}

bench() {
    limited "$cts" bench --impl "$impl" --case 'device-*'
}

step build build
step machine machine
step peaks peaks
step canary canary
step strays strays
step numbers numbers
step smoke replay smoke
step full replay full
step stress replay stress
step graph graph
step python python
step memcheck sanitize memcheck
step racecheck sanitize racecheck
# Its shadow of every byte does not fit the arenas of 17 GiB.
step initcheck sanitize initcheck --case '!(*-beyond-4-gib)'
step bench bench
echo "$passed passed, $failed failed; logs in $logs"
((passed > 0 && failed == 0))
