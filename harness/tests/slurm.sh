#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
# Runs the Slurm recipe on a cluster of one node, this machine, which it starts and ends: an array of three shards, and
# the job that joins them; then once more with a shard that never runs. As root; wants Debian's slurm-wlm and munge.
set -euo pipefail

for program in munged slurmctld slurmd sbatch; do
    command -v "$program" >/dev/null || { echo "slurm: not run: no $program on PATH (slurm-wlm, munge)" >&2; exit 3; }
done
((EUID == 0)) || { echo 'slurm: not run: slurmd wants root' >&2; exit 3; }

cd "$(dirname "$0")/../.."
work=$(mktemp -d "${TMPDIR:-/tmp}/dsv4-slurm-XXXXXX")
pids=()
finish() {
    local status=$?
    ((${#pids[@]} == 0)) || kill "${pids[@]}" 2>/dev/null || true
    wait 2>/dev/null || true
    ((status == 0)) || tail -n 20 "$work"/*.log >&2 || true
    rm -rf "$work"
}
trap finish EXIT

port=$((20000 + RANDOM % 20000))
mkdir -p "$work"/{spool,state,run}
chmod 0755 "$work" "$work/run"
dd if=/dev/urandom bs=1 count=1024 of="$work/munge.key" status=none
chmod 0600 "$work/munge.key"
cat >"$work/slurm.conf" <<EOF
ClusterName=here
SlurmctldHost=$(hostname)(127.0.0.1)
SlurmUser=root
AuthType=auth/munge
AuthInfo=socket=$work/run/munge
CredType=cred/munge
SlurmctldPort=$port
SlurmdPort=$((port + 1))
SlurmctldPidFile=$work/slurmctld.pid
SlurmdPidFile=$work/slurmd.pid
SlurmdSpoolDir=$work/spool
StateSaveLocation=$work/state
ProctrackType=proctrack/pgid
TaskPlugin=task/none
SwitchType=switch/none
MpiDefault=none
SelectType=select/cons_tres
ReturnToService=2
NodeName=$(hostname) NodeAddr=127.0.0.1 CPUs=$(nproc) State=UNKNOWN
PartitionName=all Nodes=ALL Default=YES MaxTime=INFINITE State=UP
EOF
export SLURM_CONF=$work/slurm.conf

munged --foreground --force --key-file="$work/munge.key" --socket="$work/run/munge" --pid-file="$work/run/munge.pid" \
    --log-file="$work/munged.log" --seed-file="$work/munge.seed" >"$work/munged.out.log" 2>&1 &
pids+=($!)
for ((i = 0; i < 50; i++)); do [[ -S $work/run/munge ]] && break; sleep 0.1; done
slurmctld -D -c -f "$SLURM_CONF" >"$work/slurmctld.log" 2>&1 &
pids+=($!)
slurmd -D -c -f "$SLURM_CONF" >"$work/slurmd.log" 2>&1 &
pids+=($!)
for ((i = 0; i < 300; i++)); do [[ $(sinfo -h -o %t 2>/dev/null) == idle ]] && break; sleep 0.1; done
[[ $(sinfo -h -o %t) == idle ]] || { echo 'slurm: the node does not come up' >&2; exit 1; }

# As the head comment of the recipe says.
export REPORTS=$work/whole OP=kv_quantize_insert TIER=smoke
jobs=$(sbatch --parsable --array=0-2 --output="$work/shard-%A-%a.log" harness/ci/slurm-array.sh)
sbatch --wait --dependency=afterany:"$jobs" --output="$work/report.log" harness/ci/slurm-array.sh report >/dev/null ||
    { echo "slurm: the report of all shards ended with $?" >&2; exit 1; }
n=$(build/dsv4cts check --op kv_quantize_insert 2>/dev/null | sed -n 's/^ref: \([0-9]*\) passed$/\1/p')
build/dsv4cts report "$work"/whole/cpu/*.json | grep -qx "ref: $n passed" || { echo "slurm: not $n passed" >&2; exit 1; }
grep -q '<h2>ref</h2>' "$work/whole/cpu/index.html"

# A shard that is lost: its report is taken away before the others are joined.
rm "$work"/whole/cpu/ref.2-of-3.*
sbatch --wait --output="$work/lost.log" harness/ci/slurm-array.sh report >/dev/null && { echo 'slurm: a lost shard is no fault' >&2; exit 1; }
grep -q 'missing: shard 2 of 3' "$work/lost.log"
echo "slurm: an array of 3 shards, $n cases, one report; a lost shard is named"
