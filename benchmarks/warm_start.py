"""A search that begins with the trials of an earlier one needs fewer evaluations of its own.

Both search the Once-for-All MobileNetV3 space, whose accuracy comes from a model (see
search_efficiency.py). The first search, with MACs as the cost, has evaluated some networks. The
second has the measured latency of a device as the cost, and begins

- cold;
- with the networks of the first as trials of its own, trained with the same recipe;
- with the networks of the first as a prior: their training was shorter, so their accuracies are
  lower, closer together and noisier.

The benchmark counts the second search's own evaluations until its front has the hypervolume that
the cold search of the same seed has after half of its evaluations, and after all of them.

Target: fewer than the cold search in the median, for either beginning, at both points. Exits 1
when missed.

    python benchmarks/warm_start.py --accuracy ofa_mbv3_imagenet.csv.gz --archs ofa_archs.csv.gz \\
        --latency ofa_latency.csv.gz --device 2080ti_1 [--seeds 16] \\
        [--quick] [--json OUT]
"""

from __future__ import annotations

import random
import statistics
import sys
from collections.abc import Sequence
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context
from pathlib import Path
from typing import Any

import optuna
from ofa import CostModel, OfaSpace, Subnet
from report import claim_of, exit_status, make_parser, origin_here, write_result
from rich.console import Console
from rich.table import Table
from search_efficiency import REFERENCE_TOP1, Files, models
from search_methods import Problem, latency_ratio_of, search_with

from nas.errors import UserError
from nas.search.sampler.hypervolume import hypervolume
from nas.search.sampler.observation import Observation
from nas.search.sampler.optuna_adapter import LatencyAwareSampler

ARMS = ("cold", "earlier trials", "earlier trials as a prior")
LOOKED_AT = (10, 20)
"""Evaluations after which hypervolumes are told, beside those that are aimed at."""

SHORTER, SHORTER_NOISE = 0.6, 0.1
"""The prior's trainings: ratio of their accuracy differences to those of full trainings, and their
noise in points."""


def run(seed: int, earlier: int, evaluations: int, files: Files) -> dict[str, list[float]]:
    """Hypervolume after each of the second search's evaluations, for each way to begin."""
    accuracy, cost = models(files)
    _, macs = models((files[0], None, None, None))
    first = Problem(accuracy, macs, seed)
    space = OfaSpace()
    known = search_with(first, earlier, sampler_of(macs, seed + 1000), space)
    noise = random.Random(seed)
    prior = [
        Observation(params, SHORTER * top1 + noise.gauss(0.0, SHORTER_NOISE), 1)
        for params, top1 in zip(known, first.top1, strict=True)
    ]
    subnets = [space.build_from(params) for params in known]
    points = list(zip(first.top1, cost.predict(subnets).tolist(), strict=True))
    curves = {}
    for arm in ARMS:
        second = Problem(accuracy, cost, seed)
        sampler = sampler_of(cost, seed, prior if arm == ARMS[2] else ())
        taken = list(zip(known, points, strict=True)) if arm == ARMS[1] else []
        search_with(second, evaluations, sampler, space, taken)
        reference = (REFERENCE_TOP1, cost.limit)
        both = [*(p for _, p in taken), *zip(second.top1, second.cost, strict=True)]
        counts = range(len(taken) + 1, len(both) + 1)
        curves[arm] = [hypervolume(*zip(*both[:n], strict=True), reference) for n in counts]
    return curves


def sampler_of(
    cost: CostModel, seed: int, prior: Sequence[Observation] = ()
) -> LatencyAwareSampler[Subnet]:
    return LatencyAwareSampler(OfaSpace(), latency_ratio_of(cost), seed, prior)


def needed(curves: dict[str, list[float]], count: int) -> dict[str, int | None]:
    """Evaluations of each until it covers what the cold one covers after so many."""
    aim = curves["cold"][count - 1]
    return {
        arm: next((n for n, value in enumerate(curve, start=1) if value >= aim), None)
        for arm, curve in curves.items()
    }


