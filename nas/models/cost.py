"""MACs, parameters and memory traffic of a `Block`, counted from its sizes alone.

Counted as the published figures are: multiply-accumulates of convolutions, linear layers
and the two attention products; BatchNorm, activations and pooling are free. Checked against
the modules themselves in the tests.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from functools import lru_cache

from nas.space.block import HEAD_DIM, Block


@dataclass(frozen=True)
class Op:
    """One operator for one image, BatchNorms folded.

    Attributes:
        macs: multiply-accumulates.
        weights: parameters it reads.
        activations: values it reads and writes.
        params: trainable parameters before folding (BatchNorm's two vectors included).
    """

    macs: int
    weights: int
    activations: int
    params: int


@dataclass(frozen=True)
class Cost:
    """Sum over operators: MACs and values for one image, parameters of the module."""

    macs: int
    params: int
    weights: int
    activations: int


@lru_cache(maxsize=65536)
def block_ops(block: Block) -> tuple[Op, ...]:
    """The operators of a block in the order they run."""
    pixels = block.out_height * block.out_width
    if block.kind == "stem":
        return _stem_ops(block)
    if block.kind == "head":
        read = block.in_channels * block.height * block.width
        pool = Op(0, 0, read + block.in_channels, 2 * block.in_channels)
        return (pool, _linear(block.in_channels, block.out_channels, 1))
    if block.kind == "ncb":
        return (
            *_patch_embed(block, block.out_channels),
            *_mhca(block.out_channels, pixels),
            *_mlp(block.out_channels, block.hidden_channels, pixels),
        )
    attention = block.attention_channels
    convolution = block.out_channels - attention
    return (
        *_patch_embed(block, attention),
        *_e_mhsa(attention, pixels, block.sr_ratio),
        *(() if attention == convolution else (_conv(attention, convolution, 1, pixels),)),
        *_mhca(convolution, pixels),
        Op(0, 0, 2 * block.out_channels * pixels, 0),  # concatenation
        *_mlp(block.out_channels, block.hidden_channels, pixels),
    )


@lru_cache(maxsize=65536)
def block_cost(block: Block) -> Cost:
    """Cost of one block."""
    return _total(block_ops(block))


def network_cost(blocks: Iterable[Block]) -> Cost:
    """Cost of a network given as its blocks."""
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


def _conv(
    c_in: int, c_out: int, kernel: int, pixels: int, groups: int = 1, in_pixels: int = 0
) -> Op:
    """Convolution without bias and the BatchNorm behind it."""
    weights = c_in // groups * c_out * kernel**2
    values = c_in * (in_pixels or pixels) + c_out * pixels
    return Op(weights * pixels, weights + c_out, values, weights + 2 * c_out)


def _linear(c_in: int, c_out: int, tokens: int) -> Op:
    weights = c_in * c_out
    return Op(weights * tokens, weights + c_out, (c_in + c_out) * tokens, weights + c_out)


def _stem_ops(block: Block) -> tuple[Op, ...]:
    width = block.out_channels
    full = block.height * block.width
    half = -(-block.height // 2) * -(-block.width // 2)
    quarter = block.out_height * block.out_width
    return (
        _conv(block.in_channels, width, 3, half, in_pixels=full),
        _conv(width, width // 2, 3, half),
        _conv(width // 2, width, 3, half),
        _conv(width, width, 3, quarter, in_pixels=half),
    )


def _patch_embed(block: Block, c_out: int) -> tuple[Op, ...]:
    pixels = block.out_height * block.out_width
    if block.stride == 2:
        read = block.in_channels * block.height * block.width
        pool = Op(0, 0, read + block.in_channels * pixels, 0)
        return (pool, _conv(block.in_channels, c_out, 1, pixels))
    if block.in_channels != c_out:
        return (_conv(block.in_channels, c_out, 1, pixels),)
    return ()


def _mhca(channels: int, pixels: int) -> tuple[Op, ...]:
    weights = channels**2
    return (
        _conv(channels, channels, 3, pixels, groups=channels // HEAD_DIM),
        # The projection has no BatchNorm; the residual addition reads one value more.
        Op(weights * pixels, weights, 3 * channels * pixels, weights),
    )


def _mlp(channels: int, hidden: int, pixels: int) -> tuple[Op, ...]:
    widen = _linear(channels, hidden, pixels)
    narrow = _linear(hidden, channels, pixels)
    residual = channels * pixels
    return (
        Op(widen.macs, widen.weights, widen.activations, widen.params + 2 * channels),
        Op(narrow.macs, narrow.weights, narrow.activations + residual, narrow.params),
    )


def _e_mhsa(channels: int, tokens: int, sr_ratio: int) -> tuple[Op, ...]:
    reduced = tokens // sr_ratio**2
    square = _linear(channels, channels, tokens)
    reduced_square = _linear(channels, channels, reduced)
    scores = channels // HEAD_DIM * tokens * reduced
    norms = 2 * channels * (2 if sr_ratio > 1 else 1)
    pool = (Op(0, 0, channels * (tokens + reduced), 0),) if sr_ratio > 1 else ()
    return (
        Op(square.macs, square.weights, square.activations, square.params + norms),
        *pool,
        reduced_square,
        reduced_square,
        # q times k, softmax, attention times v
        Op(channels * tokens * reduced, 0, channels * (tokens + reduced) + scores, 0),
        Op(0, 0, 2 * scores, 0),
        Op(channels * tokens * reduced, 0, scores + channels * (tokens + reduced), 0),
        Op(square.macs, square.weights, square.activations + channels * tokens, square.params),
    )
