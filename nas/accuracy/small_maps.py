"""Faster forms of modules for the small feature maps of proxy training.

At proxy resolution, the maps of late stages are one to four pixels wide, and an E-MHSA often sees a
single reduced token. Four modules then have a cheaper form with the same values and gradients:

- 1x1 convolutions, which hold most of a Next-ViT's weights, are matrix products over pixels
  (faster than oneDNN's convolution on such maps: ``benchmarks/proxy_throughput.py``);
- an MLP is two such products, with no change of layout between them;
- a grouped 3x3 convolution on one pixel uses only the centre of its kernel;
- softmax over one token is 1, so attention returns the value of that token for every query.

Parameters keep their names and identity. With channels_last, every change of layout is a view.

Shape suffixes: B batch, C channels, H height, W width, P pixels (B*H*W), N tokens (H*W),
g groups, i and o channels of a group in and out.
"""

from __future__ import annotations

from typing import TypeVar

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from nas.models.layers import EMHSA, MLP

Module = TypeVar("Module", bound=nn.Module)


class PointwiseConv2d(nn.Conv2d):
    """A 1x1 convolution as a matrix product."""

    def forward(self, x_BCHW: Tensor) -> Tensor:
        return _to_map(_product(_to_pixels(x_BCHW), self), x_BCHW)


class PointwiseMLP(MLP):
    """An MLP as two matrix products.

    With two `PointwiseConv2d` its in-place ReLU would work on a view, and autograd would convert
    the gradient to another memory layout, which costs thirty times as much as the ReLU.
    """

    def forward(self, x_BCHW: Tensor) -> Tensor:
        hidden_PC = self.act(_product(_to_pixels(x_BCHW), self.conv1))
        return _to_map(_product(hidden_PC, self.conv2), x_BCHW)


class SmallMapGroupConv2d(nn.Conv2d):
    """A grouped 3x3 convolution with padding 1; on one pixel it is one matrix product a group."""

    def forward(self, x_BCHW: Tensor) -> Tensor:
        if x_BCHW.shape[-2:] != (1, 1):
            return super().forward(x_BCHW)
        batch, groups = x_BCHW.shape[0], self.groups
        weight_goi = self.weight[:, :, 1, 1].reshape(groups, -1, self.weight.shape[1])
        x_gBi = x_BCHW.reshape(batch, groups, -1).transpose(0, 1)
        out_gBo = torch.bmm(x_gBi, weight_goi.transpose(1, 2))
        out_BC = out_gBo.transpose(0, 1).flatten(1)
        if self.bias is not None:
            out_BC = out_BC + self.bias
        return out_BC[:, :, None, None]


class SmallMapEMHSA(EMHSA):
    """E-MHSA that, with a single reduced token, computes one output for all tokens."""

    def forward(self, x_BCN: Tensor) -> Tensor:
        reduced_BCM = self.sr(x_BCN)
        if reduced_BCM.shape[-1] != 1:
            return super().forward(x_BCN)
        value_B1C = self.v(self.norm(reduced_BCM).transpose(1, 2))
        out_BC1: Tensor = self.proj(value_B1C).transpose(1, 2)
        return out_BC1.expand_as(x_BCN)


def specialise(network: Module) -> Module:
    """Replace modules of a network by their forms for small maps, in place; return the network."""
    for module in network.modules():
        small = _small_form(module)
        if small is not None:
            module.__class__ = small  # only `forward` differs: state and hooks stay
    return network


def _small_form(module: nn.Module) -> type[nn.Module] | None:
    if type(module) is MLP:
        return PointwiseMLP
    if type(module) is EMHSA:
        return SmallMapEMHSA
    if type(module) is nn.Conv2d and module.stride == (1, 1):
        geometry = (module.kernel_size, module.padding)
        if geometry == ((1, 1), (0, 0)) and module.groups == 1:
            return PointwiseConv2d
        if geometry == ((3, 3), (1, 1)) and module.groups > 1:
            return SmallMapGroupConv2d
    return None


def _to_pixels(x_BCHW: Tensor) -> Tensor:
    return x_BCHW.permute(0, 2, 3, 1).flatten(0, 2)


def _to_map(out_PC: Tensor, like_BCHW: Tensor) -> Tensor:
    batch, _, height, width = like_BCHW.shape
    return out_PC.view(batch, height, width, -1).permute(0, 3, 1, 2)


def _product(x_PC: Tensor, conv: nn.Conv2d) -> Tensor:
    return F.linear(x_PC, conv.weight.flatten(1), conv.bias)
