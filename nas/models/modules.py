"""The modules of Next-ViT (arXiv 2207.05501), one for each kind of block.

Names of modules and parameters follow the authors' published code, so that tensors come in the
order of the public checkpoints.

Shape suffixes: B batch, C channels, H height, W width, N tokens (H*W).
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

from nas.models.layers import (
    BN_EPS,
    EMHSA,
    MHCA,
    MLP,
    BlockModule,
    ConvBNReLU,
    DropPath,
    PatchEmbed,
    fold_preceding,
)
from nas.space.block import Block


class Stem(nn.Sequential, BlockModule):
    """Four 3x3 convolutions of widths c, c/2, c, c (64, 32, 64, 64 published).

    The first one has stride 2. The last one has stride 2 for an output stride of 4, as published,
    and stride 1 for an output stride of 2, for small images.
    """

    def __init__(self, block: Block) -> None:
        width = block.out_channels
        super().__init__(
            ConvBNReLU(block.in_channels, width, stride=2),
            ConvBNReLU(width, width // 2, stride=1),
            ConvBNReLU(width // 2, width, stride=1),
            ConvBNReLU(width, width, stride=block.stride // 2),
        )

    def fuse(self) -> None:
        for layer in self:
            assert isinstance(layer, ConvBNReLU)
            layer.fuse()


class NCB(BlockModule):
    """Next Convolution Block: x + MHCA(x), then x + MLP(BN(x))."""

    def __init__(self, block: Block, drop_path: float = 0.0) -> None:
        super().__init__()
        width = block.out_channels
        self.patch_embed = PatchEmbed(block.in_channels, width, block.stride)
        self.mhca = MHCA(width)
        self.norm: nn.Module = nn.BatchNorm2d(width, eps=BN_EPS)
        self.mlp = MLP(width, block.hidden_channels)
        self.drop_path = DropPath(drop_path)

    def forward(self, x_BCHW: Tensor) -> Tensor:
        x_BCHW = self.patch_embed(x_BCHW)
        x_BCHW = x_BCHW + self.drop_path(self.mhca(x_BCHW))
        x_BCHW = x_BCHW + self.drop_path(self.mlp(self.norm(x_BCHW)))
        return x_BCHW

    def fuse(self) -> None:
        self.patch_embed.fuse()
        self.mhca.fuse()
        fold_preceding(self.mlp.conv1, self.norm)
        self.norm = nn.Identity()

    def branch_ends(self) -> tuple[nn.Conv2d | nn.Linear, ...]:
        return self.mlp.conv2, self.mhca.projection


class NTB(BlockModule):
    """Next Transformer Block: E-MHSA on ``mix_ratio`` of the channels, MHCA on the rest, an MLP."""

    def __init__(self, block: Block, drop_path: float = 0.0) -> None:
        super().__init__()
        width, attention = block.out_channels, block.attention_channels
        convolution = width - attention
        self.patch_embed = PatchEmbed(block.in_channels, attention, block.stride)
        self.norm1: nn.Module = nn.BatchNorm2d(attention, eps=BN_EPS)
        self.e_mhsa = EMHSA(attention, block.sr_ratio)
        self.mhsa_drop_path = DropPath(drop_path * block.mix_ratio)
        self.projection = PatchEmbed(attention, convolution)
        self.mhca = MHCA(convolution)
        self.mhca_drop_path = DropPath(drop_path * (1.0 - block.mix_ratio))
        self.norm2: nn.Module = nn.BatchNorm2d(width, eps=BN_EPS)
        self.mlp = MLP(width, block.hidden_channels)
        self.mlp_drop_path = DropPath(drop_path)

    def forward(self, x_BCHW: Tensor) -> Tensor:
        x_BCHW = self.patch_embed(x_BCHW)
        out_BCN = self.e_mhsa(self.norm1(x_BCHW).flatten(2))
        x_BCHW = x_BCHW + self.mhsa_drop_path(out_BCN.reshape(x_BCHW.shape))
        out_BCHW = self.projection(x_BCHW)
        out_BCHW = out_BCHW + self.mhca_drop_path(self.mhca(out_BCHW))
        x_BCHW = torch.cat([x_BCHW, out_BCHW], dim=1)
        x_BCHW = x_BCHW + self.mlp_drop_path(self.mlp(self.norm2(x_BCHW)))
        return x_BCHW

    def fuse(self) -> None:
        self.patch_embed.fuse()
        # Mean pooling commutes with a per-channel affine map, so norm1 folds through it.
        for linear in (self.e_mhsa.k, self.e_mhsa.v):
            fold_preceding(linear, self.e_mhsa.norm)
            fold_preceding(linear, self.norm1)
        fold_preceding(self.e_mhsa.q, self.norm1)
        self.e_mhsa.norm = nn.Identity()
        self.norm1 = nn.Identity()
        self.projection.fuse()
        self.mhca.fuse()
        fold_preceding(self.mlp.conv1, self.norm2)
        self.norm2 = nn.Identity()

    def branch_ends(self) -> tuple[nn.Conv2d | nn.Linear, ...]:
        return self.mlp.conv2, self.e_mhsa.proj


class Head(BlockModule):
    """BatchNorm, global average pool, linear classifier."""

    def __init__(self, block: Block) -> None:
        super().__init__()
        self.norm: nn.Module = nn.BatchNorm2d(block.in_channels, eps=BN_EPS)
        self.proj_head = nn.Linear(block.in_channels, block.out_channels)

    def forward(self, x_BCHW: Tensor) -> Tensor:
        logits: Tensor = self.proj_head(self.norm(x_BCHW).mean((2, 3)))
        return logits

    def fuse(self) -> None:
        fold_preceding(self.proj_head, self.norm)
        self.norm = nn.Identity()
