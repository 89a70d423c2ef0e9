"""Writes files whole or not at all, whatever ends the process meanwhile.

Device kits carry this file, so it needs only Python's standard library.
"""

from __future__ import annotations

import os
import platform
import re
import secrets
import shutil
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

_NAME_LENGTH = 50
"""Number of characters that an unfinished file has of the name of the file that it will replace.
Most systems limit names to 255 bytes, and a character has up to four."""

_HOST_LENGTH = 20
"""The same of the name of the host."""

_LEFT_AFTER_S = 3600.0
"""Age of an unfinished file after which nobody writes it any more."""


@contextmanager
def replacing(path: Path) -> Iterator[Path]:
    """Yield the path of a new file, which replaces ``path`` at the end of the with-block.

    The new file lies in the same folder. It is flushed to disk before it replaces the old one, so
    that even after a power cut one of both is there, whole. An error in the with-block removes the
    new file and leaves the old one. What a killed process leaves is removed the next time that the
    same file is replaced. The permissions follow the umask.

    Raises:
        OSError: the file cannot be written; ``filename`` is ``path``.
    """
    partial = _unfinished(path)
    try:
        yield partial
        _flush(partial)
        partial.replace(path)
    except BaseException as error:
        with suppress(OSError):
            partial.unlink()
        if isinstance(error, OSError) and error.errno and error.filename in (None, str(partial)):
            raise OSError(error.errno, error.strerror, str(path)) from error
        raise
    _flush_folder(path.parent)


def write_whole(path: Path, content: str | bytes) -> None:
    """Write a file by `replacing`.

    A text is written in UTF-8. Names of files that are not UTF-8 may be in it: their undecodable
    bytes are escaped.

    Raises:
        OSError: the file cannot be written; ``filename`` is ``path``.
    """
    if isinstance(content, str):
        content = content.encode("utf-8", "backslashreplace")
    with replacing(path) as partial:
        partial.write_bytes(content)


@contextmanager
def staging_folder(parent: Path, name: str) -> Iterator[Path]:
    """Make a hidden folder inside a folder for files to be moved from; remove it at the end.

    What a killed process leaves is removed the next time that a folder of this name is made.

    Raises:
        OSError: the folder cannot be made.
    """
    folder = _unfinished(parent / name)
    folder.mkdir()
    try:
        yield folder
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def _unfinished(path: Path) -> Path:
    """Path of this process's unfinished copy of a file; removes those of processes that ended."""
    begin = f".{path.name[:_NAME_LENGTH]}."
    host = re.sub(r"\W", "", platform.node())[:_HOST_LENGTH]
    pattern = re.compile(re.escape(begin) + r"(\w*)-(\d{1,9})-[0-9a-f]{8}\.part")
    with suppress(OSError):  # what cannot be listed or removed does not matter
        for other in path.parent.iterdir():
            found = pattern.fullmatch(other.name)
            if found and _is_left(other, found[1] == host, int(found[2])):
                shutil.rmtree(other) if other.is_dir() else other.unlink()
    return path.with_name(f"{begin}{host}-{os.getpid()}-{secrets.token_hex(4)}.part")


def _is_left(path: Path, here: bool, process_id: int) -> bool:
    """Whether an unfinished file was left by a process that has ended, as far as one can tell.

    Args:
        path: the unfinished file.
        here: whether a process of this host wrote it. (Containers may share a host's name.)
        process_id: of that process.
    """
    if time.time() - path.stat().st_mtime > _LEFT_AFTER_S:
        return True
    return here and process_id != os.getpid() and not _is_alive(process_id)


def _is_alive(process_id: int) -> bool:
    """Whether a process of this host is running, as far as this one can tell."""
    if os.name == "nt":  # there `os.kill` would end the process
        return True
    try:
        os.kill(process_id, 0)
    except ProcessLookupError:
        return False
    except OSError:
        return True
    return True


def _flush(path: Path) -> None:
    with path.open("r+b") as file:
        os.fsync(file.fileno())


def _flush_folder(folder: Path) -> None:
    """Flush the names in a folder to disk, where the system can do that."""
    with suppress(OSError):
        descriptor = os.open(folder, os.O_RDONLY)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)
