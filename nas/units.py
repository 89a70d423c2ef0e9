"""Parses quantities as users write them: 8ms, 25M, 90%."""

from __future__ import annotations

import re

from nas.errors import ConfigError

_DURATION = re.compile(r"\s*(?P<value>\d+(?:\.\d*)?|\.\d+)\s*(?P<unit>[a-zµμ]*)\s*", re.IGNORECASE)
MAX_SECONDS = 366 * 24 * 3600.0
_SECONDS = {"us": 1e-6, "µs": 1e-6, "μs": 1e-6, "ms": 1e-3, "s": 1.0, "min": 60.0, "h": 3600.0}


def parse_duration(text: str, option: str, example: str) -> float:
    """Seconds of a duration such as ``8ms``, ``90s``, ``12min`` or ``1.5h``.

    Raises:
        ConfigError: the unit is missing or unknown, or the value is not above zero; names the
            option.
    """
    match = _DURATION.fullmatch(text)
    if not match:
        raise ConfigError(f"{option} {text!r} is not a duration: write for example {example}")
    unit = match["unit"].lower()
    if not unit:
        fixed = match["value"] + example.lstrip("0123456789.")
        raise ConfigError(f"{option} {text!r} has no unit: write for example {fixed}")
    if unit not in _SECONDS:
        units = ", ".join(name for name in _SECONDS if name.isascii())
        raise ConfigError(f"{option} {text!r} has an unknown unit {match['unit']!r}: use {units}")
    seconds = float(match["value"]) * _SECONDS[unit]
    if not 0 < seconds <= MAX_SECONDS:
        raise ConfigError(f"{option} {_shortened(text)!r} must be above zero and at most a year")
    return seconds


_COUNT = re.compile(r"\s*(?P<value>\d+(?:\.\d*)?|\.\d+)\s*(?P<unit>[kmg]?)\s*", re.IGNORECASE)
_TIMES = {"": 1.0, "k": 1e3, "m": 1e6, "g": 1e9}


def parse_count(text: str, option: str, example: str) -> float:
    """A number such as ``25M``, ``1.2G`` or ``31000000``.

    Raises:
        ConfigError: it is not a number, or not above zero; names the option.
    """
    match = _COUNT.fullmatch(text)
    value = float(match["value"]) * _TIMES[match["unit"].lower()] if match else 0.0
    if not 0 < value <= 1e18:
        raise ConfigError(
            f"{option} {_shortened(text)!r} is not a number above zero: write for example {example}"
        )
    return value


_SHARE = re.compile(r"\s*(?P<value>\d+(?:\.\d*)?|\.\d+)\s*(?P<percent>%?)\s*")


def parse_share(text: str, option: str, example: str) -> float:
    """A share such as ``90%`` or ``0.9``.

    Raises:
        ConfigError: it is not a number between zero and one; names the option.
    """
    match = _SHARE.fullmatch(text)
    value = float(match["value"]) / (100.0 if match["percent"] else 1.0) if match else 0.0
    if not 0 < value < 1:
        raise ConfigError(
            f"{option} {_shortened(text)!r} is not a share between 0 and 100%: "
            f"write for example {example}"
        )
    return value


def _shortened(text: str) -> str:
    return text if len(text) <= 40 else f"{text[:37]}..."
