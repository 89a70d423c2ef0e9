"""ONNX Runtime on this machine's CPU."""

from __future__ import annotations

from functools import lru_cache
from importlib import metadata, util
from typing import TYPE_CHECKING

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
    """
    import onnxruntime as ort

    ort.set_global_thread_pool_sizes(threads, 1)


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
        import onnxruntime as ort

        from nas.export import export_onnx

        _share_one_thread_pool(self.device().threads)
        options = ort.SessionOptions()
        options.use_per_session_threads = False
        options.log_severity_level = 3
        session = ort.InferenceSession(
            export_onnx(module, input_shape, precision=precision),
            options,
            providers=["CPUExecutionProvider"],
        )
        dtype = np.float16 if precision == "fp16" else np.float32
        image = np.random.default_rng(0).standard_normal(input_shape).astype(dtype)
        inputs = {session.get_inputs()[0].name: image}

        def call() -> None:
            session.run(None, inputs)

        return call
