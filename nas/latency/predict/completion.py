"""Completes a table with estimated rows for blocks that were not measured."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from nas.errors import TableError
from nas.latency.table.table import LatencyTable
from nas.measurement.protocol import Timing
from nas.space.block import Block


def with_interpolated(table: LatencyTable, blocks: Sequence[Block]) -> LatencyTable:
    """Return the table with an estimated row added for each of these blocks that it lacks.

    Latencies predicted from the new table are called estimated, and the interval of a network that
    has estimated blocks is wider. No file is written.

    Args:
        table: a measured table. A table of published figures is returned unchanged, because it
            needs no blocks.
        blocks: blocks that are needed.

    Raises:
        TableError: too few blocks of a kind were measured (the message says which), or the table
            is an adapted one that lacks blocks.
    """
    missing = table.missing(dict.fromkeys(blocks))
    if not missing or table.meta.kind == "published":
        return table
    if table.meta.kind == "adapted":
        raise TableError(
            f"{table.path}: was adapted, and only what was measured can be interpolated; delete "
            f"that folder and adapt or measure it for what is wanted now"
        )
    from nas.latency.predict.block_interpolation import interpolate_blocks

    estimates = interpolate_blocks(table.blocks, missing, table.meta.batch_size)
    rows, half_widths = dict(table.blocks), dict(table.interpolated)
    for block, (latency_ms, low_ms, high_ms) in zip(missing, estimates, strict=True):
        half_ms = max(high_ms - latency_ms, latency_ms - low_ms)
        rows[block] = Timing(latency_ms, 100 * half_ms / latency_ms, 0.0, 0)
        half_widths[block] = half_ms
    return replace(table, blocks=rows, interpolated=half_widths)
