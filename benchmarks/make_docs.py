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
decided. This page is made by `python benchmarks/make_docs.py` from `benchmarks/results/`.
"""

COMPARISONS = (
    (
        "latencies predicted within 10% of the measured ones",
        ("latency_predictor", "predicted within 10%", "{}, server CPU, 40 networks"),
        "99.0% and 99.1%, mobile CPU and GPU: nn-Meter (MobiSys 2021)",
    ),
    (
        "ranking on a new device from ten networks, FBNet space, Spearman",
        ("latency_transfer_fbnet", "mean Spearman, random samples", "{}, 4 devices"),
        "0.910, 3 devices: HELP (NeurIPS 2021)",
    ),
    (
        "the same, NAS-Bench-201",
        ("latency_transfer_nasbench201", "mean Spearman, random samples", "{}, 4 devices"),
        "0.932, 6 devices: HELP (NeurIPS 2021)",
    ),
    (
        "TensorRT convolutions that a table lacks, mean error",
        ("conv_interpolation", "mean error, ours", "{}"),
        "17.6%: the interpolation of TinyNAS, on the same rows",
    ),
    (
        "evaluations until the hypervolume 3784, Once-for-All space",
        ("search_efficiency_macs", "evaluations until ours passes 3784", "{}, median of ten seeds"),
        "500: LINAS, recorded run (DyNAS-T)",
    ),
    (
        "hypervolume after 50, 100, 200 evaluations, the same space",
        ("search_efficiency_macs", "hypervolume after 50, 100, 200 evaluations, ours", "{}"),
        "3302, 3450, 3545: Optuna's TPE, multivariate, in the same process",
    ),
    (
        "recommended networks that keep their latency budget when measured",
        ("budget_kept", "budgets kept", "{}"),
        "12 of 22: HELP, published tables",
    ),
)
"""What is compared with others: the quantity, our result (its file, its figure, and a template for
the cell), and the figure of others with its source."""

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
    return "\n".join([INTRODUCTION, compared(), head + "".join(rows), *sections])


def compared() -> str:
    """The table that compares our results with those of others."""
    lines = ["| what | here | others |", "| --- | --- | --- |"]
    for what, (name, figure, template), others in COMPARISONS:
        result = json.loads((RESULTS / f"{name}.json").read_text(encoding="utf-8"))
        here = template.format(result["figures"][figure])
        lines.append(f"| {what} | [{here}](#{name}) | {others} |")
    return "## Compared with others\n\n" + "\n".join(lines) + "\n\n## All results\n"


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
        f"- values: `benchmarks/results/{path.name}`\n",
        f"```\n{result['command']}\n```\n",
        "| figure | value |",
        "| --- | --- |",
        *(f"| {name} | {value} |" for name, value in result["figures"].items()),
    ]
    return "\n".join(lines) + "\n"


if __name__ == "__main__":
    main()
