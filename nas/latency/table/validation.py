"""Checks that a block can exist, and that a measured table's latencies are plausible."""

from __future__ import annotations

import statistics
from collections.abc import Mapping, Sequence

from nas.errors import ArchitectureError
from nas.latency.table.table import NetworkRow, TableMeta, at_quiet_speed
from nas.measurement.protocol import Timing
from nas.models.cost import Cost, block_cost
from nas.space.block import Block

CPU_TARGETS = ("onnxruntime", "openvino")
MAX_MACS_PER_S, MAX_CPU_MACS_PER_S_THREAD = 3e15, 1e12
"""Speeds, in MACs per second, that no accelerator and no single CPU thread reaches. (Two 512-bit
units at 6 GHz do 0.2e12.)"""

MIN_MACS_PER_S = 2e8
"""Least plausible speed of a whole network, in MACs per second. A Raspberry Pi 3 is ten times as
fast."""

MAX_SUM_RATIO = 20.0
"""Largest plausible ratio of the latency of a network to the sum of its blocks, or of the sum to
the latency. A wrong unit in one of them gives a factor of 1000."""

MAX_BLOCK_SHARE = 2.0
"""Largest plausible ratio of the latency of a block alone to that of a network that contains it."""


def check_plausible(
    blocks: Mapping[Block, Timing], networks: Sequence[NetworkRow], meta: TableMeta
) -> None:
    """Refuse latencies that no device can have, for example because they are not in ms.

    Raises:
        ValueError: a latency is implausible; names the row and says what is wrong with it.
    """
    alone_ms = {block: at_quiet_speed(row, meta).latency_ms for block, row in blocks.items()}
    whole_ms = [at_quiet_speed(row.timing, meta).latency_ms for row in networks]
    if networks and meta.overhead_ms > statistics.median(row.timing.latency_ms for row in networks):
        raise ValueError(
            f"overhead_ms {meta.overhead_ms:g}: an empty call takes longer than whole networks"
        )
    for block, latency_ms in alone_ms.items():
        _check_speed(f"block {block}", block_cost(block), latency_ms, meta)
    for row, latency_ms in zip(networks, whole_ms, strict=True):
        what = f"network {row.name}"
        needed = row.blocks()
        if not all(block in alone_ms for block in needed):
            continue
        for block in needed:
            if alone_ms[block] > MAX_BLOCK_SHARE * latency_ms:
                raise ValueError(
                    f"{what} has {latency_ms:g} ms, its block {block} alone {alone_ms[block]:g} ms"
                )
        total_ms = sum(alone_ms[block] for block in needed)
        if not 1 / MAX_SUM_RATIO < latency_ms / total_ms < MAX_SUM_RATIO:
            raise ValueError(
                f"{what} has {latency_ms:g} ms, the sum of its blocks is {total_ms:g} ms: one of "
                f"them is in another unit"
            )
        macs = sum(block_cost(block).macs for block in needed) * meta.batch_size
        if 1e3 * macs / latency_ms < MIN_MACS_PER_S:
            raise ValueError(f"{what}: {latency_ms:g} ms is too slow to be milliseconds")


def _check_speed(what: str, cost: Cost, latency_ms: float, meta: TableMeta) -> None:
    limit = MAX_MACS_PER_S
    if meta.target in CPU_TARGETS:
        limit = MAX_CPU_MACS_PER_S_THREAD * max(1, meta.threads)
    macs_per_s = 1e3 * cost.macs * meta.batch_size / latency_ms
    if macs_per_s > limit:
        raise ValueError(
            f"{what}: {latency_ms:g} ms would be {macs_per_s:.1e} multiply-accumulates a second; "
            f"no such device exists, so the latency is not in ms"
        )


def possible_block(block: Block) -> Block:
    """Return the block itself, if it can be built.

    Raises:
        ValueError: it cannot be built; says why.
    """
    try:
        if min(block.in_channels, block.out_channels, block.height, block.width) < 1:
            raise ValueError("a size is zero")
        if block_cost(block).macs < 1:
            raise ValueError("it computes nothing")
    except (ValueError, ArchitectureError, ArithmeticError) as error:
        raise ValueError(f"no such block can exist: {error}") from None
    return block
