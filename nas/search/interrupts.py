"""Ctrl-C, kept from cutting off what reads or writes a study: SQLite would stay locked by it.

So is SIGTERM where it raises what Ctrl-C does, as in the command line.
"""

from __future__ import annotations

import signal
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

SIGNALS = (signal.SIGINT, signal.SIGTERM)


class _Note:
    """A handler that remembers the first signal, and gives way to the second."""

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
    raising = [
        number for number in SIGNALS if signal.getsignal(number) is signal.default_int_handler
    ]
    if threading.current_thread() is not threading.main_thread() or not raising:
        yield  # signals go elsewhere, or are ignored
        return
    note = _Note()
    _handle(raising, note)
    try:
        yield
    finally:
        _handle(raising, signal.default_int_handler)
        if note.pressed:
            raise KeyboardInterrupt


@contextmanager
def interruptible() -> Iterator[None]:
    """Ctrl-C takes effect at once, though a `deferred_interrupt` is around: for what takes long.

    Raises:
        KeyboardInterrupt: it is pressed, or was before.
    """
    noting = [number for number in SIGNALS if isinstance(signal.getsignal(number), _Note)]
    if not noting:
        yield
        return
    note: Any = signal.getsignal(noting[0])
    if note.pressed:
        note.pressed = False
        raise KeyboardInterrupt
    _handle(noting, signal.default_int_handler)
    try:
        yield
    finally:
        _handle(noting, note)


def _handle(numbers: list[signal.Signals], handler: Callable[[int, Any], Any]) -> None:
    for number in numbers:
        signal.signal(number, handler)
