#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
# Slurm: an array of shards, and a job that joins their reports when all have ended. From the top of a built tree:
#
#     jobs=$(sbatch --parsable --array=0-3 harness/ci/slurm-array.sh)
#     sbatch --dependency=afterany:$jobs harness/ci/slurm-array.sh report
#
# ARCH=, IMPL=, TIER= and OP= come from the environment. Ask for GPUs as your site does: --gpus-per-task=1 and the like.
#SBATCH --job-name=dsv4cts
#SBATCH --ntasks=1
#SBATCH --output=dsv4cts-%A-%a.log
set -uo pipefail

arch=${ARCH:-cpu}
reports=${REPORTS:-reports}/$arch
impl=${IMPL:-build/cpu/ref.so}

if [[ ${1-} == report ]]; then
    # A shard that died is named, and the exit code is not 0.
    exec build/dsv4cts report --format html --output "$reports/index.html" "$reports"/*-of-*.json
fi
exec srun build/dsv4cts check --impl "$impl" --tier "${TIER:-smoke,full}" ${OP:+--op "$OP"} --shard env --report "$reports"
