"""A search space: which values each part of an `Architecture` may take.

A space is one YAML file in ``search_spaces/``; how it is walked is `nas.space.parameter_space`'s. A
combination that cannot exist is never offered.
"""

from __future__ import annotations

import itertools
import math
import random
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass
from functools import cached_property, lru_cache
from typing import Any

from nas.errors import ArchitectureError
from nas.space.architecture import Architecture, Stage
from nas.space.block import Block, make_divisible, short_id
from nas.space.expansion import distinct, head_part, stage_sizes, stem_part
from nas.space.parameter_space import Choice, Choices, ParameterSpace, Pick, field
from nas.space.workload import IMAGENET, Workload


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
        splits = _distinct(self.mix_ratio, lambda ratio: make_divisible(int(ntb_width * ratio)))
        return tuple(ratio for attention, ratio in splits.items() if attention < ntb_width)

    def ncb_mlp_ratios(self, ncb_width: int) -> Choices:
        """MLP ratios that differ at a width: hidden channels are rounded to heads."""
        return _mlp_ratios(self.ncb_mlp_ratio, ncb_width)

    def ntb_mlp_ratios(self, ntb_width: int) -> Choices:
        """MLP ratios that differ at a width: hidden channels are rounded to heads."""
        return _mlp_ratios(self.ntb_mlp_ratio, ntb_width)

    def size(self) -> int:
        """Number of distinct stages."""
        convs = len(self.num_ncb) * sum(len(self.ncb_mlp_ratios(int(w))) for w in self.ncb_width)
        total = 0
        for width in (int(width) for width in self.ntb_width):
            attention = len(self.sr_ratio) * len(self.repeats)
            ratios = len(self.ntb_mlp_ratios(width)) * len(self.mix_ratios(width))
            total += convs * (attention * ratios if width else 1)
        return total

    def every_kind(self) -> Iterator[Stage]:
        """Stages that together have every block of the choices, each as deep as it can be."""
        deepest: dict[str, Any] = {"num_ncb": int(max(self.num_ncb))}
        conv = [(int(w), r) for w in self.ncb_width for r in self.ncb_mlp_ratios(int(w))]
        for (width, mlp_ratio), ntb in itertools.product(conv, self.ntb_width):
            stage = {**deepest, "ncb_width": width, "ncb_mlp_ratio": mlp_ratio}
            if not ntb:
                nothing = dict.fromkeys(("ntb_width", "ntb_mlp_ratio", "mix_ratio", "sr_ratio"), 0)
                yield _stage(**stage, **nothing, repeats=1)
                continue
            ratios = (self.ntb_mlp_ratios(int(ntb)), self.mix_ratios(int(ntb)), self.sr_ratio)
            for ntb_mlp_ratio, mix_ratio, sr_ratio in itertools.product(*ratios):
                yield _stage(
                    **stage,
                    repeats=int(max(self.repeats)),
                    ntb_width=int(ntb),
                    ntb_mlp_ratio=ntb_mlp_ratio,
                    mix_ratio=mix_ratio,
                    sr_ratio=int(sr_ratio),
                )

    def build(self, prefix: str, pick: Pick) -> Stage:
        """One stage, asking ``pick`` for every value; see `SearchSpace.build`."""

        def ask(name: str, offered: Choices, width: Any = None) -> Any:
            narrowed = "" if offered == getattr(self, name) else f"@{width}"
            return pick(f"{prefix}.{name}{narrowed}", offered)

        value: dict[str, Any] = dict.fromkeys(("ntb_mlp_ratio", "mix_ratio", "sr_ratio"), 0)
        value["num_ncb"] = ask("num_ncb", self.num_ncb)
        value["ncb_width"] = ncb = ask("ncb_width", self.ncb_width)
        value["ncb_mlp_ratio"] = ask("ncb_mlp_ratio", self.ncb_mlp_ratios(ncb), ncb)
        value["ntb_width"] = ntb = ask("ntb_width", self.ntb_width)
        value["repeats"] = 1
        if ntb:
            value["repeats"] = ask("repeats", self.repeats)
            value["ntb_mlp_ratio"] = ask("ntb_mlp_ratio", self.ntb_mlp_ratios(ntb), ntb)
            value["sr_ratio"] = ask("sr_ratio", self.sr_ratio)
            value["mix_ratio"] = ask("mix_ratio", self.mix_ratios(ntb), ntb)
        return _stage(**value)


@lru_cache(maxsize=100_000, typed=True)
def _stage(**values: Any) -> Stage:
    """Each distinct stage once: a search builds the same ones over and over, and looks them up."""
    return Stage(**values)


