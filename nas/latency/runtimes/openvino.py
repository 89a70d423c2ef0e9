"""OpenVINO on this machine's CPU."""

from __future__ import annotations

from importlib import metadata, util
from typing import TYPE_CHECKING

from nas.config import Precision
from nas.latency.device import Device, this_cpu
from nas.latency.runtimes.base import Call, Runtime

if TYPE_CHECKING:
    from torch import nn


class OpenVino(Runtime):
    """CPU plugin, tuned for the latency of one request, one thread a core."""

    name = "openvino"
    precisions = ("fp32",)

    def unavailable(self) -> str | None:
        if util.find_spec("openvino") is None:
            return "the package openvino is not installed: pip install -e '.[openvino]'"
        return None

    def version(self) -> str:
        return metadata.version("openvino")

    def device(self) -> Device:
        return this_cpu()

    def compile(
        self, module: nn.Module, input_shape: tuple[int, ...], precision: Precision
    ) -> Call:
        import numpy as np
        import openvino

        from nas.export import export_onnx

        core = openvino.Core()
        settings = {
            "PERFORMANCE_HINT": "LATENCY",
            "INFERENCE_NUM_THREADS": self.device().threads,
            "INFERENCE_PRECISION_HINT": "f32",  # else bf16 where the CPU has it
        }
        onnx_bytes = export_onnx(module, input_shape, precision=precision)
        model = core.compile_model(core.read_model(onnx_bytes, b""), "CPU", settings)
        request = model.create_infer_request()
        image = np.random.default_rng(0).standard_normal(input_shape).astype(np.float32)
        request.set_input_tensor(openvino.Tensor(image))

        def call() -> None:
            request.infer()

        return call
