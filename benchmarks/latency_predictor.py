"""The latency predictor on networks it has never seen, next to simpler fits.

Target, on 40 random networks that served neither table nor calibration: MAPE at most 3%, at least
98% within 10%, Kendall's tau at least 0.95, and the 90% interval covers 85% to 97%.

    python benchmarks/latency_predictor.py [--target onnxruntime] [--networks 40] [--json OUT]

Beside it: straight lines through MACs and through parameters, fitted to the same calibration
networks, the plain sum of isolated blocks, and, as the floor, a second measurement of every other
network in another process.
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

import numpy as np
from machine import provenance, write_json
from rich.console import Console
from rich.table import Table
from scipy.stats import kendalltau

from nas.architecture import Architecture
from nas.latency.additive import fit_additive
from nas.latency.catalogue import load_table
from nas.latency.collect import measure_networks
from nas.latency.predictor import LatencyPredictor
from nas.latency.recheck import unmeasured_networks
from nas.latency.table import LatencyTable
from nas.models.cost import network_cost
from nas.space_file import load_space

MAX_MAPE, MIN_WITHIN, MIN_TAU, COVERAGE = 0.03, 0.98, 0.95, (0.85, 0.97)
RESOLUTION, NUM_CLASSES = 224, 1000


def simpler_fits(table: LatencyTable, networks: list[Architecture]) -> dict[str, np.ndarray]:
    """Latencies in ms that simpler models predict, each [networks]."""
    known = [row.blocks() for row in table.networks]
    new = [network.blocks(RESOLUTION, NUM_CLASSES) for network in networks]
    known_ms = [row.timing.latency_ms for row in table.networks]
    found = {}
    for name in ("macs", "params"):
        sizes, new_sizes = (
            np.array([[float(getattr(network_cost(blocks), name))] for blocks in group])
            for group in (known, new)
        )
        found[f"{name} only"] = fit_additive(sizes, known_ms, ridge=0.0).predict(new_sizes)
    found["sum of isolated blocks"] = np.array(
        [sum(table.blocks[block].latency_ms for block in blocks) for blocks in new]
    )
    return found


def scores(predicted: np.ndarray, measured: np.ndarray) -> dict[str, float]:
    """MAPE, share within 10%, and Kendall's tau."""
    error = np.abs(predicted / measured - 1)
    return {
        "mape": float(error.mean()),
        "within_10pct": float((error <= 0.10).mean()),
        "kendall_tau": float(kendalltau(predicted, measured).statistic),
    }


def show(console: Console, results: dict[str, dict[str, float]]) -> None:
    """Print the comparison."""
    shown = Table("fit", "MAPE", "within 10%", "Kendall tau")
    for name, score in results.items():
        shown.add_row(
            name,
            f"{100 * score['mape']:.1f}%",
            f"{100 * score['within_10pct']:.0f}%",
            f"{score['kendall_tau']:.3f}",
        )
    console.print(shown)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--target", default="onnxruntime")
    parser.add_argument("--networks", type=int, default=40)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--json", type=Path)
    arguments = parser.parse_args()

    table = load_table(arguments.target)
    predictor = LatencyPredictor.fit(table)
    networks = unmeasured_networks(table, load_space("nextvit"), arguments.networks, arguments.seed)
    first = measure_networks(networks, table, RESOLUTION, NUM_CLASSES)
    second = measure_networks(networks[::2], table, RESOLUTION, NUM_CLASSES)
    measured, again = (np.array([t.latency_ms for t in run]) for run in (first, second))
    prediction = predictor.predict(networks, RESOLUTION, NUM_CLASSES)

    rows = {"predictor": prediction.latency_ms, **simpler_fits(table, networks)}
    results = {name: scores(predicted, measured) for name, predicted in rows.items()}
    results["measured a second time"] = scores(again, measured[::2])
    inside = (prediction.low_ms <= measured) & (measured <= prediction.high_ms)
    coverage = float(inside.mean())
    console = Console()
    show(console, results)
    console.print(
        f"{table.name}: {len(networks)} networks, {measured.min():.1f} to {measured.max():.1f} ms; "
        f"median 95% interval of a measurement ±{np.median([t.ci_pct for t in first]):.1f}%; the "
        f"90% interval of the prediction covers {100 * coverage:.0f}%"
    )
    write_json(
        arguments.json,
        {
            **provenance("torch", "onnxruntime"),
            "table": table.name,
            "runtime_version": table.meta.runtime_version,
            "networks": len(networks),
            "seed": arguments.seed,
            "results": results,
            "interval_coverage": coverage,
            "measured_ms": measured.round(3).tolist(),
            "measured_again_ms": again.round(3).tolist(),
            "predicted_ms": prediction.latency_ms.round(3).tolist(),
        },
    )
    ours = results["predictor"]
    met = (
        ours["mape"] <= MAX_MAPE
        and ours["within_10pct"] >= MIN_WITHIN
        and ours["kendall_tau"] >= MIN_TAU
        and COVERAGE[0] <= coverage <= COVERAGE[1]
    )
    console.print("target met" if met else "target missed", style="green" if met else "red")
    return 0 if met else 1


if __name__ == "__main__":
    sys.exit(main())
