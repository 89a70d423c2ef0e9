"""The size bonus: it corrects the accuracy of a short training for the size of the network.

Large networks learn more from the images that a short training leaves out. So the score of a
network is its accuracy plus a bonus that is linear in the logarithm of its MACs, and in the
logarithm of how many times more images a long training sees. The weight of the bonus was chosen by
``benchmarks/proxy_fidelity.py``. This needs no torch.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

from nas.models.cost import network_cost
from nas.space.architecture import Architecture
from nas.space.workload import Workload

LONG_IMAGES = 64_000
"""Images seen by a training to which no bonus is added; shorter trainings get one."""

REFERENCE_MACS = 1e9
"""MACs of a network to which no bonus is added."""


@dataclass(frozen=True)
class SizeBonus:
    """The bonus to a proxy accuracy (0..1); it is negative for networks below `REFERENCE_MACS`.

    Attributes:
        weight: accuracy (0..1) that a doubling of MACs is worth for each halving of the images
            below `LONG_IMAGES`.
        workload: workload of the network to deploy, for which MACs are counted.
    """

    weight: float
    workload: Workload

    def of(self, architecture: Architecture, images: int) -> float:
        """Bonus of an architecture that was trained on this number of images; accuracy, 0..1."""
        doubling = self.per_doubling(images)
        if not doubling:
            return 0.0
        macs = network_cost(architecture.blocks(self.workload)).macs
        return doubling * math.log2(macs / REFERENCE_MACS)

    def per_doubling(self, images: int) -> float:
        """Bonus for each doubling of MACs after this number of images; accuracy, 0..1."""
        return self.weight * max(0.0, math.log2(LONG_IMAGES / max(1, images)))
