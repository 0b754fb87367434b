#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
# usage: run.sh BUILD SECONDS TARGET...
# Runs BUILD/fuzzers/TARGET for SECONDS each, from seeds made of the real suites and vectors, and of a small kernel.
set -euo pipefail
build=$1 seconds=$2
shift 2

corpus=$build/corpus
mkdir -p "$corpus"/{suite,manifest,meta,entry,vector,code}
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

# Code objects in and out of bundles, machine code, disassembly: the first byte says which.
cat >"$parts/kernel.hip" <<'END'
__attribute__((device)) int counter = 7;
__attribute__((device)) int *where = &counter;
extern "C" __attribute__((global)) void kernel(float *out, const float *in, int n) {
    const int i = (int)__builtin_amdgcn_workitem_id_x();
    if (i < n) out[i] = in[i] / 3.0f;
    *where = n;
}
END
compile() {
    PATH=/usr/lib/llvm-19/bin:$PATH clang-19 -x hip --offload-arch=gfx942 -nogpulib -nogpuinc -nostdinc++ \
        --hip-path=/nonexistent --cuda-device-only "$@" "$parts/kernel.hip"
}
compile -O0 -o "$parts/whole.co"
compile -O2 -g --no-gpu-bundle-output -o "$parts/elf.co"
compile -O2 --offload-compress -o "$parts/packed.co"
for file in "$parts"/*.co; do { printf 0; cat "$file"; } >"$corpus/code/$(basename "$file")"; done
llvm-objcopy-19 -O binary --only-section=.text "$parts/elf.co" "$parts/text"
{ printf 1; cat "$parts/text"; } >"$corpus/code/words"
llvm-objdump-19 -d "$parts/elf.co" | sed -n 's/^\t\([^/]*[^ /]\) *\/\/.*/\1/p' | sort -u | head -n 60 |
    { i=0; while IFS= read -r line; do printf '2%s' "$line" >"$corpus/code/line$((i++))"; done; }

for target in "$@"; do
    echo "fuzz $target, $seconds seconds"
    "$build/fuzzers/$target" -max_total_time="$seconds" -timeout=20 -rss_limit_mb=4096 \
        -verbosity=0 -print_final_stats=1 -artifact_prefix="$build/fuzzers/$target-" "$corpus/$target" 2>&1 |
        grep -E 'ERROR|SUMMARY|panic|^    #|Test unit|number_of_executed' || exit 1
done
