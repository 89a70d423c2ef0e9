"""A lock that admits one process at a time to a folder."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from filelock import FileLock, Timeout

from nas.errors import UserError


@contextmanager
def locked(
    folder: Path, error: type[UserError], doing: str, remedy: str = "make the folder writable"
) -> Iterator[None]:
    """Keep other processes out of a folder. The lock is released even if the process is killed.

    Args:
        folder: must exist.
        error: type of the error that is raised.
        doing: what the other process does, for the message, for example "measuring it".
        remedy: advice for a folder in which the lock file cannot be made.

    Raises:
        UserError: another process holds the lock, or the lock file cannot be made. Its type is
            ``error``.
    """
    lock = FileLock(folder / ".lock", timeout=0)
    try:
        lock.acquire()
    except Timeout:
        raise error(f"{folder}: another process is {doing}; wait for it") from None
    except (OSError, NotImplementedError) as problem:  # some network disks have no locks
        reason = getattr(problem, "strerror", None) or problem
        raise error(f"{folder / '.lock'}: cannot be locked: {reason}; {remedy}") from None
    try:
        yield
    finally:
        lock.release()