def summarise(runs: list[dict[str, list[float]]], count: int) -> dict[str, Any]:
    """Evaluations needed for what a cold search has after so many; never counts as all."""
    counts = [needed(curves, count) for curves in runs]
    most = len(runs[0]["cold"])
    median = {
        arm: statistics.median(most if c[arm] is None else c[arm] for c in counts) for arm in ARMS
    }
    return {"needed": counts, "median_needed": median}


def main() -> int:
    parser = make_parser(__doc__, quick="2 seeds")
    for name in ("accuracy", "archs", "latency"):
        parser.add_argument(f"--{name}", type=Path, required=True)
    parser.add_argument("--device", required=True, help="whose latency is the second cost")
    parser.add_argument("--earlier", type=int, default=50, help="evaluations of the first search")
    parser.add_argument("--evaluations", type=int, default=50, help="of the second")
    parser.add_argument("--seeds", type=int, default=16)
    parser.add_argument("--processes", type=int, default=2)
    args = parser.parse_args()
    if args.quick:
        args.seeds = 2
    if args.evaluations < max(LOOKED_AT):
        parser.error(f"--evaluations must be at least {max(LOOKED_AT)}")
    optuna.logging.set_verbosity(optuna.logging.ERROR)
    files = (args.accuracy, args.archs, args.latency, args.device)
    # Spawned: the boosted trees' OpenMP, used here before, hangs in forked processes.
    with ProcessPoolExecutor(args.processes, get_context("spawn")) as pool:
        jobs = [
            pool.submit(run, seed, args.earlier, args.evaluations, files)
            for seed in range(args.seeds)
        ]
        runs = [job.result() for job in jobs]
    aims = (args.evaluations // 2, args.evaluations)
    summaries = {str(count): summarise(runs, count) for count in aims}
    result: dict[str, Any] = {
        "device_of_the_cost": args.device,
        "earlier": args.earlier,
        "evaluations": args.evaluations,
        "as_cold_after": summaries,
        "median_hypervolume": {
            arm: {
                str(count): round(statistics.median(r[arm][count - 1] for r in runs), 2)
                for count in sorted({*LOOKED_AT, *aims})
            }
            for arm in ARMS
        },
    }
    show(result)
    met = None if args.quick else verdict(result)
    write_result(
        args.json,
        claim=claim_of(__doc__),
        met=met,
        origin=origin_here("optuna", "scikit-learn"),
        figures=figures(result),
        details=result,
    )
    return exit_status(met)


def verdict(result: dict[str, Any]) -> bool:
    return all(
        found["median_needed"][arm] < found["median_needed"]["cold"]
        for found in result["as_cold_after"].values()
        for arm in ARMS[1:]
    )


def figures(result: dict[str, Any]) -> dict[str, str]:
    """The numbers that the documentation shows."""
    needed = {
        f"evaluations to the cold search's front after {count}, with {arm}": f"{median:g}"
        for count, found in result["as_cold_after"].items()
        for arm, median in found["median_needed"].items()
        if arm in ARMS[1:]
    }
    areas = {
        f"hypervolume after {', '.join(medians)} evaluations, {arm}": ", ".join(
            f"{value:.2f}" for value in medians.values()
        )
        for arm, medians in result["median_hypervolume"].items()
    }
    return needed | areas


def show(result: dict[str, Any]) -> None:
    table = Table(title="A second search: hypervolume, and evaluations to the cold one's front")
    table.add_column("begins")
    for count in result["median_hypervolume"]["cold"]:
        table.add_column(f"after {count}", justify="right")
    for count in result["as_cold_after"]:
        table.add_column(f"as cold after {count}", justify="right")
    for arm in ARMS:
        areas = [f"{area:.2f}" for area in result["median_hypervolume"][arm].values()]
        cells = []
        for found in result["as_cold_after"].values():
            each = " ".join("-" if c[arm] is None else str(c[arm]) for c in found["needed"])
            cells.append(f"{found['median_needed'][arm]:g} ({each})")
        table.add_row(arm, *areas, *cells)
    Console(width=120).print(table)


if __name__ == "__main__":
    try:
        sys.exit(main())
    except UserError as error:
        sys.exit(f"{Path(sys.argv[0]).name}: {error}")
