"""A table that a device kit measured predicts as well as a table measured directly.

Builds the kit of the default space, runs it in a bare virtual environment that has onnxruntime
and NumPy alone, imports its results, and measures whole networks that neither table contains.
This machine needs an ONNX Runtime table of its own.

Target: the MAPE of the kit's table is at most 2 points above that of the direct one, and the kit
is under 500 MB. Exits 1 when missed.

    python benchmarks/kit_accuracy.py [--networks 20] [--seed 0] [--kit KIT] [--json OUT]
"""

from __future__ import annotations

import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from importlib import metadata
from pathlib import Path
from typing import Any

import numpy as np
from latency_predictor import scores, show
from report import claim_of, exit_status, make_parser, origin_here, write_result
from rich.console import Console

from nas.latency.collect.kit_builder import build_kit
from nas.latency.collect.kit_import import import_results
from nas.latency.collect.recheck import unmeasured_networks
from nas.latency.collect.tables import measure_networks
from nas.latency.predict.predictor import LatencyPredictor
from nas.latency.table.catalog import load_table
from nas.latency.table.table import LatencyTable
from nas.space.space_files import load_space
from nas.space.workload import IMAGENET

MAX_POINTS = 2.0
MAX_KIT_MB = 500
DEVICE_PACKAGES = ("onnxruntime", "numpy")


def bare_environment(folder: Path) -> Path:
    """A new virtual environment with this one's onnxruntime and NumPy; returns its Python."""
    subprocess.run([sys.executable, "-m", "venv", str(folder)], check=True)
    python = folder / "bin" / "python"
    wanted = [f"{name}=={metadata.version(name)}" for name in DEVICE_PACKAGES]
    subprocess.run([python, "-m", "pip", "install", "--quiet", *wanted], check=True)
    torch = subprocess.run([python, "-c", "import torch"], capture_output=True, check=False)
    if torch.returncode == 0:
        raise SystemExit("the bare environment has torch")
    return python


def table_by_kit(kit: Path, folder: Path) -> tuple[LatencyTable, float]:
    """The table of a kit run in a bare environment, and the seconds it ran."""
    python = bare_environment(folder / "venv")
    device = folder / "device"
    device.mkdir()
    shutil.copy(kit, device / "kit.zip")
    started = time.monotonic()
    subprocess.run([str(python), "kit.zip"], cwd=device, check=True)
    ran_s = time.monotonic() - started
    return import_results(device / "results.json", folder / "tables"), ran_s


def main(arguments: Sequence[str] | None = None) -> int:
    parser = make_parser(__doc__)
    parser.add_argument("--networks", type=int, default=20)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--kit", type=Path, help="where to keep the kit")
    options = parser.parse_args(arguments)

    console = Console()
    space, direct = load_space("nextvit"), load_table("onnxruntime")
    with tempfile.TemporaryDirectory(prefix="kit-accuracy-") as name:
        folder = Path(name)
        kit = build_kit(space, "onnxruntime", options.kit or folder / "kit.zip")
        size_mb = kit.size_bytes / 1e6
        console.print(
            f"kit: {size_mb:.1f} MB, {kit.blocks} blocks, {kit.networks} networks, "
            f"built in {kit.build_s:.0f} s"
        )
        by_kit, ran_s = table_by_kit(kit.path, folder)
        console.print(f"measured by the kit in {ran_s:.0f} s")
        networks = unmeasured_networks(direct, space, options.networks, options.seed)
        timings = measure_networks(networks, direct, IMAGENET)
        measured = np.array([timing.latency_ms for timing in timings])
        predictors = {
            "measured directly": LatencyPredictor.fit(direct),
            "measured by the kit": LatencyPredictor.fit(by_kit),
        }
        predicted = {what: fit.predict(networks).latency_ms for what, fit in predictors.items()}

    results = {what: scores(values, measured) for what, values in predicted.items()}
    show(console, results)
    points = 100 * (results["measured by the kit"]["mape"] - results["measured directly"]["mape"])
    console.print(f"MAPE of the kit's table minus MAPE of the direct one: {points:+.1f} points")
    details = {
        "networks": len(networks),
        "seed": options.seed,
        "kit_mb": round(size_mb, 1),
        "kit_build_s": round(kit.build_s, 1),
        "kit_run_s": round(ran_s, 1),
        "results": results,
        "mape_points": points,
        "measured_ms": measured.round(3).tolist(),
        "predicted_ms": {what: v.round(3).tolist() for what, v in predicted.items()},
    }
    met = verdict(details)
    write_result(
        options.json,
        claim=claim_of(__doc__),
        met=met,
        origin=origin_here("onnxruntime", "torch"),
        figures=figures(details),
        details=details,
    )
    return exit_status(met)


def verdict(details: dict[str, Any]) -> bool:
    return bool(details["mape_points"] <= MAX_POINTS and details["kit_mb"] < MAX_KIT_MB)


def figures(details: dict[str, Any]) -> dict[str, str]:
    """The numbers that the documentation shows."""
    mape = {what: scores["mape"] for what, scores in details["results"].items()}
    return {
        **{f"MAPE of the table {what}": f"{100 * value:.1f}%" for what, value in mape.items()},
        "networks": str(details["networks"]),
        "size of the kit": f"{details['kit_mb']:.0f} MB",
        "building the kit": f"{details['kit_build_s']:.0f} s",
        "running the kit": f"{details['kit_run_s']:.0f} s",
    }


if __name__ == "__main__":
    sys.exit(main())
