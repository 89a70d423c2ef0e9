"""MACs, parameters and memory traffic of a `Block`, counted from its sizes alone.

The kind of a block lists its operators; tests compare them with the modules.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from functools import lru_cache

from nas.space.block import Block
from nas.space.block_kinds import Op as Op
from nas.space.block_kinds import kind_of


@dataclass(frozen=True)
class Cost:
    """Totals over operators.

    Attributes:
        macs: multiply-accumulates for one image.
        params: trainable parameters, before BatchNorms are folded.
        weights: parameters that the operators read, after BatchNorms are folded.
        activations: values that the operators read and write for one image.
    """

    macs: int
    params: int
    weights: int
    activations: int


@lru_cache(maxsize=65536)
def block_ops(block: Block) -> tuple[Op, ...]:
    """The operators of a block in the order they run."""
    return tuple(kind_of(block.kind).operators(block))


@lru_cache(maxsize=65536)
def block_cost(block: Block) -> Cost:
    """Total cost of one block."""
    return _total(block_ops(block))


def network_cost(blocks: Iterable[Block]) -> Cost:
    """Total cost of a network, given as its blocks."""
    costs = [block_cost(block) for block in blocks]
    return Cost(
        macs=sum(c.macs for c in costs),
        params=sum(c.params for c in costs),
        weights=sum(c.weights for c in costs),
        activations=sum(c.activations for c in costs),
    )


def _total(ops: Iterable[Op]) -> Cost:
    ops = tuple(ops)
    return Cost(
        macs=sum(op.macs for op in ops),
        params=sum(op.params for op in ops),
        weights=sum(op.weights for op in ops),
        activations=sum(op.activations for op in ops),
    )
