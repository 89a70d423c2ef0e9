"""The default proxy training ranks architectures best for what it costs.

Ground truth is the test accuracy after long training with the default recipe on ``digits``, two
seeds. These proxies are compared with it, on 20 architectures of one latency band and 20 of the
whole space:

- parameters, MACs and predicted latency;
- zero-cost scores (`nas.accuracy.zero_cost`);
- short trainings of several lengths and resolutions, another seed, validation accuracy;
- intermediate validation accuracies of the long trainings, compared with the end of the other seed;
- combinations of two proxies: the mean of their ranks;
- short trainings with size: accuracy and log2 MACs, weighted by least squares on all networks but
  the one that is scored. Below the table: how many points a doubling of MACs is worth, fitted to
  all networks (the ``size_bonus`` of a search follows it), and the error on networks left out;
- the score that a search compares its finalists by: the mean of the score of the default short
  training and of a long training with another seed.

Kendall's tau is the mean over the seeds of the truth, with its 90% interval (bootstrap over
architectures). Regret is the accuracy, in points, between the best network and the best by the
proxy. Long training with another seed bounds what one training can reach.

Target: none, it decides nothing by itself; a person chose the default proxy by its figures.

    python benchmarks/proxy_fidelity.py --trainings T.jsonl [--json OUT]

T.jsonl keeps the trainings (about ten processor hours); missing ones are trained first.
"""

from __future__ import annotations

import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from proxy_trainings import (
    PROXY_SEED,
    RUNGS,
    SHORT,
    TABLE_DEVICE,
    TRUTH_IMAGES,
    TRUTH_SEEDS,
    choose_architectures,
    jobs_of,
    load_digits,
    read_rows,
    train_all,
)
from report import claim_of, exit_status, make_parser, origin_here, write_result
from rich.console import Console
from rich.table import Table
from scipy.stats import kendalltau, rankdata

import nas
from nas.accuracy.size_bonus import SizeBonus
from nas.accuracy.zero_cost import ZERO_COST, zero_cost_scores
from nas.config import ProxyConfig, SearchConfig
from nas.models.cost import network_cost
from nas.space.architecture import Architecture
from nas.space.workload import IMAGENET

Scores = dict[str, float]
"""Scores of architectures, by id."""

BOOTSTRAPS = 2000

DEFAULT_IMAGES = ProxyConfig().train_images

ANOTHER_SEED = f"{TRUTH_IMAGES:,} images, another seed"


@dataclass(frozen=True)
class Proxy:
    """Something that ranks architectures.

    Attributes:
        name: what is printed.
        cost_s: processor seconds for one architecture, mean.
        pairs: scores, each with the ground truth it is compared with.
    """

    name: str
    cost_s: float
    pairs: list[tuple[Scores, Scores]]


class Trainings:
    """The trainings so far, by their settings."""

    def __init__(self, rows: list[dict[str, Any]]) -> None:
        self._rows = rows

    def of(self, what: str, images: int, resolution: int, seed: int) -> Scores:
        """One column of the trainings of a kind."""
        rows = self._kind(images, resolution, seed)
        return {row["architecture"]: float(row[what]) for row in rows}

    def on_the_way(self, images: int, seed: int) -> Scores:
        """Validation accuracy of long trainings after some of their images."""
        rows = self._kind(TRUTH_IMAGES, 32, seed)
        return {row["architecture"]: row["val_on_the_way"][str(images)] for row in rows}

    def _kind(self, images: int, resolution: int, seed: int) -> list[dict[str, Any]]:
        wanted = (images, resolution, seed)
        return [r for r in self._rows if (r["images"], r["resolution"], r["seed"]) == wanted]


def main() -> int:
    parser = make_parser(__doc__)
    parser.add_argument("--trainings", type=Path, required=True, help="keep trainings here")
    parser.add_argument("--only", choices=("truth", "short"), help="train these, compare nothing")
    parser.add_argument("--processes", type=int, default=2)
    args = parser.parse_args()
    sets = choose_architectures()
    by_id = {a.id: a for chosen in sets.values() for a in chosen}
    train_all(jobs_of(list(by_id.values()), args.only), by_id, args.trainings, args.processes)
    if args.only:
        return 0
    trainings = Trainings(read_rows(args.trainings))
    proxies = all_proxies(list(by_id.values()), trainings)
    macs = {name: float(network_cost(a.blocks()).macs) for name, a in by_id.items()}
    trained = [p for p in proxies if " images at 32 pixels" in p.name and "+" not in p.name]
    trained += [p for p in proxies if " of 64,000 images" in p.name and "+" not in p.name]
    proxies += [with_size(proxy, macs) for proxy in trained]
    by_name = {proxy.name: proxy for proxy in proxies}
    long = by_name[ANOTHER_SEED]
    both = as_finalists(by_name[f"{DEFAULT_IMAGES:,} images at 32 pixels"], long, by_id)
    proxies.append(both)
    result = {
        "truth": {"images": TRUTH_IMAGES, "seeds": TRUTH_SEEDS, "recipe": "default"},
        "architectures": {name: [a.id for a in chosen] for name, chosen in sets.items()},
        "proxies": [
            {"name": proxy.name, "cost_s": round(proxy.cost_s, 2)}
            | {name: judge(proxy, [a.id for a in chosen]) for name, chosen in sets.items()}
            for proxy in proxies
        ],
        "size": {p.name: judge_size(p, macs) for p in trained},
        "finalists": {
            p.name: {"error_points": judge_size(p, macs)["error_without_points"]}
            for p in (long, both)
        },
    }
    show(result)
    met = None
    write_result(
        args.json,
        claim=claim_of(__doc__),
        met=met,
        origin=origin_here("torch"),
        figures=figures(result),
        details=result,
    )
    return exit_status(met)


