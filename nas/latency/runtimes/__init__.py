"""Runtimes that can measure, by the name of their target."""

from __future__ import annotations

from nas.latency.runtimes.base import Call, Runtime
from nas.latency.runtimes.onnxruntime import OnnxRuntime

RUNTIMES: dict[str, type[Runtime]] = {OnnxRuntime.name: OnnxRuntime}

__all__ = ["RUNTIMES", "Call", "Runtime"]
