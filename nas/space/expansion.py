"""The expansion of an architecture to `Block`s, in parts: the stem, the stages and the head.

Blocks repeat, so a part consists of runs of equal blocks. A sum over blocks then needs each
distinct block only once, with its number of occurrences.
`nas.space.architecture.Architecture.expand` makes the parts.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import NamedTuple

from nas.space.block import Block
from nas.space.workload import Workload

STAGE_STRIDES = (1, 2, 2, 2)
"""Stride of the first block of each stage; the stem has a stride of its own."""

Run = tuple[Block, int]
"""A block, and how often it occurs in a row."""


class Group(NamedTuple):
    """A sequence of runs that is repeated as a whole, for example NCB x N + NTB of the paper."""

    runs: tuple[Run, ...]
    repeats: int


class Part(NamedTuple):
    """Stem, stage or head of a network.

    Attributes:
        name: ``stem``, ``stage 1`` to ``stage 4``, ``head``.
        groups: its blocks, in order.
    """

    name: str
    groups: tuple[Group, ...]

    def blocks(self) -> list[Block]:
        """Every block, in the order they run."""
        return [
            block
            for group in self.groups
            for _ in range(group.repeats)
            for block, count in group.runs
            for _ in range(count)
        ]

    def counts(self) -> list[Run]:
        """The blocks with their numbers of occurrences; equal blocks may appear more than once."""
        return [
            (block, count * group.repeats) for group in self.groups for block, count in group.runs
        ]


def stem_part(width: int, stride: int, workload: Workload) -> Part:
    """Return the stem: ``width`` output channels, at the image size of the workload."""
    return _single("stem", Block("stem", 3, width, stride, workload.height, workload.width))


def head_part(in_channels: int, size: tuple[int, int], workload: Workload) -> Part:
    """Return the head for a feature map of ``size``: its height and width in pixels."""
    return _single("head", Block("head", in_channels, workload.outputs, 1, *size))


def stage_sizes(workload: Workload, stem_stride: int) -> list[tuple[int, int]]:
    """Return height and width in pixels of the maps that enter the four stages and the head."""
    sizes = [strided((workload.height, workload.width), stem_stride)]
    for stride in STAGE_STRIDES:
        sizes.append(strided(sizes[-1], stride))
    return sizes


def strided(size: tuple[int, int], stride: int) -> tuple[int, int]:
    """Return height and width of a map after a stride, rounded up as in the published model."""
    height, width = size
    return -(-height // stride), -(-width // stride)


def distinct(parts: Iterable[Part]) -> set[Block]:
    """Return the set of distinct blocks in some parts."""
    return {block for part in parts for group in part.groups for block, _ in group.runs}


def _single(name: str, block: Block) -> Part:
    return Part(name, (Group(((block, 1),), 1),))
