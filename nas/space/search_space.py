"""A search space: which values each part of an `Architecture` may take.

A space is one YAML file in ``search_spaces/``. `nas.space.parameter_space` says how parameters are
chosen from it. A combination that cannot exist is never offered.
"""

from __future__ import annotations

import itertools
import math
import random
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property

from nas.errors import ArchitectureError
from nas.space.architecture import Architecture
from nas.space.block import Block, short_id
from nas.space.expansion import distinct, head_part, stage_sizes, stem_part
from nas.space.parameter_space import Choice, Choices, ParameterSpace, Pick, field
from nas.space.stage import PLACES
from nas.space.stage_choices import Numbers
from nas.space.stage_choices import StageChoices as StageChoices
from nas.space.workload import IMAGENET, Workload

USUAL_STRIDE = (4,)
"""Choices of the stem's stride in a space file without the entry ``stem_stride``."""


@dataclass(frozen=True)
class SearchSpace(ParameterSpace[Architecture]):
    """The architectures to search through.

    Args:
        name: name of the space: that of its file, without the suffix.
        stem_width: choices of the stem's width.
        stages: choices of the four stages.
        stem_stride: choices of the stem's stride.
    """

    name: str
    stem_width: Numbers
    stages: tuple[StageChoices, ...]
    stem_stride: Numbers = USUAL_STRIDE

    @cached_property
    def id(self) -> str:
        """Short stable id of the name and all choices; `USUAL_STRIDE` is left out."""
        stages = [stage.to_json() for stage in self.stages]
        value = {"name": self.name, "stem_width": self.stem_width, "stages": stages}
        if self.stem_stride != USUAL_STRIDE:
            value["stem_stride"] = self.stem_stride
        return short_id(value)

    @property
    def size(self) -> int:
        """Exact number of distinct architectures."""
        stems = len(self.stem_width) * len(self.stem_stride)
        return stems * math.prod(stage.size() for stage in self.stages)

    def build(self, pick: Pick) -> Architecture:
        """Build one architecture, asking ``pick`` for every value.

        Parameters are named ``stem_width``, ``stem_stride`` (unless its choices are
        `USUAL_STRIDE`) and ``s<stage>.<field>``. The name of a ratio whose choices a width narrows
        ends in that width (``s2.mix_ratio@64``), as a name must always have the same choices.
        """
        stem_width, stem_stride = pick("stem_width", self.stem_width), self.stem_stride[0]
        if self.stem_stride != USUAL_STRIDE:
            stem_stride = pick("stem_stride", self.stem_stride)  # type: ignore[assignment]
        stages = [stage.build(f"s{n}", pick) for n, stage in enumerate(self.stages, start=1)]
        return Architecture(int(stem_width), tuple(stages), int(stem_stride))

    def params(self, architecture: Architecture) -> dict[str, Choice]:
        """Return the parameter values, by name, from which `build` makes ``architecture``.

        Raises:
            ArchitectureError: it is not in this space; names the first value that is not.
        """
        params: dict[str, Choice] = {}

        def pick(name: str, choices: Choices) -> Choice:
            attribute = field(name)
            value: Choice
            if attribute.startswith("s") and "." in attribute:
                stage, attribute = attribute.split(".")
                value = architecture.stages[int(stage[1:]) - 1].value(attribute)
            else:
                value = getattr(architecture, attribute)
            if value not in choices:
                raise ArchitectureError(
                    f"not in space {self.name!r}: {name} is {_shown(value)}, the space has "
                    f"{', '.join(map(_shown, choices))}"
                )
            params[name] = value
            return value

        found = self.build(pick)
        if found != architecture:
            raise ArchitectureError(
                f"not in space {self.name!r}: {architecture.id} has a stem stride or kinds of "
                f"block that the space has not"
            )
        return params

    def __contains__(self, architecture: Architecture) -> bool:
        try:
            return bool(self.params(architecture))
        except ArchitectureError:
            return False

    def neighbours(self, architecture: Architecture) -> Iterator[Architecture]:
        """Yield every architecture of this space that differs from the given one in one parameter.

        Parameters that only the neighbour has take their first choice.

        Raises:
            ArchitectureError: the given architecture is not in this space.
        """
        params = self.params(architecture)
        for name, choices in self.select(lambda name, _: params[name]).offered.items():
            for choice in choices:
                if choice != params[name]:
                    yield self.build_from({**params, name: choice})

    def mutate(self, architecture: Architecture, rng: random.Random) -> Architecture:
        """Return a random neighbour, or the architecture itself if it has none."""
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
            reductions = [choices.choices(place.field("sr_ratio")) for place in PLACES]
            ncb_ratios, ntb_ratios = reductions if any(choices.ntb_width) else (reductions[0], ())
            largest = max(map(int, (*ncb_ratios, *ntb_ratios)), default=1)
            if largest**2 > height * width:
                raise ArchitectureError(
                    f"space {self.name!r}: stage {number} has sr_ratio {largest}, which needs "
                    f"{largest**2} tokens; a {workload.height}x{workload.width} image gives "
                    f"{height}x{width}: use a higher resolution or remove that choice"
                )


def _shown(value: Choice) -> str:
    return value if isinstance(value, str) else f"{value:g}"
