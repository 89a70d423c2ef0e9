"""Limiting how long OpenMP threads spin makes training three times as fast on a shared machine.

A worker's training steps are timed with its limit on spinning
(`nas.accuracy.worker.SPINS`) and with OpenMP's default, in turns: first alone, then beside
as many busy processes as there are cores. The figures are the seconds a step, median of the turns,
and their ratio with its range.

Target: at most 10% slower alone, and at least three times as fast on a shared machine. Exits 1 when
missed. It takes about five minutes.

    python benchmarks/shared_machine.py [--turns 5] [--quick] [--json OUT]
"""

from __future__ import annotations

import argparse
import multiprocessing
import os
import random
import statistics
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from report import claim_of, exit_status, make_parser, origin_here, write_result
from rich.console import Console

import nas
from nas.measurement.device import this_cpu

MOST_ALONE = 1.1
LEAST_SHARED = 3.0
STEPS = 10
WARM_UP = 3
LOG_SIZE = -3.0
"""Logarithm of the size of the sampled network, which takes about 7 ms on two cores."""

OTHERS = {"limited": {}, "OpenMP's own": {"GOMP_SPINCOUNT": "300000"}}


def main() -> int:
    parser = make_parser(__doc__, quick="one turn")
    parser.add_argument("--turns", type=int, default=5)
    parser.add_argument("--child", action="store_true", help=argparse.SUPPRESS)
    args = parser.parse_args()
    if args.child:
        print(seconds_a_step())
        return 0
    places: dict[str, Any] = {}
    turns = 1 if args.quick else args.turns
    for place, busy in (("alone", 0), ("shared", this_cpu().threads)):
        with busy_processes(busy):
            seconds = [{name: in_child(env) for name, env in OTHERS.items()} for _ in range(turns)]
        places[place] = summarise(seconds)
        show(place, places[place])
    met = None if args.quick else verdict(places)
    write_result(
        args.json,
        claim=claim_of(__doc__),
        met=met,
        origin=origin_here("torch"),
        figures=figures(places),
        details=places,
    )
    return exit_status(met)


def verdict(places: dict[str, Any]) -> bool:
    alone, shared = places["alone"]["ratio"], places["shared"]["ratio"]
    return bool(alone <= MOST_ALONE and 1 / shared >= LEAST_SHARED)


def figures(places: dict[str, Any]) -> dict[str, str]:
    """The numbers that the documentation shows."""
    return {
        f"seconds a step {place}, with / without the limit": " / ".join(
            f"{seconds:.3f}" for seconds in found["seconds_a_step"].values()
        )
        for place, found in places.items()
    }


def in_child(environment: dict[str, str]) -> float:
    """Seconds a step in a fresh process: OpenMP reads its settings once."""
    command = [sys.executable, __file__, "--child"]
    done = subprocess.run(
        command, env=os.environ | environment, check=True, capture_output=True, text=True
    )
    return float(done.stdout)


def seconds_a_step() -> float:
    """Seconds of a training step in a worker of a search."""
    from nas.accuracy.worker import use_threads

    use_threads(this_cpu().threads)
    from nas.accuracy.data.dataset import load_data
    from nas.accuracy.training import ProxyTraining
    from nas.config import ProxyConfig

    architecture = nas.load_space("nextvit").sample(random.Random(5), LOG_SIZE)
    config = ProxyConfig()
    training = ProxyTraining(architecture, load_data(config), config, 0)
    training.run(WARM_UP)
    before = training.train_s
    training.run(WARM_UP + STEPS)
    return (training.train_s - before) / STEPS


@contextmanager
def busy_processes(count: int) -> Iterator[None]:
    context = multiprocessing.get_context("spawn")
    processes = [context.Process(target=_busy, daemon=True) for _ in range(count)]
    for process in processes:
        process.start()
    try:
        yield
    finally:
        for process in processes:
            process.terminate()


def _busy() -> None:
    while True:
        pass


def summarise(turns: list[dict[str, float]]) -> dict[str, Any]:
    """Medians, and the ratio of the first to the second with its range over the turns."""
    ours, default = OTHERS
    ratios = [turn[ours] / turn[default] for turn in turns]
    return {
        "seconds_a_step": {n: round(statistics.median(t[n] for t in turns), 4) for n in OTHERS},
        "ratio": round(statistics.median(ratios), 4),
        "lowest": round(min(ratios), 4),
        "highest": round(max(ratios), 4),
    }


def show(place: str, found: dict[str, Any]) -> None:
    seconds = ", ".join(f"{name} {s:.3f} s" for name, s in found["seconds_a_step"].items())
    Console().print(
        f"{place}: {seconds} a step; ratio {found['ratio']:.3f} "
        f"({found['lowest']:.3f} to {found['highest']:.3f})"
    )


if __name__ == "__main__":
    sys.exit(main())
