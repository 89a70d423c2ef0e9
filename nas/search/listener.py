"""What a search tells its caller while it runs."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from nas.latency.collect import Progress
from nas.search.result import Candidate, Provenance


@dataclass(frozen=True)
class Trained:
    """Told to the listener after every training run.

    Attributes:
        candidate: None where the training diverged.
        done, total: candidates trained so far, and asked for.
        on_front: whether the candidate is Pareto-optimal so far.
        train_s: seconds it took.
        provenance: of the candidate's latency: ``predicted`` or ``estimated``.
    """

    candidate: Candidate | None
    done: int
    total: int
    on_front: bool
    train_s: float
    provenance: Provenance


@dataclass(frozen=True)
class Listener:
    """What a caller wants to be told while a search runs; every entry may be left out."""

    stage: Callable[[str], None] = lambda _: None
    measuring: Progress = lambda *_: None
    trained: Callable[[Trained], None] = lambda _: None
    verifying: Callable[[int, int], None] = lambda *_: None
