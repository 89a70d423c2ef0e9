"""ONNX Runtime with one of its execution providers."""

from __future__ import annotations

from collections.abc import Callable
from functools import lru_cache
from importlib import metadata, util
from pathlib import Path
from typing import Any

from nas.errors import RuntimeUnavailableError
from nas.measurement.device import Device, this_cpu
from nas.measurement.protocol import Session
from nas.measurement.runtimes.base import Runtime, timed_by_clock
from nas.measurement.runtimes.cuda_driver import cuda_device
from nas.measurement.runtimes.inputs import example_bits, example_input
from nas.precision import Precision

_PACKAGES = {
    "CPUExecutionProvider": "onnxruntime",
    "CUDAExecutionProvider": "onnxruntime-gpu",
    "TensorrtExecutionProvider": "onnxruntime-gpu",
    "CoreMLExecutionProvider": "onnxruntime (on macOS)",
    "OpenVINOExecutionProvider": "onnxruntime-openvino",
}

_NUMPY_TYPES = {
    "tensor(float)": "float32",
    "tensor(float16)": "float16",
    "tensor(double)": "float64",
    "tensor(int64)": "int64",
    "tensor(int32)": "int32",
    "tensor(int16)": "int16",
    "tensor(int8)": "int8",
    "tensor(uint64)": "uint64",
    "tensor(uint32)": "uint32",
    "tensor(uint16)": "uint16",
    "tensor(uint8)": "uint8",
    "tensor(bool)": "bool",
    "tensor(string)": "object",
}

_BITS_TYPES = {
    "tensor(bfloat16)": ("uint16", 16),
    "tensor(float8e4m3fn)": ("uint8", 17),
    "tensor(float8e4m3fnuz)": ("uint8", 18),
    "tensor(float8e5m2)": ("uint8", 19),
    "tensor(float8e5m2fnuz)": ("uint8", 20),
}
"""Types that NumPy lacks: the NumPy type of the same width, and the number of the type in ONNX."""


class OnnxRuntime(Runtime):
    """ONNX Runtime with one execution provider and all graph optimisations.

    Args:
        name: name of the target.
        provider: name of the execution provider. Operators it does not support run on the CPU.
        precisions: see `Runtime`.
    """

    def __init__(self, name: str, provider: str, precisions: tuple[Precision, ...]) -> None:
        self.name, self.provider, self.precisions = name, provider, precisions
        self._on_gpu = provider in ("CUDAExecutionProvider", "TensorrtExecutionProvider")

    def unavailable(self) -> str | None:
        if util.find_spec("onnxruntime") is None:
            return (
                "the package onnxruntime is not installed: pip install "
                + _PACKAGES[self.provider].split()[0]
            )
        import onnxruntime as ort

        if self.provider not in ort.get_available_providers():
            return (
                f"the installed onnxruntime has no {self.provider}: "
                f"pip install {_PACKAGES[self.provider]}"
            )
        return cuda_device()[1] if self._on_gpu else None

    def version(self) -> str:
        return metadata.version(_installed_package())

    def device(self) -> Device:
        if not self._on_gpu:
            return this_cpu()
        device = cuda_device()[0]
        assert device is not None, "ask `unavailable` first"
        return device

    def load(self, path: Path, precision: Precision) -> Session:
        session = self._open(path)
        given = session.get_inputs()
        if self._on_gpu or any(entry.type in _BITS_TYPES for entry in given):
            device = "cuda" if self._on_gpu else "cpu"
            values = {entry.name: _ort_value(entry, device) for entry in given}
            return timed_by_clock(_bound_call(session, values, device))
        arrays = {entry.name: _array(entry) for entry in given}

        def call() -> None:
            session.run(None, arrays)

        return timed_by_clock(call)

    def _open(self, path: Path) -> Any:
        import onnxruntime as ort

        _share_one_thread_pool(this_cpu().threads)
        options = ort.SessionOptions()
        options.use_per_session_threads = False
        options.log_severity_level = 3
        providers = [self.provider]
        if self.provider != "CPUExecutionProvider":
            providers.append("CPUExecutionProvider")
        return ort.InferenceSession(str(path), options, providers=providers)


@lru_cache(maxsize=1)
def _share_one_thread_pool(threads: int) -> None:
    """Make all sessions of this process share one thread pool.

    Threads of a session spin for a while after a call. If several sessions with threads of their
    own are timed in turns, they take the cores from each other and the measured latencies are too
    high. The setting lasts as long as the process, so measurements run in a process of their own.
    """
    import onnxruntime as ort

    ort.set_global_thread_pool_sizes(threads, 1)


def _array(given: Any) -> Any:
    """Example value of an input of a session.

    Raises:
        RuntimeUnavailableError: there are no example values of its type.
    """
    if given.type not in _NUMPY_TYPES:
        raise RuntimeUnavailableError(
            f"input {given.name!r} has the type {given.type}, for which this program has no "
            f"example values: it cannot be measured"
        )
    return example_input(given.shape, _NUMPY_TYPES[given.type])


def _ort_value(given: Any, device: str) -> Any:
    """Example value of an input of a session, on the device; errors as `_array`."""
    from onnxruntime import OrtValue

    if given.type not in _BITS_TYPES:
        return OrtValue.ortvalue_from_numpy(_array(given), device, 0)
    dtype, number = _BITS_TYPES[given.type]
    if device != "cpu":  # whatever is in the memory
        return OrtValue.ortvalue_from_shape_and_type(given.shape, number, device, 0)
    return OrtValue.ortvalue_from_numpy_with_onnx_type(example_bits(given.shape, dtype), number)


def _bound_call(session: Any, inputs: dict[str, Any], device: str) -> Callable[[], None]:
    """Make a function that runs the session once, with inputs and outputs kept on the device."""
    binding = session.io_binding()
    for name, value in inputs.items():
        binding.bind_ortvalue_input(name, value)
    for output in session.get_outputs():
        binding.bind_output(output.name, device)

    def call() -> None:
        session.run_with_iobinding(binding)
        binding.synchronize_outputs()

    return call


def _installed_package() -> str:
    """Name of the installed package that provides the module onnxruntime; several can."""
    names = metadata.packages_distributions().get("onnxruntime", ["onnxruntime"])
    return names[0]
