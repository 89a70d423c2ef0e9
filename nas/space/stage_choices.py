"""Which values each field of a `Stage` may take in a search space."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass, fields
from functools import cached_property, lru_cache
from typing import Any

from nas.errors import ArchitectureError
from nas.space.block import make_divisible
from nas.space.block_kinds import BlockKind, Field, Number, kind_of
from nas.space.parameter_space import Choices, Pick
from nas.space.stage import CONVOLUTION, OWN_FIELDS, TRANSFORMER, USUAL_KINDS, Place, Stage

Numbers = tuple[Number, ...]

Offer = tuple[str, Choices]
"""A parameter's name, which ends in the width if that narrowed its choices, and the choices."""

_STAGE_FIELDS = frozenset(field.name for field in fields(Stage))
_NO_RATIOS: dict[str, Any] = dict.fromkeys(OWN_FIELDS, 0)


@dataclass(frozen=True)
class StageChoices:
    """Values each field of a `Stage` may take; the NTB fields are unused where ntb_width is 0.

    ``ncb_kind`` and ``ntb_kind`` are the kinds of block that may stand in each place. ``extra`` has
    (name, choices) pairs of those fields of the kinds that are in `Stage.extra`.
    """

    num_ncb: Numbers
    ncb_width: Numbers
    ntb_width: Numbers
    ncb_mlp_ratio: Numbers = ()
    repeats: Numbers = (1,)
    ntb_mlp_ratio: Numbers = ()
    mix_ratio: Numbers = ()
    sr_ratio: Numbers = ()
    ncb_kind: tuple[str, ...] = ("ncb",)
    ntb_kind: tuple[str, ...] = ("ntb",)
    extra: tuple[tuple[str, Numbers], ...] = ()

    def choices(self, name: str) -> Choices:
        """Choices of a stage's field, also of one in ``extra``; empty if the space names none."""
        found: Choices = dict(self.extra).get(name, ()) if self.extra else ()
        return found or getattr(self, name, ())

    def offered(self, place: Place, kind: BlockKind, width: Number) -> dict[str, Offer]:
        """Return the choices of a kind's fields, by the names that the fields have in a stage.

        Args:
            place: place of the kind in the stage.
            kind: the kind of block.
            width: output channels of the block, which narrow the choices of ratios.

        Raises:
            ArchitectureError: a field has neither choices nor a default.
        """
        key = (place.prefix, kind.name, width)
        found = self._offered.get(key)
        if found is None:
            names = {place.field(field.name): field for field in kind.fields}
            found = {name: self._offer(name, field, width) for name, field in names.items()}
            self._offered[key] = found
        return found

    def _offer(self, name: str, field: Field, width: Number) -> Offer:
        choices = self.choices(name)
        if not choices and field.default is not None:
            choices = (field.default,)
        if not choices:
            raise ArchitectureError(f"missing choices of {name}")
        narrowed = _narrowed(name, choices, width)
        return (name if choices == narrowed else f"{name}@{width}"), narrowed

    @cached_property
    def _offered(self) -> dict[tuple[str, str, Number], dict[str, Offer]]:
        """Cache of `offered`, as a search builds hundreds of thousands of stages."""
        return {}

    def kinds(self, place: Place) -> list[BlockKind]:
        """The kinds of block that may stand in a place."""
        return [kind_of(str(name)) for name in self.choices(f"{place.prefix}_kind")]

    def mix_ratios(self, ntb_width: int) -> Numbers:
        """Choices of mix_ratio at a width: each leaves heads to convolution, no two split alike."""
        found: Numbers = _narrowed("mix_ratio", self.mix_ratio, ntb_width)
        return found

    def size(self) -> int:
        """Number of distinct stages."""
        convs = sum(len(self._blocks(CONVOLUTION, width)) for width in self.ncb_width)
        hybrids = sum(
            len(self.repeats) * len(self._blocks(TRANSFORMER, width)) if width else 1
            for width in self.ntb_width
        )
        return len(self.num_ncb) * convs * hybrids

    def every_kind(self) -> Iterator[Stage]:
        """Yield stages, as deep as possible, that together contain every block of the choices."""
        deepest: dict[str, Any] = {"num_ncb": max(self.num_ncb)}
        for ncb_width, ntb_width in itertools.product(self.ncb_width, self.ntb_width):
            for conv in self._blocks(CONVOLUTION, ncb_width):
                stage = {**deepest, **conv, "ncb_width": ncb_width, "ntb_width": ntb_width}
                if not ntb_width:
                    yield _stage(stage | {"repeats": 1})
                    continue
                for hybrid in self._blocks(TRANSFORMER, ntb_width):
                    yield _stage(stage | hybrid | {"repeats": max(self.repeats)})

    def build(self, prefix: str, pick: Pick) -> Stage:
        """Build one stage, asking ``pick`` for every value under the name ``<prefix>.<field>``."""

        def ask(name: str) -> Any:
            values[name] = pick(f"{prefix}.{name}", self.choices(name))
            return values[name]

        def ask_block(place: Place, width: Number) -> None:
            name = f"{place.prefix}_kind"
            usual = USUAL_KINDS[name]
            kind = kind_of(usual if self.choices(name) == (usual,) else ask(name))
            for name, (asked, choices) in self.offered(place, kind, width).items():
                values[name] = pick(f"{prefix}.{asked}", choices)

        values: dict[str, Any] = {"repeats": 1}
        ask("num_ncb")
        ask_block(CONVOLUTION, ask("ncb_width"))
        if ask("ntb_width"):
            ask("repeats")
            ask_block(TRANSFORMER, values["ntb_width"])
        return _stage(values)

    def to_json(self) -> dict[str, Any]:
        """Plain values that differ if the choices differ; `USUAL_KINDS` are left out."""
        value = asdict(self)
        value |= dict(value.pop("extra"))
        return {n: v for n, v in value.items() if n not in USUAL_KINDS or v != (USUAL_KINDS[n],)}

    def _blocks(self, place: Place, width: Number) -> list[dict[str, Any]]:
        """Return the stage's field values for every distinct block in a place, at a width."""
        found: list[dict[str, Any]] = []
        for kind in self.kinds(place):
            offered = self.offered(place, kind, width)
            of_kind = {f"{place.prefix}_kind": kind.name}
            for values in itertools.product(*(choices for _, choices in offered.values())):
                found.append(of_kind | dict(zip(offered, values, strict=True)))
        return found


