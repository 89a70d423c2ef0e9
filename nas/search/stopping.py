"""When a search stops, and how far it is extended if its measurements differ from predictions."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from nas.config import SearchConfig
from nas.search.store.study_notes import StudyNotes

EXTENSION = 0.25
"""Candidates of one extension, as a share of ``--trials``."""

MAX_EXTENSIONS = 2
"""Largest number of extensions of a search. It is extended if its best candidate proved to be over
the budget when measured, or if larger networks fit than was predicted."""


def extensions_to_come(notes: StudyNotes) -> int:
    """How often a search may still be extended."""
    return max(0, MAX_EXTENSIONS - len(notes.extensions()))


def extension(config: SearchConfig) -> int:
    """Candidates of one extension."""
    return math.ceil(EXTENSION * config.trials)


class TimeLimit:
    """Counts seconds from its creation; the time while it is `paused` does not count.

    Args:
        limit_s: seconds; None for no limit.
        now: the clock.
    """

    def __init__(self, limit_s: float | None, now: Callable[[], float] = time.monotonic) -> None:
        self.limit_s = math.inf if limit_s is None else limit_s
        self._now = now
        self._begun = now()

    def remaining_s(self) -> float:
        """Seconds until the limit, below 0 after it; infinite without one."""
        return self.limit_s - (self._now() - self._begun)

    @contextmanager
    def paused(self) -> Iterator[None]:
        """Do not count the time of the with-block, for measurements of unknown length."""
        begun = self._now()
        try:
            yield
        finally:
            self._begun += self._now() - begun
