"""The modules of Next-ViT (arXiv 2207.05501), one for each kind of `Block`.

Module and parameter names follow the authors' published code, so that tensors come in the
order of the public checkpoints. Every module folds its BatchNorms in `fuse()`.

Shape suffixes: B batch, C channels, H height, W width, N tokens (H*W), M reduced tokens,
h heads, d channels of a head.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.nn.utils.fusion import fuse_conv_bn_eval

from nas.space.block import HEAD_DIM, Block

BN_EPS = 1e-5


class DropPath(nn.Module):
    """Stochastic depth: drops a residual branch for whole samples while training."""

    def __init__(self, rate: float) -> None:
        super().__init__()
        self.rate = rate

    def forward(self, x_BCHW: Tensor) -> Tensor:
        if not self.training or self.rate == 0.0:
            return x_BCHW
        keep = 1.0 - self.rate
        mask = x_BCHW.new_empty((x_BCHW.shape[0],) + (1,) * (x_BCHW.ndim - 1))
        return x_BCHW * mask.bernoulli_(keep).div_(keep)


class ConvBNReLU(nn.Module):
    """3x3 convolution, BatchNorm, ReLU."""

    def __init__(self, in_channels: int, out_channels: int, stride: int) -> None:
        super().__init__()
        self.conv = nn.Conv2d(in_channels, out_channels, 3, stride, padding=1, bias=False)
        self.norm: nn.Module = nn.BatchNorm2d(out_channels, eps=BN_EPS)
        self.act = nn.ReLU(inplace=True)

    def forward(self, x_BCHW: Tensor) -> Tensor:
        out_BCHW: Tensor = self.act(self.norm(self.conv(x_BCHW)))
        return out_BCHW

    def fuse(self) -> None:
        self.conv, self.norm = fold_following(self.conv, self.norm), nn.Identity()


class Stem(nn.Sequential):
    """Four 3x3 convolutions, output stride 4: widths c, c/2, c, c (64, 32, 64, 64 published)."""

    def __init__(self, block: Block) -> None:
        width = block.out_channels
        super().__init__(
            ConvBNReLU(block.in_channels, width, stride=2),
            ConvBNReLU(width, width // 2, stride=1),
            ConvBNReLU(width // 2, width, stride=1),
            ConvBNReLU(width, width, stride=2),
        )

    def fuse(self) -> None:
        for layer in self:
            assert isinstance(layer, ConvBNReLU)
            layer.fuse()


class PatchEmbed(nn.Module):
    """Changes size or width in front of a block; nothing where neither changes."""

    def __init__(self, in_channels: int, out_channels: int, stride: int = 1) -> None:
        super().__init__()
        self.avgpool: nn.Module = nn.Identity()
        self.conv: nn.Module = nn.Identity()
        self.norm: nn.Module = nn.Identity()
        if stride == 2:
            self.avgpool = nn.AvgPool2d(2, 2, ceil_mode=True, count_include_pad=False)
        if stride == 2 or in_channels != out_channels:
            self.conv = nn.Conv2d(in_channels, out_channels, 1, bias=False)
            self.norm = nn.BatchNorm2d(out_channels, eps=BN_EPS)

    def forward(self, x_BCHW: Tensor) -> Tensor:
        out_BCHW: Tensor = self.norm(self.conv(self.avgpool(x_BCHW)))
        return out_BCHW

    def fuse(self) -> None:
        if isinstance(self.conv, nn.Conv2d):
            self.conv, self.norm = fold_following(self.conv, self.norm), nn.Identity()


class MHCA(nn.Module):
    """Multi-head convolutional attention: grouped 3x3 convolution, then a 1x1 projection."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.group_conv3x3 = nn.Conv2d(
            channels, channels, 3, padding=1, groups=channels // HEAD_DIM, bias=False
        )
        self.norm: nn.Module = nn.BatchNorm2d(channels, eps=BN_EPS)
        self.act = nn.ReLU(inplace=True)
        self.projection = nn.Conv2d(channels, channels, 1, bias=False)

    def forward(self, x_BCHW: Tensor) -> Tensor:
        x_BCHW = self.act(self.norm(self.group_conv3x3(x_BCHW)))
        out_BCHW: Tensor = self.projection(x_BCHW)
        return out_BCHW

    def fuse(self) -> None:
        self.group_conv3x3 = fold_following(self.group_conv3x3, self.norm)
        self.norm = nn.Identity()


