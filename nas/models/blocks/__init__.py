"""The kinds of blocks of Next-ViT, one file per kind; importing this package registers them.

Torch is imported when a module is built, not before: tables are read and latencies predicted
without it.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from nas.models.blocks.head import HEAD
from nas.models.blocks.ncb import NCB
from nas.models.blocks.ntb import NTB
from nas.models.blocks.stem import STEM
from nas.space.block import Block
from nas.space.block_kinds import kind_of, register

if TYPE_CHECKING:
    from torch import nn

# Interpolation numbers the kinds in this order; further kinds follow.
for kind in (STEM, NCB, NTB, HEAD):
    register(kind)


def build_block(block: Block, drop_path: float = 0.0) -> nn.Module:
    """Build the module that computes a `Block`; its input is [B, in_channels, height, width].

    Args:
        block: block to build.
        drop_path: stochastic-depth rate of the module's residual branches.
    """
    return kind_of(block.kind).module(block, drop_path)
