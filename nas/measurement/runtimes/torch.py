"""PyTorch, eager or compiled, on the CPU, an NVIDIA GPU or an Apple GPU."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from importlib import metadata, util
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar, Literal

from nas.measurement.device import Device, slugify, this_cpu
from nas.measurement.protocol import Session
from nas.measurement.runtimes.base import Runtime, timed_by_clock, timed_by_device
from nas.precision import Precision

if TYPE_CHECKING:
    import torch


class Torch(Runtime):
    """Runs a module in channels_last memory format and inference mode.

    The model file is a pickled module. It is written and read within one measurement on this
    machine.

    Args:
        name: name of the target.
        device_type: device that runs the module; an NVIDIA GPU replays it as a CUDA graph.
        compiled: whether to compile it with `torch.compile`, with the default settings.
    """

    suffix: ClassVar[str] = ".pt"
    in_kits: ClassVar[bool] = False

    def __init__(
        self, name: str, device_type: Literal["cpu", "cuda", "mps"], compiled: bool = False
    ) -> None:
        self.name, self.device_type, self.compiled = name, device_type, compiled
        self.precisions: tuple[Precision, ...] = (
            ("fp32",) if device_type == "cpu" else ("fp16", "fp32")
        )

    def unavailable(self) -> str | None:
        if util.find_spec("torch") is None:
            return "the package torch is not installed: pip install torch"
        if self.compiled and self.device_type == "cpu" and not _has_compiler():
            return "torch.compile needs a C++ compiler: install g++ or clang++"
        if self.device_type == "cpu":
            return None
        import torch

        if self.device_type == "cuda" and not torch.cuda.is_available():
            return "PyTorch sees no NVIDIA GPU: a CUDA build of torch and a GPU are needed"
        if self.device_type == "mps" and not torch.backends.mps.is_available():
            return "PyTorch sees no Apple GPU: it needs macOS on Apple silicon"
        return None

    def version(self) -> str:
        return metadata.version("torch")

    def device(self) -> Device:
        if self.device_type != "cuda":
            return this_cpu()
        import torch

        name = torch.cuda.get_device_name()
        return Device(slugify(name), name, 0)

    def load(self, path: Path, precision: Precision) -> Session:
        import torch

        if self.device_type == "cpu":
            torch.set_num_threads(this_cpu().threads)
        module, input_shape = torch.load(path, weights_only=False)
        dtype = torch.float16 if precision == "fp16" else torch.float32
        where = {"device": self.device_type, "dtype": dtype, "memory_format": torch.channels_last}
        module = module.to(**where)
        if self.compiled:
            module = torch.compile(module)
        image = torch.randn(input_shape).to(**where)  # type: ignore[call-overload]
        if self.device_type == "cuda":
            return _cuda_graph_session(module, image)
        finish = torch.mps.synchronize if self.device_type == "mps" else lambda: None

        def call() -> None:
            with torch.inference_mode():
                module(image)
            finish()

        return timed_by_clock(call)


def _cuda_graph_session(module: Callable[[Any], Any], image_BCHW: torch.Tensor) -> Session:
    """Make a session that replays a captured CUDA graph and times it with CUDA events."""
    import torch

    side = torch.cuda.Stream()  # type: ignore[no-untyped-call]
    with torch.inference_mode(), torch.cuda.stream(side):
        for _ in range(3):  # cuDNN and torch.compile choose their kernels before the capture
            module(image_BCHW)
    side.synchronize()
    graph = torch.cuda.CUDAGraph()
    with torch.inference_mode(), torch.cuda.graph(graph):
        kept_output = module(image_BCHW)

    def run_once_ms(keep: object = (module, kept_output, image_BCHW)) -> float:
        start = torch.cuda.Event(enable_timing=True)  # type: ignore[no-untyped-call]
        end = torch.cuda.Event(enable_timing=True)  # type: ignore[no-untyped-call]
        start.record()
        graph.replay()
        end.record()
        end.synchronize()
        return float(start.elapsed_time(end))

    return timed_by_device(run_once_ms)


def _has_compiler() -> bool:
    return any(shutil.which(name) for name in ("g++", "clang++", "cl"))
