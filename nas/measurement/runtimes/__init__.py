"""All runtimes, by the name of their target."""

from __future__ import annotations

from nas.errors import RuntimeUnavailableError, unknown
from nas.measurement.runtimes.base import Runtime
from nas.measurement.runtimes.coreml import CoreML, CoreMLOnIPhone
from nas.measurement.runtimes.onnxruntime import OnnxRuntime
from nas.measurement.runtimes.openvino import OpenVino
from nas.measurement.runtimes.tensorrt import TensorRT
from nas.measurement.runtimes.torch import Torch

RUNTIMES: dict[str, Runtime] = {
    runtime.name: runtime
    for runtime in (
        OnnxRuntime("onnxruntime", "CPUExecutionProvider", ("fp32", "fp16")),
        OnnxRuntime("onnxruntime-cuda", "CUDAExecutionProvider", ("fp16", "fp32")),
        OnnxRuntime("onnxruntime-tensorrt", "TensorrtExecutionProvider", ("fp16", "fp32")),
        OnnxRuntime("onnxruntime-coreml", "CoreMLExecutionProvider", ("fp32", "fp16")),
        OnnxRuntime("onnxruntime-openvino", "OpenVINOExecutionProvider", ("fp32",)),
        OpenVino(),
        TensorRT(),
        CoreML(),
        CoreMLOnIPhone(),
        Torch("torch", "cpu"),
        Torch("torch-compile", "cpu", compiled=True),
        Torch("torch-cuda", "cuda"),
        Torch("torch-cuda-compile", "cuda", compiled=True),
        Torch("torch-mps", "mps"),
    )
}


def runtime_here(target: str) -> Runtime:
    """The runtime of a target, which must be usable on this machine.

    Raises:
        RuntimeUnavailableError: the target is unknown, or cannot be measured here; says why.
    """
    if target not in RUNTIMES:
        raise RuntimeUnavailableError(unknown("target", target, RUNTIMES))
    reason = RUNTIMES[target].unavailable()
    if reason:
        raise RuntimeUnavailableError(f"target {target!r} cannot be measured here: {reason}")
    return RUNTIMES[target]


__all__ = ["RUNTIMES", "Runtime", "runtime_here"]
