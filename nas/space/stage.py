"""A `Stage`: the Next Hybrid Strategy of Next-ViT (arXiv 2207.05501, section 3.4).

A stage is ``(NCB x N + NTB x 1) x L``. Other kinds of block may stand in place of the NCBs, of the
NTBs, or of both.
"""

from __future__ import annotations

import importlib
from collections.abc import Mapping
from dataclasses import dataclass, fields, replace
from functools import cached_property, lru_cache
from typing import Any

from nas.errors import ArchitectureError, brief
from nas.space.block import HEAD_DIM, Block, checked_mapping, make_divisible, plain, short_id
from nas.space.block_kinds import COMMON, BlockKind, Extra, Field, Number, canonical, kind_of
from nas.space.expansion import STAGE_STRIDES, Group, Part, Run, strided
from nas.space.workload import Workload


@dataclass(frozen=True)
class Place:
    """One of the two places for blocks in a stage: that of the NCBs, or that of the NTBs.

    A stage has fields of the kinds in both places, so it names most of them with a prefix.

    Attributes:
        prefix: prefix of the fields that belong to this place: ``ncb`` or ``ntb``.
        bare: names of the kind's fields that have no prefix in a stage.
    """

    prefix: str
    bare: tuple[str, ...] = ()

    def field(self, name: str) -> str:
        """The name that a field of the kind has in a stage: ``ncb_kernel`` for ``kernel``."""
        return name if name in self.bare else f"{self.prefix}_{name}"


CONVOLUTION = Place("ncb")
TRANSFORMER = Place("ntb", ("mix_ratio", "sr_ratio"))
PLACES = (CONVOLUTION, TRANSFORMER)

USUAL_KINDS = {"ncb_kind": "ncb", "ntb_kind": "ntb"}
"""Default kind of block in each place of a stage."""

OWN_FIELDS = ("ncb_mlp_ratio", "ntb_mlp_ratio", "mix_ratio", "sr_ratio")
"""Fields of block kinds that are attributes of `Stage`; the others are in `Stage.extra`."""


