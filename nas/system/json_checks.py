"""Reads JSON files that other machines wrote, and checks every entry before it is used.

It checks types and ranges, and refuses missing, unknown and repeated entries. A file is data:
nothing in it is ever executed. Device kits carry this file, so it needs only Python's standard
library.
"""

from __future__ import annotations

import hashlib
import json
import math
import re
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import Any

from nas.errors import TableError, brief
from nas.system.text_files import MAX_FILE_BYTES, decoded

Check = Callable[[Any, str], Any]
"""Takes a value and its place in the file; returns the value, or raises ValueError."""


def read_json(path: Path) -> Any:
    """Read the JSON value in a file.

    Raises:
        TableError: the file does not exist or is larger than 64 MB, or its content is not JSON,
            has a number that is not finite, or has a name twice in one object.
    """
    try:
        with path.open("rb") as file:
            return loads(file.read(MAX_FILE_BYTES + 1))
    except ValueError as error:
        raise TableError(f"{path}: {error}") from None
    except OSError as error:
        raise TableError(f"{path}: cannot be read: {error.strerror or error}") from None


def loads(data: bytes) -> Any:
    """Parse the JSON value in bytes.

    Raises:
        ValueError: for the same content as `read_json`; the message does not name a file.
    """
    if len(data) > MAX_FILE_BYTES:
        raise ValueError(f"larger than {MAX_FILE_BYTES / 1e6:.0f} MB, which no such file is")
    try:
        return json.loads(
            decoded(data),
            object_pairs_hook=_without_repeats,
            parse_constant=_finite,
            parse_float=_finite,
        )
    except (ValueError, RecursionError) as error:
        said = " ".join(str(error).split())  # a message of Python's own may have several lines
        raise ValueError(f"not readable as JSON, or not complete: {said}") from None


def checksum(value: Any) -> str:
    """SHA-256 of a JSON value; the order of names and the layout of the file do not change it."""
    text = json.dumps(value, sort_keys=True, separators=(",", ":"))
    return hashlib.sha256(text.encode()).hexdigest()


def first_repeated(values: Iterable[str]) -> str | None:
    """The first value that occurs a second time, or None."""
    seen: set[str] = set()
    for value in values:
        if value in seen:
            return value
        seen.add(value)
    return None


def entries(value: Any, where: str, checks: Mapping[str, Check]) -> dict[str, Any]:
    """Check the entries of a mapping that must have exactly the names in ``checks``; returns them.

    Raises:
        ValueError: an entry is not valid; names it, its value and what was expected.
    """
    mapping(len(checks) + 100)(value, where)
    unknown = next((name for name in value if name not in checks), None)
    if unknown is not None:
        raise ValueError(f"{where}: unknown entry {brief(unknown)}")
    missing = [name for name in checks if name not in value]
    if missing:
        raise ValueError(f"{where}: missing {', '.join(missing)}")
    return {name: check(value[name], f"{where}: {name}") for name, check in checks.items()}


def whole(low: int, high: int) -> Check:
    """Make a check for a whole number from ``low`` to ``high``."""

    def check(value: Any, where: str) -> int:
        fits = type(value) is int and low <= value <= high
        _expect(fits, value, where, f"a whole number from {low} to {high}")
        return int(value)

    return check


def number(low: float, high: float) -> Check:
    """Make a check for a finite number from ``low`` to ``high``."""

    def check(value: Any, where: str) -> float:
        fits = type(value) in (int, float) and low <= value <= high
        _expect(fits, value, where, f"a number from {low:g} to {high:g}")
        return float(value)

    return check


def text(pattern: str, expected: str) -> Check:
    """Make a check for a string that matches a pattern and has at most 200 characters.

    Args:
        pattern: regular expression for the whole string.
        expected: description of such a string, for the message.
    """

    def check(value: Any, where: str) -> str:
        fits = isinstance(value, str) and len(value) <= 200 and re.fullmatch(pattern, value)
        _expect(bool(fits), value, where, expected)
        return str(value)

    return check


def line(value: Any, where: str) -> str:
    """Check for a printable string of one line with at most 200 characters."""
    fits = isinstance(value, str) and len(value) <= 200 and value.isprintable()
    _expect(fits, value, where, "one line of at most 200 characters")
    return str(value)


def one_of(*known: str) -> Check:
    """Make a check for one of the strings ``known``."""

    def check(value: Any, where: str) -> str:
        fits = isinstance(value, str) and value in known
        _expect(fits, value, where, " or ".join(repr(name) for name in known))
        return str(value)

    return check


def mapping(most: int) -> Check:
    """Make a check for a mapping with at most ``most`` entries, of any type."""

    def check(value: Any, where: str) -> Any:
        fits = isinstance(value, dict) and len(value) <= most
        _expect(fits, value, where, f"a mapping of at most {most} entries")
        return value

    return check


def sequence(most: int) -> Check:
    """Make a check for a list with at most ``most`` values, of any type."""

    def check(value: Any, where: str) -> Any:
        fits = isinstance(value, list) and len(value) <= most
        _expect(fits, value, where, f"a list of at most {most} entries")
        return value

    return check


def _expect(fits: bool, value: Any, where: str, expected: str) -> None:
    if not fits:
        raise ValueError(f"{where}: must be {expected}, got {brief(value)}")


def _without_repeats(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    repeated = first_repeated(name for name, _ in pairs)
    if repeated is not None:
        raise ValueError(f"{brief(repeated)} is there twice")
    return dict(pairs)


def _finite(literal: str) -> float:
    value = float(literal)
    if not math.isfinite(value):
        raise ValueError(f"{brief(literal)} is no finite number")
    return value
