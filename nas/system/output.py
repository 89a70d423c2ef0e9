"""Output whose reader may go away: a pipe that is closed (``| head``), or a terminal."""

from __future__ import annotations

import contextlib
import errno
import os
import sys
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, TextIO, cast


class _LastingStream:
    """A text stream that drops what is written once its reader has gone.

    Args:
        stream: the stream that is written to; all its other attributes are this stream's.
    """

    def __init__(self, stream: TextIO) -> None:
        self._stream = stream
        # Of a pipe without a reader, and of a terminal that was closed; of a disk EIO is a fault.
        self._gone = (errno.EPIPE, *((errno.EIO,) if stream.isatty() else ()))

    def write(self, text: str) -> int:
        with self._lasting():
            self._stream.write(text)
        return len(text)

    def writelines(self, lines: Iterable[str]) -> None:
        for line in lines:
            self.write(line)

    def flush(self) -> None:
        with self._lasting():
            self._stream.flush()

    def __getattr__(self, name: str) -> Any:
        return getattr(self._stream, name)

    @contextmanager
    def _lasting(self) -> Iterator[None]:
        try:
            yield
        except OSError as error:
            if error.errno not in self._gone:
                raise
            with contextlib.suppress(OSError):  # a stream that is no file keeps raising
                number = self._stream.fileno()
                null = os.open(os.devnull, os.O_WRONLY)
                os.dup2(null, number)
                os.close(null)


def lasting(stream: TextIO | None) -> TextIO:
    """Make a stream that drops what is written once its reader has gone.

    Args:
        stream: where to write; None, as of a program that was started without it, for nowhere.
    """
    to = stream or Path(os.devnull).open("w", encoding="utf-8")  # noqa: SIM115
    return cast(TextIO, _LastingStream(to))


@contextmanager
def lasting_output() -> Iterator[None]:
    """Let a program go on without its stdout and stderr inside a with-block, should they go away.

    A program may also be started without them. No file that it opens takes their place then.
    """
    while (number := os.open(os.devnull, os.O_RDWR)) <= 2:
        pass
    os.close(number)
    before = sys.stdout, sys.stderr
    sys.stdout, sys.stderr = lasting(sys.stdout), lasting(sys.stderr)
    try:
        yield
    finally:
        for stream in (sys.stdout, sys.stderr):
            with contextlib.suppress(OSError):
                stream.flush()
        sys.stdout, sys.stderr = before
