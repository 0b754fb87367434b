#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
"""Holds the reports that dsv4cts writes to their schemas, and its reader to the same: whatever the schema of the JSON
refuses, `dsv4cts report` must refuse as well, one change at a time."""
import argparse
import copy
import html.parser
import json
import pathlib
import re
import subprocess
import sys
import tempfile

import jsonschema

ROOT = pathlib.Path(__file__).resolve().parents[2]
SCHEMAS = ROOT / "harness/schema"
VOID = {"meta", "link", "wbr", "input", "br"}
faults = []


def fault(text):
    faults.append(text)
    print(f"reports: {text}")


def run(*command, codes=(0, 1)):
    done = subprocess.run(list(map(str, command)), capture_output=True, text=True, errors="replace", cwd=ROOT,
                          timeout=120)
    if done.returncode not in codes:
        fault(f"{' '.join(map(str, command))}: exit {done.returncode}: {done.stderr[-500:]}")
    return done


def validator(name):
    """The schema NAME; `bench.json` inside of another is the file beside it."""
    schema = json.loads((SCHEMAS / name).read_text())
    text = json.dumps(schema)
    if '"$ref": "bench.json"' in text:
        bench = json.loads((SCHEMAS / "bench.json").read_text())
        schema["$defs"].update(bench.pop("$defs"))
        schema["properties"]["bench"] = {k: v for k, v in bench.items() if k != "$schema"}
    jsonschema.Draft202012Validator.check_schema(schema)
    return jsonschema.Draft202012Validator(schema)


# ---- JSON ----

def places(value, path=()):
    """Every object and list inside of a value, by its path; of a long list the first two."""
    yield path, value
    items = value.items() if isinstance(value, dict) else enumerate(value[:2]) if isinstance(value, list) else ()
    for key, item in items:
        yield from places(item, path + (key,))


def at(value, path):
    for key in path:
        value = value[key]
    return value


OTHERS = (None, True, -1, 1.5, 2**40, "a word", [], {})


def changes(report):
    """Reports that differ from a good one at one place, and what was done to them."""
    for path, value in places(report):
        if isinstance(value, dict):
            for key in value:
                other = copy.deepcopy(report)
                del at(other, path)[key]
                yield f"{path} without {key}", other
            other = copy.deepcopy(report)
            at(other, path)["surplus"] = 1
            yield f"{path} with a key more", other
        if path:
            for new in OTHERS:
                if type(new) is not type(value) or new != value:
                    other = copy.deepcopy(report)
                    at(other, path[:-1])[path[-1]] = new
                    yield f"{path} as {new!r}", other


def agree(dsv4cts, schema, report, folder):
    """The reader may refuse more than the schema (sums that do not add up), never less."""
    n, accepted = 0, 0
    path = folder / "changed.json"
    for what, changed in changes(report):
        path.write_text(json.dumps(changed))
        good = schema.is_valid(changed)
        code = run(dsv4cts, "report", "--partial", path, codes=(0, 1, 2, 3)).returncode
        n += 1
        accepted += good
        if code not in (0, 1, 2, 3) or (not good and code != 2):
            fault(f"{what}: the schema {'accepts' if good else 'refuses'} it, dsv4cts report ends with {code}")
    if not 0 < accepted < n:
        fault(f"of {n} changes {accepted} are accepted: this test tests nothing")
    return n


# ---- HTML ----

class Page(html.parser.HTMLParser):
    """Tags that do not match, and whatever would need a network."""

    def __init__(self):
        super().__init__()
        self.open, self.wrong, self.tags = [], [], 0

    def handle_starttag(self, tag, attributes):
        self.tags += 1
        if tag not in VOID:
            self.open.append(tag)
        for name, value in attributes:
            inside = name == "href" and (value.startswith("#") or value == "data:,")
            if name in ("src", "href", "srcset", "action", "poster", "data", "background") and not inside:
                self.wrong.append(f"{tag} {name}={value}")
            if name.startswith("on"):
                self.wrong.append(f"{tag} has the handler {name}")

    def handle_endtag(self, tag):
        if not self.open or self.open.pop() != tag:
            self.wrong.append(f"</{tag}> closes nothing")


