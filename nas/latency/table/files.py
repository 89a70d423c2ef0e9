"""Reads and writes the files of a latency table.

For a mistake in a file the error message is one line that names the file and the place. Nothing in
a table is ever executed.
"""

from __future__ import annotations

import json
import math
import warnings
from collections.abc import Callable, Iterable, Mapping
from dataclasses import replace
from pathlib import Path

from pydantic import ValidationError

from nas.errors import ArchitectureError, TableError, TableWarning, UnknownKindError, brief
from nas.latency.table.cells import (
    BLOCK_COLUMNS,
    NETWORK_COLUMNS,
    TIMING_COLUMNS,
    add_columns,
    append_rows,
    further_columns,
    read_cells,
    repair,
)
from nas.latency.table.table import (
    TABLE_FORMAT,
    LatencyTable,
    NetworkRow,
    TableMeta,
    at_quiet_speed,
)
from nas.latency.table.validation import possible_block
from nas.measurement.protocol import Timing
from nas.space.architecture import Architecture
from nas.space.block import Block
from nas.space.block_kinds import canonical, is_kind_name, kind_of
from nas.space.workload import Workload
from nas.system.atomic import staging_folder, write_whole
from nas.system.json_checks import read_json
from nas.system.paths import exists


def read_table(path: Path) -> LatencyTable:
    """Read a table's folder; latencies are scaled to the table's reference latency.

    Raises:
        TableError: a file is missing or corrupted; names the file, and the line in a CSV.
    """
    meta = _read_meta(path / "meta.json")
    found = f"{path.resolve().parent.name}/{path.resolve().name}"
    if found != f"{meta.target}/{meta.folder}":
        raise TableError(
            f"{path / 'meta.json'}: describes {brief(f'{meta.target}/{meta.folder}')}, its folder "
            f"is {found}: rename one of them"
        )
    blocks: dict[Block, Timing] = {}

    def add_block(row: dict[str, str]) -> None:
        block = _parse_block(row)
        if block in blocks:
            raise ValueError(f"a second row for the block {block}")
        blocks[block] = at_quiet_speed(_parse_timing(row), meta)

    networks: list[NetworkRow] = []
    measured: set[tuple[Architecture, Workload]] = set()

    def add_network(row: dict[str, str]) -> None:
        network = _parse_network(row, meta.batch_size)
        network = replace(network, timing=at_quiet_speed(network.timing, meta))
        key = (network.architecture, network.workload)
        if key in measured:
            raise ValueError(f"a second row for the network {network.name} at that size")
        measured.add(key)
        networks.append(network)

    whole = meta.kind == "published"
    _read_csv(path / "blocks.csv", BLOCK_COLUMNS, add_block, whole)
    _read_csv(path / "networks.csv", NETWORK_COLUMNS, add_network, whole)
    if meta.kind == "published" and not networks:
        raise TableError(f"{path / 'networks.csv'}: a table of published figures needs networks")
    return LatencyTable(path, meta, blocks, tuple(networks))


def _read_meta(path: Path) -> TableMeta:
    if not exists(path):
        raise TableError(f"{path}: no such file; the folder is no latency table")
    content = read_json(path)
    found = content.get("format") if isinstance(content, dict) else None
    if isinstance(found, int) and found > TABLE_FORMAT:
        raise TableError(
            f"{path}: format {found} is newer than this version of nextvit-nas reads, which is "
            f"{TABLE_FORMAT}: update nextvit-nas"
        )
    try:
        return TableMeta.model_validate(content)
    except ValidationError as error:
        first = error.errors()[0]
        where = ".".join(brief(part).strip("'") for part in first["loc"]) or "the whole"
        raise TableError(f"{path}: {where}: {first['msg']}") from None


def _read_csv(
    path: Path, columns: list[str], add: Callable[[dict[str, str]], None], whole: bool
) -> None:
    """Call ``add`` with every row; a ValueError that it raises becomes a TableError with the line.

    Rows of blocks whose kind is not registered are skipped with a warning, as no space here has
    them. ``whole`` is that of `read_cells`.
    """
    if not path.exists():
        return
    content = read_cells(path, columns, whole)
    unknown_kinds = 0
    for line, cells in content.rows:
        try:
            add(dict(zip(content.header, cells, strict=True)))
        except UnknownKindError:
            unknown_kinds += 1
        except (ValueError, ArchitectureError) as error:
            raise TableError(f"{path}:{line}: {error}; {repair(path)}") from None
    if unknown_kinds:
        warnings.warn(
            f"{path}: rows left out: {unknown_kinds}, of kinds of block that are not known here",
            TableWarning,
            stacklevel=3,
        )


def _number(row: Mapping[str, str], column: str, low: float, high: float) -> float:
    try:
        value = float(row[column])
    except ValueError:
        raise ValueError(f"{column} {brief(row[column])} is not a number") from None
    if not math.isfinite(value) or not low <= value <= high:
        raise ValueError(f"{column} {brief(row[column])} is not from {low:g} to {high:g}")
    return value


def _whole(row: Mapping[str, str], column: str, low: float, high: float) -> int:
    value = _number(row, column, low, high)
    if value != int(value):
        raise ValueError(f"{column} {brief(row[column])} is not a whole number")
    return int(value)


