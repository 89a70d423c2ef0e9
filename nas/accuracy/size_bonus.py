"""What a short training says of a long one: its accuracy, and what is added for size.

Large networks learn more from the images that a short training leaves out. By the accuracy of 39
networks after 64,000 images (`benchmarks/proxy_fidelity.py`), a doubling of MACs is worth as much
as 1.2 points of the accuracy after 16,000 images. After 8,000 it is worth 3.3 and after 4,000 4.0
points: more than the 1.9 and 2.5 of the straight line used here. Needs no torch.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

from nas.models.cost import network_cost
from nas.space.architecture import Architecture
from nas.space.workload import Workload

LONG_IMAGES = 64_000
"""Length of training beyond which nothing is added."""

REFERENCE_MACS = 1e9
"""Of a network to whose accuracy nothing is added."""


@dataclass(frozen=True)
class SizeBonus:
    """What is added to a proxy accuracy (0..1); less than nothing for small networks.

    Attributes:
        weight: accuracy that a doubling of MACs is worth for each halving of the images.
        workload: of the network to deploy, whose MACs count.
    """

    weight: float
    workload: Workload

    def of(self, architecture: Architecture, images: int) -> float:
        """For an architecture that has seen so many images in training; accuracy, 0..1."""
        doubling = self.per_doubling(images)
        if not doubling:
            return 0.0
        macs = network_cost(architecture.blocks(self.workload)).macs
        return doubling * math.log2(macs / REFERENCE_MACS)

    def per_doubling(self, images: int) -> float:
        """For a network of twice `REFERENCE_MACS` after so many images; accuracy, 0..1."""
        return self.weight * max(0.0, math.log2(LONG_IMAGES / max(1, images)))
