"""Kits and results of kits that need no measurement."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, ClassVar

import pytest

from nas.latency.collect import kit_builder as kit
from nas.latency.collect import tables as collect
from nas.latency.collect.tables import CALIBRATION_NETWORKS, calibration_networks
from nas.measurement.bench import Bench
from nas.measurement.device import Device
from nas.measurement.kit.files import Conditions, KitModel, KitResults, Manifest
from nas.measurement.protocol import Timing
from nas.measurement.runtimes import RUNTIMES
from nas.measurement.runtimes.base import Runtime
from nas.models.model_files.formats import FORMATS
from nas.space.search_space import SearchSpace
from nas.space.workload import Workload
from nas.system.json_checks import checksum
from tests.tiny import AT_64, made_up_ms, tiny_space

CONDITIONS = Conditions("test-cpu-2c", "a test CPU", 2, "1.0", "3.10.4", "Linux")
OVERHEAD_MS = 0.01


class PackageRuntime(Runtime):
    """A runtime of this test process: its models are folders, as Core ML's are."""

    name = "package"
    precisions = ("fp32",)
    suffix: ClassVar[str] = ".mlpackage"

    def __init__(self) -> None:
        self.device_name, self.loads_left = "test-cpu-2c", 10**9

    def unavailable(self) -> str | None:
        return None

    def version(self) -> str:
        return "1.0"

    def device(self) -> Device:
        return Device(self.device_name, "a test CPU", 2)

    def load(self, path: Path, precision: Any) -> Any:
        if not self.loads_left:
            raise KeyboardInterrupt
        self.loads_left -= 1
        count = int((path / "Data" / "weights.bin").read_text())
        return lambda duration_s: [0.05 + count / 1e6] * 3


def write_package(module: Any, input_shape: Any, precision: Any, path: Path) -> None:
    """Write a module's number of parameters as a folder that `PackageRuntime` loads."""
    (path / "Data").mkdir(parents=True)
    (path / "Manifest.json").write_text("{}")
    count = sum(parameter.numel() for parameter in module.parameters())
    (path / "Data" / "weights.bin").write_text(str(count))


def add_package_runtime(patch: pytest.MonkeyPatch) -> Runtime:
    """Register `PackageRuntime` as target ``package``, and the writer of its models."""
    runtime = PackageRuntime()
    patch.setitem(RUNTIMES, "package", runtime)
    patch.setitem(FORMATS, PackageRuntime.suffix, write_package)
    return runtime


@contextmanager
def bench_here(*arguments: Any) -> Iterator[Bench]:
    """A bench in this process, for runtimes that child processes do not have."""
    yield Bench(*arguments)


def tiny_kit(
    folder: Path, target: str, networks: int = 6, space: SearchSpace | None = None
) -> kit.KitInfo:
    """A kit of the tiny space, or of another one, at 64 pixels, with few networks."""
    space = space or tiny_space(folder)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(collect, "CALIBRATION_NETWORKS", networks)
        return kit.build_kit(space, target, folder / "kit.zip", workload=AT_64)


def made_up_results(space: SearchSpace, resolution: int = 64) -> KitResults:
    """Complete results whose latencies are calculated, as `tests.tiny.made_up_table`'s are."""
    models = [_model("reference", "reference", None), _model("empty", "empty", None)]
    rows = {}
    for block in space.blocks(Workload.square(resolution)):
        models.append(_model(f"block-{block.id}", "block", block.to_json()))
        rows[models[-1].name] = Timing(OVERHEAD_MS + made_up_ms(block), 0.5, 1.0, 30, 2.0)
    for network in calibration_networks(space, CALIBRATION_NETWORKS):
        models.append(_model(f"network-{network.id}", "network", network.to_json()))
        total_ms = sum(made_up_ms(block) for block in network.blocks(Workload.square(resolution)))
        rows[models[-1].name] = Timing(0.1 + 0.95 * total_ms, 0.5, 1.0, 30, 2.0)
    manifest = Manifest(
        "0.1.0", space.name, "onnxruntime", "fp32", 1, resolution, 1000, tuple(models)
    )
    dates = ("2026-11-22", "2026-11-23")
    return KitResults(manifest, CONDITIONS, *dates, 2.0, 1.9, OVERHEAD_MS, rows)


def sealed(value: Any) -> Any:
    """Results as JSON with correct checksums, where the values allow that."""
    if isinstance(value, dict):
        if isinstance(value.get("manifest"), dict) and "kit_sha256" in value:
            value["kit_sha256"] = checksum(value["manifest"])
        if "sha256" in value:
            value["sha256"] = checksum({k: v for k, v in value.items() if k != "sha256"})
    return value


def write_json(path: Path, value: Any) -> Path:
    """Write JSON, which may hold NaN; returns the path."""
    path.write_text(json.dumps(value), encoding="utf-8")
    return path


def _model(name: str, kind: str, value: Any) -> KitModel:
    return KitModel(name, kind, f"models/{name}.onnx", "0" * 64, 1000, value)
