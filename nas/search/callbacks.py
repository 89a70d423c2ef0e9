"""What a search tells its caller while it runs."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from nas.latency.collect.tables import Progress
from nas.results.values import Candidate, Provenance


@dataclass(frozen=True)
class Trained:
    """Told to the listener after every training run, up to a rung or in full.

    Attributes:
        candidate: None where the training diverged.
        done, total: candidates trained so far, in full or not, and asked for.
        at_rung: how many have been trained up to each rung so far, the last of them in full.
        rung: the one that this candidate was trained to, from 1.
        on_front: whether the candidate is Pareto-optimal so far.
        best: the one of the best score within every budget so far, None if there is none.
        hypervolume: of the front so far on the first device: score (about 0 to 1) times the share
            of the budget within which it is reached.
        train_s: seconds it took.
        provenance: of the candidate's latency: ``predicted`` or ``estimated``.
    """

    candidate: Candidate | None
    done: int
    total: int
    at_rung: tuple[int, ...]
    rung: int
    on_front: bool
    best: Candidate | None
    hypervolume: float
    train_s: float
    provenance: Provenance


@dataclass(frozen=True)
class Listener:
    """What a caller wants to be told while a search runs; every entry may be left out.

    ``training`` is told how many candidates are trained, and how many shall be, when it begins;
    ``trained`` about each. ``verifying`` and ``finalists`` are told how many of how many networks
    are measured, and trained longer.
    """

    stage: Callable[[str], None] = lambda _: None
    measuring: Progress = lambda *_: None
    training: Callable[[int, int], None] = lambda *_: None
    trained: Callable[[Trained], None] = lambda _: None
    verifying: Callable[[int, int], None] = lambda *_: None
    finalists: Callable[[int, int], None] = lambda *_: None
