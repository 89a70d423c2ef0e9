"""The latency-aware sampler reaches a front with fewer evaluations than the samplers of others.

It searches the Once-for-All MobileNetV3 space. Accuracy comes from a model fitted to real ImageNet
evaluations, plus the noise of those evaluations. Cost is MACs, or with --archs, --latency and
--device the latency of that device, from a predictor fitted to the measurements in the files.
Compared is the hypervolume of all evaluated networks against (70%, 700 M MACs), or (70%, the
largest network's latency).

Target: the median of ours passes 3784 (1e6 %*MACs, LINAS's recorded value after 500 evaluations)
within 100 evaluations, and at 50, 100 and 200 evaluations is ahead of every other's median.
Exits 1 when missed.

    pip install -e '.[benchmarks]'
    python benchmarks/search_efficiency.py --accuracy ofa_mbv3_imagenet.csv.gz \\
        [--evaluations 200] [--seeds 10] [--methods ours,random] [--processes 2] \\
        [--archs ofa_archs.csv.gz --latency ofa_latency.csv.gz --device COLUMN] \\
        [--quick] [--json OUT]
"""

from __future__ import annotations

import argparse
import statistics
import sys
import time
from concurrent.futures import ProcessPoolExecutor
from functools import lru_cache
from multiprocessing import get_context
from pathlib import Path
from typing import Any

from ofa import AccuracyModel, CostModel, fit_accuracy, fit_latency, fit_macs, read_evaluations
from report import claim_of, exit_status, make_parser, origin_here, write_result
from rich.console import Console
from rich.table import Table
from search_methods import METHODS, Problem

from nas.errors import ConfigError, UserError, unknown
from nas.search.sampler.hypervolume import hypervolume

REFERENCE_TOP1 = 70.0
LINAS_HYPERVOLUME = 3784.0
TARGET_EVALUATIONS = 100
CHECKPOINTS = (50, 100, 200)

Files = tuple[Path, Path | None, Path | None, str | None]


@lru_cache(maxsize=2)
def models(files: Files) -> tuple[AccuracyModel, CostModel]:
    """Accuracy and cost by --accuracy, --archs, --latency and --device."""
    accuracy_file, archs, latency, device = files
    subnets, top1, macs = read_evaluations(accuracy_file)
    macs_model = fit_macs(subnets, macs)
    accuracy = fit_accuracy(subnets, top1, macs_model)
    if archs is None or latency is None or device is None:
        return accuracy, macs_model
    return accuracy, fit_latency(archs, latency, device)


def run(method: str, seed: int, evaluations: int, files: Files) -> tuple[list[float], float]:
    """Hypervolume after each evaluation, and the seconds that choosing and evaluating took."""
    accuracy, cost = models(files)
    problem = Problem(accuracy, cost, seed)
    start = time.perf_counter()
    METHODS[method](problem, evaluations, seed)
    seconds = time.perf_counter() - start
    reference = (REFERENCE_TOP1, cost.limit)
    counts = range(1, evaluations + 1)
    return [hypervolume(problem.top1[:n], problem.cost[:n], reference) for n in counts], seconds


def summarise(curves: list[list[float]], seconds: list[float], target: float) -> dict[str, Any]:
    """Medians over seeds; a run that never passes the target counts as infinitely long."""
    evaluations = len(curves[0])
    passed = [
        next((n for n, value in enumerate(curve, start=1) if value > target), float("inf"))
        for curve in curves
    ]
    median = statistics.median(passed)
    checkpoints = [n for n in CHECKPOINTS if n <= evaluations]
    return {
        "median_hypervolume": {
            str(n): round(statistics.median(curve[n - 1] for curve in curves), 1)
            for n in checkpoints
        },
        "median_evaluations_to_target": median if median <= evaluations else None,
        "hypervolume": {str(n): [round(curve[n - 1], 1) for curve in curves] for n in checkpoints},
        "evaluations_to_target": [n if n <= evaluations else None for n in passed],
        "mean_seconds": round(statistics.mean(seconds), 1),
    }


def missed(results: dict[str, dict[str, Any]], macs: bool) -> list[str]:
    """The parts of the target that were missed, one line for each."""
    own = results["ours"]
    lines = []
    needed = own["median_evaluations_to_target"]
    if macs and (needed is None or needed > TARGET_EVALUATIONS):
        lines.append(f"ours passes {LINAS_HYPERVOLUME:g} after {needed} evaluations")
    for name, result in results.items():
        for count, value in result["median_hypervolume"].items():
            if not name.startswith("ours") and value >= own["median_hypervolume"][count]:
                lines.append(f"{name} is not behind at {count} evaluations")
    return lines


