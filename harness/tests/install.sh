#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
# install.sh BUILD: installs into a temporary folder, then works from another one with what was installed alone: finds it
# by pkg-config, compiles the example, and holds it, and a port in Python, to the installed suites and vectors.
set -euo pipefail

build=$(realpath "$1")
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
n=0

fail() {
    echo "install: $1" >&2
    exit 1
}

# wants EXIT REGEX COMMAND...: runs it; its exit code and output must be so
wants() {
    local code=$1 says=$2 status=0
    shift 2
    "$@" </dev/null >"$work/out" 2>&1 || status=$?
    ((status == code)) && grep -qE -- "$says" "$work/out" ||
        { tail -n 30 "$work/out" >&2; fail "'$*' ended with $status and not with $code, or did not say '$says'"; }
    n=$((n + 1))
}

make --no-print-directory B="$build" DESTDIR="$work/root" PREFIX=/opt/dsv4 install >"$work/log" 2>&1 || { cat "$work/log" >&2; fail 'make install failed'; }
mv "$work/root" "$work/moved" # no path of the installation is inside
mkdir -p "$work/elsewhere/suites"
cd "$work/elsewhere"
unset MAKEFLAGS MFLAGS MAKELEVEL
export PKG_CONFIG_PATH=$work/moved/opt/dsv4/lib/pkgconfig DSV4_PYTHON=${DSV4_PYTHON:-/usr/bin/python3}
dsv4cts=$(pkg-config --variable=dsv4cts dsv4-cts)
wants 0 "^dsv4cts $(pkg-config --modversion dsv4-cts)\$" "$dsv4cts" --version

cp "$(pkg-config --variable=exampledir dsv4-cts)/acme.c" .
# shellcheck disable=SC2046
gcc -std=c11 -O2 -Wall -Wextra -Wpedantic -Werror -shared -fPIC -ffp-contract=off $(pkg-config --cflags dsv4-cts) -o acme.so acme.c -lm

exact='@(mtp_embedding|quant_mxfp4_dequant)'
wants 0 '^acme: [1-9][0-9]* passed, [1-9][0-9]* unsupported$' "$dsv4cts" check --impl acme.so --op "$exact" --report reports
grep -q '"plugin": *"acme-kernels"' reports/acme.json || fail 'the report does not name the plug-in'
wants 0 '^acme: [1-9][0-9]* passed' "$dsv4cts" check --impl acme.so --op quant_mxfp4_dequant --tier full
wants 3 'acme: [1-9][0-9]* unsupported' "$dsv4cts" check --impl acme.so --op mtp_argmax
wants 0 'scale bytes are shifted here' "$dsv4cts" check --impl acme.so --op quant_mxfp4_dequant --verbose
# Its sums have another order: conformant, and as bits not the same.
wants 0 '^acme: [1-9][0-9]* passed.*conformant' "$dsv4cts" check --impl acme.so --op norm_rms
wants 1 "^FAIL +norm_rms/.*/moved/opt/dsv4/share/dsv4cts/suites/norm_rms.yaml:" "$dsv4cts" check --impl acme.so --op norm_rms --class BITS
wants 0 '^ref: [1-9][0-9]* passed' "$dsv4cts" check --impl ref --op mtp_argmax
wants 0 'layer swa' "$dsv4cts" check --impl ref --layer swa
wants 2 'nowhere' "$dsv4cts" check --impl acme.so --suites nowhere

cat >port.py <<'EOF'
from dsv4cts import plugin, port

plugin(arrays="numpy")


@port("mtp_hidden_copy")
def copy(hidden, buffer):
    buffer[:len(hidden)] = hidden.reshape(len(hidden), buffer.shape[1])
EOF
wants 0 '^port: [1-9][0-9]* passed$' "$dsv4cts" check --impl port.py --op mtp_hidden_copy
PYTHONPATH=$(pkg-config --variable=pythondir dsv4-cts)
export PYTHONPATH
wants 0 '^port: [1-9][0-9]* passed$' "$DSV4_PYTHON" -m dsv4cts port.py --graph --op mtp_hidden_copy
echo "install: $n commands did what they should with what was installed"