def _stage(values: dict[str, Any]) -> Stage:
    """Build a stage from values by name; a ratio without a value is 0."""
    if values.keys() <= _STAGE_FIELDS:
        return _kept(**(_NO_RATIOS | values))
    own = {name: v for name, v in values.items() if name in _STAGE_FIELDS}
    extra = tuple((name, v) for name, v in values.items() if name not in _STAGE_FIELDS)
    return _kept(**(_NO_RATIOS | own), extra=extra)


@lru_cache(maxsize=100_000, typed=True)
def _kept(**values: Any) -> Stage:
    """Build a stage, or return it from a cache, as a search builds the same ones over and over."""
    return Stage(**values)


def _narrowed(name: str, offered: Any, width: Number) -> Any:
    """Return the choices of a field that give valid and different blocks at a width.

    Channels inside a block are rounded to whole heads, so several ratios can give equal blocks.
    """
    if name.endswith("mlp_ratio"):
        return tuple(_distinct(offered, lambda ratio: make_divisible(width * ratio)).values())
    if name.endswith("mix_ratio"):
        splits = _distinct(offered, lambda ratio: make_divisible(int(width * ratio)))
        return tuple(ratio for attention, ratio in splits.items() if attention < width)
    return offered


def _distinct(ratios: Numbers, channels: Callable[[Number], int]) -> dict[int, Number]:
    """Return the first ratio that gives each number of channels, by that number."""
    found: dict[int, Number] = {}
    for ratio in ratios:
        found.setdefault(channels(ratio), ratio)
    return found
