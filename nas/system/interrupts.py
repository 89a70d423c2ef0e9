"""Defers Ctrl-C, SIGTERM and SIGHUP while a study is read or written, so that it is left whole.

In the command line these signals raise KeyboardInterrupt. Other handlers that a program has set are
deferred in the same way.
"""

from __future__ import annotations

import signal
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any

END_SIGNALS = tuple(
    getattr(signal, name) for name in ("SIGTERM", "SIGHUP") if hasattr(signal, name)
)
"""Signals of other programs that end this one. Some send theirs twice: ``timeout``, terminals."""

SIGNALS = (signal.SIGINT, *END_SIGNALS)

Handler = Callable[[int, Any], Any]


TWICE_S = 2.0
"""Seconds in which a second signal of another program belongs to the first one."""


class _EndSignal:
    """A signal handler that raises KeyboardInterrupt, once for signals that come at once."""

    def __init__(self) -> None:
        self.raised_s: float | None = None

    def __call__(self, number: int, frame: object) -> None:
        now_s = time.monotonic()
        again = self.raised_s is not None and now_s - self.raised_s < TWICE_S
        self.raised_s = now_s
        if not again:
            raise KeyboardInterrupt


_end_signal = _EndSignal()


def end_like_ctrl_c() -> None:
    """Let SIGTERM and SIGHUP end this program as Ctrl-C does, unless they are ignored (nohup)."""
    global _end_signal
    if not _main_thread():
        return
    _end_signal = _EndSignal()
    for number in END_SIGNALS:
        if signal.getsignal(number) is not signal.SIG_IGN:
            signal.signal(number, _end_signal)


def told_to_end() -> bool:
    """Whether another program has told this one to end: it may be killed within seconds."""
    return _end_signal.raised_s is not None


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
