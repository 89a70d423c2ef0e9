"""A search space: which values each part of an `Architecture` may take.

A space is one YAML file in ``search_spaces/``. Every way of walking it (an Optuna trial, a
random sample, the values of a given architecture) is the same traversal, `SearchSpace.build`,
with another ``pick``; a combination that cannot exist is never offered.
"""

from __future__ import annotations

import itertools
import math
import random
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from nas.architecture import (
    STAGE_STRIDES,
    Architecture,
    Block,
    Stage,
    make_divisible,
)
from nas.errors import ArchitectureError

if TYPE_CHECKING:
    import optuna

Choice = int | float
Choices = tuple[Choice, ...]
Pick = Callable[[str, Choices], Choice]
"""Chooses one of the values offered under a parameter's name."""


@dataclass(frozen=True)
class StageChoices:
    """Values each field of a `Stage` may take; the NTB fields are unused where ntb_width is 0."""

    num_ncb: Choices
    ncb_width: Choices
    ntb_width: Choices
    ncb_mlp_ratio: Choices
    repeats: Choices = (1,)
    ntb_mlp_ratio: Choices = ()
    mix_ratio: Choices = ()
    sr_ratio: Choices = ()

    def mix_ratios(self, ntb_width: int) -> Choices:
        """Ratios that split a width's heads: both parts get some, no two splits are equal."""
        splits: dict[int, Choice] = {}
        for ratio in self.mix_ratio:
            attention = make_divisible(int(ntb_width * ratio))
            if attention < ntb_width:
                splits.setdefault(attention, ratio)
        return tuple(splits.values())

    def size(self) -> int:
        """Number of distinct stages."""
        convs = len(self.num_ncb) * len(self.ncb_width) * len(self.ncb_mlp_ratio)
        total = 0
        for width in self.ntb_width:
            attention = len(self.ntb_mlp_ratio) * len(self.sr_ratio) * len(self.repeats)
            total += convs * (attention * len(self.mix_ratios(int(width))) if width else 1)
        return total


