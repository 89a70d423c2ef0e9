"""When a search stops, and by how much it is extended where measuring shows that it should be."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from nas.config import SearchConfig
from nas.search.store.study_notes import StudyNotes

EXTENSION = 0.25
"""Candidates that a search is extended by, over those that were asked for."""

MAX_EXTENSIONS = 2
"""How often a search is extended, because its best candidate was lost when it was measured, or
because more fits than was predicted."""


def extensions_to_come(notes: StudyNotes) -> int:
    """How often a search may still be extended."""
    return max(0, MAX_EXTENSIONS - len(notes.extensions()))


def extension(config: SearchConfig) -> int:
    """Candidates of one extension."""
    return math.ceil(EXTENSION * config.trials)


class TimeLimit:
    """Counts from when it is made; what is paused does not count.

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
        """Do not count the time of the block: of measuring, whose length nobody can foresee."""
        begun = self._now()
        try:
            yield
        finally:
            self._begun += self._now() - begun
