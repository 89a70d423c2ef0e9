"""The size bonus: accuracy that is added to that of a short training for the size of a network.

Large networks learn more from the images that a short training leaves out. So the score of a
network is its accuracy plus a bonus that is linear in the logarithm of its MACs, and in the
logarithm of the images it has not seen. Its weight was chosen by ``benchmarks/proxy_fidelity.py``.
Needs no torch.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

from nas.models.cost import network_cost
from nas.space.architecture import Architecture
from nas.space.workload import Workload

LONG_IMAGES = 64_000
"""Images of a training to which no bonus is added; shorter ones get one."""

REFERENCE_MACS = 1e9
"""MACs of a network to which no bonus is added."""


@dataclass(frozen=True)
class SizeBonus:
    """The bonus to a proxy accuracy (0..1); it is negative for networks below `REFERENCE_MACS`.

    Attributes:
        weight: accuracy that a doubling of MACs is worth for each halving of the images.
        workload: MACs are counted for this workload, that of the network to deploy.
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