@dataclass(frozen=True)
class Stage:
    """One stage: ``(NCB x num_ncb + NTB x 1) x repeats``; without NTB when ``ntb_width`` is 0.

    In a stage without NTB, ``ntb_mlp_ratio``, ``mix_ratio`` and ``sr_ratio`` are 0. A ratio is also
    0 if the kind of block does not have it.

    Args:
        num_ncb: N of the paper: number of convolution blocks in a group.
        repeats: L of the paper: number of groups; 1 in a stage without NTB.
        ncb_width, ntb_width: output channels, multiples of 32; ``ntb_width`` 0 means no NTB.
        ncb_mlp_ratio, ntb_mlp_ratio: ratio of hidden to output channels of the MLPs.
        mix_ratio: share of an NTB's channels that attention makes.
        sr_ratio: spatial reduction in E-MHSA: keys and values see 1 of ``sr_ratio**2`` tokens.
        ncb_kind, ntb_kind: kinds of block in the place of the NCBs and of the NTBs.
        extra: other fields of these kinds by name, such as ``ncb_kernel``; see `Block.extra`.

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
    ncb_kind: str = "ncb"
    ntb_kind: str = "ntb"
    extra: Extra = ()

    def __post_init__(self) -> None:
        problem = stage_problem(self)
        if problem:
            raise ArchitectureError(problem)
        known = extra_fields(self.kinds())
        if known or self.extra:
            object.__setattr__(self, "extra", canonical(known, self.extra))

    def kinds(self) -> dict[Place, BlockKind]:
        """The kind of block in each place; a stage without NTB has one place."""
        found = {CONVOLUTION: kind_of(self.ncb_kind)}
        if self.ntb_width:
            found[TRANSFORMER] = kind_of(self.ntb_kind)
        return found

    def value(self, name: str) -> Any:
        """Value of a field, which may be in ``extra``; 0 if the kinds have no such field."""
        if name in self.__dataclass_fields__:
            return getattr(self, name)
        defaults = {field.name: field.default for field in extra_fields(self.kinds())}
        return dict(self.extra).get(name, defaults.get(name, 0))

    @property
    def out_width(self) -> int:
        """Channels that leave the stage."""
        return self.ntb_width or self.ncb_width

    @property
    def depth(self) -> int:
        """Number of blocks."""
        return self.repeats * (self.num_ncb + bool(self.ntb_width))

    def part(self, number: int, in_channels: int, size: tuple[int, int]) -> Part:
        """Return the stage's blocks.

        Args:
            number: the stage's number, from 1; it decides the stride.
            in_channels: channels of the map that enters the stage.
            size: height and width of that map in pixels.
        """
        width, kind, inner = self.ncb_width, self.ncb_kind, self.num_ncb - 1
        values = self._block_values(CONVOLUTION, kind)
        stride = STAGE_STRIDES[number - 1]
        first = Block(kind, in_channels, width, stride, size[0], size[1], *values)
        height, out_width = strided(size, stride)
        rest: list[Run] = []
        if inner:
            rest.append((Block(kind, width, width, 1, height, out_width, *values), inner))
        if self.ntb_width:
            further = self._block_values(TRANSFORMER, self.ntb_kind)
            ntb = Block(self.ntb_kind, width, self.ntb_width, 1, height, out_width, *further)
            rest.append((ntb, 1))
        groups = [Group(((first, 1), *rest), 1)]
        if self.repeats > 1:
            again = Block(kind, self.out_width, width, 1, height, out_width, *values)
            groups.append(Group(((again, 1), *rest), self.repeats - 1))
        return Part(f"stage {number}", tuple(groups))

    def _block_values(self, place: Place, kind: str) -> tuple[float, float, int, Extra]:
        """Values of mlp_ratio, mix_ratio, sr_ratio and extra of the blocks in a place."""
        if not self.extra:
            ratio = self.ncb_mlp_ratio if place is CONVOLUTION else self.ntb_mlp_ratio
            if place is CONVOLUTION:
                return float(ratio), 0.0, 0, ()
            return float(ratio), float(self.mix_ratio), self.sr_ratio, ()
        names = kind_of(kind).field_names
        mlp_ratio, mix_ratio, sr_ratio = (
            self.value(place.field(name)) if name in names else 0 for name in COMMON
        )
        here = {place.field(name): name for name in names if name not in COMMON}
        extra = tuple((here[name], value) for name, value in self.extra if name in here)
        return float(mlp_ratio), float(mix_ratio), int(sr_ratio), extra

    def check_tokens(self, number: int, size: tuple[int, int], workload: Workload) -> None:
        """Check that attention has the ``sr_ratio**2`` tokens that its reduction needs.

        Args:
            number: number of the stage, from 1, for the message.
            size: height and width of the map that leaves the stage, on which attention works.
            workload: workload that gives this size, for the message.

        Raises:
            ArchitectureError: there are too few tokens; names the stage and both numbers.
        """
        height, width = size
        sr_ratio = self.sr_ratio
        if self.extra:
            sr_ratio = max(sr_ratio, self.value(CONVOLUTION.field("sr_ratio")))
        if height * width < sr_ratio**2:
            raise ArchitectureError(
                f"stage {number}: sr_ratio {sr_ratio} needs at least "
                f"{sr_ratio**2} tokens, a {workload.height}x{workload.width} image gives "
                f"{height}x{width}; use a higher resolution or a smaller sr_ratio"
            )

    def __hash__(self) -> int:
        # Cached: a search looks up the same stages hundreds of thousands of times a second.
        kept: int | None = getattr(self, "_hash", None)
        if kept is None:
            # Kinds are not hashed: few stages differ in them alone, and hashing a text is slower.
            widths = (self.num_ncb, self.repeats, self.ncb_width, self.ntb_width, self.sr_ratio)
            kept = hash((widths, self.ncb_mlp_ratio, self.ntb_mlp_ratio, self.mix_ratio))
            object.__setattr__(self, "_hash", kept)
        return kept

    def __getstate__(self) -> dict[str, Any]:
        # Hashes of texts differ between processes. A new process imports the kinds of blocks.
        state = {field.name: getattr(self, field.name) for field in fields(self)}
        return state | {"homes": sorted({kind.home for kind in self.kinds().values()})}

    def __setstate__(self, state: dict[str, Any]) -> None:
        for home in state.pop("homes"):
            if home != "__main__":
                importlib.import_module(home)
        self.__dict__.update(state)

    @cached_property
    def id(self) -> str:
        """Short stable id, see `Architecture.id`."""
        return short_id(self.to_json())

    def to_json(self) -> dict[str, Any]:
        """Plain values that `from_json` reads back to an equal stage.

        The usual kinds have no entry, so that ids stay those of versions without other kinds.
        """
        value = plain(self)
        return {name: v for name, v in value.items() if USUAL_KINDS.get(name) != v}

    @classmethod
    def from_json(cls, value: Any) -> Stage:
        """Read what `to_json` (or a person) wrote.

        Raises:
            ArchitectureError: names the missing, unknown or impossible entry.
        """
        names = {field.name for field in fields(cls)} - {"extra", *USUAL_KINDS}
        given = value if isinstance(value, Mapping) else {}
        kinds = {name: given.get(name, usual) for name, usual in USUAL_KINDS.items()}
        known = dict(zip(PLACES, map(kind_of, kinds.values()), strict=True))
        own = {field.name for field in extra_fields(known)}
        value = checked_mapping("a stage", value, names, {*own, *kinds})
        extra = tuple((name, v) for name, v in value.items() if name in own)
        return cls(**{name: value[name] for name in names}, **kinds, extra=extra)


def extra_fields(kinds: Mapping[Place, BlockKind]) -> list[Field]:
    """Fields that these kinds add to a stage's `OWN_FIELDS`, under their names in a stage."""
    return [field for place, kind in kinds.items() for field in _extra_fields(place, kind)]


