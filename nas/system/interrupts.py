"""Ctrl-C and SIGTERM, kept from cutting off what reads or writes a study: SQLite would stay locked.

Both raise KeyboardInterrupt in the command line; who has set other handlers gets these called, as
late.
"""

from __future__ import annotations

import signal
import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any

SIGNALS = (signal.SIGINT, signal.SIGTERM)

Handler = Callable[[int, Any], Any]


class _Note:
    """A handler that remembers the first signal, and gives way to the second.

    Args:
        before: the handlers that it stands for, by signal.
    """

    def __init__(self, before: dict[int, Handler]) -> None:
        self.before = before
        self._noted: int | None = None

    def __call__(self, number: int, frame: object) -> None:
        if self._noted is None:
            self._noted = number
        else:
            self.deliver()

    def deliver(self) -> None:
        """Do what was put off."""
        if self._noted is not None:
            number, self._noted = self._noted, None
            self.before[number](number, None)


@contextmanager
def deferred_interrupt() -> Iterator[None]:
    """Ctrl-C within takes effect at the next `interruptible`, or at the end; a second one at once.

    Raises:
        KeyboardInterrupt: it was pressed, and nothing else was raised.
    """
    before: dict[int, Handler] = {
        number: handler for number in SIGNALS if callable(handler := signal.getsignal(number))
    }
    if not (_main_thread() and before):
        yield  # signals go elsewhere, or are ignored
        return
    note = _Note(before)
    try:
        _handle(dict.fromkeys(before, note))
        yield
    finally:
        _handle(before)
    note.deliver()


@contextmanager
def interruptible() -> Iterator[None]:
    """Ctrl-C takes effect at once, though a `deferred_interrupt` is around: for what takes long.

    Raises:
        KeyboardInterrupt: it is pressed, or was before.
    """
    notes: dict[int, _Note] = {
        number: handler
        for number in SIGNALS
        if isinstance(handler := signal.getsignal(number), _Note)
    }
    if not (_main_thread() and notes):
        yield
        return
    note = next(iter(notes.values()))
    note.deliver()
    try:
        _handle(note.before)
        yield
    finally:
        _handle(notes)


def _main_thread() -> bool:
    """Handlers are of the process, but only this thread may set them, and runs them."""
    return threading.current_thread() is threading.main_thread()


def _handle(handlers: Mapping[int, Handler]) -> None:
    for number, handler in handlers.items():
        signal.signal(number, handler)
