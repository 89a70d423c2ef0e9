"""A `Workload`: the sizes of input and output that a network is run with."""

from __future__ import annotations

from collections.abc import Hashable
from dataclasses import dataclass, replace

from nas.errors import ArchitectureError, brief

MAX_RESOLUTION, MAX_CLASSES, MAX_BATCH = 4096, 1_000_000, 65_536
"""Largest side in pixels, number of classes and batch size that are accepted."""


@dataclass(frozen=True)
class Workload:
    """The size of a network's input and output.

    Args:
        height, width: height and width of the input image in pixels.
        outputs: outputs of the head; for classification the number of classes.
        batch_size: images in one call of the network.
        head: specification of the head for a task; None stands for a classifier.

    Raises:
        ArchitectureError: a size is out of range; names the size and its limits.
    """

    height: int = 224
    width: int = 224
    outputs: int = 1000
    batch_size: int = 1
    head: Hashable | None = None

    def __post_init__(self) -> None:
        for what, value, highest in (
            ("resolution", self.height, MAX_RESOLUTION),
            ("resolution", self.width, MAX_RESOLUTION),
            ("num_classes", self.outputs, MAX_CLASSES),
            ("batch_size", self.batch_size, MAX_BATCH),
        ):
            if not 1 <= value <= highest:
                raise ArchitectureError(f"{what} must be from 1 to {highest}, got {brief(value)}")

    @classmethod
    def square(cls, side: int, outputs: int = 1000, batch_size: int = 1) -> Workload:
        """Make a workload of images of ``side`` x ``side`` pixels."""
        return cls(side, side, outputs, batch_size)

    @classmethod
    def of(cls, resolution: int | str, outputs: int = 1000, batch_size: int = 1) -> Workload:
        """Make a workload from a resolution: 224, or 512x683 (height x width).

        Raises:
            ArchitectureError: the resolution is neither, or a size is out of range.
        """
        height, width = parse_resolution(resolution)
        return cls(height, width, outputs, batch_size)

    @property
    def resolution(self) -> int | str:
        """Text of the image size in pixels: 224 for a square, else height x width, as 512x683."""
        return self.height if self.height == self.width else f"{self.height}x{self.width}"

    def with_batch(self, batch_size: int) -> Workload:
        """The same workload with another batch size."""
        return replace(self, batch_size=batch_size)


IMAGENET = Workload()
"""Workload for which the published networks are compared: 224x224 pixels, 1,000 classes, one image
in a call."""


def parse_resolution(text: int | str) -> tuple[int, int]:
    """Return height and width in pixels from a text: ``224``, or ``512x683``.

    Raises:
        ArchitectureError: it is neither, or a side is not from 1 to `MAX_RESOLUTION`.
    """
    sides = [side.strip() for side in str(text).lower().split("x")]
    if len(sides) > 2 or not all(side.isdecimal() for side in sides):
        raise ArchitectureError(
            f"resolution {brief(text)} is none: write for example 224, or 512x683 (height x width)"
        )
    height, width = int(sides[0][:9]), int(sides[-1][:9])
    for side in (height, width):
        if not 1 <= side <= MAX_RESOLUTION:
            raise ArchitectureError(
                f"resolution must be from 1 to {MAX_RESOLUTION} pixels, got {brief(side)}"
            )
    return height, width