def figures(result: dict[str, Any]) -> dict[str, str]:
    """The numbers that the documentation shows: tau of sizes, short trainings and finalists."""
    names = ["parameters", "MACs", *(f"{i:,} images at {r} pixels" for i, r in SHORT), ANOTHER_SEED]
    shown = [p for p in result["proxies"] if p["name"] in names]
    taus = {
        f"tau in one band / in the space, {p['name']} ({p['cost_s']:.0f} CPU s)": (
            f"{p['band']['tau']:.2f} / {p['space']['tau']:.2f}"
        )
        for p in shown
    }
    default = result["size"][f"{DEFAULT_IMAGES:,} images at 32 pixels"]
    return taus | {"worth of a doubling of MACs": f"{default['doubling_points']:.1f} points"}


def all_proxies(architectures: list[Architecture], trainings: Trainings) -> list[Proxy]:
    truths = [trainings.of("test", TRUTH_IMAGES, 32, seed) for seed in TRUTH_SEEDS]
    free = [
        Proxy(name, cost, _with_all(truths, scores)) for name, cost, scores in sizes(architectures)
    ]
    free += [
        Proxy(name, cost, _with_all(truths, scores))
        for name, cost, scores in zero_cost(architectures)
    ]
    short = []
    for images, resolution in SHORT:
        kind = (images, resolution, PROXY_SEED)
        cost = float(np.mean(list(trainings.of("cpu_s", *kind).values())))
        name = f"{images:,} images at {resolution} pixels"
        short.append(Proxy(name, cost, _with_all(truths, trainings.of("val", *kind))))
    long_s = float(np.mean(list(trainings.of("cpu_s", TRUTH_IMAGES, 32, TRUTH_SEEDS[0]).values())))
    way = []
    for images in RUNGS:
        scores = [trainings.on_the_way(images, seed) for seed in TRUTH_SEEDS]
        name = f"{images:,} of {TRUTH_IMAGES:,} images"
        way.append(Proxy(name, long_s * images / TRUTH_IMAGES, _with_others(truths, scores)))
    ends = [trainings.of("val", TRUTH_IMAGES, 32, seed) for seed in TRUTH_SEEDS]
    whole = Proxy(ANOTHER_SEED, long_s, _with_others(truths, ends))
    mixed = [mixture(trained, cheap) for trained in (*short[3:5], *way[1:3]) for cheap in free]
    return [*free, *short, *way, *mixed, whole]


def sizes(architectures: list[Architecture]) -> list[tuple[str, float, Scores]]:
    """Names, costs and scores of what needs no network."""
    predictor = nas.LatencyPredictor.fit(nas.load_table("onnxruntime", device=TABLE_DEVICE))
    latency_ms = predictor.predict(architectures).latency_ms
    costs = {a.id: network_cost(a.blocks()) for a in architectures}
    return [
        ("parameters", 0.0, {name: float(cost.params) for name, cost in costs.items()}),
        ("MACs", 0.0, {name: float(cost.macs) for name, cost in costs.items()}),
        (
            "latency",
            0.0,
            {a.id: float(ms) for a, ms in zip(architectures, latency_ms, strict=True)},
        ),
    ]


def zero_cost(architectures: list[Architecture]) -> list[tuple[str, float, Scores]]:
    """Names, costs and scores of untrained networks."""
    torch.set_num_threads(1)
    found = {a.id: zero_cost_scores(a, load_digits(32), PROXY_SEED) for a in architectures}
    return [
        (
            name,
            float(np.mean([scores[name].cpu_s for scores in found.values()])),
            {architecture: scores[name].score for architecture, scores in found.items()},
        )
        for name in ZERO_COST
    ]


def mixture(first: Proxy, second: Proxy) -> Proxy:
    """The mean of two proxies' ranks; it costs both. What has two seeds comes first."""
    pairs = []
    for (one, truth), (other, _) in zip(first.pairs, second.pairs, strict=True):
        ids = list(one)
        ranks = rankdata([one[i] for i in ids]) + rankdata([other[i] for i in ids])
        pairs.append((dict(zip(ids, ranks.tolist(), strict=True)), truth))
    return Proxy(f"{first.name} + {second.name}", first.cost_s + second.cost_s, pairs)


def with_size(proxy: Proxy, macs: Scores) -> Proxy:
    """Accuracy and log2 MACs as they best predict the truth of all other networks."""
    pairs = [(_left_out(scores, truth, macs), truth) for scores, truth in proxy.pairs]
    return Proxy(f"{proxy.name}, with size", proxy.cost_s, pairs)


