"""Networks of a search's front lie in their 90% intervals when they are measured.

Ten searches have ten seeds and ten budgets, 1.15 to 2.95 times the latency of the fastest network,
on this machine's ONNX Runtime. Their accuracies are made up, since only latencies count here. Each
begins at least 20 minutes after the table was measured, and compares what it measures at its end
with what it predicted before it had measured any candidate.

Target: at least 82% of all measured networks are inside their 90% intervals, their mean signed
error is within 1%, and the mean half width of the intervals is at most 3.5%. Exits 1 when missed.

    python benchmarks/interval_coverage.py --work FOLDER [--tables FOLDER] [--earlier FILE ...] \\
        [--quick] [--json OUT]

FOLDER keeps the searches, so that an interrupted run can be resumed. Results of other days or
machines are taken in by ``--earlier``.
"""

from __future__ import annotations

import json
import math
import random
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
from budget_kept import budgets_ms
from report import claim_of, exit_status, make_parser, origin_here, write_result
from rich.console import Console
from rich.table import Table
from searches import search_or_go_on

import nas
from nas.accuracy.evaluator import Request
from nas.models.cost import network_cost
from nas.results.values import SearchResult
from nas.space.architecture import Architecture

MIN_AGE_MIN = 20.0
MIN_INSIDE, MAX_BIAS, MAX_HALF_WIDTH = 0.82, 0.01, 0.035


def made_up(request: Request[Architecture]) -> float:
    """An accuracy that grows with the MACs, and has a part that only the architecture decides."""
    macs = network_cost(request.architecture.blocks(request.workload)).macs
    luck = random.Random(request.architecture.id).gauss(0.0, 0.01)
    return min(max(0.6 + 0.04 * math.log2(macs / 1e9) + luck, 0.0), 1.0)


def main() -> int:
    parser = make_parser(__doc__, quick="two searches")
    parser.add_argument("--work", type=Path, required=True, help="keep the searches here")
    parser.add_argument("--tables", type=Path, help="folder of the table")
    parser.add_argument("--earlier", type=Path, nargs="*", default=[], metavar="FILE")
    parser.add_argument("--trials", type=int, default=24, help="of each search")
    parser.add_argument("--first-seed", type=int, default=0, help="of the searches")
    args = parser.parse_args()
    table = nas.load_table("onnxruntime", tables_dir=args.tables)
    age_min = (time.time() - (table.path / "networks.csv").stat().st_mtime) / 60
    if age_min < MIN_AGE_MIN and not args.quick:
        parser.error(f"the table is {age_min:.0f} min old; wait until it is {MIN_AGE_MIN:g}")
    budgets = budgets_ms(args.tables)[:: 5 if args.quick else 1]
    rows: list[dict[str, Any]] = []
    for seed, budget_ms in enumerate(budgets, start=args.first_seed):
        found = search_or_go_on(
            args.work / f"{budget_ms:g}ms",
            budget_ms=budget_ms,
            tables_dir=args.tables,
            executor=ThreadPoolExecutor,
            evaluator="interval_coverage:made_up",
            seed=seed,
            trials=args.trials,
            finalists=0,
        )
        rows += measured_rows(found, budget_ms, seed)
        print(summarise(rows), file=sys.stderr, flush=True)
    session = {"date": origin_here().date, "table_age_min": round(age_min), "rows": rows}
    sessions = [*(s for path in args.earlier for s in earlier_sessions(path)), session]
    result = summarise([row for each in sessions for row in each["rows"]])
    show(sessions, result)
    met = None if args.quick else verdict(result)
    write_result(
        args.json,
        claim=claim_of(__doc__),
        met=met,
        origin=origin_here("onnxruntime", "optuna"),
        figures=figures(result, len(sessions)),
        details={**result, "sessions": sessions},
    )
    return exit_status(met)


def earlier_sessions(path: Path) -> list[dict[str, Any]]:
    """The sessions of an earlier result."""
    return list(json.loads(path.read_text(encoding="utf-8"))["sessions"])


def measured_rows(result: SearchResult, budget_ms: float, seed: int) -> list[dict[str, Any]]:
    """Every measured candidate of a search, with its prediction before any was measured."""
    rows = []
    for candidate in result.candidates:
        (latency,) = candidate.latencies
        predicted, measured = latency.predicted, latency.measured
        if measured:
            rows.append(
                {
                    "budget_ms": budget_ms,
                    "seed": seed,
                    "id": candidate.architecture.id,
                    "predicted_ms": round(predicted.latency_ms, 4),
                    "low_ms": round(predicted.low_ms, 4),
                    "high_ms": round(predicted.high_ms, 4),
                    "measured_ms": round(measured.latency_ms, 4),
                    "ci_pct": round(measured.ci_pct, 2),
                }
            )
    return rows


def summarise(rows: list[dict[str, Any]]) -> dict[str, float]:
    """Share inside, mean signed and absolute error of the predictions, mean half width."""
    values = {
        name: np.array([row[f"{name}_ms"] for row in rows])
        for name in ("predicted", "low", "high", "measured")
    }
    error = values["predicted"] / values["measured"] - 1
    inside = (values["low"] <= values["measured"]) & (values["measured"] <= values["high"])
    half = (values["high"] - values["low"]) / 2 / values["predicted"]
    return {
        "networks": len(rows),
        "inside": round(float(inside.mean()), 4),
        "mean_error": round(float(error.mean()), 5),
        "mean_absolute_error": round(float(np.abs(error).mean()), 5),
        "half_width": round(float(half.mean()), 5),
    }


def verdict(result: dict[str, float]) -> bool:
    return (
        result["inside"] >= MIN_INSIDE
        and abs(result["mean_error"]) <= MAX_BIAS
        and result["half_width"] <= MAX_HALF_WIDTH
    )


def figures(result: dict[str, float], sessions: int) -> dict[str, str]:
    """The numbers that the documentation shows."""
    return {
        "sessions": f"{sessions}",
        "measured networks": f"{result['networks']:.0f}",
        "inside their 90% intervals": f"{100 * result['inside']:.0f}%",
        "mean signed error": f"{100 * result['mean_error']:+.1f}%",
        "mean absolute error": f"{100 * result['mean_absolute_error']:.1f}%",
        "mean half width": f"{100 * result['half_width']:.1f}%",
    }


def show(sessions: list[dict[str, Any]], result: dict[str, float]) -> None:
    table = Table(title="Measured networks of fronts, and their 90% intervals")
    for name in ("session", "budget ms", "networks", "inside", "mean error", "half width"):
        table.add_column(name, justify="right")
    for number, session in enumerate(sessions, start=1):
        for budget_ms in dict.fromkeys(row["budget_ms"] for row in session["rows"]):
            part = summarise([row for row in session["rows"] if row["budget_ms"] == budget_ms])
            table.add_row(f"{number}, {session['date']}", f"{budget_ms:g}", *_cells(part))
    table.add_section()
    table.add_row("all", "", *_cells(result))
    Console().print(table)


def _cells(part: dict[str, float]) -> tuple[str, ...]:
    return (
        f"{part['networks']:.0f}",
        f"{100 * part['inside']:.0f}%",
        f"{100 * part['mean_error']:+.1f}%",
        f"{100 * part['half_width']:.1f}%",
    )


if __name__ == "__main__":
    sys.exit(main())
