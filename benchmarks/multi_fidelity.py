"""Training in two rungs reaches the same front as training in full, with half the images.

For every seed two searches run, on the default space and task with this machine's ONNX Runtime
table: one trains all candidates in full, the other in two rungs. Each front is scored twice: by the
validation accuracy that the search saw, and by test accuracy after its networks were trained again,
in full, in one part and with another seed. Both scores include the size bonus
(`nas.accuracy.size_bonus`). Hypervolume is spanned by the score above chance and the share of the
budget. Nothing is measured, because a search whose best network is over the budget trains more.

Target: at most half the images, and a mean hypervolume (trained again, test) that is not below that
of training in full by more than the standard deviation of its seeds. Exits 1 when missed.

    python benchmarks/multi_fidelity.py [--budget-ms 8] [--seeds 3] [--quick] [--json OUT]
"""

from __future__ import annotations

import statistics
import sys
import tempfile
from concurrent.futures import ProcessPoolExecutor
from itertools import repeat
from pathlib import Path
from typing import Any

import torch
from report import claim_of, exit_status, make_parser, origin_here, write_result
from rich.console import Console
from rich.table import Table

import nas
from nas.accuracy.data.dataset import load_data
from nas.accuracy.fidelity import rung_images
from nas.accuracy.training import ProxyTraining, evaluate
from nas.config import ProxyConfig, SearchConfig
from nas.results.values import SEARCHED, Candidate, SearchResult
from nas.search.callbacks import Listener, Trained
from nas.search.sampler.hypervolume import hypervolume
from nas.space.architecture import Architecture

ARMS = {"in full": {"rungs": 1, "trials": 24}, "in rungs": {"rungs": 2, "trials": 18}}
"""Promotions do not wait for the whole rung, so more than a third of the candidates are promoted.
With 18 candidates that is less than half of the images."""

WORKERS = 2
CHANCE = 0.1
AGAIN = 1_000
"""Added to a search's seed for training its front again."""

MOST_IMAGES = 0.5
POINTS = (0.125, 0.25, 0.5, 1.0)
"""Shares of the longer search's training time at which the fronts are compared."""


def main() -> int:
    parser = make_parser(__doc__, quick="a few short trainings, one seed")
    parser.add_argument("--budget-ms", type=float, default=8.0)
    parser.add_argument("--seeds", type=int, default=3)
    args = parser.parse_args()
    proxy = ProxyConfig(train_images=900) if args.quick else ProxyConfig()
    seeds = range(1 if args.quick else args.seeds)
    runs = []
    for seed in seeds:
        for arm, options in ARMS.items():
            trials = 6 if args.quick else options["trials"]
            config = SearchConfig(
                targets=[{"target": "onnxruntime", "budget_ms": args.budget_ms}],
                proxy=proxy,
                trials=trials,
                rungs=options["rungs"],
                workers=WORKERS,
                finalists=0,
                seed=seed,
            )
            runs.append({"arm": arm, "seed": seed} | run(config))
            print(f"{arm}, seed {seed}: {runs[-1]['images']:,} images", file=sys.stderr)
    result = {
        "budget_ms": args.budget_ms,
        "proxy": proxy.model_dump(),
        "arms": ARMS,
        "target": {"images": MOST_IMAGES},
        **summarise(runs),
        "runs": runs,
    }
    show(result)
    met = None if args.quick else verdict(result)
    write_result(
        args.json,
        claim=claim_of(__doc__),
        met=met,
        origin=origin_here("torch", "onnxruntime", "optuna"),
        figures=figures(result),
        details=result,
    )
    return exit_status(met)


def verdict(result: dict[str, Any]) -> bool:
    full, rungs = ([run for run in result["runs"] if run["arm"] == arm] for arm in ARMS)
    images = sum(run["images"] for run in rungs) / sum(run["images"] for run in full)
    again = [run["hypervolume_again"] for run in full]
    lost = statistics.fmean(again) - statistics.fmean(run["hypervolume_again"] for run in rungs)
    spread = statistics.stdev(again) if len(again) > 1 else 0.0
    return images <= MOST_IMAGES and lost <= spread


def figures(result: dict[str, Any]) -> dict[str, str]:
    """The numbers that the documentation shows."""
    mean = result["mean"]
    seconds = mean["in rungs"]["train_s"] / mean["in full"]["train_s"]
    return {
        "images in rungs over images in full": f"{result['images_share']:.2f}",
        "seconds in rungs over seconds in full": f"{seconds:.2f}",
        **{
            f"hypervolume trained again, {arm}": f"{mean[arm]['hypervolume_again']:.4f}"
            for arm in ARMS
        },
        "standard deviation of the seeds": f"{result['spread_of_seeds']:.4f}",
    }


