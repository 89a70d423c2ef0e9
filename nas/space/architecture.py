"""What a network is: an `Architecture` of `Stage`s, expanded to a list of `Block`s.

A stage follows the Next Hybrid Strategy of Next-ViT (arXiv 2207.05501, section 3.4):
``(NCB x N + NTB x 1) x L``. A `Block` is one unit of that network at one input size;
the model, the latency table, the predictor and the cost model all speak `Block`.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields
from functools import cached_property
from typing import Any, Literal, get_args

from nas.errors import ArchitectureError, brief, unknown

HEAD_DIM = 32
"""Channels of one attention or convolution head, everywhere in Next-ViT."""

MAX_RESOLUTION, MAX_CLASSES, MAX_BATCH = 4096, 1_000_000, 65_536
"""Largest input in pixels, widest classifier and largest batch that are taken for meant."""

STAGE_STRIDES = (1, 2, 2, 2)
"""Stride of each stage's first block; the stem before them has stride 4."""

BlockKind = Literal["stem", "ncb", "ntb", "head"]

_RATIOS = ("mlp_ratio", "ncb_mlp_ratio", "ntb_mlp_ratio", "mix_ratio")
"""Fields of a `Block` or `Stage` that are no whole numbers."""


def make_divisible(value: float, divisor: int = HEAD_DIM) -> int:
    """Nearest multiple of ``divisor``, at least one and never below 90% of ``value``."""
    rounded = max(divisor, int(value + divisor / 2) // divisor * divisor)
    return rounded + divisor if rounded < 0.9 * value else rounded


@dataclass(frozen=True, order=True)
class Block:
    """What is computed, and at which size.

    Args:
        kind: ``stem``, ``ncb`` (convolution block), ``ntb`` (transformer block), ``head``.
        in_channels, out_channels: channels; for ``head`` the output is the classes.
        stride: spatial reduction of the block (4 for the stem; the head pools all).
        height, width: size of the *input* in pixels.
        mlp_ratio: hidden over output channels of the MLP (``ncb``, ``ntb``).
        mix_ratio: share of the output channels that attention makes (``ntb``).
        sr_ratio: E-MHSA reduction; keys and values see 1 of ``sr_ratio**2`` tokens (``ntb``).
    """

    kind: BlockKind
    in_channels: int
    out_channels: int
    stride: int
    height: int
    width: int
    mlp_ratio: float = 0.0
    mix_ratio: float = 0.0
    sr_ratio: int = 0

    @property
    def out_height(self) -> int:
        """Height of the output in pixels; strides round up, as the published model does."""
        return 1 if self.kind == "head" else -(-self.height // self.stride)

    @property
    def out_width(self) -> int:
        """Width of the output in pixels."""
        return 1 if self.kind == "head" else -(-self.width // self.stride)

    @property
    def attention_channels(self) -> int:
        """Output channels made by E-MHSA (``ntb``); MHCA makes the others."""
        return make_divisible(int(self.out_channels * self.mix_ratio))

    @property
    def hidden_channels(self) -> int:
        """Channels inside the MLP (``ncb``, ``ntb``)."""
        return make_divisible(self.out_channels * self.mlp_ratio)

    @cached_property
    def id(self) -> str:
        """Short stable id, see `Architecture.id`."""
        return short_id(self.to_json())

    def to_json(self) -> dict[str, Any]:
        """Plain values that `from_json` reads back to an equal block."""
        return _plain(self)

    @classmethod
    def from_json(cls, value: Any) -> Block:
        """Read what `to_json` wrote.

        Raises:
            ArchitectureError: names the missing, unknown or impossible entry.
        """
        value = _mapping("a block", value, {field.name for field in fields(cls)})
        if value["kind"] not in get_args(BlockKind):
            kinds = ", ".join(get_args(BlockKind))
            raise ArchitectureError(f"kind must be one of {kinds}, got {brief(value['kind'])}")
        for name, item in value.items():
            kinds_of = (int, float) if name in _RATIOS else (int,)
            if name != "kind" and (isinstance(item, bool) or not isinstance(item, kinds_of)):
                raise ArchitectureError(f"{name} must be a number, got {brief(item)}")
        return cls(**value)

    def __str__(self) -> str:
        text = f"{self.kind} {self.in_channels}->{self.out_channels} at {self.height}x{self.width}"
        if self.stride != 1:
            text += f" stride {self.stride}"
        if self.mlp_ratio:
            text += f" mlp {self.mlp_ratio:g}"
        if self.kind == "ntb":
            text += f" mix {self.mix_ratio:g} sr {self.sr_ratio}"
        return text


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

    def blocks(self, in_channels: int, size: int, stride: int) -> list[Block]:
        """The stage's blocks for an input of ``size`` x ``size``; the first one has ``stride``."""
        mlp = float(self.ncb_mlp_ratio)
        blocks: list[Block] = []
        for _ in range(self.repeats):
            for _ in range(self.num_ncb):
                block = Block("ncb", in_channels, self.ncb_width, stride, size, size, mlp)
                blocks.append(block)
                in_channels, size, stride = self.ncb_width, block.out_height, 1
            if self.ntb_width:
                ratios = float(self.ntb_mlp_ratio), float(self.mix_ratio), self.sr_ratio
                blocks.append(Block("ntb", in_channels, self.ntb_width, 1, size, size, *ratios))
                in_channels = self.ntb_width
        return blocks

    def block_counts(self, in_channels: int, size: int, stride: int) -> list[tuple[Block, int]]:
        """The blocks of `blocks`, each kind once with how often it occurs; some may be equal."""
        mlp, width = float(self.ncb_mlp_ratio), self.ncb_width
        first = Block("ncb", in_channels, width, stride, size, size, mlp)
        size = first.out_height
        inner = Block("ncb", width, width, 1, size, size, mlp)
        counts = [(first, 1), (inner, self.repeats * (self.num_ncb - 1))]
        if self.ntb_width:
            ratios = float(self.ntb_mlp_ratio), float(self.mix_ratio), self.sr_ratio
            ntb = Block("ntb", width, self.ntb_width, 1, size, size, *ratios)
            again = Block("ncb", self.ntb_width, width, 1, size, size, mlp)
            counts += [(ntb, self.repeats), (again, self.repeats - 1)]
        return [(block, count) for block, count in counts if count]

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
        return _plain(self)

    @classmethod
    def from_json(cls, value: Any) -> Stage:
        """Read what `to_json` (or a person) wrote.

        Raises:
            ArchitectureError: names the missing, unknown or impossible entry.
        """
        return cls(**_mapping("a stage", value, {field.name for field in fields(cls)}))


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
        stages: four stages, at strides 4, 8, 16 and 32.

    Raises:
        ArchitectureError: a value is impossible; the message names it and its stage.
    """

    stem_width: int
    stages: tuple[Stage, ...]

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

    @cached_property
    def id(self) -> str:
        """Short stable id: the same network has the same id on every machine and version."""
        return short_id(self.to_json())

    @property
    def depth(self) -> int:
        """Number of NCB and NTB blocks."""
        return sum(stage.depth for stage in self.stages)

    def blocks(self, resolution: int = 224, num_classes: int = 1000) -> list[Block]:
        """The network at one input size, block by block: stem, stages, head.

        Args:
            resolution: height and width of the input image in pixels.
            num_classes: outputs of the head.

        Raises:
            ArchitectureError: E-MHSA would reduce more tokens than there are; a size is absurd.
        """
        check_size(resolution, num_classes)
        size = -(-resolution // 4)
        blocks = [Block("stem", 3, self.stem_width, 4, resolution, resolution)]
        channels = self.stem_width
        for number, (stage, stride) in enumerate(
            zip(self.stages, STAGE_STRIDES, strict=True), start=1
        ):
            blocks += stage.blocks(channels, size, stride)
            channels, size = stage.out_width, -(-size // stride)
            if stage.ntb_width and size < stage.sr_ratio:
                raise ArchitectureError(
                    f"stage {number}: sr_ratio {stage.sr_ratio} needs at least "
                    f"{stage.sr_ratio**2} tokens, a {resolution}x{resolution} image gives "
                    f"{size}x{size}; use a higher resolution or a smaller sr_ratio"
                )
        blocks.append(Block("head", channels, num_classes, 1, size, size))
        return blocks

    def to_json(self) -> dict[str, Any]:
        """Plain values that `from_json` reads back to an equal architecture."""
        return {
            "stem_width": self.stem_width,
            "stages": [stage.to_json() for stage in self.stages],
        }

    @classmethod
    def from_json(cls, value: Any) -> Architecture:
        """Read what `to_json` (or a person) wrote.

        Raises:
            ArchitectureError: names the missing, unknown or impossible entry and its stage.
        """
        value = _mapping("an architecture", value, {"stem_width", "stages"})
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
        return cls(value["stem_width"], tuple(stages))


def check_size(resolution: int, num_classes: int) -> None:
    """Refuse absurd sizes of input or output.

    Raises:
        ArchitectureError: names which, and what is allowed.
    """
    for what, value, highest in (
        ("resolution", resolution, MAX_RESOLUTION),
        ("num_classes", num_classes, MAX_CLASSES),
    ):
        if not 1 <= value <= highest:
            raise ArchitectureError(f"{what} must be from 1 to {highest}, got {brief(value)}")


def short_id(value: dict[str, Any]) -> str:
    """Ten hexadecimal digits that depend on the plain values alone."""
    canonical = json.dumps(value, sort_keys=True, separators=(",", ":"))
    return hashlib.sha256(canonical.encode()).hexdigest()[:10]


def _plain(value: Block | Stage) -> dict[str, Any]:
    entry = asdict(value)
    return {name: float(v) if name in _RATIOS else v for name, v in entry.items()}


def _mapping(what: str, value: Any, names: set[str]) -> Mapping[str, Any]:
    """The value, if it is a mapping with exactly these names."""
    if not isinstance(value, Mapping):
        raise ArchitectureError(f"{what} is a mapping, got {brief(value)}")
    for key in value:
        if key not in names:
            raise ArchitectureError(unknown("entry", str(key), names))
    missing = sorted(names - set(value))
    if missing:
        raise ArchitectureError(f"missing {', '.join(missing)}")
    return value
