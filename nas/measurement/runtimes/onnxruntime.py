"""ONNX Runtime with one of its execution providers."""

from __future__ import annotations

from collections.abc import Callable
from functools import lru_cache
from importlib import metadata, util
from pathlib import Path
from typing import Any

from nas.measurement.device import Device, this_cpu
from nas.measurement.protocol import Session
from nas.measurement.runtimes.base import Runtime, timed_by_clock
from nas.measurement.runtimes.cuda_driver import cuda_device
from nas.measurement.runtimes.inputs import example_input
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
    "tensor(int8)": "int8",
    "tensor(uint8)": "uint8",
    "tensor(bool)": "bool",
}


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
        inputs = {
            given.name: example_input(given.shape, _NUMPY_TYPES[given.type])
            for given in session.get_inputs()
        }
        if self._on_gpu:
            return timed_by_clock(_bound_call(session, inputs))

        def call() -> None:
            session.run(None, inputs)

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


def _bound_call(session: Any, inputs: dict[str, Any]) -> Callable[[], None]:
    """Make a function that runs the session once, with inputs and outputs kept on the GPU."""
    import onnxruntime as ort

    binding = session.io_binding()
    for name, value in inputs.items():
        binding.bind_ortvalue_input(name, ort.OrtValue.ortvalue_from_numpy(value, "cuda", 0))
    for output in session.get_outputs():
        binding.bind_output(output.name, "cuda")

    def call() -> None:
        session.run_with_iobinding(binding)
        binding.synchronize_outputs()

    return call


def _installed_package() -> str:
    """Name of the installed package that provides the module onnxruntime; several can."""
    names = metadata.packages_distributions().get("onnxruntime", ["onnxruntime"])
    return names[0]
