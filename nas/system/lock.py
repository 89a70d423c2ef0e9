"""One process at a time in a folder."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from filelock import FileLock, Timeout

from nas.errors import UserError


@contextmanager
def locked(folder: Path, error: type[UserError], doing: str) -> Iterator[None]:
    """Keep other processes out of a folder; a process that is killed lets go of it.

    Args:
        folder: must exist.
        error: what is raised.
        doing: what the other process is said to do.

    Raises:
        UserError: another process is in, or the lock cannot be had; of the type ``error``.
    """
    lock = FileLock(folder / ".lock", timeout=0)
    try:
        lock.acquire()
    except Timeout:
        raise error(f"{folder}: another process is {doing}; wait for it") from None
    except OSError as problem:
        reason = problem.strerror or problem
        raise error(f"{folder / '.lock'}: cannot be locked: {reason}") from None
    try:
        yield
    finally:
        lock.release()