@lru_cache
def _extra_fields(place: Place, kind: BlockKind) -> tuple[Field, ...]:
    named = (replace(field, name=place.field(field.name)) for field in kind.fields)
    return tuple(field for field in named if field.name not in OWN_FIELDS)


def stage_problem(stage: Stage) -> str | None:
    """Say why a stage cannot exist; None if it can. Types are checked before combinations."""
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
    problem = _place_problem(stage, CONVOLUTION)
    if problem:
        return problem
    return _place_problem(stage, TRANSFORMER) if stage.ntb_width else _conv_only_problem(stage)


def _conv_only_problem(stage: Stage) -> str | None:
    if stage.repeats != 1:
        return f"a stage without NTB has repeats 1 (use num_ncb for depth), got {stage.repeats}"
    for name in ("ntb_mlp_ratio", "mix_ratio", "sr_ratio"):
        if getattr(stage, name):
            return f"{name} must be 0 in a stage without NTB, got {getattr(stage, name)}"
    if stage.ntb_kind != USUAL_KINDS["ntb_kind"]:
        return f"ntb_kind does not apply to a stage without NTB, got {brief(stage.ntb_kind)}"
    return None


def _place_problem(stage: Stage, place: Place) -> str | None:
    """Say why the kind of block in a place cannot have the stage's values; None if it can."""
    kind = kind_of(getattr(stage, f"{place.prefix}_kind"))
    if kind.role == "end":
        return f"{place.prefix}_kind {kind.name} is no block of a stage"
    given = dict(stage.extra)
    for name, declared in _common_fields(place, kind):
        value: Number = getattr(stage, name) if name in OWN_FIELDS else given.get(name, 0)
        if declared:
            problem = _common_problem(name, value, place, stage)
            if problem:
                return problem
        elif value:
            return f"{name} must be 0: kind {kind.name} has none, got {brief(value)}"
    return None


@lru_cache
def _common_fields(place: Place, kind: BlockKind) -> tuple[tuple[str, bool], ...]:
    """Name in a stage of each field in `COMMON`, and whether the kind declares that field."""
    names = ("mlp_ratio", "sr_ratio", "mix_ratio")
    return tuple((place.field(name), name in kind.field_names) for name in names)


def _common_problem(name: str, value: Number, place: Place, stage: Stage) -> str | None:
    """Say what is wrong with the value of a field in `COMMON`; None if it is valid."""
    if name.endswith("mlp_ratio"):
        return None if value else f"{name} must be above 0"
    if name.endswith("sr_ratio"):
        return None if 1 <= value <= 64 else f"{name} must be from 1 to 64, got {value}"
    if not 0 < value < 1:
        return f"{name} must be between 0 and 1, got {value:g}"
    width_name = f"{place.prefix}_width"
    width: int = getattr(stage, width_name)
    attention = make_divisible(int(width * value))
    if attention >= width:
        return (
            f"{name} {value:g} of {width_name} {width} gives all channels "
            f"to attention ({attention}) and leaves none to convolution"
        )
    return None
