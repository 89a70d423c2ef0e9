"""Defers Ctrl-C and SIGTERM while a study is read or written, so that SQLite is not left locked.

In the command line both signals raise KeyboardInterrupt. Other handlers that a program has set are
deferred in the same way.
"""

from __future__ import annotations

import signal
import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any

SIGNALS = (signal.SIGINT, signal.SIGTERM)

Handler = Callable[[int, Any], Any]


class _Deferred:
    """A signal handler that keeps a first signal until `deliver` is called or a second one comes.

    Args:
        before: the handlers that it replaces, by signal number.
    """

    def __init__(self, before: dict[int, Handler]) -> None:
        self.before = before
        self._pending: int | None = None

    def __call__(self, number: int, frame: object) -> None:
        if self._pending is None:
            self._pending = number
        else:
            self.deliver()

    def deliver(self) -> None:
        """Call the replaced handler of the signal that is pending, if there is one."""
        if self._pending is not None:
            number, self._pending = self._pending, None
            self.before[number](number, None)


@contextmanager
def deferred_interrupt() -> Iterator[None]:
    """Defer Ctrl-C to the end of the block, or to the next `interruptible` inside it.

    A second Ctrl-C takes effect at once.

    Raises:
        KeyboardInterrupt: Ctrl-C was pressed, and the block raised nothing else.
    """
    before: dict[int, Handler] = {
        number: handler for number in SIGNALS if callable(handler := signal.getsignal(number))
    }
    if not (_main_thread() and before):
        yield  # another thread handles signals, or they are ignored
        return
    deferred = _Deferred(before)
    try:
        _set_handlers(dict.fromkeys(before, deferred))
        yield
    finally:
        _set_handlers(before)
    deferred.deliver()


@contextmanager
def interruptible() -> Iterator[None]:
    """Let Ctrl-C take effect at once in a part of a `deferred_interrupt` that takes long.

    Raises:
        KeyboardInterrupt: Ctrl-C is pressed, or was pressed before and deferred.
    """
    handlers: dict[int, _Deferred] = {
        number: handler
        for number in SIGNALS
        if isinstance(handler := signal.getsignal(number), _Deferred)
    }
    if not (_main_thread() and handlers):
        yield
        return
    deferred = next(iter(handlers.values()))
    deferred.deliver()
    try:
        _set_handlers(deferred.before)
        yield
    finally:
        _set_handlers(handlers)


def _main_thread() -> bool:
    """Whether this is the main thread, the only one that may set signal handlers."""
    return threading.current_thread() is threading.main_thread()


def _set_handlers(handlers: Mapping[int, Handler]) -> None:
    for number, handler in handlers.items():
        signal.signal(number, handler)
