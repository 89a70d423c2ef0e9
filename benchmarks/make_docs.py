"""Writes docs/benchmarks.md from the committed results in benchmarks/results/.

python benchmarks/make_docs.py
"""

from __future__ import annotations

import argparse
import json
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[1]
RESULTS = ROOT / "benchmarks" / "results"
PAGE = ROOT / "docs" / "benchmarks.md"

INTRODUCTION = """\
# Benchmarks

Every claim is a script in `benchmarks/`, which states its target at the top. These are the last
committed results. [Notes on them](benchmarks-notes.md) say how they came about and what they
decided. This page is made by `python benchmarks/make_docs.py`.
"""

VERDICTS = {True: "yes", False: "**no**", None: "not decided"}


def main() -> None:
    argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    ).parse_args()
    PAGE.parent.mkdir(exist_ok=True)
    PAGE.write_text(page(), encoding="utf-8")


def page() -> str:
    """The page's Markdown."""
    results = {
        path: json.loads(path.read_text(encoding="utf-8"))
        for path in sorted(RESULTS.glob("*.json"))
    }
    rows = [summary_row(path, result) for path, result in results.items()]
    sections = [section(path, result) for path, result in results.items()]
    head = "| result | claim | met | date |\n| --- | --- | --- | --- |\n"
    return "\n".join([INTRODUCTION, head + "".join(rows), *sections])


def summary_row(path: Path, result: dict[str, Any]) -> str:
    verdict = VERDICTS[result["met"]]
    return f"| [{path.stem}](#{path.stem}) | {result['claim']} | {verdict} | {result['date']} |\n"


def section(path: Path, result: dict[str, Any]) -> str:
    """One result: where it was measured, its command, and its figures."""
    versions = ", ".join(f"{name} {version}" for name, version in result["versions"].items())
    lines = [
        f"## {path.stem}\n",
        f"{result['claim']}\n",
        f"- met: {VERDICTS[result['met']]}",
        f"- device: {result['device'] or 'not recorded'}",
        f"- date: {result['date'] or 'not recorded'}",
        *([f"- versions: {versions}"] if versions else []),
        f"- values: [{path.name}](../benchmarks/results/{path.name})\n",
        f"```\n{result['command']}\n```\n",
        "| figure | value |",
        "| --- | --- |",
        *(f"| {name} | {value} |" for name, value in result["figures"].items()),
    ]
    return "\n".join(lines) + "\n"


if __name__ == "__main__":
    main()
