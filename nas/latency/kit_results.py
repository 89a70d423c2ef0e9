"""Makes a latency table of the results that a device kit has written.

The file comes from another machine: it is checked for its form, for being complete and for
being possible before anything is written, and the table appears whole or not at all.
"""

from __future__ import annotations

import statistics
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from nas.architecture import Architecture, Block
from nas.errors import ArchitectureError, TableError, unknown
from nas.latency.kit_files import KitResults, read_results
from nas.latency.measure import Timing
from nas.latency.runtimes import RUNTIMES
from nas.latency.table import (
    MAX_REFERENCE_RATIO,
    MIN_NETWORKS,
    TABLES_DIR,
    LatencyTable,
    NetworkRow,
    TableMeta,
    possible,
    write_table,
)
from nas.models.cost import Cost, block_cost

CPU_TARGETS = ("onnxruntime", "openvino")
MAX_MACS_PER_S, MAX_CPU_MACS_PER_S_THREAD = 3e15, 1e12
"""No accelerator, and no CPU thread, is that fast (two 512-bit units at 6 GHz do 0.2e12)."""

MIN_MACS_PER_S = 2e8
"""Of a whole network. A Raspberry Pi 3 is ten times as fast."""

MAX_SUM_RATIO = 20.0
"""Between a network and the sum of its blocks; a unit mistaken in one of them gives 1000."""

MAX_BLOCK_SHARE = 2.0
"""Isolated latency of one block over that of a whole network with it."""

_LARGEST_VALUE = 1_000_000


def import_results(path: Path, tables_dir: Path = TABLES_DIR) -> LatencyTable:
    """Check a file of results and write its table.

    Args:
        path: the file that a kit wrote on its device.
        tables_dir: where tables are kept.

    Returns:
        The table, read back from its folder.

    Raises:
        TableError: the file is no file of results, is incomplete, or holds what cannot be; or
            there is a table of that device already. Nothing was written then.
    """
    results = read_results(path)
    try:
        _check_complete(results)
        meta = _meta(results)
        blocks, networks = _rows(results, meta)
        _check_plausible(blocks, networks, meta)
    except (ValueError, ArchitectureError) as error:
        raise TableError(f"{path}: {error}; no table was made") from None
    return write_table(tables_dir, meta, blocks, networks)


def _check_complete(results: KitResults) -> None:
    missing = {kind: len(results.missing(kind)) for kind in ("block", "network")}
    if any(missing.values()):
        raise ValueError(
            f"{missing['block']} blocks and {missing['network']} networks are not measured yet: "
            f"run the kit on {results.conditions.device_description} again, it goes on from there"
        )
    count = len(results.manifest.of_kind("network"))
    if count < MIN_NETWORKS:
        raise ValueError(f"has {count} networks, a table needs at least {MIN_NETWORKS}")


def _meta(results: KitResults) -> TableMeta:
    manifest, conditions = results.manifest, results.conditions
    if manifest.target not in RUNTIMES:
        raise ValueError(unknown("target", manifest.target, RUNTIMES))
    known = RUNTIMES[manifest.target].precisions
    if manifest.precision not in known:
        raise ValueError(
            f"precision {manifest.precision}: target {manifest.target} has {', '.join(known)}"
        )
    if not 1 / MAX_REFERENCE_RATIO < results.quiet_ms / results.reference_ms < MAX_REFERENCE_RATIO:
        raise ValueError(
            f"the reference block took {results.reference_ms:g} ms when the kit began and "
            f"{results.quiet_ms:g} ms while the device was quiet, which is too far apart to compare"
        )
    return TableMeta(
        kind="measured",
        target=manifest.target,
        device=conditions.device,
        device_description=conditions.device_description,
        precision=manifest.precision,
        batch_size=manifest.batch_size,
        runtime_version=conditions.runtime_version,
        threads=conditions.threads,
        reference_ms=min(results.reference_ms, results.quiet_ms),
        overhead_ms=results.overhead_ms,
        created=results.created,
        updated=results.updated,
    )


def _rows(results: KitResults, meta: TableMeta) -> tuple[dict[Block, Timing], list[NetworkRow]]:
    """The table's rows: the overhead of a call is taken out of those of blocks."""
    manifest = results.manifest
    blocks: dict[Block, Timing] = {}
    for model in manifest.of_kind("block"):
        block = _block(model.name, model.value or {})
        if block in blocks:
            raise ValueError(f"{model.name}: a second row for the block {block}")
        blocks[block] = results.rows[model.name].without(results.overhead_ms)
    networks: dict[Architecture, NetworkRow] = {}
    for model in manifest.of_kind("network"):
        try:
            architecture = Architecture.from_json(model.value)
            needed = architecture.blocks(manifest.resolution, manifest.num_classes)
        except ArchitectureError as error:
            raise ValueError(f"{model.name}: {error}") from None
        if architecture in networks:
            raise ValueError(f"{model.name}: a second row for the network {architecture.id}")
        lacking = next((block for block in needed if block not in blocks), None)
        if lacking is not None:
            raise ValueError(f"{model.name}: its block {lacking} is not among the kit's blocks")
        networks[architecture] = NetworkRow(
            architecture.id,
            manifest.resolution,
            manifest.num_classes,
            architecture,
            results.rows[model.name],
        )
    return blocks, list(networks.values())


def _block(name: str, value: Mapping[str, Any]) -> Block:
    """A block that can be built."""
    try:
        block = Block.from_json(value)
        sizes = [size for key, size in value.items() if key != "kind"]
        if not all(0 <= size <= _LARGEST_VALUE for size in sizes):
            raise ValueError("no such block can exist: a size is below zero or too large")
        return possible(block)
    except (ValueError, ArchitectureError) as error:
        raise ValueError(f"{name}: {error}") from None


def _check_plausible(
    blocks: Mapping[Block, Timing], networks: list[NetworkRow], meta: TableMeta
) -> None:
    """Refuse latencies that no device can have, as those in another unit than ms are."""
    quiet = meta.reference_ms
    alone_ms = {block: timing.at_reference(quiet).latency_ms for block, timing in blocks.items()}
    whole_ms = [row.timing.at_reference(quiet).latency_ms for row in networks]
    if meta.overhead_ms > statistics.median(row.timing.latency_ms for row in networks):
        raise ValueError(
            f"overhead_ms {meta.overhead_ms:g}: an empty call takes longer than whole networks"
        )
    for block, latency_ms in alone_ms.items():
        _check_speed(f"block {block}", block_cost(block), latency_ms, meta)
    for row, latency_ms in zip(networks, whole_ms, strict=True):
        what = f"network {row.name}"
        needed = row.blocks()
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
