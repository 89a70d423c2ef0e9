"""Callbacks by which a search reports its progress."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from nas.latency.collect.tables import Progress
from nas.results.values import Candidate, Provenance


@dataclass(frozen=True)
class Trained:
    """Progress that the listener receives after every evaluation, to a rung or in full.

    Attributes:
        candidate: None where the training diverged, or failed.
        done, total: number of candidates evaluated so far, in full or not, and number to evaluate.
        at_rung: number of candidates trained to each rung so far; the last rung is a full training.
        rung: the one that this candidate was trained to, from 1.
        on_front: whether the candidate is Pareto-optimal so far.
        best: the candidate of the best score within every limit so far, None if there is none.
        hypervolume: hypervolume of the front so far on the first device, in units of score (about
            0 to 1) times latency ratio.
        seconds: duration of the evaluation.
        provenance: provenance of the first device's latencies: ``predicted`` or ``estimated``.
        failure: the error that the evaluator raised, None if it raised none.
    """

    candidate: Candidate | None
    done: int
    total: int
    at_rung: tuple[int, ...]
    rung: int
    on_front: bool
    best: Candidate | None
    hypervolume: float
    seconds: float
    provenance: Provenance
    failure: str | None = None


@dataclass(frozen=True)
class Listener:
    """Callbacks of a search; each of them is optional.

    Attributes:
        stage: told the name of each stage as it begins.
        measuring: told about the progress of measuring a table.
        training: told at the start how many candidates are evaluated and how many are to be.
        trained: told about each evaluation.
        verifying: told how many networks are measured, and of how many.
        finalists: told how many finalists are trained longer, and of how many.
    """

    stage: Callable[[str], None] = lambda _: None
    measuring: Progress = lambda *_: None
    training: Callable[[int, int], None] = lambda *_: None
    trained: Callable[[Trained], None] = lambda _: None
    verifying: Callable[[int, int], None] = lambda *_: None
    finalists: Callable[[int, int], None] = lambda *_: None
