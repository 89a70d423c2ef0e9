"""How much of a search's time is left."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager


class TimeLimit:
    """Counts from when it is made; what is paused for does not count.

    Args:
        limit_s: seconds; None for no limit.
        now: the clock.
    """

    def __init__(self, limit_s: float | None, now: Callable[[], float] = time.monotonic) -> None:
        self.limit_s = math.inf if limit_s is None else limit_s
        self._now = now
        self._begun = now()

    def left_s(self) -> float:
        """Seconds left, below 0 where the limit has passed; infinite without one."""
        return self.limit_s - (self._now() - self._begun)

    @contextmanager
    def paused(self) -> Iterator[None]:
        """While something runs that nobody could foresee the length of: measuring."""
        begun = self._now()
        try:
            yield
        finally:
            self._begun += self._now() - begun
