"""Writes the model files that a bench measures: blocks, networks, a reference and an empty model.

All weights repeat a short random pattern, as latency does not depend on weights. Such models are
built faster than with the published initialisation, and a device kit of hundreds of them compresses
well.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from nas.errors import RuntimeUnavailableError
from nas.measurement.runtimes import Runtime
from nas.models.model_files.formats import write_module
from nas.precision import Precision
from nas.space.architecture import Architecture
from nas.space.block import Block
from nas.space.workload import Workload

if TYPE_CHECKING:
    from torch import nn

REFERENCE_BLOCK = Block("ncb", 192, 192, 1, 28, 28, mlp_ratio=3.0)
"""The reference of `nas.measurement.protocol`, which shows how fast the machine is at the moment: a
block of the published networks, neither tiny nor bound by memory."""

PATTERN_LENGTH = 4096
"""Number of weights in the pattern; in fp32 the pattern fits the window of zip's compression."""

_EMPTY_SHAPE = (32, 1, 1)


@dataclass(frozen=True)
class ModelWriter:
    """Writes model files of one runtime, for a measurement.

    Its methods raise `RuntimeUnavailableError` if a file cannot be written.

    Attributes:
        runtime: runtime that loads the files.
        precision, batch_size: precision and batch size of every model.
    """

    runtime: Runtime
    precision: Precision
    batch_size: int

    def block(self, block: Block, path: Path) -> Path:
        """Write one block at its own input size; returns the path."""
        from nas.models.blocks import build_block

        module = _built(lambda: build_block(block))
        return self._write(module, (block.in_channels, block.height, block.width), path)

    def network(self, architecture: Architecture, workload: Workload, path: Path) -> Path:
        """Write a whole network; returns the path."""
        from nas.models.network import build_network

        module = _built(lambda: build_network(architecture, workload.outputs))
        return self._write(module, (3, workload.height, workload.width), path)

    def reference(self, folder: Path) -> Path:
        """Write the reference block into a folder; returns the path."""
        return self.block(REFERENCE_BLOCK, self.path(folder, "reference"))

    def empty(self, folder: Path) -> Path:
        """Write a model of one ReLU into a folder, for the overhead of a call; returns the path."""
        from torch import nn

        return self._write(nn.ReLU().eval(), _EMPTY_SHAPE, self.path(folder, "empty"))

    def path(self, folder: Path, stem: str) -> Path:
        """Path of a model in a folder: ``stem``, with the suffix that the runtime loads."""
        return folder / f"{stem}{self.runtime.suffix}"

    def _write(self, module: nn.Module, shape: tuple[int, int, int], path: Path) -> Path:
        try:
            write_module(module, (self.batch_size, *shape), self.precision, path)
        except OSError as error:
            raise RuntimeUnavailableError(
                f"{path}: cannot be written: {error.strerror or error}; make room there, or name "
                f"another folder for temporary files with TMPDIR"
            ) from None
        return path


def _built(build: Callable[[], nn.Module]) -> nn.Module:
    """Build a module in evaluation mode, with BatchNorms folded and the pattern as weights."""
    import torch

    with torch.device("meta"):  # allocates and initialises nothing
        module = build().eval()
        module.fuse()  # type: ignore[operator]
    module.to_empty(device="cpu")
    pattern = 0.02 * torch.randn(PATTERN_LENGTH, generator=torch.Generator().manual_seed(0))
    with torch.no_grad():
        for number, parameter in enumerate(module.parameters()):
            # Each begins at another place of the pattern: exporters store equal weights only once,
            # and what is read twice is in the cache.
            shifted = pattern.roll(37 * number)
            repeats = -(-parameter.numel() // PATTERN_LENGTH)
            parameter.copy_(shifted.repeat(repeats)[: parameter.numel()].view_as(parameter))
    assert not list(module.buffers()), "folding leaves no statistics"
    return module
