"""The cells of a latency table's CSV files: read as people saved them, written atomically."""

from __future__ import annotations

import csv
import io
import os
import re
import warnings
from collections.abc import Iterable, Sequence
from dataclasses import fields
from pathlib import Path
from typing import Any

from nas.errors import TableError, TableWarning, brief
from nas.measurement.protocol import Timing
from nas.space.block import Block
from nas.space.block_kinds import is_kind_name
from nas.system.atomic import write_whole
from nas.system.text_files import Csv, parse_csv, read_text

BLOCK_COLUMNS = [field.name for field in fields(Block) if field.name != "extra"]
"""Columns that every block has; columns of fields that only some kinds have follow them."""

TIMING_COLUMNS = [field.name for field in fields(Timing)]
NETWORK_COLUMNS = ["name", "resolution", "num_classes", "architecture"]


def read_cells(path: Path, columns: list[str], whole: bool = False) -> Csv:
    """Read the cells of a table's file; without columns if it is empty.

    Unless the file must be ``whole``, an unfinished last line is left out with a warning: the
    measurement was killed while it wrote the line, and will write it again.

    Raises:
        TableError: it cannot be read, or has other columns.
    """
    try:
        text = read_text(path)
    except (OSError, ValueError) as error:
        said = getattr(error, "strerror", None) or error
        raise TableError(f"{path}: not readable as CSV: {said}; {repair(path)}") from None
    unfinished = "" if whole else _unfinished_line(text, columns)
    if unfinished:
        text = text.removesuffix(unfinished)
        warnings.warn(
            f"{path}: its last line is not complete, and left out: it is measured again when the "
            f"table is measured further",
            TableWarning,
            stacklevel=1,  # one place, so that it is said once however often the file is read
        )
    try:
        content = parse_csv(text)
    except ValueError as error:
        raise TableError(f"{path}:{error}; {repair(path)}") from None
    if (text.strip() or whole) and not _is_header(content.header, columns):
        raise TableError(
            f"{path}:1: the header is {brief(content.header)}, expected "
            f"{','.join(columns + TIMING_COLUMNS)}; {repair(path)}"
        )
    return content


def repair(path: Path) -> str:
    return f"mend or delete that line, or delete {path.name} and measure again"


def _unfinished_line(text: str, columns: list[str]) -> str:
    """The last line, if a measurement was killed while it wrote it; else empty.

    A last row that only lacks its line end, as editors leave it, has all its cells. Whether the
    last cell is whole shows in its five decimals, or in another row with the same reference.
    """
    last = text.rpartition("\n")[2]
    if not last:
        return ""
    try:
        rows = parse_csv(text).rows
    except ValueError:
        return last
    if not rows:
        return last if ",".join(columns + TIMING_COLUMNS).startswith(last) else ""
    *others, own = (cells[-1] for _, cells in rows)
    return "" if own in others or re.fullmatch(r"\d+\.\d{5}", own) else last


def _is_header(header: Sequence[str], columns: list[str]) -> bool:
    """Whether a header has the expected columns, and between them only further fields of blocks."""
    further = header[len(columns) : -len(TIMING_COLUMNS)]
    good = [*columns, *further, *TIMING_COLUMNS] == list(header)
    if columns != BLOCK_COLUMNS:
        return good and not further
    return good and all(map(is_kind_name, further)) and len(set(header)) == len(header)


def further_columns(path: Path) -> list[str]:
    """Columns of ``blocks.csv`` for fields that only some kinds have; empty without a file."""
    if not path.exists():
        return []
    return read_cells(path, BLOCK_COLUMNS).header[len(BLOCK_COLUMNS) : -len(TIMING_COLUMNS)]


def add_columns(path: Path, position: int, names: Sequence[str]) -> None:
    """Insert columns at a position, with empty cells in all rows.

    Args:
        path: the file of blocks.
        position: number of columns before the new ones.
        names: names of the new columns.
    """
    content = read_cells(path, BLOCK_COLUMNS)
    rows = [[*row[:position], *[""] * len(names), *row[position:]] for _, row in content.rows]
    _rewrite(path, [*content.header[:position], *names, *content.header[position:]], rows)


def tidy(path: Path) -> None:
    """Prepare a measured table's CSV files for further rows.

    A file that a spreadsheet or an editor saved is written as this project writes it, with the
    same rows. An unfinished last line is removed.

    Raises:
        TableError: a file cannot be read.
    """
    for name, columns in (("blocks.csv", BLOCK_COLUMNS), ("networks.csv", NETWORK_COLUMNS)):
        file = path / name
        if file.exists():
            content = read_cells(file, columns)
            rows = [cells for _, cells in content.rows]
            if file.read_bytes() != _csv_text(content.header, rows).encode():
                _rewrite(file, content.header, rows)


def _rewrite(path: Path, header: Sequence[str], rows: Iterable[Sequence[Any]]) -> None:
    write_whole(path, _csv_text(header, rows))


def append_rows(path: Path, columns: list[str], lines: list[list[Any]]) -> None:
    begun = path.exists() and path.stat().st_size > 0
    _append(path, _csv_text([] if begun else columns, lines))


def _csv_text(header: Sequence[str], rows: Iterable[Sequence[Any]]) -> str:
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    if header:
        writer.writerow(header)
    writer.writerows(rows)
    return text.getvalue()


def _append(path: Path, text: str) -> None:
    with path.open("a", encoding="utf-8", newline="") as file:
        file.write(text)
        file.flush()
        os.fsync(file.fileno())
