#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
# Installs what is missing from Debian's or Ubuntu's packages. The one list of packages is here;
# `harness/setup.sh --list` prints it.
set -euo pipefail

packages=(
    gcc g++ libc6-dev make                                          # the build
    libyaml-dev libzip-dev zlib1g-dev libjansson-dev libssl-dev     # the harness
    libcriterion-dev libmpfr-dev libgmp-dev                         # unit tests, the oracle
    clang-19 lld-19 llvm-19 clang-tools-19 libclang-rt-19-dev libomp-19-dev # gfx9*, sanitizers, fuzzing
    llvm-19-dev libelf-dev libdw-dev libmsgpack-dev libzstd-dev     # the gfx942 emulator
    qemu-user gcc-aarch64-linux-gnu libc6-dev-arm64-cross           # the aarch64 run
    python3 python3-numpy clang-format-14 git                       # lint, docs, numpy.load
    pkgconf                                                         # the test of `make install`
    python3-jsonschema python3-yaml libxml2-utils                   # schemas of reports, CI recipes
)
# Where the distribution has it: ports in torch are run in the tests, which say so if it is not there.
optional=(python3-torch)

if [[ ${1-} == --list ]]; then
    printf '%s\n' "${packages[@]}" "${optional[@]}"
    exit 0
fi

if ! command -v apt-get >/dev/null || ! command -v dpkg-query >/dev/null; then
    echo "setup knows Debian and Ubuntu only. Install what your system calls: ${packages[*]}" >&2
    exit 2
fi

lacks() {
    local state
    state=$(dpkg-query -W -f '${db:Status-Abbrev}' "$1" 2>/dev/null || true)
    [[ $state != ?i* ]]
}
missing=() extra=()
for package in "${packages[@]}"; do
    if lacks "$package"; then missing+=("$package"); fi
done
for package in "${optional[@]}"; do
    if lacks "$package"; then extra+=("$package"); fi
done
if ((${#missing[@]} + ${#extra[@]} == 0)); then
    echo "setup: all $((${#packages[@]} + ${#optional[@]})) packages are installed"
    exit 0
fi

as_root=()
if ((EUID != 0)); then
    if ! command -v sudo >/dev/null; then
        echo "setup has to install packages: run it as root, or install sudo. Missing: ${missing[*]} ${extra[*]}" >&2
        exit 2
    fi
    as_root=(sudo)
fi

echo "setup: installing ${missing[*]} ${extra[*]}"
log=$(mktemp)
trap 'rm -f "$log"' EXIT
apt() {
    "${as_root[@]}" env DEBIAN_FRONTEND=noninteractive apt-get -qq -o Dpkg::Use-Pty=0 \
        -o Acquire::Retries=3 "$@" </dev/null >"$log" 2>&1
}
give_up() {
    tail -n 20 "$log" >&2
    echo "setup: $1" >&2
    exit 2
}
apt update || echo "setup: apt-get update failed; trying with the package lists that are there" >&2
# --yes also lets apt remove another release's libomp-dev, which cannot stand beside libomp-19-dev.
((${#missing[@]} == 0)) || apt install --yes --no-install-recommends "${missing[@]}" ||
    give_up "apt-get could not install them; the lines above say why. clang-19 is in an up-to-date Debian 12 or Ubuntu 24.04"
for package in "${extra[@]}"; do
    apt install --yes --no-install-recommends "$package" ||
        echo "setup: $package could not be installed; what needs it is skipped" >&2
done
echo "setup: done"