def as_finalists(short: Proxy, long: Proxy, by_id: dict[str, Architecture]) -> Proxy:
    """The mean of the score of a short training and of a long one, which has no size bonus."""
    size = SizeBonus(SearchConfig.model_fields["size_bonus"].default, IMAGENET)
    bonus = {name: size.of(network, DEFAULT_IMAGES) for name, network in by_id.items()}
    pairs = [
        ({name: (scores[name] + bonus[name] + ends[name]) / 2 for name in scores}, truth)
        for (scores, _), (ends, truth) in zip(short.pairs, long.pairs, strict=True)
    ]
    return Proxy(f"{long.name}, and the score of {short.name}", short.cost_s + long.cost_s, pairs)


def judge_size(proxy: Proxy, macs: Scores) -> dict[str, float]:
    """Points of a proxy's accuracy that a doubling of MACs is worth, fitted to all networks, and
    the root mean square leave-one-out error in points."""
    same = dict.fromkeys(macs, 1.0)
    fits = [_least_squares(s, truth, macs, list(s)) for s, truth in proxy.pairs]
    _, slope, size = np.mean(fits, axis=0)
    return {
        "doubling_points": round(100 * float(size / slope), 2),
        "error_points": round(_error(proxy, macs), 2),
        "error_without_points": round(_error(proxy, same), 2),
    }


def judge(proxy: Proxy, ids: list[str]) -> dict[str, Any]:
    """Kendall's tau with its interval, and regret, on some architectures."""
    pairs = [
        (np.array([scores[i] for i in ids]), np.array([truth[i] for i in ids]))
        for scores, truth in proxy.pairs
    ]

    def tau(chosen: Any) -> float:
        return float(np.mean([kendalltau(s[chosen], t[chosen]).statistic for s, t in pairs]))

    rng = np.random.default_rng(0)
    draws = [tau(rng.integers(len(ids), size=len(ids))) for _ in range(BOOTSTRAPS)]
    regrets = [100 * float(truth.max() - truth[np.argmax(scores)]) for scores, truth in pairs]
    low, high = np.nanquantile(draws, [0.05, 0.95])
    return {
        "tau": round(tau(slice(None)), 3),
        "low": round(float(low), 3),
        "high": round(float(high), 3),
        "regret_points": round(float(np.mean(regrets)), 2),
    }


def show(result: dict[str, Any]) -> None:
    table = Table(title="Kendall's tau with long training (90% interval), and regret in points")
    table.add_column("proxy")
    for name in ("CPU s", "one latency band", "regret", "whole space", "regret"):
        table.add_column(name, justify="right")
    for proxy in result["proxies"]:
        cells = []
        for name in ("band", "space"):
            found = proxy[name]
            interval = f"({found['low']:.2f} to {found['high']:.2f})"
            cells += [f"{found['tau']:.2f} {interval}", f"{found['regret_points']:.1f}"]
        table.add_row(proxy["name"], f"{proxy['cost_s']:.1f}", *cells)
    console = Console(width=120)
    console.print(table)
    for name, found in result["size"].items():
        console.print(
            f"{name}: a doubling of MACs is worth {found['doubling_points']:.2f} points; long "
            f"training predicted with an error of {found['error_points']:.2f}, without size "
            f"{found['error_without_points']:.2f} points",
            highlight=False,
        )
    for name, found in result["finalists"].items():
        console.print(
            f"{name}: long training predicted with an error of {found['error_points']:.2f} points",
            highlight=False,
        )


def _left_out(scores: Scores, truth: Scores, macs: Scores) -> Scores:
    """Leave-one-out predictions: each network's score, fitted to all others."""
    found = {}
    for name in scores:
        others = [other for other in scores if other != name]
        level, slope, size = _least_squares(scores, truth, macs, others)
        found[name] = level + slope * scores[name] + size * float(np.log2(macs[name]))
    return found


def _error(proxy: Proxy, macs: Scores) -> float:
    squares = [
        (predicted - truth[name]) ** 2
        for scores, truth in proxy.pairs
        for name, predicted in _left_out(scores, truth, macs).items()
    ]
    return 100 * float(np.sqrt(np.mean(squares)))


def _least_squares(
    scores: Scores, truth: Scores, macs: Scores, names: list[str]
) -> tuple[float, float, float]:
    """Level, slope of the score, and of log2 MACs."""
    columns = [(1.0, scores[name], np.log2(macs[name])) for name in names]
    found = np.linalg.lstsq(np.array(columns), np.array([truth[n] for n in names]), rcond=None)[0]
    return float(found[0]), float(found[1]), float(found[2])


def _with_all(truths: list[Scores], scores: Scores) -> list[tuple[Scores, Scores]]:
    return [(scores, truth) for truth in truths]


def _with_others(truths: list[Scores], scores: list[Scores]) -> list[tuple[Scores, Scores]]:
    """Each seed's scores with the truth of the other seeds."""
    return [
        (own, truth)
        for place, own in enumerate(scores)
        for number, truth in enumerate(truths)
        if place != number
    ]


if __name__ == "__main__":
    sys.exit(main())
