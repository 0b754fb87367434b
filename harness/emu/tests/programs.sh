#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
# Runs the HIP programs of harness/emu/tests/kernels on the emulator: programs.sh build/emu
set -uo pipefail
emu=$(realpath "$1")
export LD_LIBRARY_PATH=$emu
log=$(mktemp)
trap 'rm -f "$log"' EXIT
ran=0
failed=0

# run NAME WANTED_TEXT COMMAND...: exit code 0, and the text in what it prints
run() {
    local name=$1 text=$2
    shift 2
    ran=$((ran + 1))
    if ! timeout 120 "$@" >"$log" 2>&1 || ! grep -q -- "$text" "$log"; then
        failed=$((failed + 1))
        echo "FAIL $name: exit 0 and \"$text\" are expected of: $*"
        head -n 20 "$log"
    fi
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
        run "$name misaligned" 'misaligned\|aligned' "$program" misaligned
        DSV4_EMU=steps=100000 run "$name hang" 'hang' "$program" hang
        run "$name trap" 'trap' "$program" trap
        ;;
    *) run "$name" '^ok$' "$program" ;;
    esac
done

if [[ $ran == 0 ]]; then
    echo "no program is built under $emu/programs" >&2
    exit 3
fi
echo "programs on the emulator: $((ran - failed)) of $ran runs passed"
[[ $failed == 0 ]]
