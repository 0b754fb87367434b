#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
# Runs the HIP programs of harness/emu/tests/kernels on the emulator: programs.sh build
set -uo pipefail
build=$(realpath "$1")
emu=$build/emu
log=$(mktemp)
trap 'rm -f "$log"' EXIT
ran=0
failed=0

# expect NAME EXIT_CODE WANTED_TEXT COMMAND...: that exit code, and the text in what it prints
expect() {
    local name=$1 code=$2 text=$3 got
    shift 3
    ran=$((ran + 1))
    timeout 120 "$@" >"$log" 2>&1
    got=$?
    if [[ $got != "$code" ]] || ! grep -q -- "$text" "$log"; then
        failed=$((failed + 1))
        echo "FAIL $name: exit $got of: $*"
        echo "     exit $code and \"$text\" are expected"
        head -n 20 "$log"
    fi
}

run() {
    local name=$1 text=$2
    shift 2
    LD_LIBRARY_PATH=$emu expect "$name" 0 "$text" "$@"
}

for program in "$emu"/programs/*-O[0-9]; do
    name=${program##*/}
    case $name in
    modules-*) run "$name" '^ok$' "$program" "$emu/programs/modules.co" ;;
    faults-*)
        run "$name beyond" 'allocation .* of 256 bytes' "$program" beyond
        run "$name before" 'store' "$program" before
        run "$name freed" 'freed' "$program" freed
        run "$name null" '0x10' "$program" null
        run "$name misaligned" 'align' "$program" misaligned
        DSV4_EMU=steps=100000 run "$name hang" 'hang\|without an end' "$program" hang
        run "$name trap" 'trap' "$program" trap
        ;;
    *) run "$name" '^ok$' "$program" ;;
    esac
done

# The harness picks the emulator by itself, says so on every line, and explains what kernels do wrong.
check() {
    local wrong=$1 code=$2 text=$3
    shift 3
    DSV4_PLANTED=$wrong expect "plug-in ${wrong:-right}" "$code" "$text" \
        "$build/dsv4cts" check --fresh --op kv_quantize_insert --case '*/first-block' "$@"
}
plugin=$emu/plugins/insert.so
check "" 0 '^emulated .*insert: 1 passed' --impl "$plugin"
check "" 0 '^emulated device   hip: emulated gfx942' --impl "$plugin"
check scale 1 'emulated FAIL' --impl "$plugin"
check beyond 1 'emulated CRASH' --impl "$plugin"
check beyond 1 'insert.hip:' --impl "$plugin"
check stale 1 'insert.hip:' --impl "$plugin"
check trap 1 'trap' --impl "$plugin"
DSV4_EMU=steps=2000000 check hang 1 'hangs.*insert.hip:' --impl "$plugin"
check "" 3 'no hip device here, and the emulator cannot stand in' --impl "$emu/plugins/insert-gfx90a.so"
DSV4_EMULATE=0 check "" 3 'no hip device here' --impl "$plugin"

if [[ $ran == 0 ]]; then
    echo "no program is built under $emu/programs" >&2
    exit 3
fi
echo "programs on the emulator: $((ran - failed)) of $ran runs passed"
[[ $failed == 0 ]]
