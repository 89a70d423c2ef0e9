"""ONNX Runtime on this machine's CPU."""

from __future__ import annotations

from functools import lru_cache
from importlib import metadata, util
from typing import TYPE_CHECKING, Any

from nas.config import Precision
from nas.latency.device import Device, this_cpu
from nas.latency.runtimes.base import Call, Runtime

if TYPE_CHECKING:
    from torch import nn


@lru_cache(maxsize=1)
def _share_one_thread_pool(threads: int) -> None:
    """One thread pool for all sessions of this process.

    A session's own threads go on spinning for a while after a call. With several sessions
    timed in turns they take the cores from each other, and a call of 2 ms takes up to 8.
    From then on ONNX Runtime wants every session of the process to share it: `open_session`.
    """
    import onnxruntime as ort

    ort.set_global_thread_pool_sizes(threads, 1)


def open_session(model: bytes | str) -> Any:
    """A CPU session (`onnxruntime.InferenceSession`) that can live beside the measured ones.

    Args:
        model: ONNX bytes, or the path of a file.
    """
    import onnxruntime as ort

    _share_one_thread_pool(this_cpu().threads)
    options = ort.SessionOptions()
    options.use_per_session_threads = False
    options.log_severity_level = 3
    return ort.InferenceSession(model, options, providers=["CPUExecutionProvider"])


class OnnxRuntime(Runtime):
    """Session of the CPU provider, all graph optimisations, one thread a core."""

    name = "onnxruntime"
    precisions = ("fp32", "fp16")

    def unavailable(self) -> str | None:
        if util.find_spec("onnxruntime") is None:
            return "the package onnxruntime is not installed: pip install onnxruntime"
        return None

    def version(self) -> str:
        return metadata.version("onnxruntime")

    def device(self) -> Device:
        return this_cpu()

    def compile(
        self, module: nn.Module, input_shape: tuple[int, ...], precision: Precision
    ) -> Call:
        import numpy as np

        from nas.export import export_onnx

        session = open_session(export_onnx(module, input_shape, precision=precision))
        dtype = np.float16 if precision == "fp16" else np.float32
        image = np.random.default_rng(0).standard_normal(input_shape).astype(dtype)
        inputs = {session.get_inputs()[0].name: image}

        def call() -> None:
            session.run(None, inputs)

        return call
