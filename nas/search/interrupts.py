"""Ctrl-C, kept from cutting off what reads or writes a study: SQLite would stay locked by it."""

from __future__ import annotations

import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager


class _Note:
    """A handler of SIGINT that remembers the first, and gives way to the second."""

    def __init__(self) -> None:
        self.pressed = False

    def __call__(self, number: int, frame: object) -> None:
        if self.pressed:
            raise KeyboardInterrupt
        self.pressed = True


@contextmanager
def deferred_interrupt() -> Iterator[None]:
    """Ctrl-C within takes effect at the next `interruptible`, or at the end; a second one at once.

    Raises:
        KeyboardInterrupt: it was pressed.
    """
    before = signal.getsignal(signal.SIGINT)
    if threading.current_thread() is not threading.main_thread() or not callable(before):
        yield  # signals go elsewhere, or are ignored
        return
    note = _Note()
    signal.signal(signal.SIGINT, note)
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, before)
        if note.pressed:
            raise KeyboardInterrupt


@contextmanager
def interruptible() -> Iterator[None]:
    """Ctrl-C takes effect at once, though a `deferred_interrupt` is around: for what takes long.

    Raises:
        KeyboardInterrupt: it is pressed, or was before.
    """
    note = signal.getsignal(signal.SIGINT)
    if not isinstance(note, _Note):
        yield
        return
    if note.pressed:
        note.pressed = False
        raise KeyboardInterrupt
    signal.signal(signal.SIGINT, signal.default_int_handler)
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, note)
