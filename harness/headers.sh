#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
# Compiles every header alone: as C11, and the plug-in header as C++17 too. A header given as an
# argument is compiled instead of those of the tree.
set -euo pipefail

c11=(-std=c11 -D_GNU_SOURCE -Wall -Wextra -Wpedantic -Wconversion -Wshadow -Wno-unused-function -Werror
    -Wno-unused-const-variable -fsyntax-only -fopenmp -I.)
cpp17=(-std=c++17 -Wall -Wextra -Wpedantic -Wconversion -Werror -fsyntax-only)

if (($# > 0)); then
    headers=("$@")
else
    # What lies in kernels/ is HIP, not C.
    mapfile -t headers < <(find harness reference -name '*.h' -not -path '*/kernels/*' | sort)
fi

n=0
for header in "${headers[@]}"; do
    for compiler in gcc clang-19; do
        printf '#include "%s"\n' "$header" | "$compiler" "${c11[@]}" -x c - ||
            { echo "headers: $header does not compile alone as C11 with $compiler" >&2; exit 1; }
    done
    if [[ $header == */dsv4_plugin.h ]]; then
        printf '#include "%s"\n' "$header" | clang-19 "${cpp17[@]}" -I. -x c++ - ||
            { echo "headers: $header does not compile alone as C++17" >&2; exit 1; }
    fi
    n=$((n + 1))
done
((n > 0)) || { echo "headers: none found" >&2; exit 1; }
echo "headers: $n compile alone"