def show(results: dict[str, dict[str, Any]], console: Console) -> None:
    table = Table(title="Hypervolume, median over seeds (lowest to highest)")
    table.add_column("method")
    counts = list(next(iter(results.values()))["median_hypervolume"])
    for name in (*(f"{count} evaluations" for count in counts), "to target", "s a run"):
        table.add_column(name, justify="right")
    for name, result in results.items():
        cells = [
            f"{result['median_hypervolume'][count]:.0f} "
            f"({min(result['hypervolume'][count]):.0f}-{max(result['hypervolume'][count]):.0f})"
            for count in counts
        ]
        needed = result["median_evaluations_to_target"]
        reached = "never" if needed is None else f"{needed:g}"
        table.add_row(name, *cells, reached, f"{result['mean_seconds']:.0f}")
    console.print(table)


def parse() -> argparse.Namespace:
    parser = make_parser(__doc__, quick="50 evaluations of ours and random, 2 seeds")
    parser.add_argument("--accuracy", type=Path, required=True, help="real evaluations")
    parser.add_argument("--archs", type=Path, help="networks whose latency was measured")
    parser.add_argument("--latency", type=Path, help="their latencies, a column a device")
    parser.add_argument("--device", help="which column is the cost")
    parser.add_argument("--evaluations", type=int, default=200)
    parser.add_argument("--seeds", type=int, default=10, help="runs of each method")
    parser.add_argument("--methods", help="comma-separated; all by default")
    parser.add_argument("--processes", type=int, default=2)
    args = parser.parse_args()
    if args.quick:
        args.evaluations, args.seeds, args.methods = 50, 2, "ours,random"
    if args.evaluations < min(CHECKPOINTS) or args.seeds < 1 or args.processes < 1:
        parser.error("--evaluations must be at least 50, --seeds and --processes at least 1")
    if len({option is None for option in (args.archs, args.latency, args.device)}) > 1:
        parser.error("--archs, --latency and --device belong together")
    args.methods = args.methods.split(",") if args.methods else list(METHODS)
    return args


def main() -> int:
    args = parse()
    console = Console()
    for name in args.methods:
        if name not in METHODS:
            raise ConfigError(unknown("method", name, METHODS))
    files = (args.accuracy, args.archs, args.latency, args.device)
    accuracy, cost = models(files)
    console.print(
        f"accuracy: {accuracy.evaluations} real evaluations; left out in five parts, the model "
        f"ranks with tau {accuracy.tau:.3f} and is off by {accuracy.mean_error:.3f} points"
    )
    console.print(f"cost: {cost.unit}, off by {100 * cost.mean_error:.2g}%; limit {cost.limit:.4g}")
    # Seeds in turn, so that a slow spell of the machine does not hit one method alone.
    jobs = [(name, seed) for seed in range(args.seeds) for name in args.methods]
    # Spawned: the boosted trees' OpenMP, used here before, hangs in forked processes.
    with ProcessPoolExecutor(args.processes, get_context("spawn")) as pool:
        futures = [pool.submit(run, name, seed, args.evaluations, files) for name, seed in jobs]
        found = dict(zip(jobs, (future.result() for future in futures), strict=True))
    macs = args.device is None
    target = LINAS_HYPERVOLUME if macs else float("inf")
    results = {}
    for name in args.methods:
        runs = [found[name, seed] for seed in range(args.seeds)]
        results[name] = summarise([r[0] for r in runs], [r[1] for r in runs], target)
    show(results, console)
    lines = missed(results, macs) if "ours" in results else []
    for line in lines:
        console.print(f"missed: {line}")
    met = None if args.quick or "ours" not in results else not lines
    details = {"run": about(args, accuracy, cost), "methods": results}
    write_result(
        args.json,
        claim=claim_of(__doc__),
        met=met,
        origin=origin_here("optuna", "pymoo", "syne-tune", "scikit-learn"),
        figures=figures(details),
        details=details,
    )
    return exit_status(met)


def figures(details: dict[str, Any]) -> dict[str, str]:
    """The numbers that the documentation shows: median hypervolume of every method."""
    shown = {}
    for name, result in details["methods"].items():
        medians = result["median_hypervolume"]
        counts = ", ".join(medians)
        areas = ", ".join(f"{value:g}" for value in medians.values())
        shown[f"hypervolume after {counts} evaluations, {name}"] = areas
    needed = details["methods"].get("ours", {}).get("median_evaluations_to_target")
    if needed is not None:
        shown[f"evaluations until ours passes {LINAS_HYPERVOLUME:g}"] = f"{needed:g}"
    return shown


def about(args: argparse.Namespace, accuracy: AccuracyModel, cost: CostModel) -> dict[str, Any]:
    return {
        "evaluations": args.evaluations,
        "seeds": args.seeds,
        "device": args.device,
        "cost": {"unit": cost.unit, "relative_error": cost.mean_error, "limit": cost.limit},
        "accuracy": {
            "real_evaluations": accuracy.evaluations,
            "tau_left_out": round(accuracy.tau, 4),
            "mean_error_left_out_points": round(accuracy.mean_error, 4),
        },
    }


if __name__ == "__main__":
    try:
        sys.exit(main())
    except UserError as error:
        sys.exit(f"{Path(sys.argv[0]).name}: {error}")
