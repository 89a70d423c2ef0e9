"""OpenVINO on this machine's CPU."""

from __future__ import annotations

from importlib import metadata, util
from pathlib import Path

from nas.measurement.device import Device, this_cpu
from nas.measurement.protocol import Session
from nas.measurement.runtimes.base import Runtime, timed_by_clock
from nas.measurement.runtimes.inputs import example_input
from nas.precision import Precision


class OpenVino(Runtime):
    """OpenVINO's CPU plugin, tuned for the latency of one request, one thread for each core."""

    name = "openvino"
    precisions = ("fp32",)

    def unavailable(self) -> str | None:
        if util.find_spec("openvino") is None:
            return "the package openvino is not installed: pip install openvino"
        return None

    def version(self) -> str:
        return metadata.version("openvino")

    def device(self) -> Device:
        return this_cpu()

    def load(self, path: Path, precision: Precision) -> Session:
        import openvino

        core = openvino.Core()
        settings = {
            "PERFORMANCE_HINT": "LATENCY",
            "INFERENCE_NUM_THREADS": self.device().threads,
            "INFERENCE_PRECISION_HINT": "f32",  # the default is bf16 on CPUs that support it
        }
        model = core.compile_model(core.read_model(str(path)), "CPU", settings)
        request = model.create_infer_request()
        for given in model.inputs:
            # OpenVINO shows types that NumPy lacks as others of the same width.
            tensor = openvino.Tensor(given.element_type, given.shape)
            tensor.data[...] = example_input(tuple(given.shape), given.element_type.to_dtype())
            request.set_tensor(given, tensor)

        def call() -> None:
            request.infer()

        return timed_by_clock(call)