def _parse_timing(row: Mapping[str, str]) -> Timing:
    return Timing(
        latency_ms=_number(row, "latency_ms", 1e-6, 1e7),
        ci_pct=_number(row, "ci_pct", 0, 1e4),
        spread_pct=_number(row, "spread_pct", 0, 1e4),
        runs=_whole(row, "runs", 0, 10**9),
        reference_ms=_number(row, "reference_ms", 0, 1e7),
    )


def _parse_block(row: Mapping[str, str]) -> Block:
    name = row["kind"]
    if not is_kind_name(name):
        raise ValueError(f"kind {brief(name)} is no name of a kind of block")
    kind = kind_of(name)
    further = [column for column in row if column not in (*BLOCK_COLUMNS, *TIMING_COLUMNS)]
    own = {field.name: field for field in kind.extra_fields}
    odd = [column for column in further if row[column] and column not in own]
    if odd:
        raise ValueError(f"{odd[0]} {brief(row[odd[0]])}: a block of kind {name} has none")
    parse = {True: _whole, False: _number}
    given = [column for column in further if row[column]]
    extra = [(n, parse[own[n].whole](row, n, own[n].low, own[n].high)) for n in given]
    block = Block(
        name,
        in_channels=_whole(row, "in_channels", 1, 65536),
        out_channels=_whole(row, "out_channels", 1, 1_000_000),
        stride=_whole(row, "stride", 1, 64),
        height=_whole(row, "height", 1, 65536),
        width=_whole(row, "width", 1, 65536),
        mlp_ratio=_number(row, "mlp_ratio", 0, 64),
        mix_ratio=_number(row, "mix_ratio", 0, 1),
        sr_ratio=_whole(row, "sr_ratio", 0, 64),
        extra=canonical(own.values(), extra),
    )
    return possible_block(block)


def _parse_network(row: Mapping[str, str], batch_size: int) -> NetworkRow:
    try:
        value = json.loads(row["architecture"])
    except (ValueError, RecursionError):
        raise ValueError("architecture is not valid JSON") from None
    network = NetworkRow(
        name=row["name"],
        workload=Workload.of(
            row["resolution"], _whole(row, "num_classes", 1, 1_000_000), batch_size
        ),
        architecture=Architecture.from_json(value),
        timing=_parse_timing(row),
    )
    network.blocks()  # refuses a resolution the network cannot run at
    return network


def write_meta(path: Path, meta: TableMeta) -> None:
    """Write ``meta.json`` into a table's folder atomically."""
    write_whole(path / "meta.json", meta.model_dump_json(indent=2) + "\n")


def write_table(
    tables_dir: Path,
    meta: TableMeta,
    blocks: Mapping[Block, Timing],
    networks: Iterable[NetworkRow],
) -> LatencyTable:
    """Write a new table atomically; returns the table, read back from its folder.

    Raises:
        TableError: the table exists already, or cannot be written.
    """
    final = tables_dir / meta.target / meta.folder
    if exists(final):
        raise TableError(f"{final}: is there already; to replace it, delete that folder first")
    try:
        final.parent.mkdir(parents=True, exist_ok=True)
        with staging_folder(tables_dir, "new") as stage:
            folder = stage / meta.target / meta.folder
            folder.mkdir(parents=True)
            write_meta(folder, meta)
            append_blocks(folder, blocks.items())
            append_networks(folder, networks)
            read_table(folder)
            folder.rename(final)
    except OSError as error:
        raise TableError(
            f"{final}: cannot be written: {error.strerror or error}; name another folder with "
            f"--tables-dir"
        ) from None
    return read_table(final)


def append_blocks(path: Path, rows: Iterable[tuple[Block, Timing]]) -> None:
    """Add rows to ``blocks.csv``; they are on disk when this returns.

    A field that only some kinds have gets its column with the first block that has the field.
    """
    file, rows = path / "blocks.csv", list(rows)
    further = further_columns(file)
    wanted = {name: None for block, _ in rows for name, _ in block.extra}
    new = [name for name in wanted if name not in further]
    if new and file.exists():
        add_columns(file, len(BLOCK_COLUMNS) + len(further), new)
    columns = [*further, *new]
    lines = []
    for block, timing in rows:
        extra = dict(block.extra)
        sizes = [getattr(block, name) for name in BLOCK_COLUMNS]
        lines.append([*sizes, *(extra.get(name, "") for name in columns), *_timing_cells(timing)])
    append_rows(file, [*BLOCK_COLUMNS, *columns, *TIMING_COLUMNS], lines)


def append_networks(path: Path, rows: Iterable[NetworkRow]) -> None:
    """Add rows to ``networks.csv``; they are on disk when this returns."""
    lines = []
    for row in rows:
        compact = json.dumps(row.architecture.to_json(), separators=(",", ":"))
        cells = [row.name, row.workload.resolution, row.workload.outputs, compact]
        lines.append([*cells, *_timing_cells(row.timing)])
    append_rows(path / "networks.csv", NETWORK_COLUMNS + TIMING_COLUMNS, lines)


def _timing_cells(timing: Timing) -> list[str]:
    return [
        f"{timing.latency_ms:.5f}",
        f"{timing.ci_pct:.2f}",
        f"{timing.spread_pct:.2f}",
        str(timing.runs),
        f"{timing.reference_ms:.5f}",
    ]
