"""Runtimes that can measure, by the name of their target."""

from __future__ import annotations

from nas.latency.runtimes.base import Call, Runtime
from nas.latency.runtimes.coreml import CoreML
from nas.latency.runtimes.onnxruntime import OnnxRuntime
from nas.latency.runtimes.openvino import OpenVino
from nas.latency.runtimes.tensorrt import TensorRT
from nas.latency.runtimes.torch import Torch

RUNTIMES: dict[str, type[Runtime]] = {
    runtime.name: runtime for runtime in (OnnxRuntime, OpenVino, TensorRT, CoreML, Torch)
}

__all__ = ["RUNTIMES", "Call", "Runtime"]
