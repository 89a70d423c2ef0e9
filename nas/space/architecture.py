"""An `Architecture`: a network of a stem, four `Stage`s and a head."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import Any

from nas.errors import ArchitectureError, brief
from nas.space.block import HEAD_DIM, Block, checked_mapping, short_id
from nas.space.expansion import STAGE_STRIDES, Part, head_part, stage_sizes, stem_part
from nas.space.stage import Stage as Stage
from nas.space.workload import IMAGENET, Workload

STEM_STRIDES = (2, 4)


@dataclass(frozen=True)
class Architecture:
    """A whole network: stem width and four stages. Hashable; equal values are equal networks.

    Args:
        stem_width: output channels of the stem, a multiple of 32 (its second convolution has half).
        stages: four stages; each but the first halves the map that enters it.
        stem_stride: spatial reduction of the stem: 4 as published, or 2 for small images.

    Raises:
        ArchitectureError: a value is impossible; the message names it and its stage.
    """

    stem_width: int
    stages: tuple[Stage, ...]
    stem_stride: int = 4

    def __post_init__(self) -> None:
        width = self.stem_width
        if isinstance(width, bool) or not isinstance(width, int) or not 32 <= width <= 1024:
            raise ArchitectureError(
                f"stem_width must be a whole number 32..1024, got {brief(width)}"
            )
        if width % HEAD_DIM:
            raise ArchitectureError(f"stem_width must be a multiple of {HEAD_DIM}, got {width}")
        if not isinstance(self.stages, tuple) or len(self.stages) != len(STAGE_STRIDES):
            count = len(STAGE_STRIDES)
            raise ArchitectureError(f"stages must be a tuple of {count}, got {brief(self.stages)}")
        stride = self.stem_stride
        if isinstance(stride, bool) or stride not in STEM_STRIDES:
            raise ArchitectureError(f"stem_stride must be 2 or 4, got {brief(stride)}")

    @cached_property
    def id(self) -> str:
        """Short stable id: the same network has the same id on every machine and version."""
        return short_id(self.to_json())

    @property
    def depth(self) -> int:
        """Number of NCB and NTB blocks."""
        return sum(stage.depth for stage in self.stages)

    def expand(self, workload: Workload = IMAGENET) -> tuple[Part, ...]:
        """The network's parts at one workload: stem, four stages, head.

        Raises:
            ArchitectureError: an ``sr_ratio`` needs more tokens than its feature map has.
        """
        sizes = stage_sizes(workload, self.stem_stride)
        parts = [stem_part(self.stem_width, self.stem_stride, workload)]
        channels = self.stem_width
        for number, stage in enumerate(self.stages, start=1):
            stage.check_tokens(number, sizes[number], workload)
            parts.append(stage.part(number, channels, sizes[number - 1]))
            channels = stage.out_width
        parts.append(head_part(channels, sizes[-1], workload))
        return tuple(parts)

    def blocks(self, workload: Workload = IMAGENET) -> list[Block]:
        """Return every block of `expand`, in the order they run."""
        return [block for part in self.expand(workload) for block in part.blocks()]

    def to_json(self) -> dict[str, Any]:
        """Plain values that `from_json` reads back to an equal architecture.

        A stem stride of 4 has no entry, so that ids are those of versions that knew no other.
        """
        value = {
            "stem_width": self.stem_width,
            "stages": [stage.to_json() for stage in self.stages],
        }
        return value if self.stem_stride == 4 else {"stem_stride": self.stem_stride, **value}

    @classmethod
    def from_json(cls, value: Any) -> Architecture:
        """Read what `to_json` (or a person) wrote.

        Raises:
            ArchitectureError: names the missing, unknown or impossible entry and its stage.
        """
        names = {"stem_width", "stages"}
        value = checked_mapping("an architecture", value, names, optional={"stem_stride"})
        if not isinstance(value["stages"], (list, tuple)):
            raise ArchitectureError(
                f"stages must be a list of four stages, got {brief(value['stages'])}"
            )
        stages = []
        for number, entry in enumerate(value["stages"], start=1):
            try:
                stages.append(Stage.from_json(entry))
            except ArchitectureError as error:
                raise type(error)(f"stage {number}: {error}") from None
        return cls(value["stem_width"], tuple(stages), value.get("stem_stride", 4))
