"""Costs of the operators that blocks are made of, counted from their sizes alone.

The counts follow the published figures: multiply-accumulates of convolutions, linear layers
and the two attention products; BatchNorm, activations and pooling count as zero. This needs no
torch.
"""

from __future__ import annotations

from nas.space.block import HEAD_DIM, Block
from nas.space.block_kinds import Op


def conv(
    c_in: int, c_out: int, kernel: int, pixels: int, groups: int = 1, in_pixels: int = 0
) -> Op:
    """Count a convolution without bias, and the BatchNorm after it.

    Args:
        c_in, c_out: input and output channels.
        kernel: side of the kernel.
        pixels: pixels of the output.
        groups: number of groups.
        in_pixels: pixels of the input; 0 if it has as many as the output.
    """
    weights = c_in // groups * c_out * kernel**2
    values = c_in * (in_pixels or pixels) + c_out * pixels
    return Op(weights * pixels, weights + c_out, values, weights + 2 * c_out)


def linear(c_in: int, c_out: int, tokens: int) -> Op:
    weights = c_in * c_out
    return Op(weights * tokens, weights + c_out, (c_in + c_out) * tokens, weights + c_out)


def patch_embed(block: Block, c_out: int) -> tuple[Op, ...]:
    pixels = block.out_height * block.out_width
    if block.stride == 2:
        read = block.in_channels * block.height * block.width
        pool = Op(0, 0, read + block.in_channels * pixels, 0)
        return (pool, conv(block.in_channels, c_out, 1, pixels))
    if block.in_channels != c_out:
        return (conv(block.in_channels, c_out, 1, pixels),)
    return ()


def mhca(channels: int, pixels: int) -> tuple[Op, ...]:
    weights = channels**2
    return (
        conv(channels, channels, 3, pixels, groups=channels // HEAD_DIM),
        # The projection has no BatchNorm; the residual addition reads one value more.
        Op(weights * pixels, weights, 3 * channels * pixels, weights),
    )


def mlp(channels: int, hidden: int, pixels: int) -> tuple[Op, ...]:
    widen = linear(channels, hidden, pixels)
    narrow = linear(hidden, channels, pixels)
    residual = channels * pixels
    return (
        Op(widen.macs, widen.weights, widen.activations, widen.params + 2 * channels),
        Op(narrow.macs, narrow.weights, narrow.activations + residual, narrow.params),
    )


def e_mhsa(channels: int, tokens: int, sr_ratio: int) -> tuple[Op, ...]:
    reduced = tokens // sr_ratio**2
    square = linear(channels, channels, tokens)
    reduced_square = linear(channels, channels, reduced)
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
