"""Writes a module in the format that a runtime loads, chosen by the file's suffix."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

from nas.precision import Precision

if TYPE_CHECKING:
    from torch import nn

Write = Callable[["nn.Module", tuple[int, ...], Precision, Path], None]
"""A function that writes a model file; arguments as of `write_module`."""


def write_module(
    module: nn.Module, input_shape: tuple[int, ...], precision: Precision, path: Path
) -> None:
    """Write a module as a model file; works without the device and its runtime.

    Args:
        module: a block or network in evaluation mode, with BatchNorms folded.
        input_shape: [B, C, H, W].
        precision: precision in which the model is to run. A ``.pt`` file stays fp32: its runtime
            converts it.
        path: path of the file; its suffix is one of `FORMATS`.

    Raises:
        OSError: the file cannot be written.
        RuntimeUnavailableError: a package that the conversion needs is missing.
    """
    FORMATS[path.suffix](module, input_shape, precision, path)


def _write_onnx(
    module: nn.Module, input_shape: tuple[int, ...], precision: Precision, path: Path
) -> None:
    from nas.models.model_files.onnx import export_onnx

    path.write_bytes(export_onnx(module, input_shape, precision=precision))


def _write_coreml(
    module: nn.Module, input_shape: tuple[int, ...], precision: Precision, path: Path
) -> None:
    from nas.models.model_files.coreml import convert

    convert(module, input_shape, precision).save(str(path))


def _write_pickle(
    module: nn.Module, input_shape: tuple[int, ...], precision: Precision, path: Path
) -> None:
    """Pickle a module and its input shape, to be read in the same measurement on this machine."""
    import torch

    torch.save((module, input_shape), path)


FORMATS: dict[str, Write] = {
    ".onnx": _write_onnx,
    ".mlpackage": _write_coreml,
    ".pt": _write_pickle,
}
"""Writers of model files, by the suffix of the file."""
