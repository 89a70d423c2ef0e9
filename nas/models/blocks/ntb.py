"""NTB, the Next Transformer Block (arXiv 2207.05501, section 3.3)."""

from __future__ import annotations

from typing import TYPE_CHECKING

from nas.models.operators import conv, e_mhsa, mhca, mlp, patch_embed
from nas.space.block import Block
from nas.space.block_kinds import MIX_RATIO, MLP_RATIO, SR_RATIO, BlockKind, Op

if TYPE_CHECKING:
    from torch import nn


def operators(block: Block) -> tuple[Op, ...]:
    """List the operators of an NTB for one image, in order."""
    pixels = block.out_height * block.out_width
    attention = block.attention_channels
    convolution = block.out_channels - attention
    return (
        *patch_embed(block, attention),
        *e_mhsa(attention, pixels, block.sr_ratio),
        *(() if attention == convolution else (conv(attention, convolution, 1, pixels),)),
        *mhca(convolution, pixels),
        Op(0, 0, 2 * block.out_channels * pixels, 0),  # concatenation
        *mlp(block.out_channels, block.hidden_channels, pixels),
    )


def module(block: Block, drop_path: float) -> nn.Module:
    """The module of an NTB."""
    from nas.models import modules

    return modules.NTB(block, drop_path)


def note(block: Block) -> str:
    """Describe in a report how many channels an NTB gives to attention and to convolution."""
    convolution = block.out_channels - block.attention_channels
    return f"NTB channels: {block.attention_channels} attention, {convolution} convolution"


NTB = BlockKind(
    "ntb",
    "transformer",
    label="NTB",
    meaning="transformer block",
    operators=operators,
    module=module,
    # The order in which samplers are asked; the suggestions of a seed depend on it.
    fields=(MLP_RATIO, SR_RATIO, MIX_RATIO),
    note=note,
)
