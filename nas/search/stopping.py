"""Time limit of a search, and its extension if measurements differ from predictions."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from nas.config import SearchConfig
from nas.search.store.study_notes import StudyNotes

EXTENSION = 0.25
"""Number of candidates that one extension adds, as a share of ``--trials``."""

MAX_EXTENSIONS = 2
"""Largest number of extensions of a search. It is extended if its best candidate proved to be over
the budget when measured, or if larger networks fit than was predicted."""

PATIENCE_S, PATIENCE_SHARE = 60.0, 4.0
"""When the time is up, a running evaluation is ended that has taken longer than so many seconds,
and so many times as long as the longest one so far: it hangs."""

FIRST_PATIENCE_S = 600.0
"""The same while no evaluation has finished, so that nothing is known of how long one takes."""


def extensions_to_come(notes: StudyNotes) -> int:
    """Return how often a search may still be extended."""
    return max(0, MAX_EXTENSIONS - len(notes.extensions()))


def extension(config: SearchConfig) -> int:
    """Return the number of candidates that one extension adds."""
    return math.ceil(EXTENSION * config.trials)


class TimeLimit:
    """A time limit that runs from its creation; time while it is `paused` does not count.

    Args:
        limit_s: the limit in seconds; None for no limit.
        now: clock that returns seconds.
    """

    def __init__(self, limit_s: float | None, now: Callable[[], float] = time.monotonic) -> None:
        self.limit_s = math.inf if limit_s is None else limit_s
        self._now = now
        self._begun = now()

    def remaining_s(self) -> float:
        """Return the seconds until the limit: below 0 after it, infinite if there is none."""
        return self.limit_s - (self._now() - self._begun)

    @contextmanager
    def paused(self) -> Iterator[None]:
        """Stop the count inside a with-block, for measurements, whose duration is unknown."""
        begun = self._now()
        try:
            yield
        finally:
            self._begun += self._now() - begun
