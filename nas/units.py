"""Parses amounts as people write them: 8ms, 25M, 90%, 20MB, 1200img/s.

``example`` in these functions is a correct text, which error messages show.
"""

from __future__ import annotations

import math
import re

MAX_SECONDS = 366 * 24 * 3600.0
_SECONDS = {"us": 1e-6, "µs": 1e-6, "μs": 1e-6, "ms": 1e-3, "s": 1.0, "min": 60.0, "h": 3600.0}
_TIMES = {"": 1.0, "k": 1e3, "m": 1e6, "g": 1e9}
_BYTES = {"b": 1.0, "kb": 1e3, "mb": 1e6, "gb": 1e9, "kib": 2.0**10, "mib": 2.0**20, "gib": 2.0**30}
_RATES = ("img/s", "images/s")

_AMOUNT = re.compile(r"\s*(?P<value>\d+(?:\.\d*)?|\.\d+)\s*(?P<unit>[a-zµμ%/]*)\s*", re.IGNORECASE)


def parse_duration(text: str, example: str, unit: str = "s") -> float:
    """Parse a duration such as ``8ms``, ``90s``, ``12min`` or ``1.5h``; returns it in ``unit``.

    Raises:
        ValueError: the unit is missing or unknown, or the duration is not above zero or above a
            year.
    """
    value, given = _split(text) or (0.0, None)
    if given is None:
        raise ValueError(f"{text!r} is not a duration: write for example {example}")
    if not given:
        fixed = text.strip() + example.lstrip("0123456789.")
        raise ValueError(f"{text!r} has no unit: write for example {fixed}")
    if given not in _SECONDS:
        units = ", ".join(name for name in _SECONDS if name.isascii())
        raise ValueError(f"{text!r} has an unknown unit {given!r}: use {units}")
    if not 0 < value * _SECONDS[given] <= MAX_SECONDS:
        raise ValueError(f"{_shortened(text)!r} must be above zero and at most a year")
    return value * (_SECONDS[given] / _SECONDS[unit])


def parse_count(text: str, example: str) -> float:
    """Parse a number such as ``25M``, ``1.2G`` or ``31000000``.

    Raises:
        ValueError: the text is not such a number, or the number is not above zero.
    """
    value, unit = _split(text) or (0.0, "")
    count = value * _TIMES.get(unit, 0.0)
    if not 0 < count <= 1e18:
        raise ValueError(
            f"{_shortened(text)!r} is not a number above zero: write for example {example}"
        )
    return count


def parse_share(text: str, example: str) -> float:
    """Parse a share such as ``90%`` or ``0.9``; returns a fraction.

    Raises:
        ValueError: the text is not such a share, or the fraction is not between zero and one.
    """
    value, unit = _split(text) or (0.0, "")
    share = value / {"%": 100.0, "": 1.0}.get(unit, math.inf)
    if not 0 < share < 1:
        raise ValueError(
            f"{_shortened(text)!r} is not a share between 0 and 100%: write for example {example}"
        )
    return share


def parse_size(text: str, example: str) -> float:
    """Parse a size such as ``20MB`` or ``64MiB``; returns the number of bytes.

    Raises:
        ValueError: the unit is missing or unknown, or the number is not above zero.
    """
    value, unit = _split(text) or (0.0, "")
    size = value * _BYTES.get(unit, 0.0)
    if not 0 < size <= 1e18:
        raise ValueError(
            f"{_shortened(text)!r} is not a size above zero with a unit (B, kB, MB, GB, KiB, MiB, "
            f"GiB): write for example {example}"
        )
    return size


def is_rate(text: str) -> bool:
    """Whether a text is meant as a throughput: ``1200img/s``."""
    return "/" in text


def parse_rate(text: str, example: str) -> float:
    """Parse a throughput such as ``1200img/s``; returns the images per second.

    Raises:
        ValueError: the text is not such a throughput, or the throughput is not above zero.
    """
    value, unit = _split(text) or (0.0, "")
    if unit not in _RATES or not 0 < value <= 1e12:
        raise ValueError(
            f"{_shortened(text)!r} is not a throughput above zero: write for example {example}"
        )
    return value


def _split(text: str) -> tuple[float, str] | None:
    """Number and unit, the unit in lower case; None if the text is not an amount."""
    match = _AMOUNT.fullmatch(text)
    return (float(match["value"]), match["unit"].lower()) if match else None


def _shortened(text: str) -> str:
    return text if len(text) <= 40 else f"{text[:37]}..."
