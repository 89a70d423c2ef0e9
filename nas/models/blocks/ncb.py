"""NCB, the Next Convolution Block (arXiv 2207.05501, section 3.2)."""

from __future__ import annotations

from typing import TYPE_CHECKING

from nas.models.operators import mhca, mlp, patch_embed
from nas.space.block import Block
from nas.space.block_kinds import MLP_RATIO, BlockKind, Op

if TYPE_CHECKING:
    from torch import nn


def operators(block: Block) -> tuple[Op, ...]:
    """List the operators of an NCB for one image, in order."""
    pixels = block.out_height * block.out_width
    return (
        *patch_embed(block, block.out_channels),
        *mhca(block.out_channels, pixels),
        *mlp(block.out_channels, block.hidden_channels, pixels),
    )


def module(block: Block, drop_path: float) -> nn.Module:
    """The module of an NCB."""
    from nas.models import modules

    return modules.NCB(block, drop_path)


NCB = BlockKind(
    "ncb",
    "convolution",
    label="NCB",
    meaning="convolution block",
    operators=operators,
    module=module,
    fields=(MLP_RATIO,),
)