@dataclass(frozen=True)
class SearchSpace:
    """The architectures to search through.

    Args:
        name: the file's stem.
        stem_width: choices of the stem's width.
        stages: choices of the four stages.
    """

    name: str
    stem_width: Choices
    stages: tuple[StageChoices, ...]

    @property
    def size(self) -> int:
        """Exact number of distinct architectures."""
        return len(self.stem_width) * math.prod(stage.size() for stage in self.stages)

    def build(self, pick: Pick) -> Architecture:
        """Walk the space once, asking ``pick`` for every value.

        A parameter's name is ``stem_width`` or ``s<stage>.<field>``. Where an earlier choice
        narrows a later one, the later parameter's name says so (``s2.mix_ratio@64``), since a
        name must always stand for one set of choices.
        """
        stem_width = pick("stem_width", self.stem_width)
        stages = []
        for number, choices in enumerate(self.stages, start=1):
            value: dict[str, Any] = dict.fromkeys(("ntb_mlp_ratio", "mix_ratio", "sr_ratio"), 0)
            for name in ("num_ncb", "ncb_width", "ncb_mlp_ratio", "ntb_width"):
                value[name] = pick(f"s{number}.{name}", getattr(choices, name))
            value["repeats"] = 1
            if value["ntb_width"]:
                for name in ("repeats", "ntb_mlp_ratio", "sr_ratio"):
                    value[name] = pick(f"s{number}.{name}", getattr(choices, name))
                ratios = choices.mix_ratios(value["ntb_width"])
                narrowed = "" if ratios == choices.mix_ratio else f"@{value['ntb_width']}"
                value["mix_ratio"] = pick(f"s{number}.mix_ratio{narrowed}", ratios)
            stages.append(Stage(**value))
        return Architecture(int(stem_width), tuple(stages))

    def suggest(self, trial: optuna.trial.BaseTrial) -> Architecture:
        """An architecture whose parameters an Optuna trial suggests (all categorical)."""
        return self.build(lambda name, choices: trial.suggest_categorical(name, choices))

    def sample(self, rng: random.Random) -> Architecture:
        """A random architecture: every parameter uniform over its choices."""
        return self.build(lambda _, choices: rng.choice(choices))

    def params(self, architecture: Architecture) -> dict[str, Choice]:
        """Parameter values that build ``architecture``.

        Raises:
            ArchitectureError: it is not in this space; names the first value that is not.
        """
        params: dict[str, Choice] = {}

        def pick(name: str, choices: Choices) -> Choice:
            field = name.partition("@")[0]
            owner: Any = architecture
            if field.startswith("s") and "." in field:
                stage, field = field.split(".")
                owner = architecture.stages[int(stage[1:]) - 1]
            value: Choice = getattr(owner, field)
            if value not in choices:
                raise ArchitectureError(
                    f"not in space {self.name!r}: {name} is {value:g}, the space has "
                    f"{', '.join(f'{c:g}' for c in choices)}"
                )
            params[name] = value
            return value

        self.build(pick)
        return params

    def __contains__(self, architecture: Architecture) -> bool:
        try:
            return self.build_from(self.params(architecture)) == architecture
        except ArchitectureError:
            return False

    def build_from(
        self, params: Mapping[str, Choice], rng: random.Random | None = None
    ) -> Architecture:
        """The architecture of ``params``; what is missing is the first choice, or random."""

        def pick(name: str, choices: Choices) -> Choice:
            if name in params and params[name] in choices:
                return params[name]
            return rng.choice(choices) if rng else choices[0]

        return self.build(pick)

    def neighbours(self, architecture: Architecture) -> Iterator[Architecture]:
        """Every architecture that differs in one parameter."""
        offered: dict[str, Choices] = {}
        params = self.params(architecture)

        def record(name: str, choices: Choices) -> Choice:
            offered[name] = choices
            return params[name]

        self.build(record)
        for name, choices in offered.items():
            for choice in choices:
                if choice != params[name]:
                    yield self.build_from({**params, name: choice})

    def mutate(self, architecture: Architecture, rng: random.Random) -> Architecture:
        """A random neighbour, the architecture itself in a space of one."""
        return rng.choice(list(self.neighbours(architecture)) or [architecture])

    def blocks(self, resolution: int, num_classes: int = 1000) -> list[Block]:
        """Every distinct `Block` that occurs in a network of this space, sorted.

        Raises:
            ArchitectureError: an E-MHSA reduction of the space is too large for the resolution.
        """
        self.check_resolution(resolution)
        size = -(-resolution // 4)
        entering = {int(width) for width in self.stem_width}
        found = {Block("stem", 3, width, 4, resolution, resolution) for width in entering}
        for choices, stride in zip(self.stages, STAGE_STRIDES, strict=True):
            out_size = -(-size // stride)
            for shape in itertools.product(choices.ncb_width, choices.ncb_mlp_ratio):
                width, mlp_ratio = int(shape[0]), float(shape[1])
                inside = {(w, stride, size) for w in entering}
                if max(choices.num_ncb) > 1:
                    inside.add((width, 1, out_size))
                if max(choices.repeats) > 1:
                    inside |= {(int(w), 1, out_size) for w in choices.ntb_width if w}
                for channels, step, side in inside:
                    found.add(Block("ncb", channels, width, step, side, side, mlp_ratio))
            found.update(_ntb_blocks(choices, out_size))
            entering = {int(width) for width in choices.ntb_width if width}
            if 0 in choices.ntb_width:
                entering |= {int(width) for width in choices.ncb_width}
            size = out_size
        found |= {Block("head", width, num_classes, 1, size, size) for width in entering}
        return sorted(found)

    def check_resolution(self, resolution: int) -> None:
        """Refuse a resolution at which a network of this space cannot run.

        Raises:
            ArchitectureError: an E-MHSA reduction needs more tokens than an image gives.
        """
        size = -(-resolution // 4)
        for number, (choices, stride) in enumerate(
            zip(self.stages, STAGE_STRIDES, strict=True), start=1
        ):
            size = -(-size // stride)
            largest = int(max(choices.sr_ratio, default=1))
            if any(choices.ntb_width) and largest > size:
                raise ArchitectureError(
                    f"space {self.name!r}: stage {number} has sr_ratio {largest}, which needs "
                    f"{largest**2} tokens; a {resolution}x{resolution} image gives {size}x{size}: "
                    f"use a higher resolution or remove that choice"
                )


def _ntb_blocks(choices: StageChoices, size: int) -> Iterator[Block]:
    widths = [width for width in choices.ntb_width if width]
    for c_in, c_out, mlp_ratio, sr_ratio in itertools.product(
        choices.ncb_width, widths, choices.ntb_mlp_ratio, choices.sr_ratio
    ):
        for mix_ratio in choices.mix_ratios(int(c_out)):
            yield Block(
                "ntb",
                int(c_in),
                int(c_out),
                1,
                size,
                size,
                float(mlp_ratio),
                float(mix_ratio),
                int(sr_ratio),
            )
