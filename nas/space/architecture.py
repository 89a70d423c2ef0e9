"""What a network is: an `Architecture` of `Stage`s.

A stage follows the Next Hybrid Strategy of Next-ViT (arXiv 2207.05501, section 3.4):
``(NCB x N + NTB x 1) x L``. `nas.space.expansion` says which `Block`s that stands for.
"""

from __future__ import annotations

from dataclasses import dataclass, fields
from functools import cached_property
from typing import Any

from nas.errors import ArchitectureError, brief
from nas.space.block import HEAD_DIM, Block, checked_mapping, make_divisible, plain, short_id
from nas.space.expansion import (
    STAGE_STRIDES,
    Group,
    Part,
    Run,
    head_part,
    runs,
    stage_sizes,
    stem_part,
    strided,
)
from nas.space.workload import IMAGENET, Workload

STEM_STRIDES = (2, 4)


@dataclass(frozen=True)
class Stage:
    """One stage: ``(NCB x num_ncb + NTB x 1) x repeats``; without NTB when ``ntb_width`` is 0.

    Args:
        num_ncb: N of the paper, convolution blocks per group.
        repeats: L of the paper, groups; 1 in a stage without NTB.
        ncb_width, ntb_width: output channels, multiples of 32; ``ntb_width`` 0 means no NTB.
        ncb_mlp_ratio, ntb_mlp_ratio: hidden over output channels of the MLPs.
        mix_ratio: share of an NTB's channels that attention makes.
        sr_ratio: E-MHSA reduction. The last three are 0 in a stage without NTB.

    Raises:
        ArchitectureError: the combination cannot exist; the message names the field.
    """

    num_ncb: int
    repeats: int
    ncb_width: int
    ntb_width: int
    ncb_mlp_ratio: float
    ntb_mlp_ratio: float
    mix_ratio: float
    sr_ratio: int

    def __post_init__(self) -> None:
        problem = stage_problem(self)
        if problem:
            raise ArchitectureError(problem)

    @property
    def out_width(self) -> int:
        """Channels that leave the stage."""
        return self.ntb_width or self.ncb_width

    @property
    def depth(self) -> int:
        """Number of blocks."""
        return self.repeats * (self.num_ncb + bool(self.ntb_width))

    def part(self, number: int, in_channels: int, size: tuple[int, int]) -> Part:
        """The stage's blocks.

        Args:
            number: of the stage, from 1; it tells the stride.
            in_channels: channels that enter it.
            size: height and width of the map that enters it.
        """
        width, mlp = self.ncb_width, float(self.ncb_mlp_ratio)
        stride = STAGE_STRIDES[number - 1]
        out_size = strided(size, stride)
        first = Block("ncb", in_channels, width, stride, *size, mlp)
        inner = Block("ncb", width, width, 1, *out_size, mlp)
        again = Block("ncb", self.out_width, width, 1, *out_size, mlp)
        end: tuple[Run, ...] = ()
        if self.ntb_width:
            ntb = Block(
                "ntb",
                width,
                self.ntb_width,
                1,
                *out_size,
                mlp_ratio=float(self.ntb_mlp_ratio),
                mix_ratio=float(self.mix_ratio),
                sr_ratio=self.sr_ratio,
            )
            end = ((ntb, 1),)
        groups = (
            Group(runs((first, 1), (inner, self.num_ncb - 1), *end), 1),
            Group(runs((again, 1), (inner, self.num_ncb - 1), *end), self.repeats - 1),
        )
        return Part(f"stage {number}", tuple(group for group in groups if group.repeats))

    def check_tokens(self, number: int, size: tuple[int, int], workload: Workload) -> None:
        """Refuse an E-MHSA reduction of more tokens than there are.

        Args:
            number: of the stage, from 1.
            size: height and width of the map that leaves it.
            workload: that gives this size, for the message.

        Raises:
            ArchitectureError: names the stage and what would do.
        """
        height, width = size
        if self.ntb_width and height * width < self.sr_ratio**2:
            raise ArchitectureError(
                f"stage {number}: sr_ratio {self.sr_ratio} needs at least "
                f"{self.sr_ratio**2} tokens, a {workload.height}x{workload.width} image gives "
                f"{height}x{width}; use a higher resolution or a smaller sr_ratio"
            )

    def __hash__(self) -> int:
        # Kept: a search looks up the same stages hundreds of thousands of times a second.
        kept: int | None = getattr(self, "_hash", None)
        if kept is None:
            widths = (self.num_ncb, self.repeats, self.ncb_width, self.ntb_width, self.sr_ratio)
            kept = hash((widths, self.ncb_mlp_ratio, self.ntb_mlp_ratio, self.mix_ratio))
            object.__setattr__(self, "_hash", kept)
        return kept

    @cached_property
    def id(self) -> str:
        """Short stable id, see `Architecture.id`."""
        return short_id(self.to_json())

    def to_json(self) -> dict[str, Any]:
        """Plain values that `from_json` reads back to an equal stage."""
        return plain(self)

    @classmethod
    def from_json(cls, value: Any) -> Stage:
        """Read what `to_json` (or a person) wrote.

        Raises:
            ArchitectureError: names the missing, unknown or impossible entry.
        """
        return cls(**checked_mapping("a stage", value, {field.name for field in fields(cls)}))


