"""Runtimes that can measure, by the name of their target."""

from __future__ import annotations

from nas.latency.runtimes.base import Runtime
from nas.latency.runtimes.coreml import CoreML, CoreMLOnIPhone
from nas.latency.runtimes.onnxruntime import OnnxRuntime
from nas.latency.runtimes.openvino import OpenVino
from nas.latency.runtimes.tensorrt import TensorRT
from nas.latency.runtimes.torch import Torch

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

__all__ = ["RUNTIMES", "Runtime"]
