"""Core ML on this Mac. Models are converted anywhere; only macOS can run them."""

from __future__ import annotations

import platform
from importlib import metadata, util
from typing import TYPE_CHECKING, Any

from nas.config import Precision
from nas.latency.device import Device, this_cpu
from nas.latency.runtimes.base import Call, Runtime

if TYPE_CHECKING:
    from torch import nn


class CoreML(Runtime):
    """ML program on all compute units (CPU, GPU and Neural Engine)."""

    name = "coreml"
    precisions = ("fp16", "fp32")

    def unavailable(self) -> str | None:
        if util.find_spec("coremltools") is None:
            return "the package coremltools is not installed: pip install -e '.[coreml]'"
        if platform.system() != "Darwin":
            return "Core ML runs on macOS only"
        return None

    def version(self) -> str:
        return f"{metadata.version('coremltools')} on macOS {platform.mac_ver()[0]}"

    def device(self) -> Device:
        return this_cpu()

    def compile(
        self, module: nn.Module, input_shape: tuple[int, ...], precision: Precision
    ) -> Call:
        import numpy as np

        model = convert(module, input_shape, precision)
        name = model.get_spec().description.input[0].name
        image = np.random.default_rng(0).standard_normal(input_shape).astype(np.float32)
        inputs = {name: image}

        def call() -> None:
            model.predict(inputs)

        return call


def convert(module: nn.Module, input_shape: tuple[int, ...], precision: Precision) -> Any:
    """The Core ML model of a module in evaluation mode; works on Linux too.

    Args:
        module: a block or network, BatchNorms folded.
        input_shape: [B, C, H, W].
        precision: of weights and activations; input and output stay fp32.
    """
    import coremltools as ct
    import torch

    program = torch.export.export(module, (torch.zeros(input_shape),)).run_decompositions({})
    exact = ct.precision.FLOAT16 if precision == "fp16" else ct.precision.FLOAT32
    return ct.convert(
        program,
        compute_precision=exact,
        minimum_deployment_target=ct.target.iOS16,
        skip_model_load=platform.system() != "Darwin",
    )
