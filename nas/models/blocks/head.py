"""The head: BatchNorm, global average pool, linear classifier."""

from __future__ import annotations

from typing import TYPE_CHECKING

from nas.models.operators import linear
from nas.space.block import Block
from nas.space.block_kinds import BlockKind, Op

if TYPE_CHECKING:
    from torch import nn


def operators(block: Block) -> tuple[Op, ...]:
    """List the operators of a head for one image, in order."""
    read = block.in_channels * block.height * block.width
    pool = Op(0, 0, read + block.in_channels, 2 * block.in_channels)
    return pool, linear(block.in_channels, block.out_channels, 1)


def module(block: Block, drop_path: float) -> nn.Module:
    """The module of a head; it has no residual branch to drop."""
    from nas.models.modules import Head

    return Head(block)


HEAD = BlockKind(
    "head",
    "end",
    label="Head",
    meaning="classifier",
    operators=operators,
    module=module,
    pools=True,
    note=lambda _: "BatchNorm, global average pool, linear",
)
