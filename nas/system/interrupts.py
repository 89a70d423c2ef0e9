"""Defers Ctrl-C, SIGTERM and SIGHUP while a study is read or written, so that it is left whole.

In the command line these signals raise KeyboardInterrupt. Other handlers that a program has set are
deferred in the same way.
"""

from __future__ import annotations

import signal
import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any

END_SIGNALS = tuple(
    getattr(signal, name) for name in ("SIGTERM", "SIGHUP") if hasattr(signal, name)
)
"""Signals of other programs that end this one. Some send theirs twice: ``timeout``, terminals."""

SIGNALS = (signal.SIGINT, *END_SIGNALS)

Handler = Callable[[int, Any], Any]


class _RaiseOnce:
    """A signal handler that raises KeyboardInterrupt the first time, and then does nothing."""

    def __init__(self) -> None:
        self._raised = False

    def __call__(self, number: int, frame: object) -> None:
        if not self._raised:
            self._raised = True
            raise KeyboardInterrupt


def end_like_ctrl_c() -> None:
    """Let SIGTERM and SIGHUP end this program as Ctrl-C does, unless it ignores them (``nohup``).

    Any further ones have no effect.
    """
    if not _main_thread():
        return
    once = _RaiseOnce()
    for number in END_SIGNALS:
        if signal.getsignal(number) is not signal.SIG_IGN:
            signal.signal(number, once)


class _Deferred:
    """A signal handler that keeps a first signal until `deliver` is called.

    A second Ctrl-C delivers it at once; further signals of other programs are dropped.

    Args:
        before: the handlers that it replaces, by signal number.
    """

    def __init__(self, before: dict[int, Handler]) -> None:
        self.before = before
        self._pending: int | None = None

    def __call__(self, number: int, frame: object) -> None:
        if self._pending is None:
            self._pending = number
        elif number == signal.SIGINT:
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
