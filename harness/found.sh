#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
# The architectures that `make check` takes when nobody names one: that of the GPU in this machine, or
# "cpu gfx942" where there is none, for gfx942 is emulated then. Arguments: the architectures that can be
# built. ROOT stands before /sys in the tests.
set -uo pipefail

known=" $* "

nvidia() {
    local cap
    cap=$(nvidia-smi --query-gpu=compute_cap --format=csv,noheader 2>/dev/null | head -n 1) || return 1
    [[ $cap =~ ^[0-9]+\.[0-9]$ ]] && printf 'sm_%s\n' "${cap/./}"
}

# 90402 is gfx942, 90010 is gfx90a: major, two digits of minor, two of stepping.
amd() {
    local file version
    for file in "${ROOT-}"/sys/class/kfd/kfd/topology/nodes/*/properties; do
        version=$(sed -n 's/^gfx_target_version \([1-9][0-9]*\)$/\1/p' "$file" 2>/dev/null)
        [[ -n $version ]] || continue
        printf 'gfx%d%x%x\n' $((version / 10000)) $((version / 100 % 100)) $((version % 100))
        return
    done
    return 1
}

gpu=$(nvidia || amd)
if [[ -n $gpu && $known == *" $gpu "* ]]; then
    echo "$gpu"
    exit
fi
[[ -z $gpu ]] || echo "this machine's GPU is a $gpu, which is not among$known; going on without it" >&2
echo cpu gfx942