def run(config: SearchConfig) -> dict[str, Any]:
    """One search: what it cost, its front by both judgements, and how the front grew."""
    curve: list[dict[str, float]] = []
    full: list[Candidate] = []
    budget_ms = config.targets[0].budget_ms
    images_at = rung_images(config.proxy.train_images, config.rungs)

    def trained(event: Trained) -> None:
        last = curve[-1] if curve else {"images": 0, "train_s": 0.0}
        preset = event.candidate is not None and event.candidate.origin != SEARCHED
        before = images_at[event.rung - 2] if event.rung > 1 and not preset else 0
        if event.candidate is not None and event.rung == config.rungs:
            full.append(event.candidate)
        points = [(c.score, c.latencies[0].predicted.latency_ms / budget_ms) for c in full]
        curve.append(
            {
                "images": last["images"] + images_at[event.rung - 1] - before,
                "train_s": round(last["train_s"] + event.seconds, 2),
                "hypervolume": round(area(points), 5),
            }
        )

    listener = Listener(trained=trained, stage=end_before_measuring)
    with tempfile.TemporaryDirectory() as folder:
        result = nas.search(config, Path(folder) / "run", listener=listener)
    return {
        "images": curve[-1]["images"],
        "train_s": curve[-1]["train_s"],
        "begun": len(result.candidates) + len(result.partly_trained),
        "full": len(result.candidates),
        "front": len(result.devices[0].front),
        "hypervolume": round(area(points_of(result)), 5),
        "hypervolume_again": round(area(trained_again(result)), 5),
        "recommended": result.recommended.architecture.id if result.recommended else None,
        "curve": curve,
    }


def end_before_measuring(stage: str) -> None:
    """Leave a search as Ctrl-C does."""
    if stage == "verifying":
        raise KeyboardInterrupt


def points_of(result: SearchResult) -> list[tuple[float, float]]:
    """Score and latency ratio of the front, as the search saw them."""
    (device,) = result.devices
    return [(c.score, latency_ratio(c, result)) for c in device.front]


def latency_ratio(candidate: Candidate, result: SearchResult) -> float:
    """Latency over the budget, on the search's one device."""
    (device,) = result.devices
    return device.latency(candidate).latency_ms / device.target.budget_ms


def trained_again(result: SearchResult) -> list[tuple[float, float]]:
    """Scores by test accuracy, trained in full with another seed, and latency ratios: the front."""
    config, (device,) = result.config, result.devices
    networks = [c.architecture.to_json() for c in device.front]
    with ProcessPoolExecutor(WORKERS) as pool:
        accuracies = list(pool.map(test_accuracy, networks, repeat(config)))
    return [
        (accuracy + c.bonus, latency_ratio(c, result))
        for accuracy, c in zip(accuracies, device.front, strict=True)
    ]


def test_accuracy(network: dict[str, Any], config: SearchConfig) -> float:
    """Test accuracy of a network trained in full without rungs, in a process of one thread."""
    torch.set_num_threads(1)
    data = load_data(config.proxy)
    architecture = Architecture.from_json(network)
    training = ProxyTraining(architecture, data, config.proxy, config.seed + AGAIN)
    training.run()
    return evaluate(training.average, data.test_images, data.test_labels)


def area(points: list[tuple[float, float]]) -> float:
    """Hypervolume of scores and latency ratios above chance, within the budget."""
    return hypervolume([a for a, _ in points], [x for _, x in points], (CHANCE, 1.0))


def summarise(runs: list[dict[str, Any]]) -> dict[str, Any]:
    """Means over the seeds, and whether the target is met."""
    full, rungs = ([r for r in runs if r["arm"] == arm] for arm in ARMS)

    def mean(kind: list[dict[str, Any]], what: str) -> float:
        return statistics.fmean(r[what] for r in kind)

    names = ("images", "train_s", "hypervolume", "hypervolume_again")
    means = {
        arm: {name: round(mean(kind, name), 5) for name in names}
        for arm, kind in zip(ARMS, (full, rungs), strict=True)
    }
    share = mean(rungs, "images") / mean(full, "images")
    again = [r["hypervolume_again"] for r in full]
    spread = statistics.stdev(again) if len(again) > 1 else 0.0
    return {
        "mean": means,
        "images_share": round(share, 3),
        "spread_of_seeds": round(spread, 5),
    }


def show(result: dict[str, Any]) -> None:
    console = Console(width=110)
    table = Table(title=f"Searches within {result['budget_ms']:g} ms")
    table.add_column("trained")
    names = ("seed", "begun", "in full", "images", "training s", "hypervolume", "trained again")
    for name in names:
        table.add_column(name, justify="right")
    for r in result["runs"]:
        numbers = (r["seed"], r["begun"], r["full"], f"{r['images']:,}", f"{r['train_s']:.0f}")
        areas = (f"{r['hypervolume']:.4f}", f"{r['hypervolume_again']:.4f}")
        table.add_row(r["arm"], *map(str, numbers), *areas)
    console.print(table)
    table = Table(title="Mean hypervolume over training time")
    table.add_column("trained")
    longest = max(r["train_s"] for r in result["runs"])
    for point in POINTS:
        table.add_column(f"{point * longest:.0f} s", justify="right")
    for arm in ARMS:
        curves = [r["curve"] for r in result["runs"] if r["arm"] == arm]
        cells = [statistics.fmean(reached(c, p * longest) for c in curves) for p in POINTS]
        table.add_row(arm, *(f"{cell:.4f}" for cell in cells))
    console.print(table)
    console.print(
        f"images in rungs: {result['images_share']:.2f} of those in full (target "
        f"{MOST_IMAGES:g}); mean hypervolume trained again "
        f"{result['mean']['in rungs']['hypervolume_again']:.4f} against "
        f"{result['mean']['in full']['hypervolume_again']:.4f}, standard deviation of the seeds "
        f"{result['spread_of_seeds']:.4f}"
    )


def reached(curve: list[dict[str, float]], train_s: float) -> float:
    """Hypervolume after so many seconds of training."""
    return max((p["hypervolume"] for p in curve if p["train_s"] <= train_s), default=0.0)


if __name__ == "__main__":
    sys.exit(main())
