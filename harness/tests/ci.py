#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
"""The CI recipes under harness/ci/ are YAML of the right form, their shell parses, and every make target, variable and
option that they use exists. Planted faults must be caught."""
import argparse
import pathlib
import re
import shlex
import subprocess
import sys

import yaml

ROOT = pathlib.Path(__file__).resolve().parents[2]
CI = ROOT / "harness/ci"


def shell_faults(text):
    run = subprocess.run(["bash", "-n"], input=text, capture_output=True, text=True)
    if run.returncode != 0:
        yield f"bash: {run.stderr.strip()}"


def make_faults(command, makefile):
    """Goals and variables of one make command line."""
    targets = set(re.findall(r"^([a-z-]+)(?: [a-z -]+)?:(?!=)", makefile, re.M))
    known = set(re.findall(r"\$\((?:if \$\()?([A-Z]+)\b", makefile))
    for word in shlex.split(command)[1:]:
        if "=" in word:
            if word.split("=")[0] not in known:
                yield f"`make {word}`: no such variable"
        elif word not in targets:
            yield f"`make {word}`: no such target"


def option_faults(verb, words, dsv4cts):
    text = subprocess.run([dsv4cts, verb, "--help"], capture_output=True, text=True).stdout
    for option in re.findall(r"(?<![\w-])--[a-z-]+", words):
        if not re.search(rf"^  {option}\b", text, re.M):
            yield f"dsv4cts {verb} has no {option}"


def command_faults(text, dsv4cts):
    """What a piece of shell calls of ours."""
    yield from shell_faults(text)
    makefile = (ROOT / "Makefile").read_text()
    for line in re.sub(r"\$\{\{.*?\}\}", "1", text).replace("\\\n", " ").split("\n"):
        for command in re.findall(r"(?:^|&& |; )\s*(make .*)", line):
            yield from make_faults(command, makefile)
            if "ARGS=" in command:
                yield from option_faults("check", command[command.index("ARGS="):], dsv4cts)
        for verb, words in re.findall(r"build/dsv4cts ([a-z]+)(.*)", line):
            yield from option_faults(verb, words, dsv4cts)


def github_faults(text, dsv4cts):
    flow = yaml.safe_load(text)
    if not isinstance(flow, dict) or not {"name", "jobs"} <= set(flow) or not {"on", True} & set(flow):
        yield "a workflow has name, on and jobs"
        return
    for name, job in flow["jobs"].items():
        if "runs-on" not in job or not job.get("steps"):
            yield f"the job {name} has no runs-on or no steps"
        for needed in [job["needs"]] if "needs" in job else []:
            if needed not in flow["jobs"]:
                yield f"the job {name} needs {needed}, which is none"
        for step in job.get("steps", []):
            if ("run" in step) == ("uses" in step):
                yield f"a step of {name} has not exactly one of run and uses"
            if "uses" in step and not re.fullmatch(r"[\w-]+/[\w-]+@v\d+", step["uses"]):
                yield f"{step['uses']} has no version"
            for fault in command_faults(step.get("run", ""), dsv4cts):
                yield f"{name}: {fault}"


def gitlab_faults(text, dsv4cts):
    flow = yaml.safe_load(text)
    if not isinstance(flow, dict) or "stages" not in flow:
        yield "a pipeline has stages"
        return
    jobs = {k: v for k, v in flow.items() if k not in ("stages", "variables", "default", "include")}
    for name, job in jobs.items():
        if job.get("stage") not in flow["stages"]:
            yield f"the job {name} is in no stage"
        if not isinstance(job.get("script"), list):
            yield f"the job {name} has no script"
            continue
        for needed in job.get("needs", []):
            if needed not in jobs:
                yield f"the job {name} needs {needed}, which is none"
        for fault in command_faults("\n".join(job["script"]), dsv4cts):
            yield f"{name}: {fault}"


def slurm_faults(text, dsv4cts):
    yield from command_faults(text, dsv4cts)
    lines = text.split("\n")
    for n, line in enumerate(lines):
        if line.startswith("#SBATCH") and any(l and not l.startswith("#") for l in lines[:n]):
            yield "Slurm reads no #SBATCH after the first command"
        if line.startswith("#SBATCH") and not re.fullmatch(r"#SBATCH --[a-z-]+=\S+", line):
            yield f"'{line}' is no option"
    if "#SBATCH" not in text:
        yield "there is no #SBATCH line"


RECIPES = {"github-actions.yml": github_faults, "gitlab-ci.yml": gitlab_faults, "slurm-array.sh": slurm_faults}

PLANTED = [
    ("github-actions.yml", "make setup report", "make setup reprot"),
    ("github-actions.yml", "--devices all", "--device-s all"),
    ("github-actions.yml", "needs: shard", "needs: shards"),
    ("github-actions.yml", "actions/checkout@v4", "actions/checkout"),
    ("github-actions.yml", "TIER=smoke", "TEAR=smoke"),
    ("gitlab-ci.yml", "--shard env", "--shards env"),
    ("gitlab-ci.yml", "stage: gpu", "stage: gpus"),
    ("gitlab-ci.yml", "&& apt-get", "&& ( apt-get"),
    ("slurm-array.sh", "--report \"$reports\"", "--reports \"$reports\""),
    ("slurm-array.sh", "#SBATCH --ntasks=1", "#SBATCH ntasks=1"),
    ("slurm-array.sh", "fi\n", "\n"),
]


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--dsv4cts", default=ROOT / "build/dsv4cts")
    args = parser.parse_args()
    n = 0
    for path in sorted(CI.iterdir()):
        if path.name not in RECIPES:
            print(f"ci: nobody checks {path.name}")
            n += 1
            continue
        for fault in RECIPES[path.name](path.read_text(), args.dsv4cts):
            print(f"ci: {path.name}: {fault}")
            n += 1
    for name, old, new in PLANTED:
        text = (CI / name).read_text()
        if old not in text or not list(RECIPES[name](text.replace(old, new), args.dsv4cts)):
            print(f"ci: '{new}' in {name} is not caught")
            n += 1
    print(f"ci: {len(RECIPES)} recipes, {len(PLANTED)} planted faults, {n} faults")
    return 1 if n else 0


if __name__ == "__main__":
    sys.exit(main())
