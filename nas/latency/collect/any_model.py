"""Measures the latency of any ONNX file by the same protocol as latency tables."""

from __future__ import annotations

import datetime
import hashlib
import tempfile
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from nas.errors import ConfigError, RuntimeUnavailableError
from nas.latency.collect.onnx_files import fix_shapes, read_onnx, write_onnx
from nas.measurement.bench_process import BenchProcess
from nas.measurement.protocol import DECIDING_EFFORT, Timing
from nas.measurement.runtimes import runtime_here
from nas.models.model_files.writer import ModelWriter
from nas.precision import Precision


@dataclass(frozen=True)
class MeasuredModel:
    """The latency of an ONNX file, with its provenance.

    Attributes:
        file, sha256: path and checksum of the file; external weights are not in the checksum.
        inputs: shape of each input, by the input's name.
        target, runtime_version, device, device_description, threads: where it was measured.
        precision: precision of the model's first floating-point input.
        timing: its latency, with the overhead of a call, as for whole networks in tables.
        overhead_ms: overhead of a call: the latency of a model that does almost nothing.
        date: ISO date of the measurement.
    """

    file: str
    sha256: str
    inputs: dict[str, list[int]]
    target: str
    runtime_version: str
    device: str
    device_description: str
    threads: int
    precision: Precision
    timing: Timing
    overhead_ms: float
    date: str

    def to_json(self) -> dict[str, Any]:
        """The fields as JSON values; those of ``timing`` are at the top level, with ``steady``."""
        value = asdict(self)
        timing = value.pop("timing")
        return {**value, **timing, "steady": self.timing.steady}


def measure_model(
    path: Path, target: str, shapes: Mapping[str, tuple[int, ...]] | None = None
) -> MeasuredModel:
    """Measure an ONNX file on this machine.

    Args:
        path: the file.
        target: name of the runtime.
        shapes: shapes of inputs with open dimensions, by the input's name; see `fix_shapes`.

    Raises:
        ConfigError: the file is not ONNX, its weights cannot be used, or ``shapes`` lacks or
            contradicts one of its inputs.
        RuntimeUnavailableError: the target cannot be measured here, or cannot run the file.
    """
    runtime = runtime_here(target)
    if runtime.suffix != ".onnx":
        raise RuntimeUnavailableError(f"target {target!r} does not run ONNX files")
    model, content = read_onnx(path)
    inputs = fix_shapes(model, path, shapes or {})
    precision = _precision(model)
    writer = ModelWriter(runtime, precision, 1)
    with tempfile.TemporaryDirectory(prefix="nas-measure-") as name:
        folder = Path(name)
        # In a folder of its own, as it may have the reference's name; runtimes take UTF-8 only.
        fixed = folder / "given" / path.name.encode(errors="replace").decode()
        fixed.parent.mkdir()
        write_onnx(model, path, fixed)
        with BenchProcess(
            target, precision, writer.reference(folder), writer.empty(folder)
        ) as bench:
            (timing,) = bench.measure([fixed], DECIDING_EFFORT)
            overhead_ms = bench.overhead_ms
    device = runtime.device()
    return MeasuredModel(
        file=str(path),
        sha256=hashlib.sha256(content).hexdigest(),
        inputs=inputs,
        target=target,
        runtime_version=runtime.version(),
        device=device.name,
        device_description=device.description,
        threads=device.threads,
        precision=precision,
        timing=timing,
        overhead_ms=overhead_ms,
        date=datetime.date.today().isoformat(),
    )


def parse_shape(text: str) -> tuple[str, tuple[int, ...]]:
    """Parse the name and shape of an input, for example ``images=1x3x224x224``.

    Raises:
        ConfigError: the text does not have this form.
    """
    name, _, sizes = text.rpartition("=")
    try:
        shape = tuple(int(size) for size in sizes.lower().split("x"))
    except ValueError:
        shape = ()
    if not name or not shape or min(shape) < 1:
        raise ConfigError(f"--shape {text!r}: write for example images=1x3x224x224")
    return name, shape


def _precision(model: Any) -> Precision:
    """Precision of the model's first floating-point input; fp32 if there is none."""
    from onnx import TensorProto

    types = [entry.type.tensor_type.elem_type for entry in model.graph.input]
    real = (TensorProto.FLOAT, TensorProto.FLOAT16, TensorProto.DOUBLE)
    first = next((kind for kind in types if kind in real), TensorProto.FLOAT)
    return "fp16" if first == TensorProto.FLOAT16 else "fp32"
