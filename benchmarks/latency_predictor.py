"""How well the predictor does on networks that served neither table nor calibration.

Measures random networks whole, spread from the smallest to the largest of the default space,
and compares the prediction from this machine's ONNX Runtime table with straight lines through
MACs and through parameters, fitted to the same calibration networks, and with the plain sum of
isolated blocks.

Target: MAPE at most 5% and Kendall's tau at least 0.93 on 20 networks. Exits 1 when missed.

    python benchmarks/latency_predictor.py [--networks 20] [--seed 0] [--json OUT]
"""

from __future__ import annotations

import argparse
import random
import sys
from pathlib import Path

import numpy as np
from machine import provenance, write_json
from rich.console import Console
from rich.table import Table
from scipy.stats import kendalltau

from nas.architecture import Architecture
from nas.latency.catalogue import load_table
from nas.latency.collect import measure_networks
from nas.latency.predictor import LatencyPredictor
from nas.latency.table import LatencyTable
from nas.models.cost import network_cost
from nas.space import SearchSpace
from nas.space_file import load_space

MAX_MAPE = 0.05
MIN_TAU = 0.93


def held_out(space: SearchSpace, table: LatencyTable, count: int, seed: int) -> list[Architecture]:
    """Random networks of every size that the table has not measured."""
    rng = random.Random(10_000 + seed)
    known = {row.architecture for row in table.networks}
    networks: list[Architecture] = []
    while len(networks) < count:
        network = space.sample(rng, tilt=rng.uniform(-3.0, 3.0))
        if network not in known and network not in networks:
            networks.append(network)
    return networks


def straight_line(x_known: np.ndarray, y_known: np.ndarray, x_new: np.ndarray) -> np.ndarray:
    """Least squares on relative errors, as the predictor's own fit."""
    design = np.column_stack([x_known, np.ones_like(x_known)]) / y_known[:, None]
    slope, constant = np.linalg.lstsq(design, np.ones_like(y_known), rcond=None)[0]
    return slope * x_new + constant


def scores(predicted: np.ndarray, measured: np.ndarray) -> dict[str, float]:
    error = np.abs(predicted / measured - 1)
    return {
        "mape": float(error.mean()),
        "within_10pct": float((error <= 0.10).mean()),
        "kendall_tau": float(kendalltau(predicted, measured).statistic),
    }


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--networks", type=int, default=20)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--json", type=Path)
    arguments = parser.parse_args()

    space, table = load_space("nextvit"), load_table("onnxruntime")
    predictor = LatencyPredictor.fit(table)
    networks = held_out(space, table, arguments.networks, arguments.seed)
    timings = measure_networks(networks, table, 224, 1000)
    measured = np.array([timing.latency_ms for timing in timings])
    prediction = predictor.predict(networks)

    known_blocks = [row.blocks() for row in table.networks]
    new_blocks = [network.blocks(224) for network in networks]
    known_ms = np.array([row.timing.latency_ms for row in table.networks])
    rows = {"predictor": prediction.latency_ms}
    for name in ("macs", "params"):
        known, new = (
            np.array([float(getattr(network_cost(blocks), name)) for blocks in group])
            for group in (known_blocks, new_blocks)
        )
        rows[f"{name} only"] = straight_line(known, known_ms, new)
    rows["sum of isolated blocks"] = np.array(
        [sum(table.blocks[block].latency_ms for block in blocks) for blocks in new_blocks]
    )

    results = {name: scores(predicted, measured) for name, predicted in rows.items()}
    inside = (prediction.low_ms <= measured) & (measured <= prediction.high_ms)
    shown = Table("fit", "MAPE", "within 10%", "Kendall tau")
    for name, score in results.items():
        shown.add_row(
            name,
            f"{100 * score['mape']:.1f}%",
            f"{100 * score['within_10pct']:.0f}%",
            f"{score['kendall_tau']:.3f}",
        )
    console = Console()
    console.print(shown)
    console.print(
        f"{len(networks)} networks, {measured.min():.1f} to {measured.max():.1f} ms; median "
        f"spread of a measurement {np.median([t.spread_pct for t in timings]):.1f}%; "
        f"90% interval covers {100 * inside.mean():.0f}%"
    )
    write_json(
        arguments.json,
        {
            **provenance("onnxruntime", "torch"),
            "table": table.name,
            "networks": len(networks),
            "seed": arguments.seed,
            "results": results,
            "interval_coverage": float(inside.mean()),
            "measured_ms": measured.round(3).tolist(),
            "predicted_ms": prediction.latency_ms.round(3).tolist(),
        },
    )
    ours = results["predictor"]
    met = ours["mape"] <= MAX_MAPE and ours["kendall_tau"] >= MIN_TAU
    console.print("target met" if met else "target missed", style="green" if met else "red")
    return 0 if met else 1


if __name__ == "__main__":
    sys.exit(main())
