"""The layers that the modules of Next-ViT (arXiv 2207.05501) are made of.

Names of modules and parameters follow the authors' published code, so that tensors come in the
order of the public checkpoints. A layer with BatchNorms folds them in `fuse()`.

Shape suffixes: B batch, C channels, H height, W width, N tokens (H*W), M reduced tokens,
h heads, d channels of a head.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.nn.utils.fusion import fuse_conv_bn_eval

from nas.space.block import HEAD_DIM

BN_EPS = 1e-5


class BlockModule(nn.Module):
    """Base class of the modules that compute one `Block`.

    The input is [B, in_channels, height, width]; the output is
    [B, out_channels, out_height, out_width], that of a head [B, out_channels].
    """

    def fuse(self) -> None:
        """Fold every BatchNorm into its neighbour, in place, for inference."""

    def branch_ends(self) -> tuple[nn.Conv2d | nn.Linear, ...]:
        """The last layer of each residual branch; a short training starts it at zero."""
        return ()


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


class PatchEmbed(nn.Module):
    """Changes size and channels of a map: average pooling (at stride 2) and a 1x1 convolution.

    It is the identity if neither size nor channels change.
    """

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


def fold_following(conv: nn.Conv2d, norm: nn.Module) -> nn.Conv2d:
    """Return a convolution with the BatchNorm after it folded in, at its running statistics."""
    if isinstance(norm, nn.Identity):
        return conv
    assert isinstance(norm, nn.BatchNorm2d)
    return fuse_conv_bn_eval(conv, norm)


@torch.no_grad()
def fold_preceding(layer: nn.Linear | nn.Conv2d, norm: nn.Module) -> None:
    """Fold a BatchNorm into the linear layer or 1x1 convolution after it, in place."""
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
