"""The latency-aware sampler takes under a second for a suggestion after 1,000 trials.

Target: less than 1 s for a suggestion at 1,000 trials of the Next-ViT space, median. Exits 1 when
missed.

    python benchmarks/sampler_overhead.py [--trials 100,300,1000] [--suggestions 7] [--quick] \\
        [--json OUT]

It is compared with Optuna's TPE, with the settings of a search; the two take turns. Accuracies are
made up (they saturate with the parameters, with noise), since the time of a suggestion does not
depend on where they come from.
"""

from __future__ import annotations

import random
import statistics
import sys
import time
from typing import Any

import optuna
from report import claim_of, exit_status, make_parser, origin_here, write_result
from rich.console import Console
from rich.table import Table

import nas
from nas.latency.table.catalog import load_table
from nas.models.cost import network_cost
from nas.search.limits import Budget, DeviceBudget
from nas.search.sampler.samplers import make_sampler
from nas.space.architecture import Architecture
from nas.space.parameter_space import picked_from
from nas.space.workload import IMAGENET

TARGET_S = 1.0
AT_TRIALS = 1000
BUDGET_MS = 12.0
"""On the NVIDIA T4, whose published latencies come with the project."""

SAMPLERS = ("latency-aware", "tpe")


def make_budget() -> Budget:
    predictor = nas.LatencyPredictor.fit(load_table("tensorrt"))
    device = DeviceBudget(predictor, BUDGET_MS)
    return Budget(nas.load_space("nextvit"), (device,), IMAGENET)


def made_up_accuracy(architecture: Architecture, rng: random.Random) -> float:
    params = network_cost(architecture.blocks()).params / 1e6
    return 0.6 + 0.25 * params / (params + 10) + rng.gauss(0, 0.01)


def filled_study(budget: Budget, count: int) -> optuna.Study:
    """A study of random trials within the budget."""
    study = optuna.create_study(directions=["maximize", "minimize"])
    rng, space = random.Random(0), budget.space
    while len(study.get_trials(deepcopy=False)) < count:
        found = space.sample(rng, rng.uniform(-4, 2))
        if not budget.fits(found):
            continue
        selection = space.select(picked_from(space.params(found)))
        choices = optuna.distributions.CategoricalDistribution
        study.add_trial(
            optuna.trial.create_trial(
                params=selection.params,
                distributions={
                    name: choices(offered) for name, offered in selection.offered.items()
                },
                values=[made_up_accuracy(found, rng), budget.latencies(found)[0].latency_ms],
            )
        )
    return study


def main() -> int:
    parser = make_parser(__doc__, quick="100 trials, 3 suggestions")
    parser.add_argument("--trials", default="100,300,1000", help="comma-separated")
    parser.add_argument("--suggestions", type=int, default=7, help="of each sampler at each")
    args = parser.parse_args()
    if args.quick:
        args.trials, args.suggestions = "100", 3
    optuna.logging.set_verbosity(optuna.logging.ERROR)
    budget, rng = make_budget(), random.Random(1)
    rows = []
    for count in (int(text) for text in args.trials.split(",")):
        studies = {name: filled_study(budget, count) for name in SAMPLERS}
        for name, study in studies.items():
            study.sampler = make_sampler(name, 0, budget.space, budget.latency_ratio)
        seconds: dict[str, list[float]] = {name: [] for name in SAMPLERS}
        for _ in range(args.suggestions):
            for name, study in studies.items():
                start = time.perf_counter()
                trial = study.ask()
                architecture = budget.space.suggest(trial)
                seconds[name].append(time.perf_counter() - start)
                accuracy = made_up_accuracy(architecture, rng)
                study.tell(trial, [accuracy, budget.latencies(architecture)[0].latency_ms])
        rows.append({"trials": count, "seconds": seconds})
    show(rows)
    details = {"target_s": TARGET_S, "rows": rows}
    met = None if args.quick else verdict(rows)
    write_result(
        args.json,
        claim=claim_of(__doc__),
        met=met,
        origin=origin_here("optuna", "scipy"),
        figures=figures(details),
        details=details,
    )
    return exit_status(met)


def verdict(rows: list[dict[str, Any]]) -> bool:
    medians = {row["trials"]: statistics.median(row["seconds"]["latency-aware"]) for row in rows}
    return all(value < TARGET_S for count, value in medians.items() if count <= AT_TRIALS)


def figures(details: dict[str, Any]) -> dict[str, str]:
    """The numbers that the documentation shows."""
    return {
        f"{name}, at {row['trials']:,} trials": f"{statistics.median(values):.3f} s"
        for row in details["rows"]
        for name, values in row["seconds"].items()
    }


def show(rows: list[dict]) -> None:
    table = Table(title="Seconds a suggestion: median (lowest to highest)")
    for name in ("trials", *SAMPLERS):
        table.add_column(name, justify="right")
    for row in rows:
        cells = [
            f"{statistics.median(values):.3f} ({min(values):.3f}-{max(values):.3f})"
            for values in row["seconds"].values()
        ]
        table.add_row(str(row["trials"]), *cells)
    Console().print(table)


if __name__ == "__main__":
    sys.exit(main())
