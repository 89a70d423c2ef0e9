"""The network of an architecture: the modules of its `Block`s, one after the other."""

from __future__ import annotations

from typing import Self

from torch import Tensor, nn

from nas.models.blocks import build_block
from nas.space.architecture import Architecture
from nas.space.workload import Workload

REFERENCE_RESOLUTION = 2048
"""Side in pixels of the images for which networks are built. Weights do not depend on it, and it is
large enough for every ``sr_ratio``."""


class Network(nn.Module):
    """A Next-ViT-style network.

    Tensors are named and ordered as in the authors' checkpoints (``stem``, ``blocks``,
    ``head.norm``, ``head.proj_head``), so those load by position.

    Args:
        architecture: the architecture to build.
        num_classes: outputs of the classifier.
        drop_path_rate: stochastic-depth rate of the last block; rates grow linearly from 0.
    """

    def __init__(
        self, architecture: Architecture, num_classes: int = 1000, drop_path_rate: float = 0.0
    ) -> None:
        super().__init__()
        self.architecture = architecture
        self.num_classes = num_classes
        workload = Workload.square(REFERENCE_RESOLUTION, num_classes)
        stem, *blocks, head = architecture.blocks(workload)
        rates = [drop_path_rate * i / max(1, len(blocks) - 1) for i in range(len(blocks))]
        self.stem = build_block(stem)
        self.blocks = nn.Sequential(
            *(build_block(block, rate) for block, rate in zip(blocks, rates, strict=True))
        )
        self.head = build_block(head)
        self.apply(_initialise)

    def forward(self, x_B3HW: Tensor) -> Tensor:
        """Class scores [B, num_classes] of images [B, 3, H, W]."""
        logits: Tensor = self.head(self.blocks(self.stem(x_B3HW)))
        return logits

    def features(self, x_B3HW: Tensor) -> list[Tensor]:
        """Return the outputs of the four stages for images [B, 3, H, W].

        Their shapes are [B, C, H/s, W/s], rounded up, for s = 4, 8, 16, 32, or half of that after
        a stem of stride 2.
        """
        ends, depth = [], 0
        for stage in self.architecture.stages:
            depth += stage.depth
            ends.append(depth)
        x_BCHW = self.stem(x_B3HW)
        outputs = []
        for number, block in enumerate(self.blocks, start=1):
            x_BCHW = block(x_BCHW)
            if number in ends:
                outputs.append(x_BCHW)
        return outputs

    def fuse(self) -> Self:
        """Fold every BatchNorm into its neighbour, in place, for inference.

        Returns:
            The network itself, in evaluation mode. Fusing twice changes nothing.
        """
        self.eval()
        for module in (self.stem, *self.blocks, self.head):
            module.fuse()
        return self


def build_network(
    architecture: Architecture, num_classes: int = 1000, drop_path_rate: float = 0.0
) -> Network:
    """Build a network with fresh weights; see `Network`."""
    return Network(architecture, num_classes, drop_path_rate)


def _initialise(module: nn.Module) -> None:
    """Draw weights from a normal distribution, std 0.02; BatchNorms keep PyTorch's ones and zeros.

    The published code truncates the distribution at -2 and 2, a hundred standard deviations away,
    which changes nothing; `normal_` is much faster than `trunc_normal_`.
    """
    if isinstance(module, (nn.Conv2d, nn.Linear)):
        nn.init.normal_(module.weight, std=0.02)
        if module.bias is not None:
            nn.init.zeros_(module.bias)