class MLP(nn.Module):
    """Two 1x1 convolutions with a ReLU between them."""

    def __init__(self, channels: int, hidden_channels: int) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(channels, hidden_channels, 1)
        self.act = nn.ReLU(inplace=True)
        self.conv2 = nn.Conv2d(hidden_channels, channels, 1)

    def forward(self, x_BCHW: Tensor) -> Tensor:
        out_BCHW: Tensor = self.conv2(self.act(self.conv1(x_BCHW)))
        return out_BCHW


class EMHSA(nn.Module):
    """Efficient multi-head self-attention: keys and values see spatially reduced tokens.

    The reduction pools ``sr_ratio**2`` neighbours of the *flattened* token sequence, as the
    published model does; a two-dimensional pooling gives other outputs.
    """

    def __init__(self, channels: int, sr_ratio: int) -> None:
        super().__init__()
        self.heads = channels // HEAD_DIM
        self.q = nn.Linear(channels, channels)
        self.k = nn.Linear(channels, channels)
        self.v = nn.Linear(channels, channels)
        self.proj = nn.Linear(channels, channels)
        self.sr: nn.Module = nn.Identity()
        self.norm: nn.Module = nn.Identity()
        if sr_ratio > 1:
            self.sr = nn.AvgPool1d(sr_ratio**2, sr_ratio**2)
            self.norm = nn.BatchNorm1d(channels, eps=BN_EPS)

    def forward(self, x_BCN: Tensor) -> Tensor:
        x_BNC = x_BCN.transpose(1, 2)
        reduced_BMC = self.norm(self.sr(x_BCN)).transpose(1, 2)
        q_BhNd = self.split_heads(self.q(x_BNC))
        k_BhMd = self.split_heads(self.k(reduced_BMC))
        v_BhMd = self.split_heads(self.v(reduced_BMC))
        out_BhNd = F.scaled_dot_product_attention(q_BhNd, k_BhMd, v_BhMd, scale=HEAD_DIM**-0.5)
        out_BNC: Tensor = self.proj(out_BhNd.transpose(1, 2).flatten(2))
        return out_BNC.transpose(1, 2)

    def split_heads(self, x_BNC: Tensor) -> Tensor:
        batch, tokens = x_BNC.shape[:2]
        return x_BNC.reshape(batch, tokens, self.heads, HEAD_DIM).transpose(1, 2)


class NCB(nn.Module):
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


class NTB(nn.Module):
    """Next Transformer Block: E-MHSA on most channels, MHCA on the rest, then an MLP on all."""

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


class Head(nn.Module):
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


def build_block(block: Block, drop_path: float = 0.0) -> nn.Module:
    """The module that computes a `Block`: input [B, in_channels, height, width].

    Args:
        block: what to build.
        drop_path: stochastic-depth rate of its residual branches.
    """
    if block.kind == "stem":
        return Stem(block)
    if block.kind == "ncb":
        return NCB(block, drop_path)
    if block.kind == "ntb":
        return NTB(block, drop_path)
    return Head(block)


def fold_following(conv: nn.Conv2d, norm: nn.Module) -> nn.Conv2d:
    """A convolution that includes the BatchNorm behind it (inference statistics)."""
    if isinstance(norm, nn.Identity):
        return conv
    assert isinstance(norm, nn.BatchNorm2d)
    return fuse_conv_bn_eval(conv, norm)


@torch.no_grad()
def fold_preceding(layer: nn.Linear | nn.Conv2d, norm: nn.Module) -> None:
    """Make a linear layer or 1x1 convolution include the BatchNorm in front of it, in place."""
    if isinstance(norm, nn.Identity):
        return
    assert isinstance(norm, (nn.BatchNorm1d, nn.BatchNorm2d))
    assert norm.running_mean is not None and norm.running_var is not None
    assert layer.bias is not None
    scale_C = norm.weight * torch.rsqrt(norm.running_var + norm.eps)
    shift_C = norm.bias - norm.running_mean * scale_C
    matrix = layer.weight.flatten(1)
    layer.bias += matrix @ shift_C
    layer.weight.copy_((matrix * scale_C).view_as(layer.weight))
