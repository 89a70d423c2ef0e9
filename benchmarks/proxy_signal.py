"""Proxy training tells architectures apart, and two seeds rank them alike.

Target, with the default training on ``digits``: 16 random architectures of the default space spread
by at least 10 points of validation accuracy, and two seeds rank them with a Kendall's tau of at
least 0.6. Exits 1 when missed.

    python benchmarks/proxy_signal.py [--seeds 0 1] [--resume FILE] [--quick] [--json OUT]

The architectures were fixed before any was trained: ``space.sample(random.Random(2024))``, 16
times. How the recipe was tuned: docs/benchmarks-notes.md.
"""

from __future__ import annotations

import json
import random
import sys
from pathlib import Path
from typing import Any

import torch
from report import claim_of, exit_status, make_parser, origin_here, write_result
from rich.console import Console
from rich.table import Table
from scipy.stats import kendalltau

import nas
from nas.accuracy.data.dataset import ProxyData, load_data
from nas.accuracy.training import train_proxy
from nas.config import ProxyConfig
from nas.models.cost import network_cost
from nas.space.architecture import Architecture

SAMPLING_SEED = 2024
TARGET_SPREAD = 10.0
TARGET_TAU = 0.6


def main() -> int:
    parser = make_parser(__doc__, quick="4 architectures")
    parser.add_argument("--seeds", type=int, nargs=2, default=[0, 1], help="the two seeds")
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument(
        "--resume", type=Path, help="keep finished trainings here, and resume from them"
    )
    args = parser.parse_args()
    torch.set_num_threads(args.threads)
    rng = random.Random(SAMPLING_SEED)
    space = nas.load_space("nextvit")
    architectures = [space.sample(rng) for _ in range(16)][: 4 if args.quick else 16]
    config = ProxyConfig()
    rows = train_all(architectures, config, args.seeds, args.resume)
    result = summarise(rows, args.seeds)
    result |= {
        "threads": args.threads,
        "sampling_seed": SAMPLING_SEED,
        "config": config.model_dump(),
        "targets": {"spread_points": TARGET_SPREAD, "kendall_tau": TARGET_TAU},
        "architectures": rows,
    }
    show(result, args.seeds)
    met = None if args.quick else verdict(result)
    write_result(
        args.json,
        claim=claim_of(__doc__),
        met=met,
        origin=origin_here("torch"),
        figures=figures(result),
        details=result,
    )
    return exit_status(met)


def verdict(result: dict[str, Any]) -> bool:
    spread, tau = min(result["spread_points"]), result["kendall_tau"]
    return bool(spread >= TARGET_SPREAD and tau >= TARGET_TAU)


def figures(result: dict[str, Any]) -> dict[str, str]:
    """The numbers that the documentation shows."""
    return {
        "spread of validation accuracy": f"{min(result['spread_points']):.1f} points",
        "Kendall's tau of two seeds": f"{result['kendall_tau']:.2f}",
        "median training": f"{result['median_train_s']:.0f} s",
    }


def train_all(
    architectures: list[Architecture], config: ProxyConfig, seeds: list[int], resume: Path | None
) -> list[dict[str, Any]]:
    """One row an architecture: its cost, and accuracy and seconds for each seed."""
    data = load_data(config)
    done: dict[str, Any] = {}
    if resume and resume.exists():
        done = json.loads(resume.read_text(encoding="utf-8"))
    rows = []
    for architecture in architectures:
        row: dict[str, Any] = {
            "id": architecture.id,
            "gmacs_224": round(network_cost(architecture.blocks()).macs / 1e9, 3),
            "accuracy": [],
            "train_s": [],
        }
        for seed in seeds:
            key = f"{architecture.id}/{seed}/{config.model_dump_json()}"
            if key not in done:
                done[key] = train_one(architecture, data, config, seed)
                if resume:
                    resume.write_text(json.dumps(done), encoding="utf-8")
            row["accuracy"].append(done[key]["accuracy"])
            row["train_s"].append(done[key]["train_s"])
        print(row, file=sys.stderr, flush=True)
        rows.append(row)
    return rows


def train_one(
    architecture: Architecture, data: ProxyData, config: ProxyConfig, seed: int
) -> dict[str, float]:
    result = train_proxy(architecture, data, config, seed)
    return {"accuracy": round(result.accuracy, 5), "train_s": round(result.train_s, 2)}


def summarise(rows: list[dict[str, Any]], seeds: list[int]) -> dict[str, Any]:
    """Spread is that of the seed with the smaller one."""
    columns = [[100 * row["accuracy"][i] for row in rows] for i in range(len(seeds))]
    spreads = [round(max(column) - min(column), 2) for column in columns]
    tau = float(kendalltau(*columns).statistic)
    size = [row["gmacs_224"] for row in rows]
    seconds = sorted(second for row in rows for second in row["train_s"])
    return {
        "spread_points": spreads,
        "kendall_tau": round(tau, 3),
        "kendall_tau_with_macs": [
            round(float(kendalltau(size, column).statistic), 3) for column in columns
        ],
        "mean_seed_difference_points": round(
            sum(abs(a - b) for a, b in zip(*columns, strict=True)) / len(rows), 2
        ),
        "median_train_s": seconds[len(seconds) // 2],
    }


def show(result: dict[str, Any], seeds: list[int]) -> None:
    console = Console()
    table = Table(title="Proxy accuracy of random architectures (digits, validation, %)")
    for name in ("architecture", "GMACs at 224", *(f"seed {seed}" for seed in seeds), "s"):
        table.add_column(name, justify="right")
    for row in sorted(result["architectures"], key=lambda row: -sum(row["accuracy"])):
        table.add_row(
            row["id"],
            f"{row['gmacs_224']:.2f}",
            *(f"{100 * accuracy:.2f}" for accuracy in row["accuracy"]),
            f"{sum(row['train_s']) / len(seeds):.1f}",
        )
    console.print(table)
    spreads = " and ".join(f"{spread:.1f}" for spread in result["spread_points"])
    console.print(f"spread {spreads} points (target {TARGET_SPREAD:g})")
    console.print(f"Kendall's tau of the seeds {result['kendall_tau']} (target {TARGET_TAU})")
    console.print(f"tau with MACs {result['kendall_tau_with_macs']}")
    console.print(f"mean difference of seeds {result['mean_seed_difference_points']} points")


if __name__ == "__main__":
    sys.exit(main())
