"""Makes a latency table from the results of a device kit.

The file of results comes from another machine. Its format, completeness and plausibility are
checked before anything is written, and the table is written atomically.
"""

from __future__ import annotations

import warnings
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from nas.errors import ArchitectureError, TableError, TableWarning, unknown
from nas.latency.table.catalog import new_table_folder
from nas.latency.table.files import write_table
from nas.latency.table.table import (
    MAX_REFERENCE_RATIO,
    MIN_NETWORKS,
    LatencyTable,
    NetworkRow,
    TableMeta,
)
from nas.latency.table.validation import check_plausible, possible_block
from nas.measurement.kit.files import KitResults, read_results
from nas.measurement.protocol import NOT_STEADY, Timing
from nas.measurement.runtimes import RUNTIMES
from nas.space.architecture import Architecture
from nas.space.block import Block
from nas.space.workload import Workload

_LARGEST_VALUE = 1_000_000


def import_results(path: Path, tables_dir: Path | None = None) -> LatencyTable:
    """Check a file of results and write its table.

    Args:
        path: the file that a kit wrote on its device.
        tables_dir: folder of the tables; None for the usual folder.

    Returns:
        The table, read back from its folder.

    Raises:
        TableError: the file is not a file of results, is incomplete or implausible; or the device
            has a table already. In that case nothing was written.
    """
    results = read_results(path)
    try:
        _check_complete(results)
        meta = _meta(results)
        blocks, networks = _rows(results, meta)
        networks = _steady(blocks, networks)
        check_plausible(blocks, networks, meta)
    except (ValueError, ArchitectureError) as error:
        raise TableError(f"{path}: {error}; no table was made") from None
    return write_table(new_table_folder(tables_dir), meta, blocks, networks)


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
    """Rows of blocks, without the overhead of a call, and of networks, which include it.

    Raises:
        ValueError: a block or network is not valid or occurs twice; names its model.
    """
    manifest = results.manifest
    workload = Workload.of(manifest.resolution, manifest.num_classes, manifest.batch_size)
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
            needed = architecture.blocks(workload)
        except ArchitectureError as error:
            raise ValueError(f"{model.name}: {error}") from None
        if architecture in networks:
            raise ValueError(f"{model.name}: a second row for the network {architecture.id}")
        lacking = next((block for block in needed if block not in blocks), None)
        if lacking is not None:
            raise ValueError(f"{model.name}: its block {lacking} is not among the kit's blocks")
        networks[architecture] = NetworkRow(
            architecture.id,
            workload,
            architecture,
            results.rows[model.name],
        )
    return blocks, list(networks.values())


def _steady(blocks: Mapping[Block, Timing], networks: list[NetworkRow]) -> list[NetworkRow]:
    """Leave out networks that were not measured well; kits of earlier versions kept them.

    Raises:
        ValueError: too few networks are left, or a block was not measured well.
    """
    steady = [row for row in networks if row.timing.steady]
    unsteady = sum(not timing.steady for timing in blocks.values())
    left_out = len(networks) - len(steady)
    if unsteady or len(steady) < MIN_NETWORKS:
        raise ValueError(
            f"{unsteady} blocks and {left_out} networks are of no use, as {NOT_STEADY}: build the "
            f"kit anew, and run it when its device does less"
        )
    if left_out:
        warnings.warn(
            f"{left_out} of {len(networks)} networks are left out, as {NOT_STEADY}",
            TableWarning,
            stacklevel=3,
        )
    return steady


def _block(name: str, value: Mapping[str, Any]) -> Block:
    """Parse the block of the model ``name``.

    Raises:
        ValueError: the block cannot be built; names the model.
    """
    try:
        block = Block.from_json(value)
        sizes = [size for key, size in value.items() if key != "kind"]
        if not all(0 <= size <= _LARGEST_VALUE for size in sizes):
            raise ValueError("no such block can exist: a size is below zero or too large")
        return possible_block(block)
    except (ValueError, ArchitectureError) as error:
        raise ValueError(f"{name}: {error}") from None