def _distinct(ratios: Choices, channels: Callable[[Choice], int]) -> dict[int, Choice]:
    """The first of the ratios that give each number of channels."""
    found: dict[int, Choice] = {}
    for ratio in ratios:
        found.setdefault(channels(ratio), ratio)
    return found


def _mlp_ratios(ratios: Choices, width: int) -> Choices:
    return tuple(_distinct(ratios, lambda ratio: make_divisible(width * ratio)).values())


@dataclass(frozen=True)
class SearchSpace(ParameterSpace[Architecture]):
    """The architectures to search through.

    Args:
        name: the file's stem.
        stem_width: choices of the stem's width.
        stages: choices of the four stages.
        stem_stride: choices of the stem's stride.
    """

    name: str
    stem_width: Choices
    stages: tuple[StageChoices, ...]
    stem_stride: Choices = (4,)

    @cached_property
    def id(self) -> str:
        """Short stable id of the name and all choices; what is usual is left out, as in an
        architecture's."""
        value = asdict(self)
        if self.stem_stride == (4,):
            del value["stem_stride"]
        return short_id(value)

    @property
    def size(self) -> int:
        """Exact number of distinct architectures."""
        stems = len(self.stem_width) * len(self.stem_stride)
        return stems * math.prod(stage.size() for stage in self.stages)

    def build(self, pick: Pick) -> Architecture:
        """Walk the space once, asking ``pick`` for every value.

        A parameter's name is ``stem_width``, ``stem_stride`` (where there is a choice), or
        ``s<stage>.<field>``. Where an earlier choice narrows a later one, the later parameter's
        name says so (``s2.mix_ratio@64``), since a name must always stand for one set of choices.
        """
        stem_width, stem_stride = pick("stem_width", self.stem_width), self.stem_stride[0]
        if len(self.stem_stride) > 1:
            stem_stride = pick("stem_stride", self.stem_stride)
        stages = [stage.build(f"s{n}", pick) for n, stage in enumerate(self.stages, start=1)]
        return Architecture(int(stem_width), tuple(stages), int(stem_stride))

    def params(self, architecture: Architecture) -> dict[str, Choice]:
        """Parameter values that build ``architecture``.

        Raises:
            ArchitectureError: it is not in this space; names the first value that is not.
        """
        params: dict[str, Choice] = {}

        def pick(name: str, choices: Choices) -> Choice:
            attribute = field(name)
            owner: Any = architecture
            if attribute.startswith("s") and "." in attribute:
                stage, attribute = attribute.split(".")
                owner = architecture.stages[int(stage[1:]) - 1]
            value: Choice = getattr(owner, attribute)
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

    def neighbours(self, architecture: Architecture) -> Iterator[Architecture]:
        """Every architecture that differs in one parameter."""
        params = self.params(architecture)
        for name, choices in self.walk(lambda name, _: params[name]).offered.items():
            for choice in choices:
                if choice != params[name]:
                    yield self.build_from({**params, name: choice})

    def mutate(self, architecture: Architecture, rng: random.Random) -> Architecture:
        """A random neighbour, the architecture itself in a space of one."""
        return rng.choice(list(self.neighbours(architecture)) or [architecture])

    def blocks(self, workload: Workload = IMAGENET) -> list[Block]:
        """Every distinct `Block` that occurs in a network of this space, sorted.

        Raises:
            ArchitectureError: an E-MHSA reduction of the space is too large for the resolution.
        """
        self.check_workload(workload)
        found: set[Block] = set()
        for stem_stride in self.stem_stride:
            sizes = stage_sizes(workload, int(stem_stride))
            entering = {int(width) for width in self.stem_width}
            found |= distinct(stem_part(w, int(stem_stride), workload) for w in entering)
            for number, choices in enumerate(self.stages, start=1):
                stages = list(choices.every_kind())
                for stage, channels in itertools.product(stages, entering):
                    found |= distinct([stage.part(number, channels, sizes[number - 1])])
                entering = {stage.out_width for stage in stages}
            found |= distinct(head_part(w, sizes[-1], workload) for w in entering)
        return sorted(found)

    def check_workload(self, workload: Workload) -> None:
        """Refuse a resolution at which a network of this space cannot run.

        Raises:
            ArchitectureError: an E-MHSA reduction needs more tokens than an image gives.
        """
        sizes = stage_sizes(workload, int(max(self.stem_stride)))
        for number, choices in enumerate(self.stages, start=1):
            height, width = sizes[number]
            largest = int(max(choices.sr_ratio, default=1))
            if any(choices.ntb_width) and largest**2 > height * width:
                raise ArchitectureError(
                    f"space {self.name!r}: stage {number} has sr_ratio {largest}, which needs "
                    f"{largest**2} tokens; a {workload.height}x{workload.width} image gives "
                    f"{height}x{width}: use a higher resolution or remove that choice"
                )
