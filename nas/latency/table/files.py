"""Reads and writes the files of a latency table; every mistake in them is one line that says where.

Nothing in a table is ever executed.
"""

from __future__ import annotations

import csv
import io
import json
import math
import os
import tempfile
from collections.abc import Callable, Iterable, Mapping
from dataclasses import fields, replace
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from nas.errors import ArchitectureError, TableError, brief
from nas.latency.table.table import LatencyTable, NetworkRow, TableMeta, at_quiet_speed
from nas.latency.table.validation import possible_block
from nas.measurement.protocol import Timing
from nas.space.architecture import Architecture
from nas.space.block import Block
from nas.space.workload import Workload
from nas.system.json_checks import MAX_FILE_BYTES, read_json
from nas.system.paths import exists

BLOCK_COLUMNS = [field.name for field in fields(Block)]
TIMING_COLUMNS = [field.name for field in fields(Timing)]
NETWORK_COLUMNS = ["name", "resolution", "num_classes", "architecture"]


def read_table(path: Path) -> LatencyTable:
    """Read a table's folder.

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
    _read_csv(path / "blocks.csv", BLOCK_COLUMNS + TIMING_COLUMNS, add_block, whole)
    _read_csv(path / "networks.csv", NETWORK_COLUMNS + TIMING_COLUMNS, add_network, whole)
    if meta.kind == "published" and not networks:
        raise TableError(f"{path / 'networks.csv'}: a table of published figures needs networks")
    return LatencyTable(path, meta, blocks, tuple(networks))


def _read_meta(path: Path) -> TableMeta:
    if not exists(path):
        raise TableError(f"{path}: no such file; the folder is no latency table")
    try:
        return TableMeta.model_validate(read_json(path))
    except ValidationError as error:
        first = error.errors()[0]
        where = ".".join(brief(part).strip("'") for part in first["loc"]) or "the whole"
        raise TableError(f"{path}: {where}: {first['msg']}") from None


def _read_csv(
    path: Path, columns: list[str], add: Callable[[dict[str, str]], None], whole: bool
) -> None:
    """Hand every row to ``add``; a ValueError of it becomes a TableError with the line.

    Unless the file must be ``whole``, a last line without an end is left out: whoever measured
    was killed while writing it, and measuring goes on from there.
    """
    if not path.exists():
        return
    repair = f"mend or delete that line, or delete {path.name} and measure again"
    try:
        with path.open("rb") as file:
            data = file.read(MAX_FILE_BYTES + 1)
        if len(data) > MAX_FILE_BYTES:
            raise TableError(f"{path}: larger than {MAX_FILE_BYTES / 1e6:.0f} MB: {repair}")
        text = data.decode("utf-8")
        if not whole:
            begun = text.rpartition("\n")[2]
            if begun == text and ",".join(columns).startswith(text):
                return
            if begun != text:
                text = text.removesuffix(begun)
        reader = csv.reader(io.StringIO(text, newline=""), strict=True)
        header = next(reader, None)
        if header != columns:
            raise TableError(
                f"{path}:1: the header is {brief(header)}, expected {','.join(columns)}; {repair}"
            )
        for cells in reader:
            try:
                if len(cells) != len(columns):
                    raise ValueError(f"{len(cells)} cells, expected {len(columns)}")
                add(dict(zip(columns, cells, strict=True)))
            except (ValueError, ArchitectureError) as error:
                raise TableError(f"{path}:{reader.line_num}: {error}; {repair}") from None
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise TableError(f"{path}: not readable as CSV: {error}; {repair}") from None


def _number(row: Mapping[str, str], column: str, low: float, high: float) -> float:
    try:
        value = float(row[column])
    except ValueError:
        raise ValueError(f"{column} {brief(row[column])} is not a number") from None
    if not math.isfinite(value) or not low <= value <= high:
        raise ValueError(f"{column} {brief(row[column])} is not from {low:g} to {high:g}")
    return value


def _whole(row: Mapping[str, str], column: str, low: int, high: int) -> int:
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
    kind = row["kind"]
    if kind not in ("stem", "ncb", "ntb", "head"):
        raise ValueError(f"kind {brief(kind)} is none of stem, ncb, ntb, head")
    block = Block(
        kind,  # type: ignore[arg-type]
        in_channels=_whole(row, "in_channels", 1, 65536),
        out_channels=_whole(row, "out_channels", 1, 1_000_000),
        stride=_whole(row, "stride", 1, 64),
        height=_whole(row, "height", 1, 65536),
        width=_whole(row, "width", 1, 65536),
        mlp_ratio=_number(row, "mlp_ratio", 0, 64),
        mix_ratio=_number(row, "mix_ratio", 0, 1),
        sr_ratio=_whole(row, "sr_ratio", 0, 64),
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
    """Write ``meta.json`` into a table's folder, all or nothing."""
    temporary = path / ".meta.json.tmp"
    temporary.write_text(meta.model_dump_json(indent=2) + "\n", encoding="utf-8")
    temporary.replace(path / "meta.json")


def write_table(
    tables_dir: Path,
    meta: TableMeta,
    blocks: Mapping[Block, Timing],
    networks: Iterable[NetworkRow],
) -> LatencyTable:
    """Write a new table, whole or not at all; returns it as read back.

    Raises:
        TableError: it is there already, or cannot be written.
    """
    final = tables_dir / meta.target / meta.folder
    if exists(final):
        raise TableError(f"{final}: is there already; to replace it, delete that folder first")
    try:
        final.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(prefix=".new-", dir=tables_dir) as stage:
            folder = Path(stage) / meta.target / meta.folder
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
    """Add rows to ``blocks.csv``; they are on disk when this returns."""
    lines = [
        [*(getattr(block, name) for name in BLOCK_COLUMNS), *_timing_cells(timing)]
        for block, timing in rows
    ]
    _append(path / "blocks.csv", BLOCK_COLUMNS + TIMING_COLUMNS, lines)


def append_networks(path: Path, rows: Iterable[NetworkRow]) -> None:
    """Add rows to ``networks.csv``; they are on disk when this returns."""
    lines = []
    for row in rows:
        compact = json.dumps(row.architecture.to_json(), separators=(",", ":"))
        cells = [row.name, row.workload.resolution, row.workload.outputs, compact]
        lines.append([*cells, *_timing_cells(row.timing)])
    _append(path / "networks.csv", NETWORK_COLUMNS + TIMING_COLUMNS, lines)


def _timing_cells(timing: Timing) -> list[str]:
    return [
        f"{timing.latency_ms:.5f}",
        f"{timing.ci_pct:.2f}",
        f"{timing.spread_pct:.2f}",
        str(timing.runs),
        f"{timing.reference_ms:.5f}",
    ]


def _append(path: Path, columns: list[str], lines: list[list[Any]]) -> None:
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    if not path.exists() or path.stat().st_size == 0:
        writer.writerow(columns)
    writer.writerows(lines)
    with path.open("a", encoding="utf-8", newline="") as file:
        file.write(text.getvalue())
        file.flush()
        os.fsync(file.fileno())
