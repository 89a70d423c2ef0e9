"""Converts modules to Core ML; works on Linux too, where Core ML itself does not run."""

from __future__ import annotations

import platform
from importlib import util
from typing import TYPE_CHECKING, Any

from nas.errors import RuntimeUnavailableError
from nas.precision import Precision

if TYPE_CHECKING:
    from torch import nn


def convert(module: nn.Module, input_shape: tuple[int, ...], precision: Precision) -> Any:
    """Convert a module in evaluation mode to a Core ML model.

    Args:
        module: a block or network, with BatchNorms folded.
        input_shape: [B, C, H, W].
        precision: precision of weights and activations; input and output stay fp32.

    Raises:
        RuntimeUnavailableError: coremltools is not installed.
    """
    if util.find_spec("coremltools") is None:
        raise RuntimeUnavailableError(
            "converting to Core ML needs the package coremltools: pip install coremltools"
        )
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
