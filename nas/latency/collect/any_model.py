"""Measures the latency of any ONNX file by the same protocol as latency tables."""

from __future__ import annotations

import datetime
import hashlib
import tempfile
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from nas.errors import ConfigError, RuntimeUnavailableError, unknown
from nas.measurement.bench_process import BenchProcess
from nas.measurement.protocol import DECIDING_EFFORT, Timing
from nas.measurement.runtimes import runtime_here
from nas.models.model_files.writer import ModelWriter
from nas.precision import Precision
from nas.system.paths import is_utf8


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
        """The fields as JSON values; those of ``timing`` are at the top level."""
        value = asdict(self)
        return {**{k: v for k, v in value.items() if k != "timing"}, **value["timing"]}


def measure_model(
    path: Path, target: str, shapes: Mapping[str, tuple[int, ...]] | None = None
) -> MeasuredModel:
    """Measure an ONNX file on this machine.

    Args:
        path: the file.
        target: name of the runtime.
        shapes: shape of each input with dynamic dimensions, by the input's name. A dynamic first
            dimension is 1 by default.

    Raises:
        ConfigError: the file is not ONNX, or ``shapes`` lacks or contradicts one of its inputs.
        RuntimeUnavailableError: the target cannot be measured here, or cannot run the file.
    """
    runtime = runtime_here(target)
    if runtime.suffix != ".onnx":
        raise RuntimeUnavailableError(f"target {target!r} does not run ONNX files")
    model, content = _read(path)
    inputs = _fix_shapes(model, path, dict(shapes or {}))
    precision = _precision(model)
    writer = ModelWriter(runtime, precision, 1)
    with tempfile.TemporaryDirectory(prefix="nas-measure-") as name:
        folder = Path(name)
        fixed = (
            folder / "given" / path.name
        )  # in a folder of its own, as it may have the reference's name
        fixed.parent.mkdir()
        _save(model, fixed, path)
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


def _read(path: Path) -> tuple[Any, bytes]:
    import onnx

    if not is_utf8(path):
        raise ConfigError(f"{path}: is not a UTF-8 name, and ONNX opens no other: rename it")
    try:
        content = path.read_bytes()
        onnx.checker.check_model(str(path))  # by its path: external weights may be larger than 2 GB
        model = onnx.load_model_from_string(content)
        onnx.load_external_data_for_model(model, str(path.parent))
    except OSError as error:
        raise ConfigError(f"{path}: cannot be read: {error.strerror or error}") from None
    except Exception as error:  # protobuf and onnx have their own exceptions
        said = (str(error).strip() or type(error).__name__).splitlines()[0]
        raise ConfigError(f"{path}: is no ONNX model that can be used: {said}") from None
    return model, content


def _fix_shapes(model: Any, path: Path, shapes: dict[str, tuple[int, ...]]) -> dict[str, list[int]]:
    """Fix the dynamic dimensions of a model's inputs in place.

    Args:
        model: the ONNX model.
        path: its file, for messages.
        shapes: see `measure_model`.

    Returns:
        Shape of every input, by the input's name.

    Raises:
        ConfigError: ``shapes`` lacks or contradicts an input, or names one that does not exist.
    """
    constants = {entry.name for entry in model.graph.initializer}
    given = [entry for entry in model.graph.input if entry.name not in constants]
    names = [entry.name for entry in given]
    for name in shapes:
        if name not in names:
            raise ConfigError(f"--shape: {unknown('input', name, names)}")
    fixed = {}
    for entry in given:
        dims = entry.type.tensor_type.shape.dim
        wanted = shapes.get(entry.name)
        if wanted is not None and len(wanted) != len(dims):
            raise ConfigError(
                f"--shape {entry.name}: {path} has {len(dims)} dimensions there, not {len(wanted)}"
            )
        for index, dim in enumerate(dims):
            if wanted is not None:
                if dim.dim_value and dim.dim_value != wanted[index]:
                    raise ConfigError(
                        f"--shape {entry.name}: {path} is made for {dim.dim_value} in dimension "
                        f"{index}, not {wanted[index]}"
                    )
                dim.dim_value = wanted[index]
            elif not dim.dim_value:
                if index:
                    raise ConfigError(
                        f"{path}: leaves the shape of input {entry.name!r} open; give it: "
                        f"--shape {entry.name}=1x3x224x224"
                    )
                dim.dim_value = 1
        fixed[entry.name] = [dim.dim_value for dim in dims]
    return fixed


def _precision(model: Any) -> Precision:
    """Precision of the model's first floating-point input; fp32 if there is none."""
    from onnx import TensorProto

    types = [entry.type.tensor_type.elem_type for entry in model.graph.input]
    real = (TensorProto.FLOAT, TensorProto.FLOAT16, TensorProto.DOUBLE)
    first = next((kind for kind in types if kind in real), TensorProto.FLOAT)
    return "fp16" if first == TensorProto.FLOAT16 else "fp32"


def _save(model: Any, fixed: Path, path: Path) -> None:
    import onnx

    try:
        onnx.save_model(model, str(fixed))
    except ValueError:  # larger than protobuf's limit of 2 GB: save weights externally
        try:
            onnx.save_model(model, str(fixed), save_as_external_data=True)
        except Exception as error:
            raise ConfigError(f"{path}: cannot be prepared for measuring: {error}") from None
