"""TensorRT 10 and 11 on this machine's NVIDIA GPU.

With both versions a strongly typed engine is built from a network exported in the wanted precision;
TensorRT 11 builds no others. If the Python package is missing, ``trtexec`` is used, which every
TensorRT installation has. Neither of them needs PyTorch on the device.
"""

from __future__ import annotations

import sys
import weakref
from importlib import util
from pathlib import Path
from typing import Any

from nas.errors import ConfigError, RuntimeUnavailableError
from nas.measurement.device import Device, slugify
from nas.measurement.protocol import Session
from nas.measurement.runtimes import trtexec
from nas.measurement.runtimes.base import Runtime, timed_by_device
from nas.measurement.runtimes.cuda_driver import CudaDriver, cuda_device
from nas.precision import Precision
from nas.system import folders
from nas.system.atomic import write_whole
from nas.system.paths import is_writable

OLDEST = 10
"""Oldest major version of TensorRT that is supported."""


class TensorRT(Runtime):
    """Builds an engine with static shapes for each model; inputs and outputs stay on the GPU."""

    name = "tensorrt"
    precisions = ("fp16", "fp32")

    def unavailable(self) -> str | None:
        if not _has_python_package() and trtexec.find() is None:
            return (
                "neither the package tensorrt nor trtexec is installed: pip install tensorrt, "
                "or put trtexec into PATH"
            )
        return cuda_device()[1]

    def version(self) -> str:
        if not _has_python_package():
            return trtexec.version()
        import tensorrt as trt

        return str(trt.__version__)

    def device(self) -> Device:
        device = cuda_device()[0]
        assert device is not None, "ask `unavailable` first"
        return device

    def load(self, path: Path, precision: Precision) -> Session:
        _require_new_enough(self.version())
        cache = timing_cache_path(self.version(), self.device().name)
        if _has_python_package():
            return _engine_session(path, cache)
        return trtexec.load(path, cache)


def timing_cache_path(version: str, device: str) -> Path | None:
    """Path of TensorRT's timing cache, which is kept between builds.

    None if this user has no cache folder that can be written; builds then take longer.
    """
    try:
        folder = folders.user_cache()
        folder.mkdir(parents=True, exist_ok=True)
    except (ConfigError, OSError):
        return None
    if not is_writable(folder):
        return None
    return folder / f"tensorrt-{slugify(version)}-{device}.cache"


def _require_new_enough(version: str) -> None:
    """Refuse a TensorRT that lacks what is used here, before it complains in words of its own.

    Raises:
        RuntimeUnavailableError: it is older than `OLDEST`; says which one it is.
    """
    major = version.partition(".")[0]
    if major.isdigit() and int(major) < OLDEST:
        where = "the package tensorrt" if _has_python_package() else str(trtexec.find())
        raise RuntimeUnavailableError(
            f"{where} is of TensorRT {version}; {OLDEST} or newer is needed (JetPack 6.1 has it): "
            f"pip install -U tensorrt, or name a newer trtexec in the variable TRTEXEC"
        )


def _has_python_package() -> bool:
    return util.find_spec("tensorrt") is not None


def _engine_session(path: Path, cache: Path | None) -> Session:
    """Build an engine with the Python package; the session times it with CUDA events."""
    import tensorrt as trt

    logger = trt.Logger(trt.Logger.WARNING)
    driver = CudaDriver()
    engine = trt.Runtime(logger).deserialize_cuda_engine(_build(path, cache, logger))
    context = engine.create_execution_context()
    buffers = []
    for index in range(engine.num_io_tensors):
        name = engine.get_tensor_name(index)
        values = 1
        for size in engine.get_tensor_shape(name):
            values *= size
        buffers.append(driver.allocate(values * engine.get_tensor_dtype(name).itemsize))
        context.set_tensor_address(name, buffers[-1])
    stream = driver.stream()
    start, end = driver.event(), driver.event()

    def run_once_ms(keep: object = engine) -> float:
        driver.record(start, stream)
        if not context.execute_async_v3(stream):
            raise RuntimeUnavailableError("TensorRT could not run it; see its log above")
        driver.record(end, stream)
        return driver.elapsed_ms(start, end)

    for address in buffers:  # released with the session
        weakref.finalize(run_once_ms, driver.free, address)
    return timed_by_device(run_once_ms)


def _build(path: Path, cache: Path | None, logger: Any) -> Any:
    """Build the serialised engine of an ONNX file, and update the timing cache."""
    import tensorrt as trt

    builder = trt.Builder(logger)
    network = builder.create_network(1 << int(trt.NetworkDefinitionCreationFlag.STRONGLY_TYPED))
    parser = trt.OnnxParser(network, logger)
    if not parser.parse(path.read_bytes()):
        raise RuntimeUnavailableError(f"TensorRT cannot read {path.name}: {parser.get_error(0)}")
    config = builder.create_builder_config()
    known = config.create_timing_cache(cache.read_bytes() if cache and cache.exists() else b"")
    config.set_timing_cache(known, True)
    plan = builder.build_serialized_network(network, config)
    if plan is None:
        raise RuntimeUnavailableError(f"TensorRT could not build {path.name}; see its log above")
    try:
        if cache:
            write_whole(cache, bytes(config.get_timing_cache().serialize()))
    except OSError as error:  # only makes the next build slower
        print(f"{cache}: timing cache not kept: {error.strerror}", file=sys.stderr)
    return plan