def stage_problem(stage: Stage) -> str | None:
    """Why a stage cannot exist, or None. Types are checked first, then combinations."""
    for name in ("num_ncb", "repeats", "ncb_width", "ntb_width", "sr_ratio"):
        value = getattr(stage, name)
        if isinstance(value, bool) or not isinstance(value, int):
            return f"{name} must be a whole number, got {brief(value)}"
    for name in ("ncb_mlp_ratio", "ntb_mlp_ratio", "mix_ratio"):
        value = getattr(stage, name)
        if isinstance(value, bool) or not isinstance(value, (int, float)) or not 0 <= value <= 16:
            return f"{name} must be a number from 0 to 16, got {brief(value)}"
    if not 1 <= stage.num_ncb <= 64:
        return f"num_ncb must be from 1 to 64, got {stage.num_ncb}"
    if not 1 <= stage.repeats <= 64:
        return f"repeats must be from 1 to 64, got {stage.repeats}"
    for name in ("ncb_width", "ntb_width"):
        value = getattr(stage, name)
        lowest = HEAD_DIM if name == "ncb_width" else 0
        if not lowest <= value <= 8192 or value % HEAD_DIM:
            return f"{name} must be a multiple of the head size {HEAD_DIM}, got {value}"
    if not stage.ncb_mlp_ratio:
        return "ncb_mlp_ratio must be above 0"
    if not stage.ntb_width:
        return _conv_only_problem(stage)
    if not stage.ntb_mlp_ratio:
        return "ntb_mlp_ratio must be above 0"
    if not 1 <= stage.sr_ratio <= 64:
        return f"sr_ratio must be from 1 to 64, got {stage.sr_ratio}"
    if not 0 < stage.mix_ratio < 1:
        return f"mix_ratio must be between 0 and 1, got {stage.mix_ratio:g}"
    attention = make_divisible(int(stage.ntb_width * stage.mix_ratio))
    if attention >= stage.ntb_width:
        return (
            f"mix_ratio {stage.mix_ratio:g} of ntb_width {stage.ntb_width} gives all channels "
            f"to attention ({attention}) and leaves none to convolution"
        )
    return None


def _conv_only_problem(stage: Stage) -> str | None:
    if stage.repeats != 1:
        return f"a stage without NTB has repeats 1 (use num_ncb for depth), got {stage.repeats}"
    for name in ("ntb_mlp_ratio", "mix_ratio", "sr_ratio"):
        if getattr(stage, name):
            return f"{name} must be 0 in a stage without NTB, got {getattr(stage, name)}"
    return None


@dataclass(frozen=True)
class Architecture:
    """A whole network: stem width and four stages. Hashable; equal values are equal networks.

    Args:
        stem_width: channels the stem puts out, a multiple of 32 (its second conv has half).
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
            ArchitectureError: E-MHSA would reduce more tokens than there are.
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
        """`expand`, block by block."""
        return [block for part in self.expand(workload) for block in part.blocks()]

    def to_json(self) -> dict[str, Any]:
        """Plain values that `from_json` reads back to an equal architecture.

        A stride of 4 is left out, so that ids are those of before there was another.
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
                raise ArchitectureError(f"stage {number}: {error}") from None
        return cls(value["stem_width"], tuple(stages), value.get("stem_stride", 4))
