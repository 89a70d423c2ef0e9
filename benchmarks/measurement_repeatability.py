"""How far two measurements of the same networks, made in separate processes, lie apart.

They are measured as thoroughly as what a search has found.

Target: over 20 networks at most 2% in the median and 5% in the 90th percentile.

    python benchmarks/measurement_repeatability.py [--target T] [--networks 20] [--json OUT]

The second process expresses its latencies at the first one's reference block, as every
measurement does that goes into, or is compared with, a table.
"""

from __future__ import annotations

import argparse
import sys
import time

import numpy as np
from machine import json_file, provenance, write_json
from rich.console import Console
from rich.table import Table

from nas.latency.collect.table_bench import open_bench
from nas.latency.collect.tables import calibration_networks, network_rows
from nas.latency.table.catalog import own_key
from nas.measurement.protocol import DECIDING_EFFORT, Timing
from nas.measurement.runtimes import RUNTIMES
from nas.space.architecture import Architecture
from nas.space.space_files import load_space

MAX_MEDIAN, MAX_P90 = 0.02, 0.05
RESOLUTION, NUM_CLASSES = 224, 1000


def measured_once(
    target: str, networks: list[Architecture], reference_ms: float | None
) -> tuple[list[Timing], float, float]:
    """Timings from a process of its own, its reference's latency in ms, and seconds taken."""
    key = own_key(target)
    if key is None:
        raise SystemExit(f"target {target!r} cannot be measured here; see tables runtimes")
    start = time.monotonic()
    with open_bench(key, reference_ms) as bench:
        rows = network_rows(bench, networks, RESOLUTION, NUM_CLASSES, effort=DECIDING_EFFORT)
        timings = [row.timing for row in rows]
        return timings, bench.process.reference_ms, time.monotonic() - start


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--target", default="onnxruntime")
    parser.add_argument("--networks", type=int, default=20)
    parser.add_argument("--seed", type=int, default=7)
    parser.add_argument("--json", type=json_file)
    arguments = parser.parse_args()

    networks = calibration_networks(load_space("nextvit"), arguments.networks, arguments.seed)
    first, reference_ms, first_s = measured_once(arguments.target, networks, None)
    second, _, second_s = measured_once(arguments.target, networks, reference_ms)
    a, b = (np.array([timing.latency_ms for timing in run]) for run in (first, second))
    apart = np.abs(a / b - 1)

    shown = Table("network", "first", "second", "apart", "runs")
    for network, one, two, gap in zip(networks, first, second, apart, strict=True):
        shown.add_row(
            network.id,
            f"{one.latency_ms:.2f} ms ±{one.ci_pct:.1f}%",
            f"{two.latency_ms:.2f} ms ±{two.ci_pct:.1f}%",
            f"{100 * gap:.1f}%",
            f"{one.runs} + {two.runs}",
        )
    console = Console()
    console.print(shown)
    median, p90 = float(np.median(apart)), float(np.quantile(apart, 0.9))
    console.print(
        f"{arguments.target}: {100 * median:.1f}% apart in the median, {100 * p90:.1f}% in the "
        f"90th percentile; {first_s:.0f} s and {second_s:.0f} s"
    )
    write_json(
        arguments.json,
        {
            **provenance("torch"),
            "target": arguments.target,
            "runtime_version": RUNTIMES[arguments.target].version(),
            "networks": len(networks),
            "median": median,
            "p90": p90,
            "first_ms": a.round(3).tolist(),
            "second_ms": b.round(3).tolist(),
            "ci_pct": [round(t.ci_pct, 2) for t in [*first, *second]],
            "seconds": [round(first_s), round(second_s)],
        },
    )
    met = median <= MAX_MEDIAN and p90 <= MAX_P90
    console.print("target met" if met else "target missed", style="green" if met else "red")
    return 0 if met else 1


if __name__ == "__main__":
    sys.exit(main())
