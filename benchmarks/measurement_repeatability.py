"""Two measurements of a network in separate processes differ by at most 2% in the median.

Networks are measured as thoroughly as the front of a search.

Target: over 20 networks the difference is at most 2% in the median and 5% in the 90th percentile.
Exits 1 when missed.

    python benchmarks/measurement_repeatability.py [--target T] [--networks 20] [--quick] \\
        [--json OUT]

The second process scales its latencies to the reference block's latency in the first one. Every
measurement that goes into a table, or is compared with one, does the same.
"""

from __future__ import annotations

import sys
import time
from typing import Any

import numpy as np
from report import claim_of, exit_status, make_parser, origin_here, write_result
from rich.console import Console
from rich.table import Table

from nas.latency.collect.table_bench import open_bench
from nas.latency.collect.tables import calibration_networks, network_rows
from nas.latency.table.catalog import own_key
from nas.measurement.protocol import DECIDING_EFFORT, Timing
from nas.measurement.runtimes import RUNTIMES
from nas.space.architecture import Architecture
from nas.space.space_files import load_space
from nas.space.workload import IMAGENET

MAX_MEDIAN, MAX_P90 = 0.02, 0.05
QUICK_NETWORKS = 3


def measured_once(
    target: str, networks: list[Architecture], reference_ms: float | None
) -> tuple[list[Timing], float, float]:
    """Timings from a process of its own, its reference's latency in ms, and seconds taken."""
    key = own_key(target)
    if key is None:
        raise SystemExit(f"target {target!r} cannot be measured here; see tables runtimes")
    start = time.monotonic()
    with open_bench(key, reference_ms) as bench:
        rows = network_rows(bench, networks, IMAGENET, effort=DECIDING_EFFORT)
        timings = [row.timing for row in rows]
        return timings, bench.process.reference_ms, time.monotonic() - start


def main() -> int:
    parser = make_parser(__doc__, quick=f"{QUICK_NETWORKS} networks")
    parser.add_argument("--target", default="onnxruntime")
    parser.add_argument("--networks", type=int, default=20)
    parser.add_argument("--seed", type=int, default=7)
    arguments = parser.parse_args()

    count = QUICK_NETWORKS if arguments.quick else arguments.networks
    networks = calibration_networks(load_space("nextvit"), count, arguments.seed)
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
    details = {
        "target": arguments.target,
        "runtime_version": RUNTIMES[arguments.target].version(),
        "networks": len(networks),
        "median": median,
        "p90": p90,
        "first_ms": a.round(3).tolist(),
        "second_ms": b.round(3).tolist(),
        "ci_pct": [round(t.ci_pct, 2) for t in [*first, *second]],
        "seconds": [round(first_s), round(second_s)],
    }
    met = None if arguments.quick else verdict(details)
    write_result(
        arguments.json,
        claim=claim_of(__doc__),
        met=met,
        origin=origin_here("torch"),
        figures=figures(details),
        details=details,
    )
    return exit_status(met)


def verdict(details: dict[str, Any]) -> bool:
    return bool(details["median"] <= MAX_MEDIAN and details["p90"] <= MAX_P90)


def figures(details: dict[str, Any]) -> dict[str, str]:
    """The numbers that the documentation shows."""
    return {
        "target": details["target"],
        "networks": str(details["networks"]),
        "difference, median": f"{100 * details['median']:.1f}%",
        "difference, 90th percentile": f"{100 * details['p90']:.1f}%",
    }


if __name__ == "__main__":
    sys.exit(main())
