#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
# What `make check` takes on machines that this one is not: fake nvidia-smi, fake /sys.
set -uo pipefail
cd "$(dirname "$0")/../../.."
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
failed=0

# expect WANT COMPUTE_CAP GFX_TARGET_VERSION: an empty word is a machine without such a GPU.
expect() {
    local got
    mkdir -p "$work/bin" "$work/sys/class/kfd/kfd/topology/nodes/0" "$work/sys/class/kfd/kfd/topology/nodes/1"
    printf '#!/bin/bash\n[[ -n "%s" ]] && echo "%s"\n' "$2" "$2" >"$work/bin/nvidia-smi"
    chmod +x "$work/bin/nvidia-smi"
    echo "gfx_target_version 0" >"$work/sys/class/kfd/kfd/topology/nodes/0/properties"
    echo "gfx_target_version ${3:-0}" >"$work/sys/class/kfd/kfd/topology/nodes/1/properties"
    got=$(PATH="$work/bin:$PATH" ROOT="$work" harness/found.sh cpu sm_90 sm_120 gfx90a gfx942 gfx950 2>"$work/said")
    if [[ $got != "$1" ]]; then
        echo "found: compute capability '$2', gfx '$3': '$got', not '$1'"
        failed=1
    fi
}

expect sm_90 9.0 ''
expect sm_120 12.0 90402
expect gfx942 '' 90402
expect gfx90a '' 90010
expect gfx950 '' 90500
expect 'cpu gfx942' '' ''
expect 'cpu gfx942' 'No devices were found' ''
expect 'cpu gfx942' 7.5 ''
grep -q 'sm_75' "$work/said" || { echo 'found: an unknown GPU is not named'; failed=1; }
((failed == 0)) && echo 'found: 8 machines told apart'
exit $failed
