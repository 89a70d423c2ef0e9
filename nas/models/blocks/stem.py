"""The stem: four 3x3 convolutions that bring an image to a stride of 4, or of 2."""

from __future__ import annotations

from typing import TYPE_CHECKING

from nas.models.operators import conv
from nas.space.block import Block
from nas.space.block_kinds import BlockKind, Op

if TYPE_CHECKING:
    from torch import nn


def operators(block: Block) -> tuple[Op, ...]:
    """List the operators of a stem for one image, in order."""
    width = block.out_channels
    full = block.height * block.width
    half = -(-block.height // 2) * -(-block.width // 2)
    out = block.out_height * block.out_width
    return (
        conv(block.in_channels, width, 3, half, in_pixels=full),
        conv(width, width // 2, 3, half),
        conv(width // 2, width, 3, half),
        conv(width, width, 3, out, in_pixels=half),
    )


def module(block: Block, drop_path: float) -> nn.Module:
    """The module of a stem; it has no residual branch to drop."""
    from nas.models.modules import Stem

    return Stem(block)


def note(block: Block) -> str:
    """Describe a stem's convolutions in one phrase, for a report."""
    strided = "two of stride 2" if block.stride == 4 else "the first of stride 2"
    return f"four 3x3 convolutions, {strided}, {block.out_channels} channels"


STEM = BlockKind("stem", "end", "Stem", "convolutions on the image", operators, module, note=note)
