"""The latency predictor scores 200,000 architectures a second, and starts in half a second.

Target: on one core at least 200,000 architectures a second in a batch and 20,000 a second one by
one, both from `Architecture` objects of the space and by a predictor that has scored nothing yet;
loading a table and fitting its predictor in a new process under 0.5 s, without importing torch.
Exits 1 when missed.

    python benchmarks/predictor_speed.py [--architectures 200000] [--repeats 5] [--quick] \\
        [--json OUT]

It uses the first measured table that covers the default space. Two other ways to score run in turn
with it: a plain sum over `Architecture.blocks`, and architectures that were just read from JSON.
Architectures of a space share equal stages, those read from JSON do not.
"""

from __future__ import annotations

import random
import statistics
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from typing import Any

from report import claim_of, exit_status, make_parser, origin_here, write_result
from rich.console import Console
from rich.table import Table

from nas.errors import TableError
from nas.latency.predict.predictor import LatencyPredictor
from nas.latency.table.catalog import list_tables
from nas.latency.table.files import read_table
from nas.latency.table.table import LatencyTable
from nas.space.architecture import Architecture
from nas.space.space_files import load_space

MIN_BATCH_PER_S, MIN_SINGLE_PER_S, MAX_START_S = 200_000, 20_000, 0.5

QUICK = (20_000, 2)
"""Architectures and repeats."""

START = """
import sys, time
start = time.perf_counter()
from pathlib import Path
from nas.latency.predict.predictor import LatencyPredictor
from nas.latency.table.files import read_table
LatencyPredictor.fit(read_table(Path(sys.argv[1])))
print(time.perf_counter() - start, "torch" in sys.modules)
"""


def complete_table() -> LatencyTable:
    """A measured table with every block of the default space."""
    blocks = load_space("nextvit").blocks()
    for path in list_tables():
        table = read_table(path)
        if table.meta.kind == "measured" and not table.missing(blocks):
            return table
    raise TableError(
        "no measured table covers the default space; measure one: "
        "python run_search.py tables measure --target onnxruntime"
    )


def per_second(score: Callable[[], object], count: int) -> float:
    """How many are scored a second."""
    start = time.perf_counter()
    score()
    return count / (time.perf_counter() - start)


def one_by_one(predictor: LatencyPredictor, architectures: Sequence[Architecture]) -> None:
    """Predict one candidate after the other."""
    for architecture in architectures:
        predictor.predict([architecture])


def start_up(table: LatencyTable) -> tuple[float, bool]:
    """Seconds to load and fit in a new process, imports included, and whether torch came along."""
    command = [sys.executable, "-c", START, str(table.path)]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    seconds, torch = done.stdout.split()
    return float(seconds), torch == "True"


def main() -> int:
    parser = make_parser(__doc__, quick=f"{QUICK[0]:,} architectures, {QUICK[1]} repeats")
    parser.add_argument("--architectures", type=int, default=200_000)
    parser.add_argument("--repeats", type=int, default=5)
    arguments = parser.parse_args()
    count, repeats = QUICK if arguments.quick else (arguments.architectures, arguments.repeats)

    table, space, rng = complete_table(), load_space("nextvit"), random.Random(0)
    architectures = [space.sample(rng) for _ in range(count)]
    few = architectures[: max(1, len(architectures) // 20)]
    rows = ("batch", "one by one", "batch, just read from JSON", "sum over blocks")
    rates: dict[str, list[float]] = {row: [] for row in rows}
    starts = []
    for _ in range(repeats):
        predictor = LatencyPredictor.fit(table)  # afresh: nothing was scored before
        rates["batch"].append(
            per_second(lambda p=predictor: p.predict(architectures), len(architectures))
        )
        predictor = LatencyPredictor.fit(table)
        rates["one by one"].append(
            per_second(lambda p=predictor: one_by_one(p, architectures), len(architectures))
        )
        read = [Architecture.from_json(architecture.to_json()) for architecture in few]
        predictor = LatencyPredictor.fit(table)
        rates["batch, just read from JSON"].append(
            per_second(lambda p=predictor, r=read: p.predict(r), len(read))
        )
        rates["sum over blocks"].append(
            per_second(lambda p=predictor: [p.predict_blocks(a.blocks()) for a in few], len(few))
        )
        starts.append(start_up(table))

    shown = Table("scoring", "median a second", "range")
    for name, values in rates.items():
        span = f"{min(values):,.0f} to {max(values):,.0f}"
        shown.add_row(name, f"{statistics.median(values):,.0f}", span)
    console = Console()
    console.print(shown)
    start_s = statistics.median(seconds for seconds, _ in starts)
    torch = any(loaded for _, loaded in starts)
    console.print(
        f"start: {start_s:.2f} s (range {min(starts)[0]:.2f} to {max(starts)[0]:.2f}), torch "
        f"{'is' if torch else 'is not'} imported; {len(architectures):,} architectures, "
        f"{table.name}"
    )
    details = {
        "table": table.name,
        "architectures": len(architectures),
        "per_s": {name: [round(value) for value in values] for name, values in rates.items()},
        "start_s": [round(seconds, 3) for seconds, _ in starts],
        "torch_imported": torch,
    }
    met = None if arguments.quick else verdict(details)
    write_result(
        arguments.json,
        claim=claim_of(__doc__),
        met=met,
        origin=origin_here("numpy"),
        figures=figures(details),
        details=details,
    )
    return exit_status(met)


def verdict(details: dict[str, Any]) -> bool:
    medians = {name: statistics.median(values) for name, values in details["per_s"].items()}
    return bool(
        medians["batch"] >= MIN_BATCH_PER_S
        and medians["one by one"] >= MIN_SINGLE_PER_S
        and statistics.median(details["start_s"]) < MAX_START_S
        and not details["torch_imported"]
    )


def figures(details: dict[str, Any]) -> dict[str, str]:
    """The numbers that the documentation shows."""
    rates = details["per_s"].items()
    return {
        **{f"a second, {name}": f"{statistics.median(values):,.0f}" for name, values in rates},
        "start": f"{statistics.median(details['start_s']):.2f} s",
        "torch is imported": "yes" if details["torch_imported"] else "no",
    }


if __name__ == "__main__":
    sys.exit(main())