def check_page(text, name):
    page = Page()
    page.feed(text)
    page.close()
    for wrong in page.wrong[:5] + page.open[:5]:
        fault(f"{name}: {wrong}")
    if re.search(r"@import|url\(", text):
        fault(f"{name}: its style wants another file")
    if page.tags < 100:
        fault(f"{name}: only {page.tags} tags")


# ---- all of it ----

def make_reports(dsv4cts, build, folder):
    """A run that passes, one with failures and hostile text, one of a shard."""
    check = [dsv4cts, "check", "--op", "kv_quantize_insert", "--report", folder]
    run(*check)
    run(*check, "--impl", build / "tests/planted/scale_floor.so")
    run(*check, "--impl", build / "tests/planted/control_characters.so")
    run(*check, "--impl", build / "tests/planted/declines.so", codes=(3,))
    run(*check, "--shard", "2/3", "--impl", build / "tests/planted/right.so")
    run(dsv4cts, "bench", "--op", "kv_quantize_insert", "--case", "host-*", "--time", "20", "--report", folder)


def enrich(report):
    """What no plug-in here produces: conformant results, outputs with bins, several parts."""
    rich = copy.deepcopy(report)
    rich["results"] = rich["results"][:3]
    rich["counts"]["PASS"] = len(rich["results"])
    rich["results"][1].update(grade="conformant", outputs=[
        {"tensor": "out", "elements": 64, "differ": 3, "slack": 0.25, "bins": [0, 0, 1, 2] + [0] * 8},
        {"tensor": "sum", "elements": 1, "differ": 0, "slack": None, "bins": [0] * 12}])
    rich["results"][2]["notes"] = {"known": "a text"}
    return rich


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--build", default=ROOT / "build", type=pathlib.Path)
    args = parser.parse_args()
    dsv4cts = args.build / "dsv4cts"
    report_schema, bench_schema = validator("report.json"), validator("bench.json")
    with tempfile.TemporaryDirectory(prefix="dsv4-reports-") as name:
        folder = pathlib.Path(name)
        make_reports(dsv4cts, args.build, folder)
        files = sorted(folder.glob("*.json"))
        for path in files:
            schema = bench_schema if path.name.endswith(".bench.json") else report_schema
            for error in schema.iter_errors(json.loads(path.read_text())):
                fault(f"{path.name}: {error.json_path}: {error.message[:200]}")
        rich = enrich(json.loads((folder / "ref.json").read_text()))
        rich["bench"] = json.loads((folder / "ref.bench.json").read_text())
        (folder / "rich.json").write_text(json.dumps(rich))
        for error in report_schema.iter_errors(rich):
            fault(f"rich.json: {error.json_path}: {error.message[:200]}")
        run(dsv4cts, "report", folder / "rich.json", codes=(0,))
        n = agree(dsv4cts, report_schema, rich, folder)
        both = [folder / "ref.json", folder / "ref.bench.json", folder / "scale_floor.json",
                folder / "control_characters.json", folder / "right.2-of-3.json"]
        joined = run(dsv4cts, "report", "--format", "junit", *both, codes=(2,)).stdout
        (folder / "joined.xml").write_text(joined)
        xml = sorted(folder.glob("*.xml"))
        run("xmllint", "--noout", "--nonet", "--schema", SCHEMAS / "junit.xsd", *xml, codes=(0,))
        (folder / "wrong.xml").write_text(joined.replace("<properties>", "<attributes>", 1))
        run("xmllint", "--noout", "--nonet", "--schema", SCHEMAS / "junit.xsd", folder / "wrong.xml", codes=(1, 3))
        check_page(run(dsv4cts, "report", "--format", "html", *both, codes=(2,)).stdout, "the joined page")
        for path in folder.glob("*.html"):
            check_page(path.read_text(), path.name)
    print(f"reports: {len(files)} JSON and {len(xml)} JUnit files are as their schemas say; {n} changed ones were refused "
          f"where they must be; {len(faults)} faults")
    return 1 if faults else 0


if __name__ == "__main__":
    sys.exit(main())
