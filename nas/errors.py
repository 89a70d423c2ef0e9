"""The exceptions that a user's mistake can cause.

The command line prints the message as one line and exits with 2. Every message says what was
wrong, where, and what to do about it.
"""

from __future__ import annotations

import difflib
import reprlib
from collections.abc import Iterable


class UserError(Exception):
    """Base class of all errors that a user can cause."""


class ConfigError(UserError):
    """An option or configuration value is wrong."""


class ArchitectureError(UserError):
    """An architecture or one of its stages is not valid."""


class UnknownKindError(ArchitectureError):
    """A block or stage is of a kind that is not registered here."""


class SpaceError(UserError):
    """A search-space file is not valid."""


class CheckpointError(UserError):
    """A checkpoint cannot be loaded."""


class TableError(UserError):
    """A latency table is missing, incomplete or corrupted."""


class RuntimeUnavailableError(UserError):
    """A runtime cannot measure on this machine."""


class DataError(UserError):
    """A proxy-training data set cannot be read."""


class DataWarning(UserWarning):
    """A part of a proxy-training data set is not used, or its decoded images are not kept."""


class TableWarning(UserWarning):
    """A latency table may be out of date, or has rows that were skipped."""


class EvaluatorError(UserError):
    """An evaluator cannot be used, or fails again and again."""


class RunError(UserError):
    """A run's folder cannot be written, or holds no run that can be resumed."""


def printable(text: str, keep: str = "") -> str:
    """Escape what a terminal would obey, or could not show, in text such as the name of a file.

    Args:
        text: the text.
        keep: characters to leave as they are, such as the ends of lines.
    """
    if text.isprintable():
        return text
    return "".join(c if c.isprintable() or c in keep else _escape(c) for c in text)


def _escape(character: str) -> str:
    code = ord(character)
    if 0xDC80 <= code <= 0xDCFF:  # stands for a byte of a name that is not UTF-8
        return f"\\x{code - 0xDC00:02x}"
    return character.encode("unicode_escape").decode()


def error_text(error: BaseException) -> str:
    """One line with the type of an error and its text, at most 500 characters of it.

    The error may be anybody's: its own text may fail.
    """
    name = type(error).__name__
    try:
        said = " ".join(str(error).split())[:500]
    except Exception:
        said = "(its text failed as well)"
    return f"{name}: {said}" if said else name


def brief(value: object) -> str:
    """Text of a value for a message, shortened to at most 60 characters."""
    shortener = reprlib.Repr()
    shortener.maxlevel = 2
    try:
        text = shortener.repr(value)
    except ValueError:  # Python refuses to write out integers of thousands of digits
        text = "a number of thousands of digits"
    return text if len(text) <= 60 else text[:57] + "..."


def unknown(what: str, given: str, known: Iterable[str]) -> str:
    """Message for a name that is not in ``known``; suggests the most similar ones."""
    names = sorted(known)
    near = difflib.get_close_matches(given, names, n=3, cutoff=0.5)
    hint = f"did you mean {' or '.join(repr(n) for n in near)}? " if near else ""
    listed = ", ".join(names) if names else "none"
    return f"unknown {what} {given!r}: {hint}known: {listed}"
