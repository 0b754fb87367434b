#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
"""Opens the HTML report in a headless Chromium without a network: at the width of a desk and of a phone, in light and in
dark. Nothing may stick out sideways, nothing may be asked of a network, and its search and buttons must work. Without a
Chromium on PATH it says so and ends with 3."""
import argparse
import html
import json
import os
import pathlib
import re
import shutil
import subprocess
import sys
import tempfile

ROOT = pathlib.Path(__file__).resolve().parents[2]

# Runs beside the page, which lies in a frame of the wanted width. Puts what it saw into the document.
PROBE = """
const frame = document.querySelector("iframe");
frame.addEventListener("load", () => {
  const page = frame.contentDocument, view = frame.contentWindow, out = {};
  const root = page.documentElement;
  out.sideways = root.scrollWidth - root.clientWidth;
  out.background = view.getComputedStyle(page.body).backgroundColor;
  out.text = view.getComputedStyle(page.body).color;
  out.asked = view.performance.getEntriesByType("resource").map((entry) => entry.name);
  out.sections = page.querySelectorAll("section.run").length;
  out.cells = [...page.querySelectorAll(".matrix .cell:not(.empty)")].filter((cell) => cell.offsetWidth > 0).length;
  out.small = [...page.querySelectorAll("p, dd, td, summary")].filter((e) => parseFloat(view.getComputedStyle(e).fontSize) < 11).length;
  const box = page.querySelector("details.results");
  box.open = true;
  const input = box.querySelector("input");
  const rows = [...box.querySelectorAll("tbody tr")];
  out.rows = rows.length;
  input.value = "fail";
  input.dispatchEvent(new Event("input"));
  out.found = rows.filter((row) => !row.hidden).length;
  const button = page.querySelector("button[data-open]");
  button.click();
  out.opened = [...button.closest(".card").querySelectorAll("details")].every((d) => d.open);
  out.sidewaysOpen = root.scrollWidth - root.clientWidth;
  const result = document.createElement("pre");
  result.id = "saw";
  result.textContent = JSON.stringify(out);
  document.body.append(result);
});
"""


def find_browser():
    for name in ("chromium", "chromium-browser", "google-chrome"):
        if path := shutil.which(name):
            return path
    return None


def chromium(browser, folder, *options):
    run = subprocess.run([browser, "--headless", "--disable-gpu", "--no-sandbox", "--allow-file-access-from-files",
                          "--host-resolver-rules=MAP * ~NOTFOUND", f"--user-data-dir={folder}/profile",
                          "--hide-scrollbars", *options],
                         capture_output=True, text=True, timeout=180)
    return run.stdout


def look(browser, folder, width, dark):
    wrapper = folder / f"wrapper-{width}-{dark}.html"
    wrapper.write_text("<!doctype html><meta name=color-scheme content='light dark'><body style='margin:0'>"
                       f"<iframe src='page.html' style='border:0;width:{width}px;height:4000px'></iframe><script>{PROBE}</script>")
    options = ["--blink-settings=preferredColorScheme=0"] if dark else []
    dom = chromium(browser, folder, "--virtual-time-budget=10000", f"--window-size={max(width, 500)},1200", *options,
                   "--dump-dom", f"file://{wrapper}")
    found = re.search(r'<pre id="saw">(.*?)</pre>', dom, re.S)
    return json.loads(html.unescape(found[1])) if found else None


def brightness(color):
    return sum(int(part) for part in re.findall(r"\d+", color)[:3])


def judge(saw, width, dark):
    """What is wrong with what was seen."""
    if saw is None:
        yield "the page did not load"
        return
    for key in ("sideways", "sidewaysOpen"):
        if saw[key] > 0:
            yield f"it is {saw[key]} pixels too wide ({key})"
    if saw["asked"]:
        yield f"it asked for {saw['asked'][:3]}"
    if (brightness(saw["background"]) < 384) != dark or (brightness(saw["text"]) > 384) != dark:
        yield f"text {saw['text']} on {saw['background']} is not {'dark' if dark else 'light'}"
    if saw["sections"] != 2 or saw["cells"] < 2 or saw["rows"] < 10:
        yield f"parts are missing: {saw}"
    if not 0 < saw["found"] < saw["rows"]:
        yield f"the search for 'fail' shows {saw['found']} of {saw['rows']} results"
    if not saw["opened"]:
        yield "the button does not open the rows of the matrix"
    if saw["small"]:
        yield f"{saw['small']} texts are smaller than 11 pixels"


def make_page(dsv4cts, build, folder):
    check = [dsv4cts, "check", "--op", "kv_*insert", "--report", folder]
    subprocess.run([*check, "--impl", build / "tests/planted/scale_floor.so"], capture_output=True, cwd=ROOT)
    subprocess.run(check, capture_output=True, cwd=ROOT)
    subprocess.run([dsv4cts, "report", "--format", "html", "--output", folder / "page.html", folder / "scale_floor.json",
                    folder / "ref.json"], capture_output=True, cwd=ROOT)
    return (folder / "page.html").read_text()


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--build", default=ROOT / "build", type=pathlib.Path)
    parser.add_argument("--shots", type=pathlib.Path, help="also write screenshots into this directory")
    args = parser.parse_args()
    browser, n = find_browser(), 0
    if browser is None:
        print("page: NOT RUN: no chromium on PATH (Debian: chromium); nobody looked at the HTML report")
        return 3
    with tempfile.TemporaryDirectory(prefix="dsv4-page-", ignore_cleanup_errors=True) as name:
        folder = pathlib.Path(name)
        text = make_page(args.build / "dsv4cts", args.build, folder)
        views = [(width, dark) for width in (1280, 390) for dark in (False, True)]
        for width, dark in views:
            for wrong in judge(look(browser, folder, width, dark), width, dark):
                print(f"page: {width} pixels, {'dark' if dark else 'light'}: {wrong}")
                n += 1
            if args.shots:
                args.shots.mkdir(parents=True, exist_ok=True)
                shot = args.shots / f"{width}-{'dark' if dark else 'light'}.png"
                chromium(browser, folder, f"--window-size={max(width, 500)},2400", f"--screenshot={shot}",
                         *(["--blink-settings=preferredColorScheme=0"] if dark else []), f"file://{folder}/wrapper-{width}-{dark}.html")
        planted = {"too wide": ("<div class=\"top\">", "<div style=\"width:3000px\">.</div><div class=\"top\">"),
                   "asked for": ("<link rel=\"icon\" href=\"data:,\">", "<link rel=\"stylesheet\" href=\"http://example.invalid/other.css\">"),
                   "the search": ("row.hidden = ", "row.hiden = ")}
        for word, (old, new) in planted.items():
            page = text.replace(old, new)
            (folder / "page.html").write_text(re.sub(r"<meta http-equiv[^>]*>", "", page) if word == "asked for" else page)
            if page == text or not any(word in wrong for wrong in judge(look(browser, folder, 1280, False), 1280, False)):
                print(f"page: a planted fault is not caught: {word}")
                n += 1
    print(f"page: {len(views)} views in {os.path.basename(browser)}, {len(planted)} planted faults, {n} faults")
    return 1 if n else 0


if __name__ == "__main__":
    sys.exit(main())
