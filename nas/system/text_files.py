"""Reads text and CSV files that people wrote, or edited with a spreadsheet.

Spreadsheets and editors write a byte order mark, UTF-16, other line ends, and semicolons or tabs
between cells. All of these are read. What cannot be read without guessing is refused. Device kits
carry this file, so it needs only Python's standard library.
"""

from __future__ import annotations

import codecs
import csv
import io
import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

MAX_FILE_BYTES = 64_000_000

_DECIMAL_COMMA = re.compile(r"[+-]?\d+,\d+([eE][+-]?\d+)?")


@dataclass(frozen=True)
class Csv:
    """Content of a CSV file.

    Attributes:
        header: names of the columns, all different; empty for an empty file.
        rows: line number and cells of each row, as many cells as columns; lines without any
            content are left out.
    """

    header: list[str]
    rows: list[tuple[int, list[str]]]


def read_text(path: Path, most_bytes: int = MAX_FILE_BYTES) -> str:
    """Read a text file.

    Raises:
        OSError: it cannot be read.
        ValueError: it is too large, or no text in an encoding that `decoded` knows.
    """
    with path.open("rb") as file:
        data = file.read(most_bytes + 1)
    if len(data) > most_bytes:
        raise ValueError(f"larger than {most_bytes / 1e6:g} MB")
    return decoded(data)


def decoded(data: bytes) -> str:
    """Decode UTF-8, or UTF-16 with a byte order mark; the mark is left out.

    Raises:
        ValueError: it is another encoding; the message says in which line that shows.
    """
    utf16 = data.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE))
    try:
        text = data.decode("utf-16" if utf16 else "utf-8-sig")
    except UnicodeDecodeError as error:
        line = data[: error.start].count(b"\n") + 1
        raise ValueError(f"line {line} is no text in UTF-8: save the file as UTF-8") from None
    if "\0" in text:
        raise ValueError("has zero bytes, which no text has: save the file as UTF-8")
    return text


def parse_csv(text: str) -> Csv:
    """Parse a CSV text. Commas, semicolons and tabs are told apart by the first line.

    With semicolons, numbers may have a decimal comma; they have a point in the result.

    Raises:
        ValueError: it is no CSV, two columns have one name, or a row has more or fewer cells than
            the header; the message begins with the line's number.
    """
    separator = max(",;\t", key=text.partition("\n")[0].count)
    header: list[str] = []
    rows = []
    for number, cells in _lines(text, separator):
        if not header:
            header = [cell.strip() for cell in cells]
            repeated = next((name for name in header if header.count(name) > 1), None)
            if repeated is not None:
                raise ValueError(f"{number}: two columns have the name {repeated!r}")
        elif len(cells) != len(header):
            raise ValueError(f"{number}: {len(cells)} cells, expected {len(header)}")
        else:
            rows.append((number, cells))
    return Csv(header, rows)


def _lines(text: str, separator: str) -> Iterator[tuple[int, list[str]]]:
    """Yield the number and the cells of every line that has content."""
    reader = csv.reader(io.StringIO(text, newline=""), delimiter=separator, strict=True)
    while True:
        try:
            cells = next(reader, None)
        except csv.Error as error:
            raise ValueError(f"{reader.line_num}: not readable as CSV: {error}") from None
        if cells is None:
            return
        if separator == ";":
            cells = [c.replace(",", ".") if _DECIMAL_COMMA.fullmatch(c) else c for c in cells]
        if any(cell.strip() for cell in cells):
            yield reader.line_num, cells
