"""PyTorch itself, eager, on this machine's CPU."""

from __future__ import annotations

from typing import TYPE_CHECKING

from nas.config import Precision
from nas.latency.device import Device, this_cpu
from nas.latency.runtimes.base import Call, Runtime

if TYPE_CHECKING:
    from torch import nn


class Torch(Runtime):
    """Eager mode in channels_last memory, one thread a core."""

    name = "torch"
    precisions = ("fp32",)

    def unavailable(self) -> str | None:
        return None

    def version(self) -> str:
        from importlib import metadata

        return metadata.version("torch")

    def device(self) -> Device:
        return this_cpu()

    def compile(
        self, module: nn.Module, input_shape: tuple[int, ...], precision: Precision
    ) -> Call:
        import torch

        # `to` with a memory format is typed for whole calls only.
        module.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
        image_BCHW = torch.randn(input_shape).to(memory_format=torch.channels_last)

        def call() -> None:
            with torch.inference_mode():
                module(image_BCHW)

        return call
