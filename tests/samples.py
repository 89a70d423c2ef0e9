"""Architectures and spaces to test with."""

from __future__ import annotations

from typing import Any

from hypothesis import assume
from hypothesis import strategies as st

from nas.errors import ArchitectureError
from nas.space.architecture import Architecture, Stage
from nas.space.block import Block
from nas.space.search_space import SearchSpace, StageChoices


def widths(highest: int = 512) -> st.SearchStrategy[int]:
    """Multiples of the head size."""
    return st.integers(1, highest // 32).map(lambda heads: 32 * heads)


RATIOS = st.one_of(st.integers(1, 4), st.floats(0.25, 4))


@st.composite
def stages(draw: st.DrawFn, highest_width: int = 512) -> Stage:
    """Any stage that can exist; some without NTB."""
    num_ncb, ncb_width = draw(st.integers(1, 3)), draw(widths(highest_width))
    ncb_mlp_ratio = draw(RATIOS)
    if draw(st.booleans()):
        return Stage(num_ncb, 1, ncb_width, 0, ncb_mlp_ratio, 0, 0, 0)
    values: dict[str, Any] = {
        "repeats": draw(st.integers(1, 3)),
        "ntb_width": draw(widths(highest_width)),
        "ntb_mlp_ratio": draw(RATIOS),
        "mix_ratio": draw(st.floats(0.05, 0.95)),
        "sr_ratio": draw(st.sampled_from([1, 2, 4, 8])),
    }
    try:
        return Stage(num_ncb=num_ncb, ncb_width=ncb_width, ncb_mlp_ratio=ncb_mlp_ratio, **values)
    except ArchitectureError:
        assume(False)
        raise


@st.composite
def architectures(draw: st.DrawFn, highest_width: int = 512) -> Architecture:
    """Any architecture of stages that can exist."""
    stem_width = draw(widths(128))
    return Architecture(stem_width, tuple(draw(stages(highest_width)) for _ in range(4)))


def _some(*values: float, most: int = 2) -> st.SearchStrategy[tuple[float, ...]]:
    return st.lists(st.sampled_from(values), min_size=1, max_size=most, unique=True).map(tuple)


@st.composite
def stage_choices(draw: st.DrawFn, most: int = 2) -> StageChoices:
    """Choices of a stage, with ratios that coincide at some widths and widths without NTB."""
    choices = StageChoices(
        num_ncb=draw(_some(1, 2, 3, most=most)),
        ncb_width=draw(_some(32, 64, 96, most=most)),
        ntb_width=draw(_some(0, 64, 96, 128, most=most)),
        ncb_mlp_ratio=draw(_some(2, 2.5, 3, most=most)),
        repeats=draw(_some(1, 2, 3, most=most)),
        ntb_mlp_ratio=draw(_some(1, 1.2, 2, most=most)),
        mix_ratio=draw(_some(0.25, 0.5, 0.6, 0.75, most=most)),
        sr_ratio=draw(_some(1, 2, most=most)),
    )
    assume(all(choices.mix_ratios(int(width)) for width in choices.ntb_width if width))
    return choices


@st.composite
def spaces(draw: st.DrawFn, largest: int = 600) -> SearchSpace:
    """Spaces small enough to enumerate: two free stages, two of a single choice or few."""
    free = [draw(stage_choices()), draw(stage_choices(most=1))]
    rest = [draw(stage_choices(most=1)) for _ in range(2)]
    order = draw(st.permutations([*free, *rest]))
    space = SearchSpace("small", draw(_some(32, 64)), tuple(order))
    assume(space.size <= largest)
    return space


TINY = Architecture(
    32,
    (
        Stage(1, 1, 32, 0, 2, 0, 0, 0),
        Stage(1, 2, 64, 96, 2, 1, 0.6, 4),
        Stage(2, 1, 64, 64, 3, 2, 0.5, 2),
        Stage(1, 1, 96, 128, 2, 1.5, 0.75, 1),
    ),
)
"""A small network with every kind of block, repeats, and equal halves in stage 3."""

BLOCKS = {
    "stem": Block("stem", 3, 32, 4, 61, 61),
    "stem stride 2": Block("stem", 3, 32, 2, 31, 33),
    "ncb": Block("ncb", 64, 64, 1, 14, 14, 3.0),
    "ncb stride 2": Block("ncb", 32, 96, 2, 15, 15, 2.5),
    "ntb": Block("ntb", 96, 128, 1, 14, 14, 2.0, 0.75, 4),
    "ntb sr 1": Block("ntb", 64, 64, 1, 7, 7, 1.0, 0.5, 1),
    "head": Block("head", 128, 10, 1, 7, 7),
}
"""One block of each kind and variant."""
